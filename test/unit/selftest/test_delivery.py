"""What is made of what Postfix and its log say of a message; that real ones arrive is shown on booted hosts."""

import pytest

from healthy_host import parameters
from mailhost.command import CommandResult
from mailhost.errors import PillarError
from mailhost.pillar.settings import resolve
from mailhost.selftest import delivery
from mailhost.selftest.delivery import Delivery, DeliveryResult, Log, notes, problems, reported

GRAINS = {"fqdn": "mx1.example.net", "ipv4": ["127.0.0.1", "192.0.2.25"]}
VIRTUAL = {"type": "virtual", "virtual": {"users": {"al@a.example": {"password": "$6$x$y"}}, "catch_all": {}}}


def settings(**more):
    return resolve({"domain": "a.example", "domains": {"a.example": {}, "b.example": {}}, **more}, parameters(), GRAINS)


def places(found):
    return [(one["domain"], one["virtual"], one["nobody"]) for one in found["delivery"]["places"]]


def test_messages_go_to_the_first_received_domain_and_where_local_delivers_besides():
    assert places(settings()) == [("a.example", False, True)]
    virtual = settings(accounts=VIRTUAL)
    assert places(virtual) == [("a.example", True, True), ("mx1.example.net", False, True)]
    caught = {**VIRTUAL, "virtual": {**VIRTUAL["virtual"], "catch_all": {"a.example": "al@a.example"}}}
    assert places(settings(accounts=caught))[0] == ("b.example", True, True)
    only = {"domains": {"a.example": {"receive": False}}}
    assert places(settings(**only)) == [("mx1.example.net", False, True)]


def test_the_virtual_mailbox_is_known_to_postfix_and_leads_to_itself_under_a_catch_all():
    every = dict.fromkeys(("a.example", "b.example"), "al@a.example")
    found = settings(accounts={**VIRTUAL, "virtual": {**VIRTUAL["virtual"], "catch_all": every}})
    files = found["postfix"]["files"]
    assert "mailprobe@a.example x" in files["/etc/postfix/mailserver_mailboxes"]
    assert "mailprobe@a.example mailprobe@a.example" in files["/etc/postfix/mailserver_aliases"]
    assert "mailprobealias@a.example mailprobe@a.example" in files["/etc/postfix/mailserver_aliases"]
    assert not any("mailprobe" in line for line in files["/etc/postfix/mailserver_senders"])


@pytest.mark.parametrize(
    ("accounts", "where"),
    [
        ({"users": {"mailprobe": {}}}, "users:mailprobe"),
        ({"aliases": {"mailprobealias": "root"}}, "aliases:mailprobealias"),
        ({**VIRTUAL, "virtual": {"users": {"mailprobe@a.example": {"password": "$6$x$y"}}}}, "mailprobe@a.example"),
    ],
)
def test_a_name_that_is_the_formulas_own_is_refused(accounts, where):
    with pytest.raises(PillarError, match="the formula has this name for its own messages") as caught:
        settings(accounts=accounts)
    assert where in str(caught.value)


ROWS = [
    DeliveryResult("user", "mailprobe@a.example", "arrived", "local", "delivered to maildir"),
    DeliveryResult("nobody", "nobody1@a.example", "refused", "", "550 5.1.1"),
    DeliveryResult("alias", "mailprobealias@a.example", "unknown", words="it waits with 3 others"),
]


def test_what_arrived_is_no_problem_and_what_is_not_known_is_a_note():
    assert problems(ROWS) == {}
    (note,) = notes(ROWS)
    assert "mailprobealias@a.example" in note
    wrong = problems([DeliveryResult("nobody", "nobody2@a.example", "wrong", words="250 ok")])
    # A name that is another one each time is the same problem as before.
    assert list(wrong) == ["nobody"]
    assert "nobody2@a.example, is taken" in wrong["nobody"]


