"""What the DNS checks have in common: the survey that they read, and how answers become findings. Pure."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from mailhost.check.findings import CheckResult, Finding, Status, ok
from mailhost.check.shared import brief
from mailhost.dkim.run import Ask, OldestQueued
from mailhost.dns import lookup
from mailhost.dns.lookup import Answers, Check, Question, ServerAnswer, server_of
from mailhost.dns.message import Values
from mailhost.receiver.spf import Evaluate
from mailhost.records import record as mail_records
from mailhost.records.record import Record
from mailhost.shapes import Domains, Settings

if TYPE_CHECKING:
    from mailhost.check.dns.keys import CheckedKeys

ASK_AGAIN = "Nothing is known to be wrong. Check again when the servers named answer; docs/dns.md explains messages."
DISAGREE = (
    "Make every name server serve the same zone: dig @ADDRESS SOA ZONE +norec, on each, shows which one is behind."
)
_SENTENCES = 3
_Value = TypeVar("_Value", bytes, str)


@dataclass(frozen=True)
class Means:
    """How DNS and other hosts are queried; tests pass their own functions.

    In a real check these are :func:`mailhost.dns.lookup.ask`, :func:`mailhost.receiver.spf.evaluator`,
    :func:`mailhost.records.mta_sts.fetch` and :func:`mailhost.postfix.queue.oldest_for`.
    """

    ask: Ask
    spf: Callable[[float], Evaluate]
    fetch: Callable[[str], str]
    oldest_queued: OldestQueued


@dataclass
class Survey:
    """One survey of DNS: the host's settings, the domains to check with theirs, and all answers so far.

    ``keys`` is what the host knows of the domains' DKIM keys (:class:`mailhost.check.dns.keys.CheckedKeys`).
    """

    settings: Settings
    domains: Domains
    means: Means
    keys: "CheckedKeys | None" = None
    answers: dict[Question, Answers] = field(default_factory=dict)

    def answers_to(self, name: str, rdtype: str) -> Answers | None:
        """Return the answers to a question; ``None`` if it was not asked yet."""
        return self.answers.get(Question(name, rdtype))

    def shown(self, name: str, rdtype: str) -> Answers:
        """Return the answers to a question that was asked."""
        return self.answers[Question(name, rdtype)]

    def values(self, name: str, rdtype: str) -> Values:
        """Return all values that authoritative servers show at a name, each once; empty if it was not asked yet."""
        answers = self.answers_to(name, rdtype)
        return tuple(dict.fromkeys(value for one in answered(answers) for value in one.values)) if answers else ()


def askable(name: str) -> bool:
    """Tell whether DNS can be asked for a name, which may come from a record (RFC 1035 section 2.3.4)."""
    fits = len(name) <= 253 and all(0 < len(label) <= 63 for label in name.split("."))
    return name.isascii() and (fits or not name)


def answered(answers: Answers) -> list[ServerAnswer]:
    """Return the definite answers of authoritative servers: a record, or that there is none."""
    return [one for one in answers.seen if one.status in ("answer", "absent") and one.server != "resolver"]


def where(answers: Answers) -> str:
    """Return the servers that answered, as the end of a sentence."""
    return f"at {brief(server_of(one) for one in answers.seen if one.status in ('answer', 'absent'))}"


def why_unknown(answers: Answers) -> str:
    """Return why the answer to a question is unknown."""
    unseen = [
        f"{server_of(one)} gave no usable answer for {answers.question.name}: {one.detail}" for one in answers.seen
    ]
    return in_short([answers.trouble] if answers.trouble else unseen)


def in_short(sentences: Sequence[str]) -> str:
    """Return the first few sentences as one text without a final dot, and how many more there are."""
    shown = "; ".join(sentence.rstrip(".") for sentence in sentences[:_SENTENCES])
    further = len(sentences) - _SENTENCES
    return f"{shown}; and {further} more like these" if further > 0 else shown


def publish(records: Collection[Record], otherwise: str = "", zone: str = "") -> str:
    """Return the remedy of publishing records, as lines of a zone file.

    :param zone: their zone; the text then also gives the names for a form that adds the zone itself.
    """
    lines = "; ".join(mail_records.zone_line(record) for record in records)
    if zone and records:
        names = ", ".join(dict.fromkeys(lookup.relative(record.name, zone) for record in records))
        lines += f" (in a form that adds the zone {zone} by itself, the name is {names})"
    return f"Publish: {lines}{f' ({otherwise})' if otherwise else ''}" if lines else otherwise


def unknown(id: str, about: str, wanted: str, why: str, remedy: str = ASK_AGAIN) -> Finding:
    """Return a finding for something that could not be determined."""
    return Finding(id, "unknown", about, wanted, why, remedy)


def judged(
    id: str, about: str, wanted: str, value: str, sentences: Sequence[str], status: Status, remedy: str, seen: str = ""
) -> Finding:
    """Return the finding for a verdict (:class:`mailhost.dns.lookup.Verdict`); ``status`` if absent or different."""
    if value == "published":
        return ok(id, about, wanted, seen)
    if value == "unknown":
        return unknown(id, about, wanted, in_short(sentences))
    return Finding(id, status, about, wanted, in_short(sentences), remedy)


def optional(
    id: str,
    about: str,
    wanted: str,
    answers: Answers,
    select: Callable[[Values], Sequence[_Value]],
    read: Callable[[Sequence[_Value]], CheckResult],
) -> Finding:
    """Return a finding about records that are optional but must be right if they exist.

    A server that does not answer is ignored as long as another one does: other findings already report it.

    :param select: takes a server's values, returns those that count; the name may have other values as well.
    :param read: takes those of one server; returns a status, what they say, and a remedy.
    """
    servers = answered(answers)
    if not servers:
        return unknown(id, about, wanted, why_unknown(answers))
    shown = {server_of(one): tuple(select(one.values)) for one in servers}
    if len(set(shown.values())) > 1:
        said = [f"{at} shows {_listed(values)}" for at, values in shown.items()]
        return Finding(id, "warn", about, wanted, f"the servers disagree: {in_short(said)}", DISAGREE)
    at, values = next(iter(shown.items()))
    if not values:
        return ok(id, about, wanted, "not used")
    status, says, remedy = read(values)
    return Finding(id, status, about, wanted, f"{says} ({at.replace(' (', ', ').rstrip(')')})", remedy)


def as_wanted(
    finding: Finding,
    answers: Answers,
    check: Check,
    records: Collection[Record],
    otherwise: str,
) -> Finding:
    """Return a finding of :func:`optional` that considers the settings: if all else is right, DNS must show theirs.

    :param check: takes a server's values; returns ``None`` or what differs from the settings.
    :param records: the records that the settings want; if there are none, the finding stays as it is.
    :param otherwise: what else can be done instead of publishing.
    """
    if finding.status != "ok" or not records:
        return finding
    verdict = lookup.judge(answers, check)
    if verdict.value not in ("absent", "different"):
        return finding
    wanted = ", ".join(record.value for record in records)
    remedy = publish(records, otherwise, answers.zone)
    return Finding(finding.id, "warn", finding.about, wanted, in_short(verdict.findings), remedy)


def _listed(values: Iterable[bytes | str]) -> str:
    return ", ".join(text(value) for value in values) or "none"


def text(value: bytes | str) -> str:
    """Return a TXT value, bytes, as text; other values unchanged."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
