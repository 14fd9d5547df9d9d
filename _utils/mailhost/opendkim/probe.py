"""The probe: whether a milter returns mail of a domain with the right signature."""

import re
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from email.utils import formatdate

from mailhost.errors import ProbeError
from mailhost.opendkim.milter import Field, filtered
from mailhost.receiver import dkim as receiver_dkim

ALGORITHM = "rsa-sha256"


def probe(
    socket: str, domain: str, selector: str, record: str, timeout: float = 10.0, sender: str | None = None
) -> None:
    """Check that a milter signs mail from ``domain`` with ``selector``, over a new connection, and that it verifies.

    A new connection is needed: only that shows whether the milter has taken its new tables.

    :param record: the text of the key's TXT record, as DNS shows it.
    :param timeout: seconds for the whole conversation.
    :param sender: the domain that the message is from, if ``domain`` signs for others as well.
    :raises ProbeError: with what the milter did instead.
    :raises MissingPackage: dkimpy or dnspython is not installed.
    """
    receiver_dkim.dkimpy()
    author = f"postmaster@{sender or domain}"
    what = f"a probe message from {author} through the milter {socket}"
    try:
        fields, body = filtered(socket, _probe_message(sender or domain), author, [author], timeout)
    except ProbeError as err:
        raise ProbeError(f"{what}: {err}") from err
    problem = signature_problem(fields, body, domain, selector, record)
    if problem:
        raise ProbeError(f"{what} {problem}")


def signature_problem(fields: Sequence[Field], body: bytes, domain: str, selector: str, record: str) -> str | None:
    """Return what is wrong with the signature of ``domain`` that a milter put on a message, or ``None``.

    :param fields: (name, value, added) of each header field, the top one first.
    :param body: bytes with CRLF.
    :param record: the text of the TXT record at ``selector._domainkey.domain``; other names do not exist.
    """
    signatures = [_tags(value) for name, value, _ in fields if name.lower() == "dkim-signature"]
    if not signatures:
        return (
            "came back unsigned: OpenDKIM's SigningTable in force has no row for the domain (tables are read at a "
            "reload), or OpenDKIM did not take the message for outgoing mail; its log says which"
        )
    own = [one for one in signatures if one.get("d", "").lower() == domain.lower()]
    if not own:
        return f"came back signed for {_listed(signatures, 'd')} instead of {domain}"
    if all(one.get("s", "").lower() != selector.lower() for one in own):
        return f"came back signed with selector {_listed(own, 's')} instead of {selector}"
    index = next(
        number for number, one in enumerate(signatures) if one in own and one.get("s", "").lower() == selector.lower()
    )
    if signatures[index].get("a") != ALGORITHM:
        return f"came back signed by the algorithm {signatures[index].get('a')} instead of {ALGORITHM}"
    message = "".join(f"{name}:{value}\r\n" for name, value, _ in fields).encode("utf-8", "surrogateescape")
    valid, reason = receiver_dkim.verify(
        message + b"\r\n" + body, index, _only(f"{selector}._domainkey.{domain}", record)
    )
    if not valid:
        return f"came back with a signature of selector {selector} that does not fit the record in DNS: {reason}"
    return None


def _probe_message(domain: str) -> bytes:
    token = secrets.token_hex(8)
    return (
        f"From: postmaster@{domain}\r\n"
        f"To: postmaster@{domain}\r\n"
        f"Subject: DKIM probe {token}\r\n"
        f"Date: {formatdate()}\r\n"
        f"Message-ID: <{token}@{domain}>\r\n"
        "\r\n"
        "This message asks the milter for a signature; it is never sent.\r\n"
    ).encode("ascii")


def _only(wanted: str, record: str) -> Callable[[str], str | None]:
    return lambda name: record if name == wanted.lower() else None


def _tags(value: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in value.split(";"))
    return {name.strip(): re.sub(r"\s+", "", text) for name, _, text in pairs}


def _listed(signatures: Iterable[Mapping[str, str]], tag: str) -> str:
    return ", ".join(sorted({one.get(tag, "?") for one in signatures}))
