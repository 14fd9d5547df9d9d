"""A check whose area breaks says so, breaks nothing else, and tells what to do."""

from types import SimpleNamespace

import pytest

from mailhost.check import areas as check_areas
from mailhost.check.areas import check, summary
from mailhost.check.findings import ok
from mailhost.errors import MissingPackage


def areas(monkeypatch, **findings):
    monkeypatch.setattr(check_areas, "AREAS", {name: SimpleNamespace(findings=one) for name, one in findings.items()})
    return check({}, ["a.example"], tuple(findings))


def all_right(host, domains):
    return [ok("right.thing", domains[0], "it is right")]


@pytest.mark.parametrize(
    ("error", "seen", "remedy"),
    [
        (MissingPackage("pyspf is not there: install it"), "pyspf is not there", "Do what the message says"),
        (ZeroDivisionError("by 0"), "the check itself broke: ZeroDivisionError: by 0", "fault of the formula"),
    ],
)
def test_an_area_that_breaks_is_unknown_and_hides_no_other(monkeypatch, error, seen, remedy):
    def breaks(host, domains):
        raise error

    broken, right = areas(monkeypatch, broken=breaks, right=all_right)
    assert (broken.id, broken.status) == ("broken.check", "unknown")
    assert seen in broken.seen
    assert remedy in broken.remedy
    assert (right.id, right.status) == ("right.thing", "ok")
    assert summary([broken, right])["status"] == "unknown"
