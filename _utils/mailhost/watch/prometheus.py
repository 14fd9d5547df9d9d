"""Findings and keys in Prometheus's text format (0.0.4), by the node exporter's conventions for a textfile."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from mailhost.check.findings import STATUSES, Finding
from mailhost.dkim import run as dkim_run
from mailhost.dkim import status as dkim_status
from mailhost.dkim.life import STAGES
from mailhost.errors import MailserverError
from mailhost.postfix import queue as postfix_queue
from mailhost.shapes import Settings
from mailhost.tls.certificate import file_of, read_chain
from mailhost.watch.changes import by_subject
from mailhost.watch.memory import Subject

MOST = 1000
"""Samples of one metric that name a domain or another subject. If DNS fails for 10,000 domains at once, a time series
for each would harm Prometheus more than it helps anybody; the metric that counts them stays right."""

Keys = Mapping[str, Mapping[str, dkim_status.KeyStatus]]
"""The keys as returned by ``dkim.status``: the rows by domain and selector."""
Sample = tuple[Mapping[str, str], float]
"""A value, with the labels that tell it from the others of its metric."""
Metric = tuple[str, str, Sequence[Sample]]
"""A gauge: its name, what it says, and its samples."""


def exposition(
    findings: Iterable[Finding], keys: Keys | None, expiry: Mapping[str, float], at: float, took: float
) -> str:
    """Return all metrics as text.

    :param findings: what a check of all areas found.
    :param keys: ``None`` if they are not known.
    :param expiry: ``{path: Unix seconds}``, when certificates on disk expire.
    :param at, took: when the check was done (Unix seconds), and how long it took (seconds).
    """
    metrics: list[Metric] = [
        ("mailserver_check_timestamp_seconds", "When mailserver.check was last done.", [({}, at)]),
        ("mailserver_check_duration_seconds", "How long it took.", [({}, took)]),
        *_of_findings(by_subject(findings)),
        *([] if keys is None else _of_keys(keys)),
        (
            "mailserver_certificate_not_after_timestamp_seconds",
            "When the certificate in the file expires.",
            [({"path": path}, moment) for path, moment in expiry.items()],
        ),
    ]
    return "".join(_metric(*one) for one in metrics)


def _of_findings(findings: Mapping[Subject, Finding]) -> list[Metric]:
    counts = Counter((id, one.status) for (id, _), one in findings.items())
    bad = sorted(
        (subject for subject, one in findings.items() if one.status != "ok"),
        key=lambda subject: (-STATUSES.index(findings[subject].status), subject),
    )
    each: list[Sample] = [
        ({"id": id, "about": about}, STATUSES.index(findings[id, about].status)) for id, about in bad[:MOST]
    ]
    ids = sorted({id for id, _ in findings})
    return [
        (
            "mailserver_findings",
            "How many findings of mailserver.check there are, by id and status.",
            [({"id": id, "status": status}, counts[id, status]) for id in ids for status in STATUSES],
        ),
        (
            "mailserver_finding_status",
            f"Each finding that is not ok: 1 unknown, 2 warn, 3 fail; at most {MOST}, the worst first.",
            each,
        ),
        ("mailserver_finding_status_omitted", "How many such findings are left out.", [({}, len(bad) - len(each))]),
    ]


def _of_keys(keys: Keys) -> list[Metric]:
    rows = [(domain, selector, row) for domain, of_one in keys.items() for selector, row in of_one.items()]
    in_stage = Counter(row["stage"] for _, _, row in rows)
    waiting = sorted((row["fails_from"], domain, selector) for domain, selector, row in rows if "fails_from" in row)
    rotations = [row["earliest"] for _, _, row in rows if row["stage"] == "signing" and "earliest" in row]
    unsigned = sum(not any(row["signs"] for row in of_one.values()) for of_one in keys.values())
    return [
        (
            "mailserver_dkim_keys",
            "How many DKIM keys are in each stage of their life.",
            [({"stage": stage}, in_stage[stage]) for stage in STAGES],
        ),
        ("mailserver_dkim_unsigned_domains", "How many domains have keys, of which none signs.", [({}, unsigned)]),
        (
            "mailserver_dkim_next_rotation_timestamp_seconds",
            "When the next key gets a successor.",
            [({}, _seconds(min(rotations)))] if rotations else [],
        ),
        (
            "mailserver_dkim_key_publish_deadline_timestamp_seconds",
            f"Keys that DNS does not show yet: from when on runs fail for that; at most {MOST}, the first ones.",
            [
                ({"domain": domain, "selector": selector}, _seconds(moment))
                for moment, domain, selector in waiting[:MOST]
            ],
        ),
    ]


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _metric(name: str, doc: str, samples: Sequence[Sample]) -> str:
    """Return the lines of a gauge; none if it has no samples."""
    if not samples:
        return ""
    head = f"# HELP {name} {doc}\n# TYPE {name} gauge\n"
    return head + "".join(f"{name}{_labels(labels)} {_number(value)}\n" for labels, value in samples)


def _labels(labels: Mapping[str, str]) -> str:
    pairs = ",".join(f'{name}="{escaped(value)}"' for name, value in labels.items())
    return f"{{{pairs}}}" if pairs else ""


def escaped(value: str) -> str:
    """Return a label's value as the text format quotes it; characters that are not valid UTF-8 become ``?``."""
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.3f}"


def keys_of(settings: Settings) -> Keys | None:
    """Return the host's keys as ``dkim.status`` does; ``None`` if it has none, or they cannot be read.

    The check already reports what is wrong with them.
    """
    if not settings["opendkim"]["enabled"]:
        return None
    try:
        paths = dkim_run.paths_of(settings)
        run = dkim_run.begin(paths, settings["domains"], settings["dns"], test=True)
        return dkim_status.status(run, postfix_queue.oldest_for)
    except MailserverError:
        return None


def expiry_of(settings: Settings) -> dict[str, float]:
    """Return ``{path: Unix seconds}``: when the host's own certificate expires; empty if it cannot be read."""
    path = file_of(settings, "certificate")
    try:
        chain = read_chain(path)
    except (OSError, ValueError):
        return {}
    return {path: chain[0].not_valid_after_utc.timestamp()} if chain else {}
