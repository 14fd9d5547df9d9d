"""Which datagrams are taken for the answer to a question: only those that come from where it was asked."""

import asyncio

import dns.name
import pytest

from mailhost.dns import sockets
from mailhost.dns.sockets import PORT

QUESTION = sockets.question_wire(dns, "a.example", "TXT")
NUMBER = 4711
FROM = {
    "IPv4": (("192.0.2.53", 0), ("192.0.2.53", PORT)),
    "IPv6": (("2001:db8::53", 0), ("2001:db8::53", PORT, 0, 0)),
    "IPv6 of a link": (("fe80::1", 2), ("fe80::1%eth0", PORT, 0, 2)),
}
"""Whom a question was sent to, as it is remembered, and where a socket says that the right answer came from."""


def answer(number=NUMBER, question=QUESTION, flags=b"\x84\x00"):
    return number.to_bytes(2, "big") + flags + b"\0\1\0\0\0\0\0\0" + question


def taken(sender, goal, wire):
    """Tell whether a datagram answers the question that waits."""

    async def received():
        one, future = sockets._Socket(), asyncio.get_running_loop().create_future()
        one.waiting[sender, NUMBER] = (QUESTION.lower(), future)
        one.datagram_received(wire, goal)
        return future.done()

    return asyncio.run(received())


@pytest.mark.parametrize(("sender", "goal"), FROM.values(), ids=FROM)
def test_the_answer_of_the_server_that_was_asked_is_taken(sender, goal):
    assert taken(sender, goal, answer())
    assert taken(sender, goal, answer(question=QUESTION.upper()[:-3] + QUESTION[-3:]))


@pytest.mark.parametrize(("sender", "goal"), FROM.values(), ids=FROM)
@pytest.mark.parametrize(
    "forged",
    [
        {"goal": lambda goal: (goal[0], PORT + 1, *goal[2:])},
        {"goal": lambda goal: ("192.0.2.66", *goal[1:])},
        {"wire": answer(NUMBER + 1)},
        {"wire": answer(question=sockets.question_wire(dns, "b.example", "TXT"))},
        {"wire": answer(flags=b"\x04\x00")},
        {"wire": answer()[:11]},
    ],
    ids=["another port", "another address", "another ID", "another question", "no answer", "no whole head"],
)
def test_what_another_may_have_sent_is_not_taken(sender, goal, forged):
    assert not taken(sender, forged.get("goal", lambda same: same)(goal), forged.get("wire", answer()))


def test_the_answer_from_another_interface_is_not_taken():
    sender, goal = FROM["IPv6 of a link"]
    assert not taken(sender, (*goal[:3], 3), answer())
