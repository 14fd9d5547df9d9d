"""The rendered files, read by the daemons' own parsers, and Postfix's parameters as its own versions see them."""

import contextlib
import re
from pathlib import Path

import pytest

from mailserver_postfix import is_parameter
from mailserver_postfix_versions import PARAMETERS, knows, parsed
from worlds import SYSTEMS, host

ALL = [(system, pillar) for system, about in SYSTEMS.items() for pillar in about.pillars if not about.kin]


def of(rendered, system, pillar):
    return rendered[system, "3006"]["pillars"][pillar]


@pytest.fixture
def on(rendered, parsers, tmp_path):
    """A function that opens the host of a parser with a system's files in place."""

    @contextlib.contextmanager
    def opened(system, pillar, parser=None, place="host"):
        tree = Path(of(rendered, system, pillar)["files"]["/etc/postfix/main.cf"]).parents[2]
        with host(parsers[parser or SYSTEMS[system].parser], tree, tmp_path / place) as says:
            if system in ("rocky-10", "ubuntu-24.04"):  # Postfix 3.8, and their parser is 3.7
                assert says("sed -i '/^tls_ffdhe_auto_groups =/d' /etc/postfix/main.cf") == (0, "")
            yield says

    return opened


@pytest.mark.parametrize(("system", "pillar"), ALL)
def test_postfix_takes_both_files_and_knows_each_parameter(on, system, pillar):
    with on(system, pillar) as says:
        status, said = says(
            "postfix -c /etc/postfix check && postconf -n >/dev/null && postconf -P >/dev/null && postconf -M"
        )
        assert status == 0, said
        assert not re.search(r"warning|fatal|unused|unknown", said), said
        assert "submission" in said
        for name in ("main.cf", "master.cf"):
            check = f"sh /usr/local/libexec/mailserver/check-postfix /etc/postfix {name} /etc/postfix/{name}"
            assert says(check) == (0, "")
        assert says("postmap -q alice@example.test regexp:/etc/postfix/sender_login; :")[0] == 0


def used(files):
    """The parameters of main.cf, and of the options of master.cf, by what they are called."""
    main = Path(files["/etc/postfix/main.cf"]).read_text()
    master = Path(files["/etc/postfix/master.cf"]).read_text()
    return {*re.findall(r"^(\w+) =", main, re.MULTILINE), *re.findall(r"^  -o \{? ?(\w+) ?=", master, re.MULTILINE)}


@pytest.mark.parametrize(("system", "pillar"), ALL)
def test_postfix_of_that_version_knows_each_parameter(rendered, system, pillar):
    found = of(rendered, system, pillar)
    version = found["settings"]["os"]["postfix"]["version"]
    names = used(found["files"])
    assert {"myhostname", "smtpd_banner"} <= names
    assert [name for name in names if name in PARAMETERS and not knows(version, name)] == []
    assert {name for name in names if not is_parameter(name)} <= {"mua_rules"}


@pytest.mark.parametrize(("system", "pillar"), ALL)
def test_dovecot_of_the_right_language_takes_its_file(on, system, pillar):
    with on(system, pillar) as says:
        if system == "centos-7":
            assert says("grep -c '^ssl_protocols = ' /etc/dovecot/dovecot.conf") == (0, "1\n")
            says("sed -i 's/^ssl_protocols = .*/ssl_min_protocol = TLSv1.2/' /etc/dovecot/dovecot.conf")
        says("mkdir -p /run/dovecot && ln -s /etc/dovecot/dovecot.conf /run/dovecot/")  # as where Dovecot runs
        status, said = says("doveconf -n -c /etc/dovecot/dovecot.conf")
        assert status == 0, said
        assert not re.search(r"Warning|Error|Obsolete", said), said
        assert "protocols" in said


@pytest.mark.parametrize("system", ["debian-12", "debian-13"])
def test_dovecot_of_the_other_language_refuses_it(on, system):
    other = {"debian-12": "trixie", "debian-13": "bookworm"}[system]
    with on(system, "default", parser=other) as says:
        assert says("doveconf -n -c /etc/dovecot/dovecot.conf")[0] != 0


