"""What a host had before this formula is kept once, and given back by mailserver.clean byte for byte."""

import os

import pytest

from mailhost.before import originals
from mailhost.before.given_back import aliases_as_they_were, allowed
from mailhost.errors import OriginalsError

OURS = "# Written by Salt (mailserver/postfix); change the pillar\n"


@pytest.fixture
def place(tmp_path):
    (tmp_path / "etc").mkdir()
    return tmp_path / "etc", str(tmp_path / "state")


def give_back(paths, state, stays=()):
    rows = originals.wanted(paths, state, stays)
    originals.give_back(rows, state)
    return rows


def test_a_file_comes_back_with_its_bytes_and_its_mode(place):
    etc, state = place
    path = etc / "main.cf"
    path.write_bytes(b"by hand\xff\n")
    path.chmod(0o640)
    assert originals.keep([str(path)], state) == [str(path)]
    path.write_text(OURS)
    path.chmod(0o644)
    assert originals.keep([str(path)], state) == [], "kept once"
    give_back([str(path)], state)
    assert path.read_bytes() == b"by hand\xff\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert give_back([str(path)], state) == {}, "a second time there is nothing to do"


def test_a_file_that_was_not_there_goes_and_a_link_comes_back(place):
    etc, state = place
    new, link = etc / "new", etc / "link"
    link.symlink_to("somewhere")
    originals.keep([str(new), str(link)], state)
    new.write_text(OURS)
    link.unlink()
    link.write_text(OURS)
    give_back([str(new), str(link)], state)
    assert not new.exists()
    assert os.readlink(link) == "somewhere"


def test_what_a_package_may_bring_is_not_noted_as_absent_too_early(place):
    etc, state = place
    path = etc / "main.cf"
    assert originals.keep([str(path)], state, existing=True) == []
    path.write_text("the package's\n")
    originals.keep([str(path)], state)
    path.write_text(OURS)
    give_back([str(path)], state)
    assert path.read_text() == "the package's\n"


def test_the_copy_of_an_earlier_version_is_taken_over(place):
    etc, state = place
    path = etc / "main.cf"
    path.write_text(OURS)
    (etc / "main.cf.dist").write_text("by hand\n")
    originals.keep([str(path)], state, upgraded=True)
    assert not (etc / "main.cf.dist").exists()
    give_back([str(path)], state)
    assert path.read_text() == "by hand\n"


def test_a_dist_file_of_the_operators_own_is_nobodys_original(place):
    etc, state = place
    path = etc / "main.cf"
    path.write_text("by hand\n")
    (etc / "main.cf.dist").write_text("the operator's old copy\n")
    originals.keep([str(path)], state)
    assert originals.original(str(path), state).octets == b"by hand\n"
    assert (etc / "main.cf.dist").exists()


def test_what_is_ours_without_an_original_goes_and_what_is_not_ours_stays(place):
    etc, state = place
    ours, theirs = etc / "ours", etc / "theirs"
    ours.write_text(OURS)
    theirs.write_text("somebody's\n")
    give_back([str(ours), str(theirs)], state)
    assert not ours.exists()
    assert theirs.exists()


TABLES = [
    # (KeyTable as it was, key on disk?, is it noted?) -> the table stays as it is now
    ("x a.test:x:{key}\n", True, True, False),
    ("x a.test:x:{key}\n", False, True, True),  # rotated away: with it, all mail of the domain would wait
    ("x a.test:x:{key}\n", True, False, True),  # a host of an earlier version: nobody knows what it was
]


@pytest.mark.parametrize(("row", "exists", "noted", "stays"), TABLES)
def test_tables_that_opendkim_could_not_work_with_are_not_given_back(place, row, exists, noted, stays):
    etc, state = place
    config, table, key = etc / "opendkim.conf", etc / "KeyTable", etc / "x.private"
    config.write_text(f"KeyTable {table}\n")
    table.write_text(row.format(key=key))
    if exists:
        key.write_text("PEM")
    originals.keep([str(config), *([str(table)] if noted else [])], state)
    table.write_text(OURS)
    kept, why = originals.tables_to_keep(str(config), [str(table)], state)
    assert (kept, bool(why)) == ([str(table)] * stays, stays)


def test_owners_and_modes_come_back_but_never_through_a_link(place, tmp_path):
    etc, state = place
    plain, swapped, other = etc / "plain", etc / "swapped", tmp_path / "shadow"
    for path in (plain, swapped, other):
        path.write_text("x")
        path.chmod(0o600)
    originals.note_host({}, [str(etc)], None, False, state)
    for path in (plain, other):
        path.chmod(0o644)
    swapped.unlink()
    swapped.symlink_to(other)
    assert originals.give_back_modes(state) == [str(plain)]
    assert plain.stat().st_mode & 0o777 == 0o600
    assert other.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("text", ["{", '{"format": 7}', "[]"])
def test_a_damaged_note_is_an_error_that_names_it(place, text):
    state = place[1]
    originals.folder(state).mkdir(parents=True)
    (originals.folder(state) / "note.json").write_text(text)
    with pytest.raises(OriginalsError, match=r"original/note\.json"):
        originals.read(state)


def test_without_the_copy_nothing_is_given_back(place):
    etc, state = place
    one, other = etc / "one", etc / "other"
    for path in (one, other):
        path.write_text("by hand\n")
    originals.keep([str(one), str(other)], state)
    for path in (one, other):
        path.write_text(OURS)
    (originals.folder(state) / "files" / str(other).lstrip("/")).unlink()
    with pytest.raises(OriginalsError, match="no copy of"):
        give_back([str(one), str(other)], state)
    assert one.read_text() == OURS


ALIASES = [
    # (former, present, after)
    ("a: x\n# c\nb: y\n", "a: x\n# c\nb: z\nroot: me\n", "a: x\n# c\nb: y\n"),
    (None, "postmaster: root\nroot: me\na: x\n", "postmaster: root\na: x\n"),
    ("b: y\n", "b: z\nnew: since\n", "b: y\nnew: since\n"),
    ("b: y,\n  w\n", "b: z\n", "b: y,\n  w\n"),
    ('"root": x\n', "root: z\n", '"root": x\n'),
    ("", "", ""),
]


@pytest.mark.parametrize(("former", "present", "after"), ALIASES)
def test_aliases_are_as_they_were_and_those_of_others_stay(former, present, after):
    assert aliases_as_they_were(former, present, ["b", "root", "postmaster"]) == after


def test_what_a_zone_allows_is_read_from_what_firewall_cmd_prints():
    shown = "public (active)\n  target: default\n  services: ssh imap\n  ports: 25/tcp 587/tcp\n"
    assert allowed(shown) == ["25/tcp", "587/tcp", "imap", "ssh"]
