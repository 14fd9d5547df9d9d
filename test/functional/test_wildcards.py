"""A key's life in zones that answer for every name: wildcards of CNAME and TXT at each level, on a real BIND."""

import base64
from dataclasses import replace
from functools import partial

import dns.name
import dns.tsig
import dns.update
import pytest

from lifecycle_world import at
from mailhost.dkim import check as dkim_check
from mailhost.dkim import keystore
from mailhost.dkim import make as dkim_make
from mailhost.dkim.records import record_of
from mailhost.dkim.run import Run, SigningPaths
from mailhost.dns import lookup, wildcards
from mailhost.opendkim import tables as opendkim_tables
from mailhost.pillar import settings as pillar_settings
from mailhost.records import nsupdate
from mailhost.records import wants as records_wants
from name_server import LIMIT, NameServer, zone

AUTHORITY, RESOLVER = "127.57.0.1", "127.57.0.53"
KEY, SECRET = "mx1", base64.b64encode(b"a secret of this test alone").decode()
WEB = "web A 192.0.2.80\nweb TXT google-site-verification=1\n"
SPF = '@ TXT "v=spf1 -all"\n'
WILD = {
    "every-name-is-web": f"{WEB}* CNAME web",
    "web-has-no-text": "web A 192.0.2.80\n* CNAME web",
    "every-name-is-the-apex": f"{SPF}* CNAME @",
    "keys-are-web": f"{WEB}*._domainkey CNAME web",
    "out-of-the-zone": "* CNAME web.elsewhere.test.",
    "to-nowhere": "* CNAME nothing.invalid.",
    "parked": '*._domainkey TXT "v=DKIM1; p="',
    "parked-whole": '* TXT "v=DKIM1; p="',
    "every-name-has-spf": '* TXT "v=spf1 -all"',
    "keys-have-spf": f'{WEB}* CNAME web\n*._domainkey TXT "v=spf1 -all" "x"',
    "another-key": f'*._domainkey TXT "v=DKIM1; k=rsa; p={base64.b64encode(bytes(160)).decode()}"',
    "several": '* TXT "one"\n* TXT "two"\n*._domainkey TXT three\n*._domainkey TXT four',
    "addresses-too": f"{WEB}* A 192.0.2.1\n* MX 10 web\n*._domainkey TXT anything",
    "plain": WEB,
}
NAMES = tuple(f"{name}.test" for name in WILD)


class Host:
    """A host that publishes the keys of its domains by RFC 2136."""

    def __init__(self, folder, server):
        tables = opendkim_tables.tables(folder / "KeyTable", folder / "SigningTable")
        self.paths = SigningPaths(str(folder / "keys"), tables, keystore.Owner("root", "root"))
        self.server, self.ask = server, partial(lookup.ask, recursive=(RESOLVER,))
        rfc2136 = {"server": AUTHORITY, "key_file": str(folder / "key")}
        pillar = {
            "domain": NAMES[0],
            "domains": {name: {"ttl": 60} for name in NAMES},
            "dns": {"publish": "rfc2136", "rfc2136": rfc2136, "timeout": 2},
        }
        self.settings = pillar_settings.resolve(pillar, {"postfix": {"version": "3.7"}}, {"fqdn": "mx1.lab.test"})

    def run(self, hours):
        return Run(self.paths, self.settings["domains"], self.settings["dns"], at(hours), ask=self.ask)

    def check_dns(self, hours):
        run = self.run(hours)
        return dkim_check.check_published(run, lambda run: run.now, dkim_check.publisher(run))

    def key(self, name):
        return keystore.read_manifest(self.paths.keys, name).keys[0]

    def stages(self):
        return {name: self.key(name).stage for name in NAMES}

    def retire(self, name, hours):
        """Have a key be one that signed, and was retired long ago."""
        manifest = keystore.read_manifest(self.paths.keys, name)
        key = replace(manifest.keys[0], signing=at(hours), retired=at(hours))
        keystore.write_manifest(self.paths.keys, manifest.with_key(key))

    def held(self, name):
        """What the server shows at a name."""
        answer = self.server.query(name, "TXT").answer
        return [b"".join(one.strings).decode() for part in answer for one in part if one.rdtype == 16]

    def is_there(self, name):
        """Tell whether anything is at a name itself: what an update requires sees no wildcard."""
        message = dns.update.UpdateMessage(
            name.partition("._domainkey.")[2], keyring=dns.tsig.Key(KEY, SECRET, "hmac-sha256")
        )
        message.present(dns.name.from_text(name))
        return dns.query.tcp(message, AUTHORITY, timeout=LIMIT).rcode() == 0


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wildcards")
    (folder / "key").write_text(f'key "{KEY}" {{ algorithm hmac-sha256; secret "{SECRET}"; }};')
    (folder / "key").chmod(0o600)
    root = zone(["ns.test"], f"test NS ns.test.\nns.test. A {AUTHORITY}")
    test = zone(
        ["ns.test"], "\n".join([f"ns A {AUTHORITY}", *(f"{name}. NS ns" for name in (*NAMES, "elsewhere.test"))])
    )
    zones = {"": root, "test": test, "elsewhere.test": zone(["ns.test"], WEB)}
    zones |= {name: zone(["ns.test"], text) for name, text in zip(NAMES, WILD.values(), strict=True)}
    policy = dict.fromkeys(NAMES, f"update-policy {{ grant {KEY} zonesub ANY; }};")
    with (
        NameServer(folder, AUTHORITY, zones, zone_options=policy, keys={KEY: SECRET}) as server,
        NameServer(folder, RESOLVER, root_servers=(AUTHORITY,)),
    ):
        yield Host(folder, server)


