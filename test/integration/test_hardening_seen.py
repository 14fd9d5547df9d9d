"""A host on the open Internet, seen by strangers: it relays nothing, takes one message for one, shuts out."""

import json
import re
import uuid
from pathlib import Path

import pytest

from conftest import ADDRESS, DOMAIN, MAIL_HOSTS, PASSWORD

CLIENT = "198.18.0.31"
LISTED, EARLY, PATIENT, GUESSES_SMTP, GUESSES_IMAP, EAGER, LISTED_PERMITTED, DENIED, BYSTANDER = (
    f"198.18.0.{last}" for last in range(41, 50)
)
"""More addresses of `client`: each is a client of its own to those who count, list and ban."""
PORTS = [25, 110, 143, 465, 587, 993, 995]
MAXRETRY, AUTH_RATE, CONNECTION_RATE = 3, 5, 12
PILLAR = f"""  fail2ban: {{enabled: true, maxretry: {MAXRETRY}, ignore: [{CLIENT}]}}
  limits: {{auth_rate: {AUTH_RATE}, connection_rate: {CONNECTION_RATE}, exempt: [{CLIENT}]}}
  postscreen:
    enabled: true
    greet_wait: 2s
    lists: {{bl.lab.test: 3}}
    access: {{{CLIENT}: permit, {LISTED_PERMITTED}: permit, {DENIED}: reject}}
"""
PROGRAM = (Path(__file__).parent / "stranger_program.py").read_text()
WORLD = "world@outside.test"


@pytest.fixture(scope="module", autouse=True)
def _hardened(lab):
    for source in (LISTED, EARLY, PATIENT, GUESSES_SMTP, GUESSES_IMAP, EAGER, LISTED_PERMITTED, DENIED, BYSTANDER):
        lab.run("client", "ip", "address", "replace", f"{source}/24", "dev", "host0")
    listed = [f"{source.rpartition('.')[2]}.0.18.198.bl.lab.test" for source in (LISTED, LISTED_PERMITTED)]
    lab.update_dns("".join(f"update add {name}. 5 A 127.0.0.2\n" for name in listed) + "send\n")
    lab.wait_for_secondary(("lab.test",))
    lab.apply("default", PILLAR)


def stranger(lab, work, host, source=CLIENT, **more):
    """Have ``stranger_program.py`` do ``work`` at ``host`` from ``source``."""
    given = json.dumps({"host": ADDRESS[host], "source": source, **more})
    return json.loads(lab.run("client", "python3", "-", work, given, stdin=PROGRAM).out)


def queue_is_empty(lab, host):
    lab.until(lambda: not lab.sh(host, "postqueue -j"), f"{host}: the queue does not get empty")


def with_text(lab, host, user, text):
    """The names of the messages in a user's Maildir that hold a text."""
    return lab.sh(host, f"grep -rlF -e '{text}' /home/{user}/Maildir/new 2>/dev/null || true").split()


