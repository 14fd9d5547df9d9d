"""What a run did, what it waits for, and what went wrong."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from mailhost import wording
from mailhost.dkim import steps as dkim_steps
from mailhost.dkim.steps import Step

SHOWN = 25
"""How many texts of each kind a report shows. The master would cut an answer of megabytes and make it unreadable."""


Changes = dict[str, dict[str, str | None] | str | None]
"""The changes of a domain's keys, ``{selector: {"old": stage, "new": stage}}``, and of its signer,
``{"old": selector, "new": selector}``."""


@dataclass(frozen=True)
class Report:
    """What was done or, in a dry run, would be done. All texts are whole sentences that name the domain.

    ``changes`` maps a domain to its :data:`Changes`. ``waiting`` are warnings, and ``errors`` make the run fail.
    ``lost`` are the domains whose key was given up, so that another must be made at once. ``todo`` maps texts of
    ``waiting`` and ``errors`` to what people must do in DNS: lines to copy from. ``soaking`` are those of the notes
    that say which key waits for its time.
    """

    changes: dict[str, Changes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    todo: dict[str, str] = field(default_factory=dict)
    soaking: list[str] = field(default_factory=list)

    def whole(self, texts: Iterable[str]) -> list[str]:
        """Return texts of this report, each with what people must do in DNS."""
        return [f"{text}\n{wording.indented(self.todo[text])}" if text in self.todo else text for text in texts]


def report_of(steps: Sequence[Step], is_dry: bool) -> Report:
    """Return the report of the steps that were done or, in a dry run, would be done."""
    report = Report(lost=[step.domain for step in steps if step.kind == dkim_steps.REPLACE])
    for step in steps:
        if step.is_change:
            change, changes = {"old": step.old, "new": step.new}, report.changes.setdefault(step.domain, {})
            changes.update(change if step.is_signers else {step.selector: change})
        if told := dkim_steps.reported(step, is_dry):
            where, text = told
            getattr(report, where).append(text)
            report.soaking.extend([text] if step.kind == dkim_steps.SOAK else [])
            report.todo.update({text: step.todo} if step.todo else {})
    for where, text in dkim_steps.reported_together(steps, is_dry):
        getattr(report, where).append(text)
    return report


def brief(texts: Sequence[str]) -> list[str]:
    """Return the first of many texts of a report, then how many more there are and where they are; all plain text."""
    shown = [*map(wording.lines, texts[:SHOWN])]
    if len(texts) <= SHOWN:
        return shown
    more = f"{len(texts) - SHOWN:,} more like these; dkim.status has each key, mailserver.records what to publish."
    return [*shown, more]


def merged(*reports: Report) -> Report:
    """Return several reports as one; ``changes`` of a domain are joined."""
    whole = Report()
    for report in reports:
        for name, change in report.changes.items():
            whole.changes.setdefault(name, {}).update(change)
        whole.todo.update(report.todo)
        for where in ("notes", "waiting", "errors", "lost", "soaking"):
            getattr(whole, where).extend(getattr(report, where))
    return whole
