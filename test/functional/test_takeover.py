"""Hand-made OpenDKIM configurations: what signed before signs after, or the run ends before it touches anything."""

import base64
import os
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from found_world import ed25519_pem, rsa_pem, weak_pem
from mailhost.before import originals
from mailhost.errors import TakeoverError
from mailhost.takeover import run as takeover_run

ONE, TWO = rsa_pem(), rsa_pem()
TABLES = "KeyTable {etc}/KeyTable\nSigningTable refile:{etc}/SigningTable"
ELSEWHERE = "KeyTable file:{etc}/key.table\nSigningTable refile:{etc}/signing.table"
KEY = "mail/alpha.private"
ALPHA, BETA, NEWS = "x@alpha.test", "x@beta.test", "x@news.alpha.test"


def rows(key_table, signing_table, **more):
    """Files of tables in the usual places."""
    return {"KeyTable": key_table + "\n", "SigningTable": signing_table + "\n", KEY: ONE, **more}


def elsewhere(key_table, signing_table, **more):
    return {"key.table": key_table + "\n", "signing.table": signing_table + "\n", KEY: ONE, **more}


def pillar(*names, **kinds):
    """A pillar with these domains; of a keyword's domain (dots are ``_``) the DKIM settings are given."""
    kinds = {name.replace("_", "."): {"dkim": dkim} for name, dkim in kinds.items()}
    return {"domains": {**{name: {} for name in names}, **kinds}}


def der(pem):
    forms = serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    return base64.b64encode(serialization.load_pem_private_key(pem, None).private_bytes(*forms)).decode()


