"""The host's settings, its domains' records and how they agree with DNS, under salt-call and with real name servers."""

import base64
import json
import re
import shutil
import subprocess
import sys
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from mailhost.dkim import keystore
from mailhost.dkim.life import KeyRow, Manifest
from mailhost.dkim.run import APPLIED_FORMAT
from name_server import NameServer, zone

TOP = Path(__file__).resolve().parents[2]
SALT_CALL = Path(sys.executable).parent / "salt-call"
AUTHORITY, RESOLVER, NOBODY = "127.54.0.1", "127.54.0.53", "127.54.0.66"
NS = "ns1.lab.test"
PUBLIC = "MIIB" + "A" * 388
NOW = datetime(2026, 11, 24, tzinfo=timezone.utc)

PILLAR = {
    "hostname": "mx1.alpha.test",
    "domain": "alpha.test",
    "addresses": ["192.0.2.25"],
    "dns": {"timeout": 1, "lifetime": 10},
    "domains": {"alpha.test": {"ttl": 60}, "beta.test": {"ttl": 60, "dmarc": {"p": "reject"}}},
}
ALPHA = """
mx1 A 192.0.2.25
@ MX 10 mx1
@ TXT "v=spf1 ip4:192.0.2.25 -all"
@ TXT "another's"
_dmarc TXT "v=DMARC1; p=none"
"""
BETA = """
@ MX 10 old.beta.test.
old A 192.0.2.9
@ TXT "v=spf1 ip4:192.0.2.9 -all"
@ TXT "another's"
"""
PROBE = '''
def settings_after_damage():
    """Damage the settings that a caller got, and return those that the next caller gets."""
    __salt__["mailserver.settings"]()["domains"].clear()
    return __salt__["mailserver.settings"]()


def settings_of(*pillars):
    """Return the host's name in the settings of several pillars, asked for in one process."""
    return [__salt__["mailserver.settings"](pillar)["hostname"] for pillar in pillars]


def ready(lists):
    """Tell of each list of packages whether it is installed; the empty one stands for the formula's own."""
    return [__salt__["mailserver.python_ready"](*([packages] if packages else [])) for packages in lists]
'''


SECRET = base64.b64encode(b"the secret of mx1, long enough").decode()


class Updatable(NameServer):
    """A name server that takes updates from everybody."""

    def _configuration(self):
        return super()._configuration().replace("type primary;", "type primary; allow-update { any; };")


class Host:
    """salt-call on a host of its own: file server, pillar, keys and resolver are in a temporary folder."""

    def __init__(self, home):
        self.home, self.keys = home, home / "keys"
        roots = home / "roots"
        for name in ("mailserver", "_modules", "_states", "_utils", "_output"):
            shutil.copytree(TOP / name, roots / name, ignore=shutil.ignore_patterns("__pycache__"))
        (roots / "_modules" / "probe.py").write_text(PROBE)
        defaults = roots / "mailserver" / "parameters" / "defaults.yaml"
        parameters = yaml.safe_load(defaults.read_text())
        parameters["opendkim"]["keys"] = str(self.keys)
        defaults.write_text(yaml.safe_dump(parameters))
        pillar = home / "pillar"
        pillar.mkdir()
        (pillar / "top.sls").write_text("base: {'*': [mail]}\n")
        self._pillar = pillar / "mail.sls"
        self._minion = home / "minion"
        self.configure()
        self.pillar(PILLAR)
        (home / "resolv.conf").write_text(f"nameserver {RESOLVER}\n")
        (home / "empty").mkdir()
        self.call("saltutil.sync_all")

    def configure(self, osfinger="Debian-12", **grains):
        settings = {
            "root_dir": str(self.home / "root"),
            "id": "mx1",
            "file_client": "local",
            "file_roots": {"base": [str(self.home / "roots")]},
            "pillar_roots": {"base": [str(self.home / "pillar")]},
            "mailserver.dkim_settings": str(self.home / "dkim.json"),
            "mailserver.published": str(self.home),
            "grains": {"osfinger": osfinger, "os_family": "Debian", **grains},
        }
        self._minion.write_text(yaml.safe_dump(settings))

    def apply(self):
        """Put into place what a highstate leaves for dkim.advance and its like."""
        settings = {**self.call("mailserver.settings"), "format": APPLIED_FORMAT}
        (self.home / "dkim.json").write_text(json.dumps(settings))

    def pillar(self, mailserver):
        self._pillar.write_text(json.dumps({"mailserver": mailserver}))

    def run(self, *words, without_dnspython=False):
        """Return salt-call's finished process, run where /etc/resolv.conf names the tests' own resolver."""
        mounts = [f"mount --bind {self.home}/resolv.conf /etc/resolv.conf"]
        if without_dnspython:
            mounts.append(f"mount --bind {self.home}/empty {Path(find_spec('dns').origin).parent}")
        script = " && ".join([*mounts, 'exec "$@"'])
        command = ["unshare", "-m", "sh", "-c", script, "sh", SALT_CALL, "-c", self.home, "--local", "-l", "quiet"]
        return subprocess.run([*command, *words], capture_output=True, text=True, timeout=1200, check=False)

    def call(self, *words, **options):
        """Return what a function returned."""
        done = self.run(*words, "--out=json", **options)
        assert done.stdout.startswith("{"), done.stdout + done.stderr
        return json.loads(done.stdout)["local"]

    def state(self, *words, changes=(), **options):
        """Return the result of the state that looks at the records; it makes these changes."""
        returned = self.call("state.sls_id", "mailserver-dns-records", "mailserver.dns", *words, **options)
        assert isinstance(returned, dict), returned
        (result,) = returned.values()
        assert result["changes"] == dict(changes)
        return result


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    return Host(tmp_path_factory.mktemp("host"))


