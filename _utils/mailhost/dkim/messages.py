"""What it means that DNS does not show a key as wanted. That depends on what the key does at this moment."""

from collections.abc import Iterable
from dataclasses import replace

from mailhost.clock import shown_time
from mailhost.dkim import life
from mailhost.dkim.given_up import FOREIGN, WHY
from mailhost.dkim.life import KeyRow
from mailhost.dkim.records import Wanted, record_of
from mailhost.dkim.run import Run
from mailhost.dkim.steps import FAIL, WAIT, Step
from mailhost.dns.lookup import Verdict
from mailhost.records import record as mail_records

_WAITS = {
    "absent": "is not in DNS",
    "different": "is in DNS, but not as it must be",
    "unknown": "cannot be confirmed, because DNS did not answer as it should",
}


def tell(run: Run, name: str, key: KeyRow, wanted: Wanted, verdict: Verdict) -> Step | None:
    """Return the :class:`mailhost.dkim.steps.Step` that reports a verdict that is not ``published``, or ``None``."""
    kind, todo = WAIT, _to_do(run, name, key, wanted, verdict.zone)
    if wanted.left:
        (kind, text), todo = _left(run, name, key, verdict), ""
    elif wanted.why:
        text = (
            f"the record of the {key.stage} key {key.selector} must be changed, because {wanted.why}.\n"
            f"{_listed(verdict.findings)}"
        )
    elif key.stage in ("generated", "published"):
        kind, text = _awaited(run, name, key, verdict)
    elif verdict.value == "unknown":
        todo = ""
        text = (
            f"whether DNS still shows the key {key.selector} could not be found out, and nothing was changed. "
            f"{does(run, name, key)}\n{_listed(verdict.findings)}"
        )
    else:
        kind = WAIT if key.given_up == life.UNSEEN else FAIL
        text = f"{_missed(run, name, key)}\n{_listed(verdict.findings)}"
    return Step(kind, name, key.selector, text, key=key, verdict=verdict, todo=todo) if text else None


def does(run: Run, name: str, key: KeyRow) -> str:
    """Return, as a sentence, what a key that is not revoked does at this moment."""
    signs = run.in_force.get(name)
    if signs and signs.selector == key.selector:
        return f"Mail is signed with {key.selector}."
    other = f"mail is signed with {signs.selector}" if signs else "mail is not signed"
    if key.stage == "retired":
        return f"It is retired; {other}."
    if key.stage == "signing":
        return f"It signed before, and signs again when DNS shows it; {other}."
    return f"It waits to sign; {other}."


def _missed(run: Run, name: str, key: KeyRow) -> str:
    """Return the sentence for a key that DNS does not show as wanted although it signed."""
    if run.is_named(name, key.selector):
        return (
            f"mail is signed with {key.selector}, but DNS does not show this key as it must: recipients cannot verify "
            "it."
        )
    if key.stage == "retired":
        unseen = ", as a hand-made configuration had it" if key.given_up == life.UNSEEN else ""
        return (
            f"mail still on its way was signed with {key.selector}{unseen}, but DNS does not show this key as it must: "
            "recipients cannot verify it."
        )
    return f"the key {key.selector} does not sign, because DNS does not show it as it must. {does(run, name, key)}"


def _left(run: Run, name: str, key: KeyRow, verdict: Verdict) -> tuple[str, str]:
    """Return kind and text for a key whose record is left to others. It is only reported while it should sign."""
    if not run.is_named(name, key.selector):
        text = f"the key {key.selector} does not sign: {WHY[key.given_up]}." if key.stage == "signing" else ""
        return WAIT, text
    is_wrong = verdict.value != "unknown" or key.given_up != FOREIGN
    text = (
        f"mail is signed with {key.selector}, which is given up: {WHY[key.given_up]}. "
        f"Do not publish its record; a new key takes over when DNS shows it.\n{_listed(verdict.findings)}"
    )
    return FAIL if is_wrong else WAIT, text


def _awaited(run: Run, name: str, key: KeyRow, verdict: Verdict) -> tuple[str, str]:
    policy, ends = run.policy(name), life.deadline(key, run.policy(name))
    so = "so mail is not signed with it yet"
    if run.is_named(name, key.selector):
        so = "but mail is signed with it, as before this formula: recipients cannot verify what they do not find"
    text = f"the record of the key {key.selector} {_WAITS[verdict.value]}, {so}.\n{_listed(verdict.findings)}"
    if run.now >= ends:
        why = "mailserver:dkim:strict is set" if policy["strict"] else f"it should be there since {shown_time(ends)}"
        return FAIL, f"{text}\n  This is a failure, because {why} (mailserver:dkim:publish_deadline)."
    return WAIT, f"{text}\n  Until {shown_time(ends)} this is a warning (mailserver:dkim:publish_deadline)."


def _listed(findings: Iterable[str]) -> str:
    return "\n".join(f"  Seen: {finding}" for finding in findings)


def _to_do(run: Run, name: str, key: KeyRow, wanted: Wanted, zone: str) -> str:
    """Return, as text of lines to copy from, what must be done in DNS so that it shows a key's record as wanted."""
    record = record_of(name, run.domains[name], key)
    if not wanted.text:
        return f"To do: remove all TXT records at {record.name}."
    return "\n".join(mail_records.to_publish([replace(record, value=wanted.text)], zone))
