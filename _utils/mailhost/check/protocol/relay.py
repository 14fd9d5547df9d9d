"""Whether a stranger can have mail relayed or smuggled: tested at port 25 up to RCPT TO, never with a message."""

import ipaddress
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TypeAlias

from mailhost.check.findings import CheckedHost, CheckResult, Finding, ok
from mailhost.daemons.services import Service
from mailhost.daemons.talk import Budget, Reply, SmtpTalk, short
from mailhost.errors import NoAnswer, WireError

OUTSIDE = "outside.example"
_USER = "relaytest"
_FORMS_A_SESSION = 8
"""Pairs tested in one session: Postfix slows a client down after 10 errors (``smtpd_soft_error_limit``) and hangs up
after 20."""
_Form: TypeAlias = tuple[str, str]
"""A sender and a recipient."""

_RELAY = "protocol.smtp.open_relay"
_RELAY_WANTED = "no form of an address elsewhere is taken from a stranger"
_LATER = "Check again; if it stays: journalctl -u 'postfix*' -n 50"


def findings(host: CheckedHost, service: Service, budget: Budget) -> list[Finding]:
    """Return the findings about relaying, bare newlines and pipelining at the service ``smtp``."""
    checks = (
        (_RELAY, _RELAY_WANTED, lambda: _open_relay(host, service, budget)),
        (_NEWLINE, _NEWLINE_WANTED, lambda: _bare_newline(host, service, budget)),
        (_PIPELINING, _PIPELINING_WANTED, lambda: _pipelining(service, budget)),
    )
    return [_check(*check, service) for check in checks]


def _check(id: str, wanted: str, check: Callable[[], CheckResult], service: Service) -> Finding:
    try:
        status, seen, remedy = check()
    except WireError as err:
        return Finding(id, "unknown", service.about, wanted, str(err), _LATER)
    seen = f"{service.endpoint}: {seen}"
    return (
        ok(id, service.about, wanted, seen)
        if status == "ok"
        else Finding(id, status, service.about, wanted, seen, remedy)
    )


def forms(hostname: str, domain: str, address: str) -> list[_Form]:
    """Return the pairs of sender and recipient with which relays were abused; each tries to reach ``outside.example``.

    Source routes are from RFC 5321 appendix C; the percent hack and bang paths are older. The sender is empty where the
    recipient matters, so that a rule about senders does not refuse what a rule about relaying should.
    """
    literal = f"[{'IPv6:' if ':' in address else ''}{address}]"
    plain = f"{_USER}@{OUTSIDE}"
    senders = [f"{_USER}@{OUTSIDE}", _USER, *(f"postmaster@{here}" for here in (domain, hostname, literal))]
    here = [f"@{at}" for at in dict.fromkeys((hostname, domain, literal, "[127.0.0.1]"))]
    recipients = [
        plain,
        f'"{plain}"',
        f'"{_USER}%{OUTSIDE}"',
        f"{OUTSIDE}!{_USER}",
        f"{_USER}%{OUTSIDE}",
        f"{plain}.",
        *(f"{_USER}%{OUTSIDE}{at}" for at in here),
        *(f"{plain}{at}" for at in here),
        *(f'"{plain}"{at}' for at in here),
        *(f"{at}:{plain}" for at in here),
        *(f"{OUTSIDE}!{_USER}{at}" for at in here),
    ]
    return [*((sender, plain) for sender in senders), *(("", recipient) for recipient in recipients)]


