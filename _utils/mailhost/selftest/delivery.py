"""Test messages that go all the way: into Postfix, through each delivery agent, to where IMAP shows them.

They follow a plan (:mod:`mailhost.selftest.recipients`). Their recipient is ``mailprobe``, a user who is not a person
and whose home is emptied afterwards; with virtual accounts also a mailbox of that name. A ``.forward`` discards all
other mail for that user; it is removed only during the check. Nobody receives anything: the sender is empty (RFC 5321
section 4.5.5), and messages that do not arrive are deleted from the queue.
"""

import contextlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

from mailhost import shapes
from mailhost.command import Command, run_command
from mailhost.daemons.services import Service, smtp_service
from mailhost.daemons.talk import Budget, LmtpTalk, SmtpTalk, short
from mailhost.errors import DkimError, MailserverError, NotSeenYet, RouteUnknown, SelftestError, WireError
from mailhost.files import locked
from mailhost.opendkim import tables as opendkim_tables
from mailhost.postfix import accounts as postfix_accounts
from mailhost.selftest import message as selftest_message
from mailhost.selftest import routes

LIMIT = 60
"""Seconds that a message may take to arrive; it takes one, unless many others wait."""
_USUAL = 1
"""Seconds in which nearly all messages arrive; only after that is the log searched for the reason of a delay."""
_FORWARD = ".forward"
_LARGEST = 1 << 20
_WAITING = ("maildrop", "incoming", "active")
_NO_POLICY = re.compile(r"421|451 4\.3\.|4\d\d 4\.7\.1 Service unavailable|\d+ [45]\.1\.\d|.*Relay access denied")
"""Refusals of a recipient that are not policy: the host accepts no mail at all, or the address is unknown."""
FATAL = ("fatal: ", "panic: ", "bad command startup")
"""What a Postfix program logs if it cannot start."""
_COMMANDS = ("/sendmail[", "/postdrop[", "/postqueue[", "/postsuper[", "/postmap[", "/postalias[")
"""Programs that people start; their messages do not come from a daemon."""
_TROUBLE = (*FATAL, "warning: ")
_LINE = 2000
"""Characters of a log line that are read."""


@dataclass(frozen=True)
class DeliveryResult:
    """The outcome of one kind of mail: ``arrived``, ``refused`` (as wanted), ``wrong`` or ``unknown``.

    ``kind`` is ``user``, ``alias``, ``nobody``, ``outgoing``, ``signature`` or ``IMAP``. ``agent`` is the Postfix
    program that delivered, if the log says so, and ``words`` are Postfix's own.
    """

    kind: str
    address: str
    result: str
    agent: str = ""
    words: str = ""

    def __str__(self) -> str:
        by = f" by {self.agent}" if self.agent else ""
        said = f" ({self.words})" if self.words else ""
        return f"{self.kind} {self.address}: {self.result}{by}{said}"


def problems(rows: Iterable[DeliveryResult]) -> dict[str, str]:
    """Return what is wrong, ``{what: sentence}``."""
    said = {
        "user": "mail for a user, {0.address}, does not arrive: {0.words}",
        "alias": "mail for an alias, {0.address}, does not arrive: {0.words}",
        "nobody": "mail for a name that does not exist, {0.address}, is taken, and would be bounced: {0.words}",
        "outgoing": "mail for others does not leave: {0.address}: {0.words}",
        "signature": "mail of {0.address} is not signed, although its key signs: {0.words}",
        "IMAP": "mail for {0.address} is delivered, but IMAP does not show it: {0.words}",
    }
    # Names that do not exist, and the self-test's, differ each time, so the kind alone is the key for those.
    return {
        one.kind if one.kind == "nobody" else f"{one.kind} {one.address}": said[one.kind].format(one)
        for one in rows
        if one.result == "wrong"
    }


def notes(rows: Iterable[DeliveryResult]) -> list[str]:
    """Return sentences about what is not known."""
    return [f"It is not known whether mail arrives ({one})" for one in rows if one.result == "unknown"]


class Reported(selftest_message.Judged):
    """The self-test's result with the outcome of mail for this host, each as :class:`DeliveryResult` has it."""

    delivery: list[dict[str, str]]


