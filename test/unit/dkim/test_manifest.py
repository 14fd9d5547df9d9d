"""The text of ``keys.json``: every way in which it can be wrong is named, and what later versions add does no harm."""

import json
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailhost import files as safe_files
from mailhost.dkim import keystore
from mailhost.dkim.life import STAGES, KeyRow, Manifest
from mailhost.dkim.manifest import FORMAT, emit, parse
from mailhost.errors import ManifestError, WriteError

NAME, WHERE = "a.example", "/keys/a.example/keys.json"
START = datetime(2026, 11, 24, 18, 0, tzinfo=timezone.utc)
TEXT = """\
{
  "format": 1,
  "domain": "a.example",
  "keys": [
    {
      "selector": "s1",
      "algorithm": "rsa",
      "bits": 2048,
      "public": "MIIB",
      "generated": "2026-11-24T18:00:00Z",
      "published": "2026-11-24T19:00:00Z",
      "signing": null,
      "retired": null,
      "revoked": null,
      "removed": null
    }
  ]
}
"""
MANIFEST = Manifest(NAME, (KeyRow("s1", "rsa", 2048, "MIIB", START, START + timedelta(hours=1)),))


def row(selector="s1", stages=2, **more):
    times = {name: START + timedelta(hours=number) for number, name in enumerate(STAGES[:stages])}
    return KeyRow(selector, "rsa", 2048, "MIIB", **times, **more)


def read(text):
    return parse(text, NAME, WHERE)


def changed(beside=None, **columns):
    """Return the text with other values of columns of its row, and of what stands beside the rows."""
    data = json.loads(TEXT)
    data["keys"][0].update(columns)
    return json.dumps({**data, **(beside or {})})


def refused(text):
    with pytest.raises(ManifestError) as caught:
        read(text)
    return str(caught.value)


def test_the_text_on_disk_is_the_same_from_version_to_version():
    assert emit(MANIFEST) == TEXT
    assert read(TEXT) == MANIFEST


KEYS = [row("s9"), row("s1", 4, given_up="lost"), row("s5", 6), row("s2", 1, given_up='"\n\u65e5')]


@pytest.mark.parametrize("machine", ["", "0123abcd"])
def test_rows_keep_their_order_and_what_stands_beside_them(machine):
    manifest = Manifest(NAME, tuple(KEYS), machine)
    assert read(emit(manifest)) == manifest
    assert [key.selector for key in read(emit(manifest)).keys] == ["s9", "s1", "s5", "s2"]
    assert emit(read(emit(manifest))) == emit(manifest)


def test_what_earlier_versions_do_not_know_stands_beside_the_rows_and_only_where_there_is_some():
    data = json.loads(emit(Manifest(NAME, tuple(KEYS), "0123abcd")))
    assert {name: value for name, value in data.items() if name != "keys"} == {
        "format": FORMAT,
        "domain": NAME,
        "machine": "0123abcd",
        "given_up": {"s1": "lost", "s2": '"\n\u65e5'},
    }
    assert not any("given_up" in one for one in data["keys"])
    assert set(json.loads(TEXT)) == {"format", "domain", "keys"}


TAKEN = [
    changed({"a later version's": [1, {}]}),
    changed({"machine": "", "given_up": {}}),
    changed({"given_up": {"s1": ""}}),
    TEXT.replace("\n", "\r\n"),
    TEXT.replace('"bits": 2048,', '"bits": 1024, "bits": 2048,'),
    json.dumps(dict(reversed(json.loads(TEXT).items()))),
]


@pytest.mark.parametrize("text", TAKEN)
def test_what_says_the_same_is_read_alike(text):
    assert read(text) == MANIFEST


@pytest.mark.parametrize(
    "stamps",
    [
        {"published": "2026-11-24T18:00:00Z"},
        {"published": None, "retired": "2026-11-24T18:00:00Z"},
        {"published": None, "retired": "2028-02-29T23:59:59Z", "revoked": "2028-02-29T23:59:59Z"},
    ],
)
def test_stages_may_begin_at_once_and_a_key_may_retire_before_it_signed(stamps):
    (key,) = read(changed(**stamps)).keys
    assert emit(Manifest(NAME, (key,))) == json.dumps(json.loads(changed(**stamps)), indent=2) + "\n"


