"""The reflector's answer as a message (RFC 3834): to the envelope sender, quoting only the subject of their message."""

from email.header import Header
from email.mime.text import MIMEText
from email.utils import formatdate

from mailhost.receiver import header as receiver_header
from mailhost.reflector.message import message_ids, plain, subject

_REFERENCES = 20


def compose(
    report: str, sender: str, header: receiver_header.Header, address: str, message_id: str, now: float
) -> bytes:
    """Return the answer as bytes, with LF; it is 7-bit text, since recoding by a relay would break its signature.

    :param report: the text.
    :param sender: an ordinary address (:func:`mailhost.reflector.message.is_address`).
    :param header: the header of the message that is answered.
    :param message_id: the answer's own, without brackets.
    :param now: seconds.
    """
    answer = MIMEText(report, "plain", "us-ascii" if report.isascii() else "utf-8")
    answer["From"] = address
    answer["To"] = sender
    answer["Subject"] = _subject(header)  # type: ignore[assignment]  # typeshed takes text alone here
    answer["Date"] = formatdate(now)
    answer["Message-ID"] = f"<{message_id}>"
    own = message_ids(header, "message-id")[:1]
    if own:
        earlier = message_ids(header, "references") or message_ids(header, "in-reply-to")[:1]
        answer["In-Reply-To"] = own[0]
        answer["References"] = " ".join([*earlier[-_REFERENCES:], *own])
    answer["Auto-Submitted"] = "auto-replied"
    answer["X-Auto-Response-Suppress"] = "All"
    answer["X-Loop"] = address
    return answer.as_bytes()


def _subject(header: receiver_header.Header) -> Header:
    text = plain(f"Re: {subject(header)}", 150)
    return Header(text, "us-ascii" if text.isascii() else "utf-8", header_name="Subject")
