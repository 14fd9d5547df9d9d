"""Reads the pillar into settings: defaults are filled in, and contradictions are refused with an explanation."""

import re
from collections.abc import Mapping
from typing import Any, Literal, cast

from mailhost.daemons import secrets as daemons_secrets
from mailhost.daemons.services import MAILBOXES, SIEVE, SUBMISSION
from mailhost.dkim import selectors as dkim_selectors
from mailhost.errors import PillarError
from mailhost.opendkim import authors
from mailhost.pillar import Draft
from mailhost.pillar import accounts as pillar_accounts
from mailhost.pillar import hardening as pillar_hardening
from mailhost.pillar import postfix as pillar_postfix
from mailhost.pillar import tls as pillar_tls
from mailhost.pillar import transport as pillar_transport
from mailhost.pillar.keys import SCHEMA
from mailhost.postfix import domains as postfix_domains
from mailhost.postfix import fits, senders
from mailhost.postfix.parameters import (
    MAIN_KINDS,
    as_text,
    extra_files,
    local_options,
    main_cf,
    master_syntax,
    option_problem,
    parameter_problem,
    submission_options,
)
from mailhost.records import addresses
from mailhost.records.addresses import outward_addresses
from mailhost.schema import Domain, Wrong, each_kind, read
from mailhost.selftest import recipients
from mailhost.shapes import Settings, Value
from mailhost.wording import did_you_mean, path_in, shown

SAFE_RETENTION = 7 * 86400
_SOME_DAY = "20261124"
_FIREWALLD_SERVICES = {"imap": ("imap", "imaps"), "pop3": ("pop3", "pop3s")}


def resolve(pillar: Any, parameters: Mapping[str, Any], grains: Mapping[str, Any]) -> Settings:
    """Read the pillar into settings: defaults filled in, names and numbers normalized, main.cf computed.

    :param pillar: the value of the pillar key ``mailserver``.
    :param parameters: what differs between operating systems (``mailserver/parameters/``); returned under ``os``.
    :param grains: the minion's grains; ``fqdn``, ``ipv4`` and ``ipv6`` give defaults.
    :return: a dict of plain data, nested like the pillar.
    :raises PillarError: with everything that is wrong, each with its place and the nearest valid name.
    """
    problems: list[str] = []
    settings = _read(pillar, parameters, grains, problems)
    pillar_transport.fill(settings, problems)
    _fill_firewall(settings)
    _fill_system(settings, parameters, grains)
    pillar_hardening.fill(settings, grains, problems)
    _check_publishing(settings, problems)
    settings["os"] = {**parameters, "postfix": {**parameters["postfix"]}}
    system = settings["os"]["postfix"]
    system["version"] = settings["postfix"]["version"] = settings["postfix"]["version"] or system["version"]
    _check_postfix(settings, problems)
    _check_ports(settings, problems)
    _check_reflector(settings, problems)
    _check_secrets(pillar, problems)
    if problems:
        raise PillarError(problems)
    settings["delivery"] = recipients.plan(settings)
    problems += recipients.problems(settings)
    if problems:
        raise PillarError(problems)
    if settings["reflector"]["address"]:
        settings["os"] = _with_reflector(settings["os"])
    if not isinstance(settings["watch"]["prometheus"], str) and settings["watch"]["prometheus"]:  # `true`
        settings["watch"]["prometheus"] = parameters["watch"]["textfile"]
    settings["authors"] = authors.settled(settings)
    settings["postfix"]["files"] = extra_files(settings)
    settings["postfix"]["senders"] = senders.of_system(settings)
    settings["postfix"]["syntax"] = master_syntax(system["version"])
    given = settings["postfix"]["main"]
    settings["postfix"]["main"] = main_cf(settings, _read_main(given))
    usual = parameters.get("opendkim", {}).get("settings", {})
    settings["opendkim"]["settings"] = {**usual, **settings["opendkim"]["settings"]}
    settings["postfix"]["local"] = local_options(settings)
    for name in SUBMISSION:
        service = settings["postfix"][name]
        service["options"] = submission_options(name, service, settings)
        if service["chroot"] is None:
            service["chroot"] = bool(system.get("chroot", False))
    settings["postfix"]["tlsproxy"] = fits.wants_tlsproxy(settings["postfix"]["main"])
    settings["postfix"]["message_size"] = fits.size(settings["postfix"]["main"], "message_size_limit")
    options: dict[str, dict[str, str]] = {name: settings["postfix"][name]["options"] for name in SUBMISSION}
    problems = list(fits.problems(settings, given, options))
    if problems:
        raise PillarError(problems)
    return settings


