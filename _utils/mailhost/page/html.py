"""The page of all mail hosts: one HTML file that asks for nothing from anywhere. Pure."""

import base64
import functools
import hashlib
from html import escape as as_html
from itertools import groupby
from urllib.parse import quote

from mailhost.check.findings import STATUSES
from mailhost.clock import shown_time, utc
from mailhost.dkim.life import STAGES
from mailhost.page import timeline
from mailhost.page.fleet import in_words
from mailhost.page.script import SCRIPT
from mailhost.page.style import WIDE, style
from mailhost.wording import lines

MEANING = {
    "ok": "as wanted",
    "unknown": "could not be found out; no fault is known",
    "warn": "mail goes, but something is weak, or will fail",
    "fail": "mail is lost, refused, unsigned or open to others, or will be soon",
}
"""What each status says, as docs/findings.md has it."""
PART = 60
"""Items of a list that are one part: the first is HTML, others are unfolded later (:mod:`mailhost.page.script`)."""
FEW = 30
"""Up to so many findings are shown unfolded; of more, the failures."""
FOOTER = (
    "<footer><p>Written by <code>salt-run mailserver.report</code>. Nothing on this page was fetched from elsewhere, "
    "and it does not follow what happens: make it anew to see what changed. Times are UTC.</p></footer>\n"
)


def page(fleet):
    """Return the page of a :class:`mailhost.page.fleet.Fleet` as the text of an HTML file."""
    keys = (key for domain in fleet.domains for of_host in domain.keys.values() for key in of_host)
    shown = timeline.window(keys, fleet.now)
    hosts = [host.name for host in fleet.hosts if host.overview]
    look = style(len(hosts), [share for share, _ in timeline.months(shown)])
    sections = (_hosts(fleet), _findings(fleet), _domains(fleet, hosts, shown))
    title = f"{_verdict(fleet)} Mail servers, {shown_time(utc(fleet.now))}"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(look)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{look}</style>\n</head>\n<body>\n"
        f"{_header(fleet)}{_bar()}<main>{''.join(sections)}</main>\n{FOOTER}<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def _policy(look):
    """Return a policy by which the browser runs this script and uses this style alone, and fetches nothing."""
    allowed = f"img-src data:; style-src {_hash(look)}; script-src {_hash(SCRIPT)}"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def _hash(text):
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"


# ---- the head


def _header(fleet):
    hosts, domains = _count(len(fleet.hosts), "host"), _count(len(fleet.domains), "domain")
    return (
        '<a class="skip" href="#domains">Skip to the domains</a>\n<header><h1>Mail servers</h1>\n'
        f'<p class="verdict">{escape(_verdict(fleet))}</p>\n'
        f'<p class="quiet">{hosts}, {domains}, as of {_time(fleet.now)}.</p></header>\n'
    )


def _verdict(fleet):
    """Return the answer to: is my mail all right?"""
    total = len(fleet.hosts)
    bad = {status: sum(host.status == status for host in fleet.hosts) for status in STATUSES}
    if not total:
        return "No mail host is known, so nothing is known of the mail."
    if bad["fail"]:
        return f"{_of(bad['fail'], total)} in trouble: {MEANING['fail']}."
    if bad["warn"]:
        which = _of(bad["warn"], total)
        return f"Mail goes, but {which[0].lower()}{which[1:]} weak somewhere, or will fail."
    if bad["unknown"]:
        return f"No fault is known, but of {_count(bad['unknown'], 'host')} not everything could be found out."
    return "All is right."


def _of(count, total):
    if count == total:
        return "The only host is" if total == 1 else f"All {total} hosts are"
    return f"{count:,} of {total:,} hosts {'is' if count == 1 else 'are'}"


def _bar():
    return (
        '<form class="bar" role="search" hidden>'
        '<input id="search" type="search" placeholder="Domain, host or finding" autocomplete="off" '
        'aria-label="Find a domain, host or finding">'
        '<label><input id="attention" type="checkbox"> Only what needs attention</label>'
        '<output id="found" for="search attention" class="quiet" role="status"></output></form>\n'
    )


# ---- hosts


