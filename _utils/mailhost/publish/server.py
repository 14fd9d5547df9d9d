"""A conversation with the primary server of a zone: signed queries and updates over TCP."""

import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar, cast

from mailhost.dns.lookup import Options
from mailhost.dns.message import rcode
from mailhost.publish.change import Change
from mailhost.publish.credential import Credential
from mailhost.records.record import txt_strings

if TYPE_CHECKING:
    from dns.message import Message, QueryMessage
    from dns.rdtypes.txtbase import TXTBase
    from dns.rrset import RRset
    from dns.tsig import PeerError
    from dns.update import UpdateMessage

_Key = TypeVar("_Key")

# After so many lost answers the server is left alone: a dead one must not hold up a run for each of its zones.
_PATIENCE = 2
TOO_LONG = "its records do not fit one message"


@dataclass(frozen=True)
class Present:
    """What the server has at a name: TXT values and their records, or why that is not known.

    ``alias`` is the target of a CNAME there. ``is_made``: a wildcard synthesized what the server shows there.
    """

    values: tuple[bytes, ...] = ()
    records: "tuple[TXTBase, ...]" = ()
    trouble: str = ""
    ttl: int | None = None
    alias: str = ""
    is_made: bool = False


@dataclass(frozen=True)
class PlannedUpdate:
    """A change to send, the records that are at its name, and those that it replaces.

    ``unused``: nothing at all may exist at the name.
    """

    change: Change
    present: "tuple[TXTBase, ...]"
    older: "tuple[TXTBase, ...]"
    ttl: int
    unused: bool = False


class Refused(Exception):
    """The server refused the request, or was not asked."""


class AnswerLost(Exception):
    """A message was sent, but no trustworthy answer came."""


class _Closed(AnswerLost):
    """The connection was closed before the answer came."""


