"""The oldest message in the mail queue: empty, unknown and old are three different things."""

import json
import subprocess

import pytest

from mailhost.clock import utc
from mailhost.postfix.queue import oldest

NOW = utc(1_795_542_000)


def lines(*arrivals):
    return "".join(json.dumps({"queue_name": "deferred", "arrival_time": one}) + "\n" for one in arrivals)


@pytest.mark.parametrize(
    ("text", "offset", "found"),
    [
        ("", 0, NOW),
        (lines(1_795_541_000, 1_795_540_000, 1_795_541_500), 0, utc(1_795_540_000)),
        (lines(1_795_541_000), 31_536_000, utc(1_795_541_000 - 31_536_000)),
        (lines(1_795_541_000), -31_536_000, utc(1_795_541_000)),
        (lines(1_795_542_060), 0, utc(1_795_542_060)),
        (lines(1_795_541_000, 1_795_542_000 + 31_536_000), 0, None),
        (lines(1_795_542_000 + 31_536_000), -31_536_000, None),
        (lines(1_795_542_000 + 31_536_000), 31_536_000, NOW),
        ("mail system is down", 0, None),
        ('{"queue_name": "active"}\n', 0, None),
        ('{"arrival_time": "yesterday"}\n', 0, None),
        ('{"arrival_time": 1e300}\n', 0, None),
    ],
)
def test_the_oldest_message_is_found_or_said_to_be_unknown(text, offset, found):
    assert oldest(NOW, offset, lambda: text) == found


@pytest.mark.parametrize("error", [FileNotFoundError("postqueue"), subprocess.TimeoutExpired("postqueue", 60)])
def test_a_queue_that_cannot_be_read_is_unknown_and_not_empty(error):
    def run():
        raise error

    assert oldest(NOW, 0, run) is None
