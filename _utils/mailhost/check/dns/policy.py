"""Checks of what a domain tells senders and authorities about TLS, if it does: MTA-STS, TLS-RPT and CAA."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeAlias

from mailhost.check.dns.answers import Survey, answered, as_wanted, optional, text, unknown, why_unknown
from mailhost.check.findings import CheckResult, Finding, Status, ok
from mailhost.dns.lookup import Answers, Question, server_of
from mailhost.records import mta_sts
from mailhost.records.mta_sts import Policy, PolicyError, Unfetched
from mailhost.records.policies import KINDS
from mailhost.records.transport import caa_records, check_caa, is_tls_rpt, reports
from mailhost.shapes import DomainSettings

_Fetched: TypeAlias = Policy | PolicyError | Unfetched
"""A domain's policy, or the error that came instead."""
_AT_ONCE = 20
_CAA_TAGS = ("issue", "issuewild", "issuemail", "issuevmc", "iodef", "contactemail", "contactphone")


def questions(survey: Survey) -> list[Question]:
    """Return the questions to ask."""
    found = [Question(f"{label}.{name}", "TXT") for name in survey.domains for label in ("_mta-sts", "_smtp._tls")]
    found += [Question(name, "CAA") for name, domain in survey.domains.items() if domain["caa"]]
    return found + [Question(name, "CAA") for name in _upward(survey.settings["hostname"])]


def findings(survey: Survey) -> Iterator[Finding]:
    """Return the findings about MTA-STS, TLS-RPT and CAA."""
    policies = _fetch(survey)
    for name in survey.domains:
        yield _mta_sts(survey, name, policies)
        yield _tls_rpt(survey, name)
        yield from _wanted_caa(survey, name)
    yield _caa(survey)


def _as_the_settings_want(survey: Survey, name: str, label: str, finding: Finding, answers: Answers) -> Finding:
    """Return a finding about a domain's policy record that considers what its settings want."""
    kind = KINDS[label]
    record = kind.make(name, survey.domains[name])
    if record is None:
        return finding
    section = label.lower().replace("-", "_")
    otherwise = f"or mailserver.publish; or, if DNS is right, change mailserver:domains:{name}:{section}"
    return as_wanted(finding, answers, partial(kind.check, wanted=record.value), [record], otherwise)


# ---- MTA-STS


def _sts(values: Iterable[bytes]) -> list[bytes]:
    return [value for value in values if mta_sts.is_record(value)]


def _is_usable_sts(values: Sequence[bytes]) -> bool:
    return len(values) == 1 and mta_sts.record_problem(values[0]) is None


def _fetch(survey: Survey) -> dict[str, _Fetched]:
    """Fetch the policies of domains with a usable record; each result is a policy, or the error that came instead."""
    names = [name for name in survey.domains if _is_usable_sts(_sts(survey.values(f"_mta-sts.{name}", "TXT")))]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        return dict(zip(names, threads.map(partial(_fetched, survey.means.fetch), names), strict=True))


def _fetched(fetch: Callable[[str], str], name: str) -> _Fetched:
    try:
        return mta_sts.parse(fetch(name))
    except (PolicyError, Unfetched) as err:
        return err


def _mta_sts(survey: Survey, name: str, policies: Mapping[str, _Fetched]) -> Finding:
    """Judge a domain's MTA-STS: there must be one record, and a policy that allows all its MX hosts (RFC 8461).

    With an enforced policy that lacks one of them, senders that honour it refuse mail (section 5). With any other
    fault the policy is ignored.
    """
    wanted = "senders that honour MTA-STS find a policy that names the domain's MX hosts"
    answers = survey.shown(f"_mta-sts.{name}", "TXT")
    found = optional("dns.mta_sts", name, wanted, answers, _sts, partial(_read_sts, survey, name, policies))
    return _as_the_settings_want(survey, name, "MTA-STS", found, answers)


def _read_sts(survey: Survey, name: str, policies: Mapping[str, _Fetched], values: Sequence[bytes]) -> CheckResult:
    record, at = f"_mta-sts.{name}", mta_sts.url(name)
    if len(values) > 1:
        remedy = f"Keep one of the TXT records v=STSv1 at {record}."
        return "warn", f"{len(values)} records at {record}, of which senders take none", remedy
    shown, problem = text(values[0]), mta_sts.record_problem(values[0])
    if problem:
        return (
            "warn",
            f"{shown}: {problem}",
            f'Publish: {record}. 3600 IN TXT "v=STSv1; id=1" (another id with each policy)',
        )
    policy = policies[name]
    if isinstance(policy, Unfetched):
        return "unknown", f"{shown}; of {at} nothing is known: {policy}", f"Check again; by hand: curl -v {at}"
    if isinstance(policy, PolicyError):
        remedy = f"Serve the policy at {at}, or take the record away; by hand: curl -v {at}"
        return "warn", f"{shown}, but {at} gives no policy: {policy}", remedy
    return _read_policy(survey, name, policy, shown)


def _read_policy(survey: Survey, name: str, policy: Policy, shown: str) -> CheckResult:
    hosts = sorted({host for _, host in survey.values(name, "MX") if host}) or survey.domains[name]["mx"]
    missing = [host for host in hosts if not mta_sts.allows(policy, host)]
    says = f"{shown}; the policy says mode: {policy.mode}, {', '.join(f'mx: {one}' for one in policy.mx) or 'no mx'}"
    if policy.mode == "none" or not missing:
        return _compare_policy(survey.domains[name], name, policy, says)
    lines = "; ".join(f"mx: {host}" for host in missing)
    remedy = f"Add to {mta_sts.url(name)}: {lines}. Then give the record at _mta-sts.{name} another id=."
    status: Status = "fail" if policy.mode == "enforce" else "warn"
    return status, f"{says}, but mail for the domain goes to {', '.join(missing)}", remedy


