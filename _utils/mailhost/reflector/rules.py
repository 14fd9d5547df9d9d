"""Which messages the reflector does not answer, so that nobody can make it write to somebody else."""

import re
from collections.abc import Callable, Mapping, Sequence

from mailhost.dns.message import within
from mailhost.receiver.dmarc import Unanswered
from mailhost.receiver.header import Header
from mailhost.reflector.message import Envelope, is_address, plain, without_comments
from mailhost.reflector.report import Spf

_ROBOTS = re.compile(
    r"(mailer-daemon|double-bounce|listserv|majordomo|mailman|no-?reply|do-?not-?reply"
    r"|owner-.*|.*-owner|.*-request|bounces?|bounces?[-+=].*|.*-bounces?([-+=].*)?)"
)
"""Local parts of addresses that programs write from and nobody reads (RFC 3834 section 2)."""

_PRECEDENCE = ("bulk", "list", "junk")


def silence(envelope: Envelope, header: Header, address: str) -> str | None:
    """Return why a message gets no answer, whoever sent it; ``None`` if it may get one.

    :param address: the reflector's own address.
    """
    sender = envelope.sender
    if sender.lower() in ("", "<>", "mailer-daemon"):
        return "it has no sender, as bounces have none"
    if not is_address(sender):
        return f"its sender is not an address of the ordinary form: {plain(sender, 80)}"
    local = sender.rpartition("@")[0].lower()
    if _ROBOTS.fullmatch(local):
        return f"nobody reads mail to {sender}"
    if _without_extension(sender) == address.lower() or address.lower() in map(str.lower, header.all("x-loop")):
        return "it is an answer of this reflector's own"
    return _by_program(header)


def _by_program(header: Header) -> str | None:
    for value in header.all("auto-submitted"):
        if without_comments(value).partition(";")[0].strip().lower() != "no":
            return f"a program sent it (Auto-Submitted: {plain(value, 40)})"
    for name, value in header.fields:
        if name.startswith("list-"):
            return f"it comes through a mailing list ({plain(name, 40)})"
        if name == "precedence" and value.strip().lower() in _PRECEDENCE:
            return f"it is one of many (Precedence: {value.strip().lower()})"
        if name == "content-type" and value.lower().startswith("multipart/report"):
            return "it is a report of a mail system (Content-Type: multipart/report)"
    return None


def authenticated(
    envelope: Envelope, spf: Spf, dkim: Sequence[Mapping[str, str]], organization: Callable[[str], str]
) -> bool:
    """Tell whether it is certain that the envelope sender sent the message: by a login, SPF or DKIM.

    The author in From is not considered: the answer goes to the envelope sender, and anybody who signs for their own
    domain could put another address there.

    :param spf: the result, and whether the record is ``open`` to every address, so that its pass proves nothing.
    :param organization: a function from a domain to its organizational domain, by the public suffix list.
    :raises Unanswered: neither passes, but DNS did not answer.
    """
    if envelope.login or (spf["result"] == "pass" and not spf["open"]):
        return True
    if any(one["result"] == "pass" and _belongs(one["domain"], envelope.domain, organization) for one in dkim):
        return True
    if "temperror" in (spf["result"], *(one["result"] for one in dkim)):
        raise Unanswered(f"DNS gave no answer, so that nothing is established of {envelope.domain}")
    return False


def _belongs(signer: str, domain: str, organization: Callable[[str], str]) -> bool:
    """Tell whether both belong together: one must also lie in the other, since a new suffix may not be in the list."""
    return organization(signer) == organization(domain) and (within(signer, domain) or within(domain, signer))


def mailbox(sender: str) -> str:
    """Return what counts as one sender: the address in lower case, without an extension (``user+tag@``)."""
    return _without_extension(sender)


def _without_extension(sender: str) -> str:
    local, _, domain = sender.lower().rpartition("@")
    return f"{local.partition('+')[0]}@{domain}"
