"""Checks of the host in DNS: its addresses, the names of its addresses, and the MX records that lead to it."""

import ipaddress
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Protocol

from mailhost.check.dns.answers import ASK_AGAIN, Survey, answered, in_short, judged, publish, where, why_unknown
from mailhost.check.findings import Finding, Status, ok
from mailhost.dns import lookup
from mailhost.dns.lookup import Question, server_of
from mailhost.records import addresses
from mailhost.records import hosts as records_hosts
from mailhost.records import shared as shared_records
from mailhost.records import wants as records_wants
from mailhost.records.addresses import is_private
from mailhost.records.transport import pointer
from mailhost.shapes import DomainSettings


class _Report(Protocol):
    """Returns the finding about the name of an address (:func:`_reverse_finding`)."""

    def __call__(self, status: Status, seen: str, remedy: str = "") -> Finding: ...


def questions(survey: Survey) -> list[Question]:
    """Return the questions that follow from the answers so far."""
    host = survey.settings["hostname"]
    found = [Question(host, "A"), Question(host, "AAAA")]
    found += [Question(name, "MX") for name in survey.domains]
    found += [Question(pointer(address), "PTR") for address in sending(survey) if not is_private(address)]
    found += [_confirming(name, address) for address in sending(survey) for name in _names(survey, address)]
    hosts = [target for target in targets(survey) if not _is_address(target)]
    return found + [Question(target, rdtype) for target in hosts for rdtype in ("A", "AAAA")]


def findings(survey: Survey) -> list[Finding]:
    """Return the findings about the host's addresses, their names, and the domains' MX records."""
    return [
        *_addresses(survey),
        *(_reverse(survey, address) for address in sending(survey)),
        *(_mx(survey, name, domain) for name, domain in survey.domains.items()),
        *_targets(survey),
    ]


# ---- addresses


def _addresses(survey: Survey) -> list[Finding]:
    """Compare A and AAAA of the host's name with the settings; if neither is right, no mail comes in."""
    settings = survey.settings
    if unknown := addresses.no_public(settings):
        wanted = "A, AAAA: the host's public addresses"
        return [Finding("dns.address", "warn", settings["hostname"], wanted, unknown, addresses.NAME_THEM)]
    host = (settings["hostname"], settings["addresses"])
    wants = records_wants.wants(settings["domains"], *host, families=settings["families"])
    wants = [want for want in wants if want.label in ("A", "AAAA")]
    compared = records_wants.compare(wants, survey.answers)
    reached = any(one.value == "published" and one.want.publish for one in compared)
    return [_address(survey, one, "warn" if reached else "fail") for one in compared]


def _address(survey: Survey, compared: records_wants.Comparison, status: Status) -> Finding:
    want = compared.want
    rdtype, listed = want.label, ", ".join(record.value for record in want.publish) or "none"
    remedy = publish(want.publish, "or, if DNS is right, give these addresses as mailserver:addresses")
    if not want.publish:
        remedy = f"Take the {rdtype} records of {want.of} away, or add their addresses to mailserver:addresses."
    seen = f"so {where(survey.shown(want.of, rdtype))}"
    return judged(
        "dns.address", want.of, f"{rdtype}: {listed}", compared.value, compared.sentences, status, remedy, seen
    )


# ---- the names of addresses


def sending(survey: Survey) -> list[str]:
    """Return the addresses that mail leaves from: the host's and the domains', each once."""
    domains = (address for domain in survey.domains.values() for address in domain["addresses"])
    return list(dict.fromkeys([*survey.settings["addresses"], *domains]))


def _confirming(name: str, address: str) -> Question:
    return Question(name, "A" if ipaddress.ip_address(address).version == 4 else "AAAA")


def _names(survey: Survey, address: str) -> tuple[str, ...]:
    return survey.values(pointer(address), "PTR")


def _reverse(survey: Survey, address: str) -> Finding:
    """Check the name of an address that mail leaves from; receivers refuse mail if it has no confirmed name.

    A name is confirmed if its own A or AAAA record has the address: anybody could claim a name (RFC 8601 section 3).
    """
    report = partial(_reverse_finding, survey, address)
    if is_private(address):
        return report("unknown", "a private address, which nobody outside sees")
    answers = survey.shown(pointer(address), "PTR")
    missing = [one for one in answered(answers) if one.status == "absent"]
    if missing:
        sentences = [f"{server_of(one)} shows no PTR at {pointer(address)} ({one.detail})" for one in missing]
        return report("fail", in_short(sentences))
    if not answered(answers):
        return report("unknown", why_unknown(answers))
    names = _names(survey, address)
    confirmed = [name for name in names if address in survey.values(*_key(_confirming(name, address)))]
    if not confirmed:
        return _unconfirmed(survey, address, names, report)
    own = address in survey.settings["addresses"]
    status: Status = "ok" if survey.settings["hostname"] in confirmed or not own else "warn"
    return report(status, f"{', '.join(confirmed)} ({where(answers)})")


def _key(question: Question) -> tuple[str, str]:
    return question.name, question.rdtype


def _unconfirmed(survey: Survey, address: str, names: Sequence[str], report: _Report) -> Finding:
    asked = [survey.answers[_confirming(name, address)] for name in names]
    silent = [why_unknown(one) for one in asked if not answered(one)]
    if silent:
        return report("unknown", in_short(silent))
    shown = (", ".join(survey.values(*_key(one.question))) or f"no {one.question.rdtype} record" for one in asked)
    sources = map(where, asked)
    seen = in_short(
        [f"its name {name or '.'} has {has} {at}" for name, has, at in zip(names, shown, sources, strict=True)]
    )
    host = survey.settings["hostname"]
    line = f"Publish: {host}. 3600 IN {_confirming(host, address).rdtype} {address}"
    return report("fail", seen, remedy=line if host in names else "")


