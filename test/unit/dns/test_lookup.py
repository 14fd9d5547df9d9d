"""What is made of DNS responses, where a zone is searched, and the verdict: all without a network."""

import asyncio
import importlib
import ipaddress
import os
import subprocess
import sys
import types
from pathlib import Path

import dns.message
import pytest

from mailhost.dns import lookup
from mailhost.dns import message as dns_message
from mailhost.dns.lookup import Answers, Options, Question, ServerAnswer, ask, judge, options, starting_name
from mailhost.dns.message import Said, read_resolver, read_response, within
from mailhost.errors import DnsError, MissingPackage

NAME = "sel._domainkey.example.com"
QUESTION = Question(NAME, "TXT")
SOA = "SOA ns1.example.com. root.example.com. 1 2 3 4 5"


def response(flags="QR AA", rcode="NOERROR", answer=(), authority=()):
    """A response as it comes from the wire, so that dnspython has compressed and parsed it."""
    lines = ["id 1", "opcode QUERY", f"rcode {rcode}", f"flags {flags}", ";QUESTION", f"{NAME}. IN TXT"]
    text = "\n".join([*lines, ";ANSWER", *answer, ";AUTHORITY", *authority, ";ADDITIONAL"])
    return dns.message.from_wire(dns.message.from_text(text).to_wire())


RECORD = f'{NAME}. 300 IN TXT "v=DKIM1; " "p=AAAA"'
CNAME = f"{NAME.upper()}. 300 IN CNAME Sel.Provider.Example."
CUT = "_domainkey.example.com. 300 IN NS NS1.Provider.example."
BELOW = {"child": "_domainkey.example.com", "child_servers": frozenset({"ns1.provider.example"})}
LAME = "not authoritative (lame)"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"answer": [RECORD]}, Said("answer", (b"v=DKIM1; p=AAAA",), 300)),
        (
            {"answer": [f'{NAME}. 60 IN TXT "b" "c"', f'{NAME}. 60 IN TXT "a"']},
            Said("answer", (b"a", b"bc"), 60),
        ),
        ({"answer": [f'{NAME}. 60 IN TXT "\\255\\000\\""']}, Said("answer", (b'\xff\x00"',), 60)),
        ({"answer": [f'{NAME}. 60 IN TXT ""']}, Said("answer", (b"",), 60)),
        ({"authority": [f"example.com. 300 IN {SOA}"]}, Said("absent", detail="no TXT record")),
        ({}, Said("absent", detail="no TXT record")),
        ({"rcode": "NXDOMAIN", "authority": [f"example.com. 300 IN {SOA}"]}, Said("absent", detail="NXDOMAIN")),
        (
            {"rcode": "NXDOMAIN", "authority": [f"com. 300 IN {SOA}"]},
            Said("unknown", detail="it speaks for the zone com, not for example.com (lame)"),
        ),
        ({"rcode": "SERVFAIL"}, Said("unknown", detail="SERVFAIL")),
        ({"rcode": "REFUSED", "flags": "QR"}, Said("unknown", detail="REFUSED")),
        ({"flags": "QR", "answer": [RECORD]}, Said("unknown", detail=LAME)),
        ({"flags": "QR RA", "rcode": "NXDOMAIN"}, Said("unknown", detail=LAME)),
        ({"flags": "QR", "answer": [CNAME]}, Said("unknown", detail=LAME)),
        ({"answer": [CNAME]}, Said(alias="sel.provider.example")),
        ({"rcode": "NXDOMAIN", "answer": [CNAME]}, Said(alias="sel.provider.example")),
        (
            {"answer": [CNAME, 'sel.provider.example. 300 IN TXT "not this server\'s to tell"']},
            Said(alias="sel.provider.example"),
        ),
        ({"flags": "QR", "authority": [CUT]}, Said(**BELOW)),
        ({"answer": [RECORD], "authority": [CUT]}, Said("answer", (b"v=DKIM1; p=AAAA",), 300, **BELOW)),
        (
            {"authority": [f"_domainkey.example.com. 300 IN {SOA}"]},
            Said("absent", detail="no TXT record", child="_domainkey.example.com"),
        ),
        ({"flags": "QR", "authority": ["example.com. 300 IN NS ns1.example.com."]}, Said("unknown", detail=LAME)),
        ({"flags": "QR", "authority": [". 300 IN NS a.root-servers.example."]}, Said("unknown", detail=LAME)),
        ({"flags": "QR", "authority": ["other.example.com. 300 IN NS ns."]}, Said("unknown", detail=LAME)),
        (
            {"answer": ['foreign.example. 300 IN TXT "x"']},
            Said("unknown", detail=f"it answers with records of foreign.example, not of {NAME}"),
        ),
    ],
)
def test_response_of_an_authoritative_server_is_read(message, said):
    assert read_response(response(**message), NAME, "TXT", "example.com") == said


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"answer": [RECORD]}, Said("answer", (b"v=DKIM1; p=AAAA",), 300)),
        ({"answer": [CNAME, 'Sel.Provider.Example. 9 IN TXT "x"']}, Said("answer", (b"x",), 9)),
        ({"answer": [CNAME]}, Said("absent", detail="no TXT record")),
        ({"rcode": "NXDOMAIN", "authority": [f"com. 300 IN {SOA}"]}, Said("absent", detail="NXDOMAIN")),
        ({"rcode": "SERVFAIL"}, Said("unknown", detail="SERVFAIL")),
    ],
)
def test_response_of_a_resolver_is_read_at_the_end_of_its_cname_chain(message, said):
    assert read_resolver(response("QR RD RA", **message), "TXT") == said


