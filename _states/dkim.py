"""
DKIM keys: make them, check them in DNS, and only then sign with them. One state handles all domains of a host.
"""
# ruff: noqa: E402 (an upgrade may have left outdated modules in memory, to be dropped before they are imported)

import contextlib
import os

import mailhost

mailhost.drop_outdated()

from mailhost import files as safe_files
from mailhost import summary
from mailhost.daemons import opendkim as opendkim_daemon
from mailhost.dkim import advance as dkim_advance
from mailhost.dkim import check as dkim_check
from mailhost.dkim import folders as key_folders
from mailhost.dkim import keystore
from mailhost.dkim import make as dkim_make
from mailhost.dkim import report as dkim_report
from mailhost.dkim import run as dkim_run
from mailhost.dkim import settled as dkim_settled
from mailhost.dkim import sign as dkim_sign
from mailhost.errors import KeyFileError, MailserverError
from mailhost.opendkim import probe
from mailhost.opendkim import tables as opendkim_tables
from mailhost.postfix import queue as postfix_queue
from mailhost.scale import garbage, packing
from mailhost.takeover import plan as takeover_plan
from mailhost.takeover import run as takeover_run
from mailhost.watch import memory

__virtualname__ = "dkim"


def __virtual__():
    return __virtualname__


def found(name, domains, opendkim, hostname, addresses, paths):
    """
    Check the OpenDKIM configuration found on the host, and fail if mail that it signs would not be signed the same way.

    name
        Path of opendkim.conf. If it is the formula's own, nothing more is checked.
    domains
        The settings of the domains, as for :py:func:`managed`.
    opendkim
        The settings of the pillar section ``opendkim``.
    hostname, addresses
        The host's name and addresses. OpenDKIM signs mail from them as its own.
    paths
        The parameters of the system for OpenDKIM: ``keys``, ``key_table``, ``signing_table``, ``user``, ``group``,
        ``service``.

    Nothing is changed. Under ``test=True`` it fails in the same way.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "No signature would be lost"}
    try:
        outlook = takeover_run.checked(_outlook(name, domains, opendkim, hostname, addresses, paths))
    except (MailserverError, OSError) as err:
        return {**ret, "result": False, "comment": str(err)}
    return {**ret, "comment": "\n".join(outlook.plan.notes) or ret["comment"]} if outlook else ret


def taken_over(name, domains, opendkim, hostname, addresses, paths):
    """
    Copy the keys that a hand-made OpenDKIM configuration signs with to the formula's folder, and name them in the
    formula's tables. The files that were found stay in place, and OpenDKIM uses them until its configuration is
    replaced.

    name, domains, opendkim, hostname, addresses, paths
        As for :py:func:`found`.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "There is nothing to take over"}
    signing_paths, test = _paths_in(paths, domains), __opts__["test"]
    try:
        outlook = takeover_run.checked(_outlook(name, domains, opendkim, hostname, addresses, paths))
        if not outlook:
            return ret
        changes, notes = takeover_run.report(outlook, signing_paths, test)
        if test:
            __context__["dkim.takeover"] = takeover_run.signers_of(outlook.plan, signing_paths.keys)
        elif changes:
            with safe_files.locked(signing_paths.keys):
                takeover_run.act(outlook, signing_paths)
    except (MailserverError, OSError) as err:
        return {**ret, "result": False, "comment": str(err)}
    result = None if test and changes else True
    return {**ret, "result": result, "changes": changes, "comment": "\n".join(notes) or ret["comment"]}


def _outlook(config, domains, opendkim, hostname, addresses, paths):
    domains = packing.unpacked(domains)
    host = takeover_plan.WantedHost(domains, opendkim, hostname, tuple(addresses), paths["keys"])
    words = opendkim_daemon.words_of(paths["service"])
    return takeover_run.survey(config, host, _paths_in(paths, domains), words)


def _paths_in(paths, domains):
    return _paths(paths["keys"], paths["key_table"], paths["signing_table"], domains, paths["user"], paths["group"])


