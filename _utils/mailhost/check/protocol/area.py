"""What the host's mail ports say to anyone: who answers, with what name, and what is offered before and after TLS."""

import ipaddress
import re
import ssl
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import cast

from mailhost.check.findings import CheckedHost, Finding, Status, ok
from mailhost.check.protocol import relay as check_relay
from mailhost.daemons.services import SUBMISSION, Service, services
from mailhost.daemons.talk import Budget, Reply, SmtpTalk, Talk, open_talk
from mailhost.errors import HandshakeFailed, NothingListens, WireError
from mailhost.shapes import Settings

RELOAD = {"postfix": "postfix reload", "dovecot": "doveadm reload"}
_TELLING = re.compile(r"debian|ubuntu|centos|red ?hat|rhel|rocky|\balma|fedora|suse|linux|bsd\b", re.IGNORECASE)
_VERSION = re.compile(r"(?<![\w.-])v?\d+(\.\d+)+(?![\w-])")


@dataclass(frozen=True)
class StepResult:
    """The result of a step: a status, what was seen, the remedy; ``last``: later steps are impossible without it."""

    status: Status
    seen: str
    remedy: str = ""
    last: bool = False


@dataclass(frozen=True)
class ConversationStep:
    """One thing to check in a conversation: the end of its id, what is wanted, and a function that takes a visit."""

    name: str
    wanted: str
    check: Callable[["Visit"], StepResult]


@dataclass
class Visit:
    """A conversation with one service, and the settings that it is compared with."""

    settings: Settings
    service: Service
    talk: Talk


def findings(host: CheckedHost, domains: Collection[str]) -> list[Finding]:
    """Return the findings about the ports of the services that ``host.settings`` want; ``domains`` make no difference.

    No message and no password is sent: each conversation ends before DATA, and before any login.
    """
    return look_at(host, services(host.settings), Budget())


def look_at(host: CheckedHost, asked: Iterable[Service], budget: Budget) -> list[Finding]:
    """Return the findings about these services, within a :class:`mailhost.daemons.talk.Budget`."""
    found: list[Finding] = []
    for service in asked:
        here = look_at_service(host.settings, service, budget)
        found += here
        if service.name == "smtp" and here[-1].id not in ("protocol.smtp.listens", "protocol.smtp.banner"):
            found += check_relay.findings(host, service, budget)
    return found


def look_at_service(settings: Settings, service: Service, budget: Budget) -> list[Finding]:
    """Return the findings of one conversation with a service; it stops at a failed step that the others need."""
    found = []
    with open_talk(service, budget) as talk:
        visit = Visit(settings, service, talk)
        for step in STEPS[service.name]:
            verdict = _verdict(step, visit)
            found.append(_finding(step, service, verdict))
            if verdict.last:
                break
    return found


def _verdict(step: ConversationStep, visit: Visit) -> StepResult:
    try:
        return step.check(visit)
    except WireError as err:
        unit = visit.service.unit
        remedy = f"Check again; if it stays: systemctl status {unit}; journalctl -u '{unit}*' -n 50"
        return StepResult("unknown", str(err), remedy, last=True)


def _finding(step: ConversationStep, service: Service, verdict: StepResult) -> Finding:
    id = f"protocol.{service.protocol}.{step.name}"
    if verdict.status == "ok":
        return ok(id, service.about, step.wanted, verdict.seen)
    return Finding(id, verdict.status, service.about, step.wanted, verdict.seen, verdict.remedy)


def _ok(visit: Visit, seen: str | Reply) -> StepResult:
    return StepResult("ok", f"{visit.service.endpoint}: {seen}")


def _bad(visit: Visit, status: Status, seen: str | Reply, remedy: str, last: bool = False) -> StepResult:
    return StepResult(status, f"{visit.service.endpoint}: {seen}", remedy, last)


def _smtp(visit: Visit) -> SmtpTalk:
    """Return the conversation of a visit in a step that only the services of SMTP have."""
    return cast(SmtpTalk, visit.talk)


def _offered(talk: Talk) -> str:
    return " ".join(talk.capabilities or ())


def _run_states(unit: str) -> str:
    return (
        f"The pillar asks for it, so what runs is not what the pillar says: salt-call state.apply mailserver.{unit} "
        f"sync_mods=all, then {RELOAD[unit]}"
    )


def _listens(visit: Visit) -> StepResult:
    unit = visit.service.unit
    try:
        visit.talk.connect()
    except NothingListens as err:
        remedy = (
            f"systemctl restart {unit}; systemctl status {unit}; journalctl -u '{unit}*' -n 50. If it runs without "
            f"this port: salt-call state.apply mailserver.{unit} sync_mods=all"
        )
        return StepResult("fail", str(err), remedy, last=True)
    except HandshakeFailed as err:
        return StepResult("fail", str(err), _no_tls(unit), last=True)
    return _ok(visit, "took the connection")


