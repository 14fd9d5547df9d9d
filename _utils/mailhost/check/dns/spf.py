"""Checks of SPF: the record, how it ends, and its result for each address that mail leaves from."""

import ipaddress
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeAlias

from mailhost.check.dns.answers import ASK_AGAIN, Survey, answered, judged, publish, text, unknown, where
from mailhost.check.findings import Finding, Status, ok
from mailhost.dns import lookup
from mailhost.dns.lookup import Question, ServerAnswer
from mailhost.errors import MissingPackage
from mailhost.receiver.spf import Evaluated
from mailhost.records import record as mail_records
from mailhost.records import spf as records_spf
from mailhost.records.shared import spf_beside
from mailhost.shapes import DomainSettings

MOST_LOOKUPS, MOST_VOID = 10, 2
"""RFC 7208 section 4.6.4."""
NEAR = 9
"""From so many lookups on, one more sender in an included record may be too many."""
STRANGERS = {4: "240.0.0.1", 6: "100::1"}
"""Addresses that nobody sends from: with them a record is evaluated to its end (RFC 1112 section 4, RFC 6666)."""
_AT_ONCE = 16
_Task: TypeAlias = tuple[str, str, bool]
"""An evaluation to make: the domain, the address of the sender, and whether too many look-ups end it."""


@dataclass(frozen=True)
class Evaluations:
    """pyspf's results for a domain's record: by address that its mail leaves from, and for strangers of each family."""

    sending: dict[str, Evaluated]
    strangers: list[Evaluated]


def questions(survey: Survey) -> list[Question]:
    """Return the questions to ask."""
    return [Question(name, "TXT") for name in survey.domains]


def findings(survey: Survey) -> Iterator[Finding]:
    """Return the findings about the domains' SPF records."""
    published = {name: _published(survey, name, domain) for name, domain in survey.domains.items()}
    usable = [name for name in survey.domains if len(_records(survey, name)) == 1 or not _told(survey, name)]
    try:
        evaluated = _evaluate(survey, usable)
    except MissingPackage as err:
        evaluated = {}
        yield unknown("dns.spf.passes", "SPF", "pyspf can evaluate the domains' SPF records", str(err), ASK_AGAIN)
    for name, finding in published.items():
        yield from [finding] if finding else []
        if len(_records(survey, name)) == 1:
            yield _end(survey, name)
        if name in evaluated:
            yield from _effects(name, evaluated[name])


# ---- the record


def _told(survey: Survey, name: str) -> list[ServerAnswer]:
    return answered(survey.shown(name, "TXT"))


def _records(survey: Survey, name: str) -> list[str]:
    """Return the SPF records of a domain that its first server shows."""
    servers = _told(survey, name)
    return [text(value) for value in servers[0].values if records_spf.is_spf(value)] if servers else []


def _published(survey: Survey, name: str, domain: DomainSettings) -> Finding | None:
    """Compare a domain's record with the settings; ``None`` if they want none and there are not several.

    Mail is still delivered without a record, or with another one. With several, each evaluation is a permerror (RFC
    7208 section 4.5).
    """
    answers, wanted = survey.shown(name, "TXT"), records_spf.spf_record(name, domain)
    if wanted and not domain["spf"]["exact"]:
        wanted = replace(wanted, value=spf_beside(wanted.value, survey.values(name, "TXT")))
    found = _records(survey, name)
    if len(found) > 1:
        seen = f"{len(found)} SPF records, of which receivers take none: {'; '.join(found)} ({where(answers)})"
        remedy = publish([wanted] if wanted else [], f"and remove every other SPF record at {name}")
        return Finding("dns.spf", "fail", name, "one SPF record", seen, remedy)
    if wanted is None:
        return None
    verdict = lookup.judge(answers, lambda values: records_spf.check_spf(values, wanted.value))
    remedy = publish([wanted], f"or, if DNS is right, change mailserver:domains:{name}:spf", answers.zone)
    seen = f"so {where(answers)}"
    return judged("dns.spf", name, wanted.value, verdict.value, verdict.findings, "warn", remedy, seen)


def ending(record: str) -> str:
    """Return what a record says about every other address: the qualifier of ``all`` (RFC 7208 sections 4.7 and 5.1).

    ``redirect``: another record says that.
    """
    for term in record.lower().split()[1:]:
        found = re.fullmatch(r"([-~?+]?)all", term)
        if found:
            return found[1] or "+"
    return "redirect" if re.search(r"\sredirect=", record.lower()) else "?"


