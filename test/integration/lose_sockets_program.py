"""Run on a mail host, by Salt's own Python, with a domain: reload OpenDKIM under load until it has lost many sockets.

Prints how many it has lost, and from how many on it is restarted (mailhost.daemons.opendkim).
"""

import contextlib
import subprocess
import sys
import threading
import time

sys.path.insert(0, "/var/cache/salt/minion/extmods/utils")

from mailhost.daemons.opendkim import lost_sockets, main_process, most_lost
from mailhost.errors import ProbeError
from mailhost.opendkim import milter as milters

LANES, LIMIT = 8, 1200
SOCKET = "inet:8891@127.0.0.1"
RELOAD = ("systemctl", "kill", "--signal=USR1", "--kill-who=main", "opendkim")


def lost():
    """Return how many sockets the daemon has lost."""
    return lost_sockets(main_process("opendkim"))


def lane(domain, ends):
    """Have messages signed, one after the other."""
    message = f"From: a@{domain}\r\n\r\nx\r\n".encode()
    while not ends.is_set():
        with contextlib.suppress(ProbeError):
            milters.sign(SOCKET, message, f"a@{domain}", ["b@outside.test"])


def lose(domain, count, limit):
    """Reload under load until so many sockets are lost, or the time is over."""
    ends = threading.Event()
    lanes = [threading.Thread(target=lane, args=(domain, ends)) for _ in range(LANES)]
    for one in lanes:
        one.start()
    while lost() < count and time.monotonic() < limit:
        subprocess.run(RELOAD, check=True)
        time.sleep(0.02)
    ends.set()
    for one in lanes:
        one.join()


def settled():
    """Return how many sockets are lost, once no more are closed."""
    before = None
    while (now := lost()) != before:
        before = now
        time.sleep(3)
    return now


def main(domain):
    """Lose sockets until enough of them stay lost."""
    limit, most = time.monotonic() + LIMIT, most_lost(main_process("opendkim"))
    while (stay := settled()) < most + 10 and time.monotonic() < limit:
        # More than enough, since configurations that the last messages still need are closed after them.
        lose(domain, most + 60, limit)
    print(stay, most)


if __name__ == "__main__":
    main(sys.argv[1])