def _compare_policy(domain: DomainSettings, name: str, policy: Policy, says: str) -> CheckResult:
    """Compare the served policy with what the settings want; it is ok if they want no MTA-STS."""
    if not domain["mta_sts"]["mode"]:
        return "ok", says, ""
    ours = mta_sts.parse(mta_sts.policy_text(domain))
    if (policy.mode, policy.max_age, sorted(policy.mx)) == (ours.mode, ours.max_age, sorted(ours.mx)):
        return "ok", says, ""
    listed = ", ".join(f"mx: {host}" for host in ours.mx)
    wanted = f"mode: {ours.mode}, {listed or 'no mx'}, max_age: {ours.max_age}"
    remedy = (
        f"Serve what `salt-call mailserver.mta_sts_policy {name}` shows at {mta_sts.url(name)}; with "
        f"mailserver:mta_sts:serve: nginx, a highstate does. Or change mailserver:domains:{name}:mta_sts"
    )
    return "warn", f"{says}, max_age: {policy.max_age}; the settings want {wanted}", remedy


# ---- TLS-RPT


def _rpt(values: Iterable[bytes]) -> list[bytes]:
    return [value for value in values if is_tls_rpt(value)]


def _tls_rpt(survey: Survey, name: str) -> Finding:
    """Judge a domain's record for TLS reports: there must be one, with ``rua=`` (RFC 8460 section 3)."""
    wanted = "senders know where to report trouble with TLS"
    answers = survey.shown(f"_smtp._tls.{name}", "TXT")
    found = optional("dns.tls_rpt", name, wanted, answers, _rpt, partial(_read_rpt, name))
    return _as_the_settings_want(survey, name, "TLS-RPT", found, answers)


def _read_rpt(name: str, values: Sequence[bytes]) -> CheckResult:
    record = f"_smtp._tls.{name}"
    line = f'{record}. 3600 IN TXT "v=TLSRPTv1; rua=mailto:tlsrpt@{name}"'
    if len(values) > 1:
        return "warn", f"{len(values)} records at {record}, of which senders take none", f"Keep one, such as: {line}"
    shown = text(values[0])
    uris = reports(shown)
    if not uris or not all(re.fullmatch(r"(mailto:[^@\s]+@[A-Za-z0-9.-]+|https://\S+)", one) for one in uris):
        return "warn", f"{shown}: its rua= names no mailto: or https: address", f"Publish: {line}"
    return "ok", shown, ""


# ---- CAA


def _wanted_caa(survey: Survey, name: str) -> Iterator[Finding]:
    """Compare the CAA records at a domain's name with the settings, if they want any."""
    records = caa_records(name, survey.domains[name])
    if records:
        answers, wanted = survey.shown(name, "CAA"), [record.value for record in records]
        found = ok("dns.caa", name, f"CAA: {', '.join(wanted)}")
        if not answered(answers):
            found = unknown(found.id, name, found.wanted, why_unknown(answers))
        otherwise = f"and take every other CAA record there away; or change mailserver:domains:{name}:caa"
        yield as_wanted(found, answers, partial(check_caa, wanted=wanted), records, otherwise)


def _upward(name: str) -> list[str]:
    labels = name.split(".")
    return [".".join(labels[start:]) for start in range(len(labels))]


def _caa(survey: Survey) -> Finding:
    """Show who may issue a certificate for the host: by the records at its name, or the nearest above (RFC 8659).

    An authority that does not know a critical property must not issue (section 4.1).
    """
    host = survey.settings["hostname"]
    wanted = "the records that say who may issue the host's certificate can be read"
    for name in _upward(host):
        answers = survey.shown(name, "CAA")
        servers = answered(answers)
        if not servers:
            return unknown("dns.caa", host, wanted, why_unknown(answers))
        values = survey.values(name, "CAA")
        if values:
            return _read_caa(host, wanted, name, values, server_of(servers[0]))
    return ok("dns.caa", host, wanted, "not used: every authority may issue")


def _read_caa(host: str, wanted: str, name: str, values: Collection[str], at: str) -> Finding:
    read = {value: re.fullmatch(r'(\d+) ([A-Za-z0-9]+) "(.*)"', value) for value in values}
    bad = [value for value, found in read.items() if not found or not _is_usable(*found.groups())]
    if bad:
        remedy = (
            f"Publish them again at {name}, for example: {name}. 3600 IN CAA 0 issue "
            f'"letsencrypt.org" (known are: {", ".join(_CAA_TAGS)})'
        )
        return Finding("dns.caa", "warn", host, wanted, f"{'; '.join(bad)} at {name}, {at}, cannot be read", remedy)
    issuers = [found[3].partition(";")[0].strip() for found in read.values() if found and found[2].lower() == "issue"]
    named = ", ".join(one or "nobody" for one in issuers) or "every authority"
    return ok("dns.caa", host, wanted, f"{named} may issue, by {'; '.join(values)} at {name}, {at}")


def _is_usable(flags: str, tag: str, value: str) -> bool:
    if tag.lower() in ("issue", "issuewild"):
        return bool(re.fullmatch(r"[A-Za-z0-9.-]*", value.partition(";")[0].strip(" \t")))
    return tag.lower() in _CAA_TAGS or not int(flags) & 128
