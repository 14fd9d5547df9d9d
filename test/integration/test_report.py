"""The page of all hosts, made on the master: by a call to the minions or from the mine, and none is left out."""

import html
import json
import re

import pytest

from conftest import DOMAIN, MAIL_HOSTS

ON = "both"
MINE = "mine_functions: {mailserver.overview: []}\n"
PAGE = "/var/www/mail.html"


@pytest.fixture(scope="module", autouse=True)
def _master_has_the_runner(lab):
    lab.sign()
    lab.sh("master", "mkdir -p /var/www && salt-run saltutil.sync_all")


def test_keys_are_a_table_on_the_terminal_of_master_and_host_and_data_for_programs(lab, host):
    for where, words in (("master", ("salt", host)), (host, ("salt-call",))):
        done = lab.run(where, *words, "dkim.status")
        head, columns, *rows = done.out.splitlines()
        assert re.match(rf"({host}|local): \d+ keys? of \d+ domains?$", head), done.out + done.err
        assert columns.split() == ["domain", "selector", "stage", "since", "signs", "next"]
        assert DOMAIN[host] in {row.split()[0] for row in rows}
        assert "outputter" not in done.err
        data = json.loads(lab.run(where, *words, "dkim.status", "--out=json").out)
        assert {row["stage"] for row in data[host if where == "master" else "local"][DOMAIN[host]].values()} == {
            "signing"
        }


def report(lab, *words):
    """Have the page written; what the runner returned, and the page."""
    done = lab.run("master", "salt-run", "--out=json", "mailserver.report", f"output={PAGE}", *words, timeout=600)
    told = json.loads(done.out)
    assert told["path"] == PAGE
    assert lab.sh("master", f"stat -c %a {PAGE}").strip() == "644"
    return told, lab.sh("master", f"cat {PAGE}")


def card(page, host):
    """What the page says of a host, as text."""
    (found,) = re.findall(rf"<h3>{host} (.*?)</li>", page, re.DOTALL)
    return text(found)


def text(page):
    """What a reader sees of a page, or of a part of it."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def test_the_page_shows_all_mail_hosts_and_names_those_that_are_none(lab):
    told, page = report(lab)
    assert told["hosts"] == dict.fromkeys(MAIL_HOSTS, "ok")
    assert told["status"] == "ok"
    assert {"client", "ns2"} <= set(told["others"])
    assert "All is right." in page
    for domain in DOMAIN.values():
        assert f'id="d-{domain}"' in page
    signing = lab.salt("mx1", "dkim.status")["mx1"]
    (selector,) = (selector for selector, row in signing["alpha.test"].items() if row["signs"])
    assert re.search(rf"{selector} \(2048 bits\): published .*?, signs since .*?; next rotation: \d{{4}}", text(page))


def test_a_fault_of_one_host_is_on_the_page_with_its_remedy(lab):
    lab.sh("mx2", "systemctl stop dovecot")
    try:
        told, page = report(lab, "mx*")
    finally:
        lab.sh("mx2", "systemctl start dovecot")
    assert told["hosts"] == {"mx1": "ok", "mx2": "fail"}
    assert "systemctl restart dovecot" in page
    assert "1 of 2 hosts is in trouble" in page


def test_a_minion_that_is_away_is_shown_as_unknown_and_the_others_all_the_same(lab):
    lab.sh("mx2", "systemctl stop salt-minion")
    try:
        told, page = report(lab, "mx*", "timeout=20")
    finally:
        lab.sh("mx2", "systemctl start salt-minion")
        lab.until(lambda: lab.salt("mx2", "test.ping").get("mx2") is True, "mx2's minion does not come back")
    assert told["hosts"] == {"mx1": "ok", "mx2": "unknown"}
    assert "no answer within 20 s" in card(page, "mx2")
    assert "Run: salt 'mx2' test.ping" in text(page)


def test_the_mine_serves_as_well_and_a_host_without_it_is_unknown(lab):
    lab.write("master", "/srv/pillar/report-mine.sls", MINE)
    kept = lab.sh("master", "cat /srv/pillar/top.sls")
    lab.write("master", "/srv/pillar/top.sls", kept.replace("  'mx1':\n", "  'mx1':\n    - report-mine\n"))
    try:
        lab.salt("mx1", "saltutil.refresh_pillar", "wait=True")
        lab.salt("mx1", "mine.update")
        told, page = report(lab, "mx*", "mine=True")
    finally:
        lab.write("master", "/srv/pillar/top.sls", kept)
        lab.salt("mx1", "saltutil.refresh_pillar", "wait=True")
        lab.salt("mx1", "mine.delete", "mailserver.overview")
    assert told["hosts"] == {"mx1": "ok", "mx2": "unknown"}
    assert re.search(r"as of \d{4}-\d\d-\d\d \d\d:\d\d UTC", card(page, "mx1"))
    assert "nothing of it is in the mine" in card(page, "mx2")


def test_a_page_that_cannot_be_made_is_an_error_and_leaves_the_old_one(lab):
    _, before = report(lab, "mx1")
    for words in ([f"output={PAGE}", "nobody*"], ["output=/nowhere/mail.html", "mx1"]):
        done = lab.run("master", "salt-run", "mailserver.report", *words, check=False)
        assert "nothing was written" in done.out + done.err or "could not be written" in done.out + done.err
    assert lab.sh("master", f"cat {PAGE}") == before
