"""After an upgrade of the formula, no running minion goes on with old modules beside new ones."""

import importlib
import os
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

import mailhost


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A package that is synced to a minion, with this one's way to load its modules."""
    is_ours = re.compile(r"mailhost(\.|$)|mailserver_").match
    before = {name: module for name, module in sys.modules.items() if is_ours(name)}
    for name in before:
        del sys.modules[name]
    (tmp_path / "mailhost" / "room").mkdir(parents=True)
    (tmp_path / "mailhost" / "__init__.py").write_text(Path(mailhost.__file__).read_text())
    (tmp_path / "mailhost" / "room" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "mailhost"
    for name in [name for name in sys.modules if is_ours(name)]:
        del sys.modules[name]
    sys.modules.update(before)


def version(folder, number):
    """Sync a version of two modules that only work with each other."""
    (folder / "room" / "one.py").write_text(f"def number_{number}():\n    return {number}\n")
    (folder / "room" / "two.py").write_text(f"from mailhost.room.one import number_{number} as number\n")
    (folder / "ground.py").write_text("from mailhost.room import two\nNUMBER = two.number()\n")
    for path in folder.rglob("*.py"):
        os.utime(path, (number, number))


def load():
    """What Salt does when it loads a part of the formula."""
    importlib.import_module("mailhost").drop_outdated()
    scope = {}
    exec("from mailhost import ground\nfrom mailhost.room import two", scope)
    assert scope["two"].number() == scope["ground"].NUMBER
    return scope["two"]


def test_modules_that_changed_together_are_loaded_together(folder):
    version(folder, 1)
    assert load().number() == 1
    version(folder, 22)
    assert load().number() == 22


def test_modules_that_did_not_change_are_the_same_for_all_parts(folder):
    version(folder, 1)
    assert load() is load()


def test_modules_that_lay_side_by_side_before_this_package_are_forgotten(folder):
    version(folder, 1)
    sys.modules["mailserver_dns"] = ModuleType("mailserver_dns")
    load()
    assert "mailserver_dns" not in sys.modules
