"""Names and addresses of DNS in the one spelling in which they are compared."""

import functools
import ipaddress

from mailhost.dns.message import dnspython, plain


def canonical_name(name):
    """Return a domain name in lower case, without a final dot and needless escapes, in A-labels (RFC 4343 section 3).

    What is no domain name is returned as it is: whoever asks for it is told so.
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
def canonical_address(text):
    """Return an IP address in its canonical form (RFC 5952); of one that IPv6 maps, the IPv4 address.

    :raises ValueError: it is none.
    """
    address = ipaddress.ip_address(text)
    return str(getattr(address, "ipv4_mapped", None) or address)


def canonical(server):
    """Return a server's name or address in the form in which it is compared."""
    try:
        return canonical_address(str(server))
    except ValueError:
        return canonical_name(server)
