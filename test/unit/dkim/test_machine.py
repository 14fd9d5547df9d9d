"""The mark of a machine survives what a host goes through, and is another one on a clone."""

import pytest

from mailhost.dkim.machine import mark

ID, OTHER = "3d1219c7c4c5404aaa1f6d2a48adfda4\n", "4d1219c7c4c5404aaa1f6d2a48adfda4\n"


@pytest.fixture
def marked(tmp_path):
    def of(machine_id, hostname="mx1\n"):
        (tmp_path / "id").write_text(machine_id)
        (tmp_path / "name").write_text(hostname)
        return mark(tmp_path / "id", tmp_path / "name")

    return of


def test_a_machine_has_one_mark_that_does_not_tell_its_id(marked):
    first = marked(ID)
    assert (len(first), first, marked(ID.upper())) == (16, marked(ID), first)
    assert first not in ID


def test_a_clone_has_another_mark_by_its_id_or_by_its_name(marked):
    assert len({marked(ID), marked(OTHER), marked(ID, "mx2\n"), marked(OTHER, "mx2\n")}) == 4


@pytest.mark.parametrize("machine_id", ["", "uninitialized\n", "0" * 32, "short"])
def test_a_machine_without_an_id_yet_has_no_mark(marked, machine_id):
    assert marked(machine_id) == ""


def test_files_that_are_not_there_are_no_failure(tmp_path, marked):
    assert mark(tmp_path / "none", tmp_path / "none") == ""
    marked(ID)
    assert mark(tmp_path / "id", tmp_path / "none") != ""
