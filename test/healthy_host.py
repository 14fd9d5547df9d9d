"""A host on which all is as wanted: its files below one folder, and a stand-in for each command that a check runs."""

import copy
import functools
import json
import os
import stat
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import jinja2
import yaml

from mailhost import clock as trusted_clock
from mailhost.check.config import dkim as check_dkim
from mailhost.check.config.postfix import ON_TERMINAL
from mailhost.check.findings import CheckedHost
from mailhost.check.running import flow as check_flow
from mailhost.check.running import room as check_room
from mailhost.command import CommandResult
from mailhost.dkim import keystore
from mailhost.dkim.life import KeyRow, Manifest
from mailhost.opendkim import tables as opendkim_tables
from mailhost.pillar.settings import resolve

TOP = Path(__file__).resolve().parents[1]
DOMAINS = ("a.example", "b.example")
POSTFIX = 4242
"""The number of the user postfix, which owns no file here."""


def parameters(family="Debian", release="Debian-12"):
    """The parameters of a system, as the formula puts them together."""
    return copy.deepcopy(_parameters(family, release))


@functools.cache
def _parameters(family, release):
    found = {}
    texts = {
        name: yaml.safe_load((TOP / f"mailserver/parameters/{name}.yaml").read_text())
        for name in ("defaults", "families", "releases")
    }
    for layer in (texts["defaults"], texts["families"][family], texts["releases"][release]):
        for name, section in layer.items():
            found[name] = {**found.get(name, {}), **section}
    return found


def rendered(name, **context):
    """A file that the formula writes."""
    return _template(name).render(**context) + "\n"


@functools.cache
def _template(name):
    return jinja2.Template((TOP / "mailserver" / name).read_text())


def folded(master):
    """The text of a master.cf as ``postconf -M`` shows it."""
    rows = []
    for line in master.splitlines():
        if line.startswith(" "):
            name, _, value = line.strip().removeprefix("-o ").strip("{} ").partition("=")
            rows[-1] += f" -o {name.strip()}={value.strip()}"
        elif line and not line.startswith("#"):
            rows.append(" ".join(line.split()))
    return "".join(f"{row}\n" for row in rows)


