"""What thousands of domains cost, as ratios taken within one run: script/bench scale [--domains N] [GROUP…]."""

import argparse
import importlib
from pathlib import Path

import scale_plot
from scale_measure import load

GROUPS = ("salt", "formula", "keys", "dns", "mail", "postfix", "page")
"""Groups of rows; each is a module ``scale_GROUP`` with ``rows(domains)``, which returns a ``Measured``."""


def main(words=None):
    """Measure, print the table, and return what was measured."""
    parser = argparse.ArgumentParser(prog="script/bench scale", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}; all, if left out")
    parser.add_argument("--domains", type=int, default=10_000, help="how many domains (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="a folder for the table and the plot")
    asked = parser.parse_args(words)
    print(f"{asked.domains:,} domains; {load()}")
    rows, curves = [], {}
    for group in asked.groups or GROUPS:
        measured = importlib.import_module(f"scale_{group}").rows(asked.domains)
        for row in measured.rows:
            print(row.text(), flush=True)
        rows += measured.rows
        curves.update(measured.curves or {})
    print(scale_plot.text(curves))
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
        (asked.out / "scale.txt").write_text("".join(f"{row.text()}\n" for row in rows) + scale_plot.text(curves))
        if curves:
            scale_plot.png(curves, asked.out / "scale.png")
    print(f"{sum(row.is_ok for row in rows)} of {len(rows)} rows ok; {load()}")
    return rows, curves


if __name__ == "__main__":
    main()
