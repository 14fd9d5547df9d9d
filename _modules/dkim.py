"""
DKIM keys of this host: their stages, the records to publish, and what an operator can do (``salt '*' dkim.…``).
"""
# ruff: noqa: E402 (an upgrade may have left outdated modules in memory, to be dropped before they are imported)

from salt.exceptions import CommandExecutionError

import mailhost

mailhost.drop_outdated()

from mailhost import arguments, wording
from mailhost import clock as trusted_clock
from mailhost import files as safe_files
from mailhost.central import keys as central_keys
from mailhost.central import owners
from mailhost.daemons import opendkim as opendkim_daemon
from mailhost.dkim import advance as dkim_advance
from mailhost.dkim import clock as dkim_clock
from mailhost.dkim import records as dkim_records
from mailhost.dkim import report as dkim_report
from mailhost.dkim import run as dkim_run
from mailhost.dkim import status as dkim_status
from mailhost.errors import MailserverError
from mailhost.opendkim import probe
from mailhost.postfix import queue as postfix_queue
from mailhost.publish import remembered
from mailhost.records import nsupdate
from mailhost.records import record as mail_records
from mailhost.watch import memory

__virtualname__ = "dkim"
__outputter__ = {
    "status": "dkim_keys",
    **dict.fromkeys(("plan", "advance", "rotate", "revoke", "rollback"), "mailserver"),
}


def __virtual__():
    return __virtualname__


@arguments.read(CommandExecutionError, domain=arguments.domain, format=arguments.text)
def records(domain=None, format="zone"):
    """
    Return the DKIM records of this host's keys as DNS should show them now.

    domain
        One domain; all domains, if left out.
    format
        ``zone`` (lines of a zone file, strings of at most 255 bytes), ``string`` (each record's text as one string, for
        a provider's form), ``json`` or ``data``, ``nsupdate`` (input for nsupdate, which adds the records that are
        missing), or ``octodns`` (for each domain the text of an octoDNS zone file, DOMAIN.yaml).

    A revoked key is returned with an empty ``p=`` (RFC 6376 section 3.6.1), a removed one not at all.

    CLI Example:

    .. code-block:: bash

        salt mx1 dkim.records example.com
        salt mx1 dkim.records example.com format=nsupdate
    """
    forms = {
        "zone": mail_records.zone,
        "nsupdate": lambda records: nsupdate.nsupdate(records, {}),
        "string": lambda records: {record.name: mail_records.one_string(record) for record in records},
        "json": mail_records.as_json,
        "data": mail_records.as_data,
        "octodns": _octodns,
    }
    if format not in forms:
        raise CommandExecutionError(f"dkim.records: format {format!r} is none of {', '.join(forms)}")
    run, _ = _begin(test=True)
    try:
        return forms[format](dkim_records.key_records(run, domain, postfix_queue.oldest_for))
    except MailserverError as err:
        raise CommandExecutionError(str(err)) from err


def _octodns(records):
    by_domain = {}
    for record in records:
        by_domain.setdefault(record.name.partition("._domainkey.")[2], []).append(record)
    return {name: mail_records.octodns(found, name) for name, found in by_domain.items()}


@arguments.read(CommandExecutionError, domain=arguments.domain)
def status(domain=None):
    """
    Return the state of each key: its stage and since when, whether OpenDKIM signs with it, and what it waits for.

    domain
        One domain; all domains, if left out. A domain that left the pillar is shown as long as its keys are here.

    CLI Example:

    .. code-block:: bash

        salt '*' dkim.status
        salt mx1 dkim.status example.com
    """
    run, _ = _begin(test=True)
    try:
        found = dkim_status.status(run, postfix_queue.oldest_for)
    except MailserverError as err:
        raise CommandExecutionError(str(err)) from err
    if domain is None:
        return found
    if domain not in found:
        raise CommandExecutionError(
            f"dkim.status: {domain} has no keys on this host; those that have: {', '.join(found)}"
        )
    return {domain: found[domain]}


def plan():
    """
    Return what :py:func:`advance` would do now, and what would hold it up. Nothing is changed.

    CLI Example:

    .. code-block:: bash

        salt '*' dkim.plan
    """
    run, host = _begin(test=True)
    try:
        return _told(run, dkim_advance.advance(run, host))
    except MailserverError as err:
        raise CommandExecutionError(str(err)) from err