class Machine:
    """A host of two domains; tests change its files, or what its commands print."""

    def __init__(self, folder, pems, pillar=None):
        self.folder, self.pems = folder, pems
        system = parameters()
        system["postfix"].update(queue=f"{folder}/queue", sasl_folder=f"{folder}/sasl")
        system["sasl"]["socket_folder"] = f"{folder}/queue/var/run/saslauthd"
        names = ("config", "keys", "key_table", "signing_table", "trusted_hosts", "authors")
        system["opendkim"].update({name: f"{folder}/opendkim/{name}" for name in names})
        pillar = {"domain": DOMAINS[0], "domains": {name: {} for name in DOMAINS}, **(pillar or {})}
        self.settings = resolve(pillar, system, {"fqdn": "mx1.a.example"})
        self.answers = {}
        self._move_tables()
        self._make_postfix()
        self._make_opendkim()
        self._answer_what_runs()

    @property
    def host(self):
        return CheckedHost(
            self.settings, lambda words: self.answers.get(tuple(words), CommandResult(None, "", "no such command"))
        )

    def says(self, command, out="", err="", status=0):
        """Have a command (its words, or a text of them) print something else."""
        self.answers[tuple(command.split()) if isinstance(command, str) else command] = CommandResult(status, out, err)

    def prints(self, command, old, new):
        """Have a command print ``new`` where it printed ``old``."""
        out = self.answers[tuple(command.split())].out
        assert old in out
        self.says(command, out.replace(old, new))

    def edit(self, name, old, new):
        """Put ``new`` in place of ``old`` in a file."""
        path = self.folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def socket(self, name, mode=0o777):
        """Make a Unix socket, without anybody behind it."""
        path = self.folder / name
        path.unlink(missing_ok=True)
        os.mknod(path, stat.S_IFSOCK)
        path.chmod(mode)

    def write_anew(self, name, text=""):
        """Write a file in place of whatever is there."""
        (self.folder / name).unlink(missing_ok=True)
        return self._write(name, text)

    def _write(self, name, text=""):
        path = self.folder / name
        for folder in reversed(path.parents[: len(path.relative_to(self.folder).parts) - 1]):
            folder.mkdir(exist_ok=True, mode=0o755)
        path.write_text(text)
        path.chmod(0o644)
        return path

    def _move_tables(self):
        """Have the tables that Postfix reads beside main.cf in the folder."""
        postfix, there = self.settings["postfix"], "/etc/postfix/mailserver_"
        moved = {path: path.replace(there, f"{self.folder}/mailserver_") for path in postfix["files"]}
        postfix["files"] = {moved[path]: rows for path, rows in postfix["files"].items()}
        places = {f":{there}": f":{self.folder}/mailserver_", ":/etc/aliases": f":{self.folder}/aliases"}
        places[":/etc/postfix/sender_login"] = f":{self.folder}/sender_login"
        for place, own in places.items():
            postfix["main"] = {name: text.replace(place, own) for name, text in postfix["main"].items()}

    def _make_postfix(self):
        folder, postfix = self.folder, self.settings["postfix"]
        self._write("sender_login")
        self._write("aliases")
        self._write("aliases.db")
        self._write("mailserver_left")
        self._write("queue/var/run/saslauthd/saslauthd.pid")
        self._write("queue/private/README")
        (folder / "queue/var/run/saslauthd").chmod(0o710)
        self.socket("queue/var/run/saslauthd/mux")
        link = folder / f"queue{folder}/queue"
        link.parent.mkdir(parents=True)
        link.symlink_to("/")
        sasl = {"mechanisms": ["PLAIN", "LOGIN"], "socket_folder": self.settings["os"]["sasl"]["socket_folder"]}
        self._write("sasl/smtpd.conf", rendered("sasl/files/smtpd.conf.jinja", **sasl))
        main = dict(postfix["main"])
        self.says("postconf -n", lines(main))
        main["non_smtpd_milters"] = main["smtpd_milters"]
        self.says("postconf -x", lines({**main, "mail_owner": "postfix", "relayhost": ""}))
        services = {name: postfix[name] for name in ("submission", "submissions")}
        self.says(
            "postconf -M",
            folded(rendered("postfix/files/master.cf.jinja", chroot=True, syntax=postfix["syntax"], **services)),
        )
        options = {
            f"{port}/inet/{name}": value
            for port, service in (("submission", "submission"), ("smtps", "submissions"))
            for name, value in postfix[service]["options"].items()
        }
        self.says("postconf -P", lines(options))
        self.says(ON_TERMINAL)
        self.says("postfix check")
        for path, rows in postfix["files"].items():
            self._write(Path(path).name, "\n".join(["# By Salt", *rows, ""]))
        left = f"{folder}/mailserver_left"
        tables = [f"texthash:{path}" for path in (left, *postfix["files"]) if not path.endswith("_local_headers")]
        for table in (f"hash:{folder}/aliases", f"regexp:{folder}/sender_login", *tables):
            self.says(f"postmap -q check@example.invalid {table}", status=1)
        self.says("id -u postfix", f"{POSTFIX}\n")
        self.says("id -G postfix", f"{POSTFIX} {os.getgid()}\n")
        self.says("doveconf -n -c /etc/dovecot/dovecot.conf", "# 2.3.19.1\nprotocols = imap pop3 lmtp\n")

    def _make_opendkim(self):
        opendkim, paths = self.settings["opendkim"], self.settings["os"]["opendkim"]
        authors = self.settings["authors"]
        config = rendered("opendkim/files/opendkim.conf.jinja", opendkim=opendkim, paths=paths, authors=authors)
        self._write("opendkim/config", config)
        self._write("opendkim/authors", rendered("opendkim/files/Authors.jinja", rows=authors["rows"]))
        trusted = rendered("opendkim/files/TrustedHosts.jinja", hosts=opendkim["trusted_hosts"])
        self._write("opendkim/trusted_hosts", trusted)
        self.says(f"opendkim -n -x {paths['config']}")
        self.says("id -u opendkim", f"{os.getuid()}\n")
        self.says("id -G opendkim", f"{os.getgid()}\n")
        signers = {}
        for name in DOMAINS:
            self.give_key(name, self.pems[name])
            signers[name] = opendkim_tables.Signer("one", f"{paths['keys']}/{name}/one.private")
        tables = opendkim_tables.tables(paths["key_table"], paths["signing_table"])
        for path, text in opendkim_tables._texts(tables, signers).items():
            path.write_text(text)

    def give_key(self, name, pem, bits=2048):
        """Write a domain's key file, and its manifest with the key as one that signs."""
        path = self._write(f"opendkim/keys/{name}/one.private", pem)
        path.chmod(0o600)
        path.parent.chmod(0o700)
        public, _ = keystore.public_half(pem, str(path))
        made = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(days=9)
        self.write_manifest(name, KeyRow("one", "rsa", bits, public, made, made, made))

    def write_manifest(self, name, *keys):
        keystore.write_manifest(self.settings["os"]["opendkim"]["keys"], Manifest(name, keys))

    def _answer_what_runs(self):
        for unit in ("postfix", "saslauthd", "dovecot", "opendkim", "firewalld", "postfix@-"):
            self.says(f"systemctl is-active {unit}.service", "active\n")
            self.says(f"systemctl is-enabled {unit}.service", "enabled\n")
        wrapper = "{ path=/bin/true ; argv[]=/bin/true ; ignore_errors=no ; pid=0 ; code=(null) ; status=0/0 }\n"
        self.says("systemctl show --property=ExecStart --value postfix.service", wrapper)
        ports = [f"{one}:{port}" for port in (25, 587, 465, 143, 993, 110, 995) for one in ("0.0.0.0", "[::]")]
        listening = [*ports, "127.0.0.1:8891", "127.0.0.53%lo:53", "*:22"]
        self.says("ss -ltnH", "".join(f"LISTEN 0 100 {one:>20} 0.0.0.0:*\n" for one in listening))
        self.says(
            "ip -6 -o addr show scope global", "2: eth0    inet6 2001:db8::25/64 scope global \\ valid_lft forever\n"
        )
        zone = (
            "public (active)\n  target: default\n  services: ssh smtp smtps imap imaps pop3 pop3s\n  ports: 587/tcp\n"
        )
        self.says("firewall-cmd --zone=public --list-all", zone)
        self.says("firewall-cmd --permanent --zone=public --list-all", zone.replace(" (active)", ""))
        self.says("postqueue -j", self.message("deferred", 1800))
        self.says(self.postfix_log, "-- No entries --\n", status=1)
        signed = "DKIM-Signature field added (s=one, d={})"
        self.says(
            self.journal,
            "".join(f"{time.time():.6f} mx1 opendkim[12]: 4XyZ: {signed.format(name)}\n" for name in DOMAINS),
        )
        self.set_clock(0)

    @property
    def journal(self):
        words = "--reverse --lines=20000 --output=short-unix --no-pager".split()
        grep = "--grep=DKIM-Signature field added"
        return ("journalctl", "--unit=opendkim.service", "--since=-7d", grep, *words)

    @property
    def postfix_log(self):
        return check_flow.journal("postfix")

    def message(self, queue, age, id="4XyZ"):
        """A line of ``postqueue -j``."""
        arrived = int(time.time()) - age
        return (
            json.dumps({"queue_name": queue, "queue_id": id, "arrival_time": arrived, "sender": "a@a.example"}) + "\n"
        )

    def set_clock(self, ahead):
        """Write down a trusted time that the host's clock is ahead of."""
        reading = trusted_clock.read()
        clock = trusted_clock.Clock(reading.wall - ahead, reading.wall, reading.boot, reading.uptime)
        self._write("opendkim/keys/clock.json", trusted_clock.emit(clock))


def lines(values):
    """Parameters as postconf prints them."""
    return "".join(f"{name} = {value}".rstrip() + "\n" for name, value in values.items())


def filesystem(space=50, inodes=50):
    """What ``os.statvfs`` says of a disk with so many per cent free."""
    return SimpleNamespace(f_bavail=space, f_blocks=100, f_favail=inodes, f_files=100)


def make(folder, pems, monkeypatch, pillar=None):
    """Return a :class:`Machine`; neither the folders above its own nor the real disk play a part."""
    folder.chmod(0o755)
    monkeypatch.setattr(check_dkim, "TOP", folder)
    monkeypatch.setattr(check_room.os, "statvfs", lambda path: filesystem())
    monkeypatch.setattr(os, "fsync", lambda number: None)  # these files need not outlive a power cut
    return Machine(folder, pems, pillar)


def wrong(findings):
    """What is not ok, as (id, about, status)."""
    return {(one.id, one.about, one.status) for one in findings if one.status != "ok"}
