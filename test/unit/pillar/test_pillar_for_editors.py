"""docs/pillar.schema.json: editors take what the formula takes, and refuse what it refuses."""

import json
import math
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from test_bad_pillar_tour import ANYTHING
from test_keys import BAD

from bad_pillars import at, nodes, wrongs
from mailhost.pillar.keys import SCHEMA
from mailhost.schema import Choice, Integer, read

TOP = Path(__file__).resolve().parents[3]
TEXT = (TOP / "docs" / "pillar.schema.json").read_text()
VALIDATOR = Draft202012Validator(json.loads(TEXT))
NODES = [(path, kind) for path, kind in nodes(SCHEMA) if path]
UNSAID = ("listed twice", "has host bits set", "is not a domain name: ", "its property is one of")
"""What a JSON Schema cannot say: two spellings of one name, arithmetic, IDNA, and which of a word's spellings count."""


def is_taken(pillar):
    """Tell whether an editor takes a pillar; keys are text there, as in JSON."""
    return VALIDATOR.is_valid({"mailserver": json.loads(json.dumps(pillar))})


def is_json(value):
    """Tell whether a value is one that JSON can hold, and tells from others: not 1024.0, which is 1024 there."""
    if isinstance(value, dict):
        return all(isinstance(name, str) for name in value) and all(map(is_json, value.values()))
    if isinstance(value, list):
        return all(map(is_json, value))
    return not isinstance(value, float) or (math.isfinite(value) and not value.is_integer())


def problems(pillar, unsaid=()):
    """What the formula says of each value by itself, but for what holds some of these words."""
    found = []
    read(SCHEMA, pillar, "mailserver", found)
    return [one for one in found if not any(words in one for words in unsaid)]


def test_it_is_what_the_schema_of_the_formula_says():
    made = subprocess.run([TOP / "script" / "reference", "schema"], capture_output=True, text=True, check=True).stdout
    assert made == TEXT, "run: script/reference schema >docs/pillar.schema.json"
    Draft202012Validator.check_schema(json.loads(made))


@pytest.mark.parametrize(("path", "kind"), NODES, ids=[":".join(path) for path, _ in NODES])
def test_an_editor_refuses_what_a_key_never_takes(path, kind):
    tried = [value for value in wrongs(kind) if is_json(value) and problems(at(path, value), UNSAID)]
    assert tried or not isinstance(kind, (Choice, Integer))
    for value in tried:
        assert not is_taken(at(path, value)), value


@pytest.mark.parametrize("pillar", [pillar for pillar, _ in BAD if is_json(pillar) and problems(pillar, UNSAID)])
def test_an_editor_refuses_what_a_value_alone_is_refused_for(pillar):
    assert not is_taken(pillar)


@pytest.mark.parametrize("path", ["pillar.example", *sorted((TOP / "test" / "salt" / "pillar").glob("*.sls"))])
def test_an_editor_takes_the_pillars_that_are_in_use(path):
    text = (TOP / path).read_text()
    if "{%" not in text:
        assert is_taken(yaml.safe_load(text)["mailserver"])


@hypothesis_settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from([path for path, _ in NODES]), ANYTHING)
def test_an_editor_takes_whatever_the_formula_takes(path, value):
    pillar = at(path, value)
    if is_json(pillar) and not problems(pillar):
        assert is_taken(pillar)
