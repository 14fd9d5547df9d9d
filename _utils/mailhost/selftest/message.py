"""A message through the host's own Postfix back to this host, judged by independent code against live DNS."""

import contextlib
import json
import os
import pwd
import queue
import secrets
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import TypedDict

from mailhost.errors import NotSeenYet, SelftestError
from mailhost.postfix.parameters import SELFTEST_DOMAIN
from mailhost.receiver import dkim as receiver_dkim
from mailhost.receiver import judge as receiver_judge
from mailhost.receiver import resolver
from mailhost.receiver import spf as receiver_spf
from mailhost.receiver.dmarc import Verdict
from mailhost.receiver.judge import Queries
from mailhost.shapes import Settings

LIMIT = 60
SENDMAIL = "/usr/sbin/sendmail"
_LOOK_EVERY = 3
_LARGEST = 10 * 1024 * 1024
_MOST_WAITING = 8
_ESTABLISHED, _LISTENS = "01", "0A"
_Taken = queue.Queue[tuple[frozenset[str], bytes]]
"""Messages that were received, each with its recipients."""


class _Results(TypedDict):
    domain: str
    result: bool
    overall: str
    spf: list[dict[str, str]]
    dkim: list[dict[str, str]]
    dmarc: Verdict


class Judged(_Results):
    """What :func:`judge` returns: whether all passes, the results of each method, and all of it as text."""

    report: str


class Queued(TypedDict):
    """A message in Postfix's queue; ``reason`` says why it waits (``""`` if nothing is known yet)."""

    id: str
    queue: str
    reason: str


def run(domain: str, settings: Settings, sender: str | None = None) -> Judged:
    """Send a message from ``domain`` by Postfix to this host itself, and judge it as a receiver would.

    :param settings: the host's settings: the receiver listens on ``selftest:port``, and
        ``domains:DOMAIN:addresses`` are the addresses that the message is assumed to come from.
    :param sender: the address in From and of the envelope; ``selftest@DOMAIN`` if not given.
    :return: a dict with ``domain``, ``result`` (true if SPF, DKIM and DMARC all pass), ``overall``, ``spf``, ``dkim``,
        ``dmarc`` and ``report``; see :func:`judge`.
    :raises SelftestError: the message was refused, deferred or lost, with Postfix's own words; or the port is in use.
    :raises ResolverError: this system has no resolver.
    :raises MissingPackage: dnspython, dkimpy or pyspf is not installed.
    """
    check_spf = receiver_spf.spf_check(settings["dns"]["timeout"])
    receiver_dkim.dkimpy()
    queries = Queries(check_spf, resolver.Resolver(settings["dns"]["timeout"]).texts)
    sender = sender or f"selftest@{domain}"
    message = send(sender, settings["selftest"]["port"])
    return judge(message, sender, settings["domains"][domain]["addresses"], settings["hostname"], queries)


def send(
    sender: str,
    port: int,
    postfix: "Postfix | None" = None,
    limit: float = LIMIT,
    in_vain: Callable[[], Sequence[str]] = list,
) -> bytes:
    """Send a message from ``sender`` by Postfix's sendmail(1), and return it as it arrives at the loopback ``port``.

    Any user of the host can connect to the port, see the recipient in the process list or in the queue, and send it a
    message. So the receiver answers only Postfix and root, and accepts only the message whose header has the secret
    token that was handed to sendmail on standard input.

    :param postfix: how to reach Postfix.
    :param limit: seconds to wait.
    :param in_vain: returns log lines of Postfix that show that waiting is useless; none if it may still succeed.
    :return: the message as bytes, with CRLF.
    """
    postfix = postfix or Postfix()
    recipient = f"selftest+{secrets.token_hex(8)}@{SELFTEST_DOMAIN}"
    token = secrets.token_hex(16)
    with Receiver(port, token) as receiver:
        postfix.submit(sender, recipient, _message(sender, recipient, token))
        ends = time.monotonic() + limit
        missing = 0
        while True:
            message = receiver.await_message(recipient, min(_LOOK_EVERY, ends - time.monotonic()))
            if message is not None:
                return message
            waiting = postfix.queued(recipient)
            missing = 0 if waiting else missing + 1
            fatal = in_vain()
            stuck = any(one["reason"] for one in waiting) or fatal
            if stuck or missing > 1 or time.monotonic() >= ends:
                message = receiver.await_message(recipient, 0)
                if message is not None:
                    return message
                said = _not_delivered(sender, recipient, waiting, postfix, limit, fatal)
                its_turn = waiting and not stuck and all(one["queue"] != "deferred" for one in waiting)
                # A milter's refusal appears only in the log.
                raise (NotSeenYet if its_turn and "reject" not in said else SelftestError)(said)


