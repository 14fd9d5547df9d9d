"""A daemon under systemd: whether it runs and serves, what it logs, and how it takes a new configuration."""

import re
import shlex
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

from mailhost.command import Command, run_command
from mailhost.daemons import activation, overlooked
from mailhost.daemons.services import Service
from mailhost.daemons.talk import Budget, Talk, open_talk
from mailhost.errors import DaemonError, WireError
from mailhost.files import AnyPath

FATAL = re.compile(r"\b(fatal|panic): |bad command startup|\[(emerg|alert)\]", re.IGNORECASE)
"""What a daemon logs before it gives up (Postfix, Dovecot, nginx)."""
_LATE = re.compile(r"bad command startup")
_DEFERS = re.compile(r"421|451 4\.3\.|4\d\d 4\.7\.1 Service unavailable")
"""Replies to a recipient that mean that no mail is accepted: lookups, configuration, a milter that is away."""
_TROUBLE = re.compile(r"fatal|panic|error|warning|emerg|fail|cannot|unable|no such|not ", re.IGNORECASE)
_CHATTER = re.compile(
    r"^(Start|Stop|Reload)(ing|ed|pping|pped) |Scheduled restart job|Deactivated successfully|daemon started"
)
LIMIT = 15
STEADY = 1.0
_MOST_WORDS = 12

Moment: TypeAlias = tuple[str, int]
"""The end of the logs at a moment: the cursor of the journal (``""`` without one), and the size of the log file."""
Flow: TypeAlias = Callable[[], tuple[dict[str, str], Iterable[str]]]
"""Checks whether mail arrives: ``{what: what is wrong}``, and sentences about what is unknown."""


@dataclass(frozen=True)
class DaemonState:
    """The observed state of a daemon: whether its units are active, and ``{endpoint: what is wrong}`` of its listeners.

    ``undelivered`` is the same for mail that does not arrive (:attr:`Daemon.flow`).
    """

    active: bool
    problems: dict[str, str]
    undelivered: dict[str, str] = field(default_factory=dict)