def reported(found: selftest_message.Judged, rows: Sequence[DeliveryResult]) -> Reported:
    """Return the self-test's result extended by the outcome of mail for this host."""
    wrong = problems(rows)
    lines = ["", "[Delivery]", *map(str, rows)] if rows else []
    whole: Reported = {
        **found,
        "delivery": [vars(one) for one in rows],
        "report": found["report"] + "".join(f"{line}\n" for line in lines),
    }
    if wrong:
        before = "" if found["result"] else f"{found['overall']} "
        whole |= {"result": False, "overall": f"{before}Mail does not flow: {'; '.join(wrong.values())}."}
        whole["report"] = whole["report"].replace(found["overall"], whole["overall"], 1)
    return whole


@dataclass
class _Message:
    """A message that was handed to Postfix; ``id`` is its queue ID, if known."""

    kind: str
    address: str
    place: shapes.DeliveryPlace
    token: str = field(default_factory=lambda: secrets.token_hex(12))
    id: str = ""
    since: float = 0.0


@dataclass
class Delivery:
    """Messages through this host's Postfix, following a plan (:func:`mailhost.selftest.recipients.plan`).

    ``clock`` and ``pause`` are those of ``time``.
    """

    plan: shapes.DeliveryPlan
    command: Command = run_command
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    names: routes.NameResolution | None = None
    limit: float = LIMIT

    def check(self, aliases: bool = True, mailboxes: bool = False) -> list[DeliveryResult]:
        """Send messages, and return the outcome of each.

        :param aliases: also send to the alias, which exists after a first run.
        :param mailboxes: also check whether IMAP shows them.
        """
        if not Path(self.plan["home"]).is_dir():
            return [
                DeliveryResult("user", self.plan["user"], "unknown", words="there is no such user; run a highstate")
            ]
        self._given = routes.parameters(
            ("queue_directory", "mail_spool_directory", "always_bcc", "sender_bcc_maps", "recipient_bcc_maps",
             "notify_classes", "maillog_file", "luser_relay", "mailbox_transport", "fallback_transport"), self.command,
        )  # fmt: skip
        try:
            with locked(self.plan["folder"], wait=3 * self.limit, what="messages to see whether mail flows"):
                return self._check(aliases, mailboxes)
        except DkimError as err:
            return [DeliveryResult("user", self.plan["user"], "unknown", words=str(err))]

    def _check(self, aliases: bool, mailboxes: bool) -> list[DeliveryResult]:
        if not aliases and (missing := self._missing_aliases()):
            return [
                DeliveryResult(
                    "user", self.plan["user"], "unknown", words=f"not tried, since {missing} is not there yet"
                )
            ]
        self._log = Log(self.command, self._given["maillog_file"])
        kinds = [("user", self.plan["user"]), *([("alias", self.plan["alias"])] if aliases else [])]
        wanted = [(kind, f"{name}@{one['domain']}", one) for one in self.plan["places"] for kind, name in kinds]
        rows: list[DeliveryResult] = []
        messages = [_Message(*one) for one in wanted]
        self._ours: set[str] = set()
        with self._mailbox():
            try:
                rows += self._submit_all(messages)
                for message in messages:
                    if message.since:
                        rows += self._judged(message, mailboxes)
            finally:
                self._take_away(messages)
        return [*rows, *self._outgoing()]

    @contextlib.contextmanager
    def _mailbox(self) -> Iterator[None]:
        """Empty the mailbox before and after the block, and move its ``.forward`` away during it."""
        forward, aside = Path(self.plan["home"], _FORWARD), Path(self.plan["folder"], "forward")
        self._empty()
        with contextlib.suppress(FileNotFoundError):
            os.replace(forward, aside)
        try:
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.replace(aside, forward)
            self._empty()

    def _missing_aliases(self) -> str:
        """Return the first alias database that does not exist yet; local(8) delivers nothing without it."""
        maps = routes.parameters(("alias_maps",), self.command)["alias_maps"]
        suffixes = {"hash": ".db", "btree": ".db", "lmdb": ".lmdb", "cdb": ".cdb"}
        files = (one.partition(":") for one in routes.elements(maps))
        paths = (f"{path}{suffixes[kind]}" for kind, _, path in files if kind in suffixes)
        return next((path for path in paths if not Path(path).exists()), "")

    def _empty(self) -> None:
        for entry in os.scandir(self.plan["home"]):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            elif entry.name != _FORWARD:
                os.unlink(entry.path)
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            os.unlink(self._spool())
        for address in self._virtual():
            self.command(("doveadm", "expunge", "-u", address, "mailbox", "*", "all"))

    def _spool(self) -> Path:
        return Path(self._given["mail_spool_directory"] or "/var/mail", self.plan["user"])

    def _virtual(self) -> list[str]:
        return [f"{self.plan['user']}@{one['domain']}" for one in self.plan["places"] if one["virtual"]]

    def _submit_all(self, messages: Sequence[_Message]) -> list[DeliveryResult]:
        """Hand messages to smtpd on port 25, connecting from the host itself; return rows that are known already."""
        rows: list[DeliveryResult] = []
        try:
            with SmtpTalk(self._service(), Budget(answer=20, total=3 * self.limit)) as talk:
                talk.connect()
                ready, words = talk.greet()
                if not ready:
                    raise WireError(f"{talk.service.endpoint}: {words}")
                talk.hello()
                if talk.offers_tls():
                    talk.starttls()
                    talk.hello()
                for message in messages:
                    rows += self._submitted(message, talk)
                for one in self.plan["places"]:
                    rows += self._nobody(one, talk)
        except WireError as err:
            rows += [
                DeliveryResult(one.kind, one.address, "wrong", words=str(err)) for one in messages[:1] if not one.since
            ]
        return rows

    def _service(self) -> Service:
        """Return port 25, to be reached from loopback, where rules for strangers (greylisting) do not apply."""
        interfaces = routes.parameters(("inet_interfaces",), self.command)["inet_interfaces"] or "all"
        at = smtp_service(self.plan["hostname"], self.plan["addresses"], interfaces)
        source = "::1" if ":" in at.address else "127.0.0.1"
        return Service(at.host, at.name, at.protocol, at.address, at.port, source=source)

    def _submitted(self, message: _Message, talk: SmtpTalk) -> list[DeliveryResult]:
        """Hand over one message; return rows, or none if it is on its way."""
        try:
            away = self._leads_away(message)
        except RouteUnknown as err:
            fatal = self._fatal()
            words = "; ".join([str(err), *fatal])
            return [DeliveryResult(message.kind, message.address, "wrong" if fatal else "unknown", words=words)]
        if away:
            return [DeliveryResult(message.kind, message.address, "unknown", words=away)]
        talk.ask("RSET")
        replies = [talk.ask("MAIL FROM:<>"), talk.ask(f"RCPT TO:<{message.address}>")]
        refused = next((str(one) for one in replies if one.code != 250), "")
        if refused and not _NO_POLICY.match(refused):
            return self._by_sendmail(message)  # port 25 does not accept mail from everybody here
        if not refused:
            reply = talk.ask("DATA")
            if reply.code == 354:
                talk.send(self._text(message).replace(b"\n", b"\r\n") + b".\r\n", "a message")
                reply = talk.reply()
            if reply.code != 250:
                refused = str(reply)
        if refused:
            said = "; ".join([refused, *self._trouble()])
            return [
                DeliveryResult(message.kind, message.address, "wrong", words=f"{talk.service.endpoint} answers {said}")
            ]
        found = re.search(r"queued as ([0-9A-Za-z]+)", " ".join(reply.lines))
        message.id, message.since = found[1] if found else "", self.clock()
        self._ours.add(message.id)
        return []

    def _by_sendmail(self, message: _Message) -> list[DeliveryResult]:
        try:
            selftest_message.Postfix().submit("<>", message.address, self._text(message))
        except SelftestError as err:
            return [DeliveryResult(message.kind, message.address, "wrong", words=str(err))]
        message.since = self.clock()
        return []

    def _text(self, message: _Message) -> bytes:
        author = f"{self.plan['user']}@{message.place['domain']}"
        return (
            f"From: {author}\nTo: {message.address}\nSubject: Does mail flow?\nDate: {formatdate(localtime=True)}\n"
            f"Message-ID: <{message.token}@{message.place['domain']}>\nAuto-Submitted: auto-generated\n"
            "MIME-Version: 1.0\nContent-Type: text/plain; charset=us-ascii\n\n"
            "The mail server's own message, by which it sees that mail flows. Nobody is to get it.\n"
        ).encode("ascii")

    def _leads_away(self, message: _Message) -> str:
        """Return why a message is not sent: somebody would get a copy of it, or another host would get it.

        :raises RouteUnknown: Postfix does not answer where it would go.
        """
        copies = [self._given["always_bcc"], *map(self._copied, ("sender_bcc_maps", "recipient_bcc_maps"))]
        if any(copies):
            return f"not tried, since {next(filter(None, copies))} would get a copy"
        route = routes.resolve(message.address, self._given["queue_directory"])
        stores = ("mailbox_transport", "fallback_transport") if route.transport == "local" else ()
        hops = [str(route), *(self._given[name] for name in stores)]
        out = next((one for one in hops if re.match(r"(smtp|relay):|lmtp:(?!unix:)", one)), "")
        return f"not tried, since Postfix hands it on to {out}" if out else ""

    def _copied(self, name: str) -> str:
        """Return who gets a copy of the messages according to a BCC table."""
        users = (self.plan["user"], self.plan["alias"])
        addresses = {f"{user}@{one['domain']}" for one in self.plan["places"] for user in users}
        keys = ["", *addresses, *(f"@{one.partition('@')[2]}" for one in addresses), self.plan["user"]]
        for table in routes.elements(self._given[name]):
            for key in keys:
                done = self.command(("postmap", "-q", key, table))
                if done.status == 0 and done.out.strip():
                    return done.out.strip()
        return ""

    def _nobody(self, place: shapes.DeliveryPlace, talk: SmtpTalk) -> list[DeliveryResult]:
        """Try a recipient that does not exist. It must be refused at once, or mail would bounce to forged senders."""
        told = set(re.split(r"[,\s]+", self._given["notify_classes"])) & {"policy", "protocol"}
        if not place["nobody"] or told:
            return []
        address = f"nobody{secrets.token_hex(6)}@{place['domain']}"
        with contextlib.suppress(RouteUnknown):
            if not routes.resolve(address, self._given["queue_directory"]).stays:
                return []
        talk.ask("RSET")
        talk.ask("MAIL FROM:<>")
        reply = talk.ask(f"RCPT TO:<{address}>")
        talk.ask("RSET")
        # The programs that these parameters hand mail to may know names that Postfix does not.
        caught = any(self._given[name] for name in ("luser_relay", "mailbox_transport", "fallback_transport"))
        result = "refused" if reply.code >= 400 else "arrived" if caught else "wrong"
        return [DeliveryResult("nobody", address, result, words=str(reply))]

    def _judged(self, message: _Message, mailboxes: bool) -> list[DeliveryResult]:
        ends = message.since + self.limit
        quick = message.since + _USUAL
        while True:
            waits = self._where(message.id) in _WAITING
            if waits and self.clock() < quick:
                self.pause(0.1)
                continue
            rows = self._given_up(message) if waits else self._end(message, mailboxes)
            if rows:
                return rows
            if self.clock() >= ends:
                return [self._still(message)]
            self.pause(0.25)

    def _given_up(self, message: _Message) -> list[DeliveryResult]:
        """Return rows if a message waits in the queue in vain, because a Postfix program ends as soon as it starts."""
        fatal = self._fatal()
        return [DeliveryResult(message.kind, message.address, "wrong", words="\n".join(fatal))] if fatal else []

    def _where(self, queue_id: str) -> str:
        """Return the Postfix queue that holds a message; ``""`` if none does, or its queue ID is not known."""
        queue = Path(self._given["queue_directory"])
        for name in (*_WAITING, "deferred", "hold", "corrupt") if queue_id else ():
            if any((queue / name / "/".join(queue_id[:depth]) / queue_id).exists() for depth in range(3)):
                return name
            if name == "deferred" and any(
                next((queue / name).glob(f"{'*/' * depth}{queue_id}"), None) for depth in (1, 2)
            ):
                return name
        return ""

    def _end(self, message: _Message, mailboxes: bool) -> list[DeliveryResult]:
        """Return the outcome of a message, ``[]`` while it is not known."""
        # Read the log first: a message that it says was delivered is then in the mailbox.
        last = next((one for one in reversed(self._log.ends(message)) if one.is_last), None)
        header = self._arrived(message)
        agent, words = (last.agent, last.words) if last else ("", "")
        if header is not None:
            found = [DeliveryResult(message.kind, message.address, "arrived", agent, words)]
            return [*found, *self._unsigned(message, header), *(self._shown(message) if mailboxes else [])]
        if last and last.status == "sent" and not message.place["virtual"]:
            # It went where nothing can be checked, such as a program of the operator's.
            return [DeliveryResult(message.kind, message.address, "arrived", agent, words)]
        if last and last.status != "sent":
            return [
                DeliveryResult(message.kind, message.address, "wrong", agent, "\n".join([last.line, *self._trouble()]))
            ]
        if self._where(message.id) in ("deferred", "hold", "corrupt"):
            said = [self._reason(message) or f"it is in the queue {self._where(message.id)}", *self._trouble()]
            return [DeliveryResult(message.kind, message.address, "wrong", words="\n".join(said))]
        return []

    def _fatal(self) -> list[str]:
        """Return the log lines of Postfix daemons that could not start, since the check began."""
        self._log.read()
        lines = (line for line in self._log.trouble if _is_any(FATAL, line) and not _is_any(_COMMANDS, line))
        return list(dict.fromkeys(lines))[-4:]

    def _still(self, message: _Message) -> DeliveryResult:
        folders = (os.walk(Path(self._given["queue_directory"], name)) for name in _WAITING)
        others = {name for folder in folders for _, _, names in folder for name in names} - self._ours
        where = self._where(message.id)
        if where in _WAITING and others:
            words = f"it waits with {len(others)} others in the queue {where} after {self.limit:g} s"
            return DeliveryResult(message.kind, message.address, "unknown", words=words)
        if not self._log.is_there(message):
            words = f"neither the mailbox nor the log has it after {self.limit:g} s"
            return DeliveryResult(message.kind, message.address, "unknown", words=words)
        words = f"it is not there after {self.limit:g} s{f', but in the queue {where}' * bool(where)}"
        return DeliveryResult(
            message.kind, message.address, "wrong", words="\n".join([words, *self._log.lines_about(message)])
        )

    def _reason(self, message: _Message) -> str:
        """Return why Postfix deferred a message, from its defer log file."""
        for path in Path(self._given["queue_directory"], "defer").glob(f"**/{message.id}"):
            found = re.findall(r"^reason=(.*)$", path.read_text(encoding="utf-8", errors="replace"), re.M)
            if found:
                return f"status=deferred ({found[-1]})"
        return ""

    def _trouble(self) -> list[str]:
        self._log.read()
        return list(dict.fromkeys(self._log.trouble))[-4:]

    def _arrived(self, message: _Message) -> bytes | None:
        """Return the header of a message in the mailbox, or ``None``."""
        if message.place["virtual"]:
            address = f"{self.plan['user']}@{message.place['domain']}"
            done = self.command(("doveadm", "fetch", "-u", address, "hdr", *_search(message)))
            return done.out.encode() if done.status == 0 and message.token in done.out else None
        paths = [Path(top, name) for top, _, names in os.walk(self.plan["home"]) for name in names]
        for path in [*paths, self._spool()]:
            with contextlib.suppress(OSError), open(path, "rb") as file:
                octets = file.read(_LARGEST)
                # A message that is still being written is in its own folder (Maildir's tmp); skip Dovecot's indexes,
                # which contain parts of messages.
                if path.parent.name != "tmp" and not path.name.startswith("dovecot"):
                    parts = octets.replace(b"\r\n", b"\n").split(b"\n\n")
                    header = next((one for one in parts if message.token.encode() in one), None)
                    if header:
                        return header
        return None

    def _unsigned(self, message: _Message, header: bytes) -> list[DeliveryResult]:
        if not self.plan["trusted"] or not self._is_to_be_signed(message.place["domain"]):
            return []
        if re.search(rb"^DKIM-Signature:", header, re.M | re.I):
            return []
        return [
            DeliveryResult(
                "signature", message.place["domain"], "wrong", words="what port 25 took has no DKIM-Signature"
            )
        ]

    def _is_to_be_signed(self, domain: str) -> bool:
        """Tell whether OpenDKIM's tables name a key for the domain now."""
        if not self.plan["tables"]:
            return False
        key_table, signing_table = self.plan["tables"]
        try:
            return domain in opendkim_tables.signers_in_force(opendkim_tables.tables(key_table, signing_table))
        except (MailserverError, OSError):
            return False

    def _shown(self, message: _Message) -> list[DeliveryResult]:
        """Return what is wrong if Dovecot, which shows a user's mail by IMAP, does not find a message."""
        if not self.plan["imap"] or message.place["virtual"]:
            return []
        done = self.command(("doveadm", "search", "-u", self.plan["user"], *_search(message)))
        if done.status != 0 or done.out.strip():
            return []
        words = "Postfix's home_mailbox, mailbox_command or mailbox_transport and Dovecot's mail_location do not agree"
        return [DeliveryResult("IMAP", message.address, "wrong", words=words)]

    def _take_away(self, messages: Iterable[_Message]) -> None:
        for message in messages:
            for one in {message.id, *self._log.ids(message)} - {""}:
                if self._where(one):
                    self.command(("postsuper", "-d", one))

    def _outgoing(self) -> list[DeliveryResult]:
        """Return the outcome of mail for others: by smtp(8) back to this host, and whether its routes exist."""
        domain = self.plan["places"][0]["domain"]
        author = f"{self.plan['user']}@{domain}"
        rows: list[DeliveryResult] = []
        try:
            for what, why in routes.outgoing_problems(
                self._given["queue_directory"], author, self.command, self.names
            ).items():
                rows.append(DeliveryResult("outgoing", what, "wrong", words=why))
        except RouteUnknown as err:
            rows.append(DeliveryResult("outgoing", "mail for others", "unknown", words=str(err)))
        about = "to this host itself, by smtp(8)"
        if any((self._given["always_bcc"], self._copied("sender_bcc_maps"))):
            return [
                *rows,
                DeliveryResult("outgoing", about, "unknown", words="not tried, since somebody would get a copy"),
            ]
        try:
            message = selftest_message.send(author, self.plan["port"], limit=self.limit, in_vain=self._fatal)
        except NotSeenYet as err:
            return [*rows, DeliveryResult("outgoing", about, "unknown", words=str(err))]
        except SelftestError as err:
            return [*rows, DeliveryResult("outgoing", about, "wrong", words=str(err))]
        rows.append(DeliveryResult("outgoing", about, "arrived", "smtp"))
        header = message.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
        if self._is_to_be_signed(domain) and not re.search(rb"^DKIM-Signature:", header, re.M | re.I):
            rows.append(
                DeliveryResult("signature", domain, "wrong", words="what sendmail(1) was given has no DKIM-Signature")
            )
        return rows


