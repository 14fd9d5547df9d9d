"""What the hosts of an example fleet tell of themselves, of any size, at a fixed time: for tests, bench and picture."""

import hashlib

from mailhost.check.areas import summary
from mailhost.check.findings import Finding
from mailhost.page.fleet import fleet, silent

NOW = 1795543200  # 2026-11-24 18:00 UTC
DAY = 86400
PERIOD, RETENTION, REVOKED = 90 * DAY, 14 * DAY, 30 * DAY
NAMES = ("example.com", "example.net", "example.org", "bakery.example", "library.example", "school.example")
SEEN = "ns1.example.com (192.0.2.11) shows no TXT at {} (NXDOMAIN)."


def name(number):
    """The name of the domain with this number."""
    return NAMES[number] if number < len(NAMES) else f"d{number:05}.example"


def _number(text, below):
    """A number that only the text decides."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") % below


def keys(domain, host):
    """Rows of the keys of a domain: those of the last year, each of which was the signer for a period."""
    phase = DAY + _number(domain, PERIOD - DAY)
    first = NOW - phase - 4 * PERIOD
    found = []
    for number in range(5):
        made = first + number * PERIOD
        jitter = _number(f"{number}{domain}{host}", 3600)
        stamps = [made + jitter % 7, made + 900 + jitter, made + 5400 + 2 * jitter]
        for after in (PERIOD, PERIOD + RETENTION, PERIOD + RETENTION + REVOKED):
            if stamps[2] + after <= NOW:
                stamps.append(stamps[2] + after)
        waits = {3: PERIOD, 4: PERIOD + RETENTION, 5: PERIOD + RETENTION + REVOKED}
        due = stamps[2] + waits[len(stamps)] if len(stamps) in waits else None
        if len(stamps) < 6 or NOW - stamps[5] < 90 * DAY:
            found.append([f"2026{number:02}{phase % 28 + 1:02}-{host}", 2048, due, *stamps])
    return found


def overview(host, domains, findings=(), looked_at=240, age=60):
    """What a host of these domains (their names) answers."""
    told = summary(list(findings))
    told["counts"]["ok"] = looked_at
    head = {"format": 1, "hostname": f"{host}.example.com", "time": NOW - age}
    return {**head, **told, "domains": {one: keys(one, host) for one in domains}, "unread": {}}


def waiting(domain, host):
    """A finding: the domain's new key is not in DNS yet."""
    record = f"20261124-{host}._domainkey.{domain}"
    return Finding(
        "dns.dkim", "warn", record, "DNS shows the new key, which signs nothing before that", SEEN.format(record),
        f'Publish: {record}. 3600 IN TXT "v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEApAl7uHWd" (a '
        "failure from 2026-11-27 20:05 UTC on: mailserver:dkim:publish_deadline).",
    )  # fmt: skip


SPF = Finding(
    "dns.spf", "fail", "school.example", "one SPF record",
    "v=spf1 mx -all and v=spf1 include:spf.old.example ~all at school.example (ns1.example.com, 192.0.2.11)",
    "Leave one TXT record that begins with v=spf1: v=spf1 ip4:192.0.2.25 -all",
)  # fmt: skip
DISK = Finding(
    "running.disk_space", "warn", "/var/spool/postfix", "10 % free", "7 % free (1.4 GiB of 20 GiB)",
    "Make room: journalctl --vacuum-size=500M, or a larger disk.",
)  # fmt: skip
DMARC = Finding(
    "dns.dmarc", "unknown", "library.example", "one DMARC record, as the settings want it",
    "ns2.example.net (192.0.2.53) did not answer in 3 s; the others show it",
    "Have that server mended, or name it in dns:ignore_servers, then check again.",
)  # fmt: skip


def answers(domains=6, hosts=("mx1", "mx2", "mx3"), waiting_share=0):
    """What these hosts answer, by their names, about so many domains: mx1 has all of them, the others every second.

    :param waiting_share: one of so many domains more waits for DNS; 0: no more than the usual few faults.
    """
    names = [name(number) for number in range(domains)]
    slow = names[6::waiting_share] if waiting_share else []
    found = {}
    for number, host in enumerate(hosts):
        own = names if number == 0 else names[number - 1 :: 2]
        findings = [waiting(one, host) for one in slow if one in own]
        faults = {0: [SPF, DMARC, waiting("bakery.example", host)], 1: [DISK, DMARC]}.get(number, [])
        findings += [one for one in faults if one in (DISK,) or one.about.rpartition("_domainkey.")[2] in own]
        found[host] = overview(host, own, findings, looked_at=60 + 31 * len(own))
    for row in (found[hosts[0]]["domains"].get("bakery.example", []),):
        row.append([f"20261124-{hosts[0]}", 2048, None, NOW - 2 * 3600])
    return found


def example(domains=6, waiting_share=0):
    """A fleet of three hosts that answer and one that does not."""
    none = {"mx4": silent("mx4", "no answer within 120 s")}
    return fleet(answers(domains, waiting_share=waiting_share), none, ("db1", "www1"), NOW)