NOBODY = "<>"
RECIPIENTS = {
    "plain": f"<{WORLD}>",
    "without brackets": WORLD,
    "trailing dot": f"<{WORLD}.>",
    "upper case": f"<{WORLD.upper()}>",
    "quoted local part": '<"world"@outside.test>',
    "quoted whole": f'<"{WORLD}">',
    "quoted whole at domain": f'<"{WORLD}"@{{domain}}>',
    "quoted whole at host": f'<"{WORLD}"@{{hostname}}>',
    "quoted whole at address": f'<"{WORLD}"@[{{address}}]>',
    "quoted whole at loopback": f'<"{WORLD}"@[127.0.0.1]>',
    "percent": "<world%outside.test>",
    "percent at domain": "<world%outside.test@{domain}>",
    "percent at host": "<world%outside.test@{hostname}>",
    "percent at address": "<world%outside.test@[{address}]>",
    "percent at localhost": "<world%outside.test@localhost>",
    "percent twice": "<world%outside.test%{domain}@{domain}>",
    "percent quoted": '<"world%outside.test">',
    "percent quoted at domain": '<"world%outside.test"@{domain}>',
    "two at signs": f"<{WORLD}@{{domain}}>",
    "two at signs, host": f"<{WORLD}@{{hostname}}>",
    "two at signs, address": f"<{WORLD}@[{{address}}]>",
    "escaped at sign": "<world\\@outside.test@{domain}>",
    "source route by domain": f"<@{{domain}}:{WORLD}>",
    "source route by host": f"<@{{hostname}}:{WORLD}>",
    "source route by address": f"<@[{{address}}]:{WORLD}>",
    "source route by localhost": f"<@localhost:{WORLD}>",
    "source route of two": f"<@{{domain}},@{{hostname}}:{WORLD}>",
    "source route elsewhere": f"<@outside.test:{WORLD}>",
    "source route with percent": "<@{domain}:world%outside.test@{domain}>",
    "bang path": "<outside.test!world>",
    "bang path quoted": '<"outside.test!world">',
    "bang path at domain": "<outside.test!world@{domain}>",
    "bang path at host": "<outside.test!world@{hostname}>",
    "bang path at address": "<outside.test!world@[{address}]>",
    "bang path through domain": "<{domain}!outside.test!world>",
    "address literal": f"<world@[{CLIENT}]>",
    "address without brackets": f"<world@{CLIENT}>",
    "address as a number": "<world@#3322019871>",
    "address literal with tag": "<world@[IPv6:::ffff:198.18.0.31]>",
    "name of the receiver": "<world@client.lab.test>",
    "postmaster elsewhere": "<postmaster@outside.test>",
    "subdomain of ours": "<world@outside.{domain}>",
    "ours as a prefix": "<world@{domain}.outside.test>",
    "comment": "<world(@{domain})@outside.test>",
    "display name": f"Bob <bob@{{domain}}> <{WORLD}>",
    "two addresses": f"<bob@{{domain}},{WORLD}>",
    "two addresses, a space": f"<bob@{{domain}} {WORLD}>",
    "space before": f"< {WORLD}>",
    "space around the at sign": "<world @ outside.test>",
    "tab": f"<\t{WORLD}>",
    "NUL before our domain": f"<{WORLD}\0@{{domain}}>",
    "UTF-8 at sign": "<world\N{FULLWIDTH COMMERCIAL AT}outside.test@{domain}>",
    "UTF-8 local part": "<wörld@outside.test>",
    "UTF-8 dot": "<world@outside\N{IDEOGRAPHIC FULL STOP}test>",
    "ORCPT of ours": f"<{WORLD}> ORCPT=rfc822;bob@{{domain}}",
    "NOTIFY": f"<{WORLD}> NOTIFY=SUCCESS",
    "selftest's domain": "<world%outside.test@selftest.invalid>",
}
SENDERS = {
    "as a user of ours": "<alice@{domain}>",
    "as postmaster of ours": "<postmaster@{domain}>",
    "as root of the host": "<root@{hostname}>",
    "as root of localhost": "<root@localhost>",
    "as a bare name": "<alice>",
    "as a user at the address": "<alice@[{address}]>",
    "as a user at loopback": "<alice@[127.0.0.1]>",
    "as the recipient": f"<{WORLD}>",
    "by a route of ours": "<@{domain}:alice@{domain}>",
    "with AUTH=": "<alice@{domain}> AUTH=alice@{domain}",
}
OTHERS = {
    "HELO is our domain": {"helo": "{domain}"},
    "HELO is the host": {"helo": "{hostname}"},
    "HELO is localhost": {"helo": "localhost"},
    "HELO is loopback": {"helo": "[127.0.0.1]"},
    "XCLIENT": {"before": "XCLIENT ADDR=127.0.0.1 LOGIN=alice"},
    "XFORWARD": {"before": "XFORWARD ADDR=127.0.0.1 NAME=localhost"},
    "after one of ours": {"rcpt": ["<bob@{domain}>", f"<{WORLD}>"]},
    "after one of ours, by percent": {"rcpt": ["<bob@{domain}>", "<world%outside.test@{domain}>"]},
}
OURS = {
    "user": "<bob@{domain}>",
    "postmaster": "<postmaster>",
    "postmaster of the domain": "<postmaster@{domain}>",
    "route that ends here": "<@outside.test:bob@{domain}>",
}


def forms(host):
    """The battery, with the host's names filled in; the last recipient of each form is elsewhere."""
    table = [{"name": name, "mail": NOBODY, "rcpt": [one]} for name, one in RECIPIENTS.items()]
    table += [{"name": name, "mail": one, "rcpt": [f"<{WORLD}>"]} for name, one in SENDERS.items()]
    table += [{"name": name, "mail": NOBODY, "rcpt": [f"<{WORLD}>"], **more} for name, more in OTHERS.items()]
    return filled(host, table)


