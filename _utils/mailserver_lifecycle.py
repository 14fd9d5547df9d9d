"""What a run does to the keys of a host: make those that are missing, look for them in DNS, turn signing on."""

import difflib
from dataclasses import dataclass, field

import mailserver_dkim
import mailserver_dns
import mailserver_keystore
import mailserver_opendkim
import mailserver_records
from mailserver_dkim import shown_time
from mailserver_errors import CutoverError, DkimError, KeyFileError


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


@dataclass(frozen=True)
class Place:
    """Where a host has its keys and tables, and who owns the keys."""

    keys: str
    tables: mailserver_opendkim.Tables
    owner: mailserver_keystore.Owner


def with_dkim(domains):
    """Return the settings of those domains that are to have a key."""
    return {name: domain for name, domain in domains.items() if domain["dkim"]["enabled"]}


def record_of(name, domain, key):
    """Return the :class:`mailserver_records.Record` of a key; revoked, its ``p=`` is empty (RFC 6376 section 3.6.1)."""
    public = "" if key.revoked else key.public
    return mailserver_records.key_record(name, key.selector, public, domain["dkim"]["ttl"], key.algorithm)


def make_keys(place, domains, host, now, test=False):
    """Make a key for each domain that has none that signs or may sign, and settle the files of the others.

    A key that a hand-written OpenDKIM configuration signs with already, or that an interrupted run left on disk, is
    taken over and not replaced.
    """
    report, new = Report(), {}
    in_force = mailserver_opendkim.signers_in_force(place.tables)
    for name, domain in with_dkim(domains).items():
        try:
            manifest = mailserver_keystore.read_manifest(place.keys, name)
            if mailserver_dkim.needs_key(manifest):
                new[name] = manifest
            else:
                _settle(place, name, domain, manifest, report, test)
        except DkimError as err:
            report.errors.append(f"{name}: {err}")
    selectors = {
        name: _selector(place, manifest, domains[name], host, now, in_force.get(name)) for name, manifest in new.items()
    }
    to_generate = [name for name, selector in selectors.items() if not _path(place, name, selector).exists()]
    if test:
        pems = dict.fromkeys(to_generate)
    else:
        bits = [domains[name]["dkim"]["bits"] for name in to_generate]
        pems = dict(zip(to_generate, mailserver_keystore.generate(bits), strict=True))
    for name, manifest in new.items():
        try:
            _add(place, domains[name], manifest, selectors[name], pems.get(name), now, report, test)
        except (DkimError, OSError) as err:
            report.errors.append(f"{name}: {err}")
    return report


def _path(place, name, selector):
    return mailserver_keystore.private_path(place.keys, name, selector)


def _selector(place, manifest, domain, host, now, signs):
    taken = {key.selector for key in manifest.keys}
    if signs and signs.selector not in taken and signs.path == str(_path(place, manifest.domain, signs.selector)):
        return signs.selector
    return mailserver_dkim.new_selector(domain["dkim"]["selector"], host, now, taken)


def _add(place, domain, manifest, selector, pem, now, report, test):
    name, path = manifest.domain, _path(place, manifest.domain, selector)
    verb = "taken over from disk" if path.exists() else "generated"
    report.changes[name] = {selector: {"old": None, "new": verb}}
    report.notes.append(f"{name}: the key {selector} {'would be' if test else 'was'} {verb}.")
    if test:
        return
    mailserver_keystore.make_folder(place.keys, name, place.owner)
    if pem:
        mailserver_keystore.write_private(place.keys, name, selector, pem, place.owner)
    public, bits = mailserver_keystore.public_half(path.read_text(encoding="ascii"), str(path))
    key = mailserver_dkim.Key(selector, "rsa", bits, public, now)
    mailserver_keystore.settle_key(place.keys, name, key, place.owner)
    line = mailserver_records.zone_line(record_of(name, domain, key))
    mailserver_keystore.write_record(place.keys, name, selector, line)
    mailserver_keystore.write_manifest(place.keys, manifest.with_key(key))


def _settle(place, name, domain, manifest, report, test):
    for key in mailserver_dkim.live(manifest):
        if test:
            if not _path(place, name, key.selector).exists():
                raise KeyFileError(f"{_path(place, name, key.selector)}: missing")
            continue
        if mailserver_keystore.settle_key(place.keys, name, key, place.owner):
            report.changes.setdefault(name, {})[key.selector] = {"old": "wrong owner or mode", "new": "0600"}
            report.notes.append(f"{name}: the key file of {key.selector} got its owner and mode back.")


def questions(domains, manifests):
    """Return ``{(domain, selector): Question}`` for the record of every key that is to be in DNS."""
    return {
        (name, key.selector): mailserver_dns.Question(f"{key.selector}._domainkey.{name}", "TXT")
        for name in domains
        for key in mailserver_dkim.live(manifests[name])
    }


def read_manifests(keys, names, report):
    """Return the manifests of the named domains; a damaged one is an error of the report, and left out."""
    manifests = {}
    for name in names:
        try:
            manifests[name] = mailserver_keystore.read_manifest(keys, name)
        except DkimError as err:
            report.errors.append(f"{name}: {err}")
    return manifests


