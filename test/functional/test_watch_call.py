"""The watch under salt-call, on a host where nothing runs: told once, kept on disk, and read by Prometheus' parser."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from mailhost.watch.run import SETTINGS_FORMAT

TOP = Path(__file__).resolve().parents[2]
SALT_CALL = Path(sys.executable).parent / "salt-call"
NOBODY = "127.54.0.66"
SENDMAIL = "#!/bin/sh\n[ -e {home}/refuses ] && echo no >&2 && exit 75\ncat >>{home}/mails\n"


class Host:
    """salt-call on a host of its own, with what a highstate leaves for mailserver.watch."""

    def __init__(self, home):
        self.home, roots = home, home / "roots"
        for name in ("mailserver", "_modules", "_utils"):
            shutil.copytree(TOP / name, roots / name, ignore=shutil.ignore_patterns("__pycache__"))
        self.textfile, self.memory = home / "mailserver.prom", home / "watch" / "memory.json"
        pillar = {
            "hostname": "mx1.alpha.test",
            "addresses": ["127.0.0.1"],
            "domains": {"alpha.test": {}},
            "dns": {"timeout": 1, "lifetime": 2},
            "watch": {"mail": ["ops@elsewhere.example"], "prometheus": str(self.textfile)},
        }
        (home / "pillar").mkdir()
        (home / "pillar" / "top.sls").write_text("base: {'*': [mail]}\n")
        (home / "pillar" / "mail.sls").write_text(json.dumps({"mailserver": pillar}))
        minion = {
            "root_dir": str(home / "root"),
            "id": "mx1",
            "file_client": "local",
            "file_roots": {"base": [str(roots)]},
            "pillar_roots": {"base": [str(home / "pillar")]},
            "mailserver.settings_in_force": str(home / "settings.json"),
            "mailserver.watch_memory": str(self.memory),
            "grains": {"osfinger": "Debian-12", "os_family": "Debian"},
        }
        (home / "minion").write_text(yaml.safe_dump(minion))
        (home / "resolv.conf").write_text(f"nameserver {NOBODY}\n")
        (home / "sendmail").write_text(SENDMAIL.format(home=home))
        (home / "sendmail").chmod(0o755)
        (home / "mails").touch()
        self.run("saltutil.sync_all")

    def highstate(self):
        """Put into place what a highstate leaves."""
        settings = self.run("mailserver.settings")[1]
        settings["os"]["opendkim"]["keys"] = str(self.home / "keys")
        (self.home / "settings.json").write_text(json.dumps({**settings, "format": SETTINGS_FORMAT}))

    def run(self, *words):
        """Return the exit status, and what the function returned or said; in a network where nobody listens."""
        mounts = ["ip link set lo up", f"mount --bind {self.home}/resolv.conf /etc/resolv.conf"]
        mounts += ["mount -t tmpfs none /usr/sbin", f"cp {self.home}/sendmail /usr/sbin/sendmail"]
        script = " && ".join([*mounts, 'exec "$@"'])
        command = [
            "unshare",
            "-m",
            "-n",
            "sh",
            "-c",
            script,
            "sh",
            SALT_CALL,
            "-c",
            self.home,
            "--local",
            "-l",
            "quiet",
        ]
        words = (*words, "--out=json", "--retcode-passthrough")
        done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=2400, check=False)
        if not done.stdout.startswith("{"):
            return done.returncode, done.stdout + done.stderr
        return done.returncode, json.loads(done.stdout)["local"]

    def mails(self):
        return (self.home / "mails").read_text().count("Auto-Submitted: auto-generated")


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    return Host(tmp_path_factory.mktemp("watch"))


def test_a_watch_before_the_first_highstate_says_what_it_waits_for(host):
    status, said = host.run("mailserver.watch")
    assert status
    assert "no highstate has put settings in force on this host yet; run a highstate" in said
    assert "Traceback" not in said
    assert not host.memory.exists()


def test_what_is_wrong_is_told_once_and_what_could_not_be_mailed_later(host):
    host.highstate()
    (host.home / "refuses").touch()
    status, told = host.run("mailserver.watch")
    assert status == 1
    assert told["troubles"] == ["mail: /usr/sbin/sendmail: exit 75: no; it is kept for the next run"]
    assert told["status"] == "fail"
    assert {"protocol.smtp.listens", "tls.certificate.file"} <= {one["id"] for one in told["changed"]}
    assert {one["status"] for one in told["changed"]} <= {"warn", "fail"}
    (host.home / "refuses").unlink()
    status, told = host.run("mailserver.watch")
    assert (status, told["changed"], told["troubles"]) == (0, [], [])
    assert host.mails() == 1
    assert host.run("mailserver.watch")[1]["changed"] == []
    assert host.mails() == 1


def test_prometheus_reads_what_a_run_leaves_for_the_node_exporter(host):
    assert host.textfile.stat().st_mode & 0o777 == 0o644
    families = {one.name: one for one in text_string_to_metric_families(host.textfile.read_text())}
    statuses = {one.labels["id"]: one.value for one in families["mailserver_finding_status"].samples}
    assert statuses["protocol.smtp.listens"] == 3
    assert not [path.name for path in host.home.iterdir() if path.name.endswith(".unfinished")]


def test_the_metrics_can_be_had_by_a_call(host):
    status, text = host.run("mailserver.metrics")
    assert status == 0
    names = {one.name for one in text_string_to_metric_families(text)}
    assert {"mailserver_check_timestamp_seconds", "mailserver_findings", "mailserver_finding_status"} <= names


def test_a_host_without_pillar_and_file_server_goes_by_what_was_activated(host):
    """As salt-ssh has it."""
    nothing = ("--file-root=/nonexistent", "--pillar-root=/nonexistent")
    host.highstate()
    status, settings = host.run("mailserver.settings", *nothing)
    assert (status, list(settings["domains"]), settings["hostname"]) == (0, ["alpha.test"], "mx1.alpha.test")
    _, asked = host.run("mailserver.settings", '{"hostname": "mx2.beta.test", "domains": {"beta.test": {}}}', *nothing)
    assert list(asked["domains"]) == ["beta.test"]
    status, said = host.run("mailserver.settings", "{}", "base", *nothing)
    assert status
    assert "is not on the file server" in said
    (host.home / "settings.json").unlink()
    status, said = host.run("mailserver.settings", *nothing)
    assert status
    assert "is not on the file server" in said
    host.highstate()
