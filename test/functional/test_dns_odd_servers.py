"""Name servers that answer as none should, on real sockets: what is made of them, and that all of it has an end."""

import socket
import threading
from contextlib import contextmanager, suppress

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rrset
import pytest

from mailhost.dns.lookup import Options, Question, ask, judge

ADDRESS, AWAY = "127.62.0.1", "127.62.0.2"
NAME = "sel._domainkey.odd.test"
VALUE = b"v=DKIM1; p=AAAA"
RECORDS = {
    ("", "NS"): "ns.odd.test.",
    ("test", "NS"): "ns.odd.test.",
    ("odd.test", "NS"): "ns.odd.test.",
    ("odd.test", "SOA"): "ns.odd.test. a.odd.test. 1 2 3 4 5",
    ("ns.odd.test", "A"): ADDRESS,
    (NAME, "TXT"): f'"{VALUE.decode()}"',
}


def plain(query):
    """Answer a query with authority from RECORDS."""
    response = dns.message.make_response(query)
    response.flags |= dns.flags.AA
    asked = query.question[0]
    name, rdtype = asked.name.to_text(omit_final_dot=True).lower().rstrip("."), dns.rdatatype.to_text(asked.rdtype)
    if (name, rdtype) in RECORDS:
        response.answer.append(dns.rrset.from_text(asked.name, 60, "IN", rdtype, RECORDS[name, rdtype]))
    return response


def referring(owner, servers, glue=()):
    """Answer for the root, and refer everything else."""

    def answer(query):
        if len(query.question[0].name) == 1:
            return plain(query)
        response = dns.message.make_response(query)
        response.authority.append(dns.rrset.from_text(owner, 60, "IN", "NS", *servers))
        response.additional += [dns.rrset.from_text(name, 60, "IN", "A", address) for name, address in glue]
        return response

    return answer


def without_edns(code=None, question=True):
    """Answer EDNS with a code, or not at all; ``question``: is it in the response."""

    def answer(query):
        if query.edns < 0:
            return plain(query)
        if code is None:
            return None
        response = dns.message.make_response(query)
        response.set_rcode(code)
        if code != dns.rcode.BADVERS:
            response.use_edns(False)
        if not question:
            response.question = []
        return response

    return answer


@contextmanager
def server(answer, address=ADDRESS, truncated=False):
    """Serve by UDP and TCP what ``answer`` makes of a query; yield the queries so far."""
    asked = []
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    udp = socket.socket(family, socket.SOCK_DGRAM)
    tcp = socket.create_server((address, 53), family=family)
    udp.bind((address, 53))

    def by_udp():
        while True:
            try:
                wire, place = udp.recvfrom(4096)
            except OSError:
                return
            if not wire:
                return
            query = dns.message.from_wire(wire)
            asked.append(query)
            response = answer(query)
            if response is not None:
                if truncated and response.rcode() == 0:
                    response.flags |= dns.flags.TC
                    response.answer.clear()
                udp.sendto(response.to_wire(max_size=65535), place)

    def by_tcp():
        while True:
            try:
                connection, _ = tcp.accept()
            except OSError:
                return
            with connection:
                query, _ = dns.query.receive_tcp(connection)
                asked.append(query)
                response = answer(query)
                if response is not None:
                    dns.query.send_tcp(connection, response.to_wire())

    threads = [threading.Thread(target=one, daemon=True) for one in (by_udp, by_tcp)]
    for thread in threads:
        thread.start()
    try:
        yield asked
    finally:
        for one, thread in zip((udp, tcp), threads, strict=True):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            thread.join()
            one.close()


def verdict(**bounds):
    question = Question(NAME, "TXT")
    answers = ask([question], Options(**{"root_servers": (ADDRESS,), "timeout": 3, **bounds}), ())[question]
    return judge(answers, lambda values: None if values == (VALUE,) else "another"), answers


