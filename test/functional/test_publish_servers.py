"""Publishing to a real BIND whose update-policy lets the TSIG key change TXT below _domainkey of one zone, no more."""

import base64
import os
import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import SimpleNamespace

import dns.message
import dns.tsig
import dns.update
import pytest

from mailhost.dns.lookup import Options
from mailhost.errors import PublishError
from mailhost.publish.change import Change
from mailhost.publish.credential import read_credential
from mailhost.publish.rfc2136 import publish, read_present
from mailhost.publish.server import Present
from name_server import LIMIT, NameServer, zone

ADDRESS, NOBODY, NS = "127.55.0.1", "127.55.0.66", "ns1.lab.test"
KEY, OPERATOR = "mx1.alpha.test", "operator"
SECRETS = {KEY: base64.b64encode(b"mx1's own" * 4).decode(), OPERATOR: base64.b64encode(b"another's" * 4).decode()}
WRONG_SECRET = base64.b64encode(b"nobody's." * 4).decode()
POLICY = f"grant {KEY} wildcard *._domainkey.alpha.test. TXT; grant {OPERATOR} zonesub ANY;"
ALPHA = """
alias._domainkey CNAME key.provider.test.
child NS ns1.child
ns1.child A 127.55.0.1
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    served = {"alpha.test": zone([NS], ALPHA), "beta.test": zone([NS]), "child.alpha.test": zone([NS])}
    options = {"alpha.test": f"update-policy {{ {POLICY} }};", "beta.test": "update-policy { deny * self * TXT; };"}
    folder = tmp_path_factory.mktemp("publish")
    with NameServer(folder, ADDRESS, served, zone_options=options, keys=SECRETS) as running:
        yield running


def credential_of(folder, name=KEY, secret=None, server=ADDRESS, port=53, timeout=LIMIT):
    """Return a credential read from a file that BIND's own tool made; its secret is then put in."""
    made = subprocess.run(["tsig-keygen", name], check=True, capture_output=True, text=True, timeout=600).stdout
    path = folder / f"{name}.key"
    path.touch(0o600)
    path.write_text(made)
    read = read_credential({"server": server, "port": port, "key_file": str(path), "timeout": timeout})
    return replace(read, secret=secret or SECRETS[name])


@pytest.fixture
def credential(tmp_path):
    return credential_of(tmp_path)


def key_text(number, size=294):
    return f"v=DKIM1; k=rsa; p={base64.b64encode(number.to_bytes(size, 'big')).decode()}"


OURS, OLD, OTHER = key_text(1), key_text(2), key_text(3)
REVOKED = "v=DKIM1; k=rsa; p="


def change(selector, wanted=OURS, expected=(), zone="alpha.test"):
    return Change(f"{selector}._domainkey.{zone}", zone, 60, wanted, expected)


def held(server, name):
    """Return the TXT values and the TTL that the server has at a name."""
    answer = [one for one in server.query(name, "TXT").answer if one.rdtype == dns.rdatatype.TXT]
    return [(b"".join(rdata.strings).decode(), one.ttl) for one in answer for rdata in one]


def serial(server):
    return server.query("alpha.test", "SOA").answer[0][0].serial


def put(server, name, *texts):
    """Have the operator put TXT records at a name, in the place of all others."""
    message = dns.update.UpdateMessage("alpha.test", keyring=dns.tsig.Key(OPERATOR, SECRETS[OPERATOR]))
    message.delete(f"{name}.", "TXT")
    for text in texts:
        strings = " ".join(f'"{text[start : start + 255]}"' for start in range(0, len(text), 255))
        message.add(f"{name}.", 60, "TXT", strings)
    assert dns.query.tcp(message, server.address, timeout=LIMIT).rcode() == 0


def results(changes, credential, **more):
    return [(one.result, one.detail) for one in publish(changes, credential, Options(lifetime=LIMIT), **more)]


def test_a_key_is_published_then_revoked_then_removed(server, credential):
    name = "life._domainkey.alpha.test"
    for step in (change("life"), change("life", REVOKED, (OURS,)), change("life", None, (OURS, REVOKED))):
        before = serial(server)
        assert results([step], credential) == [("sent", "")]
        assert held(server, name) == ([(step.wanted, 60)] if step.wanted else [])
        assert serial(server) > before
        assert results([step], credential) == [("already", "")]
    assert server.queries()[-1][2] is False


