"""The page as text: it asks for nothing, runs nothing that a host says, and tells everything without a script."""

import base64
import hashlib
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from test_docs import TOP, cells
from test_timeline import key

from example_fleet import NOW, SPF, answers, example, overview, waiting
from mailhost.page.fleet import fleet, silent
from mailhost.page.html import MEANING, PART, key_in_words, page
from mailhost.page.script import SCRIPT
from mailhost.page.style import style
from mailhost.page.templates import TEMPLATES

EVIL = "\"><script>alert(1)</script></noscript><img src=x onerror=alert(1)>&amp;'"


class Reader(HTMLParser):
    """All start tags with their attributes, open tags, and all text but of style, script and buttons."""

    VOID = ("meta", "link", "input", "path", "br")

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style", "button"}.intersection(self.open):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def ids(self):
        return [attributes["id"] for _, attributes in self.tags if "id" in attributes]


@pytest.fixture(scope="module")
def text():
    return page(example())


@pytest.fixture(scope="module")
def read(text):
    return Reader(text)


def test_every_tag_is_closed_where_it_must_be(read):
    assert read.open == []


@pytest.mark.parametrize("domains", [0, 1, PART, PART + 1, 5 * PART])
def test_a_page_of_any_size_has_every_domain_once_and_every_link_leads_somewhere(domains):
    found = Reader(page(example(domains, waiting_share=2)))
    ids = found.ids()
    assert len(set(ids)) == len(ids)
    assert sum(one.startswith("d-") for one in ids) == domains
    links = [attributes["href"] for tag, attributes in found.tags if tag == "a"]
    assert {link.removeprefix("#") for link in links} <= set(ids)


def test_the_page_names_no_address_from_which_something_would_be_fetched(read):
    asks = [
        (tag, name, value)
        for tag, attributes in read.tags
        for name, value in attributes.items()
        if name in ("src", "srcset", "href", "action", "data", "poster", "style", "background") and value[:1] != "#"
    ]
    assert asks == [("link", "href", "data:,")]


def test_no_style_fetches_anything():
    assert not re.search(r"url\(|@import|image-set", style(5, [0.5]))