def _not_delivered(
    sender: str,
    recipient: str,
    waiting: Sequence[Queued],
    postfix: "Postfix",
    limit: float,
    fatal: Sequence[str] = (),
) -> str:
    words = [*(one["reason"] for one in waiting if one["reason"]), *fatal] or postfix.log(sender, recipient)
    for one in waiting:
        postfix.delete(one["id"], one["queue"])
    if not waiting:
        head = f"Postfix took a message from {sender} to {recipient}, but bounced or discarded it"
    elif fatal or any(one["reason"] for one in waiting):
        head = f"Postfix could not deliver a message from {sender} to {recipient}"
    else:
        queues = ", ".join(sorted({one["queue"] for one in waiting}))
        head = f"a message from {sender} to {recipient} still waits in Postfix's queue ({queues}) after {limit} s"
    said = "\n".join(f"  {line}" for line in words[-5:])
    tail = f"; Postfix says:\n{said}" if said else "; the mail log may say why (journalctl -g postfix)"
    return head + tail + ("\nThe message was deleted from the queue." if waiting else "")


def _message(sender: str, recipient: str, token: str) -> bytes:
    return (
        f"From: {sender}\n"
        f"To: {recipient}\n"
        "Subject: Self-test\n"
        f"Date: {formatdate(localtime=True)}\n"
        f"Message-ID: <{token}@{sender.rpartition('@')[2]}>\n"
        "MIME-Version: 1.0\n"
        "Content-Type: text/plain; charset=us-ascii\n"
        "\n"
        "This message tests how the mail of this host is signed. It never leaves the host.\n"
    ).encode("ascii")


