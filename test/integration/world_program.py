"""Runs in the host client: a world in which much is broken. Name servers by their address, web servers by their name.

Standard input is JSON: ``zones`` ({name: [[owner, type, value]…]}; a value may be RFC 3597's ``\\# LENGTH HEX``) and
``servers`` ({address: [manner, zones…]}). When all listen, the certificate of the authority that web servers'
certificates are by is printed; the world lasts until standard input ends.
"""

import json
import random
import socketserver
import ssl
import sys
import tempfile
import threading
import time
from datetime import datetime, timedelta, timezone

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

IN = dns.rdataclass.IN
OVER = threading.Event()
TTL = 3600
"""Seconds, longer than the tests take: where a server's address runs out before its name does, a resolver is lost."""

# ---- name servers


def rdata(rdtype, value):
    if not value.startswith("\\#"):
        return dns.rdata.from_text(IN, rdtype, value, relativize=False)
    return dns.rdata.GenericRdata(IN, dns.rdatatype.from_text(rdtype), bytes.fromhex("".join(value.split()[2:])))


class Zone:
    """The records of a zone: ``{(owner, type): records}``, and the names that are there."""

    def __init__(self, name, lines):
        self.name, self.sets = dns.name.from_text(name), {}
        for owner, rdtype, value in lines:
            key = (dns.name.from_text(owner), dns.rdatatype.from_text(rdtype))
            self.sets.setdefault(key, dns.rrset.RRset(key[0], IN, key[1])).add(rdata(rdtype, value), TTL)
        self.names = {above for owner, _ in self.sets for above in parents(owner)}

    def answer(self, response, name, rdtype):
        cut = next((one for one in parents(name) if one != self.name and (one, dns.rdatatype.NS) in self.sets), None)
        if cut and cut.is_subdomain(self.name):
            response.authority.append(self.sets[cut, dns.rdatatype.NS])
            return
        response.flags |= dns.flags.AA
        found = self.sets.get((name, rdtype)) or self.sets.get((name, dns.rdatatype.CNAME))
        if found:
            response.answer.append(found)
            return
        response.authority.append(self.sets[self.name, dns.rdatatype.SOA])
        if name not in self.names:
            response.set_rcode(dns.rcode.NXDOMAIN)


def parents(name):
    """Return a name and all above it."""
    return [dns.name.Name(name.labels[start:]) for start in range(len(name.labels))]


def well(query, zones):
    response = dns.message.make_response(query)
    name, rdtype = query.question[0].name.canonicalize(), query.question[0].rdtype
    zone = next((zones[one] for one in parents(name) if one in zones), None)
    if zone:
        zone.answer(response, name, rdtype)
    else:
        response.set_rcode(dns.rcode.REFUSED)
    return response


def code(rcode):
    def answer(query, zones):
        response = dns.message.make_response(query)
        response.set_rcode(rcode)
        return response

    return answer


def upward(query, zones):
    response = dns.message.make_response(query)
    response.authority.append(dns.rrset.from_text(".", 5, "IN", "NS", "ns1.lab.test."))
    return response


def other_id(query, zones):
    response = well(query, zones)
    response.id ^= 1
    return response


def other_question(query, zones):
    return dns.message.make_response(dns.message.make_query("foreign.test.", "TXT", id=query.id))


def foreign(query, zones):
    """Answer with somebody else's records in place of the name's own."""
    response = dns.message.make_response(query)
    response.flags |= dns.flags.AA
    response.answer.append(dns.rrset.from_text("foreign.test.", 5, "IN", "TXT", '"v=spf1 +all"'))
    return response


MANNERS = {
    "well": well,
    "refused": code(dns.rcode.REFUSED),
    "servfail": code(dns.rcode.SERVFAIL),
    "notimp": code(dns.rcode.NOTIMP),
    "lame": lambda query, zones: dns.message.make_response(query),
    "upward": upward,
    "other_id": other_id,
    "other_question": other_question,
    "foreign": foreign,
}
BY_TCP = {"cut": None, "trickle": well}
"""What comes by TCP where UDP's answer is cut short: nothing, or an answer that takes for ever."""


class Udp(socketserver.BaseRequestHandler):
    def handle(self):
        packet, socket = self.request
        manner = self.server.manner
        if manner == "silent":
            return
        if manner == "garbage":
            socket.sendto(packet[:2] + random.Random(7).randbytes(40), self.client_address)
            return
        query = dns.message.from_wire(packet)
        response = MANNERS.get(manner, lambda query, zones: dns.message.make_response(query))(query, self.server.zones)
        if manner in BY_TCP:
            response.flags |= dns.flags.TC
        wire = response.to_wire()
        if len(wire) > 1232:
            response = dns.message.make_response(query)
            response.flags |= dns.flags.TC | dns.flags.AA
            wire = response.to_wire()
        socket.sendto(wire, self.client_address)


