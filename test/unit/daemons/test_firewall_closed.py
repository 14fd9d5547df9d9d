"""Which ports mailserver.clean closes: those that the formula opened, and no others."""

import pytest
from _states import mailserver as states

from mailhost.before import originals
from mailhost.daemons import firewall as daemons_firewall
from mailhost.daemons import milter_action

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
    monkeypatch.setattr(originals, "read", lambda: note)
    monkeypatch.setattr(milter_action, "is_ours", lambda postfix: ours)
    monkeypatch.setattr(daemons_firewall, "present", lambda zone, services, ports: OPEN)
    assert states._present_by_us("public", ["imap"], ["25/tcp"]) == closed
