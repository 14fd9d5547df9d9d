"""What a firewall that starts would shut is named, with what to do about it."""

import pytest

from mailhost.before import shut as before_shut
from mailhost.before.shut import listeners, service_spans, shut

LISTENING = """\
udp   UNCONN 0 0             127.0.0.1:323      0.0.0.0:*  users:(("chronyd",pid=5,fd=5))
udp   UNCONN 0 0               0.0.0.0:68       0.0.0.0:*  users:(("dhclient",pid=6,fd=7))
udp   UNCONN 0 0               0.0.0.0:53       0.0.0.0:*  users:(("named",pid=7,fd=7))
udp   UNCONN 0 0               0.0.0.0:40123    0.0.0.0:*  users:(("resolver",pid=8,fd=7))
udp   UNCONN 0 0               0.0.0.0:51820    0.0.0.0:*
tcp   LISTEN 0 80              0.0.0.0:3306     0.0.0.0:*  users:(("mariadbd",pid=1,fd=2))
tcp   LISTEN 0 80                 [::]:3306        [::]:*  users:(("mariadbd",pid=1,fd=3))
tcp   LISTEN 0 80            127.0.0.1:6379     0.0.0.0:*  users:(("redis",pid=2,fd=2))
tcp   LISTEN 0 80   [::ffff:127.0.0.1]:6380           *:*  users:(("java",pid=2,fd=2))
tcp   LISTEN 0 80        127.0.0.53%lo:53       0.0.0.0:*  users:(("systemd-resolve",pid=2,fd=2))
tcp   LISTEN 0 80                [::1]:631         [::]:*  users:(("cupsd",pid=3,fd=2))
tcp   LISTEN 0 80              0.0.0.0:25       0.0.0.0:*  users:(("master",pid=4,fd=2))
tcp   LISTEN 0 80                    *:8080           *:*  users:(("nginx",pid=12,fd=2),("nginx",pid=11,fd=2))
tcp   LISTEN 0 80              0.0.0.0:22       0.0.0.0:*  users:(("sshd",pid=9,fd=3))
tcp   LISTEN 0 80              0.0.0.0:2222     0.0.0.0:*  users:(("sshd",pid=9,fd=4))
tcp   LISTEN 0 64              0.0.0.0:2049     0.0.0.0:*
"""
ALL = [
    "named (process 7) at 0.0.0.0:53/udp",
    "the kernel at 0.0.0.0:2049/tcp",
    "sshd (process 9) at 0.0.0.0:2222/tcp",
    "mariadbd (process 1) at 0.0.0.0:3306/tcp",
    "nginx (process 12) at *:8080/tcp",
    "the kernel at 0.0.0.0:51820/udp",
]


@pytest.mark.parametrize(
    ("services", "ports", "given_up", "left"),
    [
        (["ssh", "smtp"], [], [], range(6)),
        (["ssh", "smtp"], ["2222/tcp", "3306/udp"], ["8080/tcp"], [0, 1, 3, 5]),
        (["ssh", "smtp"], ["1-65535/tcp"], [], [0, 5]),
        (["ssh", "smtp"], [], ["1-65535/tcp", "53/udp", "51820/udp"], []),
    ],
)
def test_what_others_reach_and_the_pillar_says_nothing_of_is_named(services, ports, given_up, left, tmp_path):
    found = shut(listeners(LISTENING), services, ports, given_up, (tmp_path,))
    assert [str(one) for one in found] == [ALL[i] for i in left]


def test_a_service_is_what_its_definition_says(tmp_path):
    (tmp_path / "web.xml").write_text(
        '<service><port protocol="tcp" port="8080"/><port port="5000-5010" protocol="udp"/>'
        '<include service="loop"/></service>'
    )
    (tmp_path / "loop.xml").write_text('<service><port protocol="tcp" port="9"/><include service="web"/></service>')
    spans = service_spans("web", (tmp_path / "no", tmp_path))
    assert {("tcp", 8080, 8080), ("udp", 5000, 5010), ("tcp", 9, 9)} == set(spans)
    assert service_spans("imaps", (tmp_path,)) == [("tcp", 993, 993)]


def test_the_sentence_has_the_whole_list_that_takes_the_place_of_the_default():
    found = [one for one in listeners(LISTENING) if one.port in (2222, 8080)]
    said = before_shut.report(found, ["587/tcp"])
    assert "sshd (process 9) at 0.0.0.0:2222/tcp; nginx (process 12) at *:8080/tcp" in said
    assert "mailserver:firewalld:ports: [587/tcp, 2222/tcp, 8080/tcp]" in said
    assert "mailserver:firewalld:shut: [2222/tcp, 8080/tcp]" in said
    assert before_shut.report([], ["587/tcp"]) == ""