def _end(survey: Survey, name: str) -> Finding:
    record = _records(survey, name)[0]
    end = ending(record)
    statuses: dict[str, Status] = {"+": "fail", "?": "warn"}
    status = statuses.get(end, "ok")
    wanted = "the SPF record ends in -all or ~all"
    seen = f"{record} {where(survey.shown(name, 'TXT'))}"
    if status == "ok":
        return ok("dns.spf.all", name, wanted, seen)
    why = "allows every address to send for the domain" if end == "+" else "says nothing of other addresses"
    fixed = " ".join([*(one for one in record.split() if not re.fullmatch(r"[?+]?all", one.lower())), "-all"])
    line = mail_records.Record(name, survey.domains[name]["ttl"], "TXT", fixed)
    remedy = publish([line], f"mailserver:domains:{name}:spf:all, or the record that is given there, decides")
    return Finding("dns.spf.all", status, name, wanted, f"{seen}, which {why}", remedy)


# ---- what receivers make of it


def _evaluate(survey: Survey, names: Iterable[str]) -> dict[str, Evaluations]:
    """Evaluate the records of domains as receivers do, each with (HELO the host's name, MAIL FROM postmaster@domain).

    An evaluation that has not begun after twice the time for all questions (``dns:lifetime``) is a temperror.
    """
    host, limit = survey.settings["hostname"], 2 * survey.settings["dns"]["lifetime"]
    ends = time.monotonic() + limit
    evaluate = survey.means.spf(survey.settings["dns"]["timeout"])

    def one(task: _Task) -> Evaluated:
        name, address, strict = task
        if time.monotonic() > ends:
            return Evaluated("temperror", f"not asked within the {limit:g} s for all evaluations")
        return evaluate(address, f"postmaster@{name}", host, strict)

    tasks = [task for name in names for task in _tasks(name, survey.domains[name]["addresses"])]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        results = dict(zip(tasks, threads.map(one, tasks), strict=True))
    found = {name: Evaluations({}, []) for name in names}
    for (name, address, strict), result in results.items():
        if strict:
            found[name].sending[address] = result
        else:
            found[name].strangers.append(result)
    return found


def _tasks(name: str, addresses: Sequence[str]) -> list[_Task]:
    versions = sorted({ipaddress.ip_address(one).version for one in addresses})
    return [(name, one, True) for one in addresses] + [(name, STRANGERS[one], False) for one in versions]


def _effects(name: str, evaluations: Evaluations) -> Iterator[Finding]:
    results = evaluations.sending.values()
    if any(one.result == "none" for one in results):
        return
    yield _passes(name, evaluations.sending)
    too_many = any(one.result == "permerror" for one in results)
    if not too_many and all(one.result != "temperror" for one in evaluations.strangers):
        yield _lookups(name, evaluations.strangers)


_RANK: dict[str, Status] = {"pass": "ok", "temperror": "unknown", "softfail": "warn", "neutral": "warn"}


def _passes(name: str, sending: Mapping[str, Evaluated]) -> Finding:
    """Return the result for a domain's addresses: the worst counts. A temperror is trouble with DNS, not a fault."""
    wanted = f"mail of the domain passes SPF from {', '.join(sending) or 'its addresses'}"
    by_status: dict[Status, list[str]] = {"fail": [], "warn": [], "unknown": [], "ok": []}
    for address, found in sending.items():
        because = f" ({found.explanation})" if found.result != "pass" and found.explanation else ""
        by_status[_RANK.get(found.result, "fail")].append(f"{found.result} for {address}{because}")
    status: Status = next((one for one, said in by_status.items() if said), "unknown")
    seen = "; ".join(by_status[status]) or "not evaluated, as no address is known that the domain's mail leaves from"
    if status == "ok":
        return ok("dns.spf.passes", name, wanted, f"{seen}, by this system's resolver")
    if status == "unknown":
        return unknown("dns.spf.passes", name, wanted, f"{seen}, by this system's resolver")
    remedy = (
        f"Let the SPF record allow these addresses: mailserver:domains:{name}:addresses and spf say which; "
        f"salt-call mailserver.records {name} format=zone shows the record to publish."
    )
    return Finding("dns.spf.passes", status, name, wanted, f"{seen}, by this system's resolver", remedy)


def _lookups(name: str, strangers: Collection[Evaluated]) -> Finding:
    """Return the result of a record that is evaluated to its end, as for an address that it does not name.

    With a permerror, or beyond the limits, such an address gets that result instead of the record's own, so forged mail
    gets through.
    """
    lookups, void = (max((getattr(one, count) for one in strangers), default=0) for count in ("lookups", "void"))
    broken = [one.explanation for one in strangers if one.result == "permerror"]
    wanted = f"evaluated to its end, the record takes at most {MOST_LOOKUPS} look-ups, {MOST_VOID} of them void"
    seen = f"{lookups} look-ups, {void} of them void, by this system's resolver"
    if lookups < NEAR and void <= MOST_VOID and not broken:
        return ok("dns.spf.lookups", name, wanted, seen)
    remedy = (
        f"Take out of mailserver:domains:{name}:spf:include what nobody sends by any more, what has an error, and what "
        "names hosts that are not there; the addresses (ip4:, ip6:) that an include stands for need no look-up."
    )
    return Finding("dns.spf.lookups", "warn", name, wanted, "; ".join([seen, *broken[:1]]), remedy)
