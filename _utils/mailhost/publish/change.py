"""A record that is to be published, and what became of it."""

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Change:
    """The TXT record at ``name`` is to be ``wanted`` and nothing else, or to be gone (``None``).

    ``expected`` are values that it may have now, besides none and the wanted one; any other is somebody else's.
    ``zone`` is empty as long as DNS was not asked for it (:func:`placed`). ``kind`` is a policy record's
    (:data:`mailhost.records.policies.KINDS`): of the records at the name only those of this kind count, and the others
    stay; without a kind it is a key's, and counts are all. ``absent``: every server said a moment ago that there is
    nothing at the name. ``is_beside``: an SPF record that has ours, and what others have besides, serves as well.
    """

    name: str
    zone: str
    ttl: int
    wanted: str | None
    expected: tuple[str, ...] = ()
    kind: str = ""
    absent: bool = False
    is_beside: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Sent:
    """What became of a change; ``detail`` is a sentence with the server, the name and what was said.

    ``sent``: the server took it. ``already``: it has it. ``refused``: it does not have it, whoever said no.
    ``unknown``: it was sent and the answer got lost, so it may be done or not. ``due``: it would be sent, but this was
    to be a plan only. ``now`` are the texts that the server had before, of those that count.
    """

    change: Change
    result: str
    detail: str = ""
    now: tuple = ()


def placed(change, answers):
    """Return a change at the place where DNS keeps the name: at the end of its CNAMEs, with the zone of that."""
    absent = not answers.trouble and bool(answers.seen) and all(one.status == "absent" for one in answers.seen)
    return replace(change, name=answers.target or change.name, zone=answers.zone, absent=absent)