SMALL = rsa_pem(1024)
KEPT = {
    "as the original procedure": (
        TABLES,
        {
            "KeyTable": "20210808._domainkey.alpha.test alpha.test:20210808:{etc}/keys/alpha.test/20210808.private\n",
            "SigningTable": "*@alpha.test 20210808._domainkey.alpha.test\n",
            "keys/alpha.test/20210808.private": ONE,
        },
        pillar("alpha.test"),
        [ALPHA],
    ),
    "a % in the KeyTable, a short name": (
        TABLES,
        rows("default %:mail:{etc}/mail/alpha.private", "*@alpha.test default\n*@beta.test default"),
        pillar("alpha.test", "beta.test"),
        [ALPHA, BETA],
    ),
    "a % in the path": (
        TABLES,
        rows(
            "default %:mail:{etc}/%/x.private", "* default", **{"alpha.test/x.private": ONE, "beta.test/x.private": TWO}
        ),
        {**pillar("alpha.test", "beta.test"), "opendkim": {"takeover": {"drop": ["*"]}}},
        [ALPHA, BETA],
    ),
    "a % for the name of the row": (
        TABLES,
        rows("alpha.test alpha.test:mail:{etc}/mail/alpha.private", "*@alpha.test %"),
        pillar("alpha.test"),
        [ALPHA],
    ),
    "tables and keys elsewhere": (
        ELSEWHERE,
        elsewhere("alpha alpha.test:s1:{etc}/mail/alpha.private", "*@alpha.test alpha"),
        pillar("alpha.test"),
        [ALPHA],
    ),
    "stale tables where the formula has its own": (
        ELSEWHERE,
        {
            **elsewhere("alpha alpha.test:s1:{etc}/mail/alpha.private", "*@alpha.test alpha"),
            "KeyTable": "old alpha.test:old:{etc}/mail/old.private\nold2 beta.test:old:{etc}/mail/old.private\n",
            "SigningTable": "*@alpha.test old\n*@beta.test old2\n",
            "mail/old.private": TWO,
        },
        pillar("alpha.test", "beta.test"),
        [ALPHA, BETA],
    ),
    "the name of a row that means another key": (
        TABLES,
        rows(
            "s1._domainkey.alpha.test beta.test:s2:{etc}/mail/beta.private\nx alpha.test:s1:{etc}/mail/alpha.private",
            "*@alpha.test x\n*@beta.test s1._domainkey.alpha.test",
            **{"mail/beta.private": TWO},
        ),
        pillar("alpha.test", "beta.test"),
        [ALPHA, BETA],
    ),
    "a bare KeyFile": (
        "Domain alpha.test\nSelector mail\nKeyFile {etc}/mail/alpha.private",
        {KEY: ONE},
        pillar("alpha.test"),
        [ALPHA],
    ),
    "a bare KeyFile for a list of domains, small letters or not, a comment": (
        "domain Alpha.Test, beta.test  # mine\nSELECTOR  mail \nKeyFile {etc}/mail/alpha.private\t",
        {KEY: ONE},
        pillar("alpha.test", "beta.test"),
        [ALPHA],
    ),
    "domains in a file": (
        "Domain {etc}/domains\nSelector mail\nKeyFile {etc}/mail/alpha.private",
        {KEY: ONE, "domains": "# ours\nalpha.test\nbeta.test   \n"},
        pillar("alpha.test", "beta.test"),
        [ALPHA, BETA],
    ),
    "SubDomains": (
        "Domain alpha.test\nSubDomains yes\nSelector mail\nKeyFile {etc}/mail/alpha.private",
        {KEY: ONE},
        pillar(alpha_test={"subdomains": True}),
        [ALPHA, NEWS, "x@a.b.alpha.test"],
    ),
    "sub-domains by pattern": (
        TABLES,
        rows("alpha alpha.test:s1:{etc}/mail/alpha.private", "*@alpha.test alpha\n*@*.alpha.test alpha"),
        pillar(alpha_test={"subdomains": True}),
        [ALPHA, NEWS, "x@a.b.alpha.test"],
    ),
    "sub-domains in a table without patterns": (
        "KeyTable {etc}/KeyTable\nSigningTable {etc}/SigningTable",
        rows("alpha alpha.test:s1:{etc}/mail/alpha.private", "alpha.test alpha\n.alpha.test alpha"),
        pillar(alpha_test={"subdomains": True}),
        [ALPHA, NEWS, "x@a.b.alpha.test"],
    ),
    "a sub-domain with a key of its own": (
        TABLES,
        rows(
            "alpha alpha.test:s1:{etc}/mail/alpha.private\nnews news.alpha.test:s2:{etc}/mail/news.private",
            "*@news.alpha.test news\n*@*.alpha.test alpha\n*@alpha.test alpha",
            **{"mail/news.private": TWO},
        ),
        pillar("news.alpha.test", alpha_test={"subdomains": True}),
        [ALPHA, NEWS, "x@other.alpha.test"],
    ),
    "an agency that signs as itself": (
        TABLES,
        rows("agency agency.test:s1:{etc}/mail/alpha.private", "*@alpha.test agency\n*@beta.test agency"),
        pillar("agency.test", alpha_test={"sign_as": "agency.test"}, beta_test={"sign_as": "agency.test"}),
        [ALPHA, BETA],
    ),
    "lists in opendkim.conf": (
        "KeyTable csl:a=alpha.test:s1:{etc}/mail/alpha.private\nSigningTable csl:alpha.test=a",
        {KEY: ONE},
        pillar("alpha.test"),
        [ALPHA],
    ),
    "the first of several rows": (
        TABLES,
        rows(
            "one alpha.test:s1:{etc}/mail/alpha.private\ntwo alpha.test:s2:{etc}/mail/two.private",
            "*@ALPHA.test one\n*@alpha.test two\n*@alpha.test two",
            **{"mail/two.private": TWO},
        ),
        pillar("alpha.test"),
        [ALPHA],
    ),
    "a row for one address, with the key of all": (
        TABLES,
        rows("a alpha.test:s1:{etc}/mail/alpha.private", "joe@alpha.test a\n*@alpha.test a"),
        pillar("alpha.test"),
        [ALPHA, "joe@alpha.test"],
    ),
    "an identity in the row": (
        TABLES,
        rows("a alpha.test:s1:{etc}/mail/alpha.private", "*@alpha.test a:@%"),
        pillar("alpha.test"),
        [ALPHA],
    ),
    "an included file": (
        "Include {etc}/more.conf",
        {"more.conf": ELSEWHERE, **elsewhere("a alpha.test:s1:{etc}/mail/alpha.private", "*@alpha.test a")},
        pillar("alpha.test"),
        [ALPHA],
    ),
    "the last of a setting counts": (
        f"KeyTable file:/nonexistent\nSigningTable refile:/nonexistent\n{ELSEWHERE}",
        elsewhere("a alpha.test:s1:{etc}/mail/alpha.private", "*@alpha.test a"),
        pillar("alpha.test"),
        [ALPHA],
    ),
    "BaseDirectory": (
        "BaseDirectory {etc}\nKeyTable file:key.table\nSigningTable refile:signing.table",
        elsewhere("a alpha.test:s1:./mail/alpha.private", "*@alpha.test a"),
        pillar("alpha.test"),
        [ALPHA],
    ),
    "PKCS #8": (
        ELSEWHERE,
        elsewhere("a alpha.test:s1:{etc}/mail/8.private", "*@alpha.test a", **{"mail/8.private": rsa_pem(pkcs8=True)}),
        pillar("alpha.test"),
        [ALPHA],
    ),
    "a key in the table": (
        ELSEWHERE,
        elsewhere(f"a alpha.test:s1:{der(SMALL)}", "*@alpha.test a"),
        pillar("alpha.test"),
        [ALPHA],
    ),
    "a key that others may read": (
        f"{ELSEWHERE}\nRequireSafeKeys no",
        elsewhere("a alpha.test:s1:{etc}/open.pem", "*@alpha.test a", **{"open.pem": ONE.decode()}),
        pillar("alpha.test"),
        [ALPHA],
    ),
    "nothing that signs": (
        "Mode v\n" + TABLES,
        rows("a alpha.test:s1:{etc}/none", "*@beta.test b"),
        pillar("alpha.test"),
        [],
    ),
}