def _open_relay(host: CheckedHost, service: Service, budget: Budget) -> CheckResult:
    settings = host.settings
    trusted = _trusted(_mynetworks(host), service.address)
    elsewhere = (
        f"Look from a machine elsewhere: swaks --server {settings['hostname']} --from test@{OUTSIDE} "
        f"--to test@{OUTSIDE} --quit-after RCPT must end with 554"
    )
    if trusted:
        return "unknown", f"{service.address} is in mynetworks, so that this host is no stranger to itself", elsewhere
    secure = settings["postfix"]["main"].get("smtpd_tls_security_level") == "encrypt"
    postmaster = f"postmaster@{settings['hostname']}"
    nobody = [f"no-such-user-{_USER}@{at}" for at in dict.fromkeys((settings["hostname"], settings["domain"]))]
    own = _ask_all(service, budget, secure, [("", one) for one in (postmaster, *nobody)])
    if len(own) <= len(nobody) or own[0].code >= 300:
        words = own[0] if own else "nothing"
        return "unknown", f"RCPT TO:<{postmaster}> was answered with {words}, so a refusal proves nothing", elsewhere
    asked = forms(settings["hostname"], settings["domain"], service.address)
    answers = _ask_all(service, budget, secure, asked)
    return _judge(asked, answers, any(reply.code < 300 for reply in own[1:]), trusted is None, elsewhere)


def _judge(
    asked: Collection[_Form], answers: Collection[Reply], takes_anyone: bool, perhaps_trusted: bool, elsewhere: str
) -> CheckResult:
    """Judge the answers to all pairs.

    :param takes_anyone: the host accepts any user name of its own, so accepting ``user%elsewhere@here`` proves nothing.
    :param perhaps_trusted: it is not known whether the host is in its own ``mynetworks``.
    """
    both = list(zip(asked, answers, strict=False))
    taken = [(form, reply) for form, reply in both if reply.code < 300]
    proof = [(form, reply) for form, reply in taken if not (takes_anyone and _may_be_local(form[1]))]
    if proof and not perhaps_trusted:
        remedy = (
            "Stop it now (postfix stop): an open relay is abused within hours. Then take smtpd_relay_restrictions, "
            "smtpd_recipient_restrictions and mynetworks out of mailserver:postfix:main, and run a highstate"
        )
        return "fail", _told(proof), remedy
    if taken:
        why = "mynetworks has tables, which may name this host" if perhaps_trusted else "any user name is taken here"
        return "unknown", f"{_told(taken)}; but {why}", elsewhere
    if len(answers) < len(asked):
        return "unknown", f"hung up after {len(answers)} of {len(asked)} forms, all refused", elsewhere
    later = [(form, reply) for form, reply in both if reply.code < 500]
    if later:
        return "unknown", _told(later), elsewhere
    return "ok", f"{len(asked)} forms were refused, {_told(both[:1])}", ""


def _told(answered: Sequence[tuple[_Form, Reply]]) -> str:
    (sender, recipient), reply = answered[0]
    more = f" (and {len(answered) - 1} more)" if len(answered) > 1 else ""
    return f"MAIL FROM:<{sender}> RCPT TO:<{recipient}>{more}: {short(reply, 100)}"


def _may_be_local(recipient: str) -> bool:
    return recipient.rpartition("@")[2].rstrip(".") != OUTSIDE


def _ask_all(service: Service, budget: Budget, secure: bool, asked: Sequence[_Form]) -> list[Reply]:
    """Return the answers to RCPT TO (or MAIL FROM, if that was refused) for each pair, as far as the server answers.

    Sessions are short, because errors are counted. If a server hangs up, a new one starts as long as the last one got
    any answer.
    """
    answers: list[Reply] = []
    while len(answers) < len(asked):
        here = _session(service, budget, secure, asked[len(answers) :][:_FORMS_A_SESSION])
        if not here:
            break
        answers += here
    return answers


def _session(service: Service, budget: Budget, secure: bool, asked: Iterable[_Form]) -> list[Reply]:
    answers = []
    with SmtpTalk(service, budget) as talk:
        _begin(talk, secure)
        try:
            for sender, recipient in asked:
                answer = talk.ask(f"MAIL FROM:<{sender}>")
                if answer.code == 250:
                    answer = talk.ask(f"RCPT TO:<{recipient}>")
                if answer.code == 421:  # goodbye (RFC 5321 section 3.8), which says nothing about the address
                    talk.lost = True
                    break
                answers.append(answer)
                talk.ask("RSET")
        except NoAnswer:
            raise
        except WireError:
            pass  # it hung up; its earlier answers still count
    return answers


def _begin(talk: SmtpTalk, secure: bool) -> None:
    _greeted(talk)
    talk.hello()
    if secure:
        talk.starttls()
        talk.hello()


