"""Every SLS, on every system and with every line of Salt, and what differs between the systems in what comes of it."""

import json
import re

import pytest
import yaml

from render import slses
from worlds import LINES, SYSTEMS, TOP

EACH = [(system, line) for system, about in SYSTEMS.items() for line in about.lines]
PARAMETERS = TOP / "mailserver" / "parameters"
EL = [name for name in SYSTEMS if not name.startswith(("debian", "ubuntu"))]


@pytest.mark.parametrize(("system", "line"), EACH)
def test_every_sls_renders_with_requisites_that_are_met_and_states_that_there_are(rendered, system, line):
    found = rendered[system, line]
    assert "broke" not in found, found["broke"]
    for name, one in found["pillars"].items():
        assert one["wrong"] == {}, name
        assert one["rendered"] == slses()
        assert {"/etc/postfix/main.cf", "/etc/postfix/master.cf", "/etc/opendkim.conf"} < set(one["files"])


def without_minions_own(files):
    return {path: text for path, text in files.items() if "minion.d" not in path}


@pytest.mark.parametrize("system", [system for system, about in SYSTEMS.items() if len(about.lines) > 1])
def test_all_lines_of_salt_write_the_same_files(rendered, system):
    for pillar in SYSTEMS[system].pillars:
        wrote = []
        for line in LINES:
            files = without_minions_own(rendered.files(system, pillar, line=line))
            # Each line of Salt here has a Python of its own, which the reflector runs.
            wrote.append({path: re.sub(r"^/\S+/python ", "", text, flags=re.M) for path, text in files.items()})
        assert wrote[0] == wrote[1] == wrote[2]


@pytest.mark.parametrize("system", [system for system, about in SYSTEMS.items() if about.kin])
def test_a_system_gets_the_files_of_its_kin_which_parsers_read(rendered, system):
    own, theirs = (without_minions_own(rendered.files(name)) for name in (system, SYSTEMS[system].kin))
    shown = [json.loads(files.pop("/etc/mailserver/settings.json")) for files in (own, theirs)]
    for settings in shown:
        del settings["os"]["repositories"]  # the packages are the same, and come from elsewhere
    assert shown[0] == shown[1]
    assert own == theirs


def test_each_system_that_the_formula_has_parameters_for_is_rendered_or_like_one_that_is():
    releases = yaml.safe_load((PARAMETERS / "releases.yaml").read_text())
    known = {name for name in releases if name.rpartition("-")[0] not in ("CentOS Linux", "CentOS Stream")}
    titles = {"Rocky Linux": "rocky", "AlmaLinux": "alma", "Red Hat Enterprise Linux": "rhel", "Debian": "debian"}
    titles |= {"Oracle Linux Server": "oracle", "Ubuntu": "ubuntu"}
    short = {
        f"{titles[name]}-{release}" for name, _, release in (one.rpartition("-") for one in known) if name in titles
    }
    assert short - set(SYSTEMS) == {"oracle-7", "oracle-10", "debian-14"}
    assert releases["Debian-14"] == releases["Debian-forky"]
    assert releases["Oracle Linux Server-10"]["postfix"] == releases["Rocky Linux-10"]["postfix"]
    assert releases["Oracle Linux Server-7"]["postfix"] == releases["CentOS Linux-7"]["postfix"]


DIFFERENCES = [
    ("centos-7", ["hash:/etc/aliases", "smtpd_tls_cert_file", "texthash:"], ["smtpd_tls_chain_files", "inline:"]),
    ("rocky-8", ["hash:/etc/aliases", "smtpd_discard_ehlo_keywords = chunking"], ["smtpd_forbid_bare_newline"]),
    ("rocky-9", ["hash:/etc/aliases", "smtpd_forbid_bare_newline = normalize"], [">=TLSv1.2", "lmdb:"]),
    ("rocky-10", ["lmdb:/etc/aliases", ">=TLSv1.2", "compatibility_level = 3.6"], ["hash:", "btree:"]),
    ("debian-11", ["hash:/etc/aliases", "smtpd_forbid_bare_newline = normalize"], [">=TLSv1.2", "lmdb:"]),
    ("debian-12", ["hash:/etc/aliases", "cyrus_sasl_config_path = /etc/postfix/sasl"], ["lmdb:"]),
    ("debian-forky", ["cdb:/etc/aliases", "compatibility_level = 3.11"], ["hash:", "btree:"]),
    ("ubuntu-22.04", ["smtpd_discard_ehlo_keywords = chunking", ">=TLSv1.2"], ["smtpd_forbid_bare_newline"]),
    ("ubuntu-26.04", ["smtpd_forbid_bare_newline = normalize"], ["lmdb:"]),
]


@pytest.mark.parametrize(("system", "present", "absent"), DIFFERENCES, ids=[row[0] for row in DIFFERENCES])
def test_main_cf_is_that_of_the_systems_postfix(rendered, system, present, absent):
    text = rendered.files(system)["/etc/postfix/main.cf"]
    assert [words for words in present if words not in text] == []
    assert [words for words in absent if words in text] == []


@pytest.mark.parametrize("system", SYSTEMS)
def test_master_cf_is_that_of_the_systems_postfix(rendered, system):
    text = rendered.files(system)["/etc/postfix/master.cf"]
    assert ("-o {" in text, "postlogd" in text) == ((False, False) if system == "centos-7" else (True, True))
    services = [line.split()[4] for line in text.splitlines() if line.startswith("cleanup ")]
    assert services == ["n" if system in EL else "y"]


@pytest.mark.parametrize(("system", "ports", "booleans"), [("rocky-9", [8892], {"httpd_can_sendmail": True})])
def test_el_labels_a_milters_port_that_its_policy_does_not_know(rendered, system, ports, booleans):
    assert rendered.pillar(system)["settings"]["selinux"] == {"enabled": True, "booleans": {}, "milter_ports": []}
    chosen = rendered.pillar(system, "choices")["settings"]["selinux"]
    assert chosen == {"enabled": True, "booleans": booleans, "milter_ports": ports}


@pytest.mark.parametrize("system", SYSTEMS)
def test_only_el_has_selinux_and_repositories_of_others(rendered, system):
    settings = rendered.pillar(system)["settings"]
    assert settings["selinux"]["enabled"] is (system in EL)
    assert settings["repositories"]["install"] is (system in EL)


SYSTEM_TABLE = {
    "centos-7": "2.10.1",
    "rocky-8": "3.5.8",
    "rocky-9": "3.5.25",
    "rocky-10": "3.8.5",
    "debian-11": "3.5.25",
    "debian-12": "3.7",
    "debian-13": "3.10",
    "debian-forky": "3.11",
    "ubuntu-22.04": "3.6.4",
    "ubuntu-24.04": "3.8.6",
    "ubuntu-26.04": "3.10.6",
}


@pytest.mark.parametrize(("system", "version"), SYSTEM_TABLE.items())
def test_a_system_has_its_version_of_postfix_and_its_kin_the_same(rendered, system, version):
    release = system.rpartition("-")[2]
    kin = [name for name in EL if system in EL and name.endswith(f"-{release}")] or [system]
    assert {rendered.pillar(name)["settings"]["os"]["postfix"]["version"] for name in kin} == {version}
