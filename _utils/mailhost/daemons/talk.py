"""Conversations with mail ports in SMTP, LMTP, IMAP and POP3, also over TLS, with time limits."""

import contextlib
import re
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, cast

from mailhost.daemons.services import Service
from mailhost.errors import HandshakeFailed, NoAnswer, NothingListens, PutOff, WireError
from mailhost.wording import plain

if TYPE_CHECKING:
    from typing_extensions import Self

_LONGEST_LINE = 8192
_MOST_LINES = 200


@dataclass(frozen=True)
class Budget:
    """Limits in seconds: ``answer`` for one answer, ``total`` for all conversations together."""

    answer: float = 5
    total: float = 60
    started: float = field(default_factory=time.monotonic)

    def ends(self) -> float:
        """Return the moment, on the monotonic clock, by which the next answer must arrive."""
        return min(time.monotonic() + self.answer, self.started + self.total)


def any_certificate(
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2, maximum: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED
) -> ssl.SSLContext:
    """Return a TLS context that accepts any certificate: it is inspected, not trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version, context.maximum_version = minimum, maximum
    return context


def short(text: object, limit: int = 160) -> str:
    """Return text in one line of at most ``limit`` characters."""
    return plain(" ".join(str(text)[:_LONGEST_LINE].split()), limit)


def open_talk(service: Service, budget: Budget) -> "Talk":
    """Return an unconnected :class:`Talk` with a service, in its protocol."""
    kinds: dict[str, type[Talk]] = {"smtp": SmtpTalk, "imap": ImapTalk, "pop3": Pop3Talk}
    return kinds[service.protocol](service, budget)


_PUT_OFF = re.compile(r"(?!454)4\d\d\b|454 4\.3\.")
"""A temporary reply (RFC 5321 section 4.2.1) that says nothing about TLS: it is not STARTTLS's own 454 (RFC 3207
section 4), or it names the state of the mail system (RFC 3463 section 3.4). Postfix without its milter sends
`454 4.3.0`."""


class Talk:
    """One connection to a service, ended properly; errors on it are :class:`WireError`.

    ``capabilities`` is what the server offers, from keyword to parameters; ``None`` before :meth:`hello`. There is a
    ``socket`` only after :meth:`connect`. A protocol's own class says how a command is answered in it.
    """

    goodbye = "QUIT"

    def __init__(self, service: Service, budget: Budget) -> None:
        self.service, self.budget = service, budget
        self.buffer, self.asked = b"", "the connection"
        self.capabilities: dict[str, list[str]] | None = None
        self.lost = False

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *_: object) -> None:
        if not hasattr(self, "socket"):
            return
        if not self.lost:
            with contextlib.suppress(WireError):
                self.ask(self.goodbye)
        self.socket.close()

    def ask(self, command: str) -> "Answer":
        """Send a command, and return its answer."""
        raise NotImplementedError

    def greet(self) -> tuple[bool, str]:
        """Return whether the server is ready, and its greeting."""
        raise NotImplementedError

    def hello(self) -> "Reply | str":
        """Ask for the ``capabilities``, and return what was answered."""
        raise NotImplementedError

    def ask_for_tls(self) -> tuple[bool, "Reply | str"]:
        """Return whether the server is ready for TLS, and its answer."""
        raise NotImplementedError

    def offers_tls(self) -> bool:
        """Tell whether the server offers TLS; :meth:`hello` comes first."""
        raise NotImplementedError

    def offers_logins(self) -> bool:
        """Tell whether the server offers a login with a password as text; :meth:`hello` comes first."""
        raise NotImplementedError

    def connect(self, context: ssl.SSLContext | None = None) -> None:
        """Connect, and with implicit TLS do the handshake; ``context`` is for TLS (:func:`any_certificate`)."""
        service = self.service
        source = (service.source, 0) if service.source else None
        try:
            self.socket = socket.create_connection((service.address, service.port), self._left(), source)
        except ConnectionRefusedError as err:
            raise NothingListens(f"{service.endpoint} refused the connection") from err
        except OSError as err:
            raise self._failed(err) from err
        if service.direct:
            self.handshake(context)

    def handshake(self, context: ssl.SSLContext | None = None) -> None:
        """Continue over TLS (RFC 8446)."""
        self.asked, self.buffer, self.capabilities = "the TLS handshake", b"", None
        try:
            self.socket.settimeout(self._left())
            self.socket = (context or any_certificate()).wrap_socket(self.socket, server_hostname=self.service.host)
        except TimeoutError as err:
            raise self._failed(err) from err
        except OSError as err:
            self.lost = True
            raise HandshakeFailed(f"{self.service.endpoint}: no TLS: {_reason(err)}") from err

    def starttls(self, context: ssl.SSLContext | None = None) -> None:
        """Ask for TLS, and continue over it.

        :raises PutOff: the server takes no command now, for reasons that have nothing to do with TLS.
        """
        positive, words = self.ask_for_tls()
        if _PUT_OFF.match(str(words)):
            raise PutOff(f"{self.service.endpoint} answered STARTTLS with {short(words)}")
        if not positive:
            raise HandshakeFailed(f"{self.service.endpoint} answered STARTTLS with {short(words)}")
        self.handshake(context)

    def say(self, text: str) -> None:
        """Send a command as it is, and end the line."""
        self.send(text.encode() + b"\r\n", text)

    def send(self, octets: bytes, asked: str) -> None:
        """Send bytes as they are; ``asked`` describes them in an error message."""
        self.asked = short(asked, 60)
        try:
            self.socket.settimeout(self._left())
            self.socket.sendall(octets)
        except OSError as err:
            raise self._failed(err) from err

    def line(self, ends: float) -> str:
        """Return the next line without its end; ``ends`` is the moment by which it must arrive."""
        while b"\n" not in self.buffer:
            if len(self.buffer) > _LONGEST_LINE:
                raise self._not_of_protocol("a line without end")
            try:
                self.socket.settimeout(self._left(ends))
                octets = self.socket.recv(4096)
            except OSError as err:
                raise self._failed(err) from err
            if not octets:
                raise self._failed(ConnectionError("closed the connection"))
            self.buffer += octets
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.rstrip(b"\r").decode("utf-8", "replace")

    def lines(self, is_last: Callable[[str], bool]) -> list[str]:
        """Return lines up to the first for which ``is_last`` is true, as one answer with one time limit."""
        ends = self.budget.ends()
        found = [self.line(ends)]
        while not is_last(found[-1]):
            if len(found) == _MOST_LINES:
                raise self._not_of_protocol("an answer without end")
            found.append(self.line(ends))
        return found

    def first_line(self, beginnings: tuple[str, ...]) -> str:
        """Return the greeting, which must have one of these beginnings."""
        self.asked = "the connection"
        (line,) = self.lines(lambda _: True)
        if not line.upper().startswith(beginnings):
            raise self._not_of_protocol(repr(short(line, 60)))
        return line

    def _offered(self) -> dict[str, list[str]]:
        """Return the ``capabilities``, for which :meth:`hello` has asked."""
        return cast("dict[str, list[str]]", self.capabilities)

    def _left(self, ends: float | None = None) -> float:
        left = (ends or self.budget.ends()) - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _failed(self, err: OSError) -> WireError:
        self.lost = True
        endpoint = self.service.endpoint
        if isinstance(err, TimeoutError):
            return NoAnswer(f"{endpoint} gave no answer to {self.asked} within {self.budget.answer:g} s")
        return WireError(f"{endpoint}, after {self.asked}: {_reason(err)}")

    def _not_of_protocol(self, seen: str) -> WireError:
        self.lost = True
        return WireError(f"{self.service.endpoint} answered {self.asked} with {seen}")


def _reason(err: OSError) -> str:
    if isinstance(err, ssl.SSLError) and err.reason:
        return err.reason.lower().replace("_", " ")
    return short(getattr(err, "strerror", None) or err or type(err).__name__)


@dataclass(frozen=True)
class Reply:
    """An SMTP reply (RFC 5321 section 4.2): its code, and its lines without the code."""

    code: int
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return short(f"{self.code} {' / '.join(self.lines)}")


Answer: TypeAlias = Reply | list[str] | str
"""The answer to a command: in SMTP a reply, in IMAP its lines, in POP3 its line."""


class SmtpTalk(Talk):
    """SMTP (RFC 5321, STARTTLS by RFC 3207)."""

    def ask(self, command: str) -> Reply:
        """Send a command, and return its :class:`Reply`."""
        self.say(command)
        return self.reply()

    def reply(self) -> Reply:
        lines = self.lines(lambda line: line[3:4] != "-")
        for line in lines:
            if not re.match(r"[2-5]\d\d([ -]|$)", line):
                raise self._not_of_protocol(repr(short(line, 60)))
        return Reply(int(lines[-1][:3]), tuple(line[4:] for line in lines))

    def greet(self) -> tuple[bool, str]:
        """Return whether the server is ready, and its greeting."""
        self.asked = "the connection"
        reply = self.reply()
        return reply.code == 220, str(reply)

    def hello(self) -> Reply:
        """Introduce ourselves by our address (RFC 5321 section 4.1.3), which no rule about host names rejects."""
        mine = self.socket.getsockname()[0]
        reply = self.ask(f"EHLO [{'IPv6:' if ':' in mine else ''}{mine}]")
        words = [line.upper().replace("AUTH=", "AUTH ").split() for line in reply.lines[1:]]
        self.capabilities = {one[0]: one[1:] for one in words if one} if reply.code == 250 else {}
        return reply

    def ask_for_tls(self) -> tuple[bool, Reply]:
        reply = self.ask("STARTTLS")
        return reply.code == 220, reply

    def offers_tls(self) -> bool:
        return "STARTTLS" in self._offered()

    def offers_logins(self) -> bool:
        return "AUTH" in self._offered()


class LmtpTalk(SmtpTalk):
    """LMTP (RFC 2033) on a Unix socket, whose path is the service's address."""

    def connect(self, context: ssl.SSLContext | None = None) -> None:
        """Connect; ``context`` has no meaning here."""
        try:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(self._left())
            self.socket.connect(self.service.address)
        except OSError as err:
            raise self._failed(err) from err

    def hello(self) -> Reply:
        """Introduce ourselves (RFC 2033 section 4.1)."""
        self.capabilities = {}
        return self.ask("LHLO localhost")


