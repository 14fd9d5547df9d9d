"""The rendered files, read by the daemons' own parsers, and Postfix's parameters as its own versions see them."""

import re

import pytest

from kept import RELEASES
from mailhost.postfix.versions import PARAMETERS, is_parameter, knows, parsed
from parsers import Question
from worlds import SYSTEMS

ALL = [(system, pillar) for system, about in SYSTEMS.items() for pillar in about.pillars if not about.kin]
CHECK = "sh /usr/local/libexec/mailserver/check-postfix /etc/postfix"
DOVECONF = "doveconf -n -c /etc/dovecot/dovecot.conf"


def below(files, *folders):
    """The pairs of a path and a text that a parser reads, so that it is asked once where only others differ."""
    return tuple((path, text) for path, text in sorted(files.items()) if path.startswith(folders))


def changed(files, path, old, new):
    """The files with one line of one of them changed, which must be there once."""
    text, times = re.subn(old, new, files[path], flags=re.MULTILINE)
    assert times == 1, (path, old)
    return {**files, path: text}


def readable(rendered, system, pillar="default"):
    """The files of a system, without what its parser is too old or too new to read."""
    files = rendered.files(system, pillar)
    if system in ("rocky-10", "ubuntu-24.04"):  # Postfix 3.8, and their parser is 3.7
        files = changed(files, "/etc/postfix/main.cf", r"^tls_ffdhe_auto_groups =.*\n", "")
    if system == "centos-7":  # Dovecot 2.2, and its parser is 2.3
        files = changed(files, "/etc/dovecot/dovecot.conf", r"^ssl_protocols = .*", "ssl_min_protocol = TLSv1.2")
    return files


def postfix(rendered, system, pillar):
    read = below(readable(rendered, system, pillar), "/etc/postfix/", "/usr/local/libexec/mailserver/check-postfix")
    commands = (
        "postfix -c /etc/postfix check && postconf -n >/dev/null && postconf -P >/dev/null && postconf -M",
        *(f"{CHECK} {name} /etc/postfix/{name}" for name in ("main.cf", "master.cf")),
        "postmap -q alice@example.test regexp:/etc/postfix/sender_login; :",
    )
    return Question(SYSTEMS[system].parser, read, commands)


@pytest.mark.parametrize(("system", "pillar"), ALL)
@pytest.mark.asks(question=postfix)
def test_postfix_takes_both_files_and_knows_each_parameter(said, system, pillar):
    (status, shown), *checks, looked_up = said
    assert status == 0, shown
    assert not re.search(r"warning|fatal|unused|unknown", shown), shown
    assert "submission" in shown
    assert checks == [(0, ""), (0, "")]
    assert re.fullmatch(r"(alice\b.*\n)?", looked_up[1]), looked_up


def used(files):
    """The parameters of main.cf, and of the options of master.cf, by what they are called."""
    main, master = (files[f"/etc/postfix/{name}.cf"] for name in ("main", "master"))
    return {*re.findall(r"^(\w+) =", main, re.MULTILINE), *re.findall(r"^  -o \{? ?(\w+) ?=", master, re.MULTILINE)}


@pytest.mark.parametrize(("system", "pillar"), ALL)
def test_postfix_of_that_version_knows_each_parameter(rendered, system, pillar):
    version = rendered.pillar(system, pillar)["settings"]["os"]["postfix"]["version"]
    names = used(rendered.files(system, pillar))
    assert {"myhostname", "smtpd_banner"} <= names
    assert [name for name in names if name in PARAMETERS and not knows(version, name)] == []
    assert {name for name in names if not is_parameter(name)} <= {"mua_rules"}


def dovecot(rendered, system, pillar, release=""):
    read = below(readable(rendered, system, pillar), "/etc/dovecot/")
    in_place = "mkdir -p /run/dovecot && ln -s /etc/dovecot/dovecot.conf /run/dovecot/"  # as where Dovecot runs
    return Question(release or SYSTEMS[system].parser, read, (in_place, DOVECONF))


@pytest.mark.parametrize(("system", "pillar"), ALL)
@pytest.mark.asks(question=dovecot)
def test_dovecot_of_the_right_language_takes_its_file(said, system, pillar):
    (in_place, _), (status, shown) = said
    assert in_place == 0
    assert status == 0, shown
    assert not re.search(r"Warning|Error|Obsolete", shown), shown
    assert "protocols" in shown


def other_dovecot(rendered, system, release):
    return dovecot(rendered, system, "default", release)


@pytest.mark.parametrize(
    ("system", "release"),
    [("debian-11", "forky"), ("debian-12", "trixie"), ("debian-13", "bookworm"), ("debian-forky", "bullseye")],
)
@pytest.mark.asks(question=other_dovecot)
def test_dovecot_of_the_other_language_refuses_it(said, system, release):
    (in_place, _), (status, shown) = said
    assert in_place == 0
    assert status != 0
    assert "/etc/dovecot/dovecot.conf" in shown