class Tcp(socketserver.BaseRequestHandler):
    def handle(self):
        length = int.from_bytes(self.request.recv(2), "big")
        response = MANNERS["well"](dns.message.from_wire(self.request.recv(length)), self.server.zones).to_wire()
        whole = len(response).to_bytes(2, "big") + response
        if self.server.manner != "trickle":
            self.request.sendall(whole)
            return
        for octet in whole:
            self.request.sendall(bytes([octet]))
            if OVER.wait(0.5):
                return


class Threads(socketserver.ThreadingMixIn):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 100

    def handle_error(self, request, client_address):
        """Say nothing: clients that go away are part of these tests."""


class UdpServer(Threads, socketserver.UDPServer):
    pass


class TcpServer(Threads, socketserver.TCPServer):
    pass


# ---- web servers

POLICY = "version: STSv1\r\nmode: enforce\r\nmx: mx1.lab.test\r\nmax_age: 86400\r\n"


class Authority:
    """An authority that the host under test is to trust, and certificates by it, each made when it is asked for."""

    def __init__(self):
        self.key, self.contexts = ec.generate_private_key(ec.SECP256R1()), {}
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Authority of a broken world")])
        self.certificate = self._issue(self.name, self.key, x509.BasicConstraints(True, None))

    def _issue(self, subject, key, extension, days=(-2, 9)):
        now = datetime.now(timezone.utc)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now + timedelta(days[0])).not_valid_after(now + timedelta(days[1]))
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self.key, hashes.SHA256())

    def context(self, host):
        if host not in self.contexts:
            self.contexts[host] = self._context(host)
        return self.contexts[host]

    def _context(self, host):
        key = ec.generate_private_key(ec.SECP256R1())
        named = "other.broken.test" if ".wrongname." in host else host
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, named)])
        names = x509.SubjectAlternativeName([x509.DNSName(named)])
        made = self._issue(subject, key, names, (-2, -1) if ".expired." in host else (-2, 9))
        form, nothing = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile() as file:
            file.write(pem(made) + key.private_bytes(serialization.Encoding.PEM, form, nothing))
            file.flush()
            context.load_cert_chain(file.name)
        return context


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def page(status, body=POLICY, kind="text/plain", more=""):
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\n{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


PAGES = {
    "redirect": page("302 Found", "", more="Location: https://mta-sts.well.broken.test/.well-known/mta-sts.txt\r\n"),
    "huge": page("200 OK", POLICY + "mx: a.example\r\n" * 700_000),
    "gone": page("404 Not Found", "no"),
    "html": page("200 OK", "<p>Welcome", "text/html"),
    "nothttp": b"220 I speak SMTP\r\n",
    "nonsense": page("200 OK", "mode enforce"),
    "shut": b"",
}


class Web(socketserver.BaseRequestHandler):
    def handle(self):
        asked, context = [], ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

        def serve(connection, host, _):
            asked.append(host)
            connection.context = authority.context(host)

        context.sni_callback = serve
        peeked = self.request.recv(4096, 2)  # MSG_PEEK: whose name it is decides whether TLS is spoken at all
        if b"mta-sts.deaf." in peeked:
            OVER.wait()
            return
        connection = context.wrap_socket(self.request, server_side=True)
        connection.recv(4096)
        label = asked[0].split(".")[1]
        if label == "hangs":
            OVER.wait()
        elif label == "drips":
            for octet in page("200 OK"):
                connection.sendall(bytes([octet]))
                if OVER.wait(0.5):
                    return
        else:
            connection.sendall(PAGES.get(label, page("200 OK")))
            connection.unwrap()


# ---- all of it


def main():
    given = json.loads(sys.stdin.readline())
    zones = {dns.name.from_text(name): Zone(name, lines) for name, lines in given["zones"].items()}
    for address, (manner, *names) in given["servers"].items():
        servers = [UdpServer((address, 53), Udp)]
        if manner not in BY_TCP or BY_TCP[manner]:
            servers.append(TcpServer((address, 53), Tcp))
        for server in servers:
            server.manner = manner
            server.zones = {one: zones[one] for one in map(dns.name.from_text, names)}
            threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Thread(target=TcpServer(("", 443), Web).serve_forever, daemon=True).start()
    print(json.dumps(pem(authority.certificate).decode()), flush=True)
    sys.stdin.read()
    OVER.set()
    time.sleep(0.1)


authority = Authority()
main()