@pytest.mark.parametrize("table", ["file", "refile"])
@pytest.mark.parametrize("name", KEPT)
def test_what_signed_before_signs_after(found, name, table):
    conf, files, given, senders = KEPT[name]
    found.hand_made(conf, files)
    before = {sender: found.signed(sender) for sender in senders}
    assert any(before.values()) or not senders
    given = {**given, "opendkim": {**given.get("opendkim", {}), "signing_table": table}}
    found.settle(given)
    outlook = found.survey()
    assert outlook.refusals == ()
    as_found = found.everything()
    takeover_run.report(outlook, found.paths, test=True)
    assert found.everything() == as_found
    found.take_over()
    assert {sender: found.signed(sender) for sender in senders} == before
    found.milter.reload()
    assert {sender: found.signed(sender) for sender in senders} == before, "the old configuration, read again"
    found.put_ours()
    assert {sender: found.signed(sender) for sender in senders} == before
    assert found.survey() is None
    for domain, one in outlook.plan.signers.items():
        path = found.folder / "keys" / domain / f"{one.selector}.private"
        assert (path.lstat().st_mode & 0o177777, path.lstat().st_nlink) == (0o100600, 1)


def test_of_each_table_that_is_changed_a_copy_is_kept_where_clean_finds_it_and_nothing_lies_beside_it(found):
    conf, files, given, _ = KEPT["stale tables where the formula has its own"]
    found.hand_made(conf, files)
    found.settle(given)
    before = {str(path): path.read_bytes() for path in found.paths.tables.all if path.exists()}
    assert len(before) == 2
    found.take_over()
    assert all(Path(path).read_bytes() != octets for path, octets in before.items())
    kept = {path: originals.original(path, found.folder / "state").octets for path in before}
    assert kept == before
    assert not list(found.folder.rglob("*.dist"))


