"""DNS names and addresses in the canonical spelling that is used for comparison."""

import functools
import ipaddress

from mailhost.dns.message import dnspython, plain


def canonical_name(name: str) -> str:
    """Return a domain name in lower case and A-labels, without a final dot or needless escapes (RFC 4343 section 3).

    Text that is not a domain name is returned as it is; looking it up gives an error.
    """
    text = str(name)
    if text.isascii() and "\\" not in text:
        return text.lower().removesuffix(".")
    dns = dnspython()
    try:
        return plain(dns.name.from_text(text))
    except dns.exception.DNSException:
        return text


@functools.lru_cache(maxsize=4096)
def canonical_address(text: str) -> str:
    """Return an IP address in its canonical form (RFC 5952); for an IPv4-mapped IPv6 address, the IPv4 address.

    :raises ValueError: the text is not an address.
    """
    address = ipaddress.ip_address(text)
    return str(getattr(address, "ipv4_mapped", None) or address)


def canonical(server: str) -> str:
    """Return a server's name or address in its canonical form."""
    try:
        return canonical_address(str(server))
    except ValueError:
        return canonical_name(server)
