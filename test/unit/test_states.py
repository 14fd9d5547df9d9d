"""The states' keywords: one that a state does not know is an error, as Salt itself finds it."""

import importlib.util
from pathlib import Path

import pytest
from salt.exceptions import SaltInvocationError
from salt.state import STATE_INTERNAL_KEYWORDS
from salt.utils.args import format_call

GIVEN = {"name": "postfix", "service": "postfix", "files": ["/etc/postfix/main.cf"], "__sls__": "a", "order": 1}


@pytest.fixture(scope="module")
def states():
    path = Path(__file__).parents[2] / "_states" / "mailserver.py"
    spec = importlib.util.spec_from_file_location("mailserver_states", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def called(function, **given):
    return format_call(function, {**GIVEN, **given}, {}, STATE_INTERNAL_KEYWORDS)


def test_a_daemons_state_takes_each_of_its_keywords(states):
    more = {"sockets": ["443"], "log": "/l", "recipient": "a@b", "certificate": "/c", "key": "/k"}
    more.update(main_cf="/m", milter_of="/p", delivery="null")
    found = called(states.activated, **more)
    assert dict(zip(states.activated.__code__.co_varnames, found["args"], strict=False)).get("name") == "postfix"
    assert {name: found["kwargs"][name] for name in more} == more


@pytest.mark.parametrize("name", ["socket", "recipients", "certificates", "main_cfs"])
def test_a_misspelt_keyword_of_a_daemons_state_is_an_error(states, name):
    with pytest.raises(SaltInvocationError, match=f"'{name}'"):
        called(states.activated, **{name: "x"})
