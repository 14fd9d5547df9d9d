"""On client: many mail programs at once against a mail host. The argument is the work, the answer the result, in JSON.

The work is ``{"host", "domain", "password", "users", "tag", "imap", "smtp", "messages"}``: so many sessions of each
kind, and so many messages through those of SMTP. The answer has ``served`` and ``taken``, the numbers of sessions of
each kind and of messages, ``seconds`` since all were logged in, and ``failed``, an error's text and how often it came.
"""

import collections
import imaplib
import json
import smtplib
import ssl
import sys
import threading
import time

LIMIT = 1200
"""Seconds for one answer, and for all sessions to be logged in."""
RECIPIENT = "world@outside.test"


def shares(messages, sessions):
    """Return the numbers of the messages that each session is to send."""
    return [range(first, messages, sessions) for first in range(sessions)]


class Load:
    """The sessions of one piece of work, which wait for each other once they are logged in."""

    def __init__(self, work):
        self.work = work
        self.served, self.failed, self.began = collections.Counter(), collections.Counter(), None
        self.taken, self.lock = 0, threading.Lock()
        self.meeting = threading.Barrier(work["imap"] + work["smtp"], action=self._begin, timeout=LIMIT)

    def run(self):
        """Have all sessions do their part; return the answer."""
        jobs = [(self._read, number, None) for number in range(self.work["imap"])]
        if self.work["smtp"]:
            numbers = shares(self.work["messages"], self.work["smtp"])
            jobs += [(self._submit, number, share) for number, share in enumerate(numbers)]
        threads = [threading.Thread(target=self._session, args=job) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - self.began if self.began else 0
        return {"served": self.served, "taken": self.taken, "seconds": seconds, "failed": self.failed}

    def _begin(self):
        self.began = time.monotonic()

    def _session(self, does, number, share):
        user = self.work["users"][number % len(self.work["users"])]
        try:
            does(user, share)
            with self.lock:
                self.served[does.__name__.strip("_")] += 1
        except Exception as err:  # whatever it is, it is counted and told
            with self.lock:
                self.failed[f"{does.__name__.strip('_')}: {type(err).__name__}: {err}"] += 1

    def _read(self, user, _share):
        with imaplib.IMAP4(self.work["host"], timeout=LIMIT) as mailbox:
            mailbox.starttls(unverified())
            mailbox.login(user, self.work["password"])
            self.meeting.wait()
            for status, _ in (mailbox.select("INBOX", readonly=True), mailbox.search(None, "ALL")):
                if status != "OK":
                    raise imaplib.IMAP4.error(status)

    def _submit(self, user, share):
        sender = f"{user}@{self.work['domain']}"
        with smtplib.SMTP(self.work["host"], 587, "client.lab.test", timeout=LIMIT) as session:
            session.starttls(context=unverified())
            session.login(user, self.work["password"])
            self.meeting.wait()
            for number in share:
                session.sendmail(sender, [RECIPIENT], message(sender, self.work["tag"], number))
                with self.lock:
                    self.taken += 1


def message(sender, tag, number):
    """Return a message that is known by its tag and, among those, by its Message-ID."""
    known = f"Subject: {tag}\r\nMessage-ID: <{tag}.{number}@client.lab.test>\r\n"
    return f"From: {sender}\r\nTo: {RECIPIENT}\r\n{known}\r\nMessage {number}.\r\n"


def unverified():
    """Return a TLS context for hosts whose certificates are self-signed."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


if __name__ == "__main__":
    print(json.dumps(Load(json.loads(sys.argv[1])).run()))