def check_published(place, domains, dns, now, test=False, ask=mailserver_dns.ask):
    """Look for every key in DNS; stamp those as published that every authoritative server shows."""
    report = Report()
    wanted = with_dkim(domains)
    manifests = read_manifests(place.keys, wanted, report)
    asked = questions(manifests, manifests)
    answers = ask(asked.values(), mailserver_dns.options(dns)) if asked else {}
    for name, manifest in manifests.items():
        changed = manifest
        for key in mailserver_dkim.live(manifest):
            verdict = mailserver_dns.judge(answers[asked[name, key.selector]], _checks(key))
            stamped = _published(name, wanted[name], key, verdict, now, report, test)
            changed = changed.with_key(stamped)
        if changed != manifest and not test:
            mailserver_keystore.write_manifest(place.keys, changed)
    return report


def _checks(key):
    return lambda values: mailserver_records.check_key(values, key.public, key.algorithm)


def _published(name, domain, key, verdict, now, report, test):
    """Return the key, stamped if it is published now, and report what its record means."""
    if verdict.value == "published":
        if key.stage != "generated":
            return key
        try:
            key = mailserver_dkim.stamp(key, "published", now)
        except DkimError as err:
            report.errors.append(f"{name}: {err}")
            return key
        report.changes.setdefault(name, {})[key.selector] = {"old": "generated", "new": "published"}
        seen = "would be stamped as published" if test else "is published"
        report.notes.append(f"{name}: the key {key.selector} {seen}: every authoritative server shows it.")
        return key
    if key.stage in ("generated", "published"):
        _await(name, domain, key, verdict, now, report)
    elif verdict.value == "unknown":
        report.waiting.append(
            f"{name}: whether DNS still shows the key {key.selector} could not be found out, and nothing was changed.\n"
            f"{_listed(verdict.findings)}"
        )
    else:
        report.errors.append(
            f"{name}: mail {'is' if key.stage == 'signing' else 'still on its way was'} signed with {key.selector}, "
            "but DNS does not show this key as it must: recipients cannot verify it.\n"
            f"{_listed(verdict.findings)}\n{_to_publish(name, domain, key)}"
        )
    return key


_WAITS = {
    "absent": "is not in DNS",
    "different": "is in DNS, but not as it must be",
    "unknown": "cannot be confirmed, because DNS did not answer as it should",
}


def _await(name, domain, key, verdict, now, report):
    policy, ends = domain["dkim"], mailserver_dkim.deadline(key, domain["dkim"])
    text = (
        f"{name}: the record of the key {key.selector} {_WAITS[verdict.value]}, so mail is not signed with it yet.\n"
        f"{_listed(verdict.findings)}\n{_to_publish(name, domain, key)}"
    )
    if now >= ends:
        why = (
            "mailserver:dkim:strict is set" if policy["strict"] else f"it should have been there by {shown_time(ends)}"
        )
        report.errors.append(f"{text}\n  This is a failure, because {why} (mailserver:dkim:publish_deadline).")
    else:
        report.waiting.append(
            f"{text}\n  Until {shown_time(ends)} this is a warning (mailserver:dkim:publish_deadline)."
        )


def _listed(findings):
    return "\n".join(f"  Seen: {finding}" for finding in findings)


def _to_publish(name, domain, key):
    record = record_of(name, domain, key)
    return (
        f"  To publish, as a line of the zone:\n    {mailserver_records.zone_line(record)}\n"
        f"  To publish, as one string:\n    {mailserver_records.one_string(record)}"
    )


def sign(place, domains, dns, reload, probe, now, test=False, ask=mailserver_dns.ask):
    """Turn signing on for each published key that has soaked and that DNS shows now; off for domains that went.

    :param reload: has OpenDKIM read its tables (:func:`mailserver_opendkim.reload_service`).
    :param probe: called with (domain, selector, text of the record); raises ProbeError unless a message of the domain
        came back signed with the selector and verified.
    """
    report = Report()
    wanted = with_dkim(domains)
    manifests = read_manifests(place.keys, wanted, report)
    old = mailserver_opendkim.signers_in_force(place.tables)
    ready, texts = _ready(wanted, manifests, dns, now, report, ask)
    new = {}
    for name in wanted:
        key = ready.get(name) or (mailserver_dkim.signer(manifests[name]) if name in manifests else None)
        signer = key and mailserver_opendkim.Signer(key.selector, str(_path(place, name, key.selector)))
        if key and signer != old.get(name):
            try:
                mailserver_keystore.check_private(place.keys, name, key)
            except DkimError as err:
                report.errors.append(f"{name}: {err}")
                ready.pop(name, None)
                signer = None
        if signer or name in old:
            new[name] = signer or old[name]
        else:
            report.notes.append(f"{name}: mail is not signed.")
    cut_short = mailserver_opendkim.is_cut_short(place.tables)
    if not (ready or cut_short or new != old or not mailserver_opendkim.is_written(place.tables, new)):
        return report
    _describe(old, new, ready, cut_short, report, test)
    if test:
        return report

    def prove(name, signer):
        key = manifests[name].key(signer.selector)
        text = texts.get((name, signer.selector)) or record_of(name, wanted[name], key).value
        probe(name, signer.selector, text)

    patient = mailserver_opendkim.patient(prove)
    try:
        failed = mailserver_opendkim.cutover(place.tables, old, new, reload, patient, unproven=ready)
    except CutoverError as err:
        return Report(errors=[*report.errors, str(err)])
    for name, message in failed.items():
        report.changes.pop(name, None)
        back = f"the key {old[name].selector} goes on signing" if name in old else "mail is not signed"
        report.errors.append(f"{name}: signing with {new[name].selector} was tried and undone, {back}: {message}")
    for name, key in ready.items():
        if name not in failed:
            _stamp_signing(place, manifests[name], key, now, report)
    report.notes = [note for note in report.notes if note.partition(":")[0] not in failed]
    return report


