"""Run on `client`: what strangers try at a mail host, from any of the client's addresses; prints the outcome as JSON.

stranger_program.py WORK JSON, with the work's arguments by name: `host` is whom to talk to, from the address `source`.
"""

import base64
import imaplib
import json
import smtplib
import socket
import ssl
import sys

LIMIT = 30
"""Seconds for one answer."""
FORMS_A_SESSION = 6
"""Postfix slows a client down after 10 errors (smtpd_soft_error_limit)."""


def unverified():
    """The hosts' certificates are self-signed."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Talk:
    """SMTP by octets: smtplib would mend what is to be sent wrong."""

    def __init__(self, host, port, source, tls=False, early=False):
        self.socket = socket.create_connection((host, port), LIMIT, (source, 0))
        if early:
            self.send(b"EHLO client.lab.test\r\n")
        self.answers = self.socket.makefile("rb")
        self.greeting = self.answer()
        if tls:
            self.say("EHLO client.lab.test")
            self.say("STARTTLS")
            self.socket = unverified().wrap_socket(self.socket)
            self.answers = self.socket.makefile("rb")

    def answer(self):
        # postscreen's greeting comes in two parts, the first long before the other; the last line is without "-".
        while (line := self.answers.readline())[3:4] == b"-":
            pass
        return line.decode(errors="replace").strip()

    def send(self, octets):
        self.socket.sendall(octets)

    def say(self, line):
        self.send(line.encode() + b"\r\n")
        return self.answer()

    def login(self, user, password):
        plain = base64.b64encode(f"\0{user}\0{password}".encode()).decode()
        return self.say(f"AUTH PLAIN {plain}")

    def close(self):
        self.socket.close()


def relay(host, source, port, tls, token, forms):
    """Try each form: ``before`` (a command), ``helo``, ``mail``, ``rcpt`` (a list); a message where all were taken."""
    found = []
    for start in range(0, len(forms), FORMS_A_SESSION):
        talk = Talk(host, port, source, tls)
        for form in forms[start : start + FORMS_A_SESSION]:
            found.append(_try_form(talk, token, form))
        talk.close()
    return found


def _try_form(talk, token, form):
    talk.say(f"EHLO {form.get('helo', 'client.lab.test')}")
    if "before" in form:
        talk.say(form["before"])
    said = [talk.say(f"MAIL FROM:{form['mail']}")]
    if said[0].startswith("2"):
        said += [talk.say(f"RCPT TO:{one}") for one in form["rcpt"]]
    if len(said) > 1 and any(one.startswith("2") for one in said[1:]):
        talk.say("DATA")
        talk.send(f"Subject: {token} {form['name']}\r\n\r\nRelayed?\r\n".encode())
        said.append(talk.say("."))
    return said


def smuggle(host, source, port, sender, recipient, login, ends):
    """For each end of data, a message whose text holds, after that end, another one with a transaction of its own."""
    found = {}
    for token, end in ends.items():
        talk = Talk(host, port, source, tls=bool(login))
        talk.say("EHLO client.lab.test")
        if login:
            talk.login(*login)
        commands = [f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>", "DATA"]
        said = [talk.say(command) for command in commands]
        inner = "".join(f"{command}\r\n" for command in commands) + f"Subject: inner-{token}\r\n\r\nin\r\n.\r\n"
        talk.send(f"Subject: outer-{token}\r\n\r\nouter-{token}".encode() + end.encode("latin-1") + inner.encode())
        found[token] = [*said, talk.answer()]
        talk.close()
    return found


def greeted(host, source, rcpt, mail="<world@outside.test>", early=False, token=""):
    """Talk to port 25 as a mail server does, or before its turn; what RCPT TO was answered, and the message."""
    talk = Talk(host, 25, source, early=early)
    # What came before the greeting, postscreen has thrown away: EHLO is to be said again.
    said = [talk.greeting, *map(talk.say, ("EHLO client.lab.test", f"MAIL FROM:{mail}", f"RCPT TO:{rcpt}"))]
    if not said[-1].startswith("2"):
        return {"rcpt": said[-1], "said": said}
    talk.say("DATA")
    talk.send(f"Subject: {token}\r\n\r\nHello.\r\n".encode())
    return {"rcpt": said[-1], "end": talk.say(".")}


def login(host, source, port, user, password, times):
    """Log in so often, each time anew; what each was answered."""
    return [_login(host, source, port, user, password) for _ in range(times)]


def _login(host, source, port, user, password):
    try:
        if port == 587:
            with smtplib.SMTP(host, port, "client.lab.test", LIMIT, (source, 0)) as session:
                session.starttls(context=unverified())
                session.ehlo()
                session.user, session.password = user, password
                session.auth("PLAIN", session.auth_plain)  # login() would try each mechanism: more guesses than one
                return "in"
        talk = ssl_imap(host, source, port)
        talk.login(user, password)
        talk.logout()
    except (smtplib.SMTPException, imaplib.IMAP4.error, OSError) as err:
        return f"{type(err).__name__}: {err}"
    return "in"


def ssl_imap(host, source, port):
    class From(imaplib.IMAP4_SSL):
        def _create_socket(self, timeout):
            plain = socket.create_connection((host, port), LIMIT, (source, 0))
            return self.ssl_context.wrap_socket(plain, server_hostname=host)

    return From(host, port, ssl_context=unverified())


def reach(host, source, ports):
    """Which of the ports accept a connection."""
    found = []
    for port in ports:
        try:
            socket.create_connection((host, port), 3, (source, 0)).close()
        except OSError:
            continue
        found.append(port)
    return found


def say(host, source, port, lines):
    """What each line is answered, after EHLO."""
    talk = Talk(host, port, source)
    talk.say("EHLO client.lab.test")
    return [talk.say(line) for line in lines]


WORKS = {"relay": relay, "smuggle": smuggle, "greeted": greeted, "login": login, "reach": reach, "say": say}
print(json.dumps(WORKS[sys.argv[1]](**json.loads(sys.argv[2]))))
