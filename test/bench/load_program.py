"""Run on `client`: many mail programs at once against a mail host. Prints what came of it as JSON.

load_program.py imap|smtp HOST SESSIONS TAG PASSWORD DOMAIN USER…: so many sessions, all logged in at the same moment;
    then each reads the inbox, or sends a message.
load_program.py burst HOST SESSIONS TAG PASSWORD DOMAIN USER… MESSAGES: so many messages to world@outside.test through
    so many sessions, each one after another.
load_program.py count TAG: how many different messages of the tag lie in world's mailbox, and how many in all.
"""

import collections
import glob
import imaplib
import json
import re
import smtplib
import ssl
import sys
import threading
import time
from pathlib import Path

LIMIT = 120
"""Seconds for one answer, and for all sessions to be logged in."""
RECIPIENT = "world@outside.test"
taken = []
"""The numbers of the messages that the host took."""


def unverified():
    """The hosts' certificates are self-signed."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def read_inbox(host, user, password, all_here, _number):
    with imaplib.IMAP4(host, timeout=LIMIT) as mailbox:
        mailbox.starttls(unverified())
        mailbox.login(user, password)
        all_here()
        status, _ = mailbox.select("INBOX", readonly=True)
        assert status == "OK"
        status, _ = mailbox.search(None, "ALL")
        assert status == "OK"


def submit(host, user, password, all_here, numbers):
    with smtplib.SMTP(host, 587, "client.lab.test", timeout=LIMIT) as session:
        session.starttls(context=unverified())
        session.login(user, password)
        all_here()
        for number in numbers:
            sender = f"{user}@{DOMAIN}"
            text = f"From: {sender}\r\nTo: {RECIPIENT}\r\nSubject: load {TAG} {number}\r\n\r\nMessage {number}.\r\n"
            session.sendmail(sender, [RECIPIENT], text)
            taken.append(number)


def at_once(work, host, shares, password, users):
    """Have a session for each share of the work; return the seconds from the moment when all are logged in."""
    meeting = threading.Barrier(len(shares), action=lambda: began.append(time.monotonic()), timeout=LIMIT)
    began, failed = [], collections.Counter()

    def session(number, share):
        try:
            work(host, users[number % len(users)], password, meeting.wait, share)
        except Exception as err:  # whatever it is, it is counted and told
            failed[f"{type(err).__name__}: {err}"] += 1

    threads = [threading.Thread(target=session, args=one) for one in enumerate(shares)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began[0] if began else None
    served = len(shares) - sum(failed.values())
    return {"served": served, "messages": len(taken), "seconds": seconds, "failed": failed}


def count(tag):
    """Return how many different messages with the tag world has, and how many with it in all: none twice."""
    subject = re.compile(rb"^Subject: load %s (\d+)" % tag.encode(), re.MULTILINE)
    files = glob.glob("/home/world/Maildir/new/*")
    found = [match[1] for match in (subject.search(Path(file).read_bytes()) for file in files) if match]
    return {"different": len(set(found)), "all": len(found)}


if sys.argv[1] == "count":
    print(json.dumps(count(sys.argv[2])))
    sys.exit()
what, host, sessions, TAG, password, DOMAIN, *rest = sys.argv[1:]
sessions = int(sessions)
if what == "imap":
    print(json.dumps(at_once(read_inbox, host, range(sessions), password, rest)))
elif what == "smtp":
    print(json.dumps(at_once(submit, host, [[number] for number in range(sessions)], password, rest)))
else:
    *users, messages = rest
    shares = [range(first, int(messages), sessions) for first in range(sessions)]
    print(json.dumps(at_once(submit, host, shares, password, users)))
