"""A client of the milter protocol."""

import contextlib
import re
import secrets
import socket as net
import struct
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from mailhost.errors import ProbeError

PROBE = "mailserver-probe"
"""The probe's ``{daemon_name}``; it tells OpenDKIM's script that this is not the mail of a login."""

Field: TypeAlias = tuple[str, str, bool]
"""A header field: its name, its value with all that follows the colon, and whether the milter added it."""
Packet: TypeAlias = tuple[bytes, bytes]
"""A command or an answer of the protocol: its code and its data."""

_VERSION = 6
_ALL_ACTIONS = 0x1FF
_BODY_CHUNK = 65535
_LEADING_SPACE = 0x100000

# What the MTA may leave out, or may send without waiting for an answer, if the milter asks for it (SMFIP_NO…,
# SMFIP_NR_…).
_NOT_SENT = {b"C": 0x1, b"H": 0x2, b"M": 0x4, b"R": 0x8, b"B": 0x10, b"L": 0x20, b"N": 0x40, b"T": 0x200}
_NOT_ANSWERED = {
    b"C": 0x1000,
    b"H": 0x2000,
    b"M": 0x4000,
    b"R": 0x8000,
    b"T": 0x10000,
    b"N": 0x40000,
    b"B": 0x80000,
    b"L": 0x80,
}
_SKIP = 0x400
_OFFERED = _LEADING_SPACE | _SKIP | sum(_NOT_SENT.values()) | sum(_NOT_ANSWERED.values())

_STEPS = {
    b"O": "the negotiation",
    b"C": "the connection",
    b"H": "HELO",
    b"M": "MAIL FROM",
    b"R": "RCPT TO",
    b"T": "DATA",
    b"L": "a header field",
    b"N": "the end of the header",
    b"B": "the body",
    b"E": "the end of the message",
}


@dataclass(frozen=True)
class Session:
    """What an MTA tells a milter about where a message comes from.

    ``macros``: those of MAIL FROM besides the queue ID, such as ``{auth_authen}``; ``None``: the sender is logged in.
    """

    daemon: str = PROBE
    host: str = "localhost"
    address: str = "127.0.0.1"
    macros: Mapping[str, str] | None = None
    number: str = ""

    def sent_macros(self, job: str, sender: str) -> dict[str, str]:
        login = {"{auth_type}": "PLAIN", "{auth_authen}": sender} if self.macros is None else self.macros
        return {"i": job, **login, "{mail_addr}": sender}


def sign(
    socket: str,
    message: bytes,
    sender: str,
    recipients: Iterable[str],
    timeout: float = 10.0,
    session: Session | None = None,
) -> list[tuple[str, str]]:
    """Let the milter at ``socket`` filter ``message``, and return the header fields that it added, the top one first.

    :param socket: in OpenDKIM's spelling: ``inet:8891@127.0.0.1``, ``inet6:…``, ``local:/path``, ``unix:/path``.
    :param message: bytes; lines end in LF or CRLF.
    :param sender: the address of MAIL FROM. The milter is also given it as the login, so that it signs whether or not
        it trusts 127.0.0.1.
    :param timeout: seconds for the whole conversation.
    :param session: further data for the milter, a :class:`Session`; by default the probe's.
    :return: a list of (name, value); the value is all that follows the colon, folded with CRLF.
    :raises ProbeError: no connection, no answer in time, a temporary failure, a rejection, or not the milter protocol.
    """
    fields, _ = filtered(socket, message, sender, recipients, timeout, session)
    return [(name, value) for name, value, added in fields if added]


def filtered(
    socket: str, message: bytes, sender: str, recipients: Iterable[str], timeout: float, session: Session | None = None
) -> tuple[list[Field], bytes]:
    """Return (fields, body): all header fields as (name, value, added) after the milter's changes, and the body."""
    fields, body = _split(message)
    ends = time.monotonic() + timeout
    with _connect(socket, ends) as connection:
        milter = _Milter(connection, ends)
        milter.negotiate()
        if _send(milter, fields, body, sender, recipients, session or Session()):
            fields = _changed(fields, milter.step(b"E"))
        milter.quit()
    return fields, body


def _split(message: bytes) -> tuple[list[Field], bytes]:
    """Return the header fields of ``message`` as (name, value, added), and its body, both with CRLF."""
    text = re.sub(rb"\r?\n", b"\r\n", message)
    header, _, body = text.partition(b"\r\n\r\n")
    unfolded = re.split(r"\r\n(?![ \t])", header.decode("utf-8", "surrogateescape"))
    return [(*line.partition(":")[::2], False) for line in unfolded if line], body