def test_a_key_that_serves_is_left_as_it_is_written(server, credential):
    put(server, "near._domainkey.alpha.test", OURS.replace("; ", ";"))
    assert results([change("near")], credential) == [("already", "")]
    assert held(server, "near._domainkey.alpha.test") == [(OURS.replace("; ", ";"), 60)]


def test_our_records_are_replaced_all_at_once(server, credential):
    put(server, "two._domainkey.alpha.test", OLD, OURS.replace("; ", ";"))
    assert results([change("two", expected=(OLD,))], credential) == [("sent", "")]
    assert held(server, "two._domainkey.alpha.test") == [(OURS, 60)]


@pytest.mark.parametrize("wanted", [OURS, REVOKED, None])
def test_somebody_elses_record_is_left_alone_and_holds_up_no_other(server, credential, wanted):
    put(server, "theirs._domainkey.alpha.test", OTHER)
    put(server, "free._domainkey.alpha.test")
    changes = [change("theirs", wanted, (OLD,)), change("free")]
    (refused, detail), sent = results(changes, credential)
    assert (refused, sent) == ("refused", ("sent", ""))
    assert f"{ADDRESS} did not change theirs._domainkey.alpha.test TXT in the zone alpha.test: it holds some" in detail
    assert held(server, "theirs._domainkey.alpha.test") == [(OTHER, 60)]


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [([], [OTHER], "YXRRSET"), ([OLD], [OTHER], "NXRRSET"), ([OLD], [OLD, OTHER], "NXRRSET"), ([OLD], [], "NXRRSET")],
)
def test_a_record_that_changes_between_reading_and_update_is_left_alone(server, credential, before, after, code):
    name = "raced._domainkey.alpha.test"
    put(server, name, *before)
    for selector in ("race1", "race2", "race3"):
        put(server, f"{selector}._domainkey.alpha.test")

    def overtaken(primary, changes):
        found = read_present(primary, changes)
        put(server, name, *after)
        return found

    changes = [change(one, expected=(OLD,)) for one in ("race1", "raced", "race2", "race3")]
    (first, raced, *others) = results(changes, credential, read=overtaken)
    assert [first, *others] == [("sent", "")] * 3
    assert raced[0] == "refused"
    assert f"{name} TXT in the zone alpha.test: {code}: the record was changed by somebody else" in raced[1]
    assert sorted(text for text, _ in held(server, name)) == sorted(after)


def test_names_beyond_the_policy_are_refused_and_the_others_go_through(server, credential):
    beyond = [Change(name, "alpha.test", 60, OURS) for name in ("alpha.test", "_dmarc.alpha.test", "www.alpha.test")]
    inside = [change(f"inside{number}") for number in range(20)]
    changes = [*inside[:7], beyond[0], *inside[7:], *beyond[1:]]
    for one, (result, detail) in zip(changes, results(changes, credential), strict=True):
        assert (result == "sent") == (one in inside)
        if one in beyond:
            said = f"REFUSED: its update-policy or allow-update does not let the key {KEY} change it."
            assert detail == f"{ADDRESS} did not change {one.name} TXT in the zone alpha.test: {said}"
        assert bool(held(server, one.name)) == (one in inside)


def test_a_zone_that_takes_no_update_from_us_holds_up_no_other_zone(server, credential):
    other, ours = results([change("x", zone="beta.test"), change("beside")], credential)
    assert other[0] == "refused"
    assert "in the zone beta.test: REFUSED: its update-policy or allow-update" in other[1]
    assert ours == ("sent", "")


PLACES = [
    (change("x", zone="nowhere.test"), f"REFUSED: it has no such zone, or does not let the key {KEY} read it"),
    (change("alias"), "the name is an alias (CNAME) of key.provider.test; publish the record there"),
    (Change("x._domainkey.child.alpha.test", "alpha.test", 60, OURS), "the name lies in another zone, child.alpha.te"),
]


@pytest.mark.parametrize(("wanted", "said"), PLACES)
def test_a_record_that_would_have_no_effect_is_not_sent(server, credential, wanted, said):
    (refused, detail), sent = results([wanted, change("effect", None)], credential)
    assert (refused, sent[0]) == ("refused", "already")
    assert said in detail


