"""Who may send as which address: few lines for thousands of domains, and the same owners as with a line for each."""

import re

import pytest

from mailhost.pillar.settings import resolve
from mailhost.postfix import senders

DOMAINS = [f"d{number}.example" for number in range(120)]


def rows(domains, **more):
    names = {name: {} for name in domains} | {"out.example": {"receive": False}}
    pillar = {"domain": "d0.example", "hostname": "mx1.example", "domains": names, **more}
    return senders.of_system(resolve(pillar, {"postfix": {"version": "3.7"}}, {}))


def owners(address, domains=DOMAINS, **more):
    """Look an address up as Postfix does in a table of regular expressions (regexp_table(5)): the first one counts."""
    for row in rows(domains, **more):
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


@pytest.mark.parametrize(
    ("delimiter", "address", "wanted"),
    [
        ("-", "alice-tag@d1.example", ["alice", "alice@d0.example", "alice-tag", "alice-tag@d0.example"]),
        ("-", "alice+tag@d1.example", ["alice+tag", "alice+tag@d0.example"]),
        ("+-", "alice+tag@d1.example", ["alice", "alice@d0.example", "alice+tag", "alice+tag@d0.example"]),
        ("", "alice+tag@d1.example", ["alice+tag", "alice+tag@d0.example"]),
        (".", "a.b@d1.example", ["a", "a@d0.example", "a.b", "a.b@d0.example"]),
    ],
)
def test_what_follows_the_delimiter_of_the_pillar_is_no_part_of_the_name(delimiter, address, wanted):
    found = owners(address, postfix={"main": {"recipient_delimiter": delimiter}})
    assert set(wanted) < set(found)
    assert all(one.partition("@")[0] in {name.partition("@")[0] for name in wanted} for one in found)


@pytest.mark.parametrize(
    ("address", "wanted"),
    [
        ("news@out.example", ["alice", "alice@d0.example", "boss", "boss@d0.example"]),
        ("news+x@out.example", ["alice", "alice@d0.example", "boss", "boss@d0.example"]),
        ("other@out.example", ["boss", "boss@d0.example"]),
        ("news@d1.example", ["news", "news@d0.example", "news@d1.example"]),
    ],
)
def test_whom_the_pillar_names_sends_as_a_domain_that_this_host_only_sends_for(address, wanted):
    authors = {"alice": ["news@out.example", "sales@d1.example"], "boss": ["@out.example", "@d1.example"]}
    assert owners(address, opendkim={"authors": authors}) == wanted


def test_fifty_domains_share_a_line():
    assert [len(rows(DOMAINS[:count])) for count in (0, 1, 50, 51, 120)] == [1, 2, 2, 3, 4]
