"""What every measurement on hosts of the lab does there: run a command, write a file, call Salt, start a unit."""

import json
import subprocess
import sys
from pathlib import Path

ROOTS = ["198.18.0.11", "198.18.0.12"]
LAB = Path(__file__).resolve().parent.parent / "lab" / "lab"


def lab(*words, text=None):
    """Have the lab do something; return its output. A failure ends the benchmark."""
    done = subprocess.run([LAB, *words], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"bench: this failed: {' '.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout


def run(host, *words, text=None, check=True):
    """Run a command in a host; return its output. A failure ends the benchmark, unless ``check`` is false."""
    done = subprocess.run([LAB, "exec", host, "--", *words], input=text, capture_output=True, text=True, check=False)
    if check and done.returncode:
        sys.exit(f"bench: {host}: this failed: {' '.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout


def write(path, text):
    """Write a file on the master."""
    lab("exec", "master", "--", "tee", path, text=text)


def set_pillars(pillars):
    """Give hosts their pillars, ``{host: text}``, and nobody else one. The lab's DNS has a root of its own."""
    write("/srv/pillar/root.sls", f"mailserver: {{dns: {{root_servers: {ROOTS}}}}}\n")
    for host, text in pillars.items():
        write(f"/srv/pillar/{host}.sls", text)
    write("/srv/pillar/top.sls", json.dumps({"base": {host: ["root", host] for host in pillars}}))


def salt(function):
    """Call a function on both mail hosts; return what each answers."""
    words = ("salt", "--out=json", "--static", "--timeout=600", "mx*", function)
    return json.loads(lab("exec", "master", "--", *words))


def highstate():
    """Have the mail hosts be what their pillar asks for; a state that fails ends the benchmark."""
    for host, states in salt("state.highstate").items():
        failed = states if isinstance(states, list) else [one for one in states.values() if one["result"] is False]
        if failed:
            sys.exit(f"bench: the highstate of {host} failed:\n{json.dumps(failed, indent=1)}")


def start(host, unit, *words):
    """Start a command as a unit, which stays when it ends."""
    lab("exec", host, "--", "systemd-run", "--quiet", f"--unit={unit}", "-p", "RemainAfterExit=yes", *words)


def state(host, unit):
    """Return systemd's state of a unit: running, exited…"""
    return lab("exec", host, "--", "systemctl", "show", "--value", "-p", "SubState", unit).strip()