def test_the_self_tests_report_says_by_whom_each_was_reached_and_fails_where_mail_does_not_flow():
    found = {"result": True, "overall": "All is right.", "report": "[Overall]\nAll is right.\n"}
    good = reported(found, ROWS)
    assert good["result"] is True
    assert "user mailprobe@a.example: arrived by local (delivered to maildir)\n" in good["report"]
    assert good["delivery"][0]["agent"] == "local"
    bad = reported(found, [DeliveryResult("user", "mailprobe@a.example", "wrong", words="status=deferred")])
    assert bad["result"] is False
    assert "status=deferred" in bad["overall"]
    assert bad["overall"] in bad["report"]
    assert reported(found, [])["report"] == found["report"]


class Journal:
    """A journal that has more lines each time it is read."""

    def __init__(self, *parts):
        self.parts = ["", *parts]

    def __call__(self, words):
        if "--sync" in words:
            return CommandResult(0, "", "")
        part = self.parts.pop(0) if self.parts else ""
        return CommandResult(0, f"{part}-- cursor: s=1\n", "")


TOKEN = "0123456789abcdef01234567"
FIRST = f"""Nov 30 mx1 postfix/cleanup[2]: 4ABCDEF: message-id=<{TOKEN}@a.example>
Nov 30 mx1 postfix/smtp[3]: 4ABCDEF: to=<me@a.example>, relay=scan[192.0.2.1]:10025, status=sent (250 queued as 5ABCDEF)
Nov 30 mx1 postfix/local[3]: 9999999: to=<you@a.example>, relay=local, status=bounced (another's)
Nov 30 mx1 opendkim[4]: 4ABCDEF: to=<x>, status=sent (no program of Postfix's)
"""
SECOND = f"""Nov 30 mx1 postfix/cleanup[2]: 5ABCDEF: message-id=<{TOKEN}@a.example>
Nov 30 mx1 postfix/local[3]: 5ABCDEF: to=<me@a.example>, relay=local, delay=0.1, status=sent (delivered to maildir)
Nov 30 mx1 postfix/master[1]: warning: /usr/lib/postfix/sbin/local: bad command startup -- throttling
"""


def message(id=""):
    return delivery._Message("user", "me@a.example", {}, TOKEN, id)


@pytest.mark.parametrize("id", ["", "4ABCDEF"])
def test_a_message_is_followed_through_a_filter_to_its_end(id):
    log = Log(Journal(FIRST, SECOND))
    assert [one.is_last for one in log.ends(message(id))] == [False]
    assert [(one.agent, one.status, one.is_last) for one in log.ends(message(id))] == [
        ("smtp", "sent", False),
        ("local", "sent", True),
    ]
    assert log.ids(message(id)) == {"4ABCDEF", "5ABCDEF"}
    assert log.trouble == ["postfix/master[1]: warning: /usr/lib/postfix/sbin/local: bad command startup -- throttling"]


def test_a_log_file_of_postfix_own_is_read_from_where_it_ended(tmp_path):
    path = tmp_path / "mail.log"
    path.write_text(SECOND)
    log = Log(Journal(), str(path))
    assert log.ends(message()) == []
    with path.open("a") as file:
        file.write(FIRST + SECOND)
    assert [one.agent for one in log.ends(message())] == ["smtp", "local"]


def test_a_host_without_the_user_is_told_so():
    plan = {**settings()["delivery"], "home": "/no/such/home"}
    (row,) = Delivery(plan).check()
    assert (row.result, row.words) == ("unknown", "there is no such user; run a highstate")


def test_what_waits_behind_others_is_not_known_and_what_waits_alone_is_wrong(tmp_path):
    for name in ("incoming", "active", "deferred"):
        (tmp_path / name).mkdir()
    (tmp_path / "active" / "4ABCDEF").touch()
    checked = Delivery(settings()["delivery"], limit=0)
    checked._given, checked._ours = {"queue_directory": str(tmp_path)}, {"4ABCDEF"}
    checked._log = Log(Journal(FIRST))
    assert checked._still(message("4ABCDEF")).result == "wrong"
    (tmp_path / "incoming" / "5BBBBBB").touch()
    row = checked._still(message("4ABCDEF"))
    assert (row.result, row.words) == ("unknown", "it waits with 1 others in the queue active after 0 s")
