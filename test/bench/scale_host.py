"""A mail host of many domains as it is on disk after its keys were made and published: settings, keys, tables."""

import os
import pwd
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path

import yaml

from mailhost.dkim import keystore, life, manifest
from mailhost.dkim.run import Run, SigningPaths
from mailhost.dns import lookup
from mailhost.opendkim import tables as opendkim_tables
from mailhost.pillar import settings as pillar_settings
from mailhost.watch import memory

TOP = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 11, 24, 18, 0, tzinfo=timezone.utc)
SELECTOR = "20261120-mx1"
HOST = "mx1.lab.test"


def names(domains, zone="bench.test"):
    """Return the names of so many domains below one zone."""
    return [f"d{number:05}.{zone}" for number in range(domains)]


def parameters(osfinger="Debian-12"):
    """Return what differs between systems, as a Debian host has it."""
    found = {}
    files = {
        name: yaml.safe_load((TOP / f"mailserver/parameters/{name}.yaml").read_text())
        for name in ("defaults", "families", "releases")
    }
    for layer in (files["defaults"], files["families"]["Debian"], files["releases"][osfinger]):
        found = _merged(found, layer)
    return found


def _merged(below, above):
    both = dict(below)
    for name, value in above.items():
        mapping = isinstance(value, dict) and isinstance(both.get(name), dict)
        both[name] = _merged(both[name], value) if mapping else value
    return both


def settings(domains, **pillar):
    """Return the settings of a host of these domains (names)."""
    whole = {"domain": domains[0], "addresses": ["192.0.2.25"], "domains": {name: {} for name in domains}, **pillar}
    return pillar_settings.resolve(whole, parameters(), {"fqdn": HOST})


class KeyedHost:
    """The keys of a host in a folder: each domain has one key, in the stage ``stage``, and all have the same pair.

    That all have the same saves hours, and nothing that is measured here looks at the pairs' difference.
    """

    def __init__(self, folder, domains, resolvers=(), dns=None):
        me = pwd.getpwuid(0).pw_name
        self.folder = Path(folder)
        tables = opendkim_tables.tables(self.folder / "KeyTable", self.folder / "SigningTable")
        self.paths = SigningPaths(str(self.folder / "keys"), tables, keystore.Owner(me, me))
        self.settings = settings(domains, dns=dns or {})
        self.ask = partial(lookup.ask, recursive=tuple(resolvers)) if resolvers else lookup.ask
        (self.pem,) = keystore.generate([2048])
        self.public, _ = keystore.public_half(self.pem, "the bench")

    def key(self, stage="signing", selector=SELECTOR):
        """Return the row of a domain's key."""
        made = NOW - timedelta(days=1)
        key = life.KeyRow(selector, "rsa", 2048, self.public, made)
        for name in life.STAGES[1 : life.STAGES.index(stage) + 1]:
            key = replace(key, **{name: made})
        return key

    def write(self, stage="signing", selectors=None):
        """Write the keys of all domains and, if they sign, the tables; ``selectors`` have more keys, that are ready."""
        keys = Path(self.paths.keys)
        keys.mkdir(parents=True, exist_ok=True)
        keys.chmod(0o750)
        pair = self.folder / "pair"
        pair.write_text(self.pem)
        pair.chmod(0o600)
        rows = [self.key(stage), *(self.key("published", one) for one in selectors or ())]
        first = next(iter(self.settings["domains"]))
        text = manifest.emit(life.Manifest(first, tuple(rows)))
        for name in self.settings["domains"]:
            folder = keys / name
            folder.mkdir(mode=0o700, exist_ok=True)
            for row in rows:
                # One file of many names: writing tens of thousands of them takes longer than what is measured.
                os.link(pair, folder / f"{row.selector}.private")
            (folder / "keys.json").write_text(text.replace(f'"{first}"', f'"{name}"'))
        signers = self.signers() if stage == "signing" else {}
        for path, text in opendkim_tables._texts(self.paths.tables, signers).items():
            path.write_text(text)
        return self

    def signers(self, selector=SELECTOR):
        """Return who signs for each domain."""
        return {
            name: opendkim_tables.Signer(selector, f"{self.paths.keys}/{name}/{selector}.private")
            for name in self.settings["domains"]
        }

    def run(self, test=False, now=NOW):
        """Return a run over all domains."""
        return Run(
            self.paths, self.settings["domains"], self.settings["dns"], now, test, self.ask, watched=memory.seen_wrong
        )

    def record_lines(self, zone="bench.test", selectors=(SELECTOR,)):
        """Return the lines of the zone that show all keys."""
        strings = f"v=DKIM1; k=rsa; p={self.public}"
        text = f'"{strings[:255]}" "{strings[255:]}"'
        own = [name.removesuffix(f".{zone}") for name in self.settings["domains"]]
        return "\n".join(f"{selector}._domainkey.{name} TXT {text}" for name in own for selector in selectors)
