"""Which packages the formula brought is noted around each run, and no other is ever taken away."""

import json

import pytest

from mailhost.before import packages
from mailhost.command import CommandResult
from mailhost.errors import PackagesError

NOTHING = {"brought": [], "before": None}


def run(note, wanted, before, after):
    return packages.ended(packages.begun(note, wanted, before), after)


def test_what_came_in_a_run_is_noted_with_what_it_brought_along():
    note = run(NOTHING, ["postfix"], ["bash"], ["bash", "postfix", "ssl-cert"])
    assert note == {"brought": ["postfix", "ssl-cert"], "before": None}


def test_what_was_there_before_is_never_noted():
    note = run(NOTHING, ["postfix", "nginx"], ["bash", "nginx"], ["bash", "nginx", "postfix"])
    assert packages.to_remove(note, ["bash", "nginx", "postfix"]) == ["postfix"]


def test_what_others_install_between_runs_is_not_noted():
    note = run(NOTHING, ["postfix"], ["bash"], ["bash", "postfix"])
    assert run(note, ["postfix"], ["bash", "mutt", "postfix"], ["bash", "mutt", "postfix"]) == note


def test_a_run_that_installs_nothing_leaves_the_note_as_it_is():
    note = {"brought": ["postfix"], "before": None}
    assert packages.begun(note, ["postfix"], ["bash", "postfix"]) == note


def test_after_a_run_that_was_killed_only_what_the_formula_names_counts():
    begun = packages.begun(NOTHING, ["postfix", "dovecot"], ["bash"])
    again = packages.begun(begun, ["postfix", "dovecot"], ["bash", "postfix", "ssl-cert", "mutt"])
    assert again == {"brought": ["postfix"], "before": ["bash", "mutt", "postfix", "ssl-cert"]}
    assert packages.ended(again, ["bash", "dovecot", "mutt", "postfix", "ssl-cert"])["brought"] == [
        "dovecot",
        "postfix",
    ]


def test_what_is_gone_already_is_not_removed():
    assert packages.to_remove({"brought": ["a", "b"]}, ["b", "c"]) == ["b"]


def test_a_note_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "var" / "packages.json"
    assert packages.read(path) == NOTHING
    for note in ({"brought": ["a"], "before": None}, {"brought": [], "before": ["b"]}):
        packages.write(note, path)
        assert packages.read(path) == note


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"brought": 5}'])
def test_a_damaged_note_is_an_error_and_no_licence(tmp_path, text):
    (tmp_path / "note").write_text(text)
    with pytest.raises(PackagesError, match="damaged"):
        packages.read(tmp_path / "note")


def test_the_packages_of_states_are_found_in_every_form():
    chunks = [
        {"state": "pkg", "fun": "installed", "__id__": "mailserver-a", "name": "a", "pkgs": ["x", {"y": "1.0"}]},
        {"state": "pkg", "fun": "installed", "__id__": "mailserver-b", "name": "b"},
        {"state": "pkg", "fun": "installed", "__id__": "mailserver-c", "name": "c", "sources": [{"z": "https://x"}]},
        {"state": "pkg", "fun": "installed", "__id__": "other", "name": "theirs"},
        {"state": "pip", "fun": "installed", "__id__": "mailserver-d", "name": "dnspython"},
    ]
    assert packages.wanted_by(chunks) == ["b", "x", "y", "z"]


@pytest.mark.parametrize(
    ("names", "turns"),
    [
        (["dovecot-core", "procps", "ucf"], [["dovecot-core"], ["procps", "ucf"]]),
        (["libc", "postfix"], [["libc"], ["postfix"]]),
        (["procps"], [["procps"]]),
        (["ucf"], [["ucf"]]),
        ([], []),
    ],
)
def test_what_packages_ask_for_their_configuration_goes_after_them(names, turns, tmp_path):
    for script in ("dovecot-core", "libc:amd64", "ucf"):
        (tmp_path / f"{script}.postrm").write_text("for file in $(ucfq --with-colons $1); do\n")
    (tmp_path / "postfix.postrm").write_text("rm -rf /var/spool/postfix\n")
    assert packages.in_turns(names, tmp_path) == turns


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("Purg postfix [3.7]\nPurg ssl-cert [1]\n", ""),
        ("Purg postfix [3.7]\nPurg ssl-cert [1]\nRemv mutt [2]\n", "mutt would go with them"),
        ("Purg postfix [3.7]\nPurg ssl-cert [1]\nInst exim4 (4)\n", "exim4 would come in their stead"),
    ],
)
def test_packages_that_others_need_are_not_removed(said, why):
    assert packages.in_the_way(["postfix", "ssl-cert"], lambda words: CommandResult(0, said, "")) == why


def test_where_there_is_no_apt_rpm_says_who_needs_them():
    answers = {
        "apt-get": CommandResult(None, "", "not found"),
        "rpm": CommandResult(1, "", "postfix is needed by (installed) mutt"),
    }
    assert packages.in_the_way(["postfix"], lambda words: answers[words[0]]) == "postfix is needed by (installed) mutt"


def test_mail_in_any_queue_counts(tmp_path):
    assert packages.queued(tmp_path) == 0
    for number, name in enumerate(("deferred/A", "hold", "maildrop")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "A1").write_text(json.dumps(number))
    assert packages.queued(tmp_path) == 3