LOST = {
    "a domain that the pillar lacks": (
        TABLES,
        rows("a %:s1:{etc}/mail/alpha.private", "*@alpha.test a\n*@beta.test a"),
        pillar("alpha.test"),
        BETA,
        {"*@beta.test": "List beta.test in mailserver:domains"},
    ),
    "sub-domains": (
        TABLES,
        rows("a alpha.test:s1:{etc}/mail/alpha.private", "*@alpha.test a\n*@*.alpha.test a"),
        pillar("alpha.test"),
        NEWS,
        {"*@*.alpha.test": "mailserver:domains:alpha.test:dkim:subdomains"},
    ),
    "sub-domains of which the pillar has one": (
        TABLES,
        rows("a alpha.test:s1:{etc}/mail/alpha.private", "*@alpha.test a\n*@*.alpha.test a"),
        pillar("news.alpha.test", alpha_test={"subdomains": True}),
        NEWS,
        {"*@*.alpha.test": "would be signed by news.alpha.test"},
    ),
    "an agency": (
        TABLES,
        rows("a agency.test:s1:{etc}/mail/alpha.private", "*@alpha.test a\n*@agency.test a"),
        pillar("alpha.test", "agency.test"),
        ALPHA,
        {"*@alpha.test": "mailserver:domains:alpha.test:dkim:sign_as to agency.test"},
    ),
    "all others": (
        TABLES,
        rows("a %:s1:{etc}/mail/alpha.private", "*@alpha.test a\n* a"),
        pillar("alpha.test"),
        BETA,
        {"*": "mailserver:domains"},
    ),
    "a row for an address": (
        TABLES,
        rows(
            "a alpha.test:s1:{etc}/mail/alpha.private\nb alpha.test:s2:{etc}/mail/two.private",
            "joe@alpha.test b\n*@alpha.test a",
            **{"mail/two.private": TWO},
        ),
        pillar("alpha.test"),
        "joe@alpha.test",
        {"joe@alpha.test": "alpha.test has one signature, with s1"},
    ),
    "several signatures": (
        f"{TABLES}\nMultipleSignatures yes",
        rows(
            "a alpha.test:s1:{etc}/mail/alpha.private\nb alpha.test:s2:{etc}/mail/two.private",
            "*@alpha.test a\n*@alpha.test b",
            **{"mail/two.private": TWO},
        ),
        pillar("alpha.test"),
        ALPHA,
        {"*@alpha.test": "s2 would sign no longer"},
    ),
    "a regular expression": (
        TABLES,
        rows("a alpha.test:s1:{etc}/mail/alpha.private", "(joe|bob)@alpha.test a"),
        pillar("alpha.test"),
        "joe@alpha.test",
        {"(joe|bob)@alpha.test": "cannot be told in the pillar's terms"},
    ),
    "an Ed25519 key": (
        f"{TABLES}\nSignatureAlgorithm ed25519-sha256",
        rows("a alpha.test:s1:{etc}/mail/ed.private", "*@alpha.test a", **{"mail/ed.private": ed25519_pem()}),
        pillar("alpha.test"),
        ALPHA,
        {"*@alpha.test": "no RSA key"},
    ),
    "a key that no verifier takes": (
        TABLES,
        rows("a alpha.test:s1:{etc}/mail/weak.private", "*@alpha.test a", **{"mail/weak.private": weak_pem()}),
        pillar("alpha.test"),
        ALPHA,
        {"*@alpha.test": "768 bits"},
    ),
    "one selector, two keys": (
        TABLES,
        rows(
            "a alpha.test:s1:{etc}/mail/alpha.private",
            "*@alpha.test a",
            **{"keys/alpha.test/s1.private": TWO},
        ),
        pillar("alpha.test"),
        ALPHA,
        {"*@alpha.test": "another key lies where"},
    ),
    "a bare KeyFile for all": (
        "Domain *\nSelector mail\nKeyFile {etc}/mail/alpha.private",
        {KEY: ONE},
        pillar("alpha.test"),
        BETA,
        {"*": "mailserver:domains"},
    ),
    "a host whose mail is signed": (
        f"{TABLES}\nInternalHosts {{etc}}/trusted",
        {**rows("a alpha.test:s1:{etc}/mail/alpha.private", "*@alpha.test a"), "trusted": "127.0.0.1\n10.1.0.0/16\n"},
        pillar("alpha.test"),
        None,
        {"10.1.0.0/16": "mailserver:opendkim:trusted_hosts"},
    ),
    "a macro": (
        f"{TABLES}\nMacroList daemon_name|ORIGINATING",
        rows("a alpha.test:s1:{etc}/mail/alpha.private", "*@alpha.test a"),
        pillar("alpha.test"),
        ALPHA,
        {"MacroList daemon_name|ORIGINATING": "mailserver:opendkim:settings:MacroList"},
    ),
    "a mode without signatures": (
        TABLES,
        rows("a alpha.test:s1:{etc}/mail/alpha.private", "*@alpha.test a"),
        {**pillar("alpha.test"), "opendkim": {"mode": "v"}},
        ALPHA,
        {"Mode v": "mailserver:opendkim:mode"},
    ),
}


