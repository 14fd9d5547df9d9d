"""What is wanted of DNS, compared with answers: who is right, who is told what, and how short a report stays."""

import pytest

from mailhost.dns.lookup import Answers, Question, ServerAnswer
from mailhost.pillar.settings import resolve
from mailhost.records import mta_sts
from mailhost.records import wants as records_wants

GRAINS = {"fqdn": "mx1.a.example", "ipv4": ["192.0.2.25"], "ipv6": []}
RIGHT = {
    Question("mx1.a.example", "A"): ("192.0.2.25",),
    Question("mx1.a.example", "AAAA"): None,
    Question("a.example", "MX"): ((10, "mx1.a.example"),),
    Question("a.example", "TXT"): (b"other", b"v=spf1 ip4:192.0.2.25 -all"),
    Question("_dmarc.a.example", "TXT"): (b"v=DMARC1; p=none",),
}


def wants(pillar):
    settings = resolve(pillar, {"postfix": {"version": "3.7"}}, GRAINS)
    return records_wants.wants(settings["domains"], settings["hostname"], settings["addresses"])


def answers(values, target=""):
    """Answers of one server; ``None`` for a name without such a record, ``...`` for one that does not answer."""
    found = {}
    for question, value in values.items():
        status = {None: "absent", ...: "unknown"}.get(value, "answer")
        seen = ServerAnswer("ns1", "192.0.2.53", status, value if status == "answer" else (), 60, "NXDOMAIN")
        found[question] = Answers(question, target or question.name, "a.example", 60, (seen,))
    return found


def findings(changed, pillar=None, target=""):
    wanted = wants(pillar or {"domains": {"a.example": {"ttl": 60}}})
    assert {*records_wants.questions(wanted)} <= {*RIGHT, *changed}
    return records_wants.compare(wanted, answers({**RIGHT, **changed}, target))


def test_all_as_wanted_is_a_line_a_name_and_no_warning():
    found = findings({})
    assert records_wants.comment(found).splitlines() == [
        "5 of 5 as wanted in DNS",
        "mx1.a.example: A, AAAA as wanted",
        "a.example: MX, SPF, DMARC as wanted",
    ]
    assert records_wants.warnings(found) == []


SPF_LINE = 'a.example. 60 IN TXT "v=spf1 ip4:192.0.2.25 -all"'


@pytest.mark.parametrize(
    ("question", "value", "verdict", "line"),
    [
        (Question("a.example", "TXT"), None, "SPF is absent: ns1 (192.0.2.53) shows no TXT", SPF_LINE),
        (Question("a.example", "TXT"), (b"other",), "SPF is different: ns1 (192.0.2.53): none of", SPF_LINE),
        (Question("a.example", "TXT"), ..., "SPF could not be seen, so nothing is known: ns1", ""),
        (
            Question("_dmarc.a.example", "TXT"),
            None,
            "DMARC is absent",
            '_dmarc.a.example. 60 IN TXT "v=DMARC1; p=none"',
        ),
        (Question("a.example", "MX"), ((0, ""),), "MX is different", "a.example. 60 IN MX 10 mx1.a.example."),
        (Question("mx1.a.example", "A"), ("192.0.2.9",), "A is different", "mx1.a.example. 60 IN A 192.0.2.25"),
        (Question("mx1.a.example", "AAAA"), ("2001:db8::9",), "AAAA is different: ns1 (192.0.2.53): the name has", ""),
    ],
)
def test_each_trouble_is_one_warning_and_one_thing_to_do(question, value, verdict, line):
    found = findings({question: value})
    (warning,) = records_wants.warnings(found)
    assert verdict in warning
    assert ".." not in warning
    assert warning.endswith(".")
    assert (f"    {line}" in records_wants.comment(found).splitlines()) == bool(line)
    assert line not in records_wants.comment(found, todo=False) or not line
    todo = records_wants.todo(found)
    assert [sentence for sentence, lines in todo.items() if f"  {line}" in lines.split("\n")] == [warning] * bool(line)


def test_a_mail_host_with_an_alias_for_a_name_is_told():
    found = findings({}, target="elsewhere.example")
    assert [finding.want.label for finding in found if finding.value == "different"] == ["A"]


OTHER = {"domains": {"a.example": {"mx": ["mx1.a.example", "mx9.b.example"]}}}
MX = {Question("a.example", "MX"): ((10, "mx1.a.example"), (20, "mx9.b.example"))}


@pytest.mark.parametrize(
    ("four", "six", "value"),
    [
        (("192.0.2.9",), None, "published"),
        (None, ("2001:db8::9",), "published"),
        (("192.0.2.9",), ..., "published"),
        (None, ..., "unknown"),
        (None, None, "absent"),
    ],
)
def test_another_mail_host_needs_an_address_of_either_kind(four, six, value):
    host = {Question("mx9.b.example", "A"): four, Question("mx9.b.example", "AAAA"): six}
    found = findings({**MX, **host}, OTHER)
    assert [finding.value for finding in found if finding.want.of == "mx9.b.example"] == [value]


