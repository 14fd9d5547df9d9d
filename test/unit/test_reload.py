"""After an upgrade of the formula, no running minion goes on with old modules beside new ones."""

import importlib
import os
import sys
from pathlib import Path

import pytest

import mailserver_reload


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of modules that are synced to a minion, this one's way to load them among them."""
    before = {name: module for name, module in sys.modules.items() if name.startswith("mailserver_")}
    for name in before:
        del sys.modules[name]
    text = Path(mailserver_reload.__file__).read_text()
    (tmp_path / "mailserver_reload.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("mailserver_")]:
        del sys.modules[name]
    sys.modules.update(before)


def version(folder, number):
    """Sync a version of two modules that only work with each other."""
    (folder / "mailserver_one.py").write_text(f"def number_{number}():\n    return {number}\n")
    (folder / "mailserver_two.py").write_text(f"from mailserver_one import number_{number} as number\n")
    for path in folder.glob("mailserver_*.py"):
        os.utime(path, (number, number))


def load():
    """What Salt does when it loads a part of the formula."""
    importlib.import_module("mailserver_reload").drop_outdated()
    return importlib.import_module("mailserver_two")


def test_modules_that_changed_together_are_loaded_together(folder):
    version(folder, 1)
    assert load().number() == 1
    version(folder, 22)
    assert load().number() == 22


def test_modules_that_did_not_change_are_the_same_for_all_parts(folder):
    version(folder, 1)
    assert load() is load()