def _send(
    milter: "_Milter", fields: Iterable[Field], body: bytes, sender: str, recipients: Iterable[str], session: Session
) -> bool:
    """Send all but the end of the message; return false if the milter accepted it early and leaves it unchanged."""
    job = session.number or f"PROBE{secrets.token_hex(4).upper()}"
    login = session.sent_macros(job, sender)
    milter.macros(b"C", {"j": net.gethostname(), "{daemon_name}": session.daemon, "v": "Postfix"})
    family = b"6" if ":" in session.address else b"4"
    steps = [
        (b"C", _text(session.host) + family + struct.pack("!H", 25) + _text(session.address)),
        (b"H", b"localhost\0"),
        (b"M", _text(f"<{sender}>")),
        *((b"R", _text(f"<{recipient}>")) for recipient in recipients),
        (b"T", b""),
        *((b"L", _text(name) + _text(milter.outgoing(value))) for name, value, _ in fields),
        (b"N", b""),
        *((b"B", body[start : start + _BODY_CHUNK]) for start in range(0, len(body), _BODY_CHUNK)),
    ]
    told = {b"M": login, b"R": {"i": job}, b"T": {"i": job}, b"N": {"i": job}}
    skipped = b""
    for command, data in steps:
        if command == skipped:
            continue
        if command in told:
            milter.macros(command, told[command])
        answer = milter.step(command, data)
        if answer and answer[-1][0] == b"a":
            return False
        if answer and answer[-1][0] == b"s":
            skipped = command
    milter.macros(b"E", {"i": job})
    return True


def _changed(fields: Iterable[Field], answers: Iterable[Packet]) -> list[Field]:
    """Return ``fields`` after the header changes in ``answers``, each of which is (code, data)."""
    fields = list(fields)
    for code, data in answers:
        if code == b"h":
            name, value = _strings(data)
            fields.append((name, value, True))
        elif code == b"i":
            name, value = _strings(data[4:])
            fields.insert(struct.unpack("!I", data[:4])[0], (name, value, True))
        elif code == b"m":
            name, value = _strings(data[4:])
            same = [number for number, field in enumerate(fields) if field[0].lower() == name.lower()]
            occurrence = struct.unpack("!I", data[:4])[0]
            if not 1 <= occurrence <= len(same):
                fields.append((name, value, True))
            else:
                index = same[occurrence - 1]
                fields[index : index + 1] = [(name, value, fields[index][2])] if value.strip() else []
    return fields


def _strings(data: bytes) -> tuple[str, str]:
    parts = data.decode("utf-8", "surrogateescape").split("\0")
    if len(parts) < 2:
        raise ProbeError("what answers does not speak the milter protocol: a header change without name and value")
    return parts[0], re.sub(r"\r?\n", "\r\n", parts[1])


def _text(value: str) -> bytes:
    return value.replace("\r\n", "\n").encode("utf-8", "surrogateescape") + b"\0"


def _connect(socket: str, ends: float) -> net.socket:
    family, _, address = socket.partition(":") if not socket.startswith("/") else ("local", "", socket)
    left = max(ends - time.monotonic(), 0.001)
    try:
        if family in ("local", "unix"):
            connection = net.socket(net.AF_UNIX)
            try:
                connection.settimeout(left)
                connection.connect(address)
            except OSError:
                connection.close()
                raise
            return connection
        if family not in ("inet", "inet6"):
            raise ProbeError(f"{socket!r} is not an OpenDKIM socket (inet:8891@127.0.0.1, local:/path)")
        port, _, host = address.partition("@")
        connection = net.create_connection((host.strip("[]") or "localhost", int(port)), left)
        # Macros are sent in a packet of their own; without this the kernel would wait for the milter's delayed ACK.
        connection.setsockopt(net.IPPROTO_TCP, net.TCP_NODELAY, 1)
        return connection
    except (OSError, ValueError) as err:
        raise ProbeError(f"no connection to {socket} ({err}): is OpenDKIM running, and listening there?") from err


