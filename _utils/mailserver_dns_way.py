"""The way to name servers: many questions at once through a few sockets, and by TCP what does not fit a datagram.

A socket, a task and a message of dnspython for each question cost ten times what the question itself does.
"""

import asyncio
import secrets
import socket
from dataclasses import dataclass

from mailserver_dns_texts import read_texts

SOCKETS = 16
"""Sockets of each family. An answer has to hit the port as well as the number, so one who guesses needs both."""
PORT = 53
_ROOM = 1 << 21
_PAYLOAD = 1232
"""Bytes: the largest answer that we take by UDP, which no way on the internet cuts into fragments."""
_TRUNCATED, _HEAD = 0x0200, 12
_SHOWN_NAMES = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_.")


@dataclass(frozen=True)
class Empty:
    """A response that has no answer; all that matters of it is in its head."""

    flags: int
    code: int
    answer: tuple = ()
    authority: tuple = ()

    def rcode(self):
        return self.code


def question_wire(dns, name, rdtype):
    """Return a question's bytes as a message has them (RFC 1035 section 4.1.2), in the class IN."""
    kind = int(dns.rdatatype.from_text(rdtype)).to_bytes(2, "big")
    if _SHOWN_NAMES.issuperset(name.encode("utf-8", "replace")) and ".." not in name:
        labels = [label.encode() for label in name.split(".")] if name else []
        if len(name) <= 253 and all(0 < len(label) <= 63 for label in labels):
            return b"".join(bytes([len(label)]) + label for label in labels) + b"\0" + kind + b"\0\1"
    return dns.name.from_text(f"{name}.").to_wire() + kind + b"\0\1"


class _Socket(asyncio.DatagramProtocol):
    """One socket, and the questions that wait for an answer at it: ``{(address, number): (question, future)}``."""

    def __init__(self):
        self.waiting, self.transport = {}, None

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, wire, place):
        if len(wire) < _HEAD or not wire[2] & 0x80:
            return
        key = (place[0], int.from_bytes(wire[:2], "big"))
        question, future = self.waiting.get(key, (None, None))
        # A late answer to another question, or one that somebody made up, is not it: the right one may still come.
        if question is None or future.done() or place[1] != PORT or not _echoes(wire, question):
            return
        future.set_result(wire)


def _echoes(wire, question):
    if wire[4:6] == b"\0\0":
        # A server that refuses, or cannot read the message, may leave the question out.
        return bool(wire[3] & 0x0F)
    return wire[_HEAD : _HEAD + len(question)].lower() == question


class Way:
    """Sockets of one run; it lives in the event loop of the thread that asks."""

    def __init__(self, dns):
        self._dns, self._sockets, self._opening, self._backend = dns, {}, {}, None

    def close(self):
        """Close all sockets."""
        for one in (one for some in self._sockets.values() for one in some):
            one.transport.close()

    async def ask(self, address, name, rdtype, flags, timeout):
        """Return the response of the server at ``address``: a message of dnspython's, or :class:`Empty`.

        :param flags: of the message, such as RD.
        :param timeout: seconds.
        :raises asyncio.TimeoutError: none came. :raises OSError: the question could not be sent.
        :raises dns.exception.DNSException: the response cannot be read.
        """
        question = question_wire(self._dns, name, rdtype)
        wire = await self._by_udp(address, question, flags, timeout)
        if int.from_bytes(wire[2:4], "big") & _TRUNCATED:
            return await asyncio.wait_for(self._by_tcp(address, name, rdtype, flags), timeout)
        if flags and wire[4:8] == b"\0\1\0\0":
            # Who recursed, and found nothing, need not be read any further.
            return Empty(int.from_bytes(wire[2:4], "big"), wire[3] & 0x0F)
        return read_texts(self._dns, wire, question) or self._dns.message.from_wire(wire)

    async def _by_udp(self, address, question, flags, timeout):
        loop = asyncio.get_running_loop()
        sockets = await self._of_family(socket.AF_INET6 if ":" in address else socket.AF_INET)
        one, number = secrets.choice(sockets), secrets.randbelow(0x10000)
        while (address, number) in one.waiting:
            one, number = secrets.choice(sockets), secrets.randbelow(0x10000)
        future = loop.create_future()
        one.waiting[address, number] = (question.lower(), future)
        expiry = loop.call_later(timeout, _expire, future)
        try:
            # EDNS (RFC 6891 section 6.1.2), with nothing in it but how much fits.
            edns = b"\0\0\x29" + _PAYLOAD.to_bytes(2, "big") + bytes(6)
            counts = b"\0\1\0\0\0\0\0\1"
            head = number.to_bytes(2, "big") + flags.to_bytes(2, "big") + counts
            one.transport.sendto(head + question + edns, (address, PORT))
            return await future
        finally:
            expiry.cancel()
            del one.waiting[address, number]

    async def _by_tcp(self, address, name, rdtype, flags):
        dns = self._dns
        message = dns.message.make_query(f"{name}.", rdtype, use_edns=0, payload=_PAYLOAD, flags=flags)
        self._backend = self._backend or dns.asyncbackend.get_backend("asyncio")
        return await dns.asyncquery.tcp(message, address, port=PORT, backend=self._backend)

    async def _of_family(self, family):
        if family not in self._opening:
            self._opening[family] = asyncio.ensure_future(self._open(family))
        if family not in self._sockets:
            await asyncio.shield(self._opening[family])
        return self._sockets[family]

    async def _open(self, family):
        loop, found = asyncio.get_running_loop(), []
        for _ in range(SOCKETS):
            transport, one = await loop.create_datagram_endpoint(
                _Socket, family=family, local_addr=("::" if family == socket.AF_INET6 else "0.0.0.0", 0)
            )
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)
            found.append(one)
        self._sockets[family] = found


def _expire(future):
    if not future.done():
        future.set_exception(asyncio.TimeoutError())
