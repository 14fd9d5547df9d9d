"""One judgement of a message: what the self-test and the reflector say of it is the same, whatever is in it."""

import pytest

from mailhost.receiver import dmarc as receiver_dmarc
from mailhost.receiver import judge as receiver_judge
from mailhost.receiver.dmarc import Unanswered
from mailhost.receiver.judge import Queries
from mailhost.records.dmarc import check_dmarc
from mailhost.reflector import main as reflector_main
from mailhost.reflector.main import World
from mailhost.reflector.message import Envelope
from mailhost.selftest import message as selftest_message

CLIENT, OTHER = "192.0.2.9", "192.0.2.10"
SENDER = "User@Alpha.Test"
PLAIN = b"From: User <user@alpha.test>\r\nSubject: x\r\n\r\nhello\r\n"
SETTINGS = {"networks": []}


class Zone:
    """DNS as a test wants it: texts by name (``None``: no answer), and clients for which SPF passes."""

    def __init__(self, zone, clients=(CLIENT,)):
        self.zone, self.clients, self.asked = zone, clients, []

    def texts(self, name):
        self.asked.append(name)
        found = self.zone.get(name, [])
        if found is None:
            raise Unanswered(f"DNS gave no answer for {name} TXT: timed out")
        return found

    def spf(self, client, sender, helo):
        return ("pass", "") if client in self.clients else ("fail", f"not {client}")

    @property
    def queries(self):
        return Queries(self.spf, self.texts)


RECORD = {"_dmarc.alpha.test": ["v=DMARC1; p=reject"]}


def judged(message=PLAIN, clients=(CLIENT,), zone=None, **options):
    return receiver_judge.judge(message, clients, "h.example", SENDER, (zone or Zone(RECORD)).queries, **options)


def by_both(message, zone):
    """What the self-test and the reflector make of a message: SPF's result, the signatures, and DMARC."""
    ours = selftest_message.judge(message, SENDER, [CLIENT], "h.example", zone.queries)
    world = World(zone.spf, zone.texts, lambda domain: True)
    theirs = reflector_main.judge(message, Envelope(SENDER, CLIENT, "h.example"), SETTINGS, world)
    dmarc = {name: value for name, value in theirs["dmarc"].items() if name != "author"}
    return [
        (ours["spf"][0]["result"], ours["domain"], ours["dkim"], ours["dmarc"]),
        (theirs["spf"]["result"], theirs["spf"]["domain"], theirs["dkim"], dmarc),
    ]


@pytest.mark.parametrize(
    ("author", "result"),
    [
        (b"From: user@alpha.test", "pass"),
        (b"From: USER@ALPHA.TEST.", "pass"),
        (b"From: user@alpha.test (a@beta.test)", "pass"),
        (b'From: "a@beta.test" <user@alpha.test>', "pass"),
        (b"From: a@alpha.test, b@alpha.test", "pass"),
        (b"From: a@beta.test, b@alpha.test", "permerror"),
        (b"From: a@alpha.test\r\nFrom: b@beta.test", "permerror"),
        (b"From: undisclosed:;", "permerror"),
        (b"Sender: user@alpha.test", "permerror"),
        ("From: a@bücher.test".encode(), "none"),
    ],
)
def test_the_author_is_the_one_domain_in_from_for_the_self_test_and_the_reflector(author, result):
    ours, theirs = by_both(PLAIN.replace(b"From: User <user@alpha.test>", author), Zone(RECORD))
    assert ours == theirs
    assert ours[-1]["result"] == result


def test_an_author_beyond_ascii_is_looked_up_as_it_is_in_dns():
    zone = Zone({"_dmarc.xn--bcher-kva.test": ["v=DMARC1; p=none"]})
    found = judged(PLAIN.replace(b"alpha.test", "bücher.test".encode()), zone=zone)
    assert (found.author, found.dmarc["policy"]) == ("xn--bcher-kva.test", "none")


@pytest.mark.parametrize(
    ("record", "result", "policy"),
    [
        ("p=none", "pass", "none"),
        ("p=NONE", "pass", "none"),
        ("P=none", "permerror", None),
        ("P=reject; rua=mailto:d@alpha.test", "pass", "none"),
        ("p=reject; SP=none", "pass", "reject"),
        ("p=reject; ADKIM=s; ASPF=s", "pass", "reject"),
    ],
)
def test_a_tag_whose_name_is_in_upper_case_is_unknown_and_ignored(record, result, policy):
    ours, theirs = by_both(PLAIN, Zone({"_dmarc.alpha.test": [f"v=DMARC1; {record}"]}))
    assert ours == theirs
    assert (ours[-1]["result"], ours[-1]["policy"]) == (result, policy)


@pytest.mark.parametrize(("record", "is_usable"), [("p=none", True), ("p=NONE", True), ("P=none", False)])
def test_the_check_of_the_record_agrees_with_the_judgement(record, is_usable):
    text = f"v=DMARC1; {record}"
    assert (check_dmarc([text.encode()], "v=DMARC1; p=none") is None) is is_usable
    assert (judged(zone=Zone({"_dmarc.alpha.test": [text]})).dmarc["policy"] == "none") is is_usable


@pytest.mark.parametrize(
    ("record", "organization"),
    [("psd=y", "alpha.test"), ("psd=Y", "alpha.test"), ("psd=N", "test"), ("PSD=y", "test"), ("psd=u", "test")],
)
def test_whether_a_domain_is_a_public_suffix_is_said_in_either_case(record, organization):
    found = receiver_dmarc.walk("x.alpha.test", Zone({"_dmarc.test": [f"v=DMARC1; p=none; {record}"]}).texts)
    assert receiver_dmarc.organizational_domain("x.alpha.test", found) == organization


def test_a_record_with_psd_in_upper_case_ends_the_walk():
    zone = Zone({"_dmarc.alpha.test": ["v=DMARC1; p=none; psd=N"]})
    receiver_dmarc.walk("x.alpha.test", zone.texts)
    assert zone.asked == ["_dmarc.x.alpha.test", "_dmarc.alpha.test"]


def test_a_name_is_asked_for_once():
    zone = Zone(RECORD, clients=())
    signature = b"DKIM-Signature: v=1; a=rsa-sha256; d=alpha.test; s=s1; h=from; bh=AAAA; b=AAAA\r\n"
    judged(signature * 2 + PLAIN, zone=zone, older=True)
    assert len(zone.asked) == len(set(zone.asked)) > 1


@pytest.mark.parametrize(
    ("clients", "result"), [((CLIENT,), "pass"), ((CLIENT, OTHER), "fail"), ((OTHER,), "fail"), ((), "fail")]
)
def test_spf_counts_for_dmarc_only_if_it_passes_for_each_client(clients, result):
    found = judged(clients=clients)
    assert [one["address"] for one in found.spf] == list(clients)
    assert found.dmarc["result"] == result
    assert found.dmarc["reason"].count("(passing") == 0


def test_the_older_rules_and_the_signatures_are_as_many_as_the_caller_wants():
    signature = b"DKIM-Signature: v=1; d=alpha.test; s=s1\r\n"
    found = judged(signature * 3 + PLAIN, most=2)
    assert (len(found.dkim), found.left_out, found.older) == (2, 1, None)
    assert judged(older=True).older["result"] == "pass"


def test_dns_without_an_answer_is_a_temperror_for_both():
    ours, theirs = by_both(PLAIN, Zone({"_dmarc.alpha.test": None}))
    assert ours == theirs
    assert ours[-1]["result"] == "temperror"
