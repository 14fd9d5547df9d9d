"""Who signs after a run, and what is told: whatever fails, tables, stamps and words agree, and mail stays signed."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from signing_host import MADE, NAMES, NOW, PEM, PUBLIC, World

from mailhost.dkim import keystore, life
from mailhost.dkim import sign as dkim_sign
from mailhost.dkim.life import KeyRow, Manifest
from mailhost.dns.lookup import ServerAnswer
from mailhost.errors import CutoverError, ProbeError, WriteError
from mailhost.opendkim import tables as opendkim_tables
from mailhost.opendkim.tables import Signer
from mailhost.pillar import settings as pillar_settings

A, B = NAMES[:2]
TEXT = f"v=DKIM1; k=rsa; p={PUBLIC}"
LONG_AGO = MADE - timedelta(days=30)


class Host(World):
    """A host of two domains without a key, and a DNS that shows each key unless ``shown`` has another text of it.

    ``done`` has, in their order, the reloads and probes of a run; ``fails`` maps domains to what their probe raises.
    """

    def __init__(self, folder):
        self.shown, self.done, self.fails, self.note = {}, [], {}, None
        super().__init__(folder)
        for name in NAMES:
            self.rows(name)
        self.set_domains(A, B)
        opendkim_tables.ensure_tables(self.paths.tables)

    def set_domains(self, *names, **sign_as):
        """Have the pillar list domains; ``sign_as`` maps the first label of some to the domain that signs for them."""
        domains = {name: {"dkim": {"sign_as": sign_as.get(name.partition(".")[0])}} for name in names}
        pillar = {"domain": A, "addresses": ["192.0.2.25"], "domains": domains}
        self.settings = pillar_settings.resolve(pillar, {"postfix": {"version": "3.7"}}, {"fqdn": "mx1.example"})
        tables = opendkim_tables.tables(
            self.paths.tables.key_table, self.paths.tables.signing_table, self.settings["domains"]
        )
        self.paths = replace(self.paths, tables=tables)

    def rows(self, name, *keys):
        """Have a domain have these keys, each with its file."""
        keystore.write_manifest(self.paths.keys, Manifest(name, keys))
        for key in keys:
            if not self.path(name, key.selector).exists():
                keystore.write_private(self.paths.keys, name, key.selector, PEM, self.paths.owner)

    def path(self, name, selector="s"):
        return keystore.private_path(self.paths.keys, name, selector)

    def signer(self, name, selector="s"):
        return Signer(selector, str(self.path(name, selector)))

    def sign_with(self, **selectors):
        """Have the tables name a selector for each domain, by its first label."""
        signers = {f"{label}.example": self.signer(f"{label}.example", one) for label, one in selectors.items()}
        opendkim_tables.cutover(self.paths.tables, {}, signers, lambda: None, lambda *_: None)

    def answers(self, question):
        selector, _, name = question.name.partition("._domainkey.")
        text = self.shown.get((name, selector), TEXT)
        seen = (
            ServerAnswer("ns", "192.0.2.53", "answer", (text.encode(),), 300)
            if text
            else ServerAnswer("ns", "192.0.2.53", "absent")
        )
        found = super().answers(question)
        return found if name in self.silent else replace(found, seen=(seen,))

    def sign(self, test=False, now=NOW, **more):
        self.done = []
        return dkim_sign.sign(self.run(test, now), self.reload, self.probe, **more)

    def reload(self):
        self.done.append("reload")
        if "reload" in self.fails:
            raise CutoverError(self.fails["reload"])
        return self.note

    def probe(self, domain, selector, text, sender=None):
        self.done.append((domain, selector, text) if sender is None else (domain, selector, text, sender))
        if domain in self.fails:
            raise ProbeError(self.fails[domain])

    @property
    def in_force(self):
        """What the tables name, ``{domain: selector}``; what is more than that is wrong with them."""
        signers = opendkim_tables.signers_in_force(self.paths.tables)
        assert opendkim_tables.is_written(self.paths.tables, signers)
        assert not opendkim_tables.is_cut_short(self.paths.tables)
        return {name: one.selector for name, one in signers.items()}

    def stamps(self, name):
        """The stage of each key, with its last stamp where this run made it."""
        keys = keystore.read_manifest(self.paths.keys, name).keys
        return [(key.selector, key.stage, "now" if key.since == NOW else "before") for key in keys]

    def everything(self):
        folder = Path(self.paths.keys).parent
        return {path: (path.read_bytes(), path.stat().st_ino) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def host(tmp_path, monkeypatch):
    monkeypatch.setattr(keystore, "_read_before", {})
    monkeypatch.setattr(opendkim_tables, "patient", lambda probe: probe)
    return Host(tmp_path)


def generated(selector="s"):
    return KeyRow(selector, "rsa", 2048, PUBLIC, MADE)


def published(selector="s", at=MADE):
    return KeyRow(selector, "rsa", 2048, PUBLIC, LONG_AGO, at)


def signing(selector="s"):
    return KeyRow(selector, "rsa", 2048, PUBLIC, LONG_AGO, LONG_AGO, LONG_AGO)


def told(report):
    return {name: getattr(report, name) for name in ("changes", "notes", "waiting", "errors")}


NOTHING = {"changes": {}, "notes": [], "waiting": [], "errors": []}


def test_a_first_key_signs_after_a_reload_and_a_probe_with_the_text_that_dns_shows(host):
    host.rows(A, published())
    host.shown[A, "s"] = f"k=rsa; p={PUBLIC[:99]} {PUBLIC[99:]}"
    report = host.sign()
    assert host.done == ["reload", (A, "s", host.shown[A, "s"])]
    assert host.in_force == {A: "s"}
    assert host.stamps(A) == [("s", "signing", "now")]
    assert told(report) == {
        **NOTHING,
        "changes": {A: {"old": None, "new": "s"}},
        "notes": [f"{B}: mail is not signed.", f"{A}: mail is now signed with s."],
    }


def test_a_second_run_asks_and_changes_nothing(host):
    for name in (A, B):
        host.rows(name, published())
    host.sign()
    before, host.asked = host.everything(), []
    assert told(host.sign()) == NOTHING
    assert (host.everything(), host.done, host.asked) == (before, [], [])


def gone_from_dns(host):
    host.shown[A, "s"] = None


def revoked_in_dns(host):
    host.shown[A, "s"] = "v=DKIM1; k=rsa; p="


def no_answer(host):
    host.silent = {A}


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (gone_from_dns, "DNS no longer shows it"),
        (revoked_in_dns, "DNS no longer shows it"),
        (no_answer, "DNS cannot be asked whether it shows it"),
    ],
)
@pytest.mark.parametrize("key", [published(), signing()], ids=["new", "comes back"])
def test_what_dns_does_not_show_now_never_signs_and_holds_up_no_other(host, harm, why, key):
    host.rows(A, key)
    host.rows(B, published())
    harm(host)
    report = host.sign()
    assert host.in_force == {B: "s"}
    assert [one[0] for one in host.done[1:]] == [B]
    assert f"{A}: the key s does not sign yet: {why}." in report.notes
    assert f"{A}: mail is not signed." in report.notes
    assert report.errors == []
    assert host.stamps(A) == [("s", key.stage, "before")]


@pytest.mark.parametrize("key", [generated(), None])
def test_what_was_never_seen_in_dns_is_not_even_asked_for(host, key):
    host.rows(A, *([key] if key else []))
    assert host.sign().changes == {}
    assert (host.asked, host.done, host.in_force) == ([], [], {})


@pytest.mark.parametrize(("hours", "selector"), [(-1, "s"), (0, "t")])
def test_a_successor_signs_once_it_has_soaked_and_not_before(host, hours, selector):
    soak = host.settings["domains"][A]["dkim"]["ttl"]
    host.rows(A, signing(), published("t", NOW - timedelta(seconds=soak, hours=hours)))
    host.sign_with(d0="s")
    report = host.sign()
    assert host.in_force == {A: selector}
    if selector == "t":
        assert report.changes == {A: {"old": "s", "new": "t"}}
        assert host.stamps(A) == [("s", "retired", "now"), ("t", "signing", "now")]
    else:
        assert report.changes == {}
        assert host.done == []
        assert f"{A}: the key t is published and signs from " in report.notes[0]


def test_a_probe_that_fails_is_undone_for_its_domain_alone(host):
    host.rows(A, signing(), published("t", LONG_AGO))
    host.rows(B, published())
    host.sign_with(d0="s")
    host.fails = {A: "it came back unsigned"}
    report = host.sign()
    assert host.done.count("reload") == 2
    assert host.in_force == {A: "s", B: "s"}
    assert host.stamps(A) == [("s", "signing", "before"), ("t", "published", "before")]
    assert host.stamps(B) == [("s", "signing", "now")]
    undone = "signing with t was tried and undone, the key s goes on signing: it came back unsigned"
    assert told(report) == {
        **NOTHING,
        "changes": {B: {"old": None, "new": "s"}},
        "notes": [f"{B}: mail is now signed with s."],
        "errors": [f"{A}: {undone}"],
    }


def test_where_nobody_signed_before_a_failed_probe_leaves_mail_unsigned_and_says_so(host):
    host.rows(A, published())
    host.fails = {A: "no answer"}
    assert host.sign().errors == [f"{A}: signing with s was tried and undone, mail is not signed: no answer"]
    assert host.in_force == {}


def test_a_reload_that_fails_undoes_all_and_claims_nothing(host):
    host.rows(A, signing(), published("t", LONG_AGO))
    host.rows(B, generated())
    host.sign_with(d0="s")
    host.fails = {"reload": "OpenDKIM is down"}
    report = host.sign()
    assert (report.changes, report.notes) == ({}, [])
    (error,) = report.errors
    assert error.startswith("OpenDKIM is down")
    assert host.done == ["reload", "reload"]
    assert opendkim_tables.signers_in_force(host.paths.tables) == {A: host.signer(A)}
    assert host.stamps(A) == [("s", "signing", "before"), ("t", "published", "before")]


def test_what_the_reload_has_to_say_is_told_once_for_each(host):
    host.rows(A, published())
    host.note = "OpenDKIM was restarted."
    assert host.sign().notes.count("OpenDKIM was restarted.") == 1


def test_a_pillar_that_did_not_arrive_stops_no_signing(host):
    host.rows(A, signing())
    host.sign_with(d0="s")
    before = host.everything()
    host.settings = {**host.settings, "domains": {}}
    (error,) = host.sign().errors
    assert f"The pillar lists no domain, but this host signs for 1 ({A}" in error
    assert (host.everything(), host.done) == (before, [])


def test_a_domain_that_left_the_pillar_is_no_longer_signed_for_and_keeps_its_key(host):
    for name in (A, B):
        host.rows(name, signing())
    host.sign_with(d0="s", d1="s")
    host.set_domains(A)
    report = host.sign()
    assert host.in_force == {A: "s"}
    assert report.changes == {B: {"old": "s", "new": None}}
    assert report.notes == [f"{B}: mail is no longer signed; its keys stay on the host."]
    assert host.done == ["reload"]
    assert host.path(B).exists()
    assert host.stamps(B) == [("s", "signing", "before")]


def of_another_key(path):
    path.write_text(next(keystore.generate([2048])))


def no_key(path):
    path.write_text("x")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (Path.unlink, "cannot be read: "),
        (no_key, "this is not a private key in PEM form"),
        (of_another_key, "it is not the key whose record was emitted for t; was it replaced by hand?"),
    ],
)
def test_a_key_whose_file_is_not_as_it_must_be_does_not_take_over(host, harm, said):
    host.rows(A, signing(), published("t", LONG_AGO))
    host.sign_with(d0="s")
    harm(host.path(A, "t"))
    report = host.sign()
    assert [error.partition(said)[0] for error in report.errors] == [f"{A}: {host.path(A, 't')}: "]
    assert (report.changes, host.done, host.in_force) == ({}, [], {A: "s"})
    assert host.stamps(A) == [("s", "signing", "before"), ("t", "published", "before")]


@pytest.mark.parametrize("is_foreseen", [False, True])
def test_a_signer_without_a_key_file_is_an_error_in_each_run_but_for_one_that_a_dry_run_foresees(host, is_foreseen):
    host.rows(A, signing())
    host.sign_with(d0="s")
    host.path(A).unlink()
    if is_foreseen:
        host.paths = replace(host.paths, tables=replace(host.paths.tables, foreseen={A: host.signer(A)}))
    errors = [] if is_foreseen else [f"{A}: OpenDKIM is to sign with {host.path(A)}, which is gone, so all its mail"]
    for _ in range(2):
        assert [one[: len(wanted)] for one, wanted in zip(host.sign().errors, errors, strict=True)] == errors
    assert host.in_force == {A: "s"}


def test_a_damaged_manifest_leaves_its_domain_with_the_signer_that_it_has(host):
    host.rows(A, signing())
    host.rows(B, published())
    host.sign_with(d0="s")
    Path(host.paths.keys, A, keystore.MANIFEST).write_text("{")
    report = host.sign()
    assert host.in_force == {A: "s", B: "s"}
    assert report.changes == {B: {"old": None, "new": "s"}}
    assert [error.startswith(f"{A}: ") for error in report.errors] == [True]


def test_a_key_that_signs_without_a_stamp_is_told_and_stamped_by_the_next_run(host, monkeypatch):
    host.rows(A, published())

    def full(*_):
        raise WriteError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(keystore, "write_manifest", full)
        report = host.sign()
    assert report.errors == [f"{A}: s signs, but this could not be recorded: the disk is full"]
    assert (host.in_force, host.stamps(A)) == ({A: "s"}, [("s", "published", "before")])
    assert host.sign().errors == []
    assert (host.in_force, host.stamps(A)) == ({A: "s"}, [("s", "signing", "now")])


@pytest.mark.parametrize("can_write", [True, False])
def test_a_key_that_signed_unseen_is_written_down_before_another_signs_or_none_does(host, monkeypatch, can_write):
    host.rows(A, published("old", LONG_AGO), published("new", LONG_AGO))
    host.sign_with(d0="old")
    written = []

    def write(keys, manifest, before=keystore.write_manifest):
        written.append(([key.stage for key in manifest.keys], "reload" in host.done))
        if not can_write:
            raise WriteError("the disk is full")
        before(keys, manifest)

    monkeypatch.setattr(keystore, "write_manifest", write)
    report = host.sign()
    assert written[0] == (["signing", "published"], False)
    if can_write:
        assert written[1:] == [(["retired", "signing"], True)]
        assert host.in_force == {A: "new"}
        assert life.has_retention(keystore.read_manifest(host.paths.keys, A).keys[0])
    else:
        assert report.errors == [f"{A}: new does not sign yet: the disk is full"]
        assert (host.in_force, host.done, report.changes) == ({A: "old"}, [], {})


@pytest.mark.parametrize("is_half", [True, False])
def test_a_change_that_was_cut_short_is_made_anew_from_the_tables_that_worked(host, is_half):
    host.rows(A, signing())
    host.sign_with(d0="s")
    tables = host.paths.tables
    for path, kept in tables.kept.items():
        kept.write_text(path.read_text())
        path.write_text("# half a table\n" if is_half else path.read_text())
    report = host.sign()
    assert host.in_force == {A: "s"}
    assert "An earlier run was cut short while it changed the tables; its change is made again." in report.notes
    assert report.errors == []


def test_tables_that_say_the_same_in_other_words_are_written_again_without_a_probe(host):
    host.rows(A, signing())
    host.sign_with(d0="s")
    table = host.paths.tables.signing_table
    wanted = table.read_text()
    table.write_text(wanted + "# a note of somebody's\n")
    report = host.sign()
    assert report.changes == {"tables": {"old": "not as the signers are", "new": "written again"}}
    assert (table.read_text(), host.done, report.errors) == (wanted, ["reload"], [])


def test_a_domain_signs_for_itself_until_the_one_that_is_to_sign_for_it_can(host):
    host.rows(A, generated())
    host.rows(B, signing())
    host.sign_with(d1="s")
    host.set_domains(A, B, d1=A)
    host.sign()
    assert opendkim_tables.signers_in_force(host.paths.tables) == {B: host.signer(B)}
    host.rows(A, published())
    report = host.sign()
    assert host.done == ["reload", (A, "s", TEXT), (A, "s", TEXT, B)]
    assert host.in_force == {A: "s"}
    assert report.changes == {A: {"old": None, "new": "s"}, B: {"old": "s", "new": None}}


def test_a_domain_whose_mail_another_signs_that_does_already_is_proven_and_no_longer_signs(host):
    for name in (A, B):
        host.rows(name, signing())
    host.sign_with(d0="s", d1="s")
    host.set_domains(A, B, d1=A)
    assert host.sign().changes == {B: {"old": "s", "new": None}}
    assert host.done == ["reload", (A, "s", TEXT), (A, "s", TEXT, B)]
    assert host.in_force == {A: "s"}


@pytest.mark.parametrize(
    ("harm", "lacks"),
    [
        (gone_from_dns, "DNS no longer shows it"),
        (no_answer, "DNS cannot be asked whether it shows it"),
    ],
)
def test_there_is_no_way_back_to_a_key_that_dns_does_not_show(host, harm, lacks):
    host.rows(A, replace(signing(), retired=MADE), signing("t"))
    host.sign_with(d0="t")
    harm(host)
    report = host.sign(instead=[A])
    assert report.errors == [f"{A}: there is no way back to the key s: {lacks}; mail is signed with t, as before."]
    assert (report.changes, host.done, host.in_force) == ({}, [], {A: "t"})


def test_a_dry_run_neither_reloads_nor_probes_and_says_what_the_run_then_does(host):
    host.rows(A, signing(), published("t", LONG_AGO))
    host.rows(B, signing())
    host.sign_with(d0="s", d1="s")
    host.set_domains(A)
    before = host.everything()
    foreseen = host.sign(test=True)
    assert (host.everything(), host.done) == (before, [])
    assert foreseen.notes == [
        f"{A}: mail would be signed with t.",
        f"{B}: mail would no longer be signed; its keys stay on the host.",
    ]
    assert host.sign().changes == foreseen.changes == {A: {"old": "s", "new": "t"}, B: {"old": "s", "new": None}}


@pytest.mark.parametrize(
    ("named", "has_file", "found"),
    [
        (None, True, ("", False, False)),
        ("own", True, ("s", True, True)),
        ("own", False, ("s", True, False)),
        ("elsewhere", True, ("s", False, True)),
        ("elsewhere", False, ("s", False, False)),
    ],
)
def test_status_knows_who_signs_without_asking_dns(host, tmp_path, named, has_file, found):
    host.rows(A, signing())
    path = {"own": host.path(A), "elsewhere": tmp_path / "by-hand.private"}.get(named)
    if named:
        signers = {A: Signer("s", str(path))}
        opendkim_tables.cutover(host.paths.tables, {}, signers, lambda: None, lambda *_: None)
        path.write_text(PEM) if has_file else path.unlink(missing_ok=True)
    run = host.run()
    seen = dkim_sign.at_tables_now(run, run.manifest(A))
    assert (seen.signer, seen.is_own, seen.can_sign) == found
    assert (seen.answers, host.asked) == ({}, [])


def test_a_key_of_the_same_name_in_another_folder_is_proven_before_ours_takes_its_place(host, tmp_path):
    host.rows(A, signing())
    elsewhere = tmp_path / "by-hand.private"
    elsewhere.write_text(PEM)
    signers = {A: Signer("s", str(elsewhere))}
    opendkim_tables.cutover(host.paths.tables, {}, signers, lambda: None, lambda *_: None)
    host.shown[A, "s"] = None
    assert host.sign().changes == {}
    assert opendkim_tables.signers_in_force(host.paths.tables) == signers
    host.shown.clear()
    assert host.sign().errors == []
    assert host.done == ["reload", (A, "s", TEXT)]
    assert opendkim_tables.signers_in_force(host.paths.tables) == {A: host.signer(A)}


@pytest.mark.parametrize("manifest", ["{", None], ids=["damaged", "without the key"])
def test_new_senders_of_a_key_that_no_manifest_has_are_rolled_back_and_told(host, manifest):
    host.rows(A, signing())
    host.sign_with(d0="s")
    host.set_domains(A, B, d1=A)
    if manifest:
        Path(host.paths.keys, A, "keys.json").write_text(manifest)
    else:
        host.rows(A)
    keystore._read_before.clear()
    report = host.sign()
    assert any("no manifest has the key s" in text for text in report.errors)
    assert host.done == ["reload", "reload"]
    host.set_domains(A, B)
    assert host.in_force == {A: "s"}, "signer and senders of before"


def test_a_key_that_signed_until_now_has_its_whole_retention_though_restored_stamps_retired_it_before(host):
    before = NOW - timedelta(days=10)
    retired = replace(signing("s"), retired=before)
    host.rows(A, retired, signing("t"))
    host.sign_with(d0="s")
    assert host.sign().errors == []
    assert host.in_force == {A: "t"}
    assert [(key.selector, key.retired) for key in host.run().manifest(A).keys] == [("s", NOW), ("t", None)]
