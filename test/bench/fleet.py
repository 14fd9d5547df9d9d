"""What a fleet costs its master, its DNS primary and its resolver: counted from the code's own schedule of rotations.

``fleet.py [MINIONS DOMAINS]``. Each domain has a key on one host. Nothing is measured here but the size of what
travels; the rates are compared with those that ``script/bench scale`` measures.
"""

import json
import sys
from collections import Counter
from datetime import datetime, timezone

from mailhost.dkim import life
from mailhost.dkim.life import KeyRow
from mailhost.scale.turns import SHARE

START = datetime(2026, 11, 24, 18, 0, tzinfo=timezone.utc)
DAYS, DAY = 90, 86_400
POLICY = {"rotate_after": DAYS * DAY}
UPDATES = 3
"""A rotation's records: the new one comes, the old one is revoked, and goes."""
RUNS_A_DAY = 24
SERVERS = 2
"""Authoritative addresses of each zone; each of them is asked."""
PUBLISHED_A_SECOND = 500
"""Records a second that a primary takes one a message, the slowest way (docs/performance.md)."""
PUBLIC = "A" * 392


def rotations(domains):
    """Return ``{day: rotations}`` in the steady state: each domain once a period."""
    found = Counter()
    key = KeyRow("s", "rsa", 2048, PUBLIC, START, START, START)
    for number in range(domains):
        moment = life.rotates_at(f"d{number:06}.example", key, POLICY)
        found[int(moment.timestamp()) // DAY % DAYS] += 1
    return found


def told(minions, domains):
    """Return the lines of the report."""
    days = rotations(domains)
    mean, most, least = domains / DAYS, max(days.values()), min(days.values())
    changes = UPDATES * most
    row = {"name": "20261124-mx1._domainkey.d000001.example", "ttl": 3600, "wanted": PUBLIC, "expected": []}
    waits, whole, runs = UPDATES * most / minions, domains / minions, RUNS_A_DAY * minions
    share = min(whole, SHARE) + waits
    return [
        f"{minions:,} minions, {domains:,} domains, a rotation each {DAYS} d",
        f"rotations a day: mean {mean:,.0f}, least {least:,} ({least / mean:.0%}), most {most:,} ({most / mean:.0%})",
        f"DNS updates on the busiest day: {changes:,}, {changes / DAY:.3f} a second on average",
        f"  one record a message, all at once: {changes / PUBLISHED_A_SECOND:.0f} s of the primary",
        f"mine, of a minion whose records of a day wait: {len(json.dumps(row)) * waits / 1024:.0f} KiB; else none",
        f"  were all records in it: {len(json.dumps(row)) * domains / 2**20:.0f} MiB on the master",
        f"events: one a run with something to publish, at most {runs / DAY:.3f} a second",
        f"questions for keys, by the hourly runs: {runs * share * SERVERS / DAY:,.0f} a second",
        f"  by the hourly watches, which look for all: {runs * whole * SERVERS / DAY:,.0f} a second",
        f"  all minions in one minute: {minions * (whole + share) * SERVERS / 60:,.0f} a second",
        f"zones whose name servers a resolver is asked for: {runs * (whole + share) / DAY:,.0f} a second",
    ]


def main(words):
    """Print the report of the fleet that the words tell of."""
    minions, domains = [int(word) for word in words] or (100, 100_000)
    print("\n".join(told(minions, domains)))


if __name__ == "__main__":
    main(sys.argv[1:])