WAITS_ALREADY = ("an Ed25519 key", "a key that no verifier takes")
"""With these OpenDKIM 2.11 has all mail wait, before the formula comes and after it."""


@pytest.mark.parametrize("name", LOST)
def test_what_would_be_lost_is_refused_before_anything_is_touched(found, name):
    conf, files, given, sender, losses = LOST[name]
    found.hand_made(conf, files)
    before = found.signed(sender) if sender else None
    assert before or sender is None or name in WAITS_ALREADY
    found.settle(given)
    as_found = found.everything()
    assert {loss.what for loss in found.survey().plan.losses} == set(losses)
    for loss in found.survey().plan.losses:
        assert losses[loss.what] in f"{loss.why}. {loss.remedy}"
        assert "mailserver:opendkim:takeover:drop" in loss.remedy or loss.what.startswith("Mode")
    with pytest.raises(TakeoverError, match=re.escape(next(iter(losses)))):
        found.take_over()
    assert found.everything() == as_found
    assert not sender or found.signed(sender) == before
    opendkim = {**given.get("opendkim", {}), "takeover": {"drop": list(losses)}}
    for table in ("file", "refile"):
        found.settle({**given, "opendkim": {**opendkim, "signing_table": table}})
        assert found.survey().refusals == ()
        found.take_over()
        found.put_ours()
        if "s" in found.settings["opendkim"]["mode"]:
            assert None not in [found.signed(f"x@{domain}") for domain in found.host.domains], "mail waits"
        found.hand_made(conf, files)


BAD_KEYS = {
    "missing": lambda found, path: path.unlink(),
    "no key": lambda found, path: path.write_text("hello\n"),
    "a certificate": lambda found, path: path.write_text(
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    ),
    "locked": lambda found, path: path.write_bytes(rsa_pem(passphrase=b"x")),
    "a pipe": lambda found, path: (path.unlink(), os.mkfifo(path)),
    "a folder": lambda found, path: (path.unlink(), path.mkdir()),
    "large": lambda found, path: path.write_bytes(ONE + b"\n" * 70000),
    "a link to nothing": lambda found, path: (path.unlink(), path.symlink_to("/nonexistent")),
}


@pytest.mark.parametrize("name", BAD_KEYS)
def test_a_key_that_cannot_be_read_is_refused_by_its_path(found, name):
    path = found.write(KEY, ONE)
    BAD_KEYS[name](found, path)
    found.hand_made(ELSEWHERE, {"key.table": f"a alpha.test:s1:{path}\n", "signing.table": "*@alpha.test a\n"})
    found.settle(pillar("alpha.test"))
    (loss,) = found.survey().plan.losses
    assert str(path) in loss.why
    assert "PRIVATE" not in loss.why


def _linked(found, path):
    found.write("elsewhere.pem", ONE)
    path.unlink()
    path.symlink_to(found.folder / "elsewhere.pem")


def _two_names(found, path):
    os.link(path, found.folder / "second-name.pem")


@pytest.mark.parametrize("change", [_linked, _two_names])
def test_a_key_in_its_place_that_is_no_file_of_its_own_becomes_one(found, change):
    path = found.write("keys/alpha.test/s1.private", ONE)
    change(found, path)
    files = {"KeyTable": f"a alpha.test:s1:{path}\n", "SigningTable": "*@alpha.test a\n"}
    found.hand_made(TABLES, files)
    assert found.signed(ALPHA) == {("alpha.test", "s1")}
    found.settle(pillar("alpha.test"))
    found.take_over()
    assert (path.is_symlink(), path.lstat().st_nlink, path.read_bytes()) == (False, 1, ONE)
    other = found.folder / ("elsewhere.pem" if change is _linked else "second-name.pem")
    assert other.read_bytes() == ONE, "what was there before is left"
    found.put_ours()
    assert found.signed(ALPHA) == {("alpha.test", "s1")}


