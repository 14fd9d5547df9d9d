"""The pillar for TLS between mail servers: MTA-STS and its server, TLS-RPT, CAA; read, with defaults filled in."""

import re
from collections.abc import Container
from dataclasses import dataclass
from typing import Literal

from mailhost.records import mta_sts
from mailhost.schema import Address, Choice, Duration, Items, Key, Kind, Section, Text, Wrong, each_kind
from mailhost.shapes import DomainSettings, Settings
from mailhost.wording import shown

LONGEST_SERVED = 4000
"""Bytes: nginx accepts no parameter longer than its buffer of 4096, and a policy is one parameter."""
_PATH = Text(r"/\S+", "an absolute path")
_PLACEHOLDER = "{domain}"
_FILES: tuple[Literal["certificate"], Literal["key"]] = ("certificate", "key")
_CAA_TAGS = ("issue", "issuewild", "issuemail", "issuevmc", "iodef", "contactemail", "contactphone")


@dataclass(frozen=True)
class Caa:
    """A CAA record's flags, property and value (RFC 8659 section 4.1); read with the value in quotation marks."""

    form: str = 'a CAA record (0 issue "letsencrypt.org")'

    def read(self, value: object) -> str:
        found = re.fullmatch(r'(0|128) +([A-Za-z0-9]+) +(?:"([^"\\]*)"|([^"\\\s]+))', str(value))
        if not found or found[2].lower() not in _CAA_TAGS or not (found[3] or found[4] or "").isascii():
            raise Wrong(f"{shown(value)} is not {self.form}; its property is one of {', '.join(_CAA_TAGS)}")
        return f'{found[1]} {found[2].lower()} "{found[3] if found[4] is None else found[4]}"'


def domain_keys(report_uri: Kind) -> dict[str, Key]:
    """Return the keys of a domain; ``report_uri`` is the kind for report addresses."""
    return {
        "mta_sts": Key(
            Section(
                {
                    "mode": Key(
                        Choice(mta_sts.MODES),
                        "What senders that honour MTA-STS do (RFC 8461): `enforce`, deliver to the domain's `mx` "
                        "with valid certificates or not at all; `testing`, only report; `none`, forget the policy "
                        "that they had. Begin with `testing`; leave through `none`.",
                        computed="left out: no MTA-STS",
                    ),
                    "max_age": Key(
                        Duration(1), "How long senders keep a policy that they have fetched; a year at most.", 604800
                    ),
                    "addresses": Key(
                        Items(Address()),
                        "Addresses that `mta-sts.NAME` must have; `[]`: not checked.",
                        computed="the host's `addresses`, if it serves the policy; else none",
                    ),
                }
            ),
            "The domain's MTA-STS record and policy; the policy names the hosts of `mx`.",
        ),
        "tls_rpt": Key(
            Section({"rua": Key(Items(report_uri), "Where reports go; `[]`: no TLS-RPT.", ())}),
            "The domain's record for reports on TLS (RFC 8460).",
        ),
        "caa": Key(
            Items(Caa()),
            "All CAA records at the domain's name: who may issue certificates for it and the names below (RFC 8659). "
            "An authority that is not named issues none; `[]`: not checked.",
            (),
        ),
    }


HOST_KEY = Key(
    Section(
        {
            "serve": Key(
                Choice(("nothing", "nginx")),
                "Who serves the domains' MTA-STS policies by HTTPS: `nginx`, on this host, beside the sites it has; "
                "`nothing`, another server (`mailserver.mta_sts_policy` prints the file).",
                "nothing",
            ),
            "certificate": Key(
                _PATH,
                "Certificate chain, PEM, valid for `mta-sts.DOMAIN`; `{domain}` is filled in.",
                computed="`tls:certificate`",
            ),
            "key": Key(_PATH, "Its private key, PEM; `{domain}` is filled in.", computed="`tls:key`"),
            "listen": Key(
                Items(Text(r"([0-9.]+:|\[[0-9A-Fa-f:]+\]:)?[0-9]{1,5}", "an address and port ([::]:443)"), 1),
                "Where nginx listens for it, as its directive `listen` has it. Where another site listens at an "
                "address of its own (`192.0.2.25:443`), nginx looks for a name only among the sites there: give "
                "the same.",
                ("443", "[::]:443"),
            ),
        }
    ),
    "How MTA-STS policies are served.",
)


def served(settings: Settings) -> list[str]:
    """Return the names of the domains whose policy this host serves."""
    if settings["mta_sts"]["serve"] == "nothing":
        return []
    return [name for name, domain in settings["domains"].items() if domain["mta_sts"]["mode"]]


def fill(settings: Settings, problems: list[str]) -> None:
    """Fill in what depends on other keys, and append problems."""
    serving = served(settings)
    by_us = frozenset(serving)
    for name, domain in each_kind(settings["domains"], problems):
        if domain["mta_sts"]["addresses"] is None:
            domain["mta_sts"]["addresses"] = list(settings["addresses"]) if name in by_us else []
        _check_policy(name, domain, by_us, problems)
    for part in _FILES:
        if settings["mta_sts"][part] is None:
            settings["mta_sts"][part] = settings["tls"][part]
        _check_path(settings["mta_sts"][part], f"mailserver:mta_sts:{part}", problems)
        if serving and not settings["mta_sts"][part]:
            problems.append(
                f"mailserver:mta_sts:{part}: not given, nor is mailserver:tls:{part}, but nginx is to serve policies "
                f"of MTA-STS; senders take one only with a certificate that is valid for mta-sts.{serving[0]}"
            )


def _check_policy(name: str, domain: DomainSettings, by_us: Container[str], problems: list[str]) -> None:
    policy, where = domain["mta_sts"], f"mailserver:domains:{name}:mta_sts"
    if policy["max_age"] is not None and policy["max_age"] > mta_sts.LONGEST:
        problems.append(
            f"{where}:max_age: {policy['max_age']} s is too long: {mta_sts.LONGEST} s, a year, is the most "
            "(RFC 8461 section 3.2)"
        )
    if policy["mode"] in ("enforce", "testing") and not domain["mx"]:
        problems.append(
            f"{where}:mode: a policy has to name the hosts that take the domain's mail, but "
            f"mailserver:domains:{name}:mx names none"
        )
    if name in by_us and len(mta_sts.policy_text(domain)) > LONGEST_SERVED:
        problems.append(f"{where}: the policy names so many hosts that nginx could not serve it")


def _check_path(path: str | None, where: str, problems: list[str]) -> None:
    if path and re.search(r"[{}'\"\\;$]", path.replace(_PLACEHOLDER, "")):
        problems.append(
            f"{where}: {shown(path)} is not a path for nginx: only {_PLACEHOLDER} is filled in, and no quotation mark, "
            "backslash, semicolon or dollar sign can be in it"
        )


def path_of(path: str, name: str) -> str:
    """Return the path of a domain's certificate or key."""
    return path.replace(_PLACEHOLDER, name)
