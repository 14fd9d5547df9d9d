"""Sending queries to name servers: many at once through a few UDP sockets, and over TCP what does not fit a datagram.

With dnspython's socket, task and message for each question, that would cost ten times as much as the question itself.
"""

from __future__ import annotations

import asyncio
import functools
import secrets
import socket
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, cast

from mailhost.dns.message import RecordSet, Response, type_number
from mailhost.dns.txt_wire import read_texts

if TYPE_CHECKING:
    from dns._asyncbackend import Backend

SOCKETS = 16
"""Sockets for each address family. A forged answer must match the port as well as the ID."""
PORT = 53
_ROOM = 1 << 21
_PAYLOAD = 1232
"""Bytes: the largest answer that we accept by UDP. Datagrams of this size are not fragmented on the Internet."""
_AUTHORITATIVE, _TRUNCATED, _HEAD = 0x0400, 0x0200, 12
_NO_EDNS = (1, 4, 16)
"""FORMERR, NOTIMP, BADVERS: the replies of servers that do not support EDNS (RFC 6891 section 7)."""
_SHOWN_NAMES = b"abcdefghijklmnopqrstuvwxyz0123456789-_."
_Goal = tuple[str, int] | tuple[str, int, int, int]
"""An address as sockets take and report it: with its port and, for IPv6, the flow and the number of its interface."""
_Sender = tuple[str, int]
"""An address and, for a link-local address, the number of its interface."""
_Asked = tuple[str, str, int]
"""A question: a name, a type, and the flags of the message."""


@dataclass(frozen=True)
class Empty:
    """A response without an answer; only its header matters."""

    flags: int
    code: int
    answer: tuple[RecordSet, ...] = ()
    authority: tuple[RecordSet, ...] = ()
    additional: tuple[RecordSet, ...] = ()

    def rcode(self) -> int:
        return self.code


def question_wire(dns: ModuleType, name: str, rdtype: str) -> bytes:
    """Return a question's bytes as in a message (RFC 1035 section 4.1.2), in class IN."""
    return name_wire(dns, name) + type_number(rdtype).to_bytes(2, "big") + b"\0\1"


def name_wire(dns: ModuleType, name: str) -> bytes:
    """Return a name's bytes as in a message (RFC 1035 section 3.1).

    :raises dns.exception.DNSException: DNS cannot hold it.
    """
    wire = name.encode("utf-8", "replace")
    if len(wire) <= 253 and wire.translate(None, _SHOWN_NAMES) == b"":
        labels = wire.split(b".") if wire else []
        sizes = [len(label) for label in labels]
        if not sizes or (min(sizes) > 0 and max(sizes) <= 63):
            return b"".join(bytes((size,)) + label for size, label in zip(sizes, labels, strict=True)) + b"\0"
    whole: bytes = dns.name.from_text(f"{name}.").to_wire()
    return whole


def _edns(signed: bool) -> bytes:
    """Return the EDNS record of a query (RFC 6891 section 6.1.2): payload size, and whether to send signatures."""
    return b"\0\0\x29" + _PAYLOAD.to_bytes(2, "big") + b"\0\0" + (b"\x80" if signed else b"\0") + bytes(3)


@functools.lru_cache(maxsize=4096)
def _goal(address: str) -> _Goal:
    """Return an address as sockets take and report it: in canonical spelling, with the number of its interface."""
    found = socket.getaddrinfo(address, PORT, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)[0][4]
    # Only a Python without IPv6 has addresses in another form.
    return cast(_Goal, found)


class _Socket(asyncio.DatagramProtocol):
    """One socket, and the questions that wait for an answer on it: ``{(sender, number): (question, future)}``."""

    transport: asyncio.DatagramTransport

    def __init__(self) -> None:
        self.waiting: dict[tuple[_Sender, int], tuple[bytes, asyncio.Future[bytes]]] = {}

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # as asyncio has it
        self.transport = transport

    def datagram_received(self, wire: bytes, goal: _Goal) -> None:
        if len(wire) < _HEAD or not wire[2] & 0x80:
            return
        sender = goal[0].partition("%")[0], goal[3] if len(goal) > 2 else 0
        key = (sender, int.from_bytes(wire[:2], "big"))
        found = self.waiting.get(key)
        # This is a late answer to another question, or a forged one. Ignore it: the right one may still come.
        if found is None:
            return
        question, future = found
        if future.done() or goal[1] != PORT or not _echoes(wire, question):
            return
        future.set_result(wire)


def _echoes(wire: bytes, question: bytes) -> bool:
    if wire[4:6] == b"\0\0":
        # A server that refuses or cannot read the message may leave out the question.
        return bool(wire[3] & 0x0F)
    return wire[_HEAD : _HEAD + len(question)].lower() == question