def opendkim(rendered, system, pillar):
    read = below(rendered.files(system, pillar), "/etc/opendkim")
    commands = (
        "cd /etc/opendkim && touch KeyTable SigningTable SigningTable.domains",
        "opendkim -n -x /etc/opendkim.conf",
    )
    return Question(SYSTEMS[system].parser, read, commands)


@pytest.mark.parametrize(("system", "pillar"), ALL)
@pytest.mark.asks(question=opendkim)
def test_opendkim_takes_its_file(said, system, pillar):
    assert said == [(0, ""), (0, "")]


def firewalld(rendered, system, pillar):
    wanted = rendered.pillar(system, pillar)["settings"]["firewalld"]
    services = " ".join(f"--add-service={name}" for name in wanted["services"])
    ports = " ".join(f"--add-port={name}" for name in wanted["ports"])
    assert services
    assert ports
    adding = (f"firewall-offline-cmd --zone={wanted['zone']} {words}" for words in (services, ports))
    read = below(rendered.files(system, pillar), "/etc/firewalld/")
    return Question(SYSTEMS[system].parser, read, (*adding, "firewall-offline-cmd --check-config"))


@pytest.mark.parametrize(("system", "pillar"), ALL)
@pytest.mark.asks(question=firewalld)
def test_firewalld_knows_the_services_and_takes_its_configuration(said, system, pillar):
    assert [status for status, _ in said] == [0, 0, 0], said
    checked = said[-1][1]
    assert not re.search("error|warning", checked, re.IGNORECASE), checked


def saslauthd(rendered, system, pillar):
    files = rendered.files(system, pillar)
    path = next((path for path in files if path.endswith("/saslauthd")), None)
    return path and Question(SYSTEMS[system].parser, below(files, path), (f"sh -n {path} && . {path}",))


@pytest.mark.parametrize(("system", "pillar"), ALL)
@pytest.mark.asks(question=saslauthd)
def test_saslauthd_and_its_unit_are_read_by_the_shell_and_the_others_by_nobody(said, system, pillar):
    assert said == (None if pillar in ("choices", "virtual") else [(0, "")])  # there Dovecot checks logins


WRONG = [
    ("echo smtpd_bogus = 1 >>/etc/postfix/main.cf", f"{CHECK} main.cf /etc/postfix/main.cf", "smtpd_bogus"),
    (
        "sed -i 's/^alias_maps = .*/alias_maps = dbm:x/' /etc/postfix/main.cf",
        f"{CHECK} main.cf /etc/postfix/main.cf",
        "dbm",
    ),
    ("echo 'pickup unix' >>/etc/postfix/master.cf", f"{CHECK} master.cf /etc/postfix/master.cf", "bad"),
    ("echo 'mail_bogus = 1' >>/etc/dovecot/dovecot.conf", DOVECONF, "mail_bogus"),
    ("echo 'Bogus yes' >>/etc/opendkim.conf", "opendkim -n -x /etc/opendkim.conf", "unrecognized parameter"),
    (":", "firewall-offline-cmd --zone=public --add-service=bogus", "bogus"),
    ("echo '<zone' >/etc/firewalld/zones/public.xml", "firewall-offline-cmd --check-config", "zone"),
]


@pytest.mark.parametrize("system", ["rocky-9", "rocky-10", "debian-13", "debian-forky"])
def test_the_parsers_refuse_what_is_wrong(rendered, parsers, system):
    files = tuple(sorted(readable(rendered, system).items()))
    questions = [Question(SYSTEMS[system].parser, files, (harm, asked)) for harm, asked, _ in WRONG]
    for answer, (harm, _, word) in zip([parsers.ask(one) for one in questions], WRONG, strict=True):
        (harmed, _), (status, shown) = answer.result()
        assert harmed == 0, harm
        assert status != 0, (harm, shown)
        assert word in shown


@pytest.mark.parametrize("release", RELEASES)
def test_the_table_says_what_postfix_itself_says_of_its_parameters(parsers, release):
    staged = ("/etc/staged/main.cf", "".join(f"{name} = 1\n" for name in sorted(PARAMETERS)))
    commands = (
        "cp /etc/postfix/master.cf /etc/staged/",
        "postconf -h mail_version",
        "postconf -c /etc/staged -n",
        "postconf -d",
    )
    answer = parsers.ask(Question(release, (staged,), commands)).result()
    assert [status for status, _ in answer] == [0, 0, 0, 0]
    version, said, own = (shown for _, shown in answer[1:])
    version = version.strip()
    refused = set(re.findall(r"unused parameter: (\w+)=", said))
    assert len(parsed(version)) == 3
    assert refused == {name for name in PARAMETERS if not knows(version, name)}
    listed = set(re.findall(r"^(\w+) =", own, re.MULTILINE))
    assert {name for name in listed if not (is_parameter(name) and knows(version, name))} == set()
