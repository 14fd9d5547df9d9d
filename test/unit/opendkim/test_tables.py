"""OpenDKIM's tables: what they say, and that no moment of a change leaves a table that would stop mail."""

import itertools

import pytest

from mailhost.errors import CutoverError, ProbeError, WriteError
from mailhost.opendkim import tables as opendkim_tables
from mailhost.opendkim.tables import Signer, cutover, parse, signers_in_force, tables

OLD = {
    "a.example": Signer("old", "/keys/a.example/old.private"),
    "b.example": Signer("old", "/keys/b.example/old.private"),
}
NEW = {
    "a.example": Signer("new", "/keys/a.example/new.private"),
    "c.example": Signer("new", "/keys/c.example/new.private"),
}


@pytest.fixture
def paths(tmp_path):
    return tables(tmp_path / "KeyTable", tmp_path / "SigningTable")


def write(paths, signers):
    for path, text in opendkim_tables._texts(paths, signers).items():
        path.write_text(text)


class Daemon:
    """What a daemon would have in memory: the tables as they were at the last reload."""

    def __init__(self, paths, fails=()):
        self.paths, self.fails, self.memory = paths, fails, None

    def reload(self):
        text = self.paths.key_table.read_text()
        for table in (self.paths.signing_table, self.paths.domains_table):
            named = {line.split()[1] for line in table.read_text().splitlines() if not line.startswith("#")}
            known = {line.split()[0] for line in text.splitlines() if not line.startswith("#")}
            assert named <= known, "a signing table names a key that the key table lacks: every message would fail"
        self.memory = parse(text, self.paths.domains_table.read_text())

    def probe(self, domain, signer):
        if domain in self.fails or self.memory.get(domain) != signer:
            raise ProbeError(f"{domain} came back unsigned")


def test_the_rows_are_as_in_the_original_procedure(paths):
    write(paths, {"a.example": OLD["a.example"]})
    rows = [path.read_text().splitlines()[1:] for path in paths.all]
    assert rows == [
        ["old._domainkey.a.example a.example:old:/keys/a.example/old.private"],
        ["*@a.example old._domainkey.a.example"],
        ["a.example old._domainkey.a.example"],
    ]


def test_tables_of_the_hand_written_procedure_are_understood():
    key_table = (
        "20210808._domainkey.a.example a.example:20210808:/etc/opendkim/keys/a.example/20210808.private # mine\n"
    )
    signing_table = "# comment\n*@a.example 20210808._domainkey.a.example\nuser@b.example other\n"
    assert parse(key_table, signing_table) == {
        "a.example": Signer("20210808", "/etc/opendkim/keys/a.example/20210808.private")
    }


def test_missing_tables_are_made_from_those_that_are_there(paths):
    write(paths, OLD)
    paths.domains_table.unlink()
    assert opendkim_tables.ensure_tables(paths) == [paths.domains_table]
    assert signers_in_force(paths) == OLD
    assert opendkim_tables.ensure_tables(paths) == []


def test_a_missing_table_names_the_rows_of_a_hand_written_key_table_as_it_calls_them(paths):
    paths.key_table.write_text("mine a.example:old:/keys/a.example/old.private\n")
    paths.signing_table.write_text("*@a.example mine\n")
    assert opendkim_tables.ensure_tables(paths) == [paths.domains_table]
    assert paths.domains_table.read_text().splitlines()[1:] == ["a.example mine"]
    assert signers_in_force(paths) == {"a.example": OLD["a.example"]}


def test_a_change_is_proven_and_leaves_nothing_behind(paths):
    write(paths, OLD)
    daemon = Daemon(paths)
    assert cutover(paths, OLD, NEW, daemon.reload, daemon.probe) == {}
    assert daemon.memory == signers_in_force(paths) == NEW
    assert opendkim_tables.is_written(paths, NEW)
    assert sorted(paths.key_table.parent.iterdir()) == sorted(paths.all)


def test_a_domain_whose_probe_fails_goes_back_and_the_others_go_on(paths):
    write(paths, OLD)
    daemon = Daemon(paths, fails=("a.example",))
    assert cutover(paths, OLD, NEW, daemon.reload, daemon.probe) == {"a.example": "a.example came back unsigned"}
    assert daemon.memory == signers_in_force(paths) == {**NEW, "a.example": OLD["a.example"]}


def test_a_reload_that_fails_puts_everything_back(paths):
    write(paths, OLD)
    daemon, reloads = Daemon(paths), itertools.count()

    def reload():
        if next(reloads) == 0:
            raise CutoverError("OpenDKIM does not run")
        daemon.reload()

    with pytest.raises(CutoverError, match="the keys that signed before go on signing"):
        cutover(paths, OLD, NEW, reload, daemon.probe)
    assert daemon.memory == signers_in_force(paths) == OLD
    assert not opendkim_tables.is_cut_short(paths)


class PowerCut(BaseException):
    """The machine stops here."""


def test_a_change_cut_at_any_write_leaves_tables_that_work_and_is_completed_by_the_next(paths, monkeypatch):
    write_for_good = opendkim_tables.replace_file
    for moment in itertools.count():
        write(paths, OLD)
        daemon, writes = Daemon(paths), itertools.count()

        def replace_file(path, text, mode, moment=moment, writes=writes):
            if next(writes) == moment:
                raise PowerCut
            write_for_good(path, text, mode)

        monkeypatch.setattr(opendkim_tables, "replace_file", replace_file)
        try:
            cutover(paths, OLD, NEW, daemon.reload, daemon.probe)
        except PowerCut:
            monkeypatch.setattr(opendkim_tables, "replace_file", write_for_good)
            daemon.reload()
            assert signers_in_force(paths) == OLD
            cutover(paths, signers_in_force(paths), NEW, daemon.reload, daemon.probe)
            assert daemon.memory == signers_in_force(paths) == NEW
        else:
            break
    assert moment > 6


