"""The reflector: takes a message from Postfix's pipe(8), judges it as a receiver would, and mails a report back.

Whatever message comes in, it exits with 0 (answered, or left unanswered with a line in the log) or with 75 (Postfix
must try again, while the message is young). With any other status Postfix would send a bounce to an address that may be
forged.
"""

import argparse
import functools
import ipaddress
import json
import os
import re
import resource
import secrets
import signal
import subprocess
import sys
import syslog
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypedDict

from mailhost.errors import MailserverError
from mailhost.receiver import dkim as receiver_dkim
from mailhost.receiver import dmarc_suffix
from mailhost.receiver import judge as receiver_judge
from mailhost.receiver import resolver as receiver_resolver
from mailhost.receiver import spf as receiver_spf
from mailhost.receiver.dmarc import Unanswered, Verdict
from mailhost.receiver.header import Header
from mailhost.receiver.judge import Queries
from mailhost.reflector import answer as reflector_answer
from mailhost.reflector import report as reflector_report
from mailhost.reflector import rules
from mailhost.reflector.message import Envelope, arrival, excess, plain
from mailhost.reflector.rate import Ledger
from mailhost.reflector.report import Dmarc, Results, Spf

SETTINGS = "/etc/mailserver/reflector.json"
SENDMAIL = "/usr/sbin/sendmail"
LARGEST = 1024 * 1024
"""Bytes of the largest message that is judged."""
MOST_SIGNATURES = 5
LIMIT = 90
"""Seconds for a message in all, and the limit of processor time."""
PATIENCE = 3600
"""Seconds after its arrival in which a message is tried again, if the trouble is ours or DNS's."""

STRANGERS = {4: "203.0.113.1", 6: "2001:db8::1"}
"""Addresses that no mail comes from (RFC 5737, RFC 3849): if SPF passes for one of them, it passes for all."""

DONE, TRY_AGAIN = 0, 75


class Settings(TypedDict):
    """What the file :data:`SETTINGS` holds; ``networks`` is like Postfix's ``mynetworks``, ``state`` a folder."""

    address: str
    hostname: str
    language: str
    networks: list[str]
    rate: int
    total: int
    timeout: int
    state: str


@dataclass(frozen=True)
class World(Queries):
    """The queries of the reflector; ``takes_mail``: whether mail to a domain can be delivered anywhere.

    It raises :class:`Unanswered`, too.
    """

    takes_mail: Callable[[str], bool]


@dataclass(frozen=True)
class Outcome:
    """What to do with a message: an answer to ``sender``, or none, with the reason."""

    answer: bytes = b""
    reason: str = ""
    results: str = ""


class OutOfTime(BaseException):
    """The time for a message is over; it is a BaseException so that no library handles it as its own error."""


def reflect(
    message: bytes, envelope: Envelope, settings: Settings, world: World, ledger: Ledger, now: float
) -> Outcome:
    """Return the :class:`Outcome` for a message.

    :param message: as Postfix handed it over.
    :param ledger: it counts the answer.
    :param now: seconds.
    :raises Unanswered: DNS did not answer a question that must be settled before an answer is sent.
    """
    if len(message) > LARGEST:
        return Outcome(reason=f"it has more than {LARGEST} bytes")
    if reason := excess(message):
        return Outcome(reason=reason)
    header = Header(message)
    mailbox = rules.mailbox(envelope.sender)
    why = rules.silence(envelope, header, settings["address"]) or ledger.full(mailbox, now)
    if why:
        return Outcome(reason=why)
    if not world.takes_mail(envelope.domain):
        return Outcome(reason=f"mail to {envelope.domain} has nowhere to go: it has no MX or address record")
    found = judge(message, envelope, settings, world)
    results = _logged(found)
    organization = dmarc_suffix.organizational_domain
    if not rules.authenticated(envelope, found["spf"], found["dkim"], organization):
        return Outcome(reason="the sender may be forged: neither SPF nor DKIM passes for its domain", results=results)
    why = ledger.take(mailbox, now)
    if why:
        return Outcome(reason=why, results=results)
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    report = reflector_report.report(found, envelope.sender, settings["hostname"], when, settings["language"])
    message_id = f"{secrets.token_hex(12)}@{settings['hostname']}"
    answer = reflector_answer.compose(report, envelope.sender, header, settings["address"], message_id, now)
    return Outcome(answer=answer, results=results)


def judge(message: bytes, envelope: Envelope, settings: Settings, world: World) -> Results:
    """Return all results."""
    helo = envelope.helo if re.fullmatch(r"[A-Za-z0-9._:\[\]-]{1,255}", envelope.helo) else "unknown"
    why = _why_unjudged(envelope, settings)
    clients = [] if why else [envelope.client]
    found = receiver_judge.judge(message, clients, helo, envelope.sender, world, MOST_SIGNATURES, older=True)
    result, explanation = _spf_of(found.spf)
    spf: Spf = {
        "address": envelope.client,
        "helo": helo,
        "domain": found.domain,
        "result": result,
        "why": why,
        "open": result == "pass" and _is_open(envelope, helo, world),
        "explanation": explanation,
    }
    dmarc, older = _by(found.author, found.dmarc), _by(found.author, found.older or found.dmarc)
    return {"spf": spf, "dkim": found.dkim, "left_out": found.left_out, "dmarc": dmarc, "older": older}