class Way:
    """The sockets of one run; they live in the event loop of the thread that asks.

    Servers are asked with EDNS (RFC 6891). A server that does not support it says so or, against section 7, does not
    answer. It is then asked without EDNS for the rest of the run. DNSSEC signatures are only requested with EDNS.
    """

    def __init__(self, dns: ModuleType) -> None:
        self._dns = dns
        self._sockets: dict[socket.AddressFamily, list[_Socket]] = {}
        self._opening: dict[socket.AddressFamily, asyncio.Task[None]] = {}
        self._backend: Backend | None = None
        self._plain: set[str] = set()
        self._doubted: set[str] = set()
        self._speaks: set[str] = set()

    def close(self) -> None:
        """Close all sockets."""
        for one in (one for some in self._sockets.values() for one in some):
            one.transport.close()

    def doubt(self, address: str) -> None:
        """Send the next question to a silent server without EDNS, if it never answered one with it."""
        if address not in self._speaks:
            self._doubted.add(address)

    async def ask(
        self,
        address: str,
        name: str,
        rdtype: str,
        flags: int,
        timeout: float,
        signed: bool = False,
        brief: bool = False,
    ) -> Response:
        """Return the response of the server at ``address``: a dnspython message, or :class:`Empty`.

        :param flags: flags of the message, such as RD.
        :param timeout: seconds.
        :param signed: request DNSSEC signatures (the DO bit, RFC 3225 section 3).
        :param brief: if an authoritative response has no answer, do not read the rest of it.
        :raises asyncio.TimeoutError: there was no answer. :raises OSError: the question could not be sent.
        :raises dns.exception.DNSException: the response cannot be read.
        """
        edns = address not in self._plain and (signed or address not in self._doubted)
        response = await self._asked(address, (name, rdtype, flags), timeout, _edns(signed) if edns else b"", brief)
        if edns and response.rcode() in _NO_EDNS:
            self._plain.add(address)
            return await self._asked(address, (name, rdtype, flags), timeout, b"", brief)
        (self._speaks if edns else self._plain).add(address)
        self._doubted.discard(address)
        return response

    async def _asked(self, address: str, asked: _Asked, timeout: float, edns: bytes, brief: bool) -> Response:
        name, rdtype, flags = asked
        question = question_wire(self._dns, name, rdtype)
        wire = await self._by_udp(address, question, flags, timeout, edns)
        head = int.from_bytes(wire[2:4], "big")
        if head & _TRUNCATED:
            return await asyncio.wait_for(self._by_tcp(address, asked, edns), timeout)
        if (flags or (brief and head & _AUTHORITATIVE)) and wire[4:8] == b"\0\1\0\0":
            # A recursive response without an answer need not be read any further.
            return Empty(head, wire[3] & 0x0F)
        response: Response = read_texts(self._dns, wire, question) or self._dns.message.from_wire(wire)
        return response

    async def _by_udp(self, address: str, question: bytes, flags: int, timeout: float, edns: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        goal = _goal(address)
        sender = goal[0].partition("%")[0], goal[3] if len(goal) > 2 else 0
        sockets = await self._of_family(socket.AF_INET6 if len(goal) > 2 else socket.AF_INET)
        one, number = secrets.choice(sockets), secrets.randbelow(0x10000)
        while (sender, number) in one.waiting:
            one, number = secrets.choice(sockets), secrets.randbelow(0x10000)
        future: asyncio.Future[bytes] = loop.create_future()
        one.waiting[sender, number] = (question.lower(), future)
        expiry = loop.call_later(timeout, _expire, future)
        try:
            counts = b"\0\1\0\0\0\0" + (b"\0\1" if edns else b"\0\0")
            head = number.to_bytes(2, "big") + flags.to_bytes(2, "big") + counts
            one.transport.sendto(head + question + edns, goal)
            return await future
        finally:
            expiry.cancel()
            del one.waiting[sender, number]

    async def _by_tcp(self, address: str, asked: _Asked, edns: bytes) -> Response:
        dns = self._dns
        name, rdtype, flags = asked
        more = {"use_edns": 0, "payload": _PAYLOAD, "want_dnssec": bool(edns[7:] and edns[7] & 0x80)} if edns else {}
        message = dns.message.make_query(f"{name}.", rdtype, flags=flags, **more)
        self._backend = self._backend or dns.asyncbackend.get_backend("asyncio")
        response: Response = await dns.asyncquery.tcp(message, address, port=PORT, backend=self._backend)
        return response

    async def _of_family(self, family: socket.AddressFamily) -> list[_Socket]:
        if family not in self._opening:
            self._opening[family] = asyncio.ensure_future(self._open(family))
        if family not in self._sockets:
            await asyncio.shield(self._opening[family])
        return self._sockets[family]

    async def _open(self, family: socket.AddressFamily) -> None:
        loop = asyncio.get_running_loop()
        found: list[_Socket] = []
        for _ in range(SOCKETS):
            transport, one = await loop.create_datagram_endpoint(
                _Socket, family=family, local_addr=("::" if family == socket.AF_INET6 else "0.0.0.0", 0)
            )
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)
            found.append(one)
        self._sockets[family] = found


def _expire(future: asyncio.Future[bytes]) -> None:
    if not future.done():
        future.set_exception(asyncio.TimeoutError())
