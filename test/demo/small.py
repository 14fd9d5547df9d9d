"""The small demo: the life of a DKIM key on loopback, in a temporary folder, for whoever has no root or no namespaces.

    script/demo small [--without named] [--without opendkim]

The formula's own states and modules run under Salt's real loader, with a real OpenDKIM and a real BIND where they are
installed. The folder is removed at the end; nothing outside loopback is asked.
"""

import argparse
import contextlib
import importlib.metadata
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[2] / "_utils"))
sys.path.insert(1, str(Path(__file__).resolve().parents[2] / "_output"))
sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "functional"))

import authheaders
import dkim_keys
from loopback import Loopback
from loopback_host import HostError

from mailhost.errors import MailserverError

DOMAIN, LOGIN, RECIPIENT = "alpha.test", "alice", "world@outside.test"
AUTHOR = f"{LOGIN}@{DOMAIN}"
WIDTH = 116
DAEMONS = ("opendkim", "named")
INTRODUCTION = """\
The small demo: a DKIM key's life on loopback, as the user {user}, in a temporary folder that is removed at the end.
  Salt         {salt}, with the formula's own states and modules
  OpenDKIM     {opendkim}
  name server  {named}{better}
It leaves out what needs root and hosts: Postfix, Dovecot, firewalld, systemd, a Salt master. So no message goes from
host to host, and nobody judges by SPF where it comes from. The full demo does all that: sudo script/demo full, on
Debian or Ubuntu; elsewhere in a container, by one command (test/lab/README.md).
"""
PILLAR = """mailserver:
  hostname: mx1.alpha.test
  addresses: [192.0.2.25]
  domains:
    alpha.test: {}
  dns: {root_servers: [127.0.0.1]}            # the demo asks nobody else, and has a root of its own
  dkim: {soak: 0}                             # else a successor waits, for resolvers that remember "no record"
  opendkim: {socket: '%s'}
"""
STATES = {
    "dkim.managed": "mailserver-opendkim-keys",
    "dkim.published": "mailserver-opendkim-published",
    "dkim.signing": "mailserver-opendkim-signing",
}
"""What a highstate does for keys: these states by their ids, in this order."""


class Failed(Exception):
    """The story did not go as it must; the message says what was expected."""


def expect(holds, wanted):
    if not holds:
        raise Failed(f"expected: {wanted}")