TIMES = [
    "2026-11-24 18:00:00Z",
    "2026-11-24T18:00:00",
    "2026-11-24T18:00:00z",
    "2026-11-24T18:00:00+00:00",
    "2026-11-24T18:00:00.0Z",
    "2026-02-29T18:00:00Z",
    "2026-11-24T24:00:00Z",
    "2016-12-31T23:59:60Z",
    "0000-11-24T18:00:00Z",
    "\u0662026-11-24T18:00:00Z",
    " 2026-11-24T18:00:00Z",
    "2026-11-24T18:00:00Z\n",
    "",
    0,
    1763920800,
    True,
    ["2026-11-24T18:00:00Z"],
]


@pytest.mark.parametrize("time", TIMES)
def test_a_time_has_one_spelling(time):
    said = refused(changed(published=time))
    assert said.startswith(f"{WHERE}: row 1, published: ")
    assert said.endswith(" is not a time such as 2026-11-24T18:00:00Z")


WRONG = [
    (changed({"format": FORMAT + 1}), f"format {FORMAT + 1} is not known here (this is format {FORMAT}); upgrade"),
    (changed({"format": 99, "keys": "of a kind that is not known here"}), "format 99 is not known here"),
    (changed({"format": "1"}), "format '1' is not known here"),
    (changed({"format": True}), "format True is not known here"),
    (changed({"format": None}), "format None is not known here"),
    (changed({"domain": "A.example"}), "it is the manifest of 'A.example', not of 'a.example'; was it copied here?"),
    (changed({"domain": None}), "it is the manifest of None, not of 'a.example'"),
    (changed({"keys": None}), "keys is not a list"),
    (changed({"keys": {"s1": {}}}), "keys is not a list"),
    (changed({"keys": [None]}), "row 1: not a mapping"),
    (changed({"keys": [[]]}), "row 1: not a mapping"),
    (changed({"keys": [{}]}), "row 1, algorithm: missing"),
    (changed({"machine": 5}), "machine: 5 is not text"),
    (changed({"machine": None}), "machine: None is not text"),
    (changed({"given_up": ["s1"]}), "given_up: not a mapping of selectors to texts"),
    (changed({"given_up": {"s1": None}}), "given_up: not a mapping of selectors to texts"),
    (changed({"given_up": {"s2": "lost"}}), "given_up: there is no row of s2"),
    (changed(given_up="lost"), "row 1, given_up: not a column"),
    (changed(selector=""), "row 1, selector: '' is not a selector"),
    (changed(selector="a b"), "row 1, selector: 'a b' is not a selector"),
    (changed(selector="a/b"), "row 1, selector: 'a/b' is not a selector"),
    (changed(selector="a\n"), r"row 1, selector: 'a\n' is not a selector"),
    (changed(selector="\u00e9"), "row 1, selector: '\u00e9' is not a selector"),
    (changed(selector=5), "row 1, selector: 5 is not text"),
    (changed(algorithm=None), "row 1, algorithm: None is not text"),
    (changed(public=None), "row 1, public: None is not text"),
    (changed(public="MII"), "row 1, public: not base64"),
    (changed(public="MII B"), "row 1, public: not base64"),
    (changed(public="MIIB\n"), "row 1, public: not base64"),
    (changed(public="MI\u00e9B"), "row 1, public: not base64"),
    (changed(bits="2048"), "row 1, bits: '2048' is not a number"),
    (changed(bits=2048.0), "row 1, bits: 2048.0 is not a number"),
    (changed(bits=True), "row 1, bits: True is not a number"),
    (changed(bits=0), "row 1, bits: 0 is not a number"),
    (changed(bits=float("nan")), "row 1, bits: nan is not a number"),
    (changed(revoked="2026-11-24T20:00:00Z"), "row 1, revoked: it cannot follow published"),
    (changed(retired="2026-11-24T18:59:59Z"), "row 1, retired: it lies before published"),
    (TEXT.replace("2048", "9" * 5000), "this is not a manifest of keys"),
    ("[" * 100_000, "this is not a manifest of keys"),
    ('{"format": 1, "domain": "a.example", "keys": ' + "[" * 100_000, "this is not a manifest of keys"),
    ("\ufeff" + TEXT, "this is not a manifest of keys"),
    (TEXT + TEXT, "this is not a manifest of keys"),
    (TEXT.replace('"', "'"), "this is not a manifest of keys"),
    ("null", "this is not a manifest of keys"),
    ("5", "this is not a manifest of keys"),
    ('"format, domain, keys"', "this is not a manifest of keys"),
    ("\0" * len(TEXT), "this is not a manifest of keys"),
]