@pytest.mark.parametrize("truncated", [False, True], ids=["by UDP", "by TCP"])
@pytest.mark.parametrize(
    "answer",
    [
        plain,
        without_edns(dns.rcode.FORMERR),
        without_edns(dns.rcode.FORMERR, question=False),
        without_edns(dns.rcode.NOTIMP),
        without_edns(dns.rcode.BADVERS),
        without_edns(None),
    ],
    ids=["EDNS", "FORMERR", "FORMERR alone", "NOTIMP", "BADVERS", "silence"],
)
def test_a_server_that_does_not_know_edns_is_asked_without(answer, truncated):
    with server(answer, truncated=truncated) as asked:
        found, answers = verdict(lifetime=20)
    assert found.value == "published", answers
    with_edns = [query for query in asked if query.edns >= 0]
    assert len(with_edns) == len(asked) if answer is plain else len(with_edns) < len(asked) / 2


def test_a_server_that_refuses_edns_and_everything_else_is_unknown():
    def answer(query):
        response = dns.message.make_response(query)
        response.set_rcode(dns.rcode.FORMERR)
        return response

    with server(answer):
        found, answers = verdict()
    assert found.value == "unknown"
    assert "FORMERR" in f"{answers.remarks}{answers.trouble}"


MANY = [f"n{number}.test." for number in range(300)]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (referring(".", ["ns.odd.test."]), "not authoritative (lame)"),
        (referring("org.", ["ns.odd.test."]), "not authoritative (lame)"),
        (referring("other.test.", ["ns.odd.test."]), "not authoritative (lame)"),
        (referring("test.", ["ns.test."], [("ns.test.", ADDRESS)]), "not authoritative (lame)"),
        (referring("test.", ["ns.test."]), "only be looked up with each other's help"),
        (referring("test.", MANY), "300 servers of test"),
        (referring("test.", ["ns.test."], [("ns.other.", ADDRESS)]), "only be looked up with each other's help"),
    ],
    ids=["upward", "aside", "to another", "to itself", "no glue", "thousands", "glue of another name"],
)
def test_a_referral_that_leads_nowhere_is_unknown_and_has_an_end(answer, told):
    with server(answer) as asked:
        found, answers = verdict()
    assert found.value == "unknown", answers
    assert told in answers.trouble
    assert len(asked) < 40


def test_addresses_that_are_none_of_the_zones_asked_are_not_believed():
    """``test``, which knows nothing of ``org``, gives an address for a server there that is not its own."""
    poison = {("odd.test", "NS"): "ns.real.org."}

    def answer(query):
        asked = query.question[0].name.to_text().lower()
        if asked == "odd.test.":
            response = dns.message.make_response(query)
            response.authority.append(dns.rrset.from_text("odd.test.", 60, "IN", "NS", poison["odd.test", "NS"]))
            response.additional.append(dns.rrset.from_text("ns.real.org.", 60, "IN", "A", AWAY))
            return response
        if asked == "test.":
            return referring("test.", ["ns.test."], [("ns.test.", ADDRESS)])(query)
        return plain(query)

    with server(answer), server(plain, AWAY) as misled:
        found, answers = verdict()
    assert (found.value, misled) == ("unknown", []), answers


SPELLED = ["::1", "0:0:0:0:0:0:0:1", "0000::0001", f"::ffff:{ADDRESS}", "::FFFF:7F3E:0001"]


@pytest.mark.parametrize("spelled", SPELLED)
def test_an_address_is_the_same_however_it_is_spelled(spelled):
    with server(plain), server(plain, "::1"):
        found, answers = verdict(root_servers=(spelled,), resolvers=(spelled,))
        assert found.value == "published", answers
        assert [seen.status for seen in answers.seen] == ["answer", "answer"]


@pytest.mark.parametrize("spelled", [f"::ffff:{ADDRESS}", "NS.Odd.Test.", r"n\115.odd.test"])
def test_a_server_is_ignored_however_it_is_spelled(spelled):
    with server(plain), server(plain, "::1"):
        found, answers = verdict(root_servers=("::1",), ignore_servers=(spelled,))
    assert found.value == "unknown"
    assert "ns.odd.test" in f"{answers.left_out}"
