"""Real BIND name servers on loopback addresses, each with zone data of its own."""

import os
import re
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager

import dns.exception
import dns.message
import dns.query
import dns.rdatatype

LIMIT = 300


def zone(servers, records="", ttl=300, negative_ttl=60):
    """Return a zone's text: SOA, an NS record for each of ``servers``, and ``records`` (names relative to it)."""
    lines = [f"$TTL {ttl}", f"@ SOA {servers[0]}. hostmaster.{servers[0]}. 1 3600 600 86400 {negative_ttl}"]
    return "\n".join([*lines, *(f"@ NS {server}." for server in servers), records, ""])


def signed_zone(folder, name, text, start="now-2h", end="now+30d", keys=None):
    """Return a zone's text signed by BIND's own tools, and its DS records as lines below its parent.

    :param start: when the signatures begin to be valid, and ``end`` when they expire, as ``dnssec-signzone`` takes it.
    :param keys: the folder of the zone's keys, made if it is not there.
    """
    folder = keys or folder / f"keys-{name}"
    for role in () if folder.exists() else ((), ("-f", "KSK")):
        folder.mkdir(exist_ok=True)
        command = ["dnssec-keygen", "-q", "-a", "ECDSAP256SHA256", *role, "-K", folder, name]
        subprocess.run(command, check=True, capture_output=True)
    (folder / "zone").write_text(text)
    command = ["dnssec-signzone", "-P", "-S", "-x", "-o", name, "-s", start, "-e", end, "-K", folder, "-d", folder]
    subprocess.run([*command, "-f", folder / "signed", folder / "zone"], check=True, capture_output=True)
    return (folder / "signed").read_text(), (folder / f"dsset-{name}.").read_text()


class NameServer:
    """One ``named`` at a port of a loopback address: it has ``zones``, or resolves from ``root_servers``.

    ``zones`` maps a zone's name to its text; text that BIND cannot load makes it answer SERVFAIL there.
    ``root_servers`` are addresses of servers with a root zone; given them, the server recurses for everybody.
    ``options`` are more statements for all of it; ``zone_options`` maps a zone's name to more of its statement,
    ``keys`` a TSIG key's name to its secret in base64. At 127.0.0.1 and a port above 1023, it needs no root.
    Use it as a context manager, or ``start`` and ``stop``; ``serve`` changes zones.
    """

    def __init__(self, folder, address, zones=None, root_servers=(), zone_options=None, keys=None, options="", port=53):
        self.folder, self.address, self.port = folder / f"named-{address}", address, port
        self.zones, self.root_servers = dict(zones or {}), tuple(root_servers)
        self._zone_options, self._keys = dict(zone_options or {}), dict(keys or {})
        self._options, self._daemon = options, None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    @property
    def _log(self):
        return self.folder / "log"

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self._log.touch()
        # AppArmor (Ubuntu, Debian) knows named by its path and would keep it out of the tests' folders.
        program = self.folder / "named"
        if not program.exists():
            shutil.copy2(shutil.which("named", path=f"{os.environ['PATH']}:/usr/sbin"), program)
        for name, text in self.zones.items():
            self._zone_file(name).write_text(text)
        (self.folder / "named.conf").write_text(self._configuration())
        # named listens on addresses that an interface has, and the kernel's 127.0.0.0/8 does not count.
        self._address("replace")
        loads = self._loads()
        # named would run on without the port, and a daemon that an earlier run left behind would answer in its place.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((self.address, self.port))
        self._daemon = subprocess.Popen(
            [program, "-f", "-4", "-n", "1", "-L", self._log, "-c", self.folder / "named.conf"],
            stderr=subprocess.DEVNULL,
        )
        try:
            self._wait(loads + 1)
        except BaseException:
            self.stop()
            raise

    def stop(self):
        if self._daemon is not None:
            self._daemon.terminate()
            try:
                self._daemon.wait(LIMIT)
            except subprocess.TimeoutExpired:
                self._daemon.kill()
                self._daemon.wait()
            self._daemon = None
            self._address("del")

    def serve(self, **zones):
        """Serve other text for the zones given (``serve(**{"alpha.test": text})``), and the others as before."""
        self.stop()
        self.zones.update(zones)
        self.start()

    def query(self, name, rdtype, recursion=False):
        """Ask this server, and return the response, a message of dnspython's."""
        message = dns.message.make_query(name, rdtype, flags=0x0100 if recursion else 0)
        return dns.query.tcp(message, self.address, timeout=LIMIT, port=self.port)

    def queries(self):
        """Return what this server was asked since it was made, in order: name, type and if recursion was desired."""
        asked = re.findall(r" query: (\S+) IN (\S+) ([+-])", self._log.read_text())
        return [(name.lower(), rdtype, sign == "+") for name, rdtype, sign in asked if name != "ready.invalid"]

    def _address(self, action):
        if self.address == "127.0.0.1":
            return
        subprocess.run(["ip", "address", action, f"{self.address}/32", "dev", "lo"], check=True)

    def _loads(self):
        """Return how often the zones were loaded since this server was made, well or not."""
        return self._log.read_text().count(": all zones loaded\n")

    def _wait(self, loads):
        # Before it has its zones, named answers SERVFAIL, and a resolver remembers that.
        ends = time.monotonic() + LIMIT
        message = dns.message.make_query("ready.invalid", "SOA", flags=0)
        while time.monotonic() < ends and self._daemon.poll() is None:
            try:
                dns.query.udp(message, self.address, timeout=0.1, port=self.port)
            except (dns.exception.Timeout, OSError):
                continue
            if self._loads() >= loads:
                return
            time.sleep(0.01)
        raise AssertionError(f"named at {self.address} does not answer:\n{self._log.read_text()}")

    def _zone_file(self, name):
        return self.folder / f"{name or 'root'}.zone"

    def _configuration(self):
        hints = "\n".join(f". NS root{n}.\nroot{n}. A {address}" for n, address in enumerate(self.root_servers))
        (self.folder / "hints").write_text(f"$TTL 3600\n{hints}\n")
        root = f'zone "." {{ type hint; file "{self.folder}/hints"; }};' if self.root_servers else ""
        zones = "\n".join(
            f'zone "{name or "."}" {{ type primary; file "{self._zone_file(name)}"; {more} }};'
            for name, more in ((name, self._zone_options.get(name, "")) for name in self.zones)
        )
        keys = "\n".join(
            f'key "{name}" {{ algorithm hmac-sha256; secret "{secret}"; }};' for name, secret in self._keys.items()
        )
        return f"""
options {{
  directory "{self.folder}";
  pid-file "{self.folder}/pid";
  session-keyfile "{self.folder}/session.key";
  listen-on port {self.port} {{ {self.address}; }};
  listen-on-v6 {{ none; }};
  query-source address {self.address};
  recursion {"yes" if self.root_servers else "no"};
  allow-query {{ any; }};
  allow-query-cache {{ any; }};
  allow-recursion {{ any; }};
  allow-transfer {{ any; }};
  dnssec-validation no;
  empty-zones-enable no;
  notify no;
  querylog yes;
  {self._options}
}};
controls {{ }};
logging {{
  channel all {{ file "{self._log}"; severity info; print-category yes; }};
  category default {{ all; }};
  category queries {{ all; }};
}};
{keys}
{root}
{zones}
"""


@contextmanager
def running(servers):
    """Run name servers, ``{address: NameServer}``, while the block runs."""
    try:
        for server in servers.values():
            server.start()
        yield servers
    finally:
        for server in servers.values():
            server.stop()