def test_a_folder_of_keys_that_is_a_link_is_refused(found):
    (found.folder / "keys").mkdir()
    (found.folder / "store").mkdir()
    found.write("store/s1.private", ONE)
    (found.folder / "keys/alpha.test").symlink_to(found.folder / "store")
    key = found.folder / "keys/alpha.test/s1.private"
    found.hand_made(TABLES, {"KeyTable": f"a alpha.test:s1:{key}\n", "SigningTable": "*@alpha.test a\n"})
    found.settle(pillar("alpha.test"))
    assert "no link" in found.survey().refusals[0]


class PowerCut(BaseException):
    """The machine stops here."""


@pytest.mark.parametrize("step", range(1, 9))
def test_a_run_that_is_cut_short_leaves_what_signs_and_the_next_one_completes_it(found, step, monkeypatch):
    conf, files, given, senders = KEPT["stale tables where the formula has its own"]
    found.hand_made(conf, files)
    found.settle(given)
    before = {sender: found.signed(sender) for sender in senders}
    steps, real = iter(range(1, 99)), os.replace

    def replaced(*paths, **folders):
        if next(steps) == step:
            raise PowerCut
        real(*paths, **folders)

    monkeypatch.setattr(os, "replace", replaced)
    try:
        found.take_over()
    except PowerCut:
        monkeypatch.setattr(os, "replace", real)
        found.milter.reload()
        assert {sender: found.signed(sender) for sender in senders} == before
        found.take_over()
    found.put_ours()
    assert {sender: found.signed(sender) for sender in senders} == before


WORDS = {
    "another file": (["-x", "/etc/mail/opendkim.conf"], "-x /etc/mail/opendkim.conf"),
    "the key": (["-d", "alpha.test", "-k", "/key"], "-d alpha.test"),
    "the socket": (["-p", "local:/run/opendkim/opendkim.sock"], "-p local:/run/opendkim/opendkim.sock"),
    "the mode": (["-b", "s"], "-b s"),
}


@pytest.mark.parametrize("name", WORDS)
def test_a_unit_whose_words_count_more_than_the_file_is_refused(found, name):
    words, said = WORDS[name]
    conf, files, given, _ = KEPT["a bare KeyFile"]
    found.hand_made(conf, files)
    found.settle(given)
    usual = ["/usr/sbin/opendkim", "-x", str(found.config), "-P", "/run/opendkim/opendkim.pid", "-f"]
    assert found.survey(usual).refusals == ()
    assert said in found.survey([*usual, *words]).refusals[0]


def test_a_mode_of_the_units_counts_more_than_the_files(found):
    found.write("opendkim.conf", "Mode v\nDomain beta.test\nSelector s\nKeyFile /x\n")
    found.settle(pillar("alpha.test"))
    assert found.survey([]).refusals == ()
    assert "beta.test" in found.survey(["/usr/sbin/opendkim", "-b", "sv"]).refusals[0]


@pytest.mark.parametrize("is_there", [True, False])
def test_an_opendkim_that_signs_by_another_file_or_its_words_is_found_beside_a_file_that_signs_nothing(found, is_there):
    found.settle(pillar("alpha.test"))
    if is_there:
        found.write("opendkim.conf", "Mode sv\n")
    for words in (["-x", "/etc/mail/opendkim.conf"], ["-d", "alpha.test", "-k", "/key", "-s", "mail"]):
        (refusal, *_) = found.survey(["/usr/sbin/opendkim", *words]).refusals
        assert " ".join(words[:2]) in refusal
    assert found.survey([]).refusals == ()


def test_a_distributions_own_file_signs_nothing_and_stops_nothing(found):
    found.hand_made("Canonicalization relaxed/simple\n#Domain example.com\n#KeyFile /x\nOversignHeaders From", {})
    found.settle(pillar("alpha.test"))
    outlook = found.survey(["/usr/sbin/opendkim", "-p", "local:/run/x"])
    assert (outlook.refusals, outlook.plan.signers) == ((), {})
    found.take_over()
    assert found.survey().plan.signers == {}
