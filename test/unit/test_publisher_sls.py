"""What the master makes of an event that a minion may have made up: one host's name, or nothing."""

import json
from pathlib import Path

import pytest
import salt.utils.templates
import yaml
from salt.exceptions import SaltRenderError

FOLDER = Path(__file__).resolve().parents[2] / "mailserver" / "publisher"
PILLAR = {
    "dns": {"central": {"publisher": "ns1"}, "alias_zones": ["keys.provider.test"]},
    "domains": {"alpha.test": None},
}


def rendered(name, **context):
    opts = {"cachedir": "/nonexistent", "file_client": "local", "jinja_env": {}, "jinja_sls_env": {}}
    whole = {"opts": opts, "saltenv": None, "sls": "", **context}
    return salt.utils.templates.render_jinja_tmpl((FOLDER / name).read_text(), whole)


def orchestrated(host, pillar=None, asked=None):
    def runner(function, arg):
        (asked if asked is not None else []).append((function, arg))
        return {"mailserver": PILLAR if pillar is None else pillar}

    return rendered("orchestrate.sls", pillar={"mailserver_publish": host}, salt={"saltutil.runner": runner})


IDS = ["mx1", "mx1.example.com", "MX_1", "a:b@c+d-e"]
NO_IDS = [
    "*", "mx*", "mx1,mx2", "mx1\n", "mx1\nmailserver-evil:\n  cmd.run: []", "mx1 or G@os:x", "{{ 7 * 7 }}", "../x", "",
    'mx1"', "mx1'", "-C", "[mx1]", "mx1\x00", "m\u00fc1", "x" * 300, ["mx1"], {"a": 1}, 7, True, None,
]  # fmt: skip


@pytest.mark.parametrize("id", IDS)
def test_the_host_that_an_event_names_is_looked_up_in_the_masters_pillar(id):
    asked = []
    (step,) = yaml.safe_load(orchestrated(id, asked=asked)).values()
    told = {key: value for one in step["salt.function"] for key, value in one.items()}
    assert asked == [("pillar.show_pillar", [id])]
    assert (told["name"], told["tgt"], told["tgt_type"]) == ("dkim.publish_for", "ns1", "glob")
    given = (
        {key: value for one in told["kwarg"] for key, value in one.items()} if isinstance(told["kwarg"], list) else {}
    )
    assert (given or told["kwarg"]) == {"minion": id, "domains": ["alpha.test"], "zones": ["keys.provider.test"]}


@pytest.mark.parametrize("id", NO_IDS, ids=repr)
def test_what_is_no_minions_name_leads_to_nothing(id):
    asked = []
    with pytest.raises(SaltRenderError, match="mailserver: "):
        orchestrated(id, asked=asked)
    assert not asked


@pytest.mark.parametrize("id", [*IDS, *NO_IDS], ids=repr)
def test_a_reactor_passes_on_nothing_but_a_name(id):
    made = yaml.safe_load(
        rendered("reactor.sls", data={"id": id, "data": {"mods": "evil"}}, tag="mailserver/dkim/wanted")
    )
    if not isinstance(id, str):
        assert made is None
        return
    mods, pillar = made["mailserver-publish"]["runner.state.orchestrate"][0]["args"]
    assert mods == {"mods": "mailserver.publisher.orchestrate"}
    assert json.loads(json.dumps(pillar)) == {"pillar": {"mailserver_publish": id, "mailserver_records": False}}


def test_a_host_without_a_publisher_in_the_masters_pillar_gets_none():
    for pillar in ({}, {"dns": None}, {"dns": {"central": None}}, {"domains": None}):
        with pytest.raises(SaltRenderError, match="names no mailserver:dns:central:publisher"):
            orchestrated("mx1", pillar)
