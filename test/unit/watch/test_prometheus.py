"""What Prometheus reads: parsed by its own library, complete, bounded, and right whatever a name looks like."""

import os
import re
from datetime import datetime, timedelta, timezone

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from healthy_host import TOP
from mailhost.check.findings import STATUSES, Finding
from mailhost.watch.prometheus import MOST, expiry_of, exposition, keys_of
from mailhost.wording import plain

AT = 1_764_000_000.25
DAY = timedelta(days=1)


def finding(status, id="dns.spf.published", about="a.example"):
    return Finding(id, status, about, "", "", "")


def read(findings=(), keys=None, expiry=None):
    """The metrics as Prometheus' library reads them: ``{name: {labels as a sorted tuple of pairs: value}}``."""
    text = exposition(list(findings), keys, expiry or {}, AT, 2.5)
    families = list(text_string_to_metric_families(text))
    found = {}
    for family in families:
        assert family.type == "gauge"
        assert family.documentation.endswith(".")
        assert family.name.startswith("mailserver_")
        samples = [(tuple(sorted(one.labels.items())), one.value) for one in family.samples]
        assert len(dict(samples)) == len(samples), f"{family.name} has two samples of the same name"
        found[family.name] = dict(samples)
    assert len(found) == len(families)
    return found


def labels(**given):
    return tuple(sorted(given.items()))


def test_time_and_length_of_the_check_are_told_in_seconds():
    found = read()
    assert found["mailserver_check_timestamp_seconds"] == {(): AT}
    assert found["mailserver_check_duration_seconds"] == {(): 2.5}


def test_every_status_of_each_id_is_counted_so_that_no_series_comes_and_goes():
    found = read([finding("ok"), finding("ok", about="b.example"), finding("fail", about="c.example")])
    counts = {
        status: found["mailserver_findings"][labels(id="dns.spf.published", status=status)] for status in STATUSES
    }
    assert counts == {"ok": 2, "unknown": 0, "warn": 0, "fail": 1}


def test_what_is_not_ok_is_told_one_by_one():
    found = read([finding(status, about=status) for status in STATUSES])
    assert found["mailserver_finding_status"] == {
        labels(id="dns.spf.published", about=status): STATUSES.index(status) for status in ("unknown", "warn", "fail")
    }
    assert found["mailserver_finding_status_omitted"] == {(): 0}


def test_ten_thousand_domains_that_fail_at_once_are_a_bounded_number_of_series():
    found = read([finding("warn" if number % 2 else "fail", about=f"d{number}.example") for number in range(10000)])
    assert len(found["mailserver_finding_status"]) == MOST
    assert set(found["mailserver_finding_status"].values()) == {STATUSES.index("fail")}
    assert found["mailserver_finding_status_omitted"] == {(): 10000 - MOST}
    assert found["mailserver_findings"][labels(id="dns.spf.published", status="fail")] == 5000
    assert sum(len(samples) for samples in found.values()) < MOST + 50


@given(st.text(st.characters(blacklist_categories=("Cc", "Cs"))))
def test_any_name_comes_through_as_people_see_it(about):
    found = read([finding("fail", about=about)])
    assert list(found["mailserver_finding_status"]) == [labels(id="dns.spf.published", about=plain(about))]


@pytest.mark.parametrize("about", ["a\\b", 'a"b', "a\nb", "münchen.example", 'a\\"', "{}=,#", "\\n"])
def test_what_the_format_escapes_comes_through(about):
    assert list(read([finding("fail", about=about)])["mailserver_finding_status"]) == [
        labels(id="dns.spf.published", about=plain(about))
    ]


def test_a_path_that_is_no_text_does_not_break_the_file():
    about = os.fsdecode(b"/home/\xff")
    assert list(read([finding("fail", about=about)])["mailserver_finding_status"]) == [
        labels(id="dns.spf.published", about="/home/\\udcff")
    ]


def test_two_findings_about_the_same_thing_are_one_sample_with_the_worse_status():
    found = read([finding("warn"), finding("fail"), finding("ok")])
    assert found["mailserver_finding_status"] == {labels(id="dns.spf.published", about="a.example"): 3}
    assert sum(found["mailserver_findings"].values()) == 1


