"""Bad pillars in Salt's own compiler: of each, one error with all that is wrong, and not one state that would run."""

import contextlib
import copy
import re
from pathlib import Path

import pytest
import salt.config
import salt.loader
import salt.state
import salt.utils.extmods

from bad_pillars import BY_HAND, at, nodes, wrongs
from mailhost.pillar.keys import SCHEMA

TOP = Path(__file__).resolve().parents[2]
OF_THE_SCHEMA = [
    (at(path, value), ":".join(("mailserver", *path)))
    for path, kind in nodes(SCHEMA)
    for value in list(wrongs(kind))[1:9:4]
    if path
]
"""Two wrong values of each key."""


@contextlib.contextmanager
def highstate(home, kinds=("modules", "states", "utils")):
    """Salt's highstate with the formula on its file server, and its own modules of these kinds on the minion."""
    roots = home / "roots"
    roots.mkdir()
    for name in ("mailserver", "_modules", "_states", "_utils"):
        (roots / name).symlink_to(TOP / name)
    opts = salt.config.minion_config(None)
    folders = {"cachedir": "cache", "extension_modules": "cache/extmods", "pki_dir": "pki", "sock_dir": "sock"}
    opts.update({name: str(home / path) for name, path in folders.items()})
    opts.update(
        id="mx1.example.test",
        conf_file=str(home / "minion"),
        file_client="local",
        file_roots={"base": [str(roots)]},
        pillar_roots={"base": [str(home / "pillar")]},
        enable_gpu_grains=False,
        enable_fqdns_grains=False,
        master_type="disable",
    )
    for kind in kinds:
        salt.utils.extmods.sync(opts, kind)
    opts["grains"] = {**salt.loader.grains(opts), "fqdn": "mx1.example.test"}
    opts["pillar"] = {}
    with salt.state.HighState(opts) as found:
        yield found


@pytest.fixture(scope="module")
def high(tmp_path_factory):
    with highstate(tmp_path_factory.mktemp("minion")) as found:
        yield found


def compiled_for(high, **pillar):
    """Compile the formula for a minion's pillar: what Salt says, and the states."""
    # Salt copies a minion's options on their first change: from then on its renderers have a pillar of their own.
    for known in (high.state.opts["pillar"], high.state.rend._dict.pack["__pillar__"]):
        known.clear()
        known.update(copy.deepcopy(pillar))
    high.building_highstate = type(high.building_highstate)()  # or the states of the one before would be in it
    data, errors = high.render_highstate({"base": ["mailserver"]})
    return errors, {id for id in data if not id.startswith("__")}


@pytest.fixture(scope="module")
def compiled(high):
    """The same for the pillar's key ``mailserver``, with one loader for all."""
    return lambda pillar: compiled_for(high, mailserver=pillar)


def test_a_minion_without_the_key_is_told_where_to_look(high):
    errors, states = compiled_for(high, other=1)
    assert states == set()
    assert "the pillar of mx1.example.test has no key `mailserver`, so nothing was changed" in errors[0]


def test_a_minion_without_the_formulas_modules_is_told_how_to_have_them(tmp_path):
    with highstate(tmp_path, kinds=()) as bare:
        errors, states = compiled_for(bare, mailserver={"domains": {"a.example": {}}})
    assert states == set()
    assert "salt 'mx1.example.test' saltutil.sync_all" in errors[0]


def test_a_good_pillar_compiles(compiled):
    errors, states = compiled({"domains": {"a.example": {}}})
    assert errors == []
    assert "mailserver-postfix-in-force" in states


def test_the_tour_has_more_than_a_hundred_stops():
    assert len(OF_THE_SCHEMA) + len(BY_HAND) > 200


@pytest.mark.parametrize(("pillar", "said"), [*BY_HAND, *OF_THE_SCHEMA])
def test_a_bad_pillar_is_one_error_and_no_state(compiled, pillar, said):
    errors, states = compiled(pillar)
    assert states == set()
    assert len(errors) == 1, errors
    assert "Traceback" not in errors[0]
    assert re.search(r"mailserver: the pillar has \d+ problems?; nothing was changed on this host", errors[0])
    assert said in errors[0], errors[0]


def test_validate_says_the_same_without_a_run(high):
    validate = high.state.functions["mailserver.validate"]
    assert validate({"domains": {"a.example": {}}}) == []
    for pillar, said in BY_HAND:
        assert any(said in one for one in validate(pillar)), pillar
