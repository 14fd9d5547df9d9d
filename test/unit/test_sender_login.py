"""Who may send as which address: few lines for thousands of domains, and the same owners as with a line for each."""

import re
from pathlib import Path

import jinja2
import pytest

FILES = Path(__file__).resolve().parents[2] / "mailserver" / "postfix" / "files"
DOMAINS = [f"d{number}.example" for number in range(120)]


def rows(domains):
    text = (FILES / "sender_login.jinja").read_text()
    names = {"domain": "d0.example", "hostname": "mx1.example", "receiving": " ".join(domains)}
    return [line for line in jinja2.Template(text).render(names).splitlines() if not line.startswith("#")]


def owners(address, domains=DOMAINS):
    """Look an address up as Postfix does in a table of regular expressions (regexp_table(5)): the first one counts."""
    for row in rows(domains):
        _, pattern, result = re.fullmatch(r"(/)(.*)/ (.*)", row).groups()
        found = re.search(pattern, address, re.IGNORECASE)
        if found:
            return found.expand(re.sub(r"\$\{(\d)\}", r"\\g<\1>", result)).split()
    return None


@pytest.mark.parametrize("domain", [DOMAINS[0], DOMAINS[49], DOMAINS[50], DOMAINS[119]])
def test_a_user_owns_the_address_of_that_name_in_each_domain(domain):
    assert owners(f"alice@{domain}") == ["alice", "alice@d0.example", f"alice@{domain}"]
    assert owners(f"alice+tag@{domain}") == ["alice", "alice@d0.example", f"alice@{domain}"]


@pytest.mark.parametrize(
    "address",
    ["alice@elsewhere.example", "alice@xd1.example", "alice@d1xexample", "alice@d1.example.org", "a@b@d1.example"],
)
def test_an_address_of_no_domain_of_the_host_has_no_owner(address):
    assert owners(address) is None


def test_the_hosts_own_name_is_no_domain_of_users():
    assert owners("alice@mx1.example") == ["alice", "alice@d0.example"]


def test_fifty_domains_share_a_line():
    assert [len(rows(DOMAINS[:count])) for count in (0, 1, 50, 51, 120)] == [1, 2, 2, 3, 4]