@dataclass
class Daemon:
    """One daemon of the host.

    ``check`` is the command of its own parser, with ``{staged}`` for the folder of the staged files. ``reload`` is the
    command that makes it read its files. ``services`` are those of :mod:`mailhost.daemons.services` that it must
    answer; ``sockets`` are other (address, port) where it listens. ``log`` is a log file of its own besides
    the journal. ``recipient`` is a mail address that it must accept mail for. ``pair`` are the files of a certificate
    and its key that it serves, and ``main_cf`` is the path of a main.cf that names more of them. ``flow`` sends
    messages and returns ``{what: what is wrong}`` and sentences about what is unknown, which go to ``notes``.
    """

    unit: str
    check: str
    reload: str
    services: tuple[Service, ...] = ()
    sockets: tuple[tuple[str, int], ...] = ()
    log: str = ""
    recipient: str = ""
    pair: tuple[str, str] | tuple[()] = ()
    main_cf: str = ""
    flow: Flow | None = None
    command: Command = run_command
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    notes: list[str] = field(default_factory=list)
    _units: list[str] = field(default_factory=list)

    def refused(self, staged: AnyPath) -> str:
        """Return why the staged files must not be put in place, in the words of the daemon's parser or our own.

        :return: ``""`` if nothing is wrong with them.
        """
        words, since = shlex.split(self.check.format(staged=staged)), self.moment()
        done = self.command(words) if words else None
        if done and done.status != 0:
            # Postfix's tools may give the reason only in the log.
            said = "\n".join(filter(None, [done.err.strip(), done.out.strip(), *self.words(since)]))
            return said or f"{words[0]}: exit status {done.status}"
        listeners = [(one.address, one.port) for one in self.services] + list(self.sockets)
        wrong = [
            *(one for pair in self._pairs(staged) for one in overlooked.pair_problems(*pair)),
            *overlooked.port_problems(listeners, self.unit, self.command),
            *self._tables(staged),
        ]
        return "\n".join(wrong)

    def _tables(self, staged: AnyPath) -> list[str]:
        if not self.main_cf:
            return []
        folder = activation.beneath(staged, self.main_cf).parent
        return overlooked.table_problems(folder, self.command)

    def _pairs(self, staged: AnyPath) -> list[tuple[str, str]]:
        main_cf = activation.read_file(activation.beneath(staged, self.main_cf)) if self.main_cf else None
        found = overlooked.chain_pairs(main_cf.octets.decode("utf-8", "replace")) if main_cf else []
        return [*([self.pair] if self.pair else []), *found]

    def units(self) -> list[str]:
        if not self._units:
            self._units[:] = [self.unit, *behind(self.command, self.unit)]
        return self._units

    def is_active(self) -> bool:
        return not self._inactive()

    def _inactive(self) -> list[str]:
        states = {unit: self.command(("systemctl", "is-active", unit)).out.strip() for unit in self.units()}
        return [f"{unit}: {state}" for unit, state in states.items() if state not in ("active", "reloading")]

    def take(self, how: Literal["reload", "restart"]) -> None:
        """Make the daemon take its files, by ``reload`` or ``restart``.

        :raises DaemonError: it refused.
        """
        if how == "restart" or not self.reload:
            self.command(("systemctl", "reset-failed", *self.units()))  # or systemd may refuse one more start
            words: Sequence[str] = ("systemctl", "restart", self.unit)
        else:
            words = shlex.split(self.reload)
        done = self.command(words)
        if done.status != 0:
            raise DaemonError(f"`{' '.join(words)}`: {(done.err or done.out).strip() or f'exit status {done.status}'}")

    def stop(self) -> None:
        self.command(("systemctl", "stop", self.unit))

    def moment(self) -> Moment:
        """Return the present end of the logs."""
        done = self.command(("journalctl", "--quiet", "--no-pager", "-n", "1", "-o", "cat", "--show-cursor"))
        cursor = re.search(r"^-- cursor: (\S+)$", done.out or "", re.MULTILINE)
        return (cursor[1] if cursor else "", self._log_size())

    def _log_size(self) -> int:
        return Path(self.log).stat().st_size if self.log and Path(self.log).exists() else 0

    def _lines(self, since: Moment) -> list[str]:
        cursor, size = since
        found = self._journal(cursor) if cursor else []
        if self.log and Path(self.log).exists():
            with open(self.log, encoding="utf-8", errors="replace") as file:
                file.seek(size)
                found += file.read().splitlines()
        return [line.strip() for line in found if line.strip()]

    def _journal(self, cursor: str) -> list[str]:
        """Return what the unit logged, and lines in its name: for short-lived processes the unit is unknown."""
        self.command(("journalctl", "--sync"))
        words = ("journalctl", "--quiet", "--no-pager", f"--after-cursor={cursor}")
        found = self.command((*words, "-o", "cat", "-u", f"{self.unit}*")).out.splitlines()
        named = re.compile(rf"^\S+ +\S+ \S+ \S+ {re.escape(self.unit)}[^ :]*: (.*)$")
        others = map(named.match, self.command((*words, "-o", "short")).out.splitlines())
        return list(dict.fromkeys([*found, *(one[1] for one in others if one)]))

    def words(self, since: Moment) -> list[str]:
        """Return the last log lines of the daemon since a moment; if there are many, those that look like trouble."""
        lines = [line[:300] for line in self._lines(since) if not _CHATTER.search(line)]
        loud = [line for line in lines if _TROUBLE.search(line)]
        # Sent messages add log lines of their own, and their outcome is reported in any case.
        return (loud if self.flow or (loud and len(lines) > _MOST_WORDS) else lines)[-_MOST_WORDS:]

    def seen(self) -> DaemonState:
        """Check the units, and talk to each listener."""
        if self._inactive():
            return DaemonState(False, {})
        problems = {one.endpoint: self._talk(one) for one in self.services}
        problems.update({f"{host} port {port}": _connect(host, port) for host, port in self.sockets})
        return DaemonState(True, {endpoint: wrong for endpoint, wrong in problems.items() if wrong})

    def _talk(self, service: Service) -> str:
        """Return why a listener does not serve: it tries greeting, hello, TLS and, in plain SMTP, a recipient."""
        try:
            with open_talk(service, Budget(answer=8, total=20)) as talk:
                talk.connect()
                ready, words = talk.greet()
                if not ready:
                    return f"{service.endpoint}: {words}"
                talk.hello()
                if not service.direct and talk.offers_tls():
                    talk.starttls()
                    talk.hello()
                return self._refused_recipient(service, talk) if service.name == "smtp" and self.recipient else ""
        except WireError as err:
            return str(err)

    def _refused_recipient(self, service: Service, talk: Talk) -> str:
        talk.ask("MAIL FROM:<>")
        reply = str(talk.ask(f"RCPT TO:<{self.recipient}>"))
        return f"{service.endpoint} answers a recipient with {reply}" if _DEFERS.match(reply) else ""

    def before(self, delivers: bool) -> DaemonState:
        """Check as :meth:`seen` does, before a change; with ``delivers`` also check whether mail arrives."""
        seen = self.seen()
        return replace(seen, undelivered=self._undelivered()) if delivers and seen.active else seen

    def _undelivered(self) -> dict[str, str]:
        if not self.flow:
            return {}
        wrong, self.notes[:] = self.flow()
        return wrong

    def settled(self, before: DaemonState, since: Moment) -> list[str]:
        """Wait until the daemon serves steadily, and check that mail arrives; return what is wrong if not.

        Problems that existed before the change, while the daemon ran, do not count.
        """
        ends, good = self.clock() + LIMIT, None
        while True:
            wrong = self._wrong(before, since)
            now = self.clock()
            if not wrong:
                good = now if good is None else good
                if now - good >= STEADY:
                    return [wrong for what, wrong in self._undelivered().items() if what not in before.undelivered]
            else:
                good = None
                if now >= ends or any(map(FATAL.search, wrong)):
                    return wrong
            self.pause(0.25)

    def _wrong(self, before: DaemonState, since: Moment) -> list[str]:
        inactive = self._inactive()
        # A program that could not start before logs its end a second later; then only the test messages decide.
        late = _LATE if before.undelivered else None
        lines = [line[:300] for line in self._lines(since) if FATAL.search(line)]
        fatal = [line for line in lines if not (late and late.search(line))][-_MOST_WORDS:]
        if inactive or fatal:
            return [*fatal, *inactive]
        seen = self.seen()
        return [wrong for endpoint, wrong in seen.problems.items() if endpoint not in before.problems]


def address_of_socket(text: str) -> tuple[str, int]:
    """Return the (address, port) to connect to for ``inet:8891@127.0.0.1``, ``443`` or ``[::]:443``."""
    port, _, host = text.removeprefix("inet:").partition("@")
    if not host:
        host, _, port = text.rpartition(":")
    host = host.strip("[]")
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "*": "127.0.0.1", "::": "::1"}.get(host, host), int(port)


def _connect(host: str, port: int) -> str:
    try:
        with Talk(Service(host, "", "", host, port), Budget(answer=5)) as talk:
            talk.connect()
            talk.lost = True  # nothing was said, so no QUIT is needed
    except WireError as err:
        return str(err)
    return ""


def behind(command: Command, unit: str) -> list[str]:
    """Return the unit that does the work if Postfix's own is an empty wrapper, as on Debian 12.

    :param command: runs a command (:func:`mailhost.command.run_command`).
    """
    done = command(("systemctl", "show", "--property=ExecStart", "--value", f"{unit}.service"))
    return [f"{unit}@-"] if "path=/bin/true" in done.out else []