@pytest.mark.parametrize(("text", "said"), WRONG, ids=[said for _, said in WRONG])
def test_what_is_wrong_is_named_by_file_row_and_column(text, said):
    assert refused(text).startswith(f"{WHERE}: {said}")


@pytest.mark.parametrize("column", list(json.loads(TEXT)["keys"][0]))
def test_a_column_that_is_missing_is_named(column):
    data = json.loads(TEXT)
    del data["keys"][0][column]
    assert refused(json.dumps(data)).startswith(f"{WHERE}: row 1, {column}: missing")


@given(st.integers(0, len(TEXT.rstrip()) - 1))
def test_a_text_that_was_cut_anywhere_is_refused(length):
    assert "not a manifest of keys" in refused(TEXT[:length])


@given(st.integers(0, len(TEXT) - 2), st.characters())
def test_a_text_of_which_one_character_changed_is_read_or_refused_in_words(place, letter):
    try:
        found = read(TEXT[:place] + letter + TEXT[place + 1 :])
    except ManifestError as err:
        assert str(err).startswith(WHERE)  # noqa: PT017
    else:
        assert found.domain == NAME


@pytest.fixture
def path(tmp_path):
    """Return the path of a manifest that is on disk."""
    path = tmp_path / NAME / keystore.MANIFEST
    path.parent.mkdir()
    path.write_text(TEXT)
    return path


def not_utf8(path):
    path.write_bytes(TEXT.encode().replace(b"MIIB", b"MI\xffB"))


def open_to_all(path):
    path.chmod(0o666)


def with_a_second_name(path):
    os.link(path, path.with_name("other"))


def too_large(path):
    os.truncate(path, safe_files.LARGEST + 1)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (not_utf8, "cannot be read: 'utf-8' codec"),
        (open_to_all, "others may write to it (mode 0666)"),
        (with_a_second_name, "it has 2 names"),
        (too_large, "it has 67,108,865 bytes, and at most 67,108,864 are read"),
    ],
)
def test_a_file_that_others_may_have_written_or_that_is_no_text_is_refused_and_left_alone(path, harm, said):
    harm(path)
    before = path.stat()
    with pytest.raises(ManifestError) as caught:
        keystore.read_manifest(path.parent.parent, NAME)
    assert f"{path}: {said}" in str(caught.value)
    assert path.stat() == before


def test_a_file_is_replaced_whole_and_its_folder_has_nothing_else(path):
    with open(path) as held:
        keystore.write_manifest(path.parent.parent, Manifest(NAME, (row(), row("s2"))))
        assert held.read() == TEXT
    assert [key.selector for key in keystore.read_manifest(path.parent.parent, NAME).keys] == ["s1", "s2"]
    assert os.listdir(path.parent) == [keystore.MANIFEST]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("call", ["fsync", "replace", "fchmod"])
def test_a_file_that_cannot_be_written_stays_what_it_was(path, monkeypatch, call):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    assert keystore.read_manifest(path.parent.parent, NAME) == MANIFEST
    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        with pytest.raises(WriteError, match=f"{path}: could not be written: No space left on device"):
            keystore.write_manifest(path.parent.parent, Manifest(NAME, (row("s2"),)))
    assert Path(path).read_text() == TEXT
    assert os.listdir(path.parent) == [keystore.MANIFEST]
    assert keystore.read_manifest(path.parent.parent, NAME) == MANIFEST
