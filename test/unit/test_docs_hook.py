"""The site's hook has lists read as GitHub reads them, and gives the sections of the pillar reference headings."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

TOP = Path(__file__).resolve().parents[2]


def hook():
    return SimpleNamespace(**runpy.run_path(str(TOP / "script" / "docs_hook.py")))


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("1. one\n\n       code\n\n   more", "1. one\n\n        code\n\n    more"),
        ("- one\n\n      code", "- one\n\n        code"),
        ("- one\n  - inner\n- two", "- one\n    - inner\n- two"),
        ("text\n- one\n- two", "text\n\n- one\n- two"),
        ("- one\n\ntext\n\n    code", "- one\n\ntext\n\n    code"),
        ("    - no list, but code\n", "    - no list, but code"),
        ("```\n- no list\n  - either\n```", "```\n- no list\n  - either\n```"),
    ],
)
def test_what_belongs_to_an_item_stands_four_columns_in(written, read):
    assert list(hook().python_markdown(written.splitlines())) == read.splitlines()


def test_each_section_of_the_pillar_has_a_heading_and_each_key_its_row():
    module = hook()
    page = (TOP / module.REFERENCE).read_text().splitlines()
    told = list(module.with_headings(page))
    rows = [line for line in page if line.startswith("| `")]
    assert [line for line in told if line.startswith("| `")] == rows
    headings = [line.removeprefix("## ").strip("`") for line in told if line.startswith("## ")]
    assert {"domains", "domains:NAME:spf", "dkim", "dns:rfc2136", "accounts:virtual:users"} <= set(headings)
    (soak,) = [row for row in rows if row.startswith("| `dkim:soak`")]
    assert told.index("## `dkim`") < told.index(soak) < told.index("## `dns`")


@pytest.mark.parametrize(
    ("row", "section"),
    [
        ("| `hostname` | a domain name | the grain | The name. |", ""),
        ("| `domains` | a domain name, each with the keys below | none | The domains. |", "domains"),
        ("| `domains:NAME:receive` | true or false | `true` | Accept. |", "domains"),
        ("| `domains:NAME:spf` | the keys below | | SPF. |", "domains:NAME:spf"),
        ("| `dkim:soak` | a time | 0 | How long. |", "dkim"),
        ("| key | takes | default | what it does |", ""),
    ],
)
def test_a_row_belongs_to_the_section_of_its_key(row, section):
    assert hook().section(row) == section