def row(stage, signs=False, **more):
    return {"stage": stage, "since": "2026-11-24T18:00:00Z", "bits": 2048, "signs": signs, "next": "", **more}


KEYS = {
    "a.example": {
        "old": row("retired", earliest="2026-11-25T18:00:00Z"),
        "now": row("signing", True, earliest="2026-12-24T18:00:00Z"),
    },
    "b.example": {
        "now": row("signing", True, earliest="2026-12-14T18:00:00Z"),
        "next": row("generated", earliest="2026-11-24T18:00:00Z", fails_from="2026-11-27T18:00:00Z"),
    },
    "c.example": {"first": row("generated", fails_from="2026-11-26T18:00:00Z")},
}


def seconds(day):
    return datetime(2026, 11, day, 18, tzinfo=timezone.utc).timestamp()


def test_keys_are_counted_by_stage_and_those_that_wait_for_dns_are_named():
    found = read(keys=KEYS)
    stages = {dict(pairs)["stage"]: value for pairs, value in found["mailserver_dkim_keys"].items()}
    assert stages == {"generated": 2, "published": 0, "signing": 2, "retired": 1, "revoked": 0, "removed": 0}
    assert found["mailserver_dkim_unsigned_domains"] == {(): 1}
    assert found["mailserver_dkim_key_publish_deadline_timestamp_seconds"] == {
        labels(domain="b.example", selector="next"): seconds(27),
        labels(domain="c.example", selector="first"): seconds(26),
    }


def test_the_next_rotation_is_that_of_the_first_key_that_is_due():
    rotation = read(keys=KEYS)["mailserver_dkim_next_rotation_timestamp_seconds"]
    assert rotation == {(): (datetime(2026, 12, 14, 18, tzinfo=timezone.utc)).timestamp()}


def test_where_keys_are_unknown_nothing_is_told_of_them():
    assert not [name for name in read(keys=None) if "dkim" in name]
    assert "mailserver_dkim_next_rotation_timestamp_seconds" not in read(keys={})


def test_the_page_names_every_metric_and_its_alerts_none_that_there_is_not():
    page = (TOP / "docs/watch.md").read_text()
    rules = yaml.safe_load(page[page.index("    groups:") :].partition("\n\n")[0])
    used = {name for one in rules["groups"][0]["rules"] for name in re.findall(r"mailserver_\w+", one["expr"])}
    told = set(read([finding("fail")], KEYS, {"/there.pem": 1}))
    assert set(re.findall(r"^\| `(mailserver_\w+)`", page, re.MULTILINE)) == told
    assert used < told


def test_keys_are_those_of_the_host(machine):
    found = keys_of(machine.settings)
    assert {name: [one["stage"] for one in rows.values()] for name, rows in found.items()} == {
        "a.example": ["signing"], "b.example": ["signing"],
    }  # fmt: skip
    assert read(keys=found)["mailserver_dkim_unsigned_domains"] == {(): 0}


def test_a_damaged_manifest_is_left_to_the_check(machine):
    (machine.folder / "opendkim/keys/a.example/keys.json").write_text("{")
    assert keys_of(machine.settings) is None


def test_when_the_certificate_expires_is_told_and_one_that_cannot_be_read_is_left_out(tmp_path, machine, monkeypatch):
    path = tmp_path / "certificate.pem"
    machine.settings["tls"] = {"certificate": str(path), "key": "/nowhere"}
    assert expiry_of(machine.settings) == {}
    path.write_text("nothing")
    assert expiry_of(machine.settings) == {}
    ends = datetime(2027, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    path.write_bytes(certificate(ends))
    expiry = expiry_of(machine.settings)
    name = "mailserver_certificate_not_after_timestamp_seconds"
    assert read(expiry=expiry)[name] == {labels(path=str(path)): ends.timestamp()}


def certificate(ends):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mx1.a.example")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(ends - DAY).not_valid_after(ends)
    return made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