class _Milter:
    """One connection to a milter, from the MTA's side."""

    def __init__(self, connection: net.socket, ends: float) -> None:
        self.connection, self.ends = connection, ends
        self.protocol = 0
        self.version = _VERSION

    def negotiate(self) -> None:
        self._send(b"O", struct.pack("!III", _VERSION, _ALL_ACTIONS, _OFFERED))
        code, data = self._receive("the negotiation")
        if code != b"O" or len(data) < 12:
            raise ProbeError(f"what answers does not speak the milter protocol: {code + data[:20]!r}")
        self.version, actions, self.protocol = struct.unpack("!III", data[:12])
        if not 2 <= self.version <= _VERSION or actions & ~_ALL_ACTIONS or self.protocol & ~_OFFERED:
            raise ProbeError(
                f"the milter wants what was not offered: version {self.version}, actions {actions:#x}, "
                f"protocol {self.protocol:#x}"
            )

    def outgoing(self, value: str) -> str:
        """Return a header field's value as this milter wants it: with or without the space after the colon."""
        if self.protocol & _LEADING_SPACE:
            return value
        return value[1:] if value[:1] in (" ", "\t") else value

    def macros(self, command: bytes, values: Mapping[str, str]) -> None:
        if not self._left_out(command):
            self._send(b"D", command + b"".join(_text(part) for pair in values.items() for part in pair))

    def step(self, command: bytes, data: bytes = b"") -> list[Packet]:
        """Send one command and return its answers as (code, data); the one that ends the step comes last."""
        if self._left_out(command):
            return []
        self._send(command, data)
        if self.protocol & _NOT_ANSWERED.get(command, 0):
            return []
        where = _STEPS[command]
        answers = []
        while True:
            code, data = self._receive(where)
            _refuse(code, data, where)
            if code != b"p":
                answers.append((code, self._spaced(code, data)))
            if code in (b"c", b"a", b"s"):
                return answers

    def quit(self) -> None:
        with contextlib.suppress(ProbeError):
            self._send(b"Q", b"")

    def _left_out(self, command: bytes) -> bool:
        return bool(self.protocol & _NOT_SENT.get(command, 0)) or (command == b"T" and self.version < 4)

    def _spaced(self, code: bytes, data: bytes) -> bytes:
        """Add the space after the colon where the milter leaves that to the MTA."""
        if code not in (b"h", b"i", b"m") or self.protocol & _LEADING_SPACE:
            return data
        start = 0 if code == b"h" else 4
        name, zero, value = data[start:].partition(b"\0")
        return data[:start] + name + zero + (b" " if value.strip(b"\0") else b"") + value

    def _send(self, code: bytes, data: bytes) -> None:
        self.connection.settimeout(self._left("it takes no more"))
        try:
            self.connection.sendall(struct.pack("!I", len(data) + 1) + code + data)
        except OSError as err:
            raise ProbeError(f"the milter broke the connection off ({err}): see OpenDKIM's log") from err

    def _receive(self, where: str) -> Packet:
        (length,) = struct.unpack("!I", self._exactly(4, where))
        if not 1 <= length <= 0x1000000:
            raise ProbeError(f"what answers does not speak the milter protocol: a packet of {length} bytes")
        packet = self._exactly(length, where)
        return packet[:1], packet[1:]

    def _exactly(self, count: int, where: str) -> bytes:
        got = b""
        while len(got) < count:
            self.connection.settimeout(self._left(f"no answer to {where}"))
            try:
                more = self.connection.recv(count - len(got))
            except TimeoutError as err:
                raise ProbeError(f"the milter's time is over: no answer to {where}") from err
            except OSError as err:
                raise ProbeError(f"the milter broke the connection off at {where} ({err}): see OpenDKIM's log") from err
            if not more:
                raise ProbeError(f"the milter closed the connection at {where}: see OpenDKIM's log")
            got += more
        return got

    def _left(self, what: str) -> float:
        left = self.ends - time.monotonic()
        if left <= 0:
            raise ProbeError(f"the milter's time is over: {what}")
        return left


def _refuse(code: bytes, data: bytes, where: str) -> None:
    said = data.rstrip(b"\0").decode("utf-8", "replace")
    if code == b"t" or (code == b"y" and said.startswith("4")):
        raise ProbeError(f"temp-failed ({said or '451'}) at {where}: OpenDKIM's log says why")
    if code in (b"r", b"y"):
        raise ProbeError(f"rejected ({said or '550'}) at {where}: OpenDKIM's log says why")
    refusals = {b"d": "discarded", b"q": f"quarantined ({said})", b"4": "refused (421)", b"f": "refused the connection"}
    if code in refusals:
        raise ProbeError(f"{refusals[code]} at {where}: OpenDKIM's log says why")
    if code not in (b"c", b"a", b"s", b"p", b"h", b"i", b"m", b"b", b"+", b"-", b"2", b"e", b"l"):
        raise ProbeError(f"what answers does not speak the milter protocol: {code!r} to {where}")