def _no_tls(unit: str) -> str:
    return (
        f"journalctl -u '{unit}*' -g tls -n 20 says why; certificate and key are those of mailserver:tls, and must "
        f"be a pair (mailserver.check area=tls). Then {RELOAD[unit]}"
    )


def _greeting(visit: Visit) -> StepResult:
    ready, words = visit.talk.greet()
    if ready:
        return _ok(visit, words)
    unit = visit.service.unit
    status: Status = "unknown" if words.startswith("4") else "fail"
    return _bad(visit, status, words, f"journalctl -u '{unit}*' -n 50 says why no one is served", last=True)


def _banner(visit: Visit) -> StepResult:
    verdict = _greeting(visit)
    if verdict.status != "ok":
        return verdict
    name, _, rest = verdict.seen.removeprefix(f"{visit.service.endpoint}: 220 ").partition(" ")
    remedy = "Take smtpd_banner and myhostname out of mailserver:postfix:main (smtpd_banner is $myhostname ESMTP then)"
    if name.lower() != visit.settings["hostname"]:
        return StepResult("warn", verdict.seen, f"{remedy}, and set mailserver:hostname to the host's full name")
    if _TELLING.search(rest) or _VERSION.search(rest):
        return StepResult(
            "warn", verdict.seen, f"{remedy}: systems and versions in a banner tell attackers what to try"
        )
    return verdict


def _ehlo_name(visit: Visit) -> StepResult:
    reply = _smtp(visit).hello()
    if reply.code != 250:
        status: Status = "unknown" if reply.code < 500 else "fail"
        return _bad(visit, status, reply, "journalctl -u 'postfix*' -n 50 says why EHLO is refused", last=True)
    name = reply.lines[0].partition(" ")[0]
    if name.lower() != visit.settings["hostname"]:
        remedy = "Set mailserver:hostname to the host's full name, and leave myhostname out of mailserver:postfix:main"
        return _bad(visit, "warn", f"250 {reply.lines[0]}", remedy)
    return _ok(visit, f"250 {name}")


def _auth_before_tls(visit: Visit) -> StepResult:
    talk = visit.talk
    if talk.capabilities is None:
        talk.hello()
    offered = _offered(talk)
    if not talk.offers_logins():
        return _ok(visit, f"offers {offered}")
    if visit.service.protocol != "smtp" and _same_ends(talk):
        remedy = f"Look from another machine: nc {visit.service.host} {visit.service.port} must offer no login"
        return _bad(visit, "unknown", "Dovecot takes a client with the server's own address for safe", remedy)
    return _bad(visit, "fail", f"offers {offered}", _remedy_of_cleartext(visit))


def _same_ends(talk: Talk) -> bool:
    ours, theirs = talk.socket.getsockname()[0], talk.socket.getpeername()[0]
    return ipaddress.ip_address(ours) == ipaddress.ip_address(theirs)


def _remedy_of_cleartext(visit: Visit) -> str:
    settings, service = visit.settings, visit.service
    why = "until then whoever is on the way can read passwords"
    if service.unit == "dovecot":
        if settings["dovecot"]["allow_cleartext_auth"]:
            return f"Set mailserver:dovecot:allow_cleartext_auth: false, and run a highstate; {why}"
        return _run_states("dovecot")
    key, value = _postfix_setting(settings, service, "smtpd_tls_auth_only")
    if value == "yes":
        return _run_states("postfix")
    return f"Set smtpd_tls_auth_only: true in {key}, or leave it out there, and run a highstate; {why}"


def _postfix_setting(settings: Settings, service: Service, name: str) -> tuple[str, str | None]:
    """Return the pillar key that decides a parameter of this service, and its value, or ``None``."""
    options = next((settings["postfix"][one]["options"] for one in SUBMISSION if one == service.name), {})
    if name in options:
        return f"mailserver:postfix:{service.name}:options", options[name]
    return "mailserver:postfix:main", settings["postfix"]["main"].get(name)


def _starttls(visit: Visit) -> StepResult:
    talk, unit = visit.talk, visit.service.unit
    if not talk.offers_tls():
        remedy = _no_tls(unit)
        if (
            unit == "postfix"
            and _postfix_setting(visit.settings, visit.service, "smtpd_tls_security_level")[1] == "none"
        ):
            remedy = "Take smtpd_tls_security_level: none out of mailserver:postfix, and run a highstate"
        return _bad(visit, "fail", f"offers {_offered(talk)}", remedy, last=True)
    try:
        talk.starttls()
    except HandshakeFailed as err:
        return StepResult("fail", str(err), _no_tls(unit), last=True)
    return _ok(visit, f"offered, and speaks {cast(ssl.SSLSocket, talk.socket).version()}")