@pytest.mark.parametrize(("system", "pillar"), ALL)
def test_opendkim_takes_its_file(on, system, pillar):
    with on(system, pillar) as says:
        says("cd /etc/opendkim && touch KeyTable SigningTable SigningTable.domains")
        assert says("opendkim -n -x /etc/opendkim.conf") == (0, "")


@pytest.mark.parametrize(("system", "pillar"), ALL)
def test_firewalld_knows_the_services_and_takes_its_configuration(on, rendered, system, pillar):
    wanted = of(rendered, system, pillar)["settings"]["firewalld"]
    services = " ".join(f"--add-service={name}" for name in wanted["services"])
    ports = " ".join(f"--add-port={name}" for name in wanted["ports"])
    with on(system, pillar) as says:
        for words in (services, ports):
            assert words
            status, said = says(f"firewall-offline-cmd --zone={wanted['zone']} {words}")
            assert status == 0, said
        status, said = says("firewall-offline-cmd --check-config")
        assert status == 0, said
        assert not re.search("error|warning", said, re.IGNORECASE), said


@pytest.mark.parametrize(("system", "pillar"), ALL)
def test_saslauthd_and_its_unit_are_read_by_the_shell_and_the_others_by_nobody(on, rendered, system, pillar):
    files = of(rendered, system, pillar)["files"]
    path = next((path for path in files if path.endswith("/saslauthd")), None)
    assert (path is None) is (pillar in ("choices", "virtual"))  # Dovecot checks logins
    with on(system, pillar) as says:
        assert path is None or says(f"sh -n {path} && . {path}") == (0, "")


WRONG = [
    ("echo smtpd_bogus = 1 >>/etc/postfix/main.cf", "{check} main.cf /etc/postfix/main.cf", "smtpd_bogus"),
    (
        "sed -i 's/^alias_maps = .*/alias_maps = dbm:x/' /etc/postfix/main.cf",
        "{check} main.cf /etc/postfix/main.cf",
        "dbm",
    ),
    ("echo 'pickup unix' >>/etc/postfix/master.cf", "{check} master.cf /etc/postfix/master.cf", "bad"),
    ("echo 'mail_bogus = 1' >>/etc/dovecot/dovecot.conf", "doveconf -n -c /etc/dovecot/dovecot.conf", "mail_bogus"),
    ("echo 'Bogus yes' >>/etc/opendkim.conf", "opendkim -n -x /etc/opendkim.conf", "unrecognized parameter"),
    (":", "firewall-offline-cmd --zone=public --add-service=bogus", "bogus"),
    ("echo '<zone' >/etc/firewalld/zones/public.xml", "firewall-offline-cmd --check-config", "zone"),
]


@pytest.mark.parametrize("system", ["rocky-9", "rocky-10", "debian-13"])
def test_the_parsers_refuse_what_is_wrong(on, system):
    check = "sh /usr/local/libexec/mailserver/check-postfix /etc/postfix"
    for number, (harm, asked, word) in enumerate(WRONG):
        with on(system, "default", place=f"host-{number}") as says:
            assert says(harm)[0] == 0
            status, said = says(asked.format(check=check))
            assert status != 0, (harm, said)
            assert word in said


@pytest.mark.parametrize("release", ["bullseye", "bookworm", "trixie"])
def test_the_table_says_what_postfix_itself_says_of_its_parameters(parsers, tmp_path, release):
    (tmp_path / "tree/etc/staged").mkdir(parents=True)
    (tmp_path / "tree/etc/staged/main.cf").write_text("".join(f"{name} = 1\n" for name in sorted(PARAMETERS)))
    with host(parsers[release], tmp_path / "tree", tmp_path / "host") as says:
        version = says("postconf -h mail_version")[1].strip()
        says("cp /etc/postfix/master.cf /etc/staged/")
        said = says("postconf -c /etc/staged -n")[1]
        own = says("postconf -d")[1]
    refused = set(re.findall(r"unused parameter: (\w+)=", said))
    assert len(parsed(version)) == 3
    assert refused == {name for name in PARAMETERS if not knows(version, name)}
    listed = set(re.findall(r"^(\w+) =", own, re.MULTILINE))
    assert {name for name in listed if not (is_parameter(name) and knows(version, name))} == set()
