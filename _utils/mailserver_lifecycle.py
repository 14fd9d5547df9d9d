"""What a run does to the keys of a host: make, look for in DNS, turn signing on, and end what has served its time."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import mailserver_clock
import mailserver_dkim
import mailserver_dns
import mailserver_keystore
import mailserver_opendkim
import mailserver_publish
import mailserver_records
from mailserver_dkim import shown_time
from mailserver_errors import ClockError, CutoverError, DkimError, KeyFileError, PublishError

CLOCK = "clock.json"
CLOCK_STEP = 60


@dataclass
class Report:
    """What was done or, in a dry run, would be done; all texts are whole sentences that name the domain.

    ``changes`` maps a domain to what became of it (``{"old": …, "new": …}``), ``waiting`` are warnings, and
    ``errors`` make the run fail.
    """

    changes: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)
    waiting: list = field(default_factory=list)
    errors: list = field(default_factory=list)

    def change(self, domain, selector, old, new):
        """Note that a key of a domain went from ``old`` to ``new``."""
        self.changes.setdefault(domain, {})[selector] = {"old": old, "new": new}


@dataclass(frozen=True)
class Place:
    """Where a host has its keys and tables, and who owns the keys."""

    keys: str
    tables: mailserver_opendkim.Tables
    owner: mailserver_keystore.Owner


@dataclass(frozen=True)
class Run:
    """One run: where, for which domains (their settings), at what time (trusted, UTC), and whether it only looks.

    ``ask`` asks DNS (:func:`mailserver_dns.ask`); ``dns`` is the pillar's section of that name. The host's clock is
    ``clock_ahead`` seconds ahead of ``now``.
    """

    place: Place
    domains: dict
    dns: dict
    now: datetime
    test: bool = False
    ask: Callable = mailserver_dns.ask
    clock_ahead: float = 0.0
    warnings: tuple = ()

    @property
    def wanted(self):
        """The settings of those domains that are to have a key."""
        return with_dkim(self.domains)

    def policy(self, name):
        return self.domains[name]["dkim"]

    def path(self, name, selector):
        return mailserver_keystore.private_path(self.place.keys, name, selector)

    def write(self, manifest):
        if not self.test:
            mailserver_keystore.write_manifest(self.place.keys, manifest)

    def answers(self, questions):
        """Return ``{key of questions: Answers}``."""
        asked = self.ask(questions.values(), mailserver_dns.options(self.dns)) if questions else {}
        return {name: asked[question] for name, question in questions.items()}


def place_of(settings):
    """Return the :class:`Place` that the settings of a host name."""
    paths = settings["os"]["opendkim"]
    return Place(
        paths["keys"],
        mailserver_opendkim.tables(paths["key_table"], paths["signing_table"]),
        mailserver_keystore.Owner(paths["user"], paths["group"]),
    )


def begin(place, domains, dns, test=False):
    """Return a :class:`Run` at the trusted time (:mod:`mailserver_clock`); it warns of a clock that is not believed.

    :raises ClockError: the host's clock was never set, or the trusted time's file is damaged.
    """
    path = Path(place.keys) / CLOCK
    before = _clock(path)
    clock = mailserver_clock.advance(before, mailserver_clock.read())
    if not test and (before is None or clock.trusted - before.trusted >= CLOCK_STEP or not clock.is_believed):
        mailserver_keystore.replace_file(path, mailserver_clock.emit(clock), 0o644)
    now, wall = mailserver_dkim.utc(clock.trusted), mailserver_dkim.utc(clock.wall)
    warnings = (
        ()
        if clock.is_believed
        else (
            f"The host's clock says {shown_time(wall)}, but by all that was witnessed it is {shown_time(now)}; that "
            "is what the keys go by. Set the clock right or, if it is right, run: salt-call dkim.believe_clock",
        )
    )
    return Run(place, domains, dns, now, test, clock_ahead=clock.wall - clock.trusted, warnings=warnings)


def believe_clock(keys):
    """Have the host's clock believed from now on, because an operator says that it is right; return its time."""
    path = Path(keys) / CLOCK
    clock = mailserver_clock.believe(mailserver_clock.advance(_clock(path), mailserver_clock.read()))
    mailserver_keystore.replace_file(path, mailserver_clock.emit(clock), 0o644)
    return mailserver_dkim.utc(clock.trusted)


