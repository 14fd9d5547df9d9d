"""How the page of all hosts looks: on a screen, on a phone, in the dark, on paper, and without colours."""

from collections.abc import Sequence

WIDE = 6
"""Columns of hosts from which the table of domains scrolls sideways."""
ON_PAPER = 4
"""Columns of hosts that a sheet of paper has room for."""
_NAME, _HOST, _AXIS, _DATE, _MARGINS = 10, 6.25, 16, 6.5, 8
"""Widths of the columns, in rem: a domain's name, a host's mark, the time line, the next rotation; and the gaps."""

_STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fdfdfb; --raised: #f5f5f1; --ink: #1c2127; --quiet: #59626d; --line: #dcdcd5; --focus: #1f5fbf;
  --fail: #a5132b; --warn: #855000; --unknown: #4d5766; --ok: #2a6a47; --key: #2a68ad; --shown: #74818f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15181c; --raised: #1d2126; --ink: #e7e8e6; --quiet: #a4adb8; --line: #343a42; --focus: #8fbcff;
    --fail: #ff9099; --warn: #f0b95c; --unknown: #b4bdca; --ok: #84cda2; --key: #6ea8e8; --shown: #8a96a5;
  }
}
* { box-sizing: border-box; }
html { scroll-padding-top: calc(var(--bar, 0px) + 3.5rem); -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 0 clamp(1rem, 3vw, 2.5rem) 4rem; max-width: 84rem; overflow-wrap: anywhere;
  background: var(--paper); color: var(--ink); font-variant-numeric: tabular-nums;
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
}
h1, h2, h3, p, ul, dl { margin: 0; padding: 0; font-size: inherit; font-weight: inherit; }
ul { list-style: none; }
a { color: inherit; text-underline-offset: .2em; text-decoration-color: var(--shown); }
a:hover { text-decoration-color: currentColor; }
:focus-visible { outline: 3px solid var(--focus); outline-offset: 2px; border-radius: 3px; }
code { font: .9em/1.5 ui-monospace, "SF Mono", Consolas, "DejaVu Sans Mono", monospace; }
.quiet { color: var(--quiet); }
.unseen, .row i {
  position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap;
}
.skip { position: absolute; left: -100vw; padding: .5rem 1rem; background: var(--paper); z-index: 9; }
.skip:focus { left: 1rem; top: .5rem; }
[hidden] { display: none !important; }

/* The head: one sentence says it all. */
header { padding: 2.5rem 0 1.5rem; }
h1 { color: var(--quiet); }
.verdict {
  margin: .25rem 0 .5rem; font-size: clamp(1.35rem, 1rem + 1.6vw, 1.9rem); line-height: 1.25; font-weight: 600;
  letter-spacing: -.01em; text-wrap: balance;
}
section { padding-top: 2.25rem; }
section > h2 { font-size: 1.2rem; font-weight: 600; margin-bottom: .75rem; }
h2 .quiet { font-weight: 400; font-size: 1rem; }

/* A status is a sign in a shape, and a word; colour comes on top. */
.fail { color: var(--fail); }
.warn { color: var(--warn); }
.unknown { color: var(--unknown); }
.ok { color: var(--ok); }
.mark { display: inline-flex; align-items: center; gap: .4em; white-space: nowrap; font-size: .9rem; }
.mark::before {
  flex: none; width: 1.35em; height: 1.35em; display: inline-grid; place-content: center; font-weight: 700;
  line-height: 1; border: 2px solid transparent; border-radius: 4px;
}
.mark.fail { font-weight: 700; }
.mark.fail::before { content: "\\d7" / ""; background: var(--fail); border-color: var(--fail); color: var(--paper); }
.mark.warn::before { content: "!" / ""; border-color: var(--warn); }
.mark.unknown::before { content: "?" / ""; border: 2px dashed var(--unknown); border-radius: 50%; }
.mark.ok::before { content: "\\2713" / ""; }
.mark.none::before { content: "-" / ""; color: var(--quiet); font-weight: 400; }

/* The bar that finds things; it is there only if scripts run. */
.bar {
  position: sticky; top: 0; z-index: 4; display: flex; flex-wrap: wrap; gap: .5rem 1.25rem; align-items: center;
  padding: .6rem 0; background: var(--paper); border-bottom: 1px solid var(--line);
}
.bar input, .bar select, .copy {
  min-width: 0; padding: .45rem .7rem; font: inherit; color: inherit; background: var(--raised);
  border: 1px solid var(--shown); border-radius: 6px;
}
.bar input { flex: 1 1 12rem; max-width: 26rem; }
.choice { display: inline-flex; gap: .5em; align-items: center; min-width: 0; max-width: 100%; }
.bar select { max-width: 14rem; text-overflow: ellipsis; }
::placeholder { color: var(--quiet); opacity: 1; }