def test_hundreds_of_records_go_in_messages_of_a_hundred(server, credential):
    changes = [change(f"many{number}", key_text(number)) for number in range(300)]
    before = serial(server)
    assert results(changes, credential) == [("sent", "")] * 300
    assert serial(server) - before == 3
    assert results(changes, credential) == [("already", "")] * 300
    assert held(server, changes[299].name) == [(changes[299].wanted, 60)]


def test_a_run_whose_time_ends_has_sent_the_records_that_it_had_read(server, credential):
    changes = [change(f"first{number}") for number in range(1000)] + [change(f"then{number}") for number in range(10)]

    def until_time_is_over(primary, changes):
        if len(changes) == 10:
            primary.ends = 0
        return read_present(primary, changes)

    told = results(changes, credential, read=until_time_is_over)
    assert [result for result, _ in told] == ["sent"] * 1000 + ["refused"] * 10


def test_records_that_do_not_fit_one_message_go_in_several(server, credential):
    old = [change(f"large{number}", key_text(number, 550)) for number in range(100)]
    new = [change(f"large{number}", key_text(number + 200, 550), (key_text(number, 550),)) for number in range(100)]
    assert results(old, credential) == [("sent", "")] * 100
    assert results(new, credential) == [("sent", "")] * 100
    assert held(server, new[99].name) == [(new[99].wanted, 60)]


WRONG_KEYS = [
    ({"secret": WRONG_SECRET}, f"BADSIG: the key {KEY} has another secret there"),
    ({"name": "mx9.alpha.test", "secret": WRONG_SECRET}, "BADKEY: it knows no key mx9.alpha.test"),
]


@pytest.mark.parametrize(("wrong", "said"), WRONG_KEYS)
def test_a_wrong_key_is_told_for_every_record(server, tmp_path, wrong, said):
    told = results([change("wrong1"), change("wrong2")], credential_of(tmp_path, **wrong))
    assert [result for result, _ in told] == ["refused", "refused"]
    assert all(f": {said}" in detail for _, detail in told)
    assert WRONG_SECRET not in str(told)


def test_a_clock_that_is_off_is_told_with_the_difference(server, credential, monkeypatch):
    monkeypatch.setattr(dns.message, "time", SimpleNamespace(time=lambda: time.time() + 3600))
    ((result, detail),) = results([change("clock")], credential)
    assert result == "refused"
    assert "BADTIME: the clocks differ by " in detail
    assert abs(int(detail.rpartition("by ")[2].removesuffix(" s.")) - 3600) < LIMIT


@pytest.mark.parametrize(("wrong", "said"), WRONG_KEYS)
def test_a_key_withdrawn_between_reading_and_update_changes_nothing(server, tmp_path, wrong, said):
    def read(_, changes):
        return {one: Present() for one in changes}

    told = results([change("withdrawn1"), change("withdrawn2")], credential_of(tmp_path, **wrong), read=read)
    assert [result for result, _ in told] == ["refused", "refused"]
    assert all(f": {said}" in detail for _, detail in told)
    assert held(server, "withdrawn1._domainkey.alpha.test") == []


def test_a_server_that_is_down_is_told_for_every_record(tmp_path):
    told = results([change("x"), change("x", zone="beta.test")], credential_of(tmp_path, server=NOBODY))
    assert [result for result, _ in told] == ["refused", "refused"]
    assert all(f": no connection to {NOBODY}: connection refused." in detail for _, detail in told)


class Between:
    """A TCP relay to the server that passes questions on, but as many answers of a connection as it is told to."""

    def __init__(self, server):
        self.answers, self.silent, self.altered = 1 << 30, False, lambda answer: answer
        self._server = server.address
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self._listening.close()

    def _serve(self):
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                threading.Thread(target=self._relay, args=(connection,), daemon=True).start()

    def _relay(self, connection):
        with suppress(OSError), connection, socket.create_connection((self._server, 53), LIMIT) as behind:
            connection.settimeout(LIMIT)
            for number in range(1 << 30):
                asked = self._message(connection)
                if not asked:
                    return
                behind.sendall(asked)
                answer = self._message(behind)
                if number < self.answers:
                    connection.sendall(self.altered(answer))
                elif not self.silent:
                    return

    @staticmethod
    def _message(connection):
        head = connection.recv(2, socket.MSG_WAITALL)
        return head + connection.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL) if head else b""