@pytest.fixture
def authority(tmp_path):
    """A name server with the root, the domains as they are before anything was published, and a resolver beside it."""
    delegations = f"lab NS {NS}.\nns1.lab A {AUTHORITY}\nalpha NS {NS}.\nbeta NS {NS}."
    zones = {
        "": zone([NS], f"test. NS {NS}.\n{NS}. A {AUTHORITY}"),
        "test": zone([NS], delegations),
        "lab.test": zone([NS], f"ns1 A {AUTHORITY}"),
        "alpha.test": zone([NS], ALPHA),
        "beta.test": zone([NS], BETA),
    }
    with (
        Updatable(tmp_path, AUTHORITY, zones, keys={"mx1": SECRET}) as authority,
        NameServer(tmp_path, RESOLVER, root_servers=[AUTHORITY]),
    ):
        yield authority


@pytest.fixture
def pillar(host):
    """Change the host's pillar for one test."""
    yield lambda **changed: host.pillar({**PILLAR, **changed})
    host.pillar(PILLAR)


@pytest.fixture(scope="module")
def manifest(host):
    """Keys of alpha.test in three stages: one in use, one revoked, one of which nothing is in DNS any more."""
    host.keys.joinpath("alpha.test").mkdir(parents=True)
    stamps = {"published": NOW, "signing": NOW, "retired": NOW}
    keys = (
        KeyRow("old", "rsa", 2048, "", NOW, **stamps, revoked=NOW, removed=NOW),
        KeyRow("gone", "rsa", 2048, PUBLIC, NOW, **stamps, revoked=NOW),
        KeyRow("now", "rsa", 2048, PUBLIC, NOW),
    )
    keystore.write_manifest(host.keys, Manifest("alpha.test", keys))
    host.apply()


ZONE_LINES = [
    "mx1.alpha.test. 60 IN A 192.0.2.25",
    "alpha.test. 60 IN MX 10 mx1.alpha.test.",
    'alpha.test. 60 IN TXT "v=spf1 ip4:192.0.2.25 -all"',
    '_dmarc.alpha.test. 60 IN TXT "v=DMARC1; p=none"',
    "; 25.2.0.192.in-addr.arpa. 60 IN PTR mx1.alpha.test.",
    'gone._domainkey.alpha.test. 60 IN TXT "v=DKIM1; k=rsa; p="',
    f'now._domainkey.alpha.test. 60 IN TXT ( "v=DKIM1; k=rsa; p={PUBLIC[:237]}" "{PUBLIC[237:]}" )',
]


def test_a_domains_records_are_lines_of_a_zone_on_the_terminal(host, manifest):
    shown = host.run("mailserver.records", "alpha.test", "format=zone").stdout.splitlines()
    assert shown == ["local:", *(f"    {line}" for line in ZONE_LINES)]
    lines = host.run("mailserver.records", "alpha.test", "format=zone", "--out=txt").stdout.splitlines()
    assert lines == [f"local: {line}" for line in ZONE_LINES]


