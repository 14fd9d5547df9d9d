"""
DKIM keys: made, looked for in DNS, and only then signed with. One state handles all domains of a host.
"""
# ruff: noqa: E402 (an upgrade may have left outdated modules in memory, to be dropped before they are imported)

import contextlib

import mailserver_reload

mailserver_reload.drop_outdated()

import mailserver_garbage
import mailserver_keygen
import mailserver_keystore
import mailserver_lifecycle
import mailserver_milter
import mailserver_opendkim
import mailserver_opendkim_daemon
import mailserver_packing
import mailserver_propagation
import mailserver_queue
import mailserver_run
import mailserver_settled
import mailserver_signing
from mailserver_errors import MailserverError

__virtualname__ = "dkim"


def __virtual__():
    return __virtualname__


def tables(name, signing_table):
    """
    Make OpenDKIM's tables where they do not exist yet, without which it does not start; who signs is not changed.

    name
        Path of the KeyTable.
    signing_table
        Path of the SigningTable with patterns; the one with bare domains is beside it, ``.domains`` added.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "The tables exist"}
    paths = mailserver_opendkim.tables(name, signing_table)
    missing = [str(path) for path in mailserver_opendkim.missing_tables(paths)]
    if not missing:
        return ret
    ret["changes"] = {path: {"old": "absent", "new": "present"} for path in missing}
    if __opts__["test"]:
        return {**ret, "result": None, "comment": f"These tables would be made: {', '.join(missing)}"}
    try:
        mailserver_opendkim.ensure_tables(paths)
    except MailserverError as err:
        return {**ret, "result": False, "changes": {}, "comment": f"The tables could not be made: {err}"}
    return {**ret, "comment": f"These tables were made: {', '.join(missing)}"}


def managed(name, domains, host, key_table, signing_table, user="opendkim", group="opendkim"):
    """
    Make a key for each domain that has none, or whose key has served its time; settle owner and mode of the others.

    name
        The folder of the keys, with a folder for each domain.
    domains
        The settings of the domains (``mailserver.settings``), with defaults filled in; as a mapping or, since YAML
        takes long over thousands of them, as JSON text (``mailserver.packed``).
    host
        The host's name, for selectors.
    key_table, signing_table
        Paths of OpenDKIM's tables: a key that they name already is taken over.
    user, group
        Who OpenDKIM runs as.

    Nothing signs with a new key; see :py:func:`published` and :py:func:`signing`.
    """
    place = _place(name, key_table, signing_table, user, group)
    return _act(
        place,
        domains,
        {},
        "Every domain has its key",
        lambda run: mailserver_keygen.make_keys(run, host, look=_look(run, domains, begins=True)),
    )


def published(name, domains, dns, key_table, signing_table, host=None, user="opendkim", group="opendkim"):
    """
    Look for every key in DNS. A key that is not there yet is a warning with the record to publish, and no failure.

    name, domains, key_table, signing_table
        As for :py:func:`managed`.
    dns
        The settings of the pillar section ``dns``.
    host, user, group
        As for :py:func:`managed`: a key that is lost by what DNS shows gets a successor at once. Without ``host``, it
        is the next run that makes it.

    Every authoritative server is asked at each of its addresses. The state fails when a key that signs is not in DNS,
    and when one has been waited for longer than ``publish_deadline`` (with ``strict``: at once). A retired key is
    revoked when its retention is over and the mail queue holds no message from its time.
    """
    place = _place(name, key_table, signing_table, user, group)

    def look_in_dns(run):
        publish = mailserver_propagation.publisher(run, __salt__["dkim.announce"])
        look, oldest = _look(run, domains), mailserver_queue.oldest_for
        if host is None:
            return mailserver_propagation.check_published(run, oldest, publish, look=look)
        report, look = mailserver_lifecycle.look_in_dns(run, host, oldest, publish, False, look)
        __context__["dkim.look"] = ((run.top, domains), look)
        return report

    return _act(place, domains, dns, "DNS shows every key", look_in_dns)


def signing(name, domains, dns, key_table, signing_table, socket, service="opendkim"):
    """
    Have OpenDKIM sign with each key that DNS shows, and no longer for domains that are not in the pillar.

    name, domains, dns, key_table, signing_table
        As for :py:func:`published`.
    socket
        The milter's socket (``inet:8891@127.0.0.1``).
    service
        OpenDKIM's unit.

    The tables are changed, OpenDKIM is reloaded, and a probe message of each domain has to come back signed by the new
    key and verified by dkimpy; a domain for which it does not goes back to the key that signed before.
    """
    place = _place(name, key_table, signing_table)
    return _act(
        place,
        domains,
        dns,
        "Who signs is as it should be",
        lambda run: mailserver_signing.sign(
            run,
            lambda: mailserver_opendkim_daemon.reload_service(service),
            lambda domain, selector, record: mailserver_milter.probe(socket, domain, selector, record),
            look=_look(run, domains),
        ),
    )


def _place(keys, key_table, signing_table, user="opendkim", group="opendkim"):
    paths = mailserver_opendkim.tables(key_table, signing_table)
    return mailserver_run.Place(keys, paths, mailserver_keystore.Owner(user, group))


def _look(run, domains, begins=False):
    """Return the look at the domains' files that the first of a highstate's DKIM states took, or take it.

    What changes between two of its states, the next run sees; a run is a matter of seconds.
    """
    taken_of, look = __context__.get("dkim.look", (None, None))
    if begins or taken_of != (run.top, domains):
        look = mailserver_settled.Look(run, thorough=begins)
        __context__["dkim.look"] = ((run.top, domains), look)
    return look


def _act(place, domains, dns, nothing_to_do, act):
    """Do a part of the life cycle, and return its report as a state does."""
    ret = {"name": place.keys, "result": True, "changes": {}, "comment": ""}
    domains, test = mailserver_packing.unpacked(domains), __opts__["test"]
    try:
        # The lock is a file, and a dry run makes none.
        lock = contextlib.nullcontext() if test else mailserver_keystore.locked(place.keys)
        with lock, mailserver_garbage.kept():
            run = mailserver_run.begin(place, domains, dns, test)
            report = act(run)
    except (MailserverError, OSError) as err:
        return {**ret, "result": False, "comment": str(err)}
    ret["changes"] = report.changes
    if report.errors:
        ret["result"] = False
    elif test and report.changes:
        ret["result"] = None
    warnings = [*run.warnings, *mailserver_run.brief(report.waiting)]
    if warnings:
        ret["warnings"] = warnings
    # Salt's highstate output wraps warnings, which breaks records; the comment has the lines as they are to be copied.
    told = [*mailserver_run.brief(report.errors), *warnings, *mailserver_run.brief(report.notes)]
    ret["comment"] = "\n".join(told) or nothing_to_do
    return ret
