"""Years of rotations under random DNS, failures, clocks and pillar changes: what must hold at every moment, holds."""

import pwd
import shutil
import tempfile
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lifecycle_world import large_host
from mailhost import files as safe_files
from mailhost.dkim import advance as dkim_advance
from mailhost.dkim import keystore, life
from mailhost.dkim import records as dkim_records
from mailhost.dkim.advance import SigningHost as Host
from mailhost.dkim.run import Run
from mailhost.dkim.run import SigningPaths as Place
from mailhost.dns import lookup
from mailhost.errors import CutoverError, ProbeError
from mailhost.opendkim import tables as opendkim_tables
from mailhost.pillar import settings as pillar_settings
from model_servers import ROOT, TLD, Servers, Zone

START = datetime(2026, 11, 24, 18, 0, tzinfo=timezone.utc)
NAMES = ("alpha.test", "beta.test")
RETENTION = timedelta(days=14)
PROVIDERS = {"old": ("a.old.test", "b.old.test"), "new": ("a.new.test",)}
"""Of the servers of each, the first has what people write, and the others have it later."""
SERVERS = {"a.old.test": "127.55.0.11", "b.old.test": "127.55.0.12", "a.new.test": "127.55.0.13"}
some_providers = st.sets(st.sampled_from([*PROVIDERS]), min_size=1)
POOL = list(keystore.generate([1024] * 24))


class KilledHere(BaseException):
    """The run was killed."""