.hosts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); gap: .75rem; }
.hosts li { padding: .8rem 1rem; background: var(--raised); border: 1px solid var(--line); border-radius: 8px; }
.hosts h3 { display: flex; justify-content: space-between; gap: 1rem; font-weight: 600; }
.hosts p, .others { font-size: .9rem; }
.others { margin-top: .75rem; }

details > summary { cursor: pointer; list-style: none; }
details > summary::-webkit-details-marker { display: none; }
summary:hover { background: var(--raised); }
.turn { display: inline-flex; align-items: center; }
.turn::before {
  content: "\\203a" / ""; width: 1.1rem; flex: none; text-align: center; line-height: 1; color: var(--quiet);
  font-weight: 700; margin-right: .3rem;
}
[open] > summary .turn::before { transform: rotate(90deg); }

.group { border-top: 1px solid var(--line); }
.group:last-of-type { border-bottom: 1px solid var(--line); }
.group > summary { display: flex; flex-wrap: wrap; gap: .1rem .75rem; align-items: center; padding: .55rem 0; }
.group > summary code { font-weight: 600; }
.finding { margin: 0 0 1.1rem 2rem; padding-left: 1rem; border-left: 3px solid var(--line); max-width: 62rem; }
.finding h3 { font-weight: 600; }
.finding h3 .quiet { font-weight: 400; }
.finding dl { display: grid; grid-template-columns: 6.5rem 1fr; gap: .15rem .75rem; }
.finding dt { color: var(--quiet); }
.finding dd { margin: 0; white-space: pre-wrap; min-width: 0; }
.finding .remedy { font-weight: 500; }
.record { display: block; position: relative; margin: .35rem 0; padding: .5rem .7rem; }
.record { background: var(--raised); border: 1px solid var(--line); border-radius: 6px; }
.record code { display: block; font-weight: 400; white-space: pre-wrap; overflow-wrap: anywhere; user-select: all; }
.copy { display: none; margin-top: .35rem; padding: .15rem .7rem; font-size: .875rem; background: var(--paper); }
.copy b { font-weight: 500; }
.scripted .copy { display: inline-block; cursor: pointer; }
.finding:target .record { background: var(--paper); }
.finding:target { border-left-color: var(--focus); background: var(--raised); }