def _hosts(fleet):
    worst_first = sorted(fleet.hosts, key=lambda host: (-STATUSES.index(host.status), host.name))
    cards = "".join(_host(host) for host in worst_first)
    meanings = "".join(f"<li>{_mark(status)} {escape(MEANING[status])}</li>" for status in reversed(STATUSES))
    return (
        '<section aria-labelledby="hosts"><h2 id="hosts">Hosts</h2>\n'
        f'<ul class="legend" aria-label="What the marks say">{meanings}</ul>\n<ul class="hosts">{cards}</ul>\n'
        f"{_others(fleet.others)}</section>\n"
    )


def _host(host):
    told = host.overview
    head = f"<h3>{escape(host.name)} {_mark(host.status)}</h3>"
    if told is None:
        return f'<li>{head}<p>{escape(host.trouble)}</p><p class="quiet">Nothing is known of its mail.</p></li>\n'
    counts = ", ".join(f"{told.counts[status]:,} {status}" for status in reversed(STATUSES) if told.counts[status])
    name = f"{escape(told.hostname)}, " if told.hostname != host.name else ""
    old = f", <strong>{in_words(host.age)} old</strong>" if host.is_stale else ""
    return (
        f"<li>{head}<p>{counts or 'nothing was looked at'}</p>"
        f'<p class="quiet">{name}{_count(len(told.domains), "domain")}</p>'
        f'<p class="quiet">as of {_time(told.time)}{old}</p></li>\n'
    )


def _others(names):
    if not names:
        return ""
    listed = escape(", ".join(names))
    return (
        f'<p class="others quiet">Asked, too, and no mail hosts: {listed}. If one of them is one, it lacks the '
        "formula's modules (<code>saltutil.sync_all</code>), or its pillar.</p>\n"
    )


# ---- findings


def _findings(fleet):
    count = len(fleet.seen)
    numbered = list(enumerate(fleet.seen, 1))
    groups = groupby(numbered, key=lambda pair: (pair[1].finding.status, pair[1].finding.id))
    shown = "".join(_group(status, id, list(of), count) for (status, id), of in groups)
    return (
        '<section aria-labelledby="findings"><h2 id="findings">What needs attention '
        f'<span class="quiet">{count:,}</span></h2>\n{shown or "<p>Nothing.</p>"}</section>\n'
    )


def _group(status, id, numbered, count):
    is_open = " open" if count <= FEW or (status == "fail" and len(numbered) <= FEW) else ""
    about = sorted({one.finding.about for _, one in numbered})
    brief = about[0] if len(about) == 1 else f"{about[0]} and {len(about) - 1:,} more"
    items = [_finding(number, one) for number, one in numbered]
    return (
        f'<details class="group"{is_open}><summary><span class="turn">{_mark(status)}</span> '
        f'<code>{escape(id)}</code> <span class="quiet">{escape(brief)}</span></summary>\n{_parts(items)}</details>\n'
    )


def _finding(number, seen):
    one, hosts = seen.finding, ", ".join(seen.hosts)
    where = f'<span class="quiet">on {escape(hosts)}</span>' if one.about != hosts else ""
    return (
        f'<article class="finding" id="f{number}" data-status="{one.status}"><h3>{escape(one.about)} {where}</h3>'
        f'<span class="unseen">{one.status} {escape(one.id)}</span>'
        f"<dl><dt>wanted</dt><dd>{escape(one.wanted)}</dd><dt>seen</dt><dd>{escape(one.seen)}</dd>"
        f'<dt>what to do</dt><dd class="remedy">{escape(one.remedy)}</dd></dl></article>\n'
    )


def _parts(items):
    """Return a list so that a browser need not read all of a long one at once."""
    if len(items) <= PART:
        return "".join(items)
    parts = ["".join(items[start : start + PART]) for start in range(0, len(items), PART)]
    sizes = [min(PART, len(items) - start) for start in range(0, len(items), PART)]
    folded = [parts[0], *(f"<noscript>{part}</noscript>" for part in parts[1:])]
    shown = zip(sizes, folded, strict=True)
    return "".join(f'<div class="part" data-items="{size}">{part}</div>\n' for size, part in shown)


# ---- domains


