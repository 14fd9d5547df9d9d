"""DMARC by the older rules: the organizational domain by the public suffix list, and which record applies."""

import sys

import pytest

from mailhost.errors import MissingPackage
from mailhost.receiver import dmarc_suffix


@pytest.mark.parametrize(
    ("domain", "organization"),
    [
        ("example.com", "example.com"),
        ("a.b.example.com", "example.com"),
        ("a.example.co.uk", "example.co.uk"),
        ("News.Example.CO.UK.", "example.co.uk"),
        ("my-shop.com", "my-shop.com"),
        ("x.user.github.io", "user.github.io"),
        ("a.city.kawasaki.jp", "city.kawasaki.jp"),
        ("a.b.kawasaki.jp", "a.b.kawasaki.jp"),
        ("a.xn--55qx5d.xn--j6w193g", "a.xn--55qx5d.xn--j6w193g"),
        ("a.example.test", "example.test"),
        ("a.other.test", "other.test"),
        ("co.uk", "co.uk"),
        ("com", "com"),
        ("", ""),
        ("a..com", "a..com"),
    ],
)
def test_the_organizational_domain_is_one_label_below_a_public_suffix(domain, organization):
    assert dmarc_suffix.organizational_domain(domain) == organization


@pytest.mark.parametrize(
    ("record", "result", "policy"),
    [
        ("v=DMARC1; p=reject; sp=none", "pass", "reject"),
        ("v=DMARC1; P=reject", "permerror", None),
        ("v=DMARC1; p", "permerror", None),
        ("v=DMARC1; p=x; rua=mailto:d@example.com", "pass", "none"),
        ("v=spf1 -all", "none", None),
    ],
)
def test_a_record_is_read_as_by_the_newer_rules(record, result, policy):
    texts = {"_dmarc.example.com": [record]}
    judged = dmarc_suffix.judge("example.com", "example.com", [], lambda name: texts.get(name, []))
    assert (judged["result"], judged["policy"]) == (result, policy)


def test_only_the_author_and_its_organization_are_asked_for():
    asked = []
    dmarc_suffix.judge("a.b.example.co.uk", None, [], lambda name: asked.append(name) or [])
    assert asked == ["_dmarc.a.b.example.co.uk", "_dmarc.example.co.uk"]


def test_without_the_package_it_is_said_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "publicsuffixlist", None)
    dmarc_suffix.suffixes.cache_clear()
    with pytest.raises(MissingPackage, match="`salt-pip install publicsuffixlist`"):
        dmarc_suffix.suffixes()
