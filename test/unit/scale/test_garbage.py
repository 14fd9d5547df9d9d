"""The search for cycles waits while a block runs, and is as it was before afterwards."""

import gc

import pytest

from mailhost.scale import garbage


@pytest.fixture(autouse=True)
def enabled():
    gc.enable()
    yield
    gc.enable()


def test_no_search_begins_in_the_block_and_they_go_on_after_it():
    with garbage.kept():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_they_go_on_after_an_error():
    with pytest.raises(ZeroDivisionError), garbage.kept():
        1 / 0  # noqa: B018
    assert gc.isenabled()


def test_whoever_turned_them_off_keeps_them_off():
    gc.disable()
    with garbage.kept():
        pass
    assert not gc.isenabled()