def test_what_is_not_wanted_is_not_asked():
    pillar = {"domains": {"a.example": {"mx": [], "spf": {"enabled": False}, "dmarc": {"enabled": False}}}}
    assert records_wants.questions(wants(pillar)) == [
        Question("mx1.a.example", "A"),
        Question("mx1.a.example", "AAAA"),
    ]


def test_a_report_on_a_thousand_domains_is_short():
    names = [f"d{number}.example" for number in range(1000)]
    wanted = wants({"domain": names[0], "domains": {name: {} for name in names}})
    asked = records_wants.questions(wanted)
    assert len(asked) == 3002
    absent = records_wants.compare(wanted, answers(dict.fromkeys(asked)))
    comment = records_wants.comment(absent, todo=False).splitlines()
    assert comment[0] == "1 of 3,002 as wanted in DNS, 3,001 absent"
    assert comment[-1].startswith("… and 2,981 more; ")
    assert len(comment) <= 2 + records_wants.DETAILS
    assert len(records_wants.warnings(absent)) == records_wants.DETAILS + 1
    unknown = records_wants.compare(wanted, answers(dict.fromkeys(asked, ...)))
    assert records_wants.comment(unknown).startswith("0 of 3,002 as wanted in DNS, 3,002 unknown")


def test_present_is_what_the_first_server_that_answered_has():
    question = Question("a.example", "TXT")
    silent, first, second = (
        ServerAnswer("ns1", "192.0.2.1", "unknown"),
        ServerAnswer("ns2", "192.0.2.2", "answer", (b"new",)),
        ServerAnswer("ns3", "192.0.2.3", "absent"),
    )
    resolver = ServerAnswer("resolver", "192.0.2.4", "answer", (b"old",))
    present = records_wants.present
    assert present({question: Answers(question, seen=(silent, first, second))}) == {("a.example", "TXT"): (b"new",)}
    assert present({question: Answers(question, seen=(second, first))}) == {("a.example", "TXT"): ()}
    assert present({question: Answers(question, seen=(silent, resolver), trouble="no server")}) == {}
    alias = present({question: Answers(question, target="b.example", seen=(first,))})
    assert alias["a.example", "CNAME"] == ("b.example",)


ON_TLS = {
    "ttl": 60,
    "mta_sts": {"mode": "testing", "addresses": ["192.0.2.80"]},
    "tls_rpt": {"rua": ["mailto:tls@a.example"]},
    "caa": ['0 issue "ca.example"'],
}
STS_ID = mta_sts.policy_id("version: STSv1\nmode: testing\nmx: mx1.a.example\nmax_age: 604800\n")
RIGHT_ON_TLS = {
    Question("_mta-sts.a.example", "TXT"): (f"v=STSv1; id={STS_ID}".encode(),),
    Question("mta-sts.a.example", "A"): ("192.0.2.80",),
    Question("mta-sts.a.example", "AAAA"): None,
    Question("_smtp._tls.a.example", "TXT"): (b"v=TLSRPTv1; rua=mailto:tls@a.example",),
    Question("a.example", "CAA"): ('0 issue "ca.example"',),
    Question("_25._tcp.mx1.a.example", "TLSA"): ("3 1 1 abab",),
}


def on_tls(changed):
    settings = resolve({"domains": {"a.example": ON_TLS}}, {"postfix": {"version": "3.7"}}, GRAINS)
    wanted = records_wants.wants(settings["domains"], settings["hostname"], settings["addresses"], "abab")
    assert {*records_wants.questions(wanted)} == {*RIGHT, *RIGHT_ON_TLS}
    return records_wants.compare(wanted, answers({**RIGHT, **RIGHT_ON_TLS, **changed}))


def test_records_on_tls_are_as_wanted_where_the_pillar_asks_for_them():
    found = on_tls({})
    assert records_wants.comment(found).splitlines() == [
        "11 of 11 as wanted in DNS",
        "mx1.a.example: A, AAAA, TLSA as wanted",
        "a.example: MX, SPF, DMARC, MTA-STS, TLS-RPT, A of mta-sts, AAAA of mta-sts, CAA as wanted",
    ]


@pytest.mark.parametrize("question", [one for one, value in RIGHT_ON_TLS.items() if value], ids=str)
def test_a_record_on_tls_that_is_missing_is_told_with_the_line_to_publish(question):
    ((warning, lines),) = records_wants.todo(on_tls({question: None})).items()
    assert "is absent: ns1 (192.0.2.53) shows no" in warning
    assert f"  {question.name}. 60 IN {question.rdtype} " in lines