def problems(pillar: Any, parameters: Mapping[str, Any], grains: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is wrong in a pillar, a sentence for each problem; the arguments are those of :func:`resolve`."""
    try:
        resolve(pillar, parameters, grains)
    except PillarError as err:
        return err.problems
    return ()


def _read(pillar: Any, parameters: Mapping[str, Any], grains: Mapping[str, Any], problems: list[str]) -> Settings:
    """Read the pillar, and fill in what depends on other keys; only what had ``problems`` may still be ``None``."""
    draft: Draft = read(SCHEMA, pillar, "mailserver", problems)
    pillar_postfix.fill_names(draft, problems)
    _fill_host(draft, grains, problems)
    pillar_postfix.fill(draft, problems)
    _fill_domains(draft, problems)
    pillar_accounts.fill(draft, problems)
    pillar_tls.fill(draft, problems, parameters.get("tls", {}).get("folder"))
    return cast(Settings, draft)


def _fill_host(settings: Draft, grains: Mapping[str, Any], problems: list[str]) -> None:
    if settings["hostname"] is None:
        try:
            settings["hostname"] = Domain().read(grains.get("fqdn", ""))
        except Wrong as err:
            problems.append(
                f"mailserver:hostname: not given, and the host's own name (grain fqdn) does not serve: {err}"
            )
            settings["hostname"] = "localhost.localdomain"
    if settings["domain"] is None:
        domains = settings["domains"]
        if len(domains) > 1:
            problems.append(
                f"mailserver:domain: not given, and mailserver:domains lists {len(domains)}; "
                "say which of them is this host's own"
            )
        settings["domain"] = next(iter(domains), settings["hostname"])
    main = settings["postfix"]["main"]
    settings["families"] = addresses.families(main)
    settings["own_addresses"] = addresses.own_addresses(grains)
    if settings["addresses"] is None:
        settings["addresses"] = outward_addresses(grains, main)


def _fill_domains(settings: Draft, problems: list[str]) -> None:
    for name, domain in each_kind(settings["domains"], problems):
        _fill_shared(name, domain, settings["hostname"], problems)
        unknown = domain["addresses"] is None and not settings["addresses"]
        if domain["addresses"] is None:
            domain["addresses"] = list(settings["addresses"])
        if domain["mx"] is None:
            domain["mx"] = (domain["hosts"] or [settings["hostname"]]) if domain["receive"] else []
        if domain["spf"]["addresses"] is None and (domain["spf"]["hosts"] or not unknown):
            domain["spf"]["addresses"] = [] if domain["spf"]["hosts"] else list(domain["addresses"])
        for key, value in settings["dkim"].items():
            if domain["dkim"][key] is None:
                domain["dkim"][key] = value
        if domain["dkim"]["ttl"] is None:
            domain["dkim"]["ttl"] = domain["ttl"]
        if domain["dkim"]["enabled"] and settings["opendkim"]["enabled"]:
            where = f"mailserver:domains:{name}:dkim:selector"
            _check_selector(domain["dkim"]["selector"], name, settings["hostname"], where, problems)
        _check_retention(domain["dkim"], f"mailserver:domains:{name}:dkim", problems)
    _check_sign_as(settings["domains"], problems)


def _check_sign_as(domains: Mapping[str, Draft], problems: list[str]) -> None:
    """Turn off the key of each domain that another one signs for, and check that the other one can sign."""
    for name, domain in domains.items():
        other = domain["dkim"]["sign_as"]
        if not other:
            continue
        wrong = _cannot_sign(name, other, domains)
        if wrong:
            problems.append(f"mailserver:domains:{name}:dkim:sign_as: {wrong}")
    for _, domain in each_kind(domains, []):
        if domain["dkim"]["sign_as"]:
            domain["dkim"]["enabled"] = False


def _cannot_sign(name: str, other: str, domains: Mapping[str, Draft]) -> str | None:
    """Return why ``other`` cannot sign the mail of the domain ``name``, or ``None``."""
    if other == name:
        return "a domain signs its own mail without this; leave it out"
    if other not in domains:
        return f"{other} is not among mailserver:domains; {did_you_mean(other, domains)}"
    if domains[other]["dkim"]["sign_as"]:
        return f"{other} has no key either: its own sign_as is {domains[other]['dkim']['sign_as']}; name that one"
    if not domains[other]["dkim"]["enabled"]:
        return f"{other} has no key: its dkim:enabled is false"
    return None


def _fill_shared(name: str, domain: Draft, hostname: str, problems: list[str]) -> None:
    """Fill in what a domain's records say about all hosts that have it."""
    spf, hosts = domain["spf"], domain["hosts"]
    # An entry that is not a name was reported already.
    if hosts and None not in hosts and hostname not in hosts:
        problems.append(
            f"mailserver:domains:{name}:hosts: {', '.join(hosts)} and not this host, {hostname}; list all hosts that "
            "have the domain, or take it out of this host's pillar"
        )
    if spf["hosts"] is None:
        spf["hosts"] = list(hosts or ()) if spf["addresses"] is None and domain["addresses"] is None else []
    if spf["exact"] is None:
        spf["exact"] = bool(spf["addresses"] is not None or spf["hosts"] or spf["record"])


def _check_retention(policy: Draft, where: str, problems: list[str]) -> None:
    retention = policy["retention"]
    if retention is not None and retention < SAFE_RETENTION and not policy["allow_unsafe"]:
        problems.append(
            f"{where}:retention: {retention} s is less than 7 days: mail waits 5 days in this host's queue, and longer "
            f"elsewhere, and could not be verified any more; {where}:allow_unsafe lets you"
        )


def _check_selector(template: str | None, domain: str, hostname: str, where: str, problems: list[str]) -> None:
    """Report a template from which no key record of the domain can be made (RFC 6376 section 3.1)."""
    if not template:
        return
    unknown = set(re.findall(r"{([^}]*)}", template)) - {"date", "host"}
    if unknown or "{" in re.sub(r"{[^{}]*}", "", template) or "}" in re.sub(r"{[^{}]*}", "", template):
        problems.append(
            f"{where}: {shown(template)} is not a selector template: only {{date}} and {{host}} are filled in"
        )
        return
    why = dkim_selectors.trouble(dkim_selectors.filled(template, hostname, _SOME_DAY), domain)
    if why:
        problems.append(
            f"{where}: {shown(template)} makes no selector for {domain} on {hostname}: {why}; give another, or "
            f"mailserver:domains:{domain}:dkim:enabled: false"
        )


def _fill_firewall(settings: Settings) -> None:
    firewall, postfix, dovecot = settings["firewalld"], settings["postfix"], settings["dovecot"]
    if firewall["services"] is None:
        services = ["smtp"] + (["smtps"] if postfix["submissions"]["enabled"] else [])
        for protocol in dovecot["protocols"] if dovecot["enabled"] else ():
            services.extend(_FIREWALLD_SERVICES.get(protocol, ()))
        services.extend(["managesieve"] if postfix_domains.has_managesieve(settings) else [])
        services.extend(["http"] if settings["tls"]["acme"]["challenge"] == "http-01" else [])
        services.extend(["https"] if pillar_transport.served(settings) else [])
        firewall["services"] = services
    if firewall["ports"] is None:
        firewall["ports"] = ["587/tcp"] if postfix["submission"]["enabled"] else []


def _fill_system(settings: Settings, parameters: Mapping[str, Any], grains: Mapping[str, Any]) -> None:
    """Turn off what the system does not use, and find the milter's port if the SELinux policy has no label for it."""
    selinux, opendkim = settings["selinux"], settings["opendkim"]
    if selinux["enabled"] is None:
        selinux["enabled"] = bool((grains.get("selinux") or {}).get("enabled"))
    selinux["enabled"] = selinux["enabled"] and "selinux" in parameters
    port = re.match(r"inet:(\d+)@", opendkim["socket"] or "") if opendkim["enabled"] else None
    labelled = parameters.get("selinux", {}).get("milter_ports", ())
    selinux["milter_ports"] = [int(port[1])] if port and int(port[1]) not in labelled else []
    settings["repositories"]["install"] = settings["repositories"]["install"] and "repositories" in parameters


def _check_publishing(settings: Settings, problems: list[str]) -> None:
    dns = settings["dns"]
    if dns["publish"] == "manual" and dns["publish_records"]:
        problems.append(
            "mailserver:dns:publish_records: true, but mailserver:dns:publish is manual; say how: rfc2136 or central"
        )
    if dns["publish"] == "rfc2136" and dns["rfc2136"]["server"] is None:
        problems.append(
            "mailserver:dns:rfc2136:server: not given, but mailserver:dns:publish is rfc2136; "
            "say which primary server takes the updates"
        )
    if dns["publish"] == "central" and dns["central"]["publisher"] is None:
        problems.append(
            "mailserver:dns:central:publisher: not given, but mailserver:dns:publish is central; "
            "say which minion holds the DNS credential"
        )


def _check_secrets(pillar: Any, problems: list[str]) -> None:
    """Refuse secrets in parameters that end up in public files; drop other messages, which may quote them."""
    sections = ["postfix:main", "postfix:submission:options", "postfix:submissions:options"]
    for section in (*sections, "dovecot:settings", "opendkim:settings"):
        for name, value in _given(pillar, section).items():
            wrong = daemons_secrets.problem(section.partition(":")[0], str(name), value)
            if wrong:
                where = path_in(f"mailserver:{section}", name)
                problems[:] = [one for one in problems if not one.startswith(f"{where}:")] + [f"{where}: {wrong}"]


def _given(pillar: Any, section: str) -> Mapping[object, object]:
    for key in section.split(":"):
        pillar = pillar.get(key) if isinstance(pillar, dict) else None
    return pillar if isinstance(pillar, dict) else {}


def _check_postfix(settings: Settings, problems: list[str]) -> None:
    if settings["sasl"]["type"] == "dovecot" and not settings["dovecot"]["enabled"]:
        problems.append("mailserver:sasl:type: Dovecot would check logins, but mailserver:dovecot:enabled is false")
    postfix, system = settings["postfix"], settings["os"]["postfix"]
    sections: dict[str, Mapping[str, Value | None]] = {"main": postfix["main"]}
    for service in SUBMISSION:
        sections[f"{service}:options"] = postfix[service]["options"]
    given: dict[str, list[Value | None]] = {}
    for parameters in sections.values():
        for name, value in parameters.items():
            given.setdefault(name, []).append(value)
    for where, parameters in sections.items():
        for name, value in parameters.items():
            wrong = parameter_problem(name, value, given, system)
            if not wrong and where != "main":
                wrong = option_problem(value, system["version"])
            if wrong:
                problems.append(f"{path_in(f'mailserver:postfix:{where}', name)}: {wrong}")


def _check_ports(settings: Settings, problems: list[str]) -> None:
    """Check that no two daemons share a port and that every port number is valid."""
    postfix, dovecot, opendkim = settings["postfix"], settings["dovecot"], settings["opendkim"]
    taken = {25: "SMTP", settings["selftest"]["port"]: "mailserver:selftest:port"}
    taken.update({port: f"mailserver:postfix:{name}" for name, port in SUBMISSION.items() if postfix[name]["enabled"]})
    for protocol in dovecot["protocols"] if dovecot["enabled"] else ():
        taken.update(dict.fromkeys(MAILBOXES.get(protocol, ()), f"mailserver:dovecot:protocols ({protocol})"))
    if postfix_domains.has_managesieve(settings):
        taken[SIEVE] = "mailserver:accounts:virtual:managesieve"
    port = re.match(r"inet:(\d+)@", opendkim["socket"] or "") if opendkim["enabled"] else None
    if port and not 0 < int(port[1]) < 65536:
        problems.append(f"mailserver:opendkim:socket: {port[1]} is out of range: a port from 1 to 65535 is wanted")
    elif port and int(port[1]) in taken:
        problems.append(
            f"mailserver:opendkim:socket: port {port[1]} is that of {taken[int(port[1])]}; take another one"
        )
    for number, text in enumerate(settings["firewalld"]["ports"] or ()):
        ports = [int(one) for one in re.findall(r"\d+", text or "")]
        if not all(0 < one < 65536 for one in ports) or ports != sorted(ports):
            problems.append(
                f"mailserver:firewalld:ports:{number}: {shown(text)} is out of range: ports from 1 to 65535 are "
                "wanted, the lower one first"
            )


def _check_reflector(settings: Settings, problems: list[str]) -> None:
    address = settings["reflector"]["address"]
    if address is None:
        return
    where = "mailserver:reflector:address"
    settings["reflector"]["address"] = address = address.lower()
    local, _, domain = address.partition("@")
    receive = [name for name, one in settings["domains"].items() if one["receive"]]
    if domain not in receive:
        near = did_you_mean(domain, receive) if receive else "there is none"
        problems.append(f"{where}: {domain} is not among mailserver:domains with receive: true; {near}")
    kinds: tuple[Literal["users"], Literal["aliases"]] = ("users", "aliases")
    for kind in kinds:
        if local in map(str.lower, settings["accounts"][kind]):
            problems.append(
                f"{where}: mailserver:accounts:{kind} has {local}, too, whose mail at {domain} would get a report "
                "instead of arriving; give the reflector another name"
            )


def _with_reflector(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the system's parameters, extended by the Python packages that the reflector needs."""
    more = parameters.get("reflector", {}).get("python_packages", [])
    python = parameters.get("python", {})
    packages = list(dict.fromkeys([*python.get("packages", []), *more]))
    return {**parameters, "python": {**python, "packages": packages}}


def _read_main(given: Mapping[str, Value | None]) -> dict[str, Value | None]:
    """Return the pillar's parameters as values for main.cf; one that refers to another parameter stays as it is."""
    return {
        name: MAIN_KINDS[name].read(value)
        if name in MAIN_KINDS and value is not None and "$" not in as_text(value)
        else value
        for name, value in given.items()
    }
