"""Faults that show in DNS: records of one mail host's domain, of the host itself, and of its address."""

import os

from check_faults import FAIL, UNKNOWN, WARN, DnsFault

FAULTY = (os.environ.get("LAB_ON") or "mx1").split()[0]
"""The mail host of the lab whose records are wrong."""
D, LAST, OTHER = {"mx1": ("alpha.test", 21, "mx2"), "mx2": ("beta.test", 22, "mx1")}[FAULTY]
HOST, POINTER, ADDRESS = f"{FAULTY}.lab.test", f"{LAST}.0.18.198.in-addr.arpa", f"198.18.0.{LAST}"
ALL = f"ip4:{ADDRESS} -all"
ELEVEN = f'"v=spf1 {ALL[:15]} " "{"include:outside.test " * 11}" "-all"'

DNS_FAULTS = [
    # ---- the host
    DnsFault("another address", [(HOST, "A", "198.18.0.99")], {"address": {FAIL}, "reverse": {FAIL}}),
    DnsFault("an address too many", [(HOST, "AAAA", "2001:db8::25")], {"address": {WARN}}),
    DnsFault("no PTR", [(POINTER, "PTR")], {"reverse": {FAIL}}),
    DnsFault("a PTR to a name with another address", [(POINTER, "PTR", f"{OTHER}.lab.test.")], {"reverse": {FAIL}}),
    DnsFault(
        "a PTR to another name of the host",
        [("other.lab.test", "A", ADDRESS), (POINTER, "PTR", "other.lab.test.")],
        {"reverse": {WARN}},
    ),
    # ---- MX
    DnsFault("no MX", [(D, "MX")], {"mx": {FAIL}}),
    DnsFault("MX elsewhere", [(D, "MX", "10 client.lab.test.")], {"mx": {FAIL}}),
    DnsFault(
        "MX to an alias",
        [("alias.lab.test", "CNAME", f"{HOST}."), (D, "MX", "10 alias.lab.test.")],
        {"mx": {FAIL}, "mx.target": {WARN}},
    ),
    DnsFault(
        "a second MX that is not there",
        [(D, "MX", f"10 {HOST}.", "20 nowhere.lab.test.")],
        {"mx": {WARN}, "mx.target": {FAIL}},
    ),
    # ---- SPF
    DnsFault("no SPF", [(D, "TXT")], {"spf": {WARN}}),
    DnsFault("two SPF records", [(D, "TXT", f'"v=spf1 {ALL}"', '"v=spf1 mx -all"')], {"spf": {FAIL}}),
    DnsFault(
        "SPF without the host's address",
        [(D, "TXT", '"v=spf1 ip4:198.18.0.99 -all"')],
        {"spf": {WARN}, "spf.passes": {FAIL}},
    ),
    DnsFault("SPF for everybody", [(D, "TXT", '"v=spf1 +all"')], {"spf": {WARN}, "spf.all": {FAIL}}),
    DnsFault("SPF of eleven look-ups", [(D, "TXT", ELEVEN)], {"spf.lookups": {WARN}}),
    # ---- DKIM and DMARC
    DnsFault("no key record", [("{key}", "TXT")], {"dkim": {FAIL}}),
    DnsFault("another key record", [("{key}", "TXT", '"v=DKIM1; k=rsa; p=MIIBAAAA"')], {"dkim": {FAIL}}),
    DnsFault("no DMARC", [(f"_dmarc.{D}", "TXT")], {"dmarc": {WARN}}),
    DnsFault(
        "two DMARC records",
        [(f"_dmarc.{D}", "TXT", '"v=DMARC1; p=none"', '"v=DMARC1; p=reject"')],
        {"dmarc": {WARN}},
    ),
    DnsFault(
        "DMARC without a policy",
        [(f"_dmarc.{D}", "TXT", '"v=DMARC1; p=refuse"')],
        {"dmarc": {WARN}, "dmarc.policy": {WARN}},
    ),
    DnsFault(
        "reports to somebody who did not ask for them",
        [(f"_dmarc.{D}", "TXT", '"v=DMARC1; p=none; rua=mailto:dmarc@outside.test"')],
        {"dmarc": {WARN}, "dmarc.reports": {WARN}},
    ),
    # ---- TLS
    DnsFault("MTA-STS without a policy", [(f"_mta-sts.{D}", "TXT", '"v=STSv1; id=1"')], {"mta_sts": {WARN}}),
    DnsFault("TLS-RPT to nobody", [(f"_smtp._tls.{D}", "TXT", '"v=TLSRPTv1; rua=alice"')], {"tls_rpt": {WARN}}),
    DnsFault("TLSA without DNSSEC", [(f"_25._tcp.{HOST}", "TLSA", f"3 1 1 {'ab' * 32}")], {"tlsa": {WARN}}),
    DnsFault(
        "a zone that is not valid by its DS record",
        [(f"_25._tcp.{HOST}", "TLSA", f"3 1 1 {'ab' * 32}"), ("lab.test", "DS", f"1 13 2 {'ab' * 32}")],
        {"address": {FAIL}, "reverse": {UNKNOWN}, "tlsa": {UNKNOWN}},
    ),
    DnsFault("CAA that no authority knows", [("lab.test", "CAA", '128 unheardof "x"')], {"caa": {WARN}}),
]