class Years(RuleBasedStateMachine):
    """A host with two domains, an OpenDKIM, and mail all the time; DNS providers of which one's second server lags.

    The registrar and each copy of a zone say which providers serve it, and may disagree.
    """

    hand_made = False

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="mailserver-model-"))
        me = pwd.getpwuid(0).pw_name
        tables = opendkim_tables.tables(self.folder / "KeyTable", self.folder / "SigningTable")
        self.place = Place(str(self.folder / "keys"), tables, keystore.Owner(me, me))
        opendkim_tables.ensure_tables(tables)
        self.now, self.in_pillar, self.made = START, set(NAMES), 0
        self.shown, self.dns = {server: {} for server in SERVERS}, Servers()
        self.registered = {name: {"old"} for name in NAMES}
        self.named = {server: {name: {"old"} for name in NAMES} for server in PROVIDERS["old"]} | {"a.new.test": {}}
        self.memory, self.sent, self.publics = {}, [], {}
        self.deaf, self.reloads, self.kill_at, self.queued = set(), True, None, None
        self.machine, self.kept = "machine 0", None
        self.for_good = safe_files.replace_file
        self.generate = keystore.generate
        keystore.generate = self.keys
        safe_files.replace_file = opendkim_tables.replace_file = self.write

    def teardown(self):
        try:
            self.everything_ends_well()
        finally:
            safe_files.replace_file = opendkim_tables.replace_file = self.for_good
            keystore.generate = self.generate
            shutil.rmtree(self.folder)

    # ---- the world

    def keys(self, bits):
        first, self.made = self.made, self.made + len(bits)
        numbers = range(first, self.made)
        return [POOL[number] if number < len(POOL) else next(self.generate([1024])) for number in numbers]

    def write(self, *arguments):
        if self.kill_at == 0:
            self.kill_at = None
            raise KilledHere
        if self.kill_at is not None:
            self.kill_at -= 1
        self.for_good(*arguments)

    def ask(self, questions, options):
        """Ask as the product does, down to the sockets."""
        cuts = {name: {one: SERVERS[one] for one in _servers(self.registered[name])} for name in NAMES}
        top = {"test": {"tld.test": TLD}}
        zones = {ROOT: {"": Zone(["root.test"], cuts=top)}, TLD: {"test": Zone(["tld.test"], {}, cuts, SERVERS)}}
        for server, address in SERVERS.items():
            named = self.named[server].items()
            zones[address] = {name: Zone(_servers(some), self.shown[server]) for name, some in named}
        self.dns.zones, self.dns.deaf = zones, {SERVERS[server] for server in self.deaf}
        with self.dns.instead_of_sockets():
            return lookup.ask(questions, options, recursive=())

    def found(self, name):
        """Return the servers that a resolver may ask for a domain: by its registrar, or by what one of these names."""
        found, left = set(), [*_servers(self.registered[name])]
        while left:
            server = left.pop()
            if server not in found:
                found.add(server)
                left += _servers(self.named[server].get(name, ()))
        return found

    def move(self, name, change):
        """Change who serves a domain; people copy the zone to each server before anybody is sent there."""
        known = self.found(name)
        source = min(known, key=[*SERVERS].index)
        copied = {where: text for where, text in self.shown[source].items() if where.endswith(f".{name}")}
        change()
        while fresh := self.found(name) - known:
            known |= fresh
            for server in fresh:
                others = {where: text for where, text in self.shown[server].items() if not where.endswith(f".{name}")}
                self.shown[server] = {**others, **copied}
                self.named[server].setdefault(name, set(self.named[source][name]))

    def reload(self):
        if not self.reloads:
            raise CutoverError("OpenDKIM does not run")
        self.take_tables()

    def take_tables(self):
        """What a reload, or a start after a power cut, makes of the tables on disk."""
        key_table = self.place.tables.key_table.read_text()
        self.memory = opendkim_tables.parse(key_table, self.place.tables.domains_table.read_text())
        named = [line.split()[1] for line in self.place.tables.domains_table.read_text().splitlines()[1:]]
        known = [line.split()[0] for line in key_table.splitlines()[1:]]
        assert set(named) <= set(known), "every message would be refused for now"

    def probe(self, name, selector, _record):
        if self.memory.get(name) is None or self.memory[name].selector != selector:
            raise ProbeError("came back with another signature")

    def settings(self):
        pillar = {
            "domain": "alpha.test",
            "domains": {name: {"ttl": 300} for name in sorted(self.in_pillar)},
            "dkim": {"rotate_after": "20d", "revoke_for": "10d", "bits": 1024},
            "dns": {"root_servers": [ROOT]},
        }
        return pillar_settings.resolve(pillar, {"postfix": {"version": "3.7"}}, {"fqdn": "mx1.lab.test"})

    def start(self):
        found = self.settings()
        return Run(self.place, found["domains"], found["dns"], self.now, ask=self.ask, machine=self.machine)

    def oldest(self, run):
        return min(self.queued or run.now, run.now)

    # ---- what happens

    @initialize()
    def first(self):
        if self.hand_made:
            self.people_signed_before()
        self.advance()

    def people_signed_before(self):
        """A hand-made start: a key, its record, and tables in the form with patterns alone."""
        folder = Path(self.place.keys) / "alpha.test"
        folder.mkdir(parents=True)
        path = folder / "20210808.private"
        path.write_text(self.keys([1024])[0])
        path.chmod(0o600)
        public, _ = keystore.public_half(path.read_text(), str(path))
        for server in SERVERS:
            self.shown[server]["20210808._domainkey.alpha.test"] = f"v=DKIM1; k=rsa; p={public}"
        self.place.tables.key_table.write_text(f"# by hand\nrow alpha.test:20210808:{path}\n")
        self.place.tables.signing_table.write_text("# by hand\n*@alpha.test row\n")
        self.place.tables.domains_table.unlink()
        opendkim_tables.ensure_tables(self.place.tables)
        self.take_tables()

    @rule()
    def a_run(self):
        self.advance()

    def advance(self, **more):
        before = {name: self.manifest(name) for name in NAMES}
        host = Host("mx1.lab.test", self.reload, self.probe, self.oldest)
        try:
            report = dkim_advance.advance(self.start(), host, **more)
        except KilledHere:
            return None
        finally:
            for name in NAMES:
                self.check_steps(before[name], self.manifest(name))
        return report

    @rule(hours=st.integers(1, 24 * 30))
    def time_passes(self, hours):
        self.now += timedelta(hours=hours)

    @rule(days=st.integers(1, 12))
    def some_quiet_runs(self, days):
        for _ in range(3):
            self.people_publish()
            self.the_secondary_follows()
            self.advance()
            self.mail_is_signed_by_keys_that_dns_shows_and_goes_on_showing()
            self.now += timedelta(days=days)

    @rule(providers=some_providers)
    def people_publish(self, providers=tuple(PROVIDERS)):
        run = self.start()
        for shown in (self.shown[PROVIDERS[one][0]] for one in providers):
            for name in run.wanted:
                for key in self.manifest(name).keys:
                    where = f"{key.selector}._domainkey.{name}"
                    if key.removed:
                        shown.pop(where, None)
                        continue
                    wanted = dkim_records.wanted_of(run, name, key, self.oldest(run))
                    if wanted.text:
                        shown[where] = wanted.text
                    elif not wanted.left:
                        shown.pop(where, None)

    @rule()
    def the_secondary_follows(self):
        first, second = PROVIDERS["old"]
        self.shown[second] = dict(self.shown[first])
        for name in NAMES:
            self.move(name, partial(self.named[second].update, {name: self.named[first][name]}))

    @rule(name=st.sampled_from(NAMES), providers=some_providers)
    def the_registrar_delegates_to(self, name, providers):
        self.move(name, partial(self.registered.update, {name: providers}))

    @rule(name=st.sampled_from(NAMES), at=st.sampled_from([*PROVIDERS]), providers=some_providers)
    def a_copy_of_the_zone_names(self, name, at, providers):
        self.move(name, partial(self.named[PROVIDERS[at][0]].update, {name: providers}))

    @rule(name=st.sampled_from(NAMES), only=st.sampled_from([*PROVIDERS]))
    def a_zone_moves_while_a_key_is_new(self, name, only):
        """The registrar delegates to the old provider, whose copy names the new one; the record is at one alone."""
        self.deaf = set()
        self.the_registrar_delegates_to(name, {"old"})
        for at in PROVIDERS:
            self.a_copy_of_the_zone_names(name, at, {"new"})
        self.the_secondary_follows()
        self.somebody_wants_a_new_key(name, force=False)
        for _ in range(3):
            self.people_publish({only})
            self.the_secondary_follows()
            self.advance()
            self.mail_is_signed_by_keys_that_dns_shows_and_goes_on_showing()
            self.now += timedelta(days=1)
        self.people_publish()
        self.the_secondary_follows()
        self.the_registrar_delegates_to(name, {"new"})

    @rule(servers=st.sets(st.sampled_from([*SERVERS])))
    def servers_answer_or_not(self, servers):
        self.deaf = servers

    @rule(up=st.booleans())
    def opendkim_reloads_or_not(self, up):
        self.reloads = up

    @rule()
    def the_host_reboots(self):
        self.take_tables()

    @rule(writes=st.integers(0, 14))
    def a_run_is_killed(self, writes):
        self.kill_at = writes
        self.advance()
        self.kill_at = None

    @rule(name=st.sampled_from(NAMES), force=st.booleans())
    def somebody_wants_a_new_key(self, name, force):
        if name in self.in_pillar:
            self.advance(also=[name], force=force)

    @precondition(lambda self: len(self.in_pillar) > 1)
    @rule()
    def a_domain_leaves_the_pillar(self):
        self.in_pillar.discard("beta.test")
        self.advance()

    @rule()
    def a_domain_comes_back(self):
        self.in_pillar = set(NAMES)

    @precondition(lambda self: "beta.test" not in self.memory and "beta.test" not in self.in_pillar)
    @rule(revoked=st.booleans())
    def the_records_of_a_domain_that_left_go(self, revoked):
        """People take away or revoke all of them; mail that they signed is no concern of theirs any more."""
        for shown in self.shown.values():
            for where in [one for one in shown if one.endswith(".beta.test")]:
                if revoked:
                    shown[where] = "v=DKIM1; k=rsa; p="
                else:
                    del shown[where]
        self.sent = [(when, where) for when, where in self.sent if not where.endswith(".beta.test")]

    @rule()
    def the_disk_comes_to_another_machine(self):
        self.machine = f"machine {int(self.machine.split()[1]) + 1}"

    @rule()
    def the_other_machine_revokes_what_this_one_has_done_with(self):
        for name in NAMES:
            for key in self.start().manifest(name).keys:
                where = f"{key.selector}._domainkey.{name}"
                signs = name in self.memory and self.memory[name].selector == key.selector
                if key.given_up == "foreign" and not signs and all(one != where for _, one in self.sent):
                    for shown in self.shown.values():
                        shown[where] = "v=DKIM1; k=rsa; p="

    @rule()
    def somebody_keeps_the_stamps(self):
        self.kept = {name: path.read_text() for name in NAMES if (path := self.stamps(name)).exists()}

    @precondition(lambda self: self.kept)
    @rule()
    def somebody_puts_the_stamps_back(self):
        for name, text in self.kept.items():
            self.stamps(name).write_text(text)
        self.kept = None

    def stamps(self, name):
        return Path(self.place.keys) / name / "keys.json"

    @rule()
    def a_message_gets_stuck_in_the_queue(self):
        self.queued = self.queued or self.now

    @rule()
    def the_queue_empties(self):
        self.queued = None

    @rule(name=st.sampled_from(NAMES))
    def somebody_goes_back(self, name):
        earlier = life.predecessor(self.manifest(name))
        if name in self.in_pillar and earlier:
            self.advance(instead=[name])

    # ---- what must hold

    def manifest(self, name):
        return keystore.read_manifest(self.place.keys, name)

    def check_steps(self, before, after):
        """No stamp goes away but by a rollback, no selector changes its key, and unknown answers advance nothing."""
        for key in before.keys:
            kept = after.key(key.selector)
            assert kept is not None
            assert kept.public in (key.public, "")
            assert life.STAGES.index(kept.stage) >= life.STAGES.index(key.stage) or (
                (key.stage, kept.stage) == ("retired", "signing")
            )
            if self.deaf & self.found(before.domain):
                assert (kept.published, kept.revoked, kept.removed) == (key.published, key.revoked, key.removed)

    @invariant()
    def mail_is_signed_by_keys_that_dns_shows_and_goes_on_showing(self):
        self.sent = [(when, place) for when, place in self.sent if self.now - when < RETENTION]
        for name, one in self.memory.items():
            where = f"{one.selector}._domainkey.{name}"
            assert Path(one.path).exists(), "mail could not be signed: the key is gone"
            self.sent.append((self.now, where))
        for _, where in self.sent:
            for server in self.found(where.partition("._domainkey.")[2]):
                assert self.shown[server].get(where, "").partition("p=")[2], f"{where} cannot be verified at {server}"

    @invariant()
    def a_selector_is_one_key(self):
        for name in NAMES:
            for key in self.manifest(name).keys:
                if key.public:
                    assert self.publics.setdefault((name, key.selector), key.public) == key.public

    def everything_ends_well(self):
        """When faults end, some days later each domain of the pillar signs, and nothing is left to do.

        Then the zones have moved: all agree on one provider, who alone has what is new, and successors sign.
        """
        self.deaf, self.reloads, self.kill_at, self.queued, self.in_pillar = set(), True, None, None, set(NAMES)
        self.some_days_pass(6, PROVIDERS)
        before = {name: one.selector for name, one in self.memory.items()}
        for name in NAMES:
            self.a_copy_of_the_zone_names(name, "new", {"new"})
            self.the_registrar_delegates_to(name, {"new"})
            assert self.found(name) == {"a.new.test"}
        self.advance(also=NAMES)
        self.some_days_pass(4, ["new"])
        report = self.advance()
        assert not report.errors
        assert all(self.memory[name].selector != selector for name, selector in before.items())
        for name in NAMES:
            key = life.signer(self.manifest(name))
            assert key is not None
            assert self.memory[name].selector == key.selector

    def some_days_pass(self, days, providers):
        for _ in range(days):
            self.advance()
            self.people_publish(providers)
            self.the_secondary_follows()
            self.now += timedelta(days=1)
            self.mail_is_signed_by_keys_that_dns_shows_and_goes_on_showing()


def _servers(providers):
    """Return the names of all servers of some providers."""
    return tuple(server for one in sorted(providers) for server in PROVIDERS[one])


class YearsOfALargeHost(Years):
    """The same, with runs that look only into domains of which something may be due."""

    def __init__(self):
        self.large = large_host()
        self.large.__enter__()
        super().__init__()

    def teardown(self):
        try:
            super().teardown()
        finally:
            self.large.__exit__(None, None, None)


class YearsAfterHandMadeOnes(Years):
    """The same, on a host where people signed with a key of theirs before."""

    hand_made = True


TestYears, TestYearsOfALargeHost = Years.TestCase, YearsOfALargeHost.TestCase
TestYearsAfterHandMadeOnes = YearsAfterHandMadeOnes.TestCase
TestYears.settings = TestYearsOfALargeHost.settings = TestYearsAfterHandMadeOnes.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
