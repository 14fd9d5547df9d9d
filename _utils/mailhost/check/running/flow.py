"""Whether mail moves: what Postfix itself says about waiting messages, and its complaints in the log.

Only causes on this host count: that another host's server is down, or refuses mail, is not a fault of this one.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable
from datetime import datetime
from pathlib import Path

from mailhost.check.findings import CheckedHost, Finding, ok
from mailhost.check.shared import not_run
from mailhost.postfix.lists import words

POSTQUEUE = ("postqueue", "-j")
RELAYS = ("postconf", "-hx", "relayhost", "smtp_fallback_relay", "default_transport", "relay_transport")
"""The command that prints the hosts that all mail goes through, one line for each parameter."""
HOURS = 2
"""How far back the log is read, but not beyond the moment when Postfix last took its configuration."""
MOST = 2000
"""Lines of the log that are read, the newest first."""
_LONGEST = 400
_TAIL = 2**20
_TOLD = 5

_HOST = r"[^\s\[\]]{1,255}"
_AT_HOME = rf"(?:{_HOST})?\[(?:private/[^\]\s]{{1,99}}|127\.[0-9.]{{5,11}}|::1)\]"
"""How Postfix writes a peer on this host itself."""
_CAUSES = (
    (
        r"mail transport unavailable|unknown mail transport error|transport is unavailable",
        "a delivery agent that ends at once, or that master.cf lacks",
        "journalctl -u 'postfix*' -n 50 says which; then mailserver.check area=config, and put right what it names",
    ),
    (
        rf"connect to {_AT_HOME}(?::\d+)?: ",
        "a service of this host that does not answer",
        "Start it (systemctl status dovecot; a content filter of your own), then: postqueue -f",
    ),
    (
        rf"host {_AT_HOME} said: 45\d 4\.[1-46-7]\.(?!2)|host {_AT_HOME} said: 451 ",
        "a service of this host that puts mail off",
        "Look at its log (journalctl -u dovecot -n 50)",
    ),
    (
        r"(?:alias database|user lookup|\w+ lookup|table lookup|map lookup|lookup table) (?:unavailable|error|problem)"
        r"|Temporary lookup failure|\w+_maps map lookup problem|error looking up ",
        "a table that cannot be read",
        "Run mailserver.check area=config, which names the table",
    ),
    (
        r"[Ss]erver configuration (?:error|problem)|(?:mail system|local) configuration (?:error|problem)",
        "a configuration that Postfix does not understand",
        "journalctl -u 'postfix*' -n 50 says what; then put it right in mailserver:postfix:main",
    ),
    (
        r"(?:Permission denied|No space left on device|Read-only file system|Disk quota exceeded|Input/output error)$",
        "a mailbox that cannot be written",
        "Look at owner and mode of the folder that it names, and at the disk (df)",
    ),
    (
        r"(?:Command died|temporary failure\. Command output|cannot execute|[Cc]ommand time limit exceeded|"
        r"unable to (?:run|execute))",
        "a program that mail is given to",
        "Run the program by hand; its alias is in mailserver:accounts:aliases",
    ),
    (
        r"SASL authentication failed|[Cc]annot authenticate|no worthy mechs found",
        "a login that the relay host refuses",
        "Look at smtp_sasl_password_maps, and at the name and password in it",
    ),
)
"""Why mail waits, in Postfix's words (the beginning or the whole); what that means; what to do."""
_THEIRS = re.compile(rf"host (?!{_AT_HOME})\S+ (?:said|refused)|conversation with |lost connection with ")
_NAME_SERVICE = re.compile(rf"Host or domain name not found\. Name service error for name=({_HOST}) ")
_REPLIES = re.compile(rf"NOQUEUE: \w+: \w[\w-]* from {_HOST}\[[^\]\s]{{1,99}}\](?::\d+)?: (45[01] 4\.3\.[05]) (.*)")
_ENDED = ("fatal: ", "panic: ")
_LOUD = ("warning: ", "error: ")
_COMPLAINTS = re.compile(
    r"(?:proxy:)?[a-z]{2,12}:\S{1,255} (?:is unavailable\. |lookup error)|open (?:database|dictionary) "
    r"|unsupported dictionary type|unknown smtpd restriction|[\w ]{1,60} configuration (?:problem|error)"
)
"""The rest of such a log line: strangers cannot influence how it begins."""
_TABLE = re.compile(r"((?:proxy:)?[a-z]{2,12}:\S{1,255}) (?:is unavailable\. |lookup error)")
"""An unusable table is one subject, whatever was looked up in it."""
_BEGAN = re.compile(r"(?:daemon started|reload) -- version ")


def findings(host: CheckedHost) -> list[Finding]:
    """Return the findings about waiting messages, and about the log."""
    return [*_deferred(host), *_log(host)]