@pytest.mark.parametrize(
    ("name", "is_domain", "start"),
    [
        ("sel._domainkey.example.com", False, "example.com"),
        ("sel._domainkey.mail.example.com", True, "mail.example.com"),
        ("_dmarc.example.com", True, "example.com"),
        ("sel._domainkey._mail.example.com", False, "example.com"),
        ("example.com", True, "example.com"),
        ("mail.example.com", True, "mail.example.com"),
        ("mx1.example.com", False, "example.com"),
        ("example.com", False, "example.com"),
        ("1.2.0.192.in-addr.arpa", False, "2.0.192.in-addr.arpa"),
        ("a_b.example.com", True, "a_b.example.com"),
        ("_dmarc", True, ""),
    ],
)
def test_zone_is_searched_from_a_name_that_denies_nothing(name, is_domain, start):
    assert starting_name(name, is_domain) == start


@pytest.mark.parametrize(("name", "start"), [("a.example.com", "example.com"), ("example.com", "com"), ("com", "")])
def test_zone_of_a_ds_record_is_searched_from_the_name_above(name, start):
    assert starting_name(name, of_parent=True) == start


@pytest.mark.parametrize(
    ("name", "zone", "inside"),
    [("a.b", "b", True), ("b", "b", True), ("ab", "b", False), ("b", "a.b", False), ("a.b", "", True)],
)
def test_name_is_within_a_zone_by_whole_labels(name, zone, inside):
    assert within(name, zone) is inside


RIGHT = ServerAnswer("ns1.example.com", "192.0.2.1", "answer", (b"right",), 300)
ALSO_RIGHT = ServerAnswer("ns2.example.com", "192.0.2.2", "answer", (b"right",), 300)
WRONG = ServerAnswer("ns2.example.com", "192.0.2.2", "answer", (b"wrong",), 300)
ABSENT = ServerAnswer("ns3.example.com", "192.0.2.3", "absent", detail="NXDOMAIN")
SILENT = ServerAnswer("ns4.example.com", "192.0.2.4", "unknown", detail="no answer in 5 s")
NO_WAY = ServerAnswer("ns5.example.com", "", "unknown", detail="no route to any of its addresses")
RESOLVER = ServerAnswer("resolver", "192.0.2.53", "answer", (b"right",), 200)
BEHIND = ServerAnswer("resolver", "192.0.2.53", "absent", detail="NXDOMAIN")

SAYS_WRONG = "ns2.example.com (192.0.2.2): it is wrong."
SAYS_ABSENT = f"ns3.example.com (192.0.2.3) shows no TXT at {NAME} (NXDOMAIN)."
SAYS_SILENT = f"ns4.example.com (192.0.2.4) gave no usable answer for {NAME}: no answer in 5 s."
SAYS_NO_WAY = f"ns5.example.com gave no usable answer for {NAME}: no route to any of its addresses."
NOBODY = f"No authoritative server was asked for {NAME} TXT."


@pytest.mark.parametrize(
    ("seen", "value", "findings"),
    [
        ((RIGHT, ALSO_RIGHT), "published", ()),
        ((RIGHT, RESOLVER), "published", ()),
        ((RIGHT, WRONG), "different", (SAYS_WRONG,)),
        ((ABSENT, WRONG, SILENT), "different", (SAYS_WRONG, SAYS_ABSENT, SAYS_SILENT)),
        ((RIGHT, SILENT, ABSENT), "absent", (SAYS_ABSENT, SAYS_SILENT)),
        ((RIGHT, SILENT), "unknown", (SAYS_SILENT,)),
        ((RIGHT, NO_WAY), "unknown", (SAYS_NO_WAY,)),
        ((RIGHT, BEHIND), "absent", (f"resolver (192.0.2.53) shows no TXT at {NAME} (NXDOMAIN).",)),
        ((RESOLVER,), "unknown", (NOBODY,)),
        ((), "unknown", (NOBODY,)),
    ],
)
def test_verdict_is_published_only_if_everybody_is_right(seen, value, findings):
    verdict = judge(Answers(QUESTION, seen=seen), lambda values: None if values == (b"right",) else "it is wrong.")
    assert (verdict.value, verdict.findings) == (value, findings)