class ImapTalk(Talk):
    """IMAP (RFC 9051), as far as it is used before a login."""

    goodbye = "LOGOUT"

    def ask(self, command: str) -> list[str]:
        """Send a command, and return the lines of its answer, the tagged line last."""
        self.say(f"a1 {command}")
        return self.lines(lambda line: line.startswith("a1 "))

    def greet(self) -> tuple[bool, str]:
        line = self.first_line(("* OK", "* PREAUTH", "* BYE"))
        return not line.upper().startswith("* BYE"), short(line)

    def hello(self) -> str:
        lines = self.ask("CAPABILITY")
        listed = (line.upper().split()[2:] for line in lines if line.upper().startswith("* CAPABILITY "))
        self.capabilities = {word: [] for words in listed for word in words}
        return short(" / ".join(lines))

    def ask_for_tls(self) -> tuple[bool, str]:
        answer = self.ask("STARTTLS")[-1]
        return answer.upper().startswith("A1 OK"), answer

    def offers_tls(self) -> bool:
        return "STARTTLS" in self._offered()

    def offers_logins(self) -> bool:
        """LOGIN is available unless LOGINDISABLED is offered (RFC 9051 section 6.2.3)."""
        named = {"AUTH=PLAIN", "AUTH=LOGIN"} & set(self._offered())
        return bool(named) or "LOGINDISABLED" not in self._offered()


class Pop3Talk(Talk):
    """POP3 (RFC 1939; CAPA by RFC 2449, STLS by RFC 2595), as far as it is used before a login."""

    def ask(self, command: str) -> str:
        """Send a command, and return its answer line."""
        self.say(command)
        (line,) = self.lines(lambda _: True)
        return line

    def greet(self) -> tuple[bool, str]:
        line = self.first_line(("+OK", "-ERR"))
        return line.startswith("+OK"), short(line)

    def hello(self) -> str:
        first = self.ask("CAPA")
        listed = self.lines(lambda line: line == ".")[:-1] if first.startswith("+OK") else []
        words = [line.upper().split() for line in listed]
        self.capabilities = {one[0]: one[1:] for one in words if one}
        return short(" / ".join([first, *listed]))

    def ask_for_tls(self) -> tuple[bool, str]:
        answer = self.ask("STLS")
        return answer.startswith("+OK"), answer

    def offers_tls(self) -> bool:
        return "STLS" in self._offered()

    def offers_logins(self) -> bool:
        """USER, or a SASL mechanism that transmits the password (RFC 2449 sections 6.3 and 6.4)."""
        return "USER" in self._offered() or bool({"PLAIN", "LOGIN"} & set(self._offered().get("SASL", ())))
