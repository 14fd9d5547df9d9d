"""Run on a mail host with Salt's Python: asks OpenDKIM who signs for senders until told to end.

Prints, as JSON, how often each answer came for each sender: ``d=… s=…``, ``unsigned``, or ``waits`` (no OpenDKIM to
ask, or a temporary failure: the mail would be tried again).
"""

import json
import re
import select
import sys

sys.path.insert(0, "/var/cache/salt/minion/extmods/utils")

from mailhost.errors import ProbeError
from mailhost.opendkim import milter as milters

SOCKET = "inet:8891@127.0.0.1"


def answer(sender):
    message = f"From: {sender}\r\nTo: b@outside.test\r\nSubject: x\r\n\r\nbody\r\n".encode()
    try:
        fields = milters.sign(SOCKET, message, sender, ["b@outside.test"])
    except ProbeError:
        return "waits"
    value = "".join(re.sub(r"\s+", "", value) for name, value in fields if name.lower() == "dkim-signature")
    tags = dict(part.partition("=")[::2] for part in value.split(";"))
    return f"d={tags['d']} s={tags['s']}" if "d" in tags else "unsigned"


seen = {sender: {} for sender in sys.argv[1:]}
while True:
    for sender, answers in seen.items():
        one = answer(sender)
        answers[one] = answers.get(one, 0) + 1
    if select.select([sys.stdin], [], [], 0.1)[0]:
        break
print(json.dumps(seen))