class Story:
    """The story, told by what the parts on loopback do and say."""

    def __init__(self, loopback):
        self.loopback = loopback
        self._started, self._part = time.monotonic(), 0

    @property
    def seconds(self):
        return round(time.monotonic() - self._started)

    def tell(self):
        """Go from a pillar to a verified message, and through a rotation."""
        self.from_pillar_to_files()
        self.first_key()
        message, first = self.signed_message()
        self.rotation(message, first)

    def from_pillar_to_files(self):
        loopback, pillar = self.loopback, PILLAR % self.loopback.socket
        self.heading("A pillar")
        self.show(pillar)
        self.heading("Salt renders the formula for it, as for a bare Debian 12")
        loopback.start_name_server()
        files = loopback.start_host(pillar)
        told = f"{len(loopback.host.states)} states. Most of them need root; here, these {len(files)} files are written"
        self.show(f"{told}, below the temporary folder:")
        self.show(wrapped(files), margin=6)
        runs = "would run" if "opendkim" in loopback.missing else "runs"
        self.show(f"etc/opendkim.conf, which OpenDKIM {runs} on:")
        self.show(loopback.opendkim_conf().replace(str(loopback.folder), "…"), margin=6)

    def first_key(self):
        self.heading("The first highstate, as far as it is about keys: one is made, and nothing is signed with it yet")
        self.highstate()
        expect(not self.send()[1], "a message that is not signed")
        self.show(f"A message from {AUTHOR} leaves the host unsigned.")
        self.heading(f"Publishing what mailserver.records {DOMAIN} format=zone emits, in the zone of the name server")
        self.show(self.loopback.publish())
        self.heading("The next highstate: DNS shows the key everywhere, so signing is turned on")
        self.highstate()
        self.show("The state that looks at all other records says:")
        self.show(self.loopback.host.run("mailserver-dns-records"), margin=6)

    def signed_message(self):
        """Return a message that passes, and the selector that it is signed with."""
        self.heading(f"A message from {AUTHOR}, and a receiver's verdict (dkimpy and authheaders, by that name server)")
        message, selector = self.send()
        self.show(re.match(rb"DKIM-Signature:.*?\r\n(?![ \t])", message, re.DOTALL)[0].decode())
        self.show("As it was sent:")
        expect(self.verdict(message) == [("dkim", "pass"), ("dmarc", "pass")], "a message that passes")
        self.show("With one word changed on its way:")
        changed = message.replace(b"It works.", b"It fails.")
        expect(self.verdict(changed) == [("dkim", "fail"), ("dmarc", "fail")], "a changed message that fails")
        return message, selector

    def rotation(self, message, first):
        host = self.loopback.host
        self.heading(f"A rotation: dkim.rotate {DOMAIN} makes a successor, which waits for DNS, too")
        self.show_report(host.call("dkim.rotate", DOMAIN))
        expect(self.send()[1] == first, f"mail that is still signed with {first}")
        self.show(f"Mail is still signed with {first}.")
        self.heading("Its record is published, and dkim.advance, which a minion runs each hour, has it take over")
        self.loopback.publish()
        self.show_report(host.call("dkim.advance"))
        _, successor = self.send()
        expect(successor not in ("", first), "mail that is signed with the successor")
        self.show(f"Mail is signed with {successor} now. The message from before, which may still be on its way:")
        expect(self.verdict(message)[0] == ("dkim", "pass"), "a message of the old key's that passes")
        self.show("dkim.status:")
        self.show(dkim_keys.table("local", host.call("dkim.status"), WIDTH), margin=6)

    def highstate(self):
        for name, state in STATES.items():
            self.show(f"{name} says:")
            self.show(self.loopback.host.run(state), margin=6)

    def send(self):
        """Return a message as it leaves the host, and the selector that it is signed with (``""``: it is not)."""
        message = self.loopback.send(LOGIN, RECIPIENT)
        found = re.match(rb"DKIM-Signature:.*?\bs=([^;\s]+);", message, re.DOTALL)
        return message, found[1].decode() if found else ""

    def verdict(self, message):
        """Return what a receiver makes of a message, as ``[("dkim", "pass"), ("dmarc", "pass")]``; show its words."""
        said = authheaders.authenticate_message(message, "outside.test", dnsfunc=self.loopback.txt).split(";")[1:]
        words = "\n".join(map(str.strip, said))
        self.show(words, margin=6)
        return re.findall(r"^(dkim|dmarc)=(\w+)", words, re.MULTILINE)

    def show_report(self, told):
        """Show what ``dkim.rotate`` and ``dkim.advance`` return."""
        expect(not told["errors"], f"no errors, but there are: {told['errors']}")
        self.show("\n".join([*told["notes"], *told["waiting"]]), margin=6)

    def heading(self, text):
        self._part += 1
        print(f"\n[{self._part}/8, {self.seconds} s] {text}", flush=True)

    def show(self, text, margin=4):
        """Show text, indented; what does not fit into a line is cut, as the texts of keys are."""
        for line in text.expandtabs(4).splitlines():
            room = WIDTH - margin
            print(f"{' ' * margin}{line if len(line) <= room else f'{line[: room - 1]}…'}".rstrip(), flush=True)


def wrapped(paths):
    """Return paths as lines of text."""
    lines = [""]
    for path in paths:
        if len(lines[-1]) + len(path) > WIDTH - 8:
            lines.append("")
        lines[-1] += f"{path} "
    return "\n".join(lines)


def introduction(missing):
    """Return what the demo is made of here, and what it leaves out."""
    opendkim = "not here: dkimpy signs in its place, by the same tables, and verifies what it signed itself"
    named = "BIND is not here: a small one of the demo's own stands in, made of dnspython"
    if "opendkim" not in missing:
        opendkim = first_line("opendkim", "-V").rpartition(" ")[2].lstrip("v")
    if "named" not in missing:
        named = first_line("named", "-v").partition(" (")[0].partition("-Debian")[0]
    better = "\nWith the packages opendkim and bind9 installed, the demo runs these." if missing else ""
    user, salt = pwd.getpwuid(os.getuid()).pw_name, importlib.metadata.version("salt")
    return INTRODUCTION.format(user=user, salt=salt, opendkim=opendkim, named=named, better=better)


def first_line(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout.partition("\n")[0]


def main():
    parser = argparse.ArgumentParser(prog="script/demo small", description=__doc__.partition("\n")[0])
    without = "go on as where this is not installed"
    parser.add_argument("--without", action="append", default=[], choices=DAEMONS, help=without)
    asked = parser.parse_args()
    os.environ["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"
    missing = [name for name in DAEMONS if name in asked.without or not shutil.which(name)]
    print(introduction(missing), end="", flush=True)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit("\nEnded from outside; the temporary folder is gone."))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mailserver-demo-")))
        (folder / "tmp").mkdir()
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder / "tmp")  # of Salt, too
        story = Story(Loopback(folder, DOMAIN, missing, stack))
        try:
            story.tell()
        except (Failed, HostError, MailserverError, OSError, AssertionError) as err:
            sys.exit(f"\nThis failed: {err}")
    print(f"\nDone in {story.seconds} seconds; the temporary folder is gone.")


if __name__ == "__main__":
    main()
