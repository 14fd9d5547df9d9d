"""The page of all mail hosts: one HTML file that asks for nothing from anywhere. Pure."""

import base64
import functools
import hashlib
from collections.abc import Callable
from typing import Any

import jinja2
from markupsafe import Markup

from mailhost.check.findings import STATUSES
from mailhost.clock import shown_time, utc
from mailhost.dkim.life import STAGES
from mailhost.page import message, timeline, view
from mailhost.page.fleet import Fleet, in_words
from mailhost.page.form import KeyTimes
from mailhost.page.script import SCRIPT
from mailhost.page.style import ON_PAPER, WIDE, style
from mailhost.page.templates import TEMPLATES
from mailhost.page.view import MEANING
from mailhost.wording import LONGEST, lines

PART = 60
"""Items of a list that are one part: the first is HTML, others are unfolded later (:mod:`mailhost.page.script`)."""


def page(fleet: Fleet) -> str:
    """Return the page of a fleet as the text of an HTML file."""
    keys = (key for domain in fleet.domains for of_host in domain.keys.values() for key in of_host)
    shown = timeline.window(keys, fleet.now)
    hosts = [host.name for host in fleet.hosts if host.overview]
    css = style(len(hosts), [share for share, _ in timeline.months(shown)])
    found = view.items(fleet)
    return (
        _environment()
        .get_template("page")
        .render(
            fleet=fleet,
            shown=shown,
            hosts=hosts,
            numbers=view.numbers_of(fleet.hosts),
            verdict=view.verdict(fleet),
            items=found,
            groups=view.groups(found),
            lines=view.lines(fleet, found, hosts, shown),
            months=view.months_with_room(shown),
            is_many=any(len(domain.keys) > 1 for domain in fleet.domains),
            is_wide=len(hosts) > WIDE,
            is_stacked=len(hosts) > ON_PAPER,
            # These three are the formula's own, and name nothing that a host said.
            policy=Markup(_policy(css)),
            style=Markup(css),
            script=Markup(SCRIPT),
        )
    )


def key_in_words(key: KeyTimes, now: int) -> str:
    """Return the life of a key as a sentence."""
    at = {stage: _day(moment) for stage, moment in zip(STAGES, key.stamps, strict=False) if moment}
    due = f"{_day(key.due)}{' (overdue)' if key.due <= now else ''}" if key.due else ""
    signed = f"signed {at['signing']} to {at.get('retired')}" if "signing" in at else "never signed"
    said = {
        "generated": lambda: f"made {at['generated']}, waits until DNS shows its record",
        "published": lambda: f"published {at['published']}, signs from {due or 'the next run on'} at the earliest",
        "signing": lambda: f"published {at['published']}, signs since {at['signing']}; next rotation: {due or 'never'}",
        "retired": lambda: f"{signed}; its record stays until {due or 'a run takes it back'}",
        "revoked": lambda: f"{signed}; revoked {at['revoked']}, its record may go {due or 'now'}",
        "removed": lambda: f"{signed}; gone from DNS {at['removed']}",
    }[key.stage]()
    return f"{key.selector} ({key.bits} bits): {said}"


def _policy(css: str) -> str:
    """Return a policy by which the browser runs this script and uses this style alone, and fetches nothing."""
    allowed = f"img-src data:; style-src {_hash(css)}; script-src {_hash(SCRIPT)}"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


@functools.cache
def _environment() -> jinja2.Environment:
    """Return Jinja as the templates need it: no value becomes markup, and none that is missing is passed over."""
    made = jinja2.Environment(
        loader=jinja2.DictLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    made.filters.update(_FILTERS)
    made.globals.update(
        statuses=STATUSES[::-1], meaning=MEANING, narrowed=view.FILTERS, kinds={**timeline.KINDS, "now": "now"},
        samples=timeline.SAMPLES, width=timeline.WIDTH, part_size=PART,
    )  # fmt: skip
    return made


def _visible(value: object) -> object:
    """Return what a template is to print: in text, nothing is invisible or turns the order of letters round."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    is_plain = len(value) <= LONGEST and value.isascii() and value.isprintable()
    return value if is_plain else lines(value)


def _day(moment: int) -> str:
    return _date(moment // 86400)


@functools.cache
def _date(days: int) -> str:
    return f"{utc(days * 86400):%Y-%m-%d}"


_FILTERS: dict[str, Callable[..., Any]] = {
    "count": view.count,
    "day": _day,
    "iso": lambda moment: f"{utc(moment):%Y-%m-%dT%H:%MZ}",
    "time": lambda moment: shown_time(utc(moment)),
    "span": in_words,
    "number": "{:,}".format,
    "share": "{:.2%}".format,
    "key": key_in_words,
    "prose": message.prose,
    "remedy": message.remedy,
    "worst_first": view.worst_first,
}
