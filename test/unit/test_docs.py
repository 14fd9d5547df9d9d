"""What people read keeps up with what is there: links, CLI examples, headers of generated files, rows, versions."""

import ast
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from mailhost.check.areas import AREAS
from mailhost.check.protocol.area import STEPS
from mailhost.dkim.life import LIFE, STAGES

TOP = Path(__file__).resolve().parents[2]
PAGES = sorted([*TOP.glob("*.md"), *TOP.glob("docs/*.md"), TOP / "test/lab/README.md"])
MODULES = sorted([*TOP.glob("_modules/*.py"), *TOP.glob("_runners/*.py")])
GENERATED = sorted(path for path in TOP.glob("mailserver/**/files/*") if path.is_file())


def relative(path):
    return str(path.relative_to(TOP))


def anchors(page):
    """The anchors of a page's headings, as web front ends make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_link_leads_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"https?:|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link}: there is no such heading"


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_every_file_of_the_checkout_that_a_page_names_is_there(page):
    named = re.findall(r"`((?:script|test|docs|mailserver|_modules|_states|_utils)/[\w./-]+\.?\w)`", page.read_text())
    tests = re.findall(r"`(test_\w+\.py)`", page.read_text())
    missing = [path for path in named if not (TOP / path).exists()]
    missing += [name for name in tests if not list(TOP.glob(f"test/**/{name}"))]
    assert not missing


def functions(path):
    """The execution functions of a module file: those that the loader shows."""
    tree = ast.parse(path.read_text())
    return [node for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")]


@pytest.mark.parametrize("module", MODULES, ids=relative)
def test_every_execution_function_has_a_cli_example(module):
    for function in functions(module):
        text = ast.get_docstring(function) or ""
        example = rf"CLI Example:\n\n\.\. code-block:: bash\n\n    salt(-run)? .*{module.stem}\.{function.name}"
        assert re.search(example, text), f"{module.stem}.{function.name} has no CLI example"


@pytest.mark.parametrize("template", GENERATED, ids=relative)
def test_every_generated_file_opens_with_who_made_it(template):
    lines = [line for line in template.read_text().splitlines() if not line.startswith(("{%", "{#", "#!"))]
    component = template.relative_to(TOP / "mailserver").parts[0]
    assert f"Written by Salt (mailserver/{component})" in lines[0]


def test_effects_has_all_32_rows_in_order():
    rows = re.findall(r"^\| (\d+) \|", (TOP / "docs/effects.md").read_text(), re.MULTILINE)
    assert [int(row) for row in rows] == list(range(1, 33))


def test_every_row_of_the_effects_has_a_test_with_its_number():
    names = re.findall(
        r"^def test_row_((?:\d\d_)+)", (TOP / "test/integration/test_effects.py").read_text(), re.MULTILINE
    )
    numbers = {int(number) for name in names for number in re.findall(r"\d\d", name)}
    assert numbers == set(range(1, 33))


def test_every_test_that_holds_a_promise_is_there():
    rows = re.findall(r"^\|.*\| `(test/[^`]+)` \|$", (TOP / "docs/promise.md").read_text(), re.MULTILINE)
    assert len(rows) > 50
    missing = []
    for row in rows:
        path, _, name = row.partition("::")
        text = (TOP / path).read_text() if (TOP / path).exists() else ""
        if not text or (name and f"def {name}(" not in text):
            missing.append(row)
    assert not missing


def test_every_pillar_key_that_the_pages_name_exists():
    known = set(re.findall(r"^\| `([^`]+)`", (TOP / "docs/pillar.md").read_text(), re.MULTILINE))
    sections = {key.partition(":")[0] for key in known}
    for page in PAGES:
        for named in re.findall(r"`(?:mailserver:)?((?:\w+:)+\w+)(?:: [^`]*)?`", page.read_text()):
            head = named.partition(":")[0]
            if head not in sections or named.startswith("postfix:main:"):
                continue
            assert named in known, f"{relative(page)} names {named}"


def test_every_page_is_in_the_contents():
    contents = (TOP / "docs/README.md").read_text().partition("## All pages")[2]
    listed = re.findall(r"^\| \[(\w+\.md)\]\(\1\) \|", contents, re.MULTILINE)
    assert listed == sorted(path.name for path in TOP.glob("docs/*.md") if path.name != "README.md")


def test_the_glossary_names_the_stages_of_a_key_in_their_order_and_its_words_in_that_of_the_alphabet():
    page = (TOP / "docs/glossary.md").read_text()
    assert ", ".join(f"**{stage}**" for stage in STAGES) in page
    for part in page.split("\n## ")[1:]:
        words = [word.lower() for word in re.findall(r"^- \*\*(.+?)\*\*", part, re.MULTILINE)]
        assert words == sorted(words)


def test_version_is_the_same_everywhere():
    version = re.search(r'^version = "(.+)"$', (TOP / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert str(yaml.safe_load((TOP / "FORMULA").read_text())["version"]) == version
    assert re.search(rf"^## {re.escape(version)}\b", (TOP / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_readme_is_read_in_three_minutes():
    assert len((TOP / "README.md").read_text().splitlines()) < 150


def texts(path):
    """All strings of a Python file, what an f-string fills in shown as ``…``."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_every_dns_message_that_is_explained_can_still_occur():
    said = "\n".join(text for path in TOP.glob("_utils/**/*.py") for text in texts(path))
    table = (TOP / "docs/dns.md").read_text().partition("## Messages")[2].partition("\n## ")[0]
    for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE):
        for message in re.findall(r"`([^`]+)`", row):
            for words in re.split(r"…|\b[A-Z]+\b|\d+|[()]", message):
                assert words.strip() in said, f"docs/dns.md explains {message!r}, which nothing says"