def _clock(path):
    try:
        return mailserver_clock.parse(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        return None
    except OSError as err:
        raise ClockError(f"{path}: cannot be read: {err}") from err


def with_dkim(domains):
    """Return the settings of those domains that are to have a key."""
    return {name: domain for name, domain in domains.items() if domain["dkim"]["enabled"]}


def read_manifests(run, report):
    """Return the manifests of all domains with DKIM; a damaged one is an error of the report, and left out."""
    manifests = {}
    for name in run.wanted:
        try:
            manifests[name] = mailserver_keystore.read_manifest(run.place.keys, name)
        except DkimError as err:
            report.errors.append(f"{name}: {err}")
    return manifests


def record_of(name, domain, key):
    """Return the :class:`mailserver_records.Record` of a key; revoked, its ``p=`` is empty (RFC 6376 section 3.6.1)."""
    public = "" if key.revoked else key.public
    return mailserver_records.key_record(name, key.selector, public, domain["dkim"]["ttl"], key.algorithm)


# ---- making keys


def make_keys(run, host, also=(), force=False):
    """Make a key for each domain that has none that signs or may sign, or whose signer has served its time.

    A key that a hand-written OpenDKIM configuration signs with already, or that an interrupted run left on disk, is
    taken over and not replaced. The files of the other keys get their owner and mode back; those of revoked keys are
    destroyed, if a run was cut short before it did.

    :param host: the host's name, for selectors.
    :param also: domains that get a successor whether or not it is due; with ``force`` even where one waits already.
    """
    report, new = Report(), {}
    in_force = mailserver_opendkim.signers_in_force(run.place.tables)
    for name, manifest in read_manifests(run, report).items():
        try:
            if _gets_key(run, manifest, name in also, force):
                new[name] = manifest
            _settle(run, manifest, report)
        except DkimError as err:
            report.errors.append(f"{name}: {err}")
    selectors = {name: _selector(run, manifest, host, in_force.get(name)) for name, manifest in new.items()}
    to_generate = [name for name, selector in selectors.items() if not run.path(name, selector).exists()]
    bits = [run.policy(name)["bits"] for name in to_generate]
    pems = [None] * len(bits) if run.test else mailserver_keystore.generate(bits)
    made = dict(zip(to_generate, pems, strict=True))
    for name, manifest in new.items():
        try:
            _add(run, manifest, selectors[name], made.get(name), report)
        except (DkimError, OSError) as err:
            report.errors.append(f"{name}: {err}")
    return report


def _gets_key(run, manifest, at_once, force):
    if at_once:
        return force or mailserver_dkim.successor(manifest) is None
    is_due = mailserver_dkim.rotation_is_due(manifest, run.policy(manifest.domain), run.now)
    return is_due or mailserver_dkim.needs_key(manifest)


def _selector(run, manifest, host, signs):
    name, taken = manifest.domain, {key.selector for key in manifest.keys}
    path = signs and run.path(name, signs.selector)
    if signs and signs.selector not in taken and signs.path == str(path) and path.exists():
        return signs.selector
    # Nor is a selector used that the tables name: a new key at its path would sign at once, before DNS shows it.
    taken |= {signs.selector} if signs else set()
    return mailserver_dkim.new_selector(run.policy(name)["selector"], host, run.now, taken)


def _add(run, manifest, selector, pem, report):
    name, keys, owner = manifest.domain, run.place.keys, run.place.owner
    path = run.path(name, selector)
    verb = "taken over from disk" if path.exists() else "generated"
    report.change(name, selector, None, verb)
    report.notes.append(f"{name}: the key {selector} {'would be' if run.test else 'was'} {verb}.")
    if run.test:
        return
    mailserver_keystore.make_folder(keys, name, owner)
    if pem:
        mailserver_keystore.write_private(keys, name, selector, pem, owner)
    public, bits = mailserver_keystore.public_half(path.read_text(encoding="ascii"), str(path))
    key = mailserver_dkim.Key(selector, "rsa", bits, public, run.now)
    mailserver_keystore.settle_key(keys, name, key, owner)
    line = mailserver_records.zone_line(record_of(name, run.domains[name], key))
    mailserver_keystore.write_record(keys, name, selector, line)
    run.write(manifest.with_key(key))


def _settle(run, manifest, report):
    name = manifest.domain
    for key in manifest.keys:
        path = run.path(name, key.selector)
        if key.revoked:
            if path.exists() and not run.test:
                mailserver_keystore.destroy(path)
        elif run.test:
            if not path.exists():
                raise KeyFileError(f"{path}: missing")
        elif mailserver_keystore.settle_key(run.place.keys, name, key, run.place.owner):
            report.change(name, key.selector, "wrong owner or mode", "0600")
            report.notes.append(f"{name}: the key file of {key.selector} got its owner and mode back.")


# ---- looking for them in DNS


@dataclass(frozen=True)
class Wanted:
    """What DNS is to show of a key: ``text`` of its record, ``""`` for none; ``why`` it is no longer the key itself."""

    text: str
    why: str = ""


def wanted_of(run, name, key, oldest_queued):
    """Return what DNS is to show of a key that is not removed.

    :param oldest_queued: see :func:`mailserver_dkim.keeps_record`.
    """
    policy = run.policy(name)
    record = record_of(name, run.domains[name], key).value
    if key.revoked:
        if mailserver_dkim.keeps_revoked(key, policy, run.now):
            return Wanted(record)
        return Wanted("", "it has been revoked for long enough")
    if key.stage == "retired" and not _keeps_record(run, name, key, oldest_queued):
        return Wanted(record_of(name, run.domains[name], replace(key, revoked=run.now)).value, "it is to be revoked")
    return Wanted(record)


def _keeps_record(run, name, key, oldest_queued):
    if mailserver_keystore.is_compromised(run.place.keys, name, key.selector):
        return ""
    return mailserver_dkim.keeps_record(key, run.policy(name), run.now, oldest_queued)


def check_published(run, oldest_queued=None, publish=None):
    """Look for every key in DNS, and stamp what was seen: published, revoked, removed.

    :param oldest_queued: called with the run, returns what :func:`mailserver_dkim.keeps_record` wants to know of the
        mail queue; asked only where it matters.
    :param publish: sends records to DNS (:func:`publisher`); ``None``: people do it.
    """
    report = Report()
    manifests = read_manifests(run, report)
    oldest = _oldest_if_needed(run, manifests, oldest_queued)
    wants = {
        (name, key.selector): (key, wanted_of(run, name, key, oldest))
        for name, manifest in manifests.items()
        for key in manifest.keys
        if not key.removed
    }
    to_ask = {place: _question(*place) for place, (key, wanted) in wants.items() if not key.revoked or wanted.why}
    seen = run.answers(to_ask)
    if publish and not run.test:
        seen.update(_publish(run, wants, seen, publish, report))
    for name, manifest in manifests.items():
        changed = manifest
        for key in manifest.keys:
            if (name, key.selector) in seen:
                wanted = wants[name, key.selector][1]
                stamped = _look_at(run, name, key, wanted, seen[name, key.selector], report)
                changed = changed.with_key(stamped)
        if changed != manifest:
            run.write(changed)
            _destroy_revoked(run, manifest, changed)
    return report


def _oldest_if_needed(run, manifests, oldest_queued):
    retired = any(key.stage == "retired" for manifest in manifests.values() for key in manifest.keys)
    return oldest_queued(run) if retired and oldest_queued else None


def _question(name, selector):
    return mailserver_dns.Question(f"{selector}._domainkey.{name}", "TXT")


def _publish(run, wants, seen, publish, report):
    """Have those records published that DNS does not show as wanted; return what DNS shows of them afterwards."""
    missing = {
        place: wants[place]
        for place, answers in seen.items()
        if _verdict(*wants[place], answers).value in ("absent", "different")
    }
    if not missing:
        return {}
    try:
        sent = publish(run, {place: (*want, seen[place]) for place, want in missing.items()})
    except PublishError as err:
        report.errors.append(f"No record was published: {err}")
        return {}
    report.notes += [one.detail for one in sent if one.result == "sent" and one.detail]
    report.waiting += [f"Publishing failed: {one.detail}" for one in sent if one.result not in ("sent", "already")]
    return run.answers({place: _question(*place) for place in missing})


def publisher(run):
    """Return what sends records to DNS as the pillar asks for (``dns:publish``), or ``None`` where people do it."""
    return _send if run.dns.get("publish") == "rfc2136" else None


def _send(run, missing):
    """Send records, ``{(domain, selector): (Key, Wanted, Answers)}``, by RFC 2136; return what became of each.

    What may be replaced is nobody's but ours: this key's own record, or its revoked one.

    :raises PublishError: the credential cannot be read.
    """
    credential = mailserver_publish.read_credential(run.dns["rfc2136"])
    changes = []
    for (name, _), (key, wanted, answers) in missing.items():
        record = record_of(name, run.domains[name], replace(key, revoked=None))
        revoked = record_of(name, run.domains[name], replace(key, revoked=run.now))
        ours = (record.value, revoked.value) if wanted.why else ()
        place = answers.target or record.name
        changes.append(mailserver_publish.Change(place, answers.zone, record.ttl, wanted.text or None, ours))
    return mailserver_publish.publish(changes, credential, mailserver_dns.options(run.dns))


def _verdict(key, wanted, answers):
    """Return whether DNS shows of a key what is wanted; the value ``published`` means: as wanted, everywhere."""
    if wanted.text and not wanted.why:
        return mailserver_dns.judge(answers, _checks(key.public, key.algorithm))
    if wanted.text:
        verdict = mailserver_dns.judge(answers, _checks("", key.algorithm))
    else:
        verdict = mailserver_dns.judge(answers, lambda _values: "the record is still there; take it away")
    if verdict.value == "absent" and all(one.status != "unknown" for one in answers.seen) and not answers.trouble:
        return mailserver_dns.Verdict("published")
    return mailserver_dns.Verdict("unknown", verdict.findings) if verdict.value == "absent" else verdict


def _checks(public, algorithm):
    return lambda values: mailserver_records.check_key(values, public, algorithm)


def _look_at(run, name, key, wanted, answers, report):
    """Return the key with the stamp that its record in DNS has earned it, and report what that record means."""
    verdict = _verdict(key, wanted, answers)
    if verdict.value != "published":
        _tell(run, name, key, wanted, verdict, report)
        return key
    if wanted.why:
        stage = "removed" if key.revoked else "revoked"
    elif key.stage == "generated":
        stage = "published"
    else:
        return key
    try:
        stamped = mailserver_dkim.stamp(key, stage, run.now)
    except DkimError as err:
        report.errors.append(f"{name}: {err}")
        return key
    report.change(name, key.selector, key.stage, stage)
    seen = f"would be stamped as {stage}" if run.test else f"is {stage}"
    report.notes.append(f"{name}: the key {key.selector} {seen}: every authoritative server shows it so.")
    return replace(stamped, public="") if stage == "removed" else stamped


def _destroy_revoked(run, before, after):
    if run.test:
        return
    for key in after.keys:
        if key.revoked and not before.key(key.selector).revoked:
            mailserver_keystore.destroy(run.path(after.domain, key.selector))


_WAITS = {
    "absent": "is not in DNS",
    "different": "is in DNS, but not as it must be",
    "unknown": "cannot be confirmed, because DNS did not answer as it should",
}


def _tell(run, name, key, wanted, verdict, report):
    """Report that DNS does not show a key as it must: what it means depends on what the key does."""
    shown = f"{_listed(verdict.findings)}\n{_to_publish(run, name, key, wanted)}"
    if wanted.why:
        report.waiting.append(
            f"{name}: the record of the retired key {key.selector} is to be changed, because {wanted.why}.\n{shown}"
        )
    elif key.stage in ("generated", "published"):
        _await(run, name, key, verdict, shown, report)
    elif verdict.value == "unknown":
        report.waiting.append(
            f"{name}: whether DNS still shows the key {key.selector} could not be found out, and nothing was changed.\n"
            f"{_listed(verdict.findings)}"
        )
    else:
        report.errors.append(
            f"{name}: mail {'is' if key.stage == 'signing' else 'still on its way was'} signed with {key.selector}, "
            f"but DNS does not show this key as it must: recipients cannot verify it.\n{shown}"
        )


def _await(run, name, key, verdict, shown, report):
    policy, ends = run.policy(name), mailserver_dkim.deadline(key, run.policy(name))
    text = (
        f"{name}: the record of the key {key.selector} {_WAITS[verdict.value]}, so mail is not signed with it yet.\n"
        f"{shown}"
    )
    if run.now >= ends:
        why = "mailserver:dkim:strict is set" if policy["strict"] else f"it should be there since {shown_time(ends)}"
        report.errors.append(f"{text}\n  This is a failure, because {why} (mailserver:dkim:publish_deadline).")
    else:
        report.waiting.append(
            f"{text}\n  Until {shown_time(ends)} this is a warning (mailserver:dkim:publish_deadline)."
        )


def _listed(findings):
    return "\n".join(f"  Seen: {finding}" for finding in findings)


def _to_publish(run, name, key, wanted):
    record = record_of(name, run.domains[name], key)
    if not wanted.text:
        return f"  To do: take away all TXT records at {record.name}."
    record = replace(record, value=wanted.text)
    return (
        f"  To publish, as a line of the zone:\n    {mailserver_records.zone_line(record)}\n"
        f"  To publish, as one string:\n    {mailserver_records.one_string(record)}"
    )


# ---- signing


def sign(run, reload, probe, instead=()):
    """Turn signing on for each published key that has soaked and that DNS shows now; off for domains that went.

    :param reload: has OpenDKIM read its tables (:func:`mailserver_opendkim.reload_service`).
    :param probe: called with (domain, selector, text of the record); raises ProbeError unless a message of the domain
        came back signed with the selector and verified.
    :param instead: domains that go back to the predecessor of the key that signs.
    """
    report = Report()
    manifests = read_manifests(run, report)
    old = mailserver_opendkim.signers_in_force(run.place.tables)
    ready, texts = _ready(run, manifests, instead, report)
    new = _new_signers(run, manifests, ready, old, report)
    cut_short = mailserver_opendkim.is_cut_short(run.place.tables)
    if not (ready or cut_short or new != old or not mailserver_opendkim.is_written(run.place.tables, new)):
        return report
    _describe(run, old, new, ready, cut_short, report)
    if run.test:
        return report

    def prove(name, signer):
        key = manifests[name].key(signer.selector)
        text = texts.get((name, signer.selector)) or record_of(name, run.domains[name], key).value
        probe(name, signer.selector, text)

    patient = mailserver_opendkim.patient(prove)
    try:
        failed = mailserver_opendkim.cutover(run.place.tables, old, new, reload, patient, unproven=ready)
    except CutoverError as err:
        return Report(errors=[*report.errors, str(err)])
    for name, message in failed.items():
        report.changes.pop(name, None)
        back = f"the key {old[name].selector} goes on signing" if name in old else "mail is not signed"
        report.errors.append(f"{name}: signing with {new[name].selector} was tried and undone, {back}: {message}")
    for name in ready:
        if name not in failed:
            _stamp_signing(run, manifests[name], ready[name], report)
    report.notes = [note for note in report.notes if note.partition(":")[0] not in failed]
    return report


def _ready(run, manifests, instead, report):
    """Return the keys that may take over now, by domain, and the record texts that DNS shows for them."""
    candidates = {}
    for name, manifest in manifests.items():
        waiting = [key for key in manifest.keys if key.stage == "published" or (run.test and key.stage == "generated")]
        if name in instead:
            candidates[name] = mailserver_dkim.predecessor(manifest)
        elif waiting:
            candidates[name] = max(waiting, key=lambda key: key.generated)
    candidates = {name: key for name, key in candidates.items() if key}
    answers = run.answers({name: _question(name, key.selector) for name, key in candidates.items()})
    ready, texts = {}, {}
    for name, key in candidates.items():
        verdict = mailserver_dns.judge(answers[name], _checks(key.public, key.algorithm))
        if verdict.value != "published":
            if key.stage != "generated":
                lacks = (
                    "DNS no longer shows it"
                    if verdict.value != "unknown"
                    else "DNS cannot be asked whether it shows it"
                )
                report.notes.append(f"{name}: the key {key.selector} does not sign yet: {lacks}.")
            continue
        # A dry run sees the stamp that the run itself would have made just before.
        published = key if key.published else replace(key, published=run.now)
        earliest = mailserver_dkim.signs_from(published, _soak(run, manifests[name], answers[name].negative_ttl))
        if run.now < earliest and name not in instead:
            report.notes.append(
                f"{name}: the key {key.selector} is published and signs from {shown_time(earliest)} on."
            )
            continue
        ready[name] = key
        texts[name, key.selector] = next(
            seen.values[0] for seen in answers[name].seen if seen.status == "answer"
        ).decode()
    return ready, texts


def _soak(run, manifest, negative_ttl):
    present = mailserver_dkim.signer(manifest)
    if present and mailserver_keystore.is_compromised(run.place.keys, manifest.domain, present.selector):
        return 0
    return mailserver_dkim.soak(manifest, run.policy(manifest.domain), negative_ttl)


def _new_signers(run, manifests, ready, old, report):
    """Return who is to sign; a key whose file is not as it must be leaves the old signer, and ``ready``."""
    new = {}
    for name in run.wanted:
        key = ready.get(name) or (mailserver_dkim.signer(manifests[name]) if name in manifests else None)
        signer = key and mailserver_opendkim.Signer(key.selector, str(run.path(name, key.selector)))
        if key and signer != old.get(name):
            try:
                mailserver_keystore.check_private(run.place.keys, name, key)
            except DkimError as err:
                report.errors.append(f"{name}: {err}")
                ready.pop(name, None)
                signer = None
        if signer or name in old:
            new[name] = signer or old[name]
            if not Path(new[name].path).exists():
                report.errors.append(
                    f"{name}: OpenDKIM is to sign with {new[name].path}, which is gone, so all its mail waits (451). "
                    " Put it back from a backup or, to send unsigned until a new key is in DNS, set "
                    f"mailserver:domains:{name}:dkim:enabled to false for one run"
                )
        else:
            report.notes.append(f"{name}: mail is not signed.")
    return new


def _describe(run, old, new, ready, cut_short, report):
    is_now, no_longer = ("would be", "would no longer be") if run.test else ("is now", "is no longer")
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if before == after and name not in ready:
            continue
        report.changes[name] = {"old": before and before.selector, "new": after and after.selector}
        what = f"{is_now} signed with {after.selector}" if after else f"{no_longer} signed; its keys stay on the host"
        report.notes.append(f"{name}: mail {what}.")
    if cut_short:
        report.notes.append("An earlier run was cut short while it changed the tables; its change is made anew.")
    if not report.changes:
        report.changes["tables"] = {"old": "not as the signers are", "new": "written again"}


def _stamp_signing(run, manifest, key, report):
    try:
        if key.stage == "retired":
            run.write(mailserver_dkim.go_back(manifest, run.now))
            return
        changed = manifest.with_key(mailserver_dkim.stamp(key, "signing", run.now))
        for earlier in manifest.keys:
            if earlier.stage == "signing":
                changed = changed.with_key(mailserver_dkim.stamp(earlier, "retired", run.now))
        run.write(changed)
    except (DkimError, OSError) as err:
        report.errors.append(f"{manifest.domain}: {key.selector} signs, but this could not be recorded: {err}")


# ---- all of it


@dataclass(frozen=True)
class Host:
    """What a whole run needs of the host: its name for selectors, and its daemons (see :func:`sign`)."""

    name: str
    reload: Callable
    probe: Callable
    oldest_queued: Callable | None = None


def advance(run, host, also=(), instead=(), force=False):
    """Do for all keys what is due: make, publish, look, sign, revoke, remove; all that was done, in one report.

    :param also, force: see :func:`make_keys`; :param instead: see :func:`sign`.
    """
    return merged(
        make_keys(run, host.name, also, force),
        check_published(run, host.oldest_queued, publisher(run)),
        sign(run, host.reload, host.probe, instead),
    )


def merged(*reports):
    """Return several reports as one; ``changes`` of a domain are joined."""
    whole = Report()
    for report in reports:
        for name, change in report.changes.items():
            whole.changes.setdefault(name, {}).update(change)
        whole.notes += report.notes
        whole.waiting += report.waiting
        whole.errors += report.errors
    return whole


def give_up(run, name, selector):
    """Say that a private key is known to others: it never signs again once another can, and is revoked right then.

    :raises DkimError: there is no such key, or it is revoked already.
    """
    manifest = mailserver_keystore.read_manifest(run.place.keys, name)
    key = manifest.key(selector)
    if key is None or key.revoked:
        selectors = ", ".join(one.selector for one in manifest.keys if not one.revoked) or "none"
        raise DkimError(f"{name}: no key {selector} to revoke; those that are not revoked: {selectors}")
    mailserver_keystore.mark_compromised(run.place.keys, name, selector)
    if key.stage in ("generated", "published"):
        run.write(manifest.with_key(mailserver_dkim.stamp(key, "retired", run.now)))


def check_can_go_back(run, name):
    """Raise :class:`DkimError` unless the domain has a predecessor that can sign again."""
    earlier = mailserver_dkim.predecessor(mailserver_keystore.read_manifest(run.place.keys, name))
    if earlier is None:
        raise DkimError(f"{name}: no earlier key that DNS still shows; dkim.status lists the domain's keys")
    if mailserver_keystore.is_compromised(run.place.keys, name, earlier.selector):
        raise DkimError(f"{name}: the earlier key {earlier.selector} is known to others, and is not used again")
    mailserver_keystore.check_private(run.place.keys, name, earlier)


# ---- telling


def status(run, oldest_queued=None):
    """Return what became of each key: ``{domain: {selector: {"stage", "since", "bits", "signs", "next"}}}``.

    Times are text (ISO 8601, UTC). Domains that are no longer in the pillar, but whose keys are still here, come too.
    """
    in_force = mailserver_opendkim.signers_in_force(run.place.tables)
    result = {}
    for name in sorted({*run.wanted, *mailserver_keystore.domains_on_disk(run.place.keys)}):
        manifest = mailserver_keystore.read_manifest(run.place.keys, name)
        oldest = _oldest_if_needed(run, {name: manifest}, oldest_queued)
        signs = in_force[name].selector if name in in_force else None
        result[name] = {key.selector: _status(run, manifest, key, signs, oldest) for key in manifest.keys}
    return result


def _status(run, manifest, key, signs, oldest):
    life = mailserver_dkim.LIFE[mailserver_dkim.STAGES.index(key.stage)]
    row = {
        "stage": key.stage,
        "since": f"{key.since:%Y-%m-%dT%H:%M:%SZ}",
        "bits": key.bits,
        "signs": signs == key.selector,
        "next": life.comes_next,
    }
    if manifest.domain not in run.wanted:
        return {**row, "next": "nothing: the domain is not in the pillar"}
    waits = _waits_for(run, manifest, key, oldest)
    if waits:
        row["waits"] = waits
    if key.stage == "generated":
        row["fails_from"] = f"{mailserver_dkim.deadline(key, run.policy(manifest.domain)):%Y-%m-%dT%H:%M:%SZ}"
    return row


def _waits_for(run, manifest, key, oldest):
    """Return why a key is not in its next stage yet, as far as that can be told without asking DNS."""
    name, policy = manifest.domain, run.policy(manifest.domain)
    if key.stage == "generated":
        return "DNS is to show its record (dkim.records)"
    if key.stage == "published":
        seconds = _soak(run, manifest, None)
        return (
            f"it soaks until {shown_time(mailserver_dkim.signs_from(key, seconds))} at least, then a run makes it sign"
        )
    if key.stage == "signing":
        moment = mailserver_dkim.rotates_at(name, key, policy)
        return f"a successor is made on {shown_time(moment)}" if moment else "it is never rotated (rotate_after: 0)"
    if key.stage == "retired":
        return _keeps_record(run, name, key, oldest) or "DNS is to show its record with an empty p= (dkim.records)"
    if key.stage == "revoked":
        return mailserver_dkim.keeps_revoked(key, policy, run.now) or "its record is to be taken out of DNS"
    return ""


def key_records(run, only=None, oldest_queued=None):
    """Return the records of all keys as DNS is to show them now, of all domains or ``only`` one.

    :raises DkimError: no such domain has a key.
    """
    if only is not None and only not in run.domains:
        near = difflib.get_close_matches(only, run.domains, 1)
        raise DkimError(
            f"{only} is not among the domains of this host; {f'did you mean {near[0]}?' if near else 'see the pillar'}"
        )
    found = []
    for name in run.wanted if only is None else [only]:
        manifest = mailserver_keystore.read_manifest(run.place.keys, name)
        oldest = _oldest_if_needed(run, {name: manifest}, oldest_queued)
        for key in manifest.keys:
            wanted = Wanted("") if key.removed else wanted_of(run, name, key, oldest)
            if wanted.text:
                found.append(replace(record_of(name, run.domains[name], key), value=wanted.text))
    return found
