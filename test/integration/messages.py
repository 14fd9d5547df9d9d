"""Mail that arrived at the client, and what independent verifiers there say of it."""

import json

from check_faults import PYTHON

WORLD = "world@outside.test"

# dkimpy and Perl's Mail::DKIM, run on the client: neither shares code with OpenDKIM.
_JUDGES = r"""
import email, json, re, subprocess, sys
import dkim
message = sys.stdin.buffer.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
fields = email.message_from_bytes(message).get_all("DKIM-Signature") or []
tags = [dict(re.findall(r"\b([a-z]+)=([^;]*)", re.sub(r"\s", "", field))) for field in fields]
perl = '''use Mail::DKIM::Verifier; binmode STDIN; my $m = do { local $/; <STDIN> };
          my $v = Mail::DKIM::Verifier->new; $v->PRINT($m); $v->CLOSE; print $v->result;'''
judged = subprocess.run(["perl", "-e", perl], input=message, capture_output=True, check=True).stdout.decode()
print(json.dumps({
    "signatures": [{"domain": one["d"], "selector": one["s"]} for one in tags],
    "dkimpy": bool(fields) and dkim.verify(message), "mail_dkim": judged}))
"""


def arrived(lab, token):
    """Wait for the message that holds ``token`` in the client's mailbox, and return its text."""
    return lab.delivered("client", "world", token)


def judge(lab, message):
    """Return what independent verifiers on the client say of a message.

    ``signatures``: domain and selector of each; ``dkimpy``: true or false; ``mail_dkim``: ``pass``, ``fail``, ``none``…
    """
    return json.loads(lab.run("client", PYTHON, "-c", _JUDGES, stdin=message).out)


def sent_and_judged(lab, host, sender):
    """Have alice submit a message as ``sender`` through ``host`` to the client; what :func:`judge` says of it there."""
    token, _ = lab.submit(host, sender=sender, to=WORLD)
    return judge(lab, arrived(lab, token))