def tables(name, signing_table):
    """
    Make OpenDKIM's tables where they do not exist yet: OpenDKIM does not start without them. Who signs is not changed.

    name
        Path of the KeyTable.
    signing_table
        Path of the SigningTable with patterns. The one with bare domains lies beside it, with ``.domains`` added.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "The tables exist"}
    paths = opendkim_tables.tables(name, signing_table)
    missing = [str(path) for path in opendkim_tables.missing_tables(paths)]
    if not missing:
        return ret
    ret["changes"] = {path: {"old": "absent", "new": "present"} for path in missing}
    if __opts__["test"]:
        return {**ret, "result": None, "comment": f"These tables would be made: {', '.join(missing)}"}
    try:
        opendkim_tables.ensure_tables(paths)
    except MailserverError as err:
        return {**ret, "result": False, "changes": {}, "comment": f"The tables could not be made: {err}"}
    return {**ret, "comment": f"These tables were made: {', '.join(missing)}"}


def folders(name, user="opendkim", group="opendkim"):
    """
    Make root the owner of the key folder and of the domains' folders in it. OpenDKIM only reads there.

    name
        The folder of the keys.
    user, group
        The user and group that OpenDKIM runs as.

    A folder that another user could write to is checked first. The state fails if it holds what only an intruder would
    put there (a link, a FIFO, another user's file, a list of keys that root did not write). The folder then stays as it
    was.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "The folders are root's"}
    test = __opts__["test"]
    if not os.path.lexists(name):
        return {**ret, "comment": "There are no keys yet; the first one makes the folder"}
    try:
        owner = keystore.Owner(user, group)
        lock = contextlib.nullcontext() if test else safe_files.locked(name)
        with lock:
            ret["changes"], troubles = key_folders.settle(name, owner, test)
    except KeyFileError as err:
        # Before OpenDKIM's package is installed there is no such user.
        return {**ret, "result": None if test else False, "comment": str(err)}
    except (MailserverError, OSError) as err:
        return {**ret, "result": False, "comment": str(err)}
    if troubles:
        return {**ret, "result": False, "comment": "\n".join(troubles.values())}
    if test and ret["changes"]:
        return {**ret, "result": None, "comment": "These folders would become root's, and OpenDKIM's group may pass"}
    if ret["changes"]:
        ret["comment"] = "These folders are root's now, and OpenDKIM's group may pass"
    return ret


def managed(name, domains, host, key_table, signing_table, user="opendkim", group="opendkim"):
    """
    Make a key for each domain that has none or whose key is due for rotation; set owner and mode of the others.

    name
        The folder of the keys, with a folder for each domain.
    domains
        The settings of the domains (``mailserver.settings``), with defaults filled in: a mapping, or JSON text
        (``mailserver.packed``), since YAML is slow with thousands of them.
    host
        The host's name, used in selectors.
    key_table, signing_table
        Paths of OpenDKIM's tables. A key that they already name is taken over.
    user, group
        The user and group that OpenDKIM runs as.

    Nothing signs with a new key; see :py:func:`published` and :py:func:`signing`.
    """
    paths = _paths(name, key_table, signing_table, domains, user, group)
    __context__.pop("dkim.planned", None)
    return _act(
        paths,
        domains,
        {},
        "Every domain has its key",
        lambda run: dkim_make.make_keys(run, host, survey=_survey(run, domains, begins=True)),
    )


def published(name, domains, dns, key_table, signing_table, host=None, user="opendkim", group="opendkim"):
    """
    Check every key in DNS. A key that is not there yet is a warning with the record to publish, not a failure.

    name, domains, key_table, signing_table
        As for :py:func:`managed`.
    dns
        The settings of the pillar section ``dns``.
    host, user, group
        As for :py:func:`managed`: a key that is lost because of what DNS shows gets a successor at once. Without
        ``host``, the next run makes the successor.

    Every authoritative server is asked at each of its addresses. The state fails if a key that signs is not in DNS, or
    if a key has been waited for longer than ``publish_deadline`` (with ``strict``: at once). A retired key is revoked
    when its retention is over and the mail queue holds no message from the time when it signed.
    """
    paths = _paths(name, key_table, signing_table, domains, user, group)

    def check_in_dns(run):
        publish = dkim_check.publisher(run, __salt__["dkim.announce"])
        survey, oldest = _survey(run, domains), postfix_queue.oldest_for
        if host is None:
            return dkim_check.check_published(run, oldest, publish, survey=survey)
        report, survey = dkim_advance.check_in_dns(run, host, oldest, publish, False, survey)
        __context__["dkim.survey"] = ((run.top, domains), survey)
        return report

    return _act(paths, domains, dns, "DNS shows every key", check_in_dns)