def ours(host):
    return filled(host, [{"name": name, "mail": NOBODY, "rcpt": [one]} for name, one in OURS.items()])


def filled(host, table):
    names = {"{domain}": DOMAIN[host], "{hostname}": f"{host}.lab.test", "{address}": ADDRESS[host]}
    text = json.dumps(table)
    for name, value in names.items():
        text = text.replace(name, value)
    return json.loads(text)


@pytest.mark.parametrize("port", [25, 587])
def test_no_form_of_an_address_elsewhere_is_relayed_for_a_stranger(lab, host, port):
    token, asked = uuid.uuid4().hex, forms(host)
    answers = stranger(lab, "relay", host, port=port, tls=port == 587, token=token, forms=asked)
    rcpt = {
        form["name"]: said[min(len(form["rcpt"]), len(said) - 1)] for form, said in zip(asked, answers, strict=True)
    }
    assert len(rcpt) >= 40
    assert not {name: said for name, said in rcpt.items() if not re.match(r"5\d\d ", said)}
    queue_is_empty(lab, host)
    assert not with_text(lab, "client", "world", token)


def test_what_is_for_this_host_is_taken_by_the_same_session(lab, host):
    token, asked = uuid.uuid4().hex, ours(host)
    answers = stranger(lab, "relay", host, port=25, tls=False, token=token, forms=asked)
    taken = {form["name"]: said[-1] for form, said in zip(asked, answers, strict=True)}
    assert not {name: said for name, said in taken.items() if not said.startswith("250 ")}
    queue_is_empty(lab, host)
    assert with_text(lab, host, "bob", f"{token} user")
    assert not with_text(lab, "client", "world", token)


def test_nmap_finds_no_open_relay(lab, host):
    command = "nmap -Pn -n -p 25,587 --script smtp-open-relay --script-args smtp-open-relay.domain=client.lab.test"
    said = lab.sh("client", f"{command} {ADDRESS[host]}")
    told = re.findall(r"smtp-open-relay: (.*)", said)
    assert len(told) == 2, said
    for words in told:
        assert re.search(r"isn't an open relay|doesn't seem to be an open relay", words), said


def test_nobody_learns_which_users_there_are(lab, host):
    for said in stranger(lab, "say", host, port=25, lines=["VRFY bob", "EXPN bob", "EXPN postmaster"]):
        assert re.match(r"50[02] ", said), said


ENDS = (
    "\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\r.\n", "\n.\r", "\r\n\0.\r\n", "\r\n.\0\r\n",
    "\r\n. \r\n", "\r\r\n.\r\r\n", "\n\n.\r\n", "\r\n.\r\r\n", "\0\r\n.\n",
)  # fmt: skip
"""All that some server has taken for the end of a message, and RFC 5321 (section 4.1.1.4) does not."""


@pytest.mark.parametrize("port", [25, 587])
def test_no_message_is_smuggled_in_another(lab, host, port):
    ends = {uuid.uuid4().hex: end for end in ENDS}
    place, user = (host, "bob") if port == 25 else ("client", "world")
    recipient = f"bob@{DOMAIN[host]}" if port == 25 else WORLD
    login = ["alice", PASSWORD] if port == 587 else None
    sender = f"alice@{DOMAIN[host]}" if login else WORLD
    said = stranger(lab, "smuggle", host, port=port, sender=sender, recipient=recipient, login=login, ends=ends)
    queue_is_empty(lab, host)
    queue_is_empty(lab, "client")
    for token, end in ends.items():
        outer = lab.until(lambda token=token: with_text(lab, place, user, f"outer-{token}"), f"{end!r}: {said[token]}")
        assert len(outer) == 1, (end, said[token])
        assert with_text(lab, place, user, f"inner-{token}") == outer, (end, said[token])


def test_postscreen_refuses_a_listed_client(lab, host):
    said = stranger(lab, "greeted", host, LISTED, rcpt=f"<bob@{DOMAIN[host]}>")
    assert re.match(r"550 5\.7\.1 .*blocked using bl\.lab\.test", said["rcpt"]), said


