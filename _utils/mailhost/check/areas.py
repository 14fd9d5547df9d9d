"""All checks of a mail server, by area. Findings are combined, and a check that fails does not hide the others."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict
from typing import Any, Protocol, TypedDict

from mailhost.check import tls as check_tls
from mailhost.check.config import area as check_config
from mailhost.check.dns import area as check_dns
from mailhost.check.findings import STATUSES, CheckedHost, Finding, Status, counts, worst
from mailhost.check.protocol import area as check_protocol
from mailhost.check.running import area as check_running
from mailhost.command import Command, run_command
from mailhost.errors import MailserverError
from mailhost.shapes import Settings


class Area(Protocol):
    """A module with the checks of an area; ``domains`` are the names to check: all of the host's, or one."""

    def findings(self, host: CheckedHost, domains: Collection[str]) -> list[Finding]: ...


class Summary(TypedDict):
    """The findings in the form for an operator: the worst status, how many there are of each, and their fields."""

    status: Status
    counts: dict[str, int]
    findings: list[dict[str, Any]]


AREAS: dict[str, Area] = {
    "config": check_config,
    "running": check_running,
    "protocol": check_protocol,
    "tls": check_tls,
    "dns": check_dns,
}
"""The areas of checks in the order of their report, and the module of each."""


def check(
    settings: Settings, domains: Collection[str], areas: Iterable[str] = tuple(AREAS), command: Command | None = None
) -> list[Finding]:
    """Return the findings of these areas about these domains, the worst first within their area.

    :param settings: the host's settings (``mailserver.settings``).
    :param command: runs a command (:class:`mailhost.check.findings.CheckedHost`); for tests.
    """
    host = CheckedHost(settings, command or run_command)
    found: list[Finding] = []
    for area in areas:
        found += sorted(_of_area(area, host, domains), key=lambda one: -STATUSES.index(one.status))
    return found


def _of_area(area: str, host: CheckedHost, domains: Collection[str]) -> list[Finding]:
    try:
        return AREAS[area].findings(host, domains)
    except MailserverError as err:
        why, remedy = str(err), "Do what the message says, then check again."
    except Exception as err:
        why = f"the check itself broke: {type(err).__name__}: {err}"
        remedy = "This is a fault of the formula, not of the host: report it with this text."
    return [Finding(f"{area}.check", "unknown", area, "the area is checked", why, remedy)]


def summary(findings: Sequence[Finding], everything: bool = False) -> Summary:
    """Return findings in the form for an operator; ok findings only if asked."""
    shown = [asdict(one) for one in findings if everything or one.status != "ok"]
    return {"status": worst(findings), "counts": counts(findings), "findings": shown}
