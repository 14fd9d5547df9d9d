"""Arguments of execution functions are what was written on Salt's command line, or one clear error."""

import importlib.util
import inspect
from datetime import date, datetime
from pathlib import Path

import pytest
from salt.exceptions import CommandExecutionError
from salt.utils.args import get_function_argspec, yamlify_arg

from mailhost import arguments
from mailhost.arguments import as_given, domain, flag, number, read, target, text, texts
from mailhost.errors import ArgumentError

TOP = Path(__file__).resolve().parents[2]
FILES = ("_modules/dkim.py", "_modules/mailserver.py", "_runners/mailserver.py")


def module(path):
    spec = importlib.util.spec_from_file_location(path.replace("/", "_").removesuffix(".py"), TOP / path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def public(path):
    loaded = module(path)
    functions = inspect.getmembers(loaded, inspect.isfunction)
    return [one for name, one in functions if not name.startswith("_") and one.__module__ == loaded.__name__]


FUNCTIONS = [(path, function) for path in FILES for function in public(path)]
IDS = [f"{path} {function.__name__}" for path, function in FUNCTIONS]
TAKING = [(path, one) for path, one in FUNCTIONS if inspect.signature(one).parameters]


@pytest.mark.parametrize(("path", "function"), FUNCTIONS, ids=IDS)
def test_every_argument_of_every_function_is_read_by_its_kind(path, function):
    parameters = inspect.signature(function).parameters
    assert getattr(function, "takes", {}).keys() == parameters.keys()
    assert get_function_argspec(function).args == [*parameters], "as Salt sees it"
    for name, parameter in parameters.items():
        is_flag = isinstance(parameter.default, bool)
        assert (function.takes[name] is flag) == is_flag, name


@pytest.mark.parametrize(("path", "function"), TAKING, ids=[f"{path} {function.__name__}" for path, function in TAKING])
def test_a_number_reaches_every_function_as_the_text_that_was_written(path, function):
    """The function itself is replaced by one that returns what it got."""
    names = [name for name, kind in function.takes.items() if kind in (text, texts, target, domain)]
    signature = inspect.signature(function)

    def got(*given, **named):
        return signature.bind(*given, **named).arguments

    got.__signature__ = signature
    found = read(**function.takes)(got)(**dict.fromkeys(names, 20210808), **others(function, names))
    for name in names:
        assert found[name] == (["20210808"] if function.takes[name] is texts else "20210808")


def others(function, names):
    needed = {name: one for name, one in inspect.signature(function).parameters.items() if one.default is one.empty}
    return {name: {} for name in needed if name not in names}


def test_the_call_that_gave_it_away_names_the_key_that_it_was_asked_for(monkeypatch):
    dkim, asked = module("_modules/dkim.py"), []
    monkeypatch.setattr(dkim.dkim_advance, "give_up", lambda _run, *what: asked.append(what))
    monkeypatch.setattr(dkim, "_domains", lambda _run, domain: [domain])
    monkeypatch.setattr(dkim, "_advance", lambda prepare: prepare(None))
    dkim.revoke("alpha.test", yamlify_arg("20210808"))
    assert asked == [("alpha.test", "20210808")]


WRITTEN = ["20210808", "20210808-mx1", "mail", "2021-08-08", "1e5", "20_21", "None.x", "a#b"]


@pytest.mark.parametrize("written", WRITTEN)
def test_what_is_written_on_the_command_line_is_what_is_read(written):
    assert text(yamlify_arg(written)) == written


@pytest.mark.parametrize(("value", "read_as"), [(5, "5"), (date(2021, 8, 8), "2021-08-08"), ("x", "x")])
def test_what_yaml_files_and_the_api_hand_over_is_read_where_it_can_be_told(value, read_as):
    assert text(value) == read_as


LOST = [
    *map(yamlify_arg, ("2021.10", "yes", "on", "off", "no")),
    20210808.0,
    1e5,
    True,
    False,
    None,
    {},
    [],
    ["x"],
    datetime(2021, 8, 8),
    b"x",
]


@pytest.mark.parametrize("value", LOST, ids=repr)
def test_what_cannot_be_told_is_an_error_that_says_how_to_quote(value):
    @read(CommandExecutionError, selector=text)
    def revoke(selector):
        raise AssertionError("it was called")

    with pytest.raises(CommandExecutionError, match=r"^revoke: selector: .* is .*, and text is wanted.*\"'2021.10'\""):
        revoke(value)


@pytest.mark.parametrize(
    ("value", "read_as"),
    [("a", ["a"]), (5, ["5"]), (["a", 5], ["a", "5"]), ((), []), ({"a.example": None}, ["a.example"])],
)
def test_one_name_is_a_list_of_one(value, read_as):
    assert texts(value) == read_as


@pytest.mark.parametrize("bad", [True, [True], ["a", 1.5], [None], [["a"]]])
def test_a_list_with_something_else_than_names_is_an_error(bad):
    with pytest.raises(ArgumentError):
        texts(bad)


@pytest.mark.parametrize("value", ["no", "off", "False", "0", 0, False])
def test_no_is_never_taken_for_true(value):
    assert flag(yamlify_arg(value)) is False


@pytest.mark.parametrize("value", ["yes", "on", "True", "1", 1, True])
def test_yes_is_true(value):
    assert flag(value) is True


@pytest.mark.parametrize("bad", ["maybe", 2, None, [], 1.0])
def test_what_is_neither_is_an_error(bad):
    with pytest.raises(ArgumentError):
        flag(bad)


def test_numbers_targets_and_mappings():
    assert (number("5"), number(5), target("mx*"), target([1, "b"]), as_given(None)) == (5, 5, "mx*", ["1", "b"], None)
    with pytest.raises(ArgumentError):
        number("five")


@pytest.mark.parametrize("written", ["alpha.test", "Alpha.TEST", "alpha.test.", " alpha.test"])
def test_a_domain_is_meant_however_its_name_is_written(written):
    assert domain(written) == "alpha.test"


def test_an_argument_that_is_left_out_is_left_out():
    called = arguments.read(domain=text, force=flag)(lambda domain=None, force=False: (domain, force))
    assert (called(), called(None), called(force="no")) == ((None, False), (None, False), (None, False))