def _reverse_finding(survey: Survey, address: str, status: Status, seen: str, remedy: str = "") -> Finding:
    host = survey.settings["hostname"] if address in survey.settings["addresses"] else ""
    wanted = f"its name is {host}" if host else "it has a name, and that name has this address"
    if status == "ok":
        return ok("dns.reverse", address, wanted, seen)
    if is_private(address):
        remedy = "Behind NAT, give the public addresses as mailserver:addresses; else leave this one out there."
    elif status == "unknown":
        remedy = ASK_AGAIN
    return Finding("dns.reverse", status, address, wanted, seen, remedy or _reverse_remedy(address, host))


def _reverse_remedy(address: str, host: str) -> str:
    return (
        f"Whoever gave you the address has its reverse zone, and can publish: {pointer(address)}. 3600 IN PTR "
        f"{host or 'NAME'}. ({host or 'NAME, the host that sends from it,'} must have the address in its own records)"
    )


# ---- MX


def _mx(survey: Survey, name: str, domain: DomainSettings) -> Finding:
    """Compare a domain's MX records with the settings: without a wanted host among them, no mail gets here."""
    answers = survey.shown(name, "MX")
    hosts = domain["mx"]
    if not hosts:
        return _unchecked_mx(survey, name, domain)
    records, otherwise = records_hosts.mx_records(name, domain), "or, if DNS is right, list its hosts in"
    check, where_to = records_hosts.check_mx, f"mailserver:domains:{name}:mx"
    if shared_records.has_mx_of_others(domain, survey.settings["hostname"]):
        check, records = (
            shared_records.check_mx_beside,
            shared_records.mx_beside(records, survey.values(name, "MX")),
        )
        where_to = f"mailserver:domains:{name}:hosts, if they have the domain as this one does, or else in {where_to}"
    verdict = lookup.judge(answers, partial(check, hosts=hosts))
    reached = all(any(host in hosts for _, host in one.values) for one in answered(answers))
    remedy = publish(records, f"{otherwise} {where_to}")
    return judged(
        *("dns.mx", name, f"MX: {', '.join(hosts)}", verdict.value, verdict.findings),
        *("warn" if reached else "fail", remedy, f"so {where(answers)}"),
    )


def _unchecked_mx(survey: Survey, name: str, domain: DomainSettings) -> Finding:
    """Return the finding if no MX is wanted: a null MX contradicts a domain that receives mail (RFC 7505)."""
    hosts = sorted({host for _, host in survey.values(name, "MX")})
    seen = f"MX: {', '.join(host or '. (no mail)' for host in hosts)}" if hosts else "no MX, or none that could be seen"
    if hosts == [""] and domain["receive"]:
        remedy = f"Take the null MX of {name} away, or set mailserver:domains:{name}:receive to false."
        wanted = "mail for the domain is accepted (receive: true)"
        return Finding("dns.mx", "warn", name, wanted, f"{seen} {where(survey.shown(name, 'MX'))}", remedy)
    return ok("dns.mx", name, "not checked, as its settings name no host (mx: [])", seen)


def targets(survey: Survey) -> dict[str, list[str]]:
    """Return the hosts that the domains' MX records name, in DNS or in the settings, each with its domains."""
    found: dict[str, list[str]] = {}
    for name, domain in survey.domains.items():
        if domain["mx"]:
            shown = (host for _, host in survey.values(name, "MX") if host)
            for host in dict.fromkeys([*domain["mx"], *shown]):
                found.setdefault(host, []).append(name)
    return found


def _is_address(target: str) -> bool:
    try:
        ipaddress.ip_address(target.strip("[]"))
    except ValueError:
        return False
    return True


def _targets(survey: Survey) -> Iterator[Finding]:
    """Check each host that an MX record names: it needs an address of its own (RFC 5321 section 5.1)."""
    for target, domains in targets(survey).items():
        listed = in_short(domains).replace("; ", ", ")
        wanted = f"the mail host of {listed} is a name with addresses of its own"
        report = partial(_target_finding, target, wanted)
        if _is_address(target):
            at = where(survey.shown(domains[0], "MX"))
            yield report(
                "different", (f"the MX record of {listed} names an address, and must name a host, {at}",), "fail"
            )
            continue
        asked = tuple(Question(target, rdtype) for rdtype in ("A", "AAAA"))
        want = records_wants.Want(target, "address", asked, lambda values: None, alias=False)
        (compared,) = records_wants.compare([want], survey.answers)
        # What is wrong with the host's own name is reported with its addresses.
        if target != survey.settings["hostname"] or compared.value == "published":
            alias = compared.value == "different"
            shown = ", ".join(address for question in asked for address in survey.values(*_key(question)))
            told_at = f" ({where(survey.shown(target, 'A'))})" if alias else ""
            sentences = tuple(f"{sentence}{told_at}" for sentence in compared.sentences)
            yield report(compared.value, sentences, "warn" if alias else "fail", shown)


def _target_finding(
    target: str, wanted: str, value: str, sentences: Sequence[str], status: Status, seen: str = ""
) -> Finding:
    remedy = (
        f"Give {target} A or AAAA records of its own, or let the MX record name another host: a CNAME is not allowed "
        "there (RFC 2181 section 10.3), nor an address (RFC 5321 section 5.1)."
    )
    return judged("dns.mx.target", target, wanted, value, sentences, status, remedy, seen)