def _deferred(host: CheckedHost) -> list[Finding]:
    id, wanted = "running.deferred", "no message waits for a cause on this host"
    done = host.command(POSTQUEUE)
    try:
        messages = [json.loads(line) for line in done.out.splitlines() if line.strip()]
        reasons = [one.get("delay_reason") or "" for message in messages for one in message.get("recipients", ())]
    except (ValueError, AttributeError, TypeError):
        reasons = []
    if done.status != 0:  # running.queue_length reports what is wrong with the queue itself
        return []
    relays = _relays(host.command(RELAYS).out)
    seen: dict[tuple[str, str], str] = {}
    many: Counter[tuple[str, str]] = Counter()
    for reason in reasons:
        cause = local_cause(reason[:_LONGEST], relays)
        if cause:
            many[cause] += 1
            seen.setdefault(cause, reason[:200])
    return [
        Finding(
            id, "fail", cause[0], wanted, f"{many[cause]} recipients: {seen[cause]}", f"{cause[1]}. Then: postqueue -f"
        )
        for cause in many
    ] or [ok(id, "mail queue", wanted)]


def local_cause(reason: str, relays: Container[str] = ()) -> tuple[str, str] | None:
    """Return (what it is, what to do) if a message waits for a cause on this host, else ``None``.

    :param reason: ``delay_reason`` from ``postqueue -j``; strangers can influence its text.
    :param relays: the hosts, in lower case, that all mail goes through.
    """
    missing = _NAME_SERVICE.match(reason)
    if missing:
        name = missing[1].lower().rstrip(".")
        remedy = "Put mailserver:postfix:main:relayhost right, or look at /etc/resolv.conf"
        return (f"the relay host {name}, which DNS does not know", remedy) if name in relays else None
    if _THEIRS.match(reason):
        return None
    return next(((about, remedy) for pattern, about, remedy in _PATTERNS if pattern.search(reason)), None)


_PATTERNS = tuple((re.compile(pattern), about, remedy) for pattern, about, remedy in _CAUSES)


def _relays(shown: str) -> set[str]:
    """Return the hosts that Postfix sends mail through, from the parameters that ``postconf -h`` prints."""
    found = set()
    for word in words(shown):
        inner = word.partition("[")[2].partition("]")[0]
        found.add((inner or word.removeprefix("smtp:").partition(":")[0]).lower())
    return found


def _log(host: CheckedHost) -> list[Finding]:
    """Return Postfix's complaints in its log since it last took its configuration."""
    id, wanted = "running.log", f"no complaint of Postfix's of the last {HOURS} h that is this host's own"
    path = host.settings["postfix"].get("log")
    if path:
        lines = _tail(path)
    else:
        words = journal(host.settings["os"]["postfix"]["service"])
        done = host.command(words)
        is_empty = "-- No entries --" in done.out or (done.status == 1 and not done.err.strip())
        if done.status is None or (done.status != 0 and not is_empty):
            return [not_run(id, "Postfix's log", wanted, words, done)]
        lines = done.out.splitlines()
    told = complaints(lines)
    remedy = "Put right what it names (mailserver.check area=config names tables and limits), then: postfix reload"
    found = [
        Finding(id, "fail", about, wanted, f"{count} times, last: {last}", remedy)
        for about, (count, last) in list(told.items())[:_TOLD]
    ]
    return found or [ok(id, "Postfix's log", wanted)]


def complaints(lines: Iterable[str]) -> dict[str, tuple[int, str]]:
    """Return ``{about: (how often, the last one)}`` for Postfix's complaints in a log, the newest line first."""
    found: dict[str, tuple[int, str]] = {}
    for line in lines:
        message = line[:_LONGEST].partition("]: ")[2]
        if _BEGAN.match(message):
            break
        about = _about(message)
        if about:
            count, last = found.get(about, (0, message[:200]))
            found[about] = count + 1, last
    return found


def _about(message: str) -> str | None:
    reply = _REPLIES.match(message)
    if reply:
        return f"mail is answered with {reply[1]}"
    text = message.partition(": ")[2]
    is_ours = message.startswith(_ENDED) or (message.startswith(_LOUD) and _COMPLAINTS.match(text))
    table = _TABLE.match(text)
    return (table[1] if table else re.sub(r"\d+", "N", text))[:80] if is_ours else None


def journal(service: str) -> tuple[str, ...]:
    """Return the command that prints Postfix's complaints and when it took its configuration, the newest first."""
    return (
        "journalctl",
        f"--unit={service}.service",
        f"--unit={service}@-.service",
        f"--since=-{HOURS}h",
        r"--grep=^(fatal|panic|error|warning): |^NOQUEUE: .*: 45[01] 4\.3\.|^(daemon started|reload) -- ",
        "--reverse",
        f"--lines={MOST}",
        "--output=short-unix",
        "--no-pager",
    )


def _tail(path: str, now: Callable[[], float] = time.time) -> list[str]:
    """Return the lines of postlogd(8)'s log of the last hours, the newest first; none if it cannot be read."""
    try:
        with open(path, "rb") as file:
            file.seek(max(Path(path).stat().st_size - _TAIL, 0))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    first = datetime.fromtimestamp(now() - HOURS * 3600)
    return [line for line in reversed(lines) if _is_after(line, first)]


def _is_after(line: str, first: datetime) -> bool:
    try:
        moment = datetime.strptime(f"{first.year} {line[:15]}", "%Y %b %d %H:%M:%S")
    except ValueError:
        return False
    return moment >= first or (first.month == 12 and moment.month == 1)