def _domains(fleet, hosts, shown):
    of_domain = {}
    for number, one in enumerate(fleet.seen, 1):
        if one.domain:
            of_domain.setdefault(one.domain, []).append((number, one))
    many = any(len(domain.keys) > 1 for domain in fleet.domains)
    rows = [_domain(domain, hosts, of_domain.get(domain.name, ()), shown, many) for domain in fleet.domains]
    classes = " ".join(name for name, holds in (("many", many), ("wide", len(hosts) > WIDE)) if holds)
    span = f"<li>{_day(shown.start)} to {_day(shown.end)}</li>"
    focus = ' tabindex="0"' if len(hosts) > WIDE else ""
    legend = "".join(
        f"<li>{timeline.sample(kind)} {escape(text)}</li>" for kind, text in {**timeline.KINDS, "now": "now"}.items()
    )
    return (
        '<section aria-labelledby="domains"><h2 id="domains" tabindex="-1">Domains and their keys '
        f'<span class="quiet">{len(fleet.domains):,}</span></h2>\n'
        f'<ul class="legend" aria-label="The time line">{legend}{span}</ul>\n'
        f'<div class="{classes}" role="group" aria-labelledby="domains"{focus}>'
        f"{_head(hosts, shown)}{_parts(rows)}</div></section>\n"
    )


def _head(hosts, shown):
    names = "".join(f"<span>{escape(name)}</span>" for name in hosts)
    months = "".join(f'<text x="{share:.2%}" y="14" dx="3">{name}</text>' for share, name in _apart(shown))
    here = f'<text class="here" x="{shown.share(shown.now):.2%}" y="14" text-anchor="middle">now</text>'
    return (
        f'<div class="head" aria-hidden="true"><span>domain</span>{names}<span class="axis"><svg>{months}{here}</svg>'
        '</span><span class="date">next rotation</span></div>\n'
    )


def _apart(shown):
    """Return the months whose names have room: beside *now*, before the end, and one beside the other."""
    here, found = shown.share(shown.now), []
    for share, name in timeline.months(shown):
        has_room = not -0.14 < share - here < 0.07 and share < 0.94 and (not found or share - found[-1][0] > 0.07)
        if has_room:
            found.append((share, name))
    return found


def _domain(domain, hosts, findings, shown, many):
    cells = "".join(_cell(host, domain.statuses.get(host)) for host in hosts)
    lanes = "".join(_lane(host, keys, shown, many) for host, keys in domain.keys.items())
    date = f"<i>next rotation </i>{_day(domain.rotates_at)}" if domain.rotates_at else ""
    return (
        f'<details class="domain" id="d-{quote(domain.name)}" data-status="{domain.status}"><summary class="row">'
        f'<span class="name turn">{escape(domain.name)}</span>{cells}'
        f'<span class="lanes" aria-hidden="true">{lanes}</span><span class="date">{date}</span></summary>'
        f'<div class="told">{_told(domain, findings, shown.now)}</div></details>\n'
    )


def _cell(host, status):
    if status is None:
        return f'<span class="mark none"><i>{escape(host)} not here</i></span>'
    return f'<span class="mark {status}"><i>{escape(host)} </i>{status}</span>'


def _lane(host, keys, shown, is_named):
    label = f"<small>{escape(host)}</small>" if is_named else ""
    return f'<span class="lane">{label}{timeline.picture(keys, shown)}</span>'


def _told(domain, findings, now):
    found = "".join(
        f'<li>{_mark(one.finding.status)} <a href="#f{number}"><code>{escape(one.finding.id)}</code></a> '
        f'<span class="quiet">on {escape(", ".join(one.hosts))}</span></li>'
        for number, one in findings
    )
    keys = "".join(
        f"<li>{escape(host)}: {escape(key_in_words(key, now))}</li>" for host, of in domain.keys.items() for key in of
    )
    unread = "".join(f"<li>{escape(host)}: {escape(why)}</li>" for host, why in domain.unread.items())
    return (f"<ul>{found}</ul>" if found else "") + (
        f"<h3>Keys</h3><ul>{keys}{unread}</ul>" if keys or unread else "<p>No keys here.</p>"
    )


def key_in_words(key, now):
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


# ---- small parts


def escape(text):
    """Return text as HTML: nothing of it is markup, invisible, or turns the order of letters round."""
    return as_html(lines(text))


def _mark(status):
    return f'<span class="mark {status}">{status}</span>'


def _count(number, noun):
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _time(moment):
    return f"<time>{shown_time(utc(moment))}</time>"


def _day(moment):
    return _date(moment // 86400)


@functools.cache
def _date(days):
    return f"{utc(days * 86400):%Y-%m-%d}"
