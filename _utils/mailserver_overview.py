"""What a host says of itself for the page of all hosts: what is not right, and its keys' stamps; all of it public."""

import mailserver_check
import mailserver_dkim
import mailserver_overview_form
import mailserver_run
import mailserver_status
from mailserver_errors import DkimError

NOTHING = {"format": mailserver_overview_form.FORMAT, mailserver_overview_form.NO_MAIL_HOST: True}
"""What a minion says that has neither domains in its pillar nor the states in force."""
REMOVED_FOR = 90 * 86400
"""Seconds for which a key that is gone from DNS is still told of."""
_TIMED = ("published", "signing", "retired", "revoked")


def overview(settings, findings, now):
    """Return what the page needs of this host, in the form of :mod:`mailserver_overview_form`.

    :param settings: the host's settings (``mailserver.settings``).
    :param findings: all that :func:`mailserver_check.check` found.
    :param now: the time of the host's clock (seconds since 1970, UTC).
    """
    rows, unread = _keys(settings, now)
    told = mailserver_check.summary(findings)
    head = {"format": mailserver_overview_form.FORMAT, "hostname": settings["hostname"], "time": int(now)}
    return mailserver_overview_form.packed({**head, **told, "domains": rows, "unread": unread})


def _keys(settings, now):
    """Return ``({domain: rows of its keys}, {domain: why its keys cannot be read})``."""
    domains = settings["domains"]
    rows = {name: [] for name in domains}
    signed = [name for name, domain in domains.items() if domain["dkim"]["enabled"] and settings["opendkim"]["enabled"]]
    if not signed:
        return rows, {}
    try:
        run = mailserver_run.begin(mailserver_run.place_of(settings), domains, settings["dns"], test=True)
    except DkimError as err:
        return rows, dict.fromkeys(signed, str(err))
    manifests, unread = mailserver_run.read_each(signed, run.manifest)
    for name, manifest in manifests.items():
        shown = (key for key in manifest.keys if not key.removed or now - key.removed.timestamp() < REMOVED_FOR)
        rows[name] = [_row(run, manifest, key) for key in shown]
    return rows, unread


def _row(run, manifest, key):
    due = mailserver_status.earliest(run, manifest, key) if key.stage in _TIMED else None
    stamps = [getattr(key, stage) for stage in mailserver_dkim.STAGES]
    while stamps[-1] is None:
        stamps.pop()
    return [key.selector, key.bits, *(moment and int(moment.timestamp()) for moment in (due, *stamps))]