def _ready(wanted, manifests, dns, now, report, ask):
    """Return the keys that may take over now, by domain, and the record texts that DNS shows for them."""
    candidates = {}
    for name, manifest in manifests.items():
        published = [key for key in manifest.keys if key.stage == "published"]
        if published:
            candidates[name] = max(published, key=lambda key: key.generated)
    asked = {
        name: mailserver_dns.Question(f"{key.selector}._domainkey.{name}", "TXT") for name, key in candidates.items()
    }
    answers = ask(asked.values(), mailserver_dns.options(dns)) if asked else {}
    ready, texts = {}, {}
    for name, key in candidates.items():
        answer = answers[asked[name]]
        verdict = mailserver_dns.judge(answer, _checks(key))
        if verdict.value != "published":
            report.notes.append(f"{name}: the key {key.selector} does not sign yet: DNS no longer shows it.")
            continue
        seconds = mailserver_dkim.soak(manifests[name], wanted[name]["dkim"], answer.negative_ttl)
        earliest = mailserver_dkim.signs_from(key, seconds)
        if now < earliest:
            report.notes.append(
                f"{name}: the key {key.selector} is published and signs from {shown_time(earliest)} on."
            )
            continue
        ready[name] = key
        texts[name, key.selector] = next(seen.values[0] for seen in answer.seen if seen.status == "answer").decode()
    return ready, texts


def _describe(old, new, ready, cut_short, report, test):
    is_now, no_longer = ("would be", "would no longer be") if test else ("is now", "is no longer")
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


def _stamp_signing(place, manifest, key, now, report):
    try:
        changed = manifest.with_key(mailserver_dkim.stamp(key, "signing", now))
        for earlier in manifest.keys:
            if earlier.stage == "signing":
                changed = changed.with_key(mailserver_dkim.stamp(earlier, "retired", now))
        mailserver_keystore.write_manifest(place.keys, changed)
    except (DkimError, OSError) as err:
        report.errors.append(f"{manifest.domain}: {key.selector} signs, but this could not be recorded: {err}")


def status(keys, domains, tables):
    """Return what became of each key: ``{domain: {selector: {"stage", "since", "bits", "signs", "next"}}}``.

    Times are text (ISO 8601, UTC). Domains that are no longer in the pillar, but whose keys are still here, come too.
    """
    in_force = mailserver_opendkim.signers_in_force(tables)
    result = {}
    for name in sorted({*with_dkim(domains), *mailserver_keystore.domains_on_disk(keys)}):
        manifest = mailserver_keystore.read_manifest(keys, name)
        result[name] = {key.selector: _status(key, name, domains, in_force) for key in manifest.keys}
    return result


def _status(key, name, domains, in_force):
    life = mailserver_dkim.LIFE[mailserver_dkim.STAGES.index(key.stage)]
    row = {
        "stage": key.stage,
        "since": f"{key.since:%Y-%m-%dT%H:%M:%SZ}",
        "bits": key.bits,
        "signs": name in in_force and in_force[name].selector == key.selector,
        "next": life.comes_next if name in with_dkim(domains) else "nothing: the domain is not in the pillar",
    }
    if name in with_dkim(domains) and key.stage == "generated":
        row["fails_from"] = f"{mailserver_dkim.deadline(key, domains[name]['dkim']):%Y-%m-%dT%H:%M:%SZ}"
    return row


def key_records(keys, domains, only=None):
    """Return the records of all keys that are to be in DNS, of all domains or ``only`` one.

    :raises DkimError: no such domain has a key.
    """
    chosen = with_dkim(domains) if only is None else {only: domains[only]} if only in domains else {}
    if only is not None and not chosen:
        near = difflib.get_close_matches(only, domains, 1)
        raise DkimError(
            f"{only} is not among the domains of this host; {f'did you mean {near[0]}?' if near else 'see the pillar'}"
        )
    return [
        record_of(name, domain, key)
        for name, domain in chosen.items()
        for key in mailserver_keystore.read_manifest(keys, name).keys
        if not key.removed
    ]