@arguments.read(CommandExecutionError, everything=arguments.flag)
def advance(everything=False):
    """
    Do everything that is due for the keys of this host: make, publish, check in DNS, sign, revoke, remove. Safe to run
    at any time.

    everything
        With more than 500 keys, check all of them in DNS, and publish missing records again if the host may publish.
        Otherwise a run checks only the keys that wait for something or have a problem, and 100 of the others in
        rotation.

    Returns ``changes``, ``notes``, ``waiting`` (what DNS or time has yet to bring) and ``errors``. With errors the
    return code is not 0.

    CLI Example:

    .. code-block:: bash

        salt '*' dkim.advance
        salt mx1 dkim.advance everything=True
    """
    return _advance(lambda run: {"everything": everything})


@arguments.read(CommandExecutionError, domain=arguments.domain, force=arguments.flag)
def rotate(domain=None, force=False):
    """
    Make successors for the keys that sign. Each takes over once every server shows it in DNS and its soak is over.

    domain
        One domain; all domains, if left out.
    force
        Make a successor even where one is already waiting.

    CLI Example:

    .. code-block:: bash

        salt mx1 dkim.rotate example.com
    """
    return _advance(lambda run: {"also": _domains(run, domain), "force": force})


@arguments.read(CommandExecutionError, domain=arguments.domain, selector=arguments.text)
def revoke(domain, selector):
    """
    Give up a key whose private half may be known to others. A successor is made at once and needs no soak. As soon as
    the successor signs, the old key's record is due to be revoked, without retention.

    domain
        The domain.
    selector
        The key's selector.

    CLI Example:

    .. code-block:: bash

        salt mx1 dkim.revoke example.com 20261124-mx1
    """

    def give_up(run):
        (name,) = _domains(run, domain)
        dkim_advance.give_up(run, name, selector)
        return {"also": [name]}

    return _advance(give_up)


@arguments.read(CommandExecutionError, domain=arguments.domain)
def rollback(domain):
    """
    Sign again with the key that signed before the present one. DNS must still show it.

    domain
        The domain.

    CLI Example:

    .. code-block:: bash

        salt mx1 dkim.rollback example.com
    """

    def go_back(run):
        (name,) = _domains(run, domain)
        dkim_advance.check_can_go_back(run, name)
        return {"instead": [name]}

    return _advance(go_back)


@arguments.read(CommandExecutionError, names=arguments.texts)
def wanted(names):
    """
    Return key records of this host in the form that the publisher should publish. :py:func:`announce` puts this
    function into the mine.

    names
        The records' names, a list.

    CLI Example:

    .. code-block:: bash

        salt mx1 dkim.wanted '[20261124-mx1._domainkey.example.com]'
    """
    run, _ = _begin(test=True)
    try:
        return central_keys.rows(run, names, postfix_queue.oldest_for)
    except MailserverError as err:
        raise CommandExecutionError(str(err)) from err


@arguments.read(CommandExecutionError, names=arguments.texts)
def announce(names):
    """
    Put key records into Salt's mine, where only the publisher may read them, and tell the master that they are waiting.

    names
        The records' names, a list. If it is empty, nothing is waiting any more, and the master is not notified.

    Returns whether the minion passed it on. With ``mailserver:dns:publish: central`` each run does this by itself.

    CLI Example:

    .. code-block:: bash

        salt mx1 dkim.announce '[20261124-mx1._domainkey.example.com]'
    """
    central = _settings()["dns"]["central"]
    return central_keys.ask_publisher(__salt__, central, central_keys.MINE, "dkim.wanted", names, central_keys.EVENT)


@arguments.read(
    CommandExecutionError,
    minion=arguments.text,
    domains=arguments.texts,
    zones=arguments.texts,
)
def publish_for(minion, domains, zones=()):
    """
    Publish the key records that another minion put into the mine, with this host's credential (``dns:rfc2136``).

    minion
        Its id.
    domains
        The domains whose records it may have published. The orchestration ``mailserver.publisher.orchestrate``
        takes them from the pillar that the master gives that minion.
    zones
        Zones, or names in them, that aliases (CNAME) of these domains' keys may also point into: that pillar's
        ``dns:alias_zones``.

    Returns the names that were ``sent`` and those that DNS showed ``already``, and a sentence for each record that was
    ``refused`` or whose outcome is ``unknown``; with either of these the return code is not 0. This host remembers for
    which minion it published a key: no other minion can have it replaced. While one call for a minion works and another
    waits, a third returns at once and leaves the work to that one (``later``).

    CLI Example:

    .. code-block:: bash

        salt ns1 dkim.publish_for mx1 '[example.com]'
    """
    path = owners.path_of(__opts__.get("mailserver.published", remembered.FOLDER))
    try:
        with owners.turn(path.parent, str(minion)) as is_ours:
            return _publish_for(str(minion), domains, zones, path) if is_ours else dict(owners.LATER)
    except MailserverError as err:
        raise CommandExecutionError(str(err)) from err


