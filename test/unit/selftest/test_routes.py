"""Where Postfix would hand mail on to is asked of Postfix, and a next hop that leads nowhere is named."""

import contextlib
import socket
import threading

import pytest

from mailhost.command import CommandResult
from mailhost.errors import RouteUnknown
from mailhost.receiver.dmarc import Unanswered
from mailhost.selftest import routes
from mailhost.selftest.routes import attributes, elements, host_of, outgoing_problems, resolve


@pytest.mark.parametrize(
    ("octets", "found"),
    [
        (b"", {}),
        (b"transport\0smtp\0", {}),  # not whole yet
        (b"transport\0local\0nexthop\0\0recipient\0a@b\0flags\x00256\0\0",
         {"transport": "local", "nexthop": "", "recipient": "a@b", "flags": "256"}),
        (b"protocol\0trivial-rewrite_protocol\0\0", {"protocol": "trivial-rewrite_protocol"}),
        (b"protocol\0p\0\0flags\x000\0transport\0smtp\0nexthop\0[r]:587\0flags\x004096\0\0",
         {"transport": "smtp", "nexthop": "[r]:587", "flags": "4096"}),
    ],
)  # fmt: skip
def test_what_a_daemon_of_postfix_sends_is_read_when_it_is_whole(octets, found):
    assert attributes(octets) == found


@contextlib.contextmanager
def rewrite_service(queue, answer):
    """A trivial-rewrite(8) that greets with its protocol, and gives an answer byte by byte."""
    (queue / "private").mkdir(exist_ok=True)
    path, asked = queue / "private" / "rewrite", []
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(8)

        def serve():
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client:
                    client.sendall(b"protocol\0trivial-rewrite_protocol\0\0")
                    asked.append(client.recv(4096))
                    for at in range(len(answer)):
                        client.sendall(answer[at : at + 1])

        threading.Thread(target=serve, daemon=True).start()
        yield asked
        server.shutdown(socket.SHUT_RDWR)


def reply(transport, nexthop, flags):
    return f"flags\0{0}\0transport\0{transport}\0nexthop\0{nexthop}\0recipient\0x@y\0flags\0{flags}\0\0".encode()


def test_postfix_is_asked_as_its_own_daemons_ask(tmp_path):
    with rewrite_service(tmp_path, reply("local", "a.example", 256)) as asked:
        route = resolve("me@a.example", tmp_path, "you@b.example")
    assert asked == [b"request\0resolve\0sender\0you@b.example\0address\0me@a.example\0\0"]
    assert (str(route), route.stays) == ("local:a.example", True)


def test_a_postfix_that_does_not_answer_is_an_error_that_names_its_socket(tmp_path):
    with pytest.raises(RouteUnknown, match="private/rewrite"):
        resolve("me@a.example", tmp_path)
    with rewrite_service(tmp_path, b""), pytest.raises(RouteUnknown, match="gave no answer for me@"):
        resolve("me@a.example", tmp_path)


@pytest.mark.parametrize(
    ("hop", "name"),
    [
        ("[smtp.example.org]:587", ("smtp.example.org", False)),
        ("[smtp.example.org]", ("smtp.example.org", False)),
        ("example.org", ("example.org", True)),
        ("Example.ORG.:submission", ("example.org", True)),
        ("inet:filter.example.org:10024", ("filter.example.org", True)),
        ("[192.0.2.1]:25", ("", False)),
        ("192.0.2.1", ("", False)),
        ("[2001:db8::1]:25", ("", False)),
        ("unix:private/dovecot-lmtp", ("", False)),
        ("localhost:10024", ("", False)),
        ("", ("", False)),
    ],
)
def test_a_next_hop_is_a_name_with_mx_or_without_or_none_at_all(hop, name):
    assert host_of(hop) == name


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("hash:/a, texthash:/b", ["hash:/a", "texthash:/b"]),
        ("inline:{ {a = b}, {c = d} }, hash:/a", ["inline:{ {a = b}, {c = d} }", "hash:/a"]),
        ("  ", []),
    ],
)
def test_a_list_is_split_where_postfix_splits_it(value, found):
    assert elements(value) == found


class Resolver:
    """A DNS that knows one name, and does not answer for another."""

    def has_address(self, name):
        if name == "silent.example":
            raise Unanswered("time-out")
        return name == "relay.example"

    takes_mail = has_address


MAIN = {"transport_maps": "", "sender_dependent_relayhost_maps": "", "sender_dependent_default_transport_maps": "",
        "content_filter": "", "smtp_fallback_relay": ""}  # fmt: skip
STRANGERS = routes.STRANGER.partition("@")[2]


@pytest.mark.parametrize(
    ("route", "main", "rows", "said"),
    [
        (("smtp", STRANGERS, 4096), {}, "", {}),
        (("smtp", "[relay.example]:587", 4096), {}, "", {}),
        (("smtp", "[silent.example]:587", 4096), {}, "", {}),  # nothing is known, so nothing is wrong
        (("smtp", "[gone.example]:587", 4096), {}, "", {"mail for others": "DNS has no address of gone.example"}),
        (("smtp", "gone.example", 4096), {}, "", {"mail for others": "no MX record or address of gone.example"}),
        (("scan", "x", 4096), {}, "", {"mail for others": "the transport scan is not in master.cf"}),
        (("smtp", STRANGERS, 4096), {"content_filter": "scan:[127.0.0.1]:10024"}, "",
         {"content_filter": "the transport scan is not in master.cf"}),
        (("smtp", STRANGERS, 4096), {"smtp_fallback_relay": "[gone.example]"}, "",
         {"smtp_fallback_relay [gone.example]": "gone.example"}),
        (("smtp", STRANGERS, 4096), {"transport_maps": "hash:/t"}, "a.example\t:[gone.example]\nb.example\tlmtp:\n",
         {"transport_maps, a.example": "gone.example", "transport_maps, b.example": "the transport lmtp is not"}),
        (("smtp", STRANGERS, 4096), {"sender_dependent_relayhost_maps": "hash:/t"}, "@a.example\t[gone.example]\n",
         {"sender_dependent_relayhost_maps, @a.example": "gone.example"}),
        (("local", "", 256), {}, "", {}),
    ],
)  # fmt: skip
def test_what_keeps_mail_from_leaving_is_named(tmp_path, route, main, rows, said):
    def command(words):
        if words[0] == "postmap":
            return CommandResult(0, rows, "") if words[-1] == "hash:/t" else CommandResult(1, "", "")
        return CommandResult(0, "".join(f"{name} = {value}\n" for name, value in {**MAIN, **main}.items()), "")

    with rewrite_service(tmp_path, reply(*route)):
        (tmp_path / "private" / "smtp").touch()
        found = outgoing_problems(tmp_path, "me@a.example", command, routes.NameResolution(Resolver()))
    assert found.keys() == said.keys()
    assert all(words in found[what] for what, words in said.items())