def _is_any(words: Iterable[str], line: str) -> bool:
    return any(one in line for one in words)


def _search(message: _Message) -> tuple[str, ...]:
    return ("mailbox", "*", "header", "message-id", message.token)


@dataclass(frozen=True)
class _End:
    """A log line of Postfix with the status of a recipient."""

    line: str
    agent: str
    status: str
    words: str

    @property
    def is_last(self) -> bool:
        """Tell whether it is a message's final status; one that was handed on to another queue has more lines."""
        return not (self.status == "sent" and ("queued as" in self.words or "forwarded as" in self.words))


class Log:
    """What Postfix logs about messages from now on, in the journal or in its own file."""

    def __init__(self, command: Command, path: str = "") -> None:
        self.command, self.path = command, path
        self.lines: list[str] = []
        self.trouble: list[str] = []
        self._ids: dict[str, set[str]] = {}
        self._cursor, self._at = self._end()

    def _end(self) -> tuple[str, int]:
        if self.path:
            return "", Path(self.path).stat().st_size if Path(self.path).exists() else 0
        return self._journal("-n", "1")[1], 0

    def _journal(self, *options: str) -> tuple[list[str], str]:
        self.command(("journalctl", "--sync"))
        done = self.command(("journalctl", "--quiet", "--no-pager", "-o", "short", "--show-cursor", *options))
        cursor = re.search(r"^-- cursor: (\S+)$", done.out or "", re.M)
        lines = [line for line in (done.out or "").splitlines() if not line.startswith("-- cursor: ")]
        return lines, cursor[1] if cursor else ""

    def read(self) -> None:
        """Read the new lines, and keep those of Postfix."""
        if self.path:
            with contextlib.suppress(FileNotFoundError), open(self.path, encoding="utf-8", errors="replace") as file:
                file.seek(self._at)
                lines = file.read().splitlines()
                self._at = file.tell()
        elif self._cursor:
            lines, cursor = self._journal(f"--after-cursor={self._cursor}")
            self._cursor = cursor or self._cursor
        else:
            lines = []
        said = [line[line.index(" postfix") + 1 :][:_LINE] for line in lines if " postfix" in line]
        self.lines += said
        self.trouble += [short(line, 300) for line in said if _is_any(_TROUBLE, line)]

    def ids(self, message: _Message) -> set[str]:
        """Return the queue IDs that a message has had."""
        found = self._ids.setdefault(message.token, {message.id} - {""})
        for line in self.lines:
            if message.token in line and (seen := re.search(r"\]: ([0-9A-Za-z]{6,}): message-id=", line)):
                found.add(seen[1])
        return found

    def lines_about(self, message: _Message) -> list[str]:
        """Return the last lines about a message."""
        ids = self.ids(message)
        return [short(line, 300) for line in self.lines if any(f": {one}: " in line for one in ids)][-4:]

    def is_there(self, message: _Message) -> bool:
        self.read()
        return bool(self.lines_about(message))

    def ends(self, message: _Message) -> list[_End]:
        """Return the lines with a message's status, in order."""
        self.read()
        found: list[_End] = []
        ids = self.ids(message)
        for line in self.lines:
            number = re.search(r"\]: ([0-9A-Za-z]{6,}): ", line)
            status, _, words = line.partition(" status=")[2].partition(" (")
            if status and number and number[1] in ids:
                agent = line.partition("[")[0].rpartition("/")[2]
                found.append(_End(short(line, 300), agent, status, short(words.removesuffix(")"))))
        return found


