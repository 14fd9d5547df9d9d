"""Which of a host's addresses others see its mail come from, and so belong in SPF, A and AAAA. Pure."""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mailhost.shapes import Settings, Value

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# No mail on the Internet can come from these: RFC 1122 section 3.2.1.3, 1918, 6598, 3927, 6890, 5771, 1112; RFC 4193,
# 4291, 3879, 6052. Python's own is_private would also match addresses for documentation (RFC 5737, 3849) and
# benchmarks (RFC 2544). No router or container network hands these out by default; who has one chose it, for a lab.
_PRIVATE = [
    ipaddress.ip_network(one)
    for one in (
        *("0.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8"),
        *("169.254.0.0/16", "192.0.0.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        *("::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64"),
        *("fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
    )
]
_OF_CONTAINERS = re.compile(
    r"(docker|podman|veth|virbr|vnet|lxcbr|lxdbr|incusbr|cni|flannel|cali|kube|vmnet|vboxnet)[\w.-]{0,15}|br-[0-9a-f]{12}"
)
"""Bridges and virtual interfaces that container and virtual machine software creates."""
_TEMPORARY, _DUPLICATE, _DEPRECATED = 0x01, 0x08, 0x20
"""Flags of /proc/net/if_inet6 (linux/if_addr.h)."""
_BOUND = ("smtp_bind_address", "smtp_bind_address6", "proxy_interfaces")
"""Parameters of main.cf that name where mail leaves from, or where others reach the host through NAT."""


def is_private(address: str) -> bool:
    """Tell whether an address is not usable on the Internet."""
    parsed = ipaddress.ip_address(address)
    return any(parsed in network for network in _PRIVATE)


def families(main: Mapping[str, Value]) -> list[int]:
    """Return the families, 4 and 6, that Postfix uses according to ``inet_protocols`` in ``postfix:main``."""
    given = re.findall(r"ipv([46])", str(main.get("inet_protocols") or "")[:80])
    return sorted({int(one) for one in given}) or [4, 6]


def own_addresses(grains: Mapping[str, Any]) -> list[str]:
    """Return all addresses of the host by which another host may reach it: neither loopback nor link-local."""
    found = [ipaddress.ip_address(one) for one in [*grains.get("ipv4", ()), *grains.get("ipv6", ())]]
    usable = (one for one in found if not (one.is_loopback or one.is_link_local or one.is_unspecified))
    return [str(one) for one in sorted(set(usable), key=_order)]


def outward_addresses(grains: Mapping[str, Any], main: Mapping[str, Value] | None = None) -> list[str]:
    """Return the addresses that others may see the host's mail come from.

    Addresses of container bridges do not count. Addresses that ``main`` (``postfix:main``) binds to, or names as those
    of NAT, do.
    """
    main = main or {}
    inner = _of_containers(grains)
    found = [one for one in own_addresses(grains) if one not in inner]
    found += [address for name in _BOUND for address in _literal(main.get(name))]
    used = families(main)
    usable = {ipaddress.ip_address(one) for one in found if not is_private(one)}
    return [str(one) for one in sorted(usable, key=_order) if one.version in used]


def _order(address: _Address) -> tuple[int, int]:
    return address.version, int(address)


def _of_containers(grains: Mapping[str, Any]) -> set[str]:
    """Return the addresses that only interfaces of containers have."""
    inner: set[str] = set()
    outer: set[str] = set()
    for name, listed in _interfaces(grains):
        (inner if _OF_CONTAINERS.fullmatch(str(name)[:64]) else outer).update(map(str, listed or ()))
    return {str(ipaddress.ip_address(one)) for one in inner - outer}


def _interfaces(grains: Mapping[str, Any]) -> Iterator[tuple[str, list[str] | None]]:
    for family in ("ip4_interfaces", "ip6_interfaces"):
        yield from (grains.get(family) or {}).items()


def _literal(value: Value | None) -> Iterator[str]:
    """Return the addresses in a parameter's value; anything else (a ``$name``) is left out."""
    words = value if isinstance(value, (list, tuple)) else re.split(r"[,\s]", str(value or ""))
    for word in words:
        try:
            yield str(ipaddress.ip_address(str(word).strip("[]")))
        except ValueError:
            continue


def lasting(addresses: Iterable[str], if_inet6: str) -> list[str]:
    """Return IPv6 addresses without temporary (RFC 8981), deprecated and duplicate ones.

    :param if_inet6: the text of ``/proc/net/if_inet6``: address, interface, prefix, scope, flags, name; hexadecimal.
    """
    passing = set()
    for line in if_inet6.splitlines():
        fields = line.split()
        if len(fields) >= 6 and int(fields[4], 16) & (_TEMPORARY | _DUPLICATE | _DEPRECATED):
            passing.add(str(ipaddress.IPv6Address(int(fields[0], 16))))
    return [one for one in addresses if str(ipaddress.ip_address(one)) not in passing]


def no_public(settings: Settings) -> str:
    """Return what is wrong if no public address of the host is known, else ``""``."""
    if settings["addresses"]:
        return ""
    own = ", ".join(settings.get("own_addresses") or ()) or "none"
    return f"no public address of the host is known (its own: {own})"


NAME_THEM = (
    "Name the addresses by which others see the host's mail, behind NAT those of the router, in the pillar: "
    "mailserver:addresses: [203.0.113.5]. Until then no SPF, A or AAAA record is wanted that would hold them."
)
