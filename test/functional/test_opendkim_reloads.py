"""What a real OpenDKIM loses when it is reloaded under load, by which mailhost.daemons.opendkim restarts it."""

import threading
import time

from mailhost.daemons.opendkim import lost_sockets
from mailhost.opendkim import milter as milters
from opendkim_daemon import Key

LANES, RELOADS = 8, 20
LIMIT = 600


def test_connections_that_come_at_a_reload_cost_sockets_that_are_never_closed(daemon):
    milter = daemon()
    milter.key("s1", Key())
    milter.tables(("example.com", "s1"))
    milter.start(f"local:{milter.folder}/socket")
    message = b"From: a@example.com\r\n\r\nx\r\n"

    def send():
        milters.sign(milter.socket, message, "a@example.com", ["b@example.org"])

    def lane(ends):
        while not ends.is_set():
            send()

    def reload_under_load():
        ends = threading.Event()
        lanes = [threading.Thread(target=lane, args=(ends,)) for _ in range(LANES)]
        for one in lanes:
            one.start()
        for _ in range(RELOADS):
            milter.reload()
            time.sleep(0.05)
        ends.set()
        for one in lanes:
            one.join()
        # Those of configurations that the last messages still needed are closed; the rest stays.
        time.sleep(1)

    send()
    at_rest, began = lost_sockets(milter.process.pid), time.monotonic()
    assert 4 <= at_rest < 16
    while lost_sockets(milter.process.pid) < at_rest + 16:
        assert time.monotonic() < began + LIMIT, "OpenDKIM loses no sockets any more: is the restart still needed?"
        reload_under_load()