def test_postscreen_refuses_a_client_that_talks_before_its_turn(lab, host):
    said = stranger(lab, "greeted", host, EARLY, rcpt=f"<bob@{DOMAIN[host]}>", early=True)
    assert re.match(r"550 5\.5\.1 Protocol error", said["rcpt"]), said


@pytest.mark.parametrize("source", [PATIENT, LISTED_PERMITTED])
def test_postscreen_lets_in_who_waits_and_who_has_leave(lab, host, source):
    token = uuid.uuid4().hex
    said = stranger(lab, "greeted", host, source, rcpt=f"<bob@{DOMAIN[host]}>", token=token)
    assert said.get("end", "").startswith("250 "), said
    assert lab.delivered(host, "bob", token)


def test_postscreen_refuses_whom_the_pillar_names(lab, host):
    said = stranger(lab, "greeted", host, DENIED, rcpt=f"<bob@{DOMAIN[host]}>")
    assert said["rcpt"].startswith("550 5.3.2 "), said


def test_logins_and_connections_a_minute_are_limited_and_who_is_exempt_is_not(lab, host):
    often = {"port": 587, "user": "alice", "password": PASSWORD, "times": CONNECTION_RATE + 3}
    said = stranger(lab, "login", host, EAGER, **often)
    assert said[:AUTH_RATE] == ["in"] * AUTH_RATE
    assert "450" in said[AUTH_RATE], said
    assert "too many AUTH commands" in said[AUTH_RATE]
    assert "421" in said[-1], said
    assert "too many connections" in said[-1]
    assert stranger(lab, "login", host, CLIENT, **often) == ["in"] * often["times"]
    assert EAGER not in lab.sh(host, "fail2ban-client banned")


GUESSERS = [("mailserver-postfix", GUESSES_SMTP, 587), ("mailserver-dovecot", GUESSES_IMAP, 993)]


@pytest.mark.rotating(of=2)
@pytest.mark.parametrize(("jail", "source", "port"), GUESSERS)
def test_who_guesses_passwords_finds_every_mail_port_shut_and_nobody_else(lab, host, jail, source, port):
    guess = {"port": port, "user": "alice", "times": 1}
    assert stranger(lab, "reach", host, source, ports=PORTS) == PORTS
    for _ in range(MAXRETRY):
        said = stranger(lab, "login", host, source, password="wrong", **guess)
        assert re.search(r"(?i)authentication failed", said[0]), said
    lab.until(lambda: stranger(lab, "reach", host, source, ports=PORTS) == [], f"{source} is not banned by {jail}")
    assert source in lab.sh(host, f"fail2ban-client get {jail} banip")
    for other in (BYSTANDER, CLIENT):
        assert stranger(lab, "reach", host, other, ports=PORTS) == PORTS
        assert stranger(lab, "login", host, other, password=PASSWORD, **guess) == ["in"]
    lab.run(host, "fail2ban-client", "set", jail, "unbanip", source)
    lab.until(lambda: stranger(lab, "reach", host, source, ports=PORTS) == PORTS, f"{source} stays banned by {jail}")
    assert stranger(lab, "login", host, source, password=PASSWORD, **guess) == ["in"]


def test_who_is_to_be_ignored_is_never_banned(lab, host):
    for port in (587, 993):
        stranger(lab, "login", host, CLIENT, port=port, user="alice", password="wrong", times=MAXRETRY + 1)
    # Whoever guesses after them is banned: by then fail2ban has read of those, too.
    stranger(lab, "login", host, GUESSES_SMTP, port=993, user="alice", password="wrong", times=MAXRETRY)
    lab.until(lambda: GUESSES_SMTP in lab.sh(host, "fail2ban-client banned"), f"{GUESSES_SMTP} is not banned")
    assert CLIENT not in lab.sh(host, "fail2ban-client banned")
    assert stranger(lab, "reach", host, CLIENT, ports=PORTS) == PORTS


def test_without_the_pillars_leave_bans_and_postscreen_go(lab):
    lab.apply("default")
    for host in MAIL_HOSTS:
        assert stranger(lab, "reach", host, GUESSES_SMTP, ports=PORTS) == PORTS
        assert "postscreen" not in lab.sh(host, "postconf -M smtp/inet")
        assert "mailserver" not in lab.sh(host, "fail2ban-client status 2>/dev/null || true")
