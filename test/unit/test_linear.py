"""What a stranger wrote is read in a time that grows with its length and no faster: every expression, every reader."""

import resource
import subprocess
import sys
import textwrap

import pytest
from regular_expressions import ANCHORED, TOP, ambiguous, written

OPERATOR, SHORT = "the operator's own file or pillar", "text that was cut, or that a protocol bounds"
APPROVED = {
    r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*": "the dots part the labels: one way to read it",
    r'\s*("[^"]+"|[^\s#:][^:]*?)\s*:': OPERATOR,
    r"\w+:(/[^\s,{}]+)": OPERATOR,
    r"argv\[\]=(.*?) ;": OPERATOR,
    r"^[^#\n]*?[^:\s]+:[^:\s]+:(/\S+)": OPERATOR,
    r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\._domainkey\.[A-Za-z0-9.-]+": "the dots part the labels: one way to read it",
    r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----": OPERATOR,
    r"(?<![\w.-])v?\d+(\.\d+)+(?![\w-])": "the dots part the numbers, and none begins within another",
    r"\w+://[^/\s]*:[^/\s]*@|\bstatic:|^dsn:": OPERATOR,
    r"(unused parameter: [^=\s]+)=.*": OPERATOR,
    r"^(\d+)(?:\.\d+)? .*DKIM-Signature field added \(s=([^,\s]+), d=([^)\s]+)\)": SHORT,
    r"^[ \t]*x\b[ \t]*=?(.*)$": OPERATOR,
    r"://[^/\s:@]*:[^/\s@]+@": OPERATOR,
    r"^(\w+) *= *(.*)$": OPERATOR,
    r"{([^}]*)}": OPERATOR,
    r"[a-z0-9_-]+(\.[a-z0-9_-]+)*@([a-z0-9-]+\.)+[a-z0-9-]+": OPERATOR,
    r"-----BEGIN x-----.+?-----END x-----": OPERATOR,
    r'(0|128) +([A-Za-z0-9]+) +(?:"([^"\\]*)"|([^"\\\s]+))': OPERATOR,
    r"[0-9.]+|[0-9a-fA-F:]*:[0-9a-fA-F:.]*": OPERATOR,
    r" port \d+(, \d+)*$": "the commas part the numbers; it is the checks' own sentence",
    r'(?:\s+|//[^\n]*|#[^\n]*|/\*.*?\*/)|("[^"\n]*"|[{};]|[^\s{};"]+)': OPERATOR,
}
"""Expressions that :func:`ambiguous` cannot clear, and why they do no harm."""

LIMIT = 60
"""Seconds of the processor; each takes less than one of them."""


@pytest.mark.parametrize(("file", "function", "pattern"), sorted(set(written()), key=str))
def test_no_expression_takes_longer_than_in_proportion_to_its_text(file, function, pattern):
    why = ambiguous(pattern, function in ANCHORED)
    assert not why or pattern in APPROVED, f"{file}: {pattern!r}: {why}"


def test_every_approval_is_of_an_expression_that_is_there():
    assert set(APPROVED) <= {pattern for _, function, pattern in written() if ambiguous(pattern, function in ANCHORED)}


@pytest.mark.parametrize(
    ("pattern", "is_anchored"),
    [
        *((one, True) for one in (r"(a+)+b", r"(\w+\s?)*x", r"\s*\s*x", r".*,.*,.*x", r"([a-z]{1,9})*-", r"\d*\d*x")),
        *((one, False) for one in (r"\(.*?\)", r"[a-z]+:", r"\s+$", r"[\t ]+\r\n", r"%\{[^}]*\}", r"<[^>]+>")),
    ],
)
def test_an_expression_that_does_is_found(pattern, is_anchored):
    assert ambiguous(pattern, is_anchored)


@pytest.mark.parametrize(
    ("pattern", "is_anchored"),
    [
        *((one, True) for one in (r"\d+", r"([a-z]+\.)*[A-Z]+", r"a{1,9}b", r"[ \t]*:(.*)", r"v\s*=\s*D")),
        *((one, False) for one in (r"\s+", r"<[!-;=?-~]{1,250}>", r"^(\S+)$", r"a:[^,]", r"\([^()]*\)")),
    ],
)
def test_an_expression_that_does_not_is_let_pass(pattern, is_anchored):
    assert not ambiguous(pattern, is_anchored)