class Postfix:
    """This host's Postfix, by its own commands."""

    def __init__(self, started: float | None = None) -> None:
        self.started = started or time.time()

    def submit(self, sender: str, recipient: str, message: bytes) -> None:
        """Hand ``message`` to sendmail(1), without a bounce, since nobody would read it."""
        done = self._run(SENDMAIL, "-i", "-N", "never", "-f", sender, "--", recipient, stdin=message)
        if done.returncode:
            raise SelftestError(
                f"Postfix did not take a message from {sender} (sendmail: exit {done.returncode}): "
                f"{done.stderr.decode(errors='replace').strip() or 'no reason given'}"
            )

    def queued(self, recipient: str) -> list[Queued]:
        """Return the queued messages to ``recipient``."""
        done = self._run("postqueue", "-j")
        if done.returncode:
            raise SelftestError(f"Postfix's queue cannot be read: {done.stderr.decode(errors='replace').strip()}")
        return waiting(done.stdout.decode("utf-8", "replace"), recipient)

    def delete(self, queue_id: str, queue_name: str) -> None:
        self._run("postsuper", "-d", queue_id, queue_name)

    def log(self, sender: str, recipient: str) -> list[str]:
        """Return what Postfix logged about the message and about milters, where there is a journal."""
        try:
            done = self._run("journalctl", "-q", "--no-pager", "-o", "cat", f"--since=@{int(self.started)}")
        except SelftestError:
            return []
        lines = done.stdout.decode("utf-8", "replace").splitlines()
        # A milter can refuse a message before Postfix knows its recipient.
        refused = (
            line for line in lines if "milter" in line.lower() and (f"from=<{sender}>" in line or "warning" in line)
        )
        return [*dict.fromkeys([*refused, *(line for line in lines if f"to=<{recipient}>" in line)])]

    @staticmethod
    def _run(*command: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        try:
            return subprocess.run(command, input=stdin, capture_output=True, timeout=LIMIT, check=False)
        except FileNotFoundError as err:
            raise SelftestError(f"there is no {command[0]} on this host: is Postfix installed?") from err
        except subprocess.TimeoutExpired as err:
            raise SelftestError(f"{command[0]} did not end within {LIMIT} s") from err


def waiting(listing: str, recipient: str) -> list[Queued]:
    """Return the messages to ``recipient`` in the output of ``postqueue -j``: one JSON object a line."""
    found: list[Queued] = []
    for line in filter(str.strip, listing.splitlines()):
        entry = json.loads(line)
        for one in entry.get("recipients", ()):
            if one.get("address", "").lower() == recipient.lower():
                reason = one.get("delay_reason", "")
                found.append({"id": entry["queue_id"], "queue": entry["queue_name"], "reason": reason})
    return found


class Receiver:
    """A small SMTP server on loopback that keeps what Postfix delivers, by recipient.

    :param token: text in the ``Message-ID`` header of the expected message.
    """

    def __init__(self, port: int, token: str) -> None:
        self.port, self._token = port, token.encode("ascii")
        self.taken: _Taken = queue.Queue(_MOST_WAITING)

    def __enter__(self) -> "Receiver":
        try:
            self.server = _Server(("127.0.0.1", self.port), _Session)
        except OSError as err:
            raise NotSeenYet(
                f"port {self.port} of 127.0.0.1 cannot be listened on ({err.strerror or err}){_by_whom(self.port)}: "
                "another self-test may be under way, else give mailserver:selftest:port another number"
            ) from err
        self.server.taken = self.taken
        self.server.clients = _clients()
        self.thread = _start(self.server)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def await_message(self, recipient: str, limit: float) -> bytes | None:
        """Return the message to ``recipient``, or ``None`` if none came within ``limit`` seconds.

        Messages of an earlier self-test, and of anybody else, are accepted and dropped.
        """
        ends = time.monotonic() + max(limit, 0)
        while True:
            try:
                recipients, message = self.taken.get(timeout=max(ends - time.monotonic(), 0.001))
            except queue.Empty:
                return None
            if recipient.lower() in recipients and self._is_ours(message):
                return message

    def _is_ours(self, message: bytes) -> bool:
        header = message.partition(b"\r\n\r\n")[0]
        return any(line.lower().startswith(b"message-id:") and self._token in line for line in header.split(b"\r\n"))


def _clients() -> set[int]:
    """Return the user IDs that may connect: Postfix's, root's, and that of this process."""
    found = {0, os.geteuid()}
    with contextlib.suppress(KeyError, SelftestError):
        owner = Postfix._run("postconf", "-h", "mail_owner").stdout.decode("utf-8", "replace").strip()
        found.add(pwd.getpwnam(owner or "postfix").pw_uid)
    return found


def _by_whom(port: int) -> str:
    """Return a text that says who already uses a port, as far as that is known."""
    for local, _, state, uid in _connections():
        if local[1] == port and state == _LISTENS:
            with contextlib.suppress(KeyError):
                return f", user {pwd.getpwuid(uid).pw_name} does"
            return f", user {uid} does"
    return ""


def client_of(local: tuple[str, int], remote: tuple[str, int]) -> int | None:
    """Return the ID of the user at the other end of a connection on this host; ``None`` if it is closed.

    :param local, remote: this end and the other, each an address and a port.
    """
    for theirs, ours, state, uid in _connections():
        # A closed connection belongs to nobody and is listed as root's.
        if (theirs, ours, state) == (remote, local, _ESTABLISHED):
            return uid
    return None


def _connections() -> Iterator[tuple[tuple[str, int], tuple[str, int], str, int]]:
    """Yield the host's TCP connections over IPv4: both ends, state and user (proc(5), /proc/net/tcp)."""
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        words = line.split()
        yield _end(words[1]), _end(words[2]), words[3], int(words[7])


def _end(text: str) -> tuple[str, int]:
    address, _, port = text.partition(":")
    return ".".join(map(str, int(address, 16).to_bytes(4, sys.byteorder))), int(port, 16)


def _start(server: "_Server") -> threading.Thread:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    return thread


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    taken: _Taken
    clients: set[int]

    # A server of datagrams has pairs as requests, so typeshed says that any server may; this one has sockets.
    def verify_request(self, request: socket.socket, client_address: tuple[str, int]) -> bool:  # type: ignore[override]
        """Only answer Postfix and root."""
        uid = client_of(request.getsockname(), client_address)
        return uid is not None and uid in self.clients

    def handle_error(self, request: object, client_address: object) -> None:
        """Log nothing: a client that disconnects does not belong in Salt's log."""


class _Session(socketserver.StreamRequestHandler):
    """One SMTP session (RFC 5321), as far as Postfix's client needs it."""

    timeout = LIMIT
    server: _Server

    def handle(self) -> None:
        self.recipients: set[str] = set()
        self._say("220 localhost ESMTP selftest")
        while True:
            line = self.rfile.readline(4096)
            if not line:
                return
            verb, _, rest = line.decode("utf-8", "replace").strip().partition(" ")
            verb = verb.upper()
            if verb == "QUIT":
                self._say("221 localhost")
                return
            if verb == "EHLO":
                self._say("250-localhost", "250-8BITMIME", "250-SMTPUTF8", "250 DSN")
            elif verb in ("HELO", "MAIL", "RSET", "NOOP"):
                self.recipients = set()
                self._say("250 ok")
            elif verb == "RCPT":
                self.recipients.add(rest.partition("<")[2].partition(">")[0].lower())
                self._say("250 ok")
            elif verb == "DATA":
                self._take()
            else:
                self._say("502 not implemented")

    def _take(self) -> None:
        self._say("354 end with .")
        lines = []
        size = 0
        while (line := self.rfile.readline(65536)) != b".\r\n":
            if not line:
                return
            size += len(line)
            if size > _LARGEST:
                self._say("552 too large")
                return
            lines.append(line[1:] if line.startswith(b".") else line)
        try:
            self.server.taken.put((frozenset(self.recipients), b"".join(lines)), timeout=LIMIT)
        except queue.Full:
            self._say("452 too many")
        else:
            self._say("250 taken")

    def _say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode("ascii"))