@contextmanager
def relay(server, folder, timeout=LIMIT):
    between = Between(server)
    try:
        yield between, credential_of(folder, server="127.0.0.1", port=between.port, timeout=timeout)
    finally:
        between.close()


@pytest.mark.parametrize(("silent", "why"), [(False, "the connection was closed"), (True, "time-out, 1 s")])
def test_an_update_whose_answer_is_lost_may_have_been_carried_out(server, tmp_path, silent, why):
    name = "lost._domainkey.alpha.test"
    put(server, name)
    with relay(server, tmp_path, timeout=1) as (between, credential):

        def then_lost(primary, changes):
            found = read_present(primary, changes)
            between.answers, between.silent = 0, silent
            return found

        ((result, detail),) = results([change("lost")], credential, read=then_lost)
        assert result == "unknown"
        endpoint = f"127.0.0.1 port {between.port} may or may not have changed {name} TXT in the zone alpha.test"
        assert detail == f"{endpoint}: the answer got lost: {why}."
        between.answers = 1 << 30
        assert results([change("lost")], credential) == [("already", "")]


FORGED = [
    (lambda answer: answer[:5] + bytes([answer[5] ^ 5]) + answer[6:], "(BadSignature)"),
    (lambda answer: b"\0\x0c" + answer[2:4] + b"\xa8\0" + bytes(8), "it answered NOERROR without a signature"),
    (lambda answer: b"\0\x0c" + answer[2:4] + b"\xa8\5" + bytes(8), "it answered REFUSED without a signature"),
    (lambda answer: answer[:2] + b"\0\0" + answer[4:], "the answer belongs to another message"),
    (lambda answer: b"\0\x03abc", "the answer cannot be trusted (ShortHeader)"),
]


@pytest.mark.parametrize(("altered", "why"), FORGED)
def test_an_answer_that_somebody_on_the_way_made_decides_nothing(server, tmp_path, altered, why):
    put(server, "forged._domainkey.alpha.test")
    with relay(server, tmp_path) as (between, credential):

        def then_forged(primary, changes):
            found = read_present(primary, changes)
            between.altered = altered
            return found

        ((result, detail),) = results([change("forged")], credential, read=then_forged)
        assert result == "unknown"
        assert why in detail


def test_a_server_that_does_not_answer_is_left_alone_after_two_updates(server, tmp_path):
    changes = [change(f"silent{number}") for number in range(300)]
    with relay(server, tmp_path, timeout=1) as (between, credential):

        def then_silent(primary, changes):
            found = read_present(primary, changes)
            between.answers = 0
            return found

        told = results(changes, credential, read=then_silent)
        assert [result for result, _ in told] == ["unknown"] * 200 + ["refused"] * 100
        assert "it left 2 updates of this run without an answer" in told[-1][1]


def test_a_time_out_while_reading_changes_nothing(server, tmp_path):
    with relay(server, tmp_path, timeout=1) as (between, credential):
        between.answers, between.silent = 0, True
        ((result, detail),) = results([change("unread")], credential)
        assert result == "refused"
        assert detail.endswith(": the answer got lost: time-out, 1 s.")
    assert held(server, "unread._domainkey.alpha.test") == []


def test_a_server_that_answers_once_a_connection_is_asked_again(server, tmp_path):
    with relay(server, tmp_path) as (between, credential):
        between.answers = 1
        assert results([change(f"again{number}") for number in range(5)], credential) == [("sent", "")] * 5


@pytest.mark.parametrize(
    ("owner", "group", "mode", "trouble"),
    [
        (0, 0, 0o400, None),
        (0, 0, 0o640, None),
        (0, 1, 0o600, None),
        (0, 1, 0o640, "others may use"),
        (1, 0, 0o600, "belongs to user 1"),
    ],
)
def test_a_key_file_may_be_read_by_root_alone(tmp_path, owner, group, mode, trouble):
    path = tmp_path / "rfc2136.key"
    path.write_text(subprocess.run(["tsig-keygen"], check=True, capture_output=True, text=True, timeout=600).stdout)
    path.chmod(mode)
    os.chown(path, owner, group)
    settings = {"server": ADDRESS, "port": 53, "key_file": str(path), "timeout": 10}
    if trouble is None:
        assert read_credential(settings).name == "tsig-key"
    else:
        with pytest.raises(PublishError, match=trouble):
            read_credential(settings)
