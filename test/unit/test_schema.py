"""What each kind of value takes, what it is read as, and what is said, at which place, of what it refuses."""

import pytest

from mailhost import schema
from mailhost.schema import (
    Address,
    AliasTarget,
    Bool,
    Choice,
    Domain,
    Duration,
    Integer,
    Items,
    Key,
    Names,
    OneOf,
    PasswordHash,
    Scalars,
    Section,
    Size,
    Text,
    UserName,
    Wrong,
)
from mailhost.wording import shown

WORD = Text(r"[a-z]+", "a word")
DOVECOT = PasswordHash(schemes=schema.HASHES_OF_DOVECOT)
MANY_DIGITS = "9" * 5000
HUGE = 16**5000
"""A number that YAML can have (``0x…``), and that Python does not write as a decimal."""


def read(kind, value, where="m"):
    """Return what a value is read as, and the problems."""
    problems = []
    return schema.read(kind, value, where, problems), problems


def itself(kind, *values):
    return [(kind, value, value) for value in values]


TAKEN = [
    *itself(Text(), "", "a b", "a\tb", "\u65e5\u672c", "null"),
    (Text(), 5, "5"),
    (Text(), 0, "0"),
    (Text(), 1.5, "1.5"),
    *itself(Bool(), True, False),
    *itself(Integer(), 0, 2**63 - 1),
    *itself(Integer(-3, 3), -3, 3),
    (Size(), 0, 0),
    (Size(), "0", 0),
    (Size(), "10 B", 10),
    (Size(), "1kib", 1024),
    (Size(), "1KB", 1000),
    (Size(), "2MiB", 2 * 2**20),
    (Size(), "2MB", 2 * 10**6),
    (Size(), "3 gib", 3 * 2**30),
    (Size(), 2**63 - 1, 2**63 - 1),
    (Size(), "007", 7),
    (Duration(), 0, 0),
    (Duration(), "90", 90),
    (Duration(), "90s", 90),
    (Duration(), "15 m", 900),
    (Duration(), "72h", 72 * 3600),
    (Duration(), "14d", 14 * 86400),
    (Duration(), "2w", 14 * 86400),
    (Duration(), 2**31 - 1, 2**31 - 1),
    (Duration(10, 60), "10s", 10),
    (Duration(10, 60), "1m", 60),
    (Choice(("yes", "no")), True, "yes"),
    (Choice(("yes", "no")), False, "no"),
    *itself(Choice((1024, 2048)), 1024),
    (Domain(), "Example.COM.", "example.com"),
    (Domain(), " example.com ", "example.com"),
    (Domain(), "\u00fc.example", "xn--tda.example"),
    (Domain(), "\u00fc\u3002example", "xn--tda.example"),
    (Domain(), "STRASSE.example", "strasse.example"),
    *itself(Domain(), f"{'a' * 63}.example", ".".join(["a" * 61] * 4 + ["bcdef"]), "1.a", "a-b.c--d.example"),
    *itself(Domain(underscores=True), "_spf.a_b.example"),
    (Address(), "192.0.2.1", "192.0.2.1"),
    (Address(), "2001:0DB8:0:0::0001", "2001:db8::1"),
    (UserName(), "_a.b-c9", "_a.b-c9"),
    *itself(UserName(), "a" * 32),
    *itself(AliasTarget(), "alice", "alice@a.example", "/var/log/x", ":include:/etc/list", "\\alice"),
    (AliasTarget(), " alice ", "alice"),
    (AliasTarget(), "|/bin/ticket", "|/bin/ticket"),
    (AliasTarget(), "|/bin/ticket --queue help", '"|/bin/ticket --queue help"'),
    (AliasTarget(), '"|/bin/ticket --queue help"', '"|/bin/ticket --queue help"'),
    (AliasTarget(), '|/bin/x "a,b"', '"|/bin/x \\"a,b\\""'),
    (AliasTarget(), '"|/bin/x \\"a,b\\""', '"|/bin/x \\"a,b\\""'),
    *itself(PasswordHash(), "$6$salt$hash", "$1$salt$hash", "$y$j9T$salt$hash"),
    (PasswordHash(), "{SHA512-CRYPT}$6$salt$hash", "$6$salt$hash"),
    *itself(DOVECOT, "{ARGON2ID}$argon2id$v=19$x", "{SSHA512}c2FsdA==", "{PBKDF2}$1$salt$1000$x", "{SSHA256.HEX}00ff"),
    (DOVECOT, "$argon2id$v=19$x", "{ARGON2ID}$argon2id$v=19$x"),
    *itself(Scalars(), [], ["a", True, False]),
    (Scalars(), (1, 2.5), ["1", "2.5"]),
    (OneOf((Bool(), WORD)), "yes", "yes"),
    *itself(OneOf((Bool(), WORD)), True),
    (OneOf((WORD, Items(WORD, 1))), ("a", "b"), ["a", "b"]),
    (OneOf((Duration(), WORD)), "5m", 300),
    *itself(Items(WORD), [], ["a", "b"]),
    (Items(WORD, 2), ("a", "b"), ["a", "b"]),
    *itself(Names(WORD, Integer()), {}, {"b": 1, "a": 2}),
    (Names(Domain(), Bool()), {"A.Example.": True}, {"a.example": True}),
    (Names(WORD, Integer(), nullable=True), {"a": None, "b": 0}, {"a": None, "b": 0}),
]


