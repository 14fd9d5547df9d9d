"""A manifest that was read before is read anew as soon as its file is another one: nothing outdated is gone by."""

import os
from datetime import datetime, timedelta, timezone

import pytest

from mailhost.dkim import keystore, manifest
from mailhost.dkim.life import KeyRow, Manifest
from mailhost.errors import ManifestError

MADE = datetime(2026, 11, 24, 18, 0, tzinfo=timezone.utc)
BEFORE = Manifest("a.example", (KeyRow("s1", "rsa", 2048, "MIIB", MADE),))
AFTER = Manifest("a.example", (KeyRow("s2", "rsa", 2048, "MIIB", MADE + timedelta(days=1)),))


@pytest.fixture
def path(tmp_path):
    """Return the path of a manifest that was read once."""
    (tmp_path / "a.example").mkdir()
    path = tmp_path / "a.example" / keystore.MANIFEST
    path.write_text(manifest.emit(BEFORE))
    assert read(path) == BEFORE
    return path


def read(path):
    return keystore.read_manifest(path.parent.parent, "a.example")


def edit(path):
    path.write_text(manifest.emit(AFTER))
    # Of the same size, and by a tool that sets the times as they were.
    before = os.stat(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns - 1))


def put_in_place(path):
    other = path.with_name("other")
    other.write_text(manifest.emit(AFTER))
    other.rename(path)


def write(path):
    keystore.write_manifest(path.parent.parent, AFTER)


@pytest.mark.parametrize("change", [edit, put_in_place, write])
def test_a_changed_manifest_is_read_anew(path, change):
    change(path)
    assert read(path) == AFTER
    assert read(path) == AFTER


def test_of_a_manifest_that_went_no_key_is_remembered(path):
    path.unlink()
    assert read(path) == Manifest("a.example")


def test_a_manifest_that_was_damaged_since_is_refused(path):
    path.write_text("{}")
    with pytest.raises(ManifestError):
        read(path)


def test_an_unchanged_manifest_is_the_same_object(path):
    assert read(path) is read(path)