def signing(
    name, domains, dns, key_table, signing_table, socket, service="opendkim", user="opendkim", group="opendkim"
):
    """
    Make OpenDKIM sign with each key that DNS shows, and stop signing for domains that are not in the pillar.

    name, domains, dns, key_table, signing_table, user, group
        As for :py:func:`published`.
    socket
        The milter's socket (``inet:8891@127.0.0.1``).
    service
        OpenDKIM's unit.

    The tables are changed and OpenDKIM is reloaded. A probe message of each domain must then come back signed by the
    new key and verified by dkimpy. A domain for which it does not is rolled back to the key that signed before.
    """
    paths = _paths(name, key_table, signing_table, domains, user, group)
    return _act(
        paths,
        domains,
        dns,
        "Who signs is as it should be",
        lambda run: dkim_sign.sign(
            run,
            lambda: opendkim_daemon.reload_service(service),
            lambda *which, **more: probe.probe(socket, *which, **more),
            survey=_survey(run, domains),
        ),
    )


def _paths(keys, key_table, signing_table, domains, user="opendkim", group="opendkim"):
    foreseen = __context__.get("dkim.takeover") if __opts__["test"] else None
    domains = packing.unpacked(domains)
    its_tables = opendkim_tables.tables(key_table, signing_table, domains, foreseen)
    return dkim_run.SigningPaths(keys, its_tables, keystore.Owner(user, group))


def _survey(run, domains, begins=False):
    """Return the survey of the domains' files that the first DKIM state of a highstate took, or take it.

    Changes made between two of its states are seen by the next run; a run takes seconds.
    """
    taken_of, survey = __context__.get("dkim.survey", (None, None))
    if begins or taken_of != (run.top, domains):
        survey = dkim_settled.Survey(run, thorough=begins)
        __context__["dkim.survey"] = ((run.top, domains), survey)
    return survey


def _act(paths, domains, dns, nothing_to_do, act):
    """Do one part of the life cycle, and return its report as a state return."""
    ret = {"name": paths.keys, "result": True, "changes": {}, "comment": ""}
    domains, test = packing.unpacked(domains), __opts__["test"]
    try:
        # The lock is a file, and a dry run makes none.
        lock = contextlib.nullcontext() if test else safe_files.locked(paths.keys)
        with lock, garbage.kept():
            # In a dry run each state takes into account what the states before it would have done.
            planned = __context__.setdefault("dkim.planned", dkim_run.Planned()) if test else None
            run = dkim_run.begin(paths, domains, dns, test, memory.seen_wrong, planned)
            report = act(run)
    except (MailserverError, OSError) as err:
        return {**ret, "result": False, "comment": str(err)}
    ret["changes"] = report.changes
    if report.errors:
        ret["result"] = False
    elif test and report.changes:
        ret["result"] = None
    errors, waiting = report.errors, [*run.warnings, *report.waiting]
    # Salt's highstate output wraps warnings, which would break records. They are in the summary, once, ready to copy.
    if summary.follows(__lowstate__, __running__):
        summary.note(__context__, report.todo, report.soaking)
    else:
        errors, waiting = report.whole(errors), report.whole(waiting)
    if waiting:
        ret["warnings"] = [text.partition("\n")[0] for text in dkim_report.brief(waiting)]
    told = [text for texts in (errors, waiting, report.notes) for text in dkim_report.brief(texts)]
    ret["comment"] = "\n".join(told) or nothing_to_do
    return ret