def stored(found: shapes.DeliveryPlan, command: Command = run_command) -> str:
    """Hand Dovecot a message by LMTP, as Postfix does, and check that it has it; return what is wrong, or ``""``.

    :param found: a plan (:func:`mailhost.selftest.recipients.plan`) with a virtual mailbox.
    """
    place = next(one for one in found["places"] if one["virtual"])
    address, token = f"{found['user']}@{place['domain']}", secrets.token_hex(12)
    text = f"From: {address}\nTo: {address}\nMessage-ID: <{token}@{place['domain']}>\nSubject: Does mail flow?\n\n.\n"
    path = f"{found['queue']}/{postfix_accounts.LMTP}"
    # After a configuration that was rolled back, an earlier message may be left that doveadm could not delete then.
    empty = ("doveadm", "expunge", "-u", address, "mailbox", "*", "all")
    command(empty)
    try:
        with LmtpTalk(Service("localhost", "lmtp", "lmtp", path, 0), Budget(answer=20, total=60)) as talk:
            talk.connect()
            talk.greet()
            talk.hello()
            replies = [talk.ask("MAIL FROM:<>"), talk.ask(f"RCPT TO:<{address}>")]
            replies += [talk.ask("DATA")] if all(one.code == 250 for one in replies) else []
            if replies[-1].code == 354:
                talk.send(text.replace("\n.\n", "\n..\n").replace("\n", "\r\n").encode() + b".\r\n", "a message")
                replies.append(talk.reply())
    except WireError as err:
        return f"mail for a user, {address}, is not stored: {err}"
    if replies[-1].code != 250 or len(replies) < 4:
        return f"mail for a user, {address}, is not stored: Dovecot's LMTP answers {replies[-1]}"
    shown = command(("doveadm", "search", "-u", address, "mailbox", "*", "header", "message-id", token))
    command(empty)
    if shown.status == 0 and not shown.out.strip():
        return f"mail for a user, {address}, is taken by Dovecot's LMTP, but IMAP does not show it"
    return f"doveadm search -u {address}: {short(shown.err)}" if shown.status else ""
