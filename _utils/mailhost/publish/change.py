"""A change to a published record, and its outcome."""

from dataclasses import dataclass, field, replace
from typing import Literal, cast

from mailhost.dns.lookup import Answers

Result = Literal["sent", "already", "refused", "unknown", "due"]
"""The outcome of a change in one word; :class:`Sent` says what each means."""


@dataclass(frozen=True)
class Change:
    """The TXT record at ``name`` must become ``wanted``, or be removed (``None``).

    ``expected`` are values that it may have now, besides none and the wanted one; any other value is somebody else's.
    ``zone`` is empty until DNS was asked for it (:func:`at_alias_end`). ``kind`` is the kind of a policy record
    (:data:`mailhost.records.policies.KINDS`): only records of this kind at the name count, and others stay. Without a
    kind it is a key record, and all records at the name count. ``absent``: every server said a moment ago that nothing
    exists at the name. ``is_beside``: an SPF record with our terms and terms of others is right as well.
    """

    name: str
    zone: str
    ttl: int
    wanted: str | None
    expected: tuple[str, ...] = ()
    kind: str = ""
    absent: bool = False
    is_beside: bool = field(default=False, compare=False)

    @property
    def text(self) -> str:
        """The wanted text of a policy record; those are never removed."""
        return cast(str, self.wanted)


@dataclass(frozen=True)
class Sent:
    """The outcome of a change; ``detail`` is a sentence with the server, the name and the server's answer.

    ``sent``: the server accepted it. ``already``: the server has it. ``refused``: the server does not have it, whoever
    refused. ``unknown``: it was sent and the answer was lost, so it may be done or not. ``due``: it would be sent, but
    this call only plans. ``now`` are the texts that the server had before, of those that count.
    """

    change: Change
    result: Result
    detail: str = ""
    now: tuple[str, ...] = ()


def at_alias_end(change: Change, answers: Answers) -> Change:
    """Return a change at the name that DNS leads to: the end of its CNAME chain, and that name's zone."""
    absent = not answers.trouble and bool(answers.seen) and all(one.status == "absent" for one in answers.seen)
    return replace(change, name=answers.target or change.name, zone=answers.zone, absent=absent)