def test_all_records_of_all_domains_are_data_and_json(host, manifest):
    data = host.call("mailserver.records")
    assert [(one["type"], one["name"]) for one in data] == [
        ("A", "mx1.alpha.test"),
        ("MX", "alpha.test"),
        ("TXT", "alpha.test"),
        ("TXT", "_dmarc.alpha.test"),
        ("PTR", "25.2.0.192.in-addr.arpa"),
        ("TXT", "gone._domainkey.alpha.test"),
        ("TXT", "now._domainkey.alpha.test"),
        ("MX", "beta.test"),
        ("TXT", "beta.test"),
        ("TXT", "_dmarc.beta.test"),
    ]
    assert "".join(data[6]["strings"]) == data[6]["value"] == f"v=DKIM1; k=rsa; p={PUBLIC}"
    assert json.loads(host.call("mailserver.records", "format=json")) == data


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("mailserver.records", "alfa.test"),
            "alfa.test is not among the domains of this host; did you mean 'alpha.test'",
        ),
        (("mailserver.records", "format=zones"), "no format 'zones'; did you mean 'zone'?"),
        (("mailserver.settings", "saltenv=dev"), "defaults.yaml is not on the file server in the environment 'dev'"),
        (("mailserver.settings", "{domans: {}}"), "mailserver:domans: unknown key; did you mean 'domains'?"),
    ],
)
def test_what_is_asked_for_wrongly_is_refused_with_the_nearest_right_name(host, words, message):
    done = host.run(*words)
    assert done.returncode != 0
    assert message in done.stdout + done.stderr


UNKNOWN = [("Plan 9-4", "lab", "Plan 9-4"), ("Debian-n/a", "duke", "Debian-duke")]


@pytest.mark.parametrize(("osfinger", "oscodename", "named"), UNKNOWN)
def test_a_system_that_is_not_known_is_named(host, osfinger, oscodename, named):
    host.configure(osfinger=osfinger, oscodename=oscodename)
    try:
        done = host.run("mailserver.settings")
    finally:
        host.configure()
    assert f"{named} is not among the systems that this formula knows: AlmaLinux-10," in done.stdout + done.stderr


@pytest.mark.parametrize("osfinger", ["Debian-forky/sid", "Debian-n/a"])
def test_a_debian_that_has_no_number_yet_is_known_by_its_code_name(host, osfinger):
    host.configure(osfinger=osfinger, oscodename="forky")
    try:
        assert host.call("mailserver.settings")["os"]["postfix"]["version"] == "3.11"
    finally:
        host.configure()


def test_settings_have_the_values_of_the_pillar_and_of_the_system(host):
    settings = host.call("mailserver.settings")
    assert settings["domains"]["beta.test"]["dmarc"]["p"] == "reject"
    assert settings["os"]["postfix"]["version"] == "3.7"
    assert settings["os"]["postfix"]["sasl_folder"] == "/etc/postfix/sasl"
    assert settings["os"]["opendkim"]["keys"] == str(host.keys)


def test_settings_of_one_caller_cannot_be_damaged_by_another(host):
    assert list(host.call("probe.settings_after_damage")["domains"]) == ["alpha.test", "beta.test"]


def test_a_changed_pillar_never_gets_the_settings_of_the_old_one(host):
    first, second = {"hostname": "a.example"}, {"hostname": "b.example"}
    names = host.call("probe.settings_of", *map(json.dumps, (first, second, first)))
    assert names == ["a.example", "b.example", "a.example"]


def test_python_is_ready_when_all_packages_are_there_in_versions_that_serve(host):
    questions = {
        (): True,
        ("dnspython",): True,
        ("dnspython>=2.6,<3", "DkimPy >=1"): True,
        ("dnspython>=2.6", "no-such-package-here"): False,
        ("dnspython>=999",): False,
    }
    assert host.call("probe.ready", json.dumps([list(packages) for packages in questions])) == [*questions.values()]


