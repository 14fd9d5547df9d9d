"""Checks of DANE for SMTP: existing TLSA records of the mail hosts, compared with DNSSEC and the certificate."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from mailhost.check.dns.answers import ASK_AGAIN, Survey, answered, as_wanted, optional, why_unknown
from mailhost.check.dns.hosts import targets
from mailhost.check.findings import CheckResult, Finding, Status
from mailhost.dns.lookup import Answers, Question
from mailhost.errors import CertificateError
from mailhost.records.transport import check_tlsa, tlsa_record
from mailhost.tls.certificate import digest, file_of, read_chain, tlsa_data

if TYPE_CHECKING:
    from cryptography import x509

_SIZES = {1: 64, 2: 128}


@dataclass(frozen=True)
class Tlsa:
    """A TLSA record (RFC 6698 section 2.1): ``data`` is hexadecimal, in lower case."""

    usage: int
    selector: int
    matching: int
    data: str

    @property
    def is_usable(self) -> bool:
        """Whether SMTP clients use it: DANE-TA or DANE-EE, in a form that they know (RFC 7672 section 3.1)."""
        known = self.usage in (2, 3) and self.selector in (0, 1) and self.matching in (0, 1, 2)
        return known and len(self.data) == _SIZES.get(self.matching, len(self.data))


def parse(value: str) -> Tlsa:
    """Read a TLSA record's text."""
    usage, selector, matching, *data = value.split()
    return Tlsa(int(usage), int(selector), int(matching), "".join(data).lower())


def _tlsa_name(host: str) -> str:
    return f"_25._tcp.{host}"


def _hosts(survey: Survey) -> list[str]:
    named = [host for host in targets(survey) if re.search(r"[a-z]", host)]
    return list(dict.fromkeys([survey.settings["hostname"], *named]))


def questions(survey: Survey) -> list[Question]:
    """Return the questions that follow from the answers so far."""
    found = [Question(_tlsa_name(host), "TLSA") for host in _hosts(survey)]
    return found + [Question(_zone(survey, host), "DS") for host in _hosts(survey) if _zone(survey, host)]


def _zone(survey: Survey, host: str) -> str:
    """Return the zone of a host's TLSA records, ``""`` if there are none."""
    answers = survey.answers_to(_tlsa_name(host), "TLSA")
    return answers.zone if answers and survey.values(_tlsa_name(host), "TLSA") else ""


def findings(survey: Survey) -> Iterator[Finding]:
    """Return the findings about the mail hosts' TLSA records."""
    for host in _hosts(survey):
        wanted = f"senders that use DANE find the certificate of {host} right"
        read = partial(_read, survey, host)
        answers = survey.shown(_tlsa_name(host), "TLSA")
        found = optional("dns.tlsa", host, wanted, answers, list, read)
        yield _as_the_settings_want(survey, found, answers) if host == survey.settings["hostname"] else found


def _as_the_settings_want(survey: Survey, found: Finding, answers: Answers) -> Finding:
    """Return the finding about the host's own records, considering whether its settings want one."""
    try:
        data = tlsa_data(survey.settings)
    except CertificateError:
        # The area tls reports what is wrong with the file.
        return found
    if data is None:
        return found
    record = tlsa_record(found.about, data, 3600)
    return as_wanted(
        found, answers, partial(check_tlsa, wanted=record.value), [record], "or mailserver:tls:tlsa: false"
    )


def _read(survey: Survey, host: str, values: Sequence[str]) -> CheckResult:
    """Judge a host's records. Without DNSSEC, senders ignore them (RFC 7672 section 2.2)."""
    zone, shown = _zone(survey, host), "; ".join(values)
    answers = survey.answers_to(zone, "DS")
    # The root zone has no parent, and so no DS record.
    servers = answered(answers) if answers else []
    if answers and not servers:
        return "unknown", f"{shown}; whether {zone} is signed: {why_unknown(answers)}", ASK_AGAIN
    if not servers or any(one.status == "absent" for one in servers):
        remedy = f"Sign the zone {zone} and have its DS record published above it, or take the TLSA records away."
        return "warn", f"{shown}, but {zone} has no DS record: it is not signed, and the records are ignored", remedy
    records = [one for one in map(parse, values) if one.is_usable]
    if host != survey.settings["hostname"]:
        status: Status = "ok" if records else "warn"
        return status, f"{shown}; {zone} is signed", "" if records else _remedy(host, "of that host")
    return _match(survey, host, shown, records)


def _match(survey: Survey, host: str, shown: str, records: Sequence[Tlsa]) -> CheckResult:
    """Compare the host's own records with its certificate: one must match, or mail for the host waits and bounces."""
    path = file_of(survey.settings, "certificate")
    try:
        chain = read_chain(path)
        why = "" if chain else "there is no certificate in it"
    except (OSError, ValueError) as err:
        chain, why = [], str(err)
    if why:
        return "unknown", f"{shown}; {path} cannot be read: {why}", f"Put the certificate at {path}, then check again."
    ours = digest(chain[0], 1, 1)
    remedy = _remedy(host, ours)
    if not records:
        return "warn", f"{shown}: none that SMTP clients go by (RFC 7672 section 3.1)", remedy
    if any(matches(one, chain) for one in records):
        return "ok", f"{shown}, one of which is that of {path}", ""
    return "fail", f"{shown}: none is that of {path}, so senders that use DANE deliver nothing", remedy


def _remedy(host: str, data: str) -> str:
    return f"Publish: {_tlsa_name(host)}. 3600 IN TLSA 3 1 1 {data} (and only then take the others away)"


def matches(record: Tlsa, chain: Sequence["x509.Certificate"]) -> bool:
    """Tell whether a record matches a chain: DANE-EE its first certificate, DANE-TA one of the others."""
    candidates = chain[:1] if record.usage == 3 else chain[1:]
    return any(digest(one, record.selector, record.matching) == record.data for one in candidates)