def test_the_policy_allows_exactly_the_script_and_the_style_of_the_page(text):
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1].split("; ")
    wanted = ["default-src 'none'", "img-src data:"]
    for kind, tag in (("style", "style"), ("script", "script")):
        (inner,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        wanted.append(f"{kind}-src 'sha256-{digest}'")
    assert policy == [*wanted, "base-uri 'none'", "form-action 'none'"]


def test_nothing_that_a_host_says_becomes_markup():
    finding = replace(SPF, id=EVIL, about=EVIL, wanted=EVIL, seen=EVIL, remedy=EVIL)
    data = overview("mx1", ["a.example"], [finding])
    data["domains"] = {
        EVIL: [[EVIL, 2048, NOW + 5, NOW - 5, NOW - 4, NOW - 3]],
        **{f"{n}{EVIL}": [] for n in range(200)},
    }
    data["unread"], data["hostname"] = {f"0{EVIL}": EVIL}, EVIL
    found = fleet({EVIL: data, "mx2": overview("mx2", [EVIL])}, {f"{EVIL}2": silent(EVIL, EVIL)}, (EVIL,), NOW)
    harmless = Reader(page(fleet({"mx1": overview("mx1", ["a.example"])}, {}, (), NOW)))
    shown = Reader(page(found))
    assert shown.open == []
    assert [tag for tag, _ in shown.tags if tag in ("script", "img")] == ["script"]
    names = {name for _, attributes in harmless.tags for name in attributes}
    assert not [name for _, attributes in shown.tags for name in attributes if name.startswith("on") or "<" in name]
    assert {"class", "id"} <= names
    assert EVIL in shown.text


HOSTILE = (
    EVIL,
    "' onmouseover='alert(1)' x=\" onfocus=alert(1) autofocus tabindex=1 ",
    "</title></style></script></option></select></noscript></code></svg><!-- <![CDATA[ --><base href=//evil.example>",
    "`</code><script>alert(1)</script>`",
    'Publish: x"><b/onclick=alert(1)>. 60 IN TXT "</code></span><script>alert(1)</script>" "\'><img>"',
    "{{ fleet.__class__ }}{% for x in y %}{# <i> #}",
    "javascript:alert(1)//\u202e<i>\u2028\x1b[2J\x00&lt;script&gt;",
)


def hostile_fleet(field, evil):
    """A fleet with a hostile text in one of the places that a host, a minion or a DNS answer fills."""
    parts = {"id": "dns.spf", "about": "a.example", "wanted": "x", "seen": "y", "remedy": "z"}
    finding = replace(SPF, **{**parts, **({field: evil} if field in parts else {})})
    names = {
        one: evil if field == one else one for one in ("minion", "hostname", "domain", "selector", "other", "mute")
    }
    data = overview("mx1", [], [finding])
    data["hostname"], data["unread"] = names["hostname"], {names["domain"]: evil if field == "unread" else "why"}
    data["domains"] = {
        names["domain"]: [[names["selector"], 2048, NOW + 5, NOW - 5, NOW - 4, NOW - 3]],
        "a.example": [],
    }
    mute = {names["mute"]: silent(names["mute"], evil if field == "trouble" else "no answer")}
    odd = evil if field == "answer" else "no overview"
    hosts = {names["minion"]: data, "mx2": {**overview("mx2", []), "domains": {names["domain"]: []}}, "odd": odd}
    return fleet(hosts, mute, (names["other"],), NOW)


FIELDS = (
    *("id", "about", "wanted", "seen", "remedy", "minion", "hostname", "domain", "selector", "other", "mute", "unread"),
    *("trouble", "answer"),
)
SAFE = {
    "data-on": r"(\d+(ok|unknown|warn|fail|publish) ?)+",
    "data-status": r"ok|unknown|warn|fail",
    "class": r"[a-z ]+",
    "href": r"data:,|#\w+",
    "id": r"[\w%./~-]+",
    "value": r"\d*|[a-z|]+",
    "content": r"[^<>\"]+",
}
"""What the values of attributes look like, whatever a host says; the others are the page's own."""


@pytest.mark.parametrize("evil", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("field", FIELDS)
def test_a_hostile_text_in_any_place_changes_neither_the_tags_nor_the_attributes_nor_the_script(field, evil):
    tame = re.sub(r"[^\w\s`.]|\b(IN)\b", "x", evil) if field != "remedy" else re.sub(r"[<>&'{}%#=]", "x", evil)
    text = page(hostile_fleet(field, evil))
    shown, like = Reader(text), Reader(page(hostile_fleet(field, tame)))
    assert shown.open == []
    assert _shape(shown) == _shape(like)
    assert re.findall(r"<script>(.*?)</script>", text, re.DOTALL) == [SCRIPT]
    for tag, attributes in shown.tags:
        for name, value in attributes.items():
            if name in SAFE and value is not None:
                assert re.fullmatch(SAFE[name], value), (tag, name, value)


def _shape(read):
    return Counter((tag, *sorted(attributes)) for tag, attributes in read.tags)


def test_no_template_lets_a_value_be_markup():
    assert not [name for name, text in TEMPLATES.items() if re.search(r"\bsafe\b|autoescape", text)]


def test_what_nobody_would_see_is_seen():
    text = page(hostile_fleet("seen", "\u202e\u200b\x1b"))
    assert "\\u202e\\u200b\\x1b" in text
    assert not re.search("[\u202e\u200b\x1b]", text)


def test_code_in_a_message_is_code_and_no_backtick_is_left():
    finding = replace(SPF, seen="`postfix check`: exit status 1", remedy="Run it by hand: `postfix check`, then again.")
    text = page(fleet({"mx1": overview("mx1", ["a.example"], [finding])}, {}, (), NOW))
    body = text.partition("<script>")[0]
    assert body.count("<code>postfix check</code>") == 2
    assert "`" not in body


def test_a_record_to_publish_can_be_copied_and_one_that_a_stranger_wrote_can_not():
    line = 'a.example. 60 IN TXT "v=spf1 -all"'
    finding = replace(SPF, seen=f"Publish: {line}", remedy=f"Publish: {line} (then check again)")
    text = page(fleet({"mx1": overview("mx1", ["a.example"], [finding])}, {}, (), NOW))
    assert (
        len(re.findall(r'class="record"><code>a\.example\. 60 IN TXT &#34;v=spf1 -all&#34;</code><button', text)) == 1
    )


def test_keys_of_a_domain_stand_side_by_side_by_host_and_stage(read):
    text = Reader(page(example(1))).text
    assert "Keys of example.com stage mx1 mx2 signing" in text
    tables = sum(tag == "table" for tag, _ in read.tags)
    assert tables == sum(tag == "caption" for tag, _ in read.tags) == 6
    assert {attributes.get("scope") for tag, attributes in read.tags if tag == "th"} == {"col", "row"}


def test_keys_that_could_not_be_read_stand_in_the_column_of_their_host():
    data = {**overview("mx1", ["a.example"]), "unread": {"a.example": "`keys.json` is damaged"}}
    found = fleet({"mx1": data, "mx2": overview("mx2", ["a.example"])}, {}, (), NOW)
    assert "<td><code>keys.json</code> is damaged</td>" in page(found)


@pytest.mark.parametrize("domains", [0, 6, 400])
def test_headings_leave_no_level_out(domains):
    levels = [int(tag[1]) for tag, _ in Reader(page(example(domains))).tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - level <= 1 for level, later in pairwise(levels))


def test_every_landmark_and_every_field_has_a_name(read):
    tags = [tag for tag, _ in read.tags]
    assert [tags.count(one) for one in ("header", "main", "footer", "form")] == [1, 1, 1, 1]
    assert all("aria-labelledby" in attributes for tag, attributes in read.tags if tag == "section")
    assert tags.count("label") == tags.count("select") == 2
    assert all("aria-label" in attributes for tag, attributes in read.tags if tag in ("input", "form"))


@pytest.mark.parametrize(
    ("wanted", "status"),
    [("mx1 fail", "fail"), ("mx4 unknown", "unknown"), ("mx3 ok", "ok"), ("mx2 warn", "warn")],
)
def test_every_host_is_there_with_its_status_as_a_word(read, wanted, status):
    assert wanted in read.text
    assert MEANING[status] in read.text


def test_every_finding_is_there_with_what_was_wanted_and_seen_and_what_to_do(read):
    for one in example().seen:
        for words in (one.finding.id, one.finding.about, one.finding.wanted, one.finding.seen, one.finding.remedy):
            assert " ".join(words.split()) in read.text


def test_a_host_that_did_not_answer_is_shown_as_such(read):
    assert "mx4 unknown no answer within 120 s Nothing is known of its mail." in read.text


def test_minions_that_are_no_mail_hosts_are_named(read):
    assert "no mail hosts: db1, www1" in read.text


def test_data_that_is_old_is_visibly_old():
    found = fleet({"mx1": overview("mx1", ["a.example"], age=7 * 3600)}, {}, (), NOW)
    assert "as of 2026-11-24 11:00 UTC , 7 hours old" in Reader(page(found)).text


def test_a_domain_that_is_not_on_a_host_is_not_said_to_be_right_there():
    found = fleet({"mx1": overview("mx1", ["a.example"]), "mx2": overview("mx2", ["b.example"])}, {}, (), NOW)
    assert Reader(page(found)).text.count("not here") == 2


VERDICTS = [
    ({}, "All is right."),
    ({"mx1": "unknown"}, "No fault is known, but of 1 host not everything could be found out."),
    ({"mx1": "warn"}, "Mail goes, but 1 of 2 hosts is weak somewhere, or will fail."),
    ({"mx1": "warn", "mx2": "warn"}, "Mail goes, but all 2 hosts are weak somewhere, or will fail."),
    ({"mx1": "fail", "mx2": "warn"}, f"1 of 2 hosts is in trouble: {MEANING['fail']}."),
    ({"mx1": "fail", "mx2": "fail"}, f"All 2 hosts are in trouble: {MEANING['fail']}."),
]


@pytest.mark.parametrize(("statuses", "verdict"), VERDICTS)
def test_one_sentence_answers_whether_the_mail_is_all_right(statuses, verdict):
    hosts = {
        name: overview(name, ["a.example"], [replace(SPF, status=statuses[name])] if name in statuses else [])
        for name in ("mx1", "mx2")
    }
    text = page(fleet(hosts, {}, (), NOW))
    assert f'<p class="verdict">{verdict}</p>' in text
    assert re.search(r"<title>(.*?) Mail servers, 2026-11-24 18:00 UTC</title>", text)[1] == verdict


def test_the_meaning_of_a_status_is_the_one_in_the_docs():
    told = dict(row[:2] for row in cells((TOP / "docs/findings.md").read_text(), "| status | says"))
    for status, words in MEANING.items():
        assert told[status].startswith(words.partition(";")[0].partition("could")[0])


WORDS = [
    (key(3), "made 2026-11-21, waits until DNS shows its record"),
    (key(3, 2, due=1), "published 2026-11-22, signs from 2026-11-25 at the earliest"),
    (key(9, 8, 7, due=30), "published 2026-11-16, signs since 2026-11-17; next rotation: 2026-12-24"),
    (key(9, 8, 7, due=-1), "published 2026-11-16, signs since 2026-11-17; next rotation: 2026-11-23 (overdue)"),
    (key(9, 8, 7), "published 2026-11-16, signs since 2026-11-17; next rotation: never"),
    (key(9, 8, 7, 5, due=9), "signed 2026-11-17 to 2026-11-19; its record stays until 2026-12-03"),
    (key(9, None, None, 5), "never signed; its record stays until a run takes it back"),
    (
        key(90, 89, 88, 40, 20, due=10),
        "signed 2026-08-28 to 2026-10-15; revoked 2026-11-04, its record may go 2026-12-04",
    ),
    (key(90, 89, 88, 40, 20, 5), "signed 2026-08-28 to 2026-10-15; gone from DNS 2026-11-19"),
]


@pytest.mark.parametrize(("one", "words"), WORDS)
def test_what_the_time_line_draws_is_told_in_words_too(one, words):
    assert key_in_words(one, NOW) == f"one (2048 bits): {words}"


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("paper", ["paper", "raised"])
@pytest.mark.parametrize(
    ("ink", "wanted"),
    [
        ("ink", 4.5),
        ("quiet", 4.5),
        ("fail", 4.5),
        ("warn", 4.5),
        ("unknown", 4.5),
        ("ok", 4.5),
        ("key", 3),
        ("shown", 3),
        ("focus", 3),
    ],
)
def test_everything_can_be_read_against_its_ground(mode, paper, ink, wanted):
    """WCAG 2.2, 1.4.3 and 1.4.11: 4.5 for text, 3 for what is drawn."""
    blocks = re.findall(r":root \{(.*?)\}", style(0, []), re.DOTALL)[mode]
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", blocks))
    assert contrast(colours[paper], colours[ink]) >= wanted


def test_the_same_fleet_makes_the_same_page():
    assert page(example(200, 3)) == page(example(200, 3))


def test_a_record_of_many_domains_that_wait_is_one_group():
    names = [f"d{number}.example" for number in range(100)]
    found = fleet({"mx1": overview("mx1", names, [waiting(name, "mx1") for name in names])}, {}, (), NOW)
    read = Reader(page(found))
    assert sum(attributes.get("class") == "group" for _, attributes in read.tags) == 1
    assert "and 99 more" in read.text
    assert len(answers(1)) == 3