/* Domains: a line each, its marks below the hosts' names, and its keys on the time line. */
.legend { display: flex; flex-wrap: wrap; gap: .15rem 1.5rem; margin-bottom: .75rem; font-size: .875rem; }
.legend { color: var(--quiet); }
.legend li { display: inline-flex; align-items: center; gap: .5em; }
.sample { width: 36px; height: 12px; flex: none; }
.lane svg { display: block; width: 100%; overflow: visible; background-size: 1px 100%; background-repeat: no-repeat; }
svg path { fill: none; stroke: var(--shown); stroke-width: 2; vector-effect: non-scaling-stroke; }
svg .waiting { stroke: var(--ink); stroke-dasharray: 1 4; stroke-width: 6; }
svg .published { stroke: var(--key); stroke-width: 3; }
svg .signing { stroke: var(--key); stroke-width: 8; }
svg .retention { stroke: var(--key); stroke-width: 8; stroke-dasharray: 2 2; }
svg .revoked { stroke: var(--fail); stroke-width: 3; stroke-dasharray: 6 4; }
svg .plan { stroke-width: 1.5; stroke-dasharray: 2 4; }
svg .rotation { stroke: var(--ink); stroke-width: 10; stroke-linecap: round; }
svg .now { stroke: var(--ink); stroke-width: 1.5; }
.row, .head { display: grid; column-gap: .75rem; align-items: center; }
.head {
  position: sticky; top: var(--bar, 0px); z-index: 3; padding: .35rem 0; font-size: .875rem; align-items: end;
  color: var(--quiet); background: var(--paper); border-bottom: 1px solid var(--line);
}
.head svg { width: 100%; height: 1.2rem; overflow: visible; display: block; }
.head text { fill: var(--quiet); font-size: .8rem; }
.head .here { fill: var(--ink); font-weight: 700; }
.head .date, .row .date { text-align: right; }
.domain { border-bottom: 1px solid var(--line); }
.row { min-height: 2.5rem; padding: .3rem 0; }
.row .name { font-weight: 500; min-width: 0; }
.row .date { font-size: .875rem; }
.lane { display: block; }
.many .lane { display: grid; grid-template-columns: 5.5rem 1fr; gap: .5rem; align-items: center; }
.many .head .axis { padding-left: 6rem; }
.lane small { font-size: .8rem; line-height: 1.2; color: var(--quiet); text-align: right; }
.lane small { white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.told { padding: .25rem 0 1rem 1.4rem; font-size: .925rem; max-width: 70rem; }
.told li { padding: .1rem 0; }
.keys { overflow-x: auto; margin-top: .4rem; }
.keys table { border-collapse: collapse; width: 100%; }
.keys caption { color: var(--quiet); text-align: left; padding: .2rem 0; }
.keys th, .keys td { padding: .3rem 1rem .3rem 0; text-align: left; vertical-align: top; font-weight: 400; }
.keys th { color: var(--quiet); }
.keys tbody th { white-space: nowrap; }
.keys td { min-width: 12rem; }
.keys tr { border-top: 1px solid var(--line); }
.keys .of { display: none; }
.part { content-visibility: auto; contain-intrinsic-size: auto 150rem; }
.found .part { content-visibility: visible; }
.wide { overflow: auto; max-height: 90vh; position: relative; }
.wide > * { min-width: max-content; }
.wide .head { top: 0; }
.wide .name, .wide .head span:first-child { position: sticky; left: 0; z-index: 1; background: var(--paper); }
footer { margin-top: 3rem; font-size: .875rem; color: var(--quiet); }

@media (max-width: 46rem) {
  header { padding-top: 1.5rem; }
  .finding { margin-left: .25rem; padding-left: .75rem; }
  .finding dl { grid-template-columns: 1fr; gap: 0; }
  .finding dd { margin-bottom: .35rem; }
}
@media (forced-colors: active) {
  svg path[class] { stroke: CanvasText; }
  .head text { fill: CanvasText; }
  .mark.fail::before {
    forced-color-adjust: none; background: CanvasText; color: Canvas; border-color: CanvasText;
  }
}
@media print {
  :root {
    --paper: #fff; --raised: #fff; --ink: #000; --quiet: #333; --line: #aaa; --fail: #000; --warn: #000;
    --unknown: #000; --ok: #000; --key: #000; --shown: #555;
  }
  body { font-size: 9.5pt; max-width: none; padding: 0; }
  header { padding-top: 0; }
  .skip, .bar, .copy, .turn::before { display: none !important; }
  .keys { overflow: visible; }
  .keys td { min-width: 0; }
  .head { position: static; }
  .part { content-visibility: visible; }
  .wide { overflow: visible; max-height: none; }
  details::details-content { content-visibility: visible; display: block; height: auto; }
  .finding, .record, .row, .hosts li, .keys tr { break-inside: avoid; }
  h2, summary { break-after: avoid; }
  .mark.fail::before, .lane svg { print-color-adjust: exact; }
  a { text-decoration: none; }
}
@media (prefers-reduced-motion: no-preference) { .turn::before { transition: transform .12s; } }
"""

_LIST = """
  .head { display: none; }
  .wide { overflow: visible; max-height: none; }
  .wide > * { min-width: 0; }
  .row { display: flex; flex-wrap: wrap; gap: .3rem 1.25rem; padding: .6rem 0 .7rem; }
  .row .name { flex-basis: 100%; font-weight: 600; }
  .row .name + .mark { margin-left: 1.4rem; }
  .row i { position: static; width: auto; height: auto; clip-path: none; color: var(--quiet); font-style: normal; }
  .row i { font-weight: 400; white-space: pre; }
  .row .none { display: none; }
  .row .lanes { flex: 1 1 100%; margin-left: 1.4rem; }
  .row .date { margin-left: 1.4rem; }
  .many .lane { grid-template-columns: 3rem 1fr; }
  .lane small { text-align: left; }
"""
"""Of the table a list: on a phone, and on paper that is too narrow for the hosts."""
_STACKED = """@media print {
  .keys table, .keys caption, .keys tbody, .keys tr, .keys th, .keys td { display: block; }
  .keys thead { display: none; }
  .keys .of { display: block; font-weight: 500; }
}
"""
"""Keys on paper that is too narrow for their hosts side by side; nobody hears paper, so it need not stay a table."""


def style(hosts: int, months: Sequence[float]) -> str:
    """Return the style of a page with so many columns of hosts, and a line at each month of the time line.

    :param months: where a month begins, as shares of the time line's width.
    """
    narrow = _NAME + _HOST * hosts + _AXIS + _DATE + _MARGINS if hosts <= WIDE else 46
    media = f"(max-width: {narrow:g}rem)" + (", print" if hosts > ON_PAPER else "")
    stacked = _STACKED if hosts > ON_PAPER else ""
    return f"{_STYLE}{_table(hosts)}{_lines(months)}@media {media} {{{_LIST}}}\n{stacked}"


def _table(hosts: int) -> str:
    on_screen = f"minmax({_NAME}rem, 17rem) {_marks(hosts, _HOST)}minmax({_AXIS}rem, 1fr) {_DATE}rem"
    on_paper = f"minmax(7rem, 14rem) {_marks(hosts, 5)}minmax(9rem, 1fr) 5.5rem"
    row = ".row, .head { grid-template-columns: %s; }\n"
    return f"{row % on_screen}@media print {{ {row % on_paper}}}\n"


def _marks(hosts: int, width: float) -> str:
    return f"repeat({hosts}, {width}rem) " if hosts else ""


def _lines(months: Sequence[float]) -> str:
    if not months:
        return ""
    images = ", ".join(["linear-gradient(var(--line), var(--line))"] * len(months))
    positions = ", ".join(f"{share:.2%} 0" for share in months)
    return f".lane svg {{ background-image: {images}; background-position: {positions}; }}\n"
