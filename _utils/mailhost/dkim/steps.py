"""The steps of a run over keys, as values: what is done to which key, and why; and how it is reported. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from mailhost.dkim.life import KeyRow
from mailhost.dns.lookup import Verdict
from mailhost.errors import DkimError

GENERATE, ADOPT, SETTLE, MARK = "generate", "adopt", "settle file", "mark"
GIVE_UP, LOSE, REPLACE, CLOSE = "give up", "lose", "replace", "close"
PUBLISH, RETIRE, REVOKE, REMOVE, DESTROY = "stamp published", "retire", "revoke", "remove", "destroy"
WITNESS, SIGN, STOP, WRITE = "witness", "sign", "stop signing", "write tables"
WAIT, SOAK, FAIL, NOTE = "wait", "wait to sign", "fail", "note"


@dataclass(frozen=True)
class Step:
    """A step that concerns a key of a domain, or the whole domain if ``selector`` is empty.

    ``reason`` is a clause that says why. ``old`` and ``new`` are the stages, or the signers, before and after, if that
    is a change to report. ``key`` is the row as it is after the step, and ``verdict`` what DNS shows of it. ``todo``
    are lines of text: what people must do in DNS.
    """

    kind: str
    domain: str = ""
    selector: str = ""
    reason: str = ""
    old: str | None = None
    new: str | None = None
    key: KeyRow | None = None
    verdict: Verdict | None = None
    todo: str = ""

    def __post_init__(self) -> None:
        if self.kind == SIGN and (self.verdict is None or self.verdict.value != "published"):
            raise DkimError(f"{self.domain}: {self.selector} is not to sign: DNS does not show it")

    @property
    def is_change(self) -> bool:
        """Tell whether the step is a change to report."""
        return self.old != self.new or self.kind == SIGN

    @property
    def is_signers(self) -> bool:
        """Tell whether ``old`` and ``new`` belong to the domain, not to one of its keys."""
        return self.kind in (SIGN, STOP, WRITE)


_STAMPED = ("notes", "the key {selector} {} {new}: {reason}.", "would be stamped as", "is")
_WORDS = {
    GENERATE: ("notes", "the key {selector} {} generated.", "would be", "was"),
    ADOPT: ("notes", "the key {selector} {} taken over from disk.", "would be", "was"),
    SETTLE: ("notes", "the key file of {selector} {} its owner and mode back.", "would get", "got"),
    GIVE_UP: ("notes", "the key {selector} {} given up: {reason}.", "would be", "is"),
    LOSE: (
        "waiting",
        "the key {selector} {} given up: {reason}. Do not publish its record again.",
        "would be",
        "is",
    ),
    PUBLISH: _STAMPED,
    REVOKE: _STAMPED,
    REMOVE: _STAMPED,
    SIGN: ("notes", "mail {} signed with {selector}.", "would be", "is now"),
    STOP: ("notes", "mail {} signed; its keys stay on the host.", "would no longer be", "is no longer"),
    SOAK: ("notes", "the key {selector} {reason}.", "", ""),
    WAIT: ("waiting", "{reason}", "", ""),
    FAIL: ("errors", "{reason}", "", ""),
    NOTE: ("notes", "{reason}", "", ""),
}
"""How each kind is reported: the list of the report, the sentence, and its verb in a dry run and in a run."""
_MARKED = ("notes", "{} domains' keys {} marked as this machine's.", "would be", "were")


def reported(step: Step, is_dry: bool) -> tuple[str, str] | None:
    """Return ``(list of the report, sentence)`` of a step; ``None`` if it is not reported on its own.

    This is the one place where the words of a dry run differ from those of a run.
    """
    if step.kind not in _WORDS:
        return None
    where, sentence, would, did = _WORDS[step.kind]
    text = sentence.format(would if is_dry else did, selector=step.selector, new=step.new, reason=step.reason)
    return where, f"{step.domain}: {text}" if step.domain else text


def reported_together(steps: Iterable[Step], is_dry: bool) -> list[tuple[str, str]]:
    """Return ``[(list of the report, sentence)]`` for steps that are reported for several domains together."""
    marked = sum(step.kind == MARK for step in steps)
    where, sentence, would, did = _MARKED
    return [(where, sentence.format(marked, would if is_dry else did))] if marked else []