def test_trouble_makes_the_verdict_unknown_and_is_told():
    verdict = judge(Answers(QUESTION, seen=(RIGHT,), trouble="The zone was not found."), lambda _: None)
    assert (verdict.value, verdict.findings) == ("unknown", ("The zone was not found.",))


def test_options_are_those_of_the_pillar():
    pillar = {"check": True, "timeout": 2, "lifetime": 9, "in_flight": 3, "ignore_servers": ["a"], "resolvers": ["b"]}
    assert options({**pillar, "root_servers": []}) == Options(2, 9, 3, ("a",), ("b",))
    assert options({**pillar, "root_servers": ["192.0.2.1"]}) == Options(2, 9, 3, ("a",), ("b",), ("192.0.2.1",))
    # Settings of an earlier version do not have it.
    assert options(pillar).root_servers == options({**pillar, "root_servers": None}).root_servers
    assert len({ipaddress.ip_address(one) for one in options(pillar).root_servers}) == 26


@pytest.mark.parametrize("name", ["a..b", "a" * 64, ".".join(["a" * 60] * 5), "a.\\300.b"])
def test_a_name_that_dns_cannot_hold_is_unknown_and_stops_no_other_question(name):
    impossible, possible = Question(name, "TXT"), Question("a.test", "TXT")
    found = ask([impossible, possible], Options(), recursive=())
    assert found[impossible].trouble.startswith(f"{name!r} is no name that DNS can hold: ")
    assert judge(found[impossible], lambda _: None).value == "unknown"
    assert "resolver" in found[possible].trouble


def test_a_question_for_no_type_of_record_is_an_error_that_quotes_it():
    with pytest.raises(DnsError, match=r"'a\.b' TEXT is no question for DNS"):
        ask([Question("a.b", "TEXT")], Options(), recursive=())


def test_no_question_needs_no_network():
    assert ask([], Options(), recursive=()) == {}


def test_a_question_that_would_never_end_is_unknown_and_the_run_ends(monkeypatch):
    endless, other = Question("a.test", "TXT"), Question("b.test", "TXT")
    usual = lookup._Run._answers

    async def answers(self, question):
        if question == endless:
            await asyncio.get_running_loop().create_future()
        return await usual(self, question)

    monkeypatch.setattr(lookup._Run, "_answers", answers)
    monkeypatch.setattr(lookup, "_LATE", 0)
    found = ask([endless, other], Options(lifetime=0.1), recursive=())
    assert judge(found[endless], lambda _: None).value == "unknown"
    assert "There was no answer" in found[endless].trouble
    assert "resolver" in found[other].trouble


TASKS_OF_THEIR_OWN = """
import asyncio, contextvars
from mailhost.dns import queries

async def once(name):
    queries._doing.set(name)
    await asyncio.sleep(0)
    return queries._doing.get()

async def both():
    return await asyncio.gather(once("a"), once("b"))

print(contextvars.__file__)
print(asyncio.run(both()))
"""


def test_work_is_told_apart_where_another_module_has_the_name_contextvars(tmp_path):
    """With salt-ssh a host gets such a module (Salt 3006, 3007): lookups that wait for each other would never end."""
    (tmp_path / "contextvars.py").write_text(
        "from _contextvars import *\n\n"
        "class ContextVar:\n"
        "    def __init__(self, name, *, default=None): self.value = default\n"
        "    def set(self, value): self.value = value\n"
        "    def get(self): return self.value\n"
    )
    path = os.pathsep.join([str(tmp_path), str(Path(lookup.__file__).parents[2])])
    command, environment = [sys.executable, "-c", TASKS_OF_THEIR_OWN], {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str(tmp_path / "contextvars.py"), "['a', 'b']"]


@pytest.fixture
def without_dnspython(monkeypatch):
    """A Python in which nothing of dnspython has been imported yet."""
    for name in [name for name in sys.modules if name == "dns" or name.startswith("dns.")]:
        monkeypatch.delitem(sys.modules, name)


def test_module_that_took_dnspythons_name_is_dropped(without_dnspython, monkeypatch):
    monkeypatch.setitem(sys.modules, "dns", types.ModuleType("dns"))
    assert dns_message.dnspython().resolver


def test_missing_dnspython_is_reported_with_its_cure(without_dnspython, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    importlib.invalidate_caches()
    with pytest.raises(MissingPackage, match="salt-pip install dnspython"):
        ask([QUESTION], Options(), recursive=())