def test_records_as_wanted_are_told_in_a_few_lines_and_the_others_with_the_line_to_publish(host, authority):
    result = host.state()
    assert result["result"] is True
    comment = result["comment"].splitlines()
    assert comment[:4] == [
        "5 of 8 as wanted in DNS, 1 absent, 2 different",
        "mx1.alpha.test: A, AAAA as wanted",
        "alpha.test: MX, SPF, DMARC as wanted",
        f"beta.test: MX is different: {NS} ({AUTHORITY}): the MX record lacks mx1.alpha.test and has old.beta.test, "
        "of which this host's pillar says nothing (domains:NAME:hosts).",
    ]
    assert comment[4:11] == [
        "  To publish, as a line of the zone:",
        "    beta.test. 60 IN MX 10 old.beta.test.",
        "    beta.test. 60 IN MX 20 mx1.alpha.test.",
        "  To publish, as one string:",
        "    10 old.beta.test",
        "    20 mx1.alpha.test",
        "  Its name, in a form that adds the zone beta.test by itself:",
    ]
    assert '    _dmarc.beta.test. 60 IN TXT "v=DMARC1; p=reject"' in comment
    assert '    beta.test. 60 IN TXT "v=spf1 ip4:192.0.2.25 ip4:192.0.2.9 -all"' in comment
    mx, spf, dmarc = result["warnings"]
    assert comment[3] == mx
    assert "lacks ip4:192.0.2.25" in spf
    assert f"DMARC is absent: {NS} ({AUTHORITY}) shows no TXT at _dmarc.beta.test" in dmarc
    again = host.state("test=True")
    assert {name: again[name] for name in ("result", "comment", "warnings")} == {
        name: result[name] for name in ("result", "comment", "warnings")
    }


def test_keys_are_emitted_as_a_zone_file_of_octodns_for_each_domain(host, manifest):
    made = host.call("dkim.records", "alpha.test", "format=octodns")
    assert list(made) == ["alpha.test"]
    assert yaml.safe_load(made["alpha.test"]) == {
        "gone._domainkey": {"ttl": 60, "type": "TXT", "value": "v=DKIM1\\; k=rsa\\; p="},
        "now._domainkey": {"ttl": 60, "type": "TXT", "value": f"v=DKIM1\\; k=rsa\\; p={PUBLIC}"},
    }


def test_keys_go_by_what_the_last_highstate_put_in_force_and_not_by_the_pillar(host, manifest, pillar):
    pillar(domains={})
    assert list(host.call("dkim.status")) == ["alpha.test", "beta.test"]
    assert host.call("dkim.status")["alpha.test"]["now"]["waits"].startswith("DNS must show its record")
    applied = host.home / "dkim.json"
    text = applied.read_text()
    try:
        newer = json.dumps({**json.loads(text), "format": 99})
        for wrong, said in (
            ("{", "damaged"),
            (newer, "another version of the formula wrote it"),
            (None, "no highstate has put settings for DKIM in force"),
        ):
            applied.write_text(wrong) if wrong else applied.unlink()
            done = host.run("dkim.advance")
            assert done.returncode != 0
            assert f"{applied}: {said}" in done.stdout + done.stderr
            assert "run a highstate" in done.stdout + done.stderr
            assert "Traceback" not in done.stdout + done.stderr
    finally:
        applied.write_text(text)


def test_strict_fails_for_what_is_absent_or_different_and_never_for_what_is_unknown(host, authority, pillar):
    pillar(dns={**PILLAR["dns"], "strict": True})
    assert host.state()["result"] is False
    authority.stop()
    result = host.state()
    assert result["result"] is True
    assert result["comment"].startswith("0 of 8 as wanted in DNS, 8 unknown")
    assert "To publish" not in result["comment"]


def test_people_read_text_on_the_terminal(host, authority, manifest):
    head, columns, *rows = host.run("mailserver.records", "alpha.test").stdout.splitlines()
    assert (head, columns.split()) == ("local: 7 records", ["name", "ttl", "type", "value"])
    assert rows[-1].split(maxsplit=3)[3] == f"v=DKIM1; k=rsa; p={PUBLIC}"
    plan = host.run("dkim.plan").stdout.splitlines()
    assert (plan[0], plan[1], plan[2].split()[0]) == ("local:", "  Errors:", "alpha.test:")
    assert {"  Changes:", "  Notes:"} <= set(plan)
    found = host.run("mailserver.check", "alpha.test", "area=dns").stdout
    assert re.match(r"local: (\d+ fail, )?(\d+ unknown, )?\d+ warn, \d+ ok\n", found), found
    assert f'\n            now._domainkey.alpha.test. 60 IN TXT ( "v=DKIM1; k=rsa; p={PUBLIC[:237]}" ' in found


