"""What stands in for a part that this machine does not have: a name server for BIND, a milter for OpenDKIM."""

import re
import socketserver
import struct
import threading

import dkim
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.zone

MOST_BY_UDP = 1232
"""Bytes of an answer that is sent by UDP; a longer one is asked for by TCP."""
_NOT_SENT = 0x1 | 0x2 | 0x4 | 0x8 | 0x200
"""Connection, HELO, MAIL FROM, RCPT TO and DATA (SMFIP_NO…): a signature needs none of them."""
_NOT_ANSWERED = 0x80 | 0x40000 | 0x80000
"""Header fields, the end of the header, the body (SMFIP_NR_…)."""
_LEADING_SPACE, _ADDS_FIELDS, _VERSION = 0x100000, 0x1, 6


class NameServer:
    """An authoritative server for ``zones``, a name's text each, at ``address`` and ``port``, by UDP and TCP.

    Used as ``test/functional/name_server.py``'s, which runs a BIND.
    """

    def __init__(self, address, port, zones):
        self._zones = {}
        self.serve(**zones)
        self._udp = _Udp((address, port), lambda wire: self._answer(wire, MOST_BY_UDP))
        self._tcp = _Tcp((address, port), lambda wire: self._answer(wire, 65535))

    def __enter__(self):
        self._udp.__enter__()
        self._tcp.__enter__()
        return self

    def __exit__(self, *_):
        self._udp.__exit__()
        self._tcp.__exit__()

    def serve(self, **zones):
        """Serve other text for the zones given, and the others as before."""
        read = {dns.name.from_text(name): text for name, text in zones.items()}
        self._zones |= {name: dns.zone.from_text(text, name, relativize=False) for name, text in read.items()}

    def _answer(self, wire, limit):
        query = dns.message.from_wire(wire)
        response = dns.message.make_response(query)
        asked = query.question[0]
        origin = max((name for name in self._zones if asked.name.is_subdomain(name)), key=len, default=None)
        if origin is None:
            response.set_rcode(dns.rcode.REFUSED)
        else:
            response.flags |= dns.flags.AA
            _fill(response, self._zones[origin], asked)
        try:
            return response.to_wire(max_size=limit)
        except dns.exception.TooBig:
            short = dns.message.make_response(query)
            short.flags |= dns.flags.AA | dns.flags.TC
            return short.to_wire()


def _fill(response, zone, asked):
    """Put into a response what a zone has of a question, or that it has nothing (RFC 2308 section 2)."""
    found = zone.get_rrset(asked.name, asked.rdtype)
    if found is not None:
        response.answer.append(found)
        return
    response.authority.append(zone.get_rrset(zone.origin, "SOA"))
    # A name exists, too, if there are only names below it (RFC 8020 section 2).
    if not any(name.is_subdomain(asked.name) for name in zone.nodes):
        response.set_rcode(dns.rcode.NXDOMAIN)


class _Background:
    """A server that runs while a ``with`` block does, a thread for each conversation."""

    daemon_threads = allow_reuse_address = True

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class _Udp(_Background, socketserver.ThreadingUDPServer):
    def __init__(self, place, answer):
        super().__init__(place, _UdpQuery)
        self.answer = answer


class _UdpQuery(socketserver.BaseRequestHandler):
    def handle(self):
        wire, udp = self.request
        udp.sendto(self.server.answer(wire), self.client_address)


class _Tcp(_Background, socketserver.ThreadingTCPServer):
    def __init__(self, place, answer):
        super().__init__(place, _TcpQueries)
        self.answer = answer


class _TcpQueries(socketserver.StreamRequestHandler):
    def handle(self):
        while head := self.rfile.read(2):
            wire = self.server.answer(self.rfile.read(int.from_bytes(head, "big")))
            self.wfile.write(len(wire).to_bytes(2, "big") + wire)


class Milter(_Background, socketserver.ThreadingTCPServer):
    """A milter at a port of 127.0.0.1 that signs with dkimpy, as the tables of OpenDKIM say at that moment.

    :param key_table, signing_table: paths; tables of the form ``file:``, as the formula writes them.
    """

    def __init__(self, port, key_table, signing_table):
        super().__init__(("127.0.0.1", port), _Conversation)
        self.signature = lambda message: _signature(message, key_table, signing_table)


def _signature(message, key_table, signing_table):
    """Return the DKIM-Signature field of a message, its value alone; ``None``: no table has the author's domain."""
    keys, signers = _rows(key_table), _rows(signing_table)
    author = re.search(rb"^From:.*@([\w.-]+)", message, re.IGNORECASE | re.MULTILINE)
    name = author and signers.get(author[1].decode().lower())
    if not name:
        return None
    domain, selector, path = keys[name].split(":")
    with open(path, "rb") as file:
        pem = file.read()
    made = dkim.sign(message, selector.encode(), domain.encode(), pem, canonicalize=(b"relaxed", b"simple"))
    return made.partition(b":")[2].removesuffix(b"\r\n").replace(b"\r\n", b"\n")


def _rows(path):
    with open(path, encoding="utf-8") as file:
        return dict(line.split() for line in file if not line.startswith("#"))


class _Conversation(socketserver.StreamRequestHandler):
    """One connection in the milter protocol, version 6: the fields and the body come, and a signature goes back."""

    def handle(self):
        header, body = b"", b""
        while head := self.rfile.read(4):
            packet = self.rfile.read(int.from_bytes(head, "big"))
            command, content = packet[:1], packet[1:]
            if command == b"O":
                self._say(b"O", struct.pack("!III", _VERSION, _ADDS_FIELDS, _NOT_SENT | _NOT_ANSWERED | _LEADING_SPACE))
            elif command == b"L":
                name, value, _ = content.split(b"\0")
                header += name + b":" + value.replace(b"\n", b"\r\n") + b"\r\n"
            elif command == b"B":
                body += content
            elif command == b"E":
                signature = self.server.signature(header + b"\r\n" + body)
                if signature:
                    self._say(b"i", bytes(4) + b"DKIM-Signature\0" + signature + b"\0")
                self._say(b"c")
                header, body = b"", b""
            elif command == b"Q":
                return

    def _say(self, command, content=b""):
        self.wfile.write(struct.pack("!I", len(content) + 1) + command + content)