def cells(text, heading):
    """The rows of the first table below the line ``heading`` of a page, as lists of cells without backquotes."""
    lines = text[text.index(f"\n{heading}") :].partition("\n|")[2].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in re.split(r" ?\| ?", line.replace("`", "").strip("|"))] for line in lines[2:]]


def test_the_life_of_a_key_on_paper_is_the_one_in_the_code():
    told = cells((TOP / "docs/lifecycle.md").read_text(), "A key is a row of time stamps")
    assert [(stage, seen) for stage, seen, _ in told] == [(stage.name, stage.evidence) for stage in LIFE]


def waits():
    """The pillar keys below ``mailserver:dkim:`` that the page of a key's life names for the waits."""
    return [re.match(r"\w+", keys)[0] for _, _, keys in cells((TOP / "docs/lifecycle.md").read_text(), "## The waits")]


def drawn(group, kind):
    """What is drawn in a group of docs/lifecycle.svg as ``stage`` or ``wait``: the words, from left to right."""
    picture = ElementTree.parse(TOP / "docs/lifecycle.svg").getroot()
    found = picture.findall(f".//{{*}}g[@id='{group}']//{{*}}text[@class='{kind}']")
    return [text.text for text in sorted(found, key=lambda text: float(text.get("x")))]


def test_the_picture_of_a_keys_life_names_all_stages_in_their_order():
    assert drawn("first-key", "stage") == list(STAGES)
    assert drawn("successor", "stage") == list(STAGES[: STAGES.index("signing") + 1])


def test_the_picture_of_a_keys_life_names_the_pillar_key_of_each_wait():
    assert drawn("first-key", "wait") == waits()
    assert drawn("successor", "wait") == waits()[: waits().index("rotate_after") + 1]
    known = re.findall(r"^\| `dkim:(\w+)`", (TOP / "docs/pillar.md").read_text(), re.MULTILINE)
    assert not set(waits()) - set(known)


def test_the_words_for_the_picture_tell_all_stages_and_waits():
    words = re.search(r"!\[([^]]+)\]\(lifecycle\.svg\)", (TOP / "docs/lifecycle.md").read_text())[1]
    told = re.findall(r"\w+", words)
    assert not {*STAGES, *waits()} - set(told)
    assert sorted(STAGES, key=told.index) == list(STAGES)


def ids_in_code():
    """The ids of all findings: those that the checks' files name, and those of the steps of conversations."""
    is_id = re.compile(rf"(?:{'|'.join(AREAS)})(?:\.[a-z_]+)+")
    found = {
        text for path in TOP.glob("_utils/mailhost/check/**/*.py") for text in texts(path) if is_id.fullmatch(text)
    }
    return found | {f"protocol.{name.rstrip('s')}.{step.name}" for name, steps in STEPS.items() for step in steps}


def ids_on_paper():
    page = (TOP / "docs/findings.md").read_text()
    listed = [
        id for cell in re.findall(r"^\| (`\w+\..*?) \|", page, re.MULTILINE) for id in re.findall(r"`(.+?)`", cell)
    ]
    assert len(set(listed)) == len(listed)
    return {id.replace(".X.", f".{kind}.") for id in listed for kind in ("smtp", "imap", "pop3")}


def test_every_finding_of_the_check_is_explained_and_none_that_there_is_not():
    assert ids_on_paper() == {id.replace("protocol.submission.", "protocol.smtp.") for id in ids_in_code()}


def test_the_areas_of_the_check_are_explained_in_their_order():
    page = (TOP / "docs/findings.md").read_text()
    assert re.findall(r"^## `(\w+)`", page, re.MULTILINE) == list(AREAS)