READERS = {
    "reflector's rules": """
        envelope = Envelope("a@b.example", "192.0.2.1", text[:300])
        header = Header(f"Auto-Submitted: {text}\\nFrom: {text}\\nSubject: {text}\\nReceived: x; {text}\\n\\n".encode())
        silence(envelope, header, "check@a.example")
        (author_domains(header), subject(header), arrival(header), message_ids(header, "from"), is_address(text))
    """,
    "reflector's bounds": 'excess(text.encode()); excess(b"A: b\\n\\n" + text.encode()); without_comments(text)',
    "a whole message": """
        for message in (f"From: {text}\\nDKIM-Signature: {text}\\n\\n{text}", text, f"A: b\\n\\n{text}"):
            settings = {"address": "check@a.example", "networks": [], "hostname": "mx", "language": "en"}
            world = World(lambda *_: ("none", ""), lambda name: [], lambda domain: True)
            ledger = Ledger("/nowhere", 1, 1)
            ledger.full = ledger.take = lambda *_: None
            reflect(message.encode(), Envelope("a@b.example", "192.0.2.1"), settings, world, ledger, 0)
    """,
    "a signature": """
        for field in (text, f"v=1; a=rsa-sha256; d=a.example; s=x; h=from; bh={text}; b={text}", f"h={text}"):
            message = f"DKIM-Signature: {field}\\nFrom: a@a.example\\n\\nx\\n".encode()
            receiver_dkim.dkim_results(message, lambda name: [text])
    """,
    "DMARC": """
        lookup = lambda name: [f"v=DMARC1; {text}", ] if name.startswith("_dmarc.a") else [f"v=DMARC1;p=x; rua={text}"]
        (judge("a.example", None, ["b.example"], lookup), judge("x.a.example", None, [], lookup), policy_record([text]))
        judge(text, text, [text], lambda name: [text])
    """,
    "a TXT record": """
        import contextlib
        begins = ("", "v=spf1 ", "v=DKIM1; p=", "v=DMARC1; ", "v=TLSRPTv1; rua=", "v=STSv1; id=")
        for value in (f"{begin}{text}" for begin in begins):
            for check in (
                lambda: records_spf.check_spf([value.encode()], "v=spf1 -all"),
                lambda: records_dmarc.check_dmarc([value.encode()], "v=DMARC1; p=none"),
                lambda: records_key.check_key((value.encode(),), "MIIB", "rsa"),
                lambda: transport_records.check_tls_rpt([value.encode()], "v=TLSRPTv1; rua=mailto:a@b"),
                lambda: transport_records.check_mta_sts([value.encode()], "v=STSv1; id=1"),
                lambda: check_spf.ending(value),
                lambda: mta_sts.record_problem(value.encode()),
                lambda: nsupdate._own_key("MIIB", value.encode()),
            ):
                with contextlib.suppress(ValueError):
                    check()
    """,
    "a policy": """
        import contextlib
        for value in (text, f"version: STSv1\\nmode: {text}\\nmx: {text}\\nmax_age: {text}\\n"):
            with contextlib.suppress(mta_sts.PolicyError):
                mta_sts.parse(value)
    """,
    "SPF, as pyspf reads it": """
        import spf
        spf.query.dns = lambda self, name, kind, **_: [(f"v=spf1 {text}".encode(),)] if kind == "TXT" else []
        receiver_spf.evaluator(5)("192.0.2.1", "a@a.example", "mx.a.example")
    """,
    "a banner, the log, CAA": """
        check_protocol._VERSION.search(text[:8192]), check_protocol._TELLING.search(text[:8192])
        check_signatures.newest("1764400000.5 " + "DKIM-Signature field added (s=" + text)
        check_signatures.newest(("1764400000.5 DKIM-Signature field added (s=x" * 20000))
        check_policy._is_usable("0", "issue", text)
    """,
    "a message on the page": """
        for begin in ("", "`", "Publish: ", 'Publish: a. 60 IN TXT "', "Publish: a. 60 IN MX "):
            page_message.remedy(begin + text)
        page_message.remedy('Publish: ' + f'a. 60 IN TXT ( "{text[:3]}" "x" ); ' * 5000)
    """,
    "wording": "shown(text); plain(text); wording.plain(text)",
}
"""How each reader of a stranger's text is called with ``text``."""

NAMES = """
from mailhost import wording
from mailhost.check.dns import policy as check_policy, spf as check_spf
from mailhost.check.protocol import area as check_protocol
from mailhost.check.running import signatures as check_signatures
from mailhost.page import message as page_message
from mailhost.receiver import dkim as receiver_dkim, spf as receiver_spf
from mailhost.receiver.dmarc import judge, policy_record
from mailhost.receiver.header import Header, author_domains
from mailhost.records import dmarc as records_dmarc, key as records_key, mta_sts, nsupdate, spf as records_spf
from mailhost.records import transport as transport_records
from mailhost.reflector.main import World, reflect
from mailhost.reflector.message import *
from mailhost.reflector.message import plain
from mailhost.reflector.rate import Ledger
from mailhost.reflector.rules import silence
from mailhost.schema import shown
"""

HOSTILE = {
    "open brackets": "(",
    "comments": "(a",
    "encoded words": "=?a?q?_",
    "beginnings of words": "=?",
    "blanks": " ",
    "tabs and an x": "\t" * 9999 + "x",
    "line breaks": "\n",
    "folds": "\n ",
    "letters": "a",
    "digits": "1",
    "dots": "a.",
    "macros": "%{",
    "angles": "<",
    "commas": "a,",
    "addresses": "a@b.example, ",
    "quotes": '"',
    "backslashes": "\\",
    "colons": "a:",
    "semicolons": "; ",
    "tags": "b =",
    "beyond ASCII": "\u00e4",
}


@pytest.mark.parametrize(("reader", "size"), [*((one, 100_000) for one in READERS), ("a whole message", 900_000)])
def test_no_reader_takes_long_over_what_is_hostile(reader, size):
    """All hostile texts, one after another, within a limit of the processor's time that is many times as generous."""
    body = textwrap.indent(textwrap.dedent(READERS[reader]), "    ")
    program = f"import sys\nsys.path.insert(0, {str(TOP / '_utils')!r})\n{NAMES}\n"
    program += (
        f"for part in {list(HOSTILE.values())!r}:\n    text = (part * ({size} // len(part) + 1))[:{size}]\n{body}\n"
    )
    limit = lambda: resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT))  # noqa: E731
    done = subprocess.run(
        [sys.executable, "-c", program], preexec_fn=limit, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stderr[-2000:]}"
