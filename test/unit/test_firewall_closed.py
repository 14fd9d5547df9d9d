"""Which ports mailserver.clean closes: those that the formula opened, and no others."""

import pytest
from _states import mailserver as states

import mailserver_firewall
import mailserver_milter_action
import mailserver_originals

NOTED = {"units": {}, "firewall": {"permanent": ["imap"], "current": ["imap", "25/tcp"]}}
OPEN = {"permanent": ["imap", "25/tcp"], "running": ["imap", "25/tcp"]}
ROWS = [
    # (note, is main.cf ours?) -> what is closed
    (NOTED, True, {"permanent": ["25/tcp"], "running": []}),
    ({"units": {}, "firewall": None}, True, OPEN),  # an earlier version ran first: nobody knows what was open
    ({"units": None, "firewall": None}, True, OPEN),
    ({"units": None, "firewall": None}, False, {}),  # a second clean: the host's own
]


@pytest.mark.parametrize(("note", "ours", "closed"), ROWS)
def test_clean_closes_what_the_formula_opened(monkeypatch, note, ours, closed):
    monkeypatch.setattr(mailserver_originals, "read", lambda: note)
    monkeypatch.setattr(mailserver_milter_action, "is_ours", lambda postfix: ours)
    monkeypatch.setattr(mailserver_firewall, "present", lambda zone, services, ports: OPEN)
    assert states._present_by_us("public", ["imap"], ["25/tcp"]) == closed