class PrimaryServer:
    """The primary server in one run: how to reach it, and whether asking it is still of any use."""

    def __init__(self, dns: ModuleType, credential: Credential, options: Options) -> None:
        self.dns, self.key_name = dns, credential.name
        self.endpoint = credential.server + (f" port {credential.port}" if credential.port != 53 else "")
        self._key = dns.tsig.Key(credential.name, credential.secret, credential.algorithm)
        self._in_flight, self._timeout = options.in_flight, credential.timeout
        self.ends = time.monotonic() + options.lifetime
        self._where = credential.server, credential.port
        self._addresses: list[tuple[str, int]] | None = None
        self._lost, self._useless = 0, ""

    def query(self, name: str, number: int) -> "QueryMessage":
        """Return a signed question for the TXT records at ``name``; the server may choose a view by the key."""
        message: QueryMessage = self.dns.message.make_query(name, "TXT", flags=0)
        message.id = number % 0x10000
        message.use_tsig(self._key)
        return message

    def ask(self, queries: "Mapping[_Key, QueryMessage]") -> "list[tuple[_Key, Message | Present]]":
        """Send queries, many at once; return pairs of their key and a response or a :class:`Present` with trouble."""
        waiting = dict(queries)
        told: list[tuple[_Key, Message | Present]] = []
        while waiting:
            said: list[tuple[_Key, Message | Present]] = []
            try:
                # A server may close a connection early. Ask its unanswered questions again, unless it answered none.
                self._ask(dict(list(waiting.items())[: self._in_flight]), said)
                trouble = ""
            except (Refused, AnswerLost) as err:
                trouble = str(err)
                if isinstance(err, _Closed) and not said and self._in_flight > 1:
                    # Some servers accept one question a connection, and further ones cost even the first its answer.
                    self._in_flight = 1
                    continue
            if not said:
                return [*told, *((key, Present(trouble=trouble)) for key in waiting)]
            for key, _ in said:
                del waiting[key]
            told += said
        return told

    def _ask(self, queries: "Mapping[_Key, QueryMessage]", said: "list[tuple[_Key, Message | Present]]") -> None:
        keys = {message.id: key for key, message in queries.items()}
        with self._connected() as (connection, ends):
            for message in queries.values():
                _put(connection, message.to_wire(), ends)
            for _ in queries:
                wire = _get(connection, ends)
                key = keys.pop(int.from_bytes(wire[:2], "big"), None)
                if key is not None:
                    said.append((key, self._response_or_trouble(wire, queries[key])))

    def _response_or_trouble(self, wire: bytes, request: "Message") -> "Message | Present":
        try:
            return self._response(wire, request)
        except AnswerLost as err:
            return Present(trouble=str(err))

    def update(self, zone: str, steps: Sequence[PlannedUpdate]) -> str:
        """Send an update; return the code of its response, or why it cannot be sent because of one of its records.

        :raises Refused: nothing was changed. :raises AnswerLost: whether something was changed is not known.
        """
        message = self._message(zone, steps)
        try:
            wire = message.to_wire()
        except self.dns.exception.TooBig:
            return TOO_LONG
        try:
            # Each update has its own connection: if the server closed one in between, the result would be unknown.
            with self._connected() as (connection, ends):
                _put(connection, wire, ends)
                response = self._response(_get(connection, ends), message)
        except AnswerLost:
            self._lost += 1
            if self._lost == _PATIENCE:
                self._useless = f"it was not asked, because it left {self._lost} updates of this run without an answer"
            raise
        return rcode(response)

    def _message(self, zone: str, steps: Sequence[PlannedUpdate]) -> "UpdateMessage":
        message: UpdateMessage = self.dns.update.UpdateMessage(f"{zone}.", keyring=self._key)
        for step in steps:
            name = self.dns.name.from_text(plain_name(step.change.name))
            if step.present:
                message.present(name, *step.present)
            elif step.unused:
                message.absent(name)
            else:
                message.absent(name, "TXT")
            if step.older:
                message.delete(name, *step.older)
            if step.change.wanted is not None:
                message.add(name, step.ttl, self._txt(step.change.wanted))
        return message

    def _txt(self, value: str) -> "TXTBase":
        kind = self.dns.rdtypes.ANY.TXT.TXT
        strings = [one.encode() for one in txt_strings(value)]
        record: TXTBase = kind(self.dns.rdataclass.IN, self.dns.rdatatype.TXT, strings)
        return record

    @contextmanager
    def _connected(self) -> Iterator[tuple[socket.socket, float]]:
        if not self._useless and time.monotonic() > self.ends:
            self._useless = "it was not asked, because the time of this run was over (mailserver:dns:lifetime)"
        if self._useless:
            raise Refused(self._useless)
        ends = time.monotonic() + self._timeout
        connection = self._connect()
        try:
            with connection:
                yield connection, ends
        except OSError as err:
            kind = AnswerLost if isinstance(err, TimeoutError) else _Closed
            raise kind(f"the answer got lost: {self._why(err)}") from err

    def _connect(self) -> socket.socket:
        try:
            if self._addresses is None:
                found = socket.getaddrinfo(*self._where, type=socket.SOCK_STREAM)
                # Addresses of another form exist only in a Python that is built without IPv6.
                self._addresses = [cast("tuple[str, int]", address[:2]) for *_, address in found]
        except OSError as err:
            self._useless = f"the name of the server has no address: {err.strerror}"
            raise Refused(self._useless) from err
        for address in self._addresses:
            try:
                connection = socket.create_connection(address, timeout=self._timeout)
            except OSError as err:
                self._useless = f"no connection to {address[0]}: {self._why(err)}"
            else:
                self._addresses, self._useless = [address], ""
                return connection
        raise Refused(self._useless)

    def _why(self, err: OSError) -> str:
        return f"time-out, {self._timeout} s" if isinstance(err, TimeoutError) else (err.strerror or str(err)).lower()

    def _response(self, wire: bytes, request: "Message") -> "Message":
        """Read a response. TSIG errors apply to all messages of the run (RFC 8945 section 5.2)."""
        dns, tsig = self.dns, self.dns.tsig
        try:
            response: Message = dns.message.from_wire(wire, keyring=self._key, request_mac=request.mac)
        except (tsig.PeerBadKey, tsig.PeerBadSignature, tsig.PeerBadTime, tsig.PeerError) as err:
            self._useless = self._meaning_of_tsig(err, wire, request)
            raise Refused(self._useless) from None
        except (dns.exception.DNSException, ValueError) as err:
            unsigned = self._unsigned(wire)
            raise AnswerLost(unsigned or f"the answer cannot be trusted ({type(err).__name__})") from None
        if not response.had_tsig:
            raise AnswerLost(self._unsigned(wire))
        if not request.is_response(response):
            raise AnswerLost("the answer belongs to another message")
        return response

    def _unsigned(self, wire: bytes) -> str:
        """Return a text for an answer without a signature; empty if the answer cannot be read."""
        try:
            code = rcode(self.dns.message.from_wire(wire))
        except (self.dns.exception.DNSException, ValueError):
            return ""
        return f"it answered {code} without a signature, as anybody on the way could"

    def _meaning_of_tsig(self, err: "PeerError", wire: bytes, request: "Message") -> str:
        tsig = self.dns.tsig
        if isinstance(err, tsig.PeerBadKey):
            return f"BADKEY: it knows no key {self.key_name} with this algorithm"
        if isinstance(err, tsig.PeerBadSignature):
            return f"BADSIG: the key {self.key_name} has another secret there"
        if isinstance(err, tsig.PeerBadTime):
            # The server's time is the last field of its answer (RFC 8945 section 5.2.3).
            size, server = struct.unpack("!H6s", wire[-8:])
            apart = int.from_bytes(server, "big") - cast("RRset", request.tsig)[0].time_signed
            return f"BADTIME: the clocks differ{f' by {abs(apart)} s' if size == 6 else ''}"
        return f"TSIG error: {err}"


def _put(connection: socket.socket, wire: bytes, ends: float) -> None:
    connection.settimeout(_left(ends))
    connection.sendall(len(wire).to_bytes(2, "big") + wire)


def _get(connection: socket.socket, ends: float) -> bytes:
    return _exactly(connection, int.from_bytes(_exactly(connection, 2, ends), "big"), ends)


def _exactly(connection: socket.socket, size: int, ends: float) -> bytes:
    received = b""
    while len(received) < size:
        connection.settimeout(_left(ends))
        part = connection.recv(size - len(received))
        if not part:
            raise ConnectionError("the connection was closed")
        received += part
    return received


def _left(ends: float) -> float:
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def plain_name(name: str) -> str:
    return name.lower().rstrip(".")