@pytest.mark.parametrize(("kind", "value", "found"), TAKEN, ids=shown)
def test_a_value_is_read_in_its_one_form(kind, value, found):
    seen, problems = read(kind, value)
    assert (seen, type(seen), problems) == (found, type(found), [])


NOT_A_SIZE, NOT_A_TIME = "is not a number of bytes (10485760, 50MiB)", "is not a time in seconds or with a unit (90s,"
REFUSED = [
    (Text(), None, "None is nothing, but text is wanted"),
    (Text(), True, "True is true or false, but text is wanted"),
    (Text(), ["a"], "['a'] is a list, but text is wanted"),
    (Text(), b"a", "b'a' is a bytes, but text is wanted"),
    (Text(), "a\nb", r"'a\nb' has a line break in it, but text on one line is wanted"),
    (Text(), "a\r", "has a line break in it"),
    (Text(), "a\x7f", "has a control character in it"),
    (Text(), "a\x9b2J", "has a control character in it"),
    (Text(), "a\u2029", "has a control character in it"),
    (Text(), "\ud800", "has a control character in it"),
    (Text(), HUGE, "too large, to be shown is not text"),
    (WORD, "aB", "'aB' is not a word"),
    (WORD, "", "'' is not a word"),
    (WORD, "a\n", "has a line break in it, but a word on one line is wanted"),
    (WORD, 5, "'5' is not a word"),
    (Bool(), 1, "1 is a number, but true or false is wanted"),
    (Bool(), 0, "0 is a number, but true or false is wanted"),
    (Bool(), "true", "'true' is text, but true or false is wanted"),
    (Bool(), None, "None is nothing, but true or false is wanted"),
    (Integer(), True, "True is true or false, but a whole number is wanted"),
    (Integer(), "5", "'5' is text, but a whole number is wanted"),
    (Integer(), 5.0, "5.0 is a number with a fraction, but a whole number is wanted"),
    (Integer(1, 9, "bits"), 0, "0 is out of range: a whole number of bits from 1 to 9 is wanted"),
    (Integer(1, 9), 10, "10 is out of range"),
    (Integer(), HUGE, "an int that is too deep, or too large, to be shown is out of range"),
    (Size(), True, f"True {NOT_A_SIZE}"),
    (Size(), None, f"None {NOT_A_SIZE}"),
    (Size(), -1, f"-1 {NOT_A_SIZE}"),
    (Size(), 1.5, f"1.5 {NOT_A_SIZE}"),
    (Size(), "1.5MiB", f"'1.5MiB' {NOT_A_SIZE}"),
    (Size(), "5K", f"'5K' {NOT_A_SIZE}"),
    (Size(), "5  MB", f"'5  MB' {NOT_A_SIZE}"),
    (Size(), "5MB\n", NOT_A_SIZE),
    (Size(), "\u0665MB", NOT_A_SIZE),
    (Size(), ["5"], NOT_A_SIZE),
    (Size(), MANY_DIGITS, NOT_A_SIZE),
    (Size(), HUGE, NOT_A_SIZE),
    (Size(most=1024), "2KiB", "'2KiB' is too large: at most 1024 bytes are wanted"),
    (Duration(), True, f"True {NOT_A_TIME}"),
    (Duration(), -5, f"-5 {NOT_A_TIME}"),
    (Duration(), 1.5, f"1.5 {NOT_A_TIME}"),
    (Duration(), "", f"'' {NOT_A_TIME}"),
    (Duration(), "5D", f"'5D' {NOT_A_TIME}"),
    (Duration(), "5 min", f"'5 min' {NOT_A_TIME}"),
    (Duration(), "1h30m", f"'1h30m' {NOT_A_TIME}"),
    (Duration(), "5d\n", NOT_A_TIME),
    (Duration(), "\u0665d", NOT_A_TIME),
    (Duration(), MANY_DIGITS, NOT_A_TIME),
    (Duration(), HUGE, NOT_A_TIME),
    (Duration(10), "9s", "'9s' is too short: at least 10 seconds are wanted"),
    (Duration(most=60), "2m", "'2m' is too long: at most 60 seconds are wanted"),
    (Duration(), 2**31, "is too long: at most 2147483647 seconds are wanted"),
    (Choice(("none", "reject")), "rejct", "'rejct' is not one of none, reject; did you mean 'reject'?"),
    (Choice(("none", "reject")), "Reject", "'Reject' is not one of none, reject; did you mean 'reject'?"),
    (Choice(("none", "reject")), "xyz", "'xyz' is not one of none, reject; valid here: none, reject"),
    (Choice(("none", "reject")), True, "'yes' is not one of none, reject"),
    (Choice((1, 2)), "1", "'1' is not one of 1, 2; did you mean 1?"),
    (Choice((1, 2)), 1.0, "1.0 is not one of 1, 2"),
    (Choice((1, 2)), True, "'yes' is not one of 1, 2"),
    (Choice(("a",)), {"a": 1}, "{'a': 1} is not one of a"),
    (Choice(("a",)), HUGE, "is not one of a; valid here: a"),
    (Domain(), None, "None is nothing, but a domain name (example.com) is wanted"),
    (Domain(), "", "the label '' is not 1 to 63 letters, digits or inner hyphens"),
    (Domain(), "a.example..", "the label '' is not 1 to 63"),
    (Domain(), ".a.example", "the label '' is not 1 to 63"),
    (Domain(), "a-.example", "the label 'a-' is not 1 to 63"),
    (Domain(), "_dmarc.example", "the label '_dmarc' is not 1 to 63"),
    (Domain(), "*.example", "the label '*' is not 1 to 63"),
    (Domain(), "a.example\nb", r"the label 'example\nb' is not 1 to 63"),
    (Domain(), "a@b.example", "the label 'a@b' is not 1 to 63"),
    (Domain(underscores=True), "-a.example", "1 to 63 letters, digits, underscores or inner hyphens"),
    (Domain(), "localhost", "it has a single label"),
    (Domain(), ".".join(["a" * 61] * 4 + ["bcdefg"]), "it has 254 characters, 253 are allowed"),
    (Domain(), "192.0.2.1", "it looks like an IP address"),
    (Domain(), "\u00fc\u202e.example", "is not a domain name: Codepoint U+202E"),
    (Domain(), "\u00fc\ud800.example", "is not a domain name: Codepoint U+D800"),
    (Domain(), HUGE, "too large, to be shown is a number, but a domain name"),
    (Address(), "192.0.2.010", "'192.0.2.010' is not an IPv4 or IPv6 address"),
    (Address(), "192.0.2.1/32", "is not an IPv4 or IPv6 address"),
    (Address(), 3221225985, "3221225985 is not an IPv4 or IPv6 address"),
    (
        Address(),
        "fe80::1%eth0",
        "'fe80::1%eth0' is not an IPv4 or IPv6 address: what follows the % is of one host alone",
    ),
    (Address(), None, "None is not an IPv4 or IPv6 address"),
    (Address(), HUGE, "is not an IPv4 or IPv6 address"),
    (UserName(), "Alice", "'Alice' has capitals, and Postfix looks users up in lower case (local(8))"),
    (UserName(), "9a", "'9a' is not a user name"),
    (UserName(), "a" * 33, "is not a user name"),
    (UserName(), "\u017fam", "'\u017fam' is not a user name"),
    (UserName(), "\u212aim", "is not a user name"),
    (AliasTarget(), "", "'' is not a recipient"),
    (AliasTarget(), "a, b", "'a, b' is not a recipient"),
    (AliasTarget(), "|ticket # help", "is not a program (|/usr/local/bin/ticket --queue help) without a #"),
    (AliasTarget(), "|", "is not a program"),
    (AliasTarget(), "| ;x", "is not a program"),
    (PasswordHash(), "{SHA512-CRYPT}hunter2", "what follows {SHA512-CRYPT} does not begin with $ (crypt(5))"),
    (PasswordHash(), "{PLAIN}hunter2", "its scheme is PLAIN, and these are known here: BLF-CRYPT, CRYPT, MD5-CRYPT,"),
    (PasswordHash(), "{ARGON2ID}$argon2id$hunter2", "its scheme is ARGON2ID, and these are known here: BLF-CRYPT, CRY"),
    (DOVECOT, "{PLAIN}hunter2", "its scheme is PLAIN, and these are known here: ARGON2, ARGON2I, ARGON2ID, BLF-CRYPT,"),
    (DOVECOT, "hunter2", "a password itself does not belong in the pillar"),
    (PasswordHash(), "$6$hunter2$a:b", "a password itself does not belong in the pillar"),
    (PasswordHash(), "$6$hunter2\n", "a password itself does not belong in the pillar"),
    (PasswordHash(), ["hunter2"], "a password itself does not belong in the pillar"),
    (Scalars(), "a", "'a' is not a list of plain values"),
    (Scalars(), ["a", None], "None is nothing, but a plain value is wanted"),
    (Scalars(), [["a"]], "['a'] is a list, but a plain value is wanted"),
    (OneOf((Bool(), WORD)), "A", "'A' is not true or false or a word"),
    (
        OneOf((Bool(), WORD)),
        "a\x1b",
        "has a control character in it, but true or false or a word on one line is wanted",
    ),
    (OneOf((WORD, Items(WORD, 1))), [], "[] is not a word or a list of a word"),
    (Items(WORD), None, "None is nothing, but a list of a word is wanted"),
    (Items(WORD), {"a": 1}, "{'a': 1} is a mapping, but a list of a word is wanted"),
    (Items(WORD, 2), ["a"], "the list has 1 entries, at least 2 are wanted"),
    (Names(WORD, Bool()), None, "None is nothing, but a mapping from a word to true or false is wanted"),
    (Names(WORD, Bool()), [("a", True)], "is a list, but a mapping from a word to true or false is wanted"),
    (Section(form="a table"), 5, "5 is a number, but a table is wanted"),
]


