"""The mail that mailserver.watch sends to people: one message a run, and how it is handed to Postfix."""

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid

from mailhost.check.findings import STATUSES, Status
from mailhost.errors import NotTold
from mailhost.watch.changes import KINDS, ChangeGroup
from mailhost.watch.memory import GONE

SENDMAIL = "/usr/sbin/sendmail"
LIMIT = 60
_HEADINGS = {
    "worse": "Got worse",
    "unknown": "Could not be found out for a day or more",
    "better": "Better, but not right yet",
    "mended": "Mended",
    GONE: "Was not right, and is not looked at any more",
}


def message(
    host: str,
    domain: str,
    recipients: Iterable[str],
    groups: Sequence[ChangeGroup],
    counts: Mapping[str, int],
    now: datetime,
) -> EmailMessage:
    """Return the message about what changed on a host.

    It is from the postmaster of the host's domain, so that it is signed like the domain's other mail. It says that no
    human wrote it (RFC 3834 section 5), so that no vacation program answers.

    :param groups: what changed, as returned by :func:`mailhost.watch.changes.grouped`.
    :param counts: how many findings there are of each status.
    :param now: a moment in UTC.
    """
    mail = EmailMessage(policy=SMTP)
    mail["From"] = f"mailserver.watch <postmaster@{domain}>"
    mail["To"] = ", ".join(recipients)
    mail["Subject"] = subject(host, groups, counts)
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = make_msgid("watch", host)
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(text(host, groups, counts, now), charset="utf-8", cte="quoted-printable")
    return mail


def subject(host: str, groups: Sequence[ChangeGroup], counts: Mapping[str, int]) -> str:
    """Return the subject: the host, its worst status, and how much changed."""
    of_kind = {one: sum(group["count"] for group in groups if group["change"] == one) for one in KINDS}
    changed = ", ".join(f"{count} {one}" for one, count in of_kind.items() if count)
    return f"{host}: {status_of(counts)} ({changed})"


def status_of(counts: Mapping[str, int]) -> Status:
    """Return the worst status that any finding has."""
    return next((status for status in reversed(STATUSES) if counts.get(status)), "ok")


def text(host: str, groups: Sequence[ChangeGroup], counts: Mapping[str, int], now: datetime) -> str:
    """Return the body: what changed, the worst first, each with what was wanted and seen, and what to do."""
    in_all = ", ".join(f"{counts[status]} {status}" for status in reversed(STATUSES))
    parts = [f"{host}, {now:%Y-%m-%d %H:%M} UTC. In all: {in_all}."]
    for one in KINDS:
        of_kind = [group for group in groups if group["change"] == one]
        if of_kind:
            parts += [_HEADINGS[one].upper(), *(_paragraph(group) for group in of_kind)]
    parts.append("All that is not right now, as root on the host: salt-call mailserver.check")
    return "\n\n".join(parts) + "\n"


def _paragraph(group: ChangeGroup) -> str:
    lines = [f"{group['id']}: {group['status']} (was {group['was']})", f"  about:  {_about(group)}"]
    for label, said in (("wanted:", group["wanted"]), ("seen:", group["seen"]), ("do:", group["remedy"])):
        if said:
            lines.append(f"  {label:7} " + said.replace("\n", "\n          "))
    return "\n".join(lines)


def _about(group: ChangeGroup) -> str:
    rest = group["count"] - len(group["about"])
    of_first = f" and {rest} more; of the first:" if rest else "; of the first:" if group["count"] > 1 else ""
    return ", ".join(group["about"]) + of_first


def submit(mail: EmailMessage, sender: str, recipients: Iterable[str], sendmail: str = SENDMAIL) -> str:
    """Hand a message to sendmail(1), and return its output: while Postfix is down, it accepts mail and says so.

    :raises NotTold: it did not accept the message.
    """
    words = (sendmail, "-i", "-f", sender, "--", *recipients)
    octets = mail.as_bytes(policy=mail.policy.clone(linesep="\n"))
    try:
        done = subprocess.run(words, input=octets, capture_output=True, timeout=LIMIT, check=False)
    except (OSError, subprocess.TimeoutExpired) as err:
        raise NotTold(f"{sendmail}: {err}") from err
    said = " ".join(done.stderr.decode(errors="replace").split())
    if done.returncode:
        raise NotTold(f"{sendmail}: exit {done.returncode}: {said or 'no reason given'}")
    return said
