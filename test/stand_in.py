"""Runs in a mail host: another server at the port of one of its daemons, right in all but what it is told to answer.

    python stand_in.py NAME PORT HOST CHANGES

CHANGES, in JSON, are what is answered otherwise than by a healthy server. mail_peers.py lies beside this file.
"""

import json
import sys
import threading

from mail_peers import ANSWERS, NAME, Peer, context_of

name, port, host = sys.argv[1:4]
changes = json.loads(sys.argv[4])
in_our_name = {key.replace(NAME, host): text.replace(NAME, host) for key, text in ANSWERS[name].items()}
context = context_of("/etc/ssl/mailserver/certificate.pem", "/etc/ssl/mailserver/key.pem")
# The first key that fits a line has its answer, so the changes come before the rest.
peer = Peer(name, context, {**changes, **in_our_name, **changes}, ("", int(port)))
threading.Event().wait()