@pytest.mark.parametrize(("kind", "value", "said"), REFUSED, ids=shown)
def test_a_value_that_is_refused_is_named_with_what_would_be_right(kind, value, said):
    _, (problem,) = read(kind, value, "mailserver:a:b")
    assert problem.startswith("mailserver:a:b: ")
    assert said in problem
    assert "hunter2" not in problem
    assert len(problem) < 400
    assert problem.isprintable()


SERVER = Section({"port": Key(Integer(1, 65535), "A port.", 25), "hosts": Key(Items(Domain()), "Hosts.", ())})
TREE = Section(
    {
        "servers": Key(Names(WORD, SERVER), "Servers.", {}),
        "own": Key(SERVER, "The own server."),
        "words": Key(Items(WORD), "Words.", ("a",)),
        "on": Key(Bool(), "Whether.", True),
        "soak": Key(Duration(), "How long.", computed="twice the TTL"),
    }
)
EMPTY = {"port": 25, "hosts": []}
DEFAULTS = {"servers": {}, "own": EMPTY, "words": ["a"], "on": True, "soak": None}


@pytest.mark.parametrize(
    ("value", "changed"),
    [
        (None, {}),
        ({}, {}),
        (dict.fromkeys(DEFAULTS), {}),
        ({"own": {"port": None}}, {}),
        ({"on": False, "words": [], "soak": 0}, {"on": False, "words": [], "soak": 0}),
        ({"servers": {"a": None, "b": {"port": 26}}}, {"servers": {"a": EMPTY, "b": {**EMPTY, "port": 26}}}),
    ],
)
def test_null_is_as_good_as_a_key_left_out_and_nothing_else_is(value, changed):
    found, problems = read(TREE, value)
    assert problems == []
    assert found == {**DEFAULTS, **changed}
    assert list(found) == list(DEFAULTS)


