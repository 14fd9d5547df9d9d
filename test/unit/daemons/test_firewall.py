"""firewalld: a change is made as a whole or not at all, and nobody who looks after the host is locked out unseen."""

import pytest

from mailhost.daemons.firewall import change, is_connected, keeps_from_master, shut_out
from mailhost.errors import FirewallError


class Firewall:
    """A firewall that refuses one word, and has one set of names for each of its two places."""

    def __init__(self, refuses=""):
        self.refuses, self.allowed = refuses, {"permanent": {"ssh"}, "running": {"ssh"}}

    def __call__(self, *words):
        place = self.allowed["permanent" if "--permanent" in words else "running"]
        for word in words:
            verb, _, name = word.removeprefix("--").partition("=")
            if self.refuses and name == self.refuses:
                raise FirewallError(f"INVALID: {name}")
            if verb.startswith("add-"):
                place.add(name)
            elif verb.startswith("remove-"):
                if name not in place:
                    raise FirewallError(f"NOT_ENABLED: {name}")
                place.remove(name)


ITEMS = {"permanent": ["smtp", "imap", "587/tcp"], "running": ["smtp", "587/tcp", "4190/tcp"]}


def test_all_of_a_change_is_made():
    firewall = Firewall()
    change("add", "public", ITEMS, firewall)
    assert firewall.allowed == {
        "permanent": {"ssh", "smtp", "imap", "587/tcp"},
        "running": {"ssh", "smtp", "587/tcp", "4190/tcp"},
    }


@pytest.mark.parametrize("refused", ["smtp", "imap", "587/tcp", "4190/tcp"])
def test_where_one_name_is_refused_none_is_added(refused):
    firewall = Firewall(refused)
    with pytest.raises(FirewallError, match=refused):
        change("add", "public", ITEMS, firewall)
    assert firewall.allowed == {"permanent": {"ssh"}, "running": {"ssh"}}


LISTENING = """\
LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=1,fd=3))
LISTEN 0 128 [::]:2222 [::]:* users:(("sshd",pid=1,fd=4))
LISTEN 0 128 127.0.0.1:2223 0.0.0.0:* users:(("sshd",pid=1,fd=5))
LISTEN 0 128 *:4505 *:* users:(("salt-master",pid=2,fd=3))
LISTEN 0 100 0.0.0.0:25 0.0.0.0:* users:(("master",pid=3,fd=3))
LISTEN 0 100 0.0.0.0:26 0.0.0.0:*
"""


@pytest.mark.parametrize(
    ("shown", "out"),
    [
        (
            "  target: default\n  services: ssh smtp\n  ports: 587/tcp\n",
            ["salt-master at 4505/tcp", "sshd at 2222/tcp"],
        ),
        ("  services: ssh salt-master\n  ports: 2222/tcp\n", []),
        ("  services: \n  ports: \n", ["salt-master at 4505/tcp", "sshd at 22/tcp", "sshd at 2222/tcp"]),
        ("  target: ACCEPT\n  services: \n", []),
    ],
)
def test_what_a_zone_shuts_out_of_administration_is_named(shown, out):
    assert shut_out("public", LISTENING, lambda *words: shown) == out


@pytest.mark.parametrize(
    ("with_firewall", "without", "keeps", "done"),
    [
        (True, True, False, []),
        (False, True, True, ["stop"]),
        (False, False, False, ["stop", "start"]),
    ],
)
def test_only_a_firewall_that_keeps_the_host_from_its_master_is_left_stopped(with_firewall, without, keeps, done):
    did = []
    answers = {True: with_firewall, False: without}
    found = keeps_from_master(
        [("192.0.2.1", 4505), ("192.0.2.1", 4506)],
        lambda: did.append("stop"),
        lambda: did.append("start"),
        lambda address, port: answers["stop" not in did or "start" in did],
    )
    assert (found, did) == (keeps, done)


def test_a_host_without_a_master_is_kept_from_none():
    assert keeps_from_master([], None, None) is False


@pytest.mark.parametrize(
    ("shown", "connected", "seconds"), [(["up"], True, 0), (["", " ", "up"], True, 3), ([""], False, 60)]
)
def test_a_run_waits_for_the_minions_new_connection_and_not_for_ever(shown, connected, seconds):
    answers, now = iter(shown), [0]
    found = is_connected(
        lambda: next(answers, shown[-1]), clock=lambda: now[0], pause=lambda length: now.__setitem__(0, now[0] + length)
    )
    assert (found, now[0]) == (connected, seconds)
