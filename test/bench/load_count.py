"""On a host: what lies in a Maildir, by subject, as JSON: ``{SUBJECT: [messages, different Message-IDs]}``."""

import collections
import json
import sys
from pathlib import Path


def count(maildir):
    """Return, by subject, how many messages a Maildir holds, and how many different Message-IDs they have."""
    found = collections.defaultdict(list)
    for part in ("new", "cur"):
        for file in Path(maildir, part).iterdir():
            subject, known = headers(file.read_bytes())
            found[subject].append(known)
    return {subject: [len(known), len(set(known))] for subject, known in found.items()}


def headers(message):
    """Return a message's subject and its Message-ID, ``""`` for what it lacks."""
    found = {}
    for line in message.replace(b"\r\n", b"\n").partition(b"\n\n")[0].split(b"\n"):
        name, _, value = line.decode(errors="replace").partition(":")
        found.setdefault(name.lower(), value.strip())
    return found.get("subject", ""), found.get("message-id", "")


if __name__ == "__main__":
    print(json.dumps(count(sys.argv[1])))