def test_what_is_done_to_settings_does_not_change_the_defaults_of_the_next():
    for _ in range(2):
        found, _ = read(TREE, {"servers": {"a": None, "b": None}})
        assert found == {**DEFAULTS, "servers": {"a": EMPTY, "b": EMPTY}}
        found["words"].append("b")
        found["own"]["hosts"].append("a.example")
        found["servers"]["a"]["hosts"].append("a.example")
        assert found["servers"]["b"] == EMPTY
        read(TREE, {})[0]["servers"]["x"] = 1
    assert TREE.keys["servers"].default == {}


PLACES = [
    ({"own": {"port": 0}}, ["m:own:port"]),
    ({"servers": {"a": {"hosts": ["a.example", "b", 5]}}}, ["m:servers:a:hosts:1", "m:servers:a:hosts:2"]),
    ({"servers": {"A": {"port": 0}, "b": 5}}, ["m:servers:A", "m:servers:b"]),
    ({"servers": {5: None, None: None, "x\ny": None}}, ["m:servers:5", "m:servers:None", r"m:servers:'x\ny'"]),
    ({"servers": {HUGE: None}}, ["m:servers:an int that is too deep, or too large, to be shown"]),
    ({"words": "a", "on": "on", "soak": "x"}, ["m:words", "m:on", "m:soak"]),
    ({"wrds": 1, "own": {"prt": 1}, 5: 1}, ["m:wrds", "m:5", "m:own:prt"]),
    ([], ["m"]),
    ({"own": [], "servers": 5}, ["m:servers", "m:own"]),
]


