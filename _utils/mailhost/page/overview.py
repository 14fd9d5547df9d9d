"""What a host says of itself for the page of all hosts: what is not right, and its keys' stamps; all of it public."""

from collections.abc import Sequence

from mailhost.check import areas as check_areas
from mailhost.check.findings import Finding
from mailhost.dkim import keystore, life
from mailhost.dkim import run as dkim_run
from mailhost.dkim import status as dkim_status
from mailhost.dkim.life import KeyRow, Manifest
from mailhost.dkim.run import Run
from mailhost.errors import DkimError
from mailhost.page import form as page_form
from mailhost.shapes import Settings

NOTHING = {"format": page_form.FORMAT, page_form.NO_MAIL_HOST: True}
"""What a minion says that has neither domains in its pillar nor the states in force."""
REMOVED_FOR = 90 * 86400
"""Seconds for which a key that is gone from DNS is still told of."""
_TIMED = ("published", "signing", "retired", "revoked")


Row = list[str | int | None]
"""A key as it travels (:mod:`mailhost.page.form`)."""


def overview(settings: Settings, findings: Sequence[Finding], now: float) -> page_form.HostReport | page_form.Packed:
    """Return what the page needs of this host, in the form of :mod:`mailhost.page.form`.

    :param settings: the host's settings (``mailserver.settings``).
    :param findings: all that :func:`mailhost.check.areas.check` found.
    :param now: the time of the host's clock (seconds since 1970, UTC).
    """
    rows, unread = _keys(settings, now)
    told = check_areas.summary(findings)
    return page_form.packed(
        {
            "format": page_form.FORMAT,
            "hostname": settings["hostname"],
            "time": int(now),
            **told,
            "domains": rows,
            "unread": unread,
        }
    )


def _keys(settings: Settings, now: float) -> tuple[dict[str, list[Row]], dict[str, str]]:
    """Return ``({domain: rows of its keys}, {domain: why its keys cannot be read})``."""
    domains = settings["domains"]
    rows: dict[str, list[Row]] = {name: [] for name in domains}
    signed = [name for name, domain in domains.items() if domain["dkim"]["enabled"] and settings["opendkim"]["enabled"]]
    if not signed:
        return rows, {}
    try:
        run = dkim_run.begin(dkim_run.paths_of(settings), domains, settings["dns"], test=True)
    except DkimError as err:
        return rows, dict.fromkeys(signed, str(err))
    manifests, unread = keystore.read_each(signed, run.manifest)
    for name, manifest in manifests.items():
        shown = (key for key in manifest.keys if not key.removed or now - key.removed.timestamp() < REMOVED_FOR)
        rows[name] = [_row(run, manifest, key) for key in shown]
    return rows, unread


def _row(run: Run, manifest: Manifest, key: KeyRow) -> Row:
    due = dkim_status.earliest(run, manifest, key) if key.stage in _TIMED else None
    stamps = [getattr(key, stage) for stage in life.STAGES]
    while stamps[-1] is None:
        stamps.pop()
    return [key.selector, key.bits, *(moment and int(moment.timestamp()) for moment in (due, *stamps))]
