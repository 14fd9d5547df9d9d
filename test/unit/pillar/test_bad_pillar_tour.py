"""A tour of bad pillars, by hand and from the schema: one clear error that names each key, and never anything else."""

from unicodedata import category

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bad_pillars import BY_HAND, INJECTIONS, at, nodes, wrongs
from mailhost.errors import PillarError
from mailhost.pillar.keys import SCHEMA
from mailhost.pillar.settings import resolve

GRAINS = {"fqdn": "mx1.example.net", "ipv4": ["127.0.0.1", "192.0.2.25"], "ipv6": ["::1"]}
SYSTEM = {"postfix": {"version": "3.10", "chroot": True}, "watch": {"textfile": "/var/lib/x.prom"}}
NODES = [(path, kind) for path, kind in nodes(SCHEMA) if path]
TOUR = [(path, kind, value) for path, kind in NODES for value in wrongs(kind)]


def refused(pillar):
    """What is said of a pillar that is refused; ``None`` if it is taken."""
    try:
        settings = resolve(pillar, SYSTEM, GRAINS)
    except PillarError as err:
        return err
    assert not list(control_characters(settings))
    return None


def control_characters(value):
    """Yield the texts anywhere in settings that are not one line, or would steer a terminal."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from control_characters(name)
            yield from control_characters(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from control_characters(inner)
    elif isinstance(value, str) and any(category(one) in ("Cc", "Zl", "Zp", "Cs") and one != "\t" for one in value):
        yield value


def test_the_tour_is_long_and_goes_to_every_key_of_the_schema():
    assert len(TOUR) > 1000
    assert {path for path, _, _ in TOUR} == {path for path, _ in NODES}
    assert len(BY_HAND) >= 30


@pytest.mark.parametrize(("path", "kind"), NODES, ids=[":".join(path) for path, _ in NODES])
def test_what_is_wrong_with_a_key_is_named_by_its_place_on_one_line(path, kind):
    for value in wrongs(kind):
        err = refused(at(path, value))
        assert err, f"{value!r} was taken"
        place = ":".join(("mailserver", *path))
        assert any(one.startswith(f"{place}:") for one in err.problems), (value, err.problems)
        for problem in err.problems:
            assert problem.isprintable(), problem
            assert len(problem.removeprefix(f"{place}: ")) > 10


@pytest.mark.parametrize(("pillar", "said"), BY_HAND)
def test_what_keys_say_together_is_judged_too(pillar, said):
    err = refused(pillar)
    assert err
    assert any(said in one for one in err.problems), err.problems
    assert all(one.isprintable() for one in err.problems)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(INJECTIONS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3),
    max_leaves=6,
)


@hypothesis_settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from([path for path, _ in NODES]), ANYTHING)
def test_whatever_a_key_is_given_it_is_refused_in_words_or_taken_as_one_line(path, value):
    err = refused(at(path, value))
    if err:
        assert all(one.startswith("mailserver:") and one.isprintable() for one in err.problems), err.problems


@hypothesis_settings(max_examples=200, deadline=None)
@given(ANYTHING)
def test_whatever_the_whole_pillar_is(value):
    err = refused(value)
    assert not err or str(err).startswith("mailserver: the pillar has ")