@pytest.mark.parametrize(("value", "places"), PLACES, ids=shown)
def test_all_that_is_wrong_is_named_each_with_its_place(value, places):
    found, problems = read(TREE, value)
    assert [problem.split(": ")[0] for problem in problems] == places
    assert set(found) == set(DEFAULTS)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("wrds", "unknown key; did you mean 'words'?"),
        ("Words", "unknown key; did you mean 'words'?"),
        ("xyzzy", "unknown key; valid here: on, own, servers, soak, words"),
        (True, "unknown key; valid here: on, own, servers, soak, words"),
        (HUGE, "unknown key; valid here: on, own, servers, soak, words"),
    ],
    ids=shown,
)
def test_an_unknown_key_is_told_with_the_nearest_or_all_that_are_known(name, said):
    _, (problem,) = read(TREE, {name: 1})
    assert problem.endswith(f": {said}")


def test_two_spellings_of_a_name_are_told_with_the_first():
    _, (problem,) = read(Names(Domain(), Bool()), {"A.example": True, "b.example": True, "a.EXAMPLE.": True})
    assert problem == "m:a.EXAMPLE.: listed twice: 'A.example' is the same name"


@pytest.mark.parametrize("alike", [True, False])
def test_names_with_equal_values_share_what_was_read_only_where_that_is_asked_for(alike):
    values = {"a": {"port": 26}, "b": {"port": 26}, "c": {"port": 27}}
    found, problems = read(Names(WORD, SERVER, alike=alike), values)
    assert problems == []
    assert (found["a"] is found["b"]) is alike
    assert [one["port"] for one in found.values()] == [26, 26, 27]


def test_where_equal_values_are_read_once_1_is_not_true_and_what_is_wrong_is_told_of_each():
    found, problems = read(Names(WORD, Bool(), alike=True), {"a": True, "b": 1, "c": 1.0, "d": True, "e": 1})
    assert found == {"a": True, "b": None, "c": None, "d": True, "e": None}
    assert [one.split(": ")[0] for one in problems] == ["m:b", "m:c", "m:e"]


def within_itself():
    value = {}
    value["port"] = value
    return value


def deep():
    value = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize("make", [within_itself, deep])
@pytest.mark.parametrize("alike", [True, False])
def test_what_has_no_end_is_a_problem_of_each_name_and_no_traceback(make, alike):
    value = make()
    _, problems = read(Names(WORD, SERVER, alike=alike), {"a": value, "b": value})
    assert [one.split(":")[1] for one in problems] == ["a", "b"]
    for kind in (Text(), Size(), Duration(), Address(), Scalars(), OneOf((WORD,)), Choice(("a",))):
        assert len(read(kind, [value])[1]) == 1


@pytest.mark.parametrize(
    "name",
    [
        "a" * 100_000 + ".example",
        "\u00fc" * 100_000 + ".example",
        "\u00fc" * 64 + ".example",
        "\u202e" + "\u00fc" * 300 + ".example",
    ],
)
def test_a_long_name_makes_no_long_message(name):
    _, (problem,) = read(Domain(), name)
    assert len(problem) < 400


def test_those_with_settings_in_common_are_looked_at_once_unless_something_is_wrong_with_them():
    fine, bad = {"x": 1}, {"x": 2}
    problems, looked = [], []
    for name, one in schema.each_kind({"a": fine, "b": bad, "c": fine, "d": bad, "e": {"x": 1}}, problems):
        looked.append(name)
        if one is bad:
            problems.append(name)
    assert looked == ["a", "b", "d", "e"]


def test_a_zone_index_of_an_address_is_refused():
    schema.refuse_zone_index("fe80::1", "an address")
    with pytest.raises(Wrong, match="'fe80::1%eth0' is not an address: what follows the % is of one host alone"):
        schema.refuse_zone_index("fe80::1%eth0", "an address")
