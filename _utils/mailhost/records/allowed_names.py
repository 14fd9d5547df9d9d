"""Where a host's key records may lie: below its own domains, and where the pillar lets aliases lead. Pure."""

from dataclasses import dataclass

from mailhost.dns.message import within


@dataclass(frozen=True)
class AllowedNames:
    """The domains of a host, and further zones that its pillar gives it (``dns:alias_zones``); lower case."""

    domains: frozenset[str]
    zones: frozenset[str] = frozenset()

    def is_of_domain(self, name: str) -> bool:
        """Tell whether a name is for a key of exactly one of these domains: subdomains may belong to others."""
        selector, _, domain = name.lower().rpartition("._domainkey.")
        return bool(selector) and domain in self.domains

    def has(self, name: str) -> bool:
        """Tell whether a key record of this host may lie at a name."""
        return self.is_of_domain(name) or any(within(name.lower(), zone) for zone in self.zones)

    def refusal(self, name: str, target: str) -> str:
        """Return why the record of ``name`` may not be published at the end of its aliases; ``""`` if it may."""
        if self.has(target):
            return ""
        return (
            f"{name} did not change: it is an alias (CNAME) of {target}, which is no key of the host's domains and in "
            "none of the zones that mailserver:dns:alias_zones gives it. If the record is to lie there, name its zone "
            "there; if not, take the CNAME away."
        )
