"""A hook of MkDocs: lists as GitHub reads them, a search that finds every pillar key, nothing loaded from elsewhere."""

import json
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

ITEM = re.compile(r" {0,3}(?:[-*]|\d+\.) +(?=\S)")
REFERENCE = "docs/pillar.md"
SEARCH = "index.search(query)"
FENCE = re.compile(r" *```")
LOADED = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"https?:|<link\b[^>]*\bhref=\"https?:")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    lines = markdown.splitlines()
    if page.file.src_uri == REFERENCE:
        lines = list(with_headings(lines))
    return "\n".join(python_markdown(lines))


def with_headings(lines: list[str]) -> Iterator[str]:
    """Yield the reference's table with a heading for each section of the pillar, which the search can lead to."""
    head = [line for line in lines if line.startswith("|")][:2]
    for name, group in groupby(lines, section):
        if name:
            yield from ("", f"## `{name}`", "", *head)
        yield from group


def section(line: str) -> str:
    """Return the section of the pillar that a row of the reference belongs to; none for the keys at its top."""
    row = re.match(r"\| `([^`]+)` \| (.*?) \|", line)
    if not row:
        return ""
    key, takes = row.groups()
    return (key if takes.endswith("the keys below") else key.rpartition(":")[0]).removesuffix(":NAME")


def python_markdown(lines: list[str]) -> Iterator[str]:
    """Yield the lines with a blank line before each list, and what belongs to an item four columns in.

    In CommonMark it begins below the item's first letter.
    """
    columns: list[int] = []
    fenced, before = False, ""
    for line in lines:
        fenced ^= bool(FENCE.match(line))
        columns = still_open(columns, line) if line.strip() and not fenced else columns
        text = line[columns[-1] if columns else 0 :]
        item = None if fenced else ITEM.match(text)
        if item and before.strip() and not columns and not ITEM.match(before):
            yield ""
        yield " " * 4 * len(columns) + text if line.strip() else ""
        if item:
            columns = [*columns, (columns[-1] if columns else 0) + item.end()]
        before = line


def still_open(columns: list[int], line: str) -> list[int]:
    """Return the columns of the items that a line belongs to."""
    indent = len(line) - len(line.lstrip())
    return [column for column in columns if column <= indent]


def on_post_build(config: dict[str, Any], **_: Any) -> None:
    site = Path(config["site_dir"])
    take_colons(site / "search/worker.js")
    if loading := [page.name for page in site.rglob("*.html") if LOADED.search(page.read_text(encoding="utf-8"))]:
        raise SystemExit(f"docs: these pages load something from elsewhere: {loading}")
    if missing := keys(Path(config["docs_dir"])) - searched(site):
        raise SystemExit(f"docs: the search does not find these keys of the pillar: {sorted(missing)}")


def take_colons(worker: Path) -> None:
    """Have the search read ``dkim:soak`` as two words; else what stands before a colon names a field of its index."""
    script = worker.read_text(encoding="utf-8")
    if SEARCH not in script:
        raise SystemExit(f"docs: {worker} of this MkDocs has no {SEARCH}")
    worker.write_text(script.replace(SEARCH, "index.search(query.replace(/:/g, ' '))"), encoding="utf-8")


def keys(sources: Path) -> set[str]:
    """Return the pillar keys that the reference has."""
    return set(re.findall(r"^\| `([^`]+)`", (sources / REFERENCE).read_text(encoding="utf-8"), re.MULTILINE))


def searched(site: Path) -> set[str]:
    """Return the words that the search has of the reference."""
    entries = json.loads((site / "search/search_index.json").read_text(encoding="utf-8"))["docs"]
    return {word for one in entries if "pillar.html" in one["location"] for word in one["text"].split()}