def _mynetworks(host: CheckedHost) -> str:
    """Return ``mynetworks`` as Postfix itself has it (its default is the host's own networks), else the pillar's."""
    done = host.command(["postconf", "-xh", "mynetworks"])
    return done.out if done.status == 0 else host.settings["postfix"]["main"].get("mynetworks", "")


def _trusted(mynetworks: str, address: str) -> bool | None:
    """Return whether an address is in ``mynetworks``; ``None`` if that depends on a file or table.

    The first match counts, and ``!`` excludes (postconf(5)).
    """
    wanted = ipaddress.ip_address(address)
    found: bool | None = False
    for word in filter(None, re.split(r"[,\s]+", mynetworks)):
        try:
            network = ipaddress.ip_network(re.sub(r"[\[\]]", "", word.lstrip("!")), strict=False)
        except ValueError:
            found = None
            continue
        if wanted in network:
            return found if word.startswith("!") else True
    return found


_NEWLINE = "protocol.smtp.bare_newline"
_NEWLINE_WANTED = "only <CR><LF>.<CR><LF> ends a message, so that none is smuggled in (RFC 5321 section 4.1.1.4)"


def _bare_newline(host: CheckedHost, service: Service, budget: Budget) -> CheckResult:
    """Judge by the configuration, since only a message would show it; with ``reject``, also by a bare newline."""
    key = "mailserver:postfix:main:smtpd_forbid_bare_newline"
    done = host.command(["postconf", "-h", "smtpd_forbid_bare_newline"])
    value = done.out.strip()
    if not value and "unknown parameter" not in done.err:
        return "unknown", f"postconf: {short(done.err)}", "Run as root, where Postfix's commands are: postconf -n"
    if not value:
        remedy = "Install the system's updates: Postfix has it from 3.5.23, 3.6.13, 3.7.9, 3.8.4 and 3.9 on"
        return "warn", f"this Postfix has no smtpd_forbid_bare_newline: {short(done.err)}", remedy
    if value == "no":
        return "fail", "smtpd_forbid_bare_newline = no", f"Set {key}: normalize, and run a highstate"
    if value != "reject":
        return "ok", f"smtpd_forbid_bare_newline = {value}", ""
    reply = _after_greeting(service, budget, b"NOOP\n", "NOOP with a bare newline")
    if reply.code < 400:
        return "fail", f"smtpd_forbid_bare_newline = reject, but NOOP with a bare newline: {reply}", "postfix reload"
    return "ok", f"smtpd_forbid_bare_newline = {value}; NOOP with a bare newline: {reply}", ""


_PIPELINING = "protocol.smtp.pipelining"
_PIPELINING_WANTED = "a client that does not wait for the answer to EHLO is refused (RFC 2920 section 3.1)"


def _pipelining(service: Service, budget: Budget) -> CheckResult:
    """Send two commands at once: the second one is answered with 250, if the server refused nothing before."""
    with SmtpTalk(service, budget) as talk:
        _greeted(talk)
        talk.send(f"EHLO [{talk.socket.getsockname()[0]}]\r\nNOOP\r\n".encode(), "EHLO and NOOP at once")
        reply = talk.reply()
        if reply.code == 250:
            reply = talk.reply()
        if reply.code < 400:
            key = "mailserver:postfix:main:smtpd_forbid_unauth_pipelining"
            return "warn", f"EHLO and NOOP at once: {reply}", f"Set {key}: true (Postfix has it where updates are in)"
        if reply.code == 421:
            return "unknown", str(reply), _LATER
        talk.lost = True
        return "ok", str(reply), ""


def _after_greeting(service: Service, budget: Budget, octets: bytes, asked: str) -> Reply:
    with SmtpTalk(service, budget) as talk:
        _greeted(talk)
        talk.send(octets, asked)
        reply = talk.reply()
        talk.lost = reply.code >= 400
        return reply


def _greeted(talk: SmtpTalk) -> None:
    talk.connect()
    ready, words = talk.greet()
    if not ready:
        raise WireError(f"{talk.service.endpoint} greeted with {words}")
