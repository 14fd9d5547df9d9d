"""An upgrade from an earlier commit under a stream of mail, with minions that run on."""

import argparse
import json
import subprocess
import sys

from bench_lab import LAB, highstate, lab, run, salt, write
from chaos import HOSTS, calm, judged, prepare, until

PARTS = ("mailserver", "_modules", "_states", "_utils", "_runners", "_output")
CURRENT = "/srv/current"
"""What the master serves: a link to one version, as a checkout that is moved on."""
OURS = "/var/cache/salt/minion/extmods/utils"


def main(words):
    """Upgrade two mail hosts from an earlier commit under a stream of mail, and count what became of the messages."""
    parser = argparse.ArgumentParser(prog="script/bench upgrade", description=main.__doc__)
    parser.add_argument("commit", help="the earlier version: a tag, or another name of a commit")
    earlier = _archive(parser.parse_args(words).commit)
    lab("up")
    _serve_a_link()
    run("master", "sh", "-c", "mkdir /srv/earlier && tar -xC /srv/earlier", text=earlier)
    serve("/srv/earlier")
    sign = prepare()
    print(
        f"earlier: {len(_files('master', '/srv/earlier/_utils'))} files of Python; signing: {_names(sign)}", flush=True
    )
    begun = {host: _minion(host) for host in HOSTS}
    serve("/srv/formula")
    highstate()
    print(f"upgraded to: {len(_files('master', '/srv/formula/_utils'))} files of Python", flush=True)
    highstate()
    after = rotated(sign)
    print(f"signing: {_names(after)}", flush=True)
    fine = judged(len(sign))
    for host in HOSTS:
        fine = _is_clean(host, begun[host]) and fine
    sys.exit(0 if fine else 1)


def _archive(commit):
    """Return the formula of a commit as a tar archive, as text that is UTF-8."""
    top = LAB.parents[2]
    known = subprocess.run(
        ["git", "ls-tree", "--name-only", commit], cwd=top, capture_output=True, text=True, check=False
    )
    if known.returncode:
        sys.exit(f"bench: there is no commit {commit} here (git fetch --unshallow?): {known.stderr.strip()}")
    parts = [part for part in PARTS if part in known.stdout.split()]
    done = subprocess.run(["git", "archive", commit, *parts], cwd=top, capture_output=True, check=True)
    return done.stdout.decode()


def _serve_a_link():
    write("/etc/salt/master.d/upgrade.conf", json.dumps({"file_roots": {"base": ["/srv/salt", CURRENT]}}))
    run("master", "systemctl", "restart", "salt-master")
    until(lambda: len(json.loads(_ping() or "{}")) == len(HOSTS), "the minions do not find the master")


def _ping():
    return run("master", "salt", "--out=json", "--static", "--timeout=10", "mx*", "test.ping", check=False).strip()


def serve(folder):
    """Have the master serve the version in ``folder``, as when its checkout is moved on."""
    run("master", "ln", "-sfn", folder, CURRENT)
    run("master", "salt-run", "fileserver.clear_file_list_cache")


def rotated(sign):
    """Have keys that the earlier version made rotate; return the signers."""
    salt("dkim.rotate")
    after = dict(sign)

    def others_sign():
        after.update(calm())
        return all(after[place] != sign[place] for place in sign)

    until(others_sign, "the successors do not sign")
    return after


def _files(host, folder):
    """Return the paths of all Python files below a folder."""
    return set(run(host, "sh", "-c", f"cd {folder} && find . -name '*.py'").split())


def _names(sign):
    return ", ".join(f"{name} {selector}" for (_, name), selector in sorted(sign.items()))


def _minion(host):
    return run(host, "systemctl", "show", "-p", "MainPID,ActiveEnterTimestampMonotonic", "salt-minion")


def _is_clean(host, begun):
    """Tell whether the minion ran on, and has no file of the earlier version left; print what is wrong."""
    left = sorted(_files(host, OURS) - _files("master", "/srv/formula/_utils"))
    ran_on = _minion(host) == begun
    print(f"{host}: the minion {'ran on' if ran_on else 'was restarted'}; files left: {', '.join(left) or 'none'}")
    return ran_on and not left
