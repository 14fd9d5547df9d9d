"""Reading the header of a message that anybody may have written, however broken it is."""

import re
from email.utils import getaddresses

MOST_HEADER = 128 * 1024
"""Bytes of the longest header that is read; Postfix's own header_size_limit is 100 KiB."""
_MOST_ADDRESSES, _MOST_DOMAIN = 8192, 255
"""Characters that are read of From, and of a domain: Python's own parser of these can be slow."""

_FIELD = re.compile(r"([!-9;-~]+)[ \t]*:(.*)", re.DOTALL)
_DOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")


def header_of(message: bytes) -> bytes:
    """Return the header of a message; if it has no end, as much of it as shows that it is too long."""
    return re.split(rb"\r?\n\r?\n", message[: MOST_HEADER + 4], maxsplit=1)[0]


class Header:
    """The header of a message, unfolded; a line that is not a field is skipped."""

    def __init__(self, message: bytes) -> None:
        lines = re.split(r"\r?\n", header_of(message).decode("utf-8", "replace"))
        unfolded: list[list[str]] = []
        for line in lines:
            if line[:1] in (" ", "\t") and unfolded:
                unfolded[-1].append(line)
            else:
                unfolded.append([line])
        found = filter(None, (_FIELD.match(" ".join(parts)) for parts in unfolded))
        self.fields = tuple((field[1].lower(), field[2].strip()) for field in found)

    def all(self, name: str) -> list[str]:
        """Return the values of all fields called ``name`` (in lower case), the top one first."""
        return [value for own, value in self.fields if own == name]


def author_domains(header: Header) -> list[str]:
    """Return the domains of the addresses in From as in DNS, each once; ``""`` stands for an invalid one."""
    try:
        values = header.all("from")
        if sum(map(len, values)) > _MOST_ADDRESSES:
            return [""]
        addresses = [address for _, address in getaddresses(values)]
    except (ValueError, IndexError, RecursionError):  # raised by some Python versions for broken input
        return [""]
    return list(dict.fromkeys(_in_dns(address) for address in addresses))


def _in_dns(address: str) -> str:
    domain = address.rpartition("@")[2].strip().lower().rstrip(".") if "@" in address else ""
    if len(domain) > _MOST_DOMAIN:
        return ""
    try:
        domain = domain.encode("idna").decode("ascii")
    except UnicodeError:
        return ""
    return domain if _DOMAIN.fullmatch(domain) else ""