def judge(message: bytes, sender: str, addresses: Sequence[str], hostname: str, queries: Queries) -> Judged:
    """Judge a received message as its receiver would, and return all results as plain data.

    :param addresses: the addresses that the domain's mail may come from; SPF is checked for each, and passes if all do.
    :return: a dict: domain, result, overall, spf (a list of address, result, explanation), dkim (a list of domain,
        selector, result, reason), dmarc (result, domain, policy, reason), report.
    """
    judged = receiver_judge.judge(message, addresses, hostname, sender, queries)
    result, overall = verdict(judged.spf, judged.dkim, judged.dmarc)
    found: _Results = {
        "domain": judged.domain,
        "result": result,
        "overall": overall,
        "spf": judged.spf,
        "dkim": judged.dkim,
        "dmarc": judged.dmarc,
    }
    return {**found, "report": report(sender, found)}


def verdict(spf: Sequence[Mapping[str, str]], dkim: Sequence[Mapping[str, str]], dmarc: Verdict) -> tuple[bool, str]:
    """Return whether everything passed, and a sentence about what did not."""
    wrong = [f"SPF is {one['result']} for {one['address']}" for one in spf if one["result"] != "pass"]
    if not spf:
        wrong.append("SPF was not checked, as no address is known that the domain's mail leaves from")
    wrong += [
        f"DKIM is {one['result']} (d={one['domain']}, s={one['selector']})" for one in dkim if one["result"] != "pass"
    ]
    if not dkim:
        wrong.append("the message is not signed with DKIM")
    if dmarc["result"] != "pass":
        wrong.append(f"DMARC is {dmarc['result']}")
    if wrong:
        return False, f"Not all is right: {'; '.join(wrong)}."
    return True, "All is right: SPF, DKIM and DMARC pass."


def report(sender: str, found: _Results) -> str:
    """Return the results as text for an operator: overall, then SPF, DKIM and DMARC."""
    lines = [f"Self-test of mail from {sender}", "", "[Overall]", found["overall"], "", "[SPF]"]
    for one in found["spf"]:
        lines.append(f"Connecting address: {one['address']}")
        lines.append(f"Result: {one['result']}{_because(one, 'explanation')}")
    if not found["spf"]:
        lines.append("Result: not checked (no address)")
    lines += ["", "[DKIM]"]
    for one in found["dkim"]:
        lines.append(f"Signing domain: {one['domain']} (selector {one['selector']})")
        lines.append(f"Result: {one['result']}{_because(one, 'reason')}")
    if not found["dkim"]:
        lines.append("Result: none (no signature)")
    dmarc = found["dmarc"]
    lines += ["", "[DMARC]", f"Domain: {dmarc['domain']}", f"Policy: {dmarc['policy'] or 'none found'}"]
    lines.append(f"Result: {dmarc['result']}{_because(dmarc, 'reason')}")
    return "\n".join(lines) + "\n"


def _because(one: Mapping[str, object], key: str) -> str:
    return f" ({one[key]})" if one["result"] != "pass" and one[key] else ""