def test_what_nsupdate_publishes_is_as_wanted_and_takes_nobody_elses_record_away(host, authority, manifest, pillar):
    authority.serve(**{"alpha.test": zone([NS], f'{ALPHA}\nnow._domainkey TXT "v=DKIM1\\; k=rsa; p={PUBLIC[:200]}"')})
    text = host.call("mailserver.records", "format=nsupdate")
    done = subprocess.run(
        ["nsupdate"], input=f"server {AUTHORITY}\n{text}", capture_output=True, text=True, timeout=600, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), text
    held = {rdata.to_text() for rdata in authority.query("beta.test", "TXT").answer[0]}
    assert held == {'"another\'s"', '"v=spf1 ip4:192.0.2.25 ip4:192.0.2.9 -all"'}
    (key,) = authority.query("now._domainkey.alpha.test", "TXT").answer[0]
    assert b"".join(key.strings).decode() == f"v=DKIM1; k=rsa; p={PUBLIC}"
    pillar(domains={**PILLAR["domains"], "beta.test": {**PILLAR["domains"]["beta.test"], "mx": []}})
    result = host.state()
    assert "warnings" not in result
    assert result["comment"].startswith("7 of 7 as wanted in DNS\n")
    again = host.call("mailserver.records", "format=nsupdate").splitlines()
    assert all(line.startswith(";") for line in again)


def test_without_dnspython_a_dry_run_says_so_and_a_run_fails(host, pillar):
    dry = host.state("test=True", without_dnspython=True)
    assert dry["result"] is None
    assert "salt-pip install dnspython" in dry["comment"]
    wet = host.state(without_dnspython=True)
    assert wet["result"] is False
    assert "salt-pip install dnspython" in wet["comment"]


def test_a_plan_without_dnspython_says_so_and_is_no_traceback(host, manifest):
    done = host.run("dkim.plan", without_dnspython=True)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "salt-pip install dnspython" in said
    assert "Traceback" not in said


@pytest.fixture
def publishing(host, authority, pillar):
    """The host sends its records to the authority by itself; what it published before is forgotten."""
    key = host.home / "rfc2136.key"
    key.write_text(f'key "mx1" {{ algorithm hmac-sha256; secret "{SECRET}"; }};')
    key.chmod(0o600)
    for old in host.home.glob("published*.json"):
        old.unlink()
    domains = {"alpha.test": {"ttl": 60, "tls_rpt": {"rua": ["mailto:tls@alpha.test"]}}, "beta.test": {"ttl": 60}}
    rfc2136 = {"server": AUTHORITY, "key_file": str(key)}
    dns = {**PILLAR["dns"], "publish": "rfc2136", "rfc2136": rfc2136}
    return lambda **more: pillar(domains=domains, dns={**dns, **more})


def test_records_are_planned_then_published_with_the_call_that_operators_make(host, authority, publishing):
    publishing()
    plan = {row["name"]: row for row in host.call("mailserver.publish", "test=True")}
    assert plan["beta.test"]["result"] == "refused"
    assert plan["beta.test"]["now"] == ["v=spf1 ip4:192.0.2.9 -all"]
    assert plan["_dmarc.beta.test"]["result"] == plan["_smtp._tls.alpha.test"]["result"] == "due"
    done = host.run("mailserver.publish", "--out=json", "--retcode-passthrough")
    assert done.returncode == 2
    told = json.loads(done.stdout)["local"]
    assert told["sent"] == ["_smtp._tls.alpha.test", "_dmarc.beta.test"]
    assert told["already"] == ["alpha.test", "_dmarc.alpha.test"]
    assert 'A record for both is "v=spf1 ip4:192.0.2.25 ip4:192.0.2.9 -all"' in told["refused"][0]
    assert host.call("mailserver.publish", "alpha.test")["already"][-1] == "_smtp._tls.alpha.test"


def test_a_run_publishes_what_dns_does_not_show_if_the_pillar_says_so(host, authority, publishing):
    publishing(publish_records=True)
    dry = host.state("test=True")
    assert dry["result"] is None
    assert dry["comment"].startswith("2 records would be published: _smtp._tls.alpha.test, _dmarc.beta.test")
    wet = host.state(changes={"_smtp._tls.alpha.test": "published", "_dmarc.beta.test": "published"})
    assert wet["result"] is True
    assert any("Publishing failed: " in text and "v=spf1 ip4:192.0.2.9 -all" in text for text in wet["warnings"])
    again = host.state()
    assert "alpha.test: MX, SPF, DMARC, TLS-RPT as wanted" in again["comment"]
    assert "beta.test: DMARC as wanted" in again["comment"]
