"""All checks of a mail server, by area. Findings are combined, and a check that fails does not hide the others."""

from dataclasses import asdict

from mailhost.check import tls as check_tls
from mailhost.check.config import area as check_config
from mailhost.check.dns import area as check_dns
from mailhost.check.findings import STATUSES, Finding, Host, counts, worst
from mailhost.check.protocol import area as check_protocol
from mailhost.check.running import area as check_running
from mailhost.command import run_command
from mailhost.errors import MailserverError

AREAS = {
    "config": check_config,
    "running": check_running,
    "protocol": check_protocol,
    "tls": check_tls,
    "dns": check_dns,
}
"""The areas of checks in the order of their report, and the module of each: ``findings(host, domains)`` returns a list.

``domains`` are the names to check: all of the host's, or one.
"""


def check(settings, domains, areas=tuple(AREAS), command=None):
    """Return the findings of these areas about these domains, the worst first within their area.

    :param settings: the host's settings (``mailserver.settings``).
    :param command: runs a command (:class:`mailhost.check.findings.Host`); for tests.
    """
    host = Host(settings, command or run_command)
    found = []
    for area in areas:
        found += sorted(_of_area(area, host, domains), key=lambda one: -STATUSES.index(one.status))
    return found


def _of_area(area, host, domains):
    try:
        return AREAS[area].findings(host, domains)
    except MailserverError as err:
        why, remedy = str(err), "Do what the message says, then check again."
    except Exception as err:
        why = f"the check itself broke: {type(err).__name__}: {err}"
        remedy = "This is a fault of the formula, not of the host: report it with this text."
    return [Finding(f"{area}.check", "unknown", area, "the area is checked", why, remedy)]


def summary(findings, everything=False):
    """Return findings in the form for an operator: ``status``, ``counts``, ``findings``; ok findings only if asked.

    ``status`` is the worst of all, ``counts`` how many there are of each.
    """
    shown = [asdict(one) for one in findings if everything or one.status != "ok"]
    return {"status": worst(findings), "counts": counts(findings), "findings": shown}
