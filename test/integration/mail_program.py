"""Run on `client`: log in to a mailbox as people's mail programs do, and print the newest message.

mail_program.py imap|pop3 HOST USER PASSWORD [cleartext] [TOKEN]: with TOKEN, the message that holds it.
"""

import imaplib
import poplib
import ssl
import sys


def imap(host, user, password, cleartext, token):
    mailbox = imaplib.IMAP4(host, timeout=300)
    if not cleartext:
        mailbox.starttls(unverified())
    mailbox.login(user, password)
    mailbox.select("INBOX")
    _, found = mailbox.search(None, *(("TEXT", token) if token else ("ALL",)))
    for number in found[0].split():
        _, parts = mailbox.fetch(number, "(RFC822)")
        # A server may tell of new flags first, as Dovecot 2.4.5 does ($HasNoAttachment); that part is no pair.
        print(next(part[1] for part in parts if isinstance(part, tuple)).decode())
    mailbox.logout()


def pop3(host, user, password, cleartext, token):
    mailbox = poplib.POP3(host, timeout=300)
    if not cleartext:
        mailbox.stls(unverified())
    mailbox.user(user)
    mailbox.pass_(password)
    count, _ = mailbox.stat()
    for number in range(1, count + 1):
        text = b"\r\n".join(mailbox.retr(number)[1]).decode()
        if not token or token in text:
            print(text)
    mailbox.quit()


def unverified():
    """The hosts' certificates are self-signed."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


protocol, host, user, password, *options = sys.argv[1:]
wanted = [one for one in options if one != "cleartext"]
{"imap": imap, "pop3": pop3}[protocol](host, user, password, "cleartext" in options, wanted[0] if wanted else "")
