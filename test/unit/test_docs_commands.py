"""Every command in a code block of README.md and docs/ is run by a test, or test/docs_commands.yml says why by none."""

import ast
import re
import shlex
from pathlib import Path

import pytest
import yaml

TOP = Path(__file__).resolve().parents[2]
TABLE = "test/docs_commands.yml"
KNOWN = yaml.safe_load((TOP / TABLE).read_text())
PAGES = [TOP / "README.md", *sorted(TOP.glob("docs/*.md"))]
PROGRAMS = """
apt apt-get bundle certbot check-jsonschema chmod chown curl dig dnf docker doveadm doveconf fail2ban-client
firewall-cmd git ip journalctl mkdir newaliases nsupdate opendkim openssl pip podman postconf postmap postqueue
python3 runuser salt
salt-call salt-key salt-pip salt-run salt-ssh spm sudo systemctl tar tsig-keygen usermod
"""
COMMAND = re.compile(rf"(?:\w+=\S+ )*(?:script/\w+|test/lab/lab|(?:{'|'.join(PROGRAMS.split())}))(?= |$)(?! =)")
PART = re.compile(r"""&&|;|((?:'[^']*'|"[^"]*"|(?!&&|;).)+)""")
SALT = ("salt", "salt-call", "salt-run", "salt-ssh")


def code_lines(text):
    """The lines of a page's code blocks, both of those between fences and of those that are indented."""
    fenced = False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield line.strip()


def commands(text):
    """Each command of a page's code blocks by itself, without its comment."""
    for line in code_lines(text):
        if not COMMAND.match(line):
            continue
        for part in PART.findall(re.sub(r"\s+# .*", "", line)):
            if part.strip():
                yield part.strip()


SHOWN: dict[str, list[str]] = {}
"""The pages that show a command, by the command."""
for PAGE in PAGES:
    for COMMAND_SHOWN in commands(PAGE.read_text()):
        SHOWN.setdefault(COMMAND_SHOWN, []).append(PAGE.name)
INLINE = [
    command
    for page in PAGES
    for command in re.findall(r"`((?:salt|salt-call|salt-run|salt-ssh) [^`]*)`", page.read_text())
]


def arguments(command):
    """What follows the program and its options: for `salt` and `salt-ssh`, the target is left out, too."""
    words = [word for word in shlex.split(command.partition(" | ")[0]) if not re.match(r"-|[A-Z]+=", word)]
    program, *others = words
    return program, others[1:] if program in ("salt", "salt-ssh") else others


def sought(command):
    """The words of a command that a test which runs it has: function, SLS and named arguments; else all of it."""
    program, words = arguments(command)
    if program not in SALT:
        return [command]
    function, *others = words
    named = [part for word in others if re.match(r"\w+=\w+$", word) for part in word.split("=")]
    return [function, *(others[:1] if function == "state.apply" else []), *named]


def has(text, word):
    return re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w-])", text)


@pytest.mark.parametrize("command", SHOWN)
def test_a_command_is_run_by_a_test_or_it_is_said_why_not(command):
    assert command in KNOWN, (
        f"{SHOWN[command][0]} has the command {command!r}, of which {TABLE} says nothing: "
        "name the test that runs it there, or give the reason why none does"
    )
    entry = KNOWN[command]
    if isinstance(entry, str):
        assert len(entry.split()) > 3, "a reason is a sentence"
        return
    text = (TOP / entry["test"]).read_text()
    wanted = [*entry.get("words", sought(command)), *([entry["reads"]] if "reads" in entry else [])]
    missing = [word for word in wanted if word not in entry.get("but", {}) and not has(text, word)]
    assert not missing, f"{entry['test']} does not run {command!r}: it lacks {missing}"
    assert entry.get("reads", SHOWN[command][0]) in SHOWN[command]


def test_the_table_has_no_command_that_no_page_shows():
    assert sorted(set(KNOWN) - set(SHOWN)) == []


def signatures():
    """The functions that Salt loads from this formula, ``{(is a runner, name): arguments}``."""
    found = {}
    for path in [*TOP.glob("_modules/*.py"), *TOP.glob("_runners/*.py")]:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                given = [one.arg for one in node.args.args]
                found[path.parent.name == "_runners", f"{path.stem}.{node.name}"] = given
    return found


OURS = signatures()


@pytest.mark.parametrize(
    "command", sorted({command for command in [*SHOWN, *INLINE] if re.search(r"\bsalt(-\w+)? ", command)})
)
def test_a_command_of_salt_names_a_function_its_arguments_and_an_sls_that_are_there(command):
    program, words = arguments(command)
    if not words:
        return
    function, *others = words
    if function.startswith("state.") and others and re.fullmatch(r"mailserver(\.\w+)*", others[0]):
        path = TOP / others[0].replace(".", "/")
        assert path.with_suffix(".sls").exists() or (path / "init.sls").exists()
    if function.startswith(("mailserver.", "dkim.")):
        assert (program == "salt-run", function) in OURS
        known = OURS[program == "salt-run", function]
        named = [word.partition("=")[0] for word in others if re.match(r"[a-z]\w*=", word)]
        assert set(named) <= set(known)
        assert len(others) <= len(known)


@pytest.mark.parametrize("command", [command for command in SHOWN if command.startswith("script/")])
def test_a_script_that_a_command_names_is_there(command):
    assert (TOP / command.split()[0]).stat().st_mode & 0o111


def test_commands_are_found_in_all_kinds_of_blocks_and_without_their_comments():
    page = (
        "    salt mx1 test.ping; salt-call test.ping   # a comment\n\n```\nscript/demo small && git log\n```\n"
        "text `salt mx1 no.block`\n\n    opendkim: {socket: x}\n    salt 'a;b' x.y\n    PYTHONPATH=/x salt-ssh h a.b\n"
    )
    assert list(commands(page)) == [
        "salt mx1 test.ping",
        "salt-call test.ping",
        "script/demo small",
        "git log",
        "salt 'a;b' x.y",
        "PYTHONPATH=/x salt-ssh h a.b",
    ]


def test_a_test_runs_a_command_if_it_has_its_function_and_named_arguments():
    command = "salt 'mx1*' mailserver.records example.com format=zone --out=json | jq -r ."
    assert sought(command) == ["mailserver.records", "format", "zone"]
    assert sought("salt-call state.apply mailserver.opendkim") == ["state.apply", "mailserver.opendkim"]
    assert not has("mailserver.records_of", "mailserver.records")