def told(report):
    return "\n".join([*report.waiting, *report.errors])


@pytest.fixture(scope="module")
def life(host):
    """All keys go their way at once; what became of them at each station, and what was said."""
    dkim_make.make_keys(host.run(0), "mx1.lab.test")
    before = dkim_check.check_published(host.run(0), lambda run: run.now)
    records = {name: record_of(name, host.settings["domains"][name], host.key(name)) for name in NAMES}
    stations = [(before, host.stages(), {})]
    for hours in (1, 1001, 2001):
        if hours == 1001:
            for name in (name for name, stage in host.stages().items() if stage == "published"):
                host.retire(name, 2)
        report = host.check_dns(hours)
        held = {name: (host.is_there(one.name), host.held(one.name)) for name, one in records.items()}
        stations.append((report, host.stages(), held))
    return records, stations


@pytest.mark.parametrize("name", NAMES)
def test_a_key_that_only_a_wildcard_answers_for_is_absent_and_published_at_its_own_name(host, life, name):
    records, ((before, first, _), (report, stages, held), *_) = life
    assert first[name] == "generated"
    said = next(text for text in before.waiting if text.startswith(f"{name}: "))
    assert "is not in DNS" in said
    wild = name not in ("plain.test", "to-nowhere.test")
    assert not wild or "a wildcard (*) above it" in said
    assert held[name] == (True, [records[name].value])
    assert stages[name] == "published", told(report)
    assert not any(records[name].value in host.held(place) for place in (name, f"web.{name}"))


@pytest.mark.parametrize("name", NAMES)
def test_a_key_is_revoked_and_then_removed_whatever_a_wildcard_answers(life, name):
    _, (*_, (report, stages, held), (last, end, gone)) = life
    assert stages[name] == "revoked", told(report)
    assert held[name] == (True, ["v=DKIM1; k=rsa; p="])
    assert end[name] == "removed", told(last)
    assert gone[name][0] is False


@pytest.mark.parametrize("name", NAMES)
def test_nsupdate_text_is_for_the_name_itself(host, life, name):
    record = replace(life[0][name], name=f"another._domainkey.{name}")
    asked = records_wants.text_questions([record])
    answers = wildcards.unmasked(host.ask(asked, lookup.Options()), lambda more: host.ask(more, lookup.Options()))
    text = nsupdate.nsupdate([record], records_wants.present(answers))
    assert f"prereq nxrrset {record.name}. IN TXT" in text
    assert f"update add {record.name}. 60 IN TXT" in text