def _auth_after_tls(visit: Visit) -> StepResult:
    talk, service = visit.talk, visit.service
    if talk.capabilities is None:
        talk.hello()
    if talk.offers_logins():
        return _ok(visit, f"offers {_offered(talk)}")
    return _bad(visit, "fail", f"offers {_offered(talk)}", _remedy_of_no_logins(visit.settings, service))


def _remedy_of_no_logins(settings: Settings, service: Service) -> str:
    if service.unit == "dovecot":
        return "doveconf -n auth_mechanisms must name plain and login; journalctl -u 'dovecot*' -n 50"
    key, value = _postfix_setting(settings, service, "smtpd_sasl_auth_enable")
    if value != "yes":
        return f"Set mailserver:postfix:{service.name}:safe_options: true (or smtpd_sasl_auth_enable: true in {key})"
    checker = "dovecot" if settings["sasl"]["type"] == "dovecot" else settings["os"]["sasl"]["service"]
    return f"journalctl -u 'postfix*' -g sasl -n 20 says why; systemctl status {checker}"


def _vrfy(visit: Visit) -> StepResult:
    """VRFY may be refused (RFC 5321 section 7.3); 252 and 550 come from a server that looked up the name."""
    talk = _smtp(visit)
    if talk.capabilities is None:
        talk.hello()
    reply = talk.ask(f"VRFY postmaster@{visit.settings['hostname']}")
    if reply.code in (252, 250, 251, 550, 551, 553):
        remedy = "Set mailserver:postfix:main:disable_vrfy_command: true: spammers read the list of your users off it"
        return _bad(visit, "warn", reply, remedy)
    return _of_refusal(visit, reply)


def _expn(visit: Visit) -> StepResult:
    reply = _smtp(visit).ask("EXPN postmaster")
    if reply.code < 300:
        return _bad(visit, "warn", reply, "Postfix knows no EXPN: find out what answers here: ss -ltnp 'sport = :25'")
    return _of_refusal(visit, reply)


def _of_refusal(visit: Visit, reply: Reply) -> StepResult:
    if reply.code >= 500:
        return _ok(visit, reply)
    return _bad(visit, "unknown", reply, "Check again; journalctl -u 'postfix*' -n 50 says why this is put off")


def _login_required(visit: Visit) -> StepResult:
    """Without a login, mail from the host's own domain to the host itself must be refused by RCPT at the latest."""
    settings, talk = visit.settings, _smtp(visit)
    if talk.capabilities is None:
        talk.hello()
    reply = talk.ask(f"MAIL FROM:<postmaster@{settings['domain']}>")
    if reply.code == 250:
        reply = talk.ask(f"RCPT TO:<postmaster@{settings['hostname']}>")
    if reply.code >= 300:
        return _of_refusal(visit, reply)
    key = f"mailserver:postfix:{visit.service.name}"
    remedy = f"Set {key}:safe_options: true, and leave smtpd_*_restrictions out of {key}:options; then run a highstate"
    return _bad(visit, "fail", f"RCPT TO without a login: {reply}", remedy)


_LISTENS = ConversationStep("listens", "something listens", _listens)
_GREETING = ConversationStep("greeting", "the server greets and is ready", _greeting)
_BEFORE = ConversationStep("auth_before_tls", "no login is offered before TLS", _auth_before_tls)
_STARTTLS = ConversationStep("starttls", "TLS is offered, and can be had", _starttls)
_AFTER = ConversationStep("auth_after_tls", "a login is offered in TLS", _auth_after_tls)
_SMTP = (
    _LISTENS,
    ConversationStep("banner", "the greeting is 220 and the host's name, and tells no version and no system", _banner),
    ConversationStep("ehlo_name", "EHLO is answered in the host's name", _ehlo_name),
)
_LOGIN = ConversationStep("login_required", "nothing is taken without a login", _login_required)
_LOOK_UPS = (ConversationStep("vrfy", "VRFY is refused", _vrfy), ConversationStep("expn", "EXPN is refused", _expn))
_PLAIN, _DIRECT = (_LISTENS, _GREETING, _BEFORE, _STARTTLS, _AFTER), (_LISTENS, _GREETING, _AFTER)
STEPS = {
    "smtp": (*_SMTP, _BEFORE, _STARTTLS, *_LOOK_UPS),
    "submission": (*_SMTP, _BEFORE, _STARTTLS, _AFTER, _LOGIN),
    "submissions": (*_SMTP, _AFTER, _LOGIN),
    "imap": _PLAIN,
    "imaps": _DIRECT,
    "pop3": _PLAIN,
    "pop3s": _DIRECT,
}
"""The steps of the conversation with each service, in order."""