@pytest.mark.parametrize("ends", [1, 1000], ids=["once", "from then on"])
def test_a_change_that_the_disk_fails_at_any_write_leaves_tables_that_work_and_is_completed_by_the_next(
    paths, monkeypatch, ends
):
    write_for_good = opendkim_tables.replace_file
    for moment in itertools.count():
        write(paths, OLD)
        daemon, writes = Daemon(paths), itertools.count()

        def replace_file(path, text, mode, moment=moment, writes=writes):
            if moment <= next(writes) < moment + ends:
                raise WriteError(f"{path}: could not be written")
            write_for_good(path, text, mode)

        monkeypatch.setattr(opendkim_tables, "replace_file", replace_file)
        try:
            cutover(paths, OLD, NEW, daemon.reload, daemon.probe)
            break
        except CutoverError as err:
            told = str(err)
        assert "could not be written" in told
        monkeypatch.setattr(opendkim_tables, "replace_file", write_for_good)
        daemon.reload()
        assert "a.example" in daemon.memory
        opendkim_tables.tidy(paths)
        cutover(paths, signers_in_force(paths), NEW, daemon.reload, daemon.probe)
        assert daemon.memory == signers_in_force(paths) == NEW
        assert sorted(paths.key_table.parent.iterdir()) == sorted(paths.all)
    assert moment > 6


def test_a_probe_is_repeated_until_the_reload_has_taken_effect_but_not_for_ever():
    answers, time = iter([ProbeError("old tables"), ProbeError("old tables"), None]), itertools.count()

    def probe(_domain, _signer):
        answer = next(answers)
        if answer:
            raise answer

    patient = opendkim_tables.patient(probe, limit=9, clock=lambda: next(time), pause=lambda _seconds: None)
    patient("a.example", OLD["a.example"])

    def never(_domain, _signer):
        raise ProbeError("never")

    patient = opendkim_tables.patient(never, limit=9, clock=lambda: next(time), pause=lambda _seconds: None)
    with pytest.raises(ProbeError, match="never"):
        patient("a.example", OLD["a.example"])


def policy(enabled=True, **dkim):
    return {"dkim": {"enabled": enabled, **dkim}}


def test_those_that_a_domain_signs_for_have_rows_the_nearest_first_and_are_no_signers(tmp_path):
    domains = {
        "a.example": policy(subdomains=True),
        "x.a.example": policy(subdomains=True),
        "b.example": policy(enabled=False, sign_as="a.example"),
        "c.example": policy(),
        "d.example": policy(enabled=False, subdomains=True),
    }
    paths = tables(tmp_path / "KeyTable", tmp_path / "SigningTable", domains)
    signers = {**OLD, "a.example": OLD["a.example"], "x.a.example": Signer("x", "/keys/x.a.example/x.private")}
    del signers["b.example"]
    write(paths, signers)
    rows = [[line.split()[0] for line in path.read_text().splitlines()[1:]] for path in paths.all[1:]]
    assert rows == [
        ["*@x.a.example", "*@a.example", "*@b.example", "*@*.x.a.example", "*@*.a.example"],
        ["x.a.example", "a.example", "b.example", ".x.a.example", ".a.example"],
    ]
    assert signers_in_force(paths) == signers
    assert opendkim_tables.is_written(paths, signers)
    paths.domains_table.unlink()
    opendkim_tables.ensure_tables(paths)
    assert opendkim_tables.is_written(paths, signers), "a missing form is made whole from the other"


def test_a_sender_with_a_key_of_its_own_keeps_it(tmp_path):
    paths = tables(tmp_path / "KeyTable", tmp_path / "SigningTable", {"b.example": policy(False, sign_as="a.example")})
    write(paths, OLD)
    assert signers_in_force(paths) == OLD


def test_settings_of_an_earlier_version_name_nobody_that_others_sign_for():
    assert opendkim_tables.senders_of({"a.example": policy()}) == {}


def test_senders_that_come_are_probed_though_the_signer_is_the_same(paths):
    write(paths, OLD)
    asked = []
    after = tables(paths.key_table, paths.signing_table, {"a.example": policy(subdomains=True), "b.example": policy()})
    cutover(after, OLD, OLD, lambda: None, lambda *which: asked.append((which[0], which[2:])))
    assert asked == [("a.example", ()), ("a.example", ("dkim-probe.a.example",))]
    asked.clear()
    cutover(after, OLD, OLD, lambda: None, lambda *which: asked.append(which))
    assert asked == []


def test_senders_whose_probe_fails_are_rolled_back_and_probed_again(paths):
    write(paths, OLD)
    after = tables(paths.key_table, paths.signing_table, {"a.example": policy(subdomains=True), "b.example": policy()})
    before = paths.domains_table.read_text()

    def refuse(domain, signer, *sender):
        if sender:
            raise ProbeError("not signed")

    for _ in range(2):
        assert cutover(after, OLD, OLD, lambda: None, refuse) == {"a.example": "not signed"}
        assert paths.domains_table.read_text() == before
    assert cutover(after, OLD, OLD, lambda: None, lambda *which: None) == {}
    assert ".a.example" in paths.domains_table.read_text()
