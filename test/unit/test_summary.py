"""The last state of a run: what it did, and what is to be done."""

import pytest

from mailhost import summary
from mailhost.summary import Noted

KEY = "a.example: the record of the key one is not in DNS, so mail is not signed with it yet.\n  Seen: ns1 shows none."
LINES = 'To publish, as a line of the zone:\n  one._domainkey.a.example. 60 IN TXT "v=DKIM1; p=MIIB"'
SOAKS = "a.example: the key two soaks until 18:00."


def ret(number, sls, result=True, changes=(), comment="", warnings=()):
    found = {"__run_num__": number, "__sls__": sls, "__id__": f"id-{number}", "result": result, "comment": comment}
    return {**found, "changes": dict.fromkeys(changes, "new"), **({"warnings": list(warnings)} if warnings else {})}


RUNNING = {
    "pkg_|-p_|-p_|-installed": ret(3, "mailserver.postfix.package", changes=("postfix", "postfix-lmdb")),
    "mailserver_|-m_|-/etc/postfix/main.cf_|-staged": ret(4, "mailserver.postfix.config", changes=("diff",)),
    "dkim_|-k_|-/etc/opendkim/keys_|-managed": ret(1, "mailserver.opendkim.keys", changes=("a.example",)),
    "dkim_|-q_|-/etc/opendkim/keys_|-published": ret(
        2, "mailserver.opendkim.signing", warnings=[KEY.partition("\n")[0], "a.example: something else."]
    ),
    "service_|-s_|-nginx_|-running": ret(5, "website.nginx", changes=("nginx",), warnings=["not the formula's"]),
    "test_|-n_|-nothing_|-nop": ret(6, "mailserver.tls"),
}


def said(running=RUNNING, noted=None, test=False):
    return summary.text(summary.done(running), noted or Noted(), test).split("\n")


def test_a_run_ends_with_what_is_to_be_done_what_waits_and_what_changed():
    assert said(noted=Noted({KEY: LINES}, [SOAKS])) == [
        "To do now:",
        "  a.example: the record of the key one is not in DNS, so mail is not signed with it yet.",
        "    Seen: ns1 shows none.",
        "    To publish, as a line of the zone:",
        '      one._domainkey.a.example. 60 IN TXT "v=DKIM1; p=MIIB"',
        "Waits:",
        "  a.example: the key two soaks until 18:00.",
        "Warnings:",
        "  a.example: something else.",
        "Changed:",
        "  opendkim: a.example",
        "  postfix: postfix, postfix-lmdb, /etc/postfix/main.cf",
    ]


def test_a_run_without_anything_to_tell_says_so():
    quiet = {"test_|-n_|-nothing_|-nop": ret(1, "mailserver.tls")}
    assert said(quiet) == ["Nothing changed, nothing waits, and there is nothing to do"]


def test_failures_come_first_with_the_first_line_of_their_comments():
    running = {**RUNNING, "x_|-y_|-z_|-run": ret(9, "mailserver.tls", result=False, comment="It broke.\nAt length.")}
    assert said(running)[:2] == ["Failed:", "  id-9: It broke."]
    assert said(running, test=True)[0] == "Would fail:"


def test_a_dry_run_says_what_it_cannot_know_before_packages_are_installed():
    running = {"pkg_|-p_|-p_|-installed": ret(1, "mailserver.postfix.package", result=None)}
    assert said(running, test=True)[:2] == ["Would change:", "  postfix: p"]
    assert said(running, test=True)[2].startswith("Packages would be installed, and what they bring along")
    assert len(said(running)) == 2


def test_the_summary_of_300_domains_is_short():
    todo = {f"d{number}.example: SPF is absent.": LINES for number in range(300)}
    lines = said(noted=Noted(todo, [SOAKS] * 300))
    assert len(lines) < 110
    assert "  … and 280 more like these; dkim.status has each key, mailserver.records what to publish" in lines


def test_a_line_of_a_component_names_a_few_of_many():
    running = {f"file_|-{n}_|-/f{n}_|-managed": ret(n, "mailserver.dovecot.config", changes=("x",)) for n in range(9)}
    assert said(running) == ["Changed:", "  dovecot: /f0, /f1, /f2, /f3, /f4, /f5 and 3 more"]


def test_packages_are_counted_and_a_command_is_called_by_its_id():
    many = ret(1, "mailserver.sasl.package", changes=[f"p{number}" for number in range(30)])
    command = ret(2, "mailserver.sasl.config", changes=["ran"])
    running = {"pkg_|-p_|-p_|-installed": many, "cmd_|-c_|-usermod -aG sasl postfix_|-run": command}
    assert said(running) == ["Changed:", "  sasl: 30 packages, id-2"]


def test_what_strangers_wrote_forges_no_line():
    text = said(noted=Noted({"a.example: SPF is different: \x1b[31mFailed:": LINES}))
    assert "\\x1b[31mFailed:" in text[1]


def test_states_hand_over_what_is_to_be_done_through_the_context():
    context = {}
    summary.note(context, {KEY: LINES})
    summary.note(context, {"b.example: MX is absent.": LINES}, [SOAKS])
    assert summary.noted(context) == Noted({KEY: LINES, "b.example: MX is absent.": LINES}, [SOAKS])
    assert summary.noted({}) == Noted()


@pytest.mark.parametrize(
    ("chunks", "running", "found"),
    [
        ([{"state": "mailserver", "fun": "summary"}], RUNNING, True),
        ([{"state": "mailserver", "fun": "summary"}], {}, False),
        ([{"state": "mailserver", "fun": "staged"}, {"state": "other", "fun": "summary"}], RUNNING, False),
        ((), {}, False),
    ],
    ids=["a run", "one state of it alone", "a run without it", "no run"],
)
def test_states_know_whether_a_summary_follows(chunks, running, found):
    assert summary.follows(chunks, running) is found