def _publish_for(minion, domains, zones, path):
    given = __salt__["mine.get"](minion, central_keys.MINE, tgt_type="list").get(minion)
    if given is None:
        raise CommandExecutionError(
            f"dkim.publish_for: {minion} has nothing in the mine that this minion may read. Does its pillar say "
            "mailserver:dns:publish: central, and does mailserver:dns:central:publisher match this minion?"
        )
    dns = __salt__["mailserver.settings"]()["dns"]
    allowed = central_keys.domains_of(domains), central_keys.domains_of(zones, underscores=True)
    told = central_keys.publish_rows(given, allowed[0], dns, minion, allowed[1], path)
    if told["refused"] or told["unknown"]:
        __context__["retcode"] = 2
    return wording.told(told)


def believe_clock():
    """
    Trust this host's clock from now on, because it is right. All work on keys goes by it again.

    If the clock is ahead of the last time that was witnessed, soaks and retentions under way start again. If it is
    behind, stamps that now lie in the future are set to now. So neither period gets shorter. Returns the time (ISO
    8601, UTC).

    CLI Example:

    .. code-block:: bash

        salt mx1 dkim.believe_clock
    """
    paths = dkim_run.paths_of(_settings())
    try:
        with safe_files.locked(paths.keys):
            return trusted_clock.iso_time(dkim_clock.believe_clock(paths.keys))
    except MailserverError as err:
        raise CommandExecutionError(str(err)) from err


def _settings():
    """Return the settings that the last highstate activated; a minion option may name another file for them."""
    try:
        return dkim_run.applied_settings(__opts__.get("mailserver.dkim_settings", dkim_run.APPLIED))
    except MailserverError as err:
        raise CommandExecutionError(str(err)) from err


def _begin(test, settings=None):
    """Return this host's :class:`mailhost.dkim.run.Run` and :class:`mailhost.dkim.advance.SigningHost`."""
    settings = settings or _settings()
    socket, service = settings["opendkim"]["socket"], settings["os"]["opendkim"]["service"]
    try:
        paths = dkim_run.paths_of(settings)
        run = dkim_run.begin(paths, settings["domains"], settings["dns"], test, memory.seen_wrong)
    except MailserverError as err:
        raise CommandExecutionError(str(err)) from err
    host = dkim_advance.SigningHost(
        settings["hostname"],
        lambda: opendkim_daemon.reload_service(service),
        lambda *which, **more: probe.probe(socket, *which, **more),
        postfix_queue.oldest_for,
        announce,
    )
    return run, host


def _advance(prepare=lambda run: {}):
    """Do a whole run. ``prepare`` is called with the run first; it returns further arguments for
    :func:`mailhost.dkim.advance.advance`.
    """
    settings = _settings()
    try:
        with safe_files.locked(dkim_run.paths_of(settings).keys):
            run, host = _begin(test=False, settings=settings)
            return _told(run, dkim_advance.advance(run, host, **prepare(run)))
    except (MailserverError, OSError) as err:
        raise CommandExecutionError(str(err)) from err


def _told(run, report):
    """Return what a run reported as data, and set the call's return code if there were errors."""
    if report.errors:
        __context__["retcode"] = 2
    return {
        "changes": report.changes,
        "notes": dkim_report.brief(report.notes),
        "waiting": [*run.warnings, *dkim_report.brief(report.whole(report.waiting))],
        "errors": dkim_report.brief(report.whole(report.errors)),
    }


def _domains(run, domain):
    """Return the given domain in a list, or all domains that this host signs for."""
    if domain is None:
        return list(run.wanted)
    if domain not in run.wanted:
        known = ", ".join(run.wanted) or "none"
        raise CommandExecutionError(f"{domain} is not among the domains that this host signs for: {known}")
    return [domain]