def _why_unjudged(envelope: Envelope, settings: Settings) -> str:
    """Return why SPF says nothing about the client: ``login``, ``network``, or ``""`` if it does."""
    if envelope.login:
        return "login"
    return "network" if _is_own(envelope.client, settings["networks"]) else ""


def _spf_of(found: Sequence[Mapping[str, str]]) -> tuple[str, str]:
    return (found[0]["result"], found[0]["explanation"]) if found else ("unjudged", "")


def _is_open(envelope: Envelope, helo: str, world: World) -> bool:
    """Tell whether SPF passes for every address."""
    stranger = STRANGERS[ipaddress.ip_address(envelope.client).version]
    return world.spf(stranger, envelope.sender, helo)[0] == "pass"


def _by(author: str, verdict: Verdict) -> Dmarc:
    return {**verdict, "author": author}


def _is_own(client: str, networks: Iterable[str]) -> bool:
    """Tell whether the client is this host, or in a network that it trusts; ``networks`` is like ``mynetworks``."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:  # no address: a program of this host handed the message to sendmail(1)
        return True
    if address.is_loopback:
        return True
    for one in networks:
        try:
            if address in ipaddress.ip_network(one.replace("[", "").replace("]", ""), strict=False):
                return True
        except ValueError:  # a table, or an exception, whose content is not known here
            continue
    return False


def _logged(found: Results) -> str:
    dkim = ",".join(f"{one['result']}({one['domain']})" for one in found["dkim"]) or "none"
    return f"spf={found['spf']['result']} dkim={plain(dkim)} dmarc={found['dmarc']['result']}"


def main(words: Sequence[str]) -> int:
    """Handle the message on standard input, as called by pipe(8), and return the exit status."""
    given = _arguments(words)
    syslog.openlog("mailserver-reflector", syslog.LOG_PID, syslog.LOG_MAIL)
    if given.check:
        return _check()
    envelope = Envelope(given.sender, given.client, given.helo, given.login)
    log = functools.partial(_log, given.queue_id, envelope)
    message = sys.stdin.buffer.read(LARGEST + 1)
    while sys.stdin.buffer.read(1 << 16):
        pass
    _limit()
    now = time.time()
    try:
        outcome = _handled(message, envelope, now)
    except (Unanswered, MailserverError, OSError, subprocess.SubprocessError, OutOfTime) as err:
        return _postpone(Header(message), now, f"{type(err).__name__}: {err}", log)
    except Exception as err:  # a bug in this program would also fail at the next try
        log(syslog.LOG_ERR, f"not answered: {type(err).__name__}: {err}")
        return DONE
    if outcome.answer:
        log(syslog.LOG_INFO, "answered", outcome.results)
    else:
        log(syslog.LOG_INFO, f"not answered: {outcome.reason}", outcome.results)
    return DONE


def _handled(message: bytes, envelope: Envelope, now: float) -> Outcome:
    with open(SETTINGS, encoding="utf-8") as file:
        settings: Settings = json.load(file)
    resolver = receiver_resolver.Resolver(settings["timeout"])
    world = World(receiver_spf.spf_check(settings["timeout"]), resolver.texts, resolver.takes_mail)
    ledger = Ledger(settings["state"], settings["rate"], settings["total"])
    outcome = reflect(message, envelope, settings, world, ledger, now)
    if outcome.answer:
        command = (SENDMAIL, "-i", "-N", "never", "-f", "", "--", envelope.sender)
        subprocess.run(command, input=outcome.answer, check=True, capture_output=True, timeout=LIMIT)
    return outcome


def _postpone(header: Header, now: float, trouble: str, log: Callable[[int, str], None]) -> int:
    """Make Postfix try again, but only while the message is young: one that expires in its queue is bounced."""
    arrived = arrival(header)
    if arrived is not None and -PATIENCE < now - arrived < PATIENCE:
        log(syslog.LOG_WARNING, f"to be tried again: {trouble}")
        return TRY_AGAIN
    log(syslog.LOG_ERR, f"not answered: {trouble}")
    return DONE


def _log(queue_id: str, envelope: Envelope, level: int, what: str, results: str = "") -> None:
    sender, client = plain(envelope.sender, 80), plain(envelope.client, 45)
    line = f"{plain(queue_id, 20)}: from=<{sender}> client=[{client}] {results}".rstrip()
    syslog.syslog(level, f"{line}: {plain(what, 400)}".encode("utf-8", "replace").decode())


def _limit() -> None:
    def stop(*_: object) -> NoReturn:
        raise OutOfTime(f"it took over {LIMIT} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT)
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT))


def _check() -> int:
    """Check that this user can run everything: packages, settings, state; else print what is missing; return 0 or 1."""
    try:
        with open(SETTINGS, encoding="utf-8") as file:
            settings: Settings = json.load(file)
        receiver_dkim.dkimpy()
        receiver_spf.spf_check(settings["timeout"])
        dmarc_suffix.suffixes()
        import nacl.signing  # noqa: F401 (dkimpy verifies Ed25519 with it)
    except (MailserverError, ImportError, OSError, ValueError) as err:
        print(f"the reflector cannot run as user {os.getuid()}: {err}")
        return 1
    if not os.access(settings["state"], os.W_OK | os.X_OK):
        print(f"the reflector cannot write to {settings['state']} as user {os.getuid()}")
        return 1
    print(f"the reflector can run as user {os.getuid()}")
    return 0


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("sender", "client", "helo", "login", "queue-id"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--check", action="store_true")
    return parser.parse_args(words)
