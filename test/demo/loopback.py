"""The parts of the small demo on loopback: a host, its OpenDKIM and a name server, all of the user that runs it."""

import os
import time
from email.utils import formatdate

import dns.message
import dns.query
import stand_ins
from loopback_host import Host

from mailhost.dns import lookup
from mailhost.dns import sockets as dns_sockets
from mailhost.opendkim import milter as milters
from mailhost.postfix import needs
from name_server import NameServer, zone
from opendkim_daemon import OpenDkim, free_port

ADDRESS, SERVER = "127.0.0.1", "ns.test"
PROGRAMS = {
    "systemctl": """#!/bin/sh
pid=$(cat "{0}/pid")
case "$1 $2" in
  "show --property=MainPID") echo "$pid" ;;
  "kill --signal=USR1") [ "$pid" = 0 ] || kill -USR1 "$pid" ;;
  *) exit 1 ;;
esac
""",
    "postqueue": "#!/bin/sh\n",
}
"""In place of systemd, which is asked for OpenDKIM's process and to reload it, and of Postfix, whose queue is empty."""


class Loopback:
    """The parts, below ``folder``; each runs from its start to the end of ``stack``, a :class:`contextlib.ExitStack`.

    :param domain: the mail domain, below ``test``.
    :param missing: of ``named`` and ``opendkim``, what something stands in for.
    """

    def __init__(self, folder, domain, missing, stack):
        self.folder, self.domain, self.missing, self._stack = folder, domain, missing, stack
        self.dns_port, self.milter_port = free_port(), free_port()
        self.socket = f"inet:{self.milter_port}@{ADDRESS}"
        for name, text in PROGRAMS.items():
            path = folder / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text.format(folder))
            path.chmod(0o755)
        (folder / "pid").write_text("0\n")
        os.environ["PATH"] = f"{folder / 'bin'}:{os.environ['PATH']}"

    def start_name_server(self):
        """Start the only name server that is asked, with the root, ``test`` and the domain, which is empty yet."""
        # Port 53 is root's, and what resolvers the machine has is none of the demo's business.
        dns_sockets.PORT = self.dns_port
        lookup._system_resolvers = lambda dns: (ADDRESS,)
        zones = {
            "": zone([SERVER], f"test NS {SERVER}.\n{SERVER}. A {ADDRESS}"),
            "test": zone([SERVER], f"{SERVER}. A {ADDRESS}\n{self.domain}. NS {SERVER}."),
            self.domain: zone([SERVER]),
        }
        if "named" in self.missing:
            self._server = stand_ins.NameServer(ADDRESS, self.dns_port, zones)
        else:
            self._server = NameServer(self.folder, ADDRESS, zones, port=self.dns_port)
        self._stack.enter_context(self._server)

    def start_host(self, pillar):
        """Have Salt render the formula for a pillar, and OpenDKIM run on the files that come of it; return these."""
        self.host = Host(self.folder, pillar)
        files = self.host.write_files()
        self.host.run("mailserver-opendkim-tables")
        etc = self.folder / "etc/opendkim"
        if "opendkim" in self.missing:
            milter = stand_ins.Milter(self.milter_port, etc / "KeyTable", etc / "SigningTable.domains")
            self._stack.enter_context(milter)
        else:
            daemon = OpenDkim(self.folder, "opendkim")
            daemon.socket = self.socket
            self._stack.callback(daemon.stop)
            daemon.start_with(self.opendkim_conf())
            (self.folder / "pid").write_text(f"{daemon.process.pid}\n")
        return files

    def opendkim_conf(self):
        """Return the text of the host's opendkim.conf."""
        return (self.folder / "etc/opendkim.conf").read_text()

    def publish(self):
        """Put the records of the domain into its zone as ``mailserver.records`` emits them, and return these lines."""
        records = self.host.call("mailserver.records", self.domain, format="zone")
        self._server.serve(**{self.domain: zone([SERVER], records)})
        return records

    def send(self, login, recipient):
        """Return a message that a user of the domain writes as it leaves the host: signed, if OpenDKIM signs it."""
        author = f"{login}@{self.domain}"
        message = (
            f"From: {author}\r\nTo: {recipient}\r\nSubject: a first message\r\nDate: {formatdate()}\r\n"
            f"Message-ID: <{time.monotonic_ns()}@{self.domain}>\r\n\r\nIt works.\r\n"
        ).encode()
        macros = {"{auth_type}": "PLAIN", "{auth_authen}": login}
        session = milters.Session(daemon=needs.LOGINS, macros=macros)
        added = milters.sign(self.socket, message, author, [recipient], session=session)
        return "".join(f"{name}:{value}\r\n" for name, value in added).encode() + message

    def txt(self, name, timeout=5):
        """Return the text of the TXT record at a name (text or bytes) by the name server, ``""`` for none."""
        query = dns.message.make_query(name.decode() if isinstance(name, bytes) else name, "TXT")
        found = dns.query.tcp(query, ADDRESS, timeout=30, port=self.dns_port).answer
        return b"".join(found[0][0].strings).decode() if found else ""
