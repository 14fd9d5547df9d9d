"""
What a mail host needs beside its daemons' files: activating them safely, the firewall's mail ports, records in DNS.
"""
# ruff: noqa: E402 (an upgrade may have left outdated modules in memory, to be dropped before they are imported)

import contextlib
import json
import os
import sys
import tempfile
from functools import partial

import salt.utils.dictupdate
from salt.exceptions import CommandExecutionError

import mailhost

mailhost.drop_outdated()

from mailhost import summary as run_summary
from mailhost.before import found as before_found
from mailhost.before import given_back as before_given_back
from mailhost.before import leaving, originals, packages
from mailhost.before import lost as before_lost
from mailhost.before import shut as before_shut
from mailhost.command import run_command
from mailhost.daemons import activation as daemons_activation
from mailhost.daemons import daemon as mail_daemon
from mailhost.daemons import firewall as daemons_firewall
from mailhost.daemons import milter_action
from mailhost.daemons import opendkim as opendkim_daemon
from mailhost.daemons import services as daemons_services
from mailhost.dns import lookup
from mailhost.errors import MailserverError, MissingPackage, PackagesError
from mailhost.records import addresses
from mailhost.records import wants as records_wants
from mailhost.scale import packing
from mailhost.scale import turns as scale_turns
from mailhost.selftest import delivery as selftest_delivery
from mailhost.tls import acme as tls_acme
from mailhost.tls import certificate as certificates
from mailhost.watch import memory

__virtualname__ = "mailserver"


def __virtual__():
    return __virtualname__


def summary(name):
    """
    Say what the formula's states in this run did, and what is to be done now. It is the last state of a run.

    name
        A name for the report.

    The comment lists what failed; each record that people must publish or remove, ready to copy; what waits; all other
    warnings; and what changed, a line a component. The state itself changes nothing. If the run changed something, it
    returns how many states did, so that ``--state-output=changes`` shows the comment.
    """
    states, found, test = run_summary.done(__running__), run_summary.noted(__context__), __opts__["test"]
    changed = run_summary.changed(states)
    ret = {"name": name, "result": True, "changes": {}, "comment": run_summary.text(states, found, test)}
    if changed:
        ret.update(result=None if test else True, changes={"states": len(changed)})
    elif found.todo:
        ret["warnings"] = [_told_briefly(ret["comment"], len(found.todo))]
    return ret


def _told_briefly(comment, count):
    """Return the warning of a summary whose comment the run's output may not show, since nothing changed.

    Of ``--state-output``, only ``full`` shows the comment, and wraps warnings; the others print warnings as they are.
    Only ``salt-call`` tells a state which of them it uses.
    """
    mode = str(__opts__.get("state_output", "full"))
    if __opts__.get("__cli") == "salt-call" and not mode.startswith(("full", "filter")):
        return f"{comment}\n"
    what = "1 record is" if count == 1 else f"{count:,} records are"
    return f"{what} not in DNS as wanted; what to publish: --state-output=full, or salt-call mailserver.records"


def staged(name, **file):
    """
    Write a file of a daemon's configuration to its staging path; :py:func:`activated` then puts it in place.

    name
        The path of the file in place. The changes shown are the differences from that file.

    All other arguments are those of ``file.managed``. A dry run compares with the file in place and writes nothing.
    """
    is_foreign = os.path.exists(name) and not originals.is_ours(name)
    if __opts__["test"]:
        return _without_foreign(__states__["file.managed"](name, **file), is_foreign)
    try:
        staged = str(daemons_activation.stage(name))
    except (MailserverError, OSError) as err:
        return {"name": name, "result": False, "changes": {}, "comment": f"{name} could not be staged: {err}"}
    ret = __states__["file.managed"](staged, **file)
    return _without_foreign({**ret, "name": name, "comment": str(ret["comment"]).replace(staged, name)}, is_foreign)


def _without_foreign(ret, is_foreign):
    """Return a state's return without the difference from a file of somebody else's, hundreds of lines that nobody
    chose for this host: what the operator chose in it, other states list (:py:func:`lost_settings`)."""
    if is_foreign and "diff" in ret["changes"]:
        ret["changes"] = {**ret["changes"], "diff": "replaces the host's own file, of which a copy is kept"}
    return ret


def activated(
    name,
    service,
    files,
    check="",
    reload="",
    restart_for=None,
    settings=None,
    sockets=(),
    log="",
    recipient="",
    certificate="",
    key="",
    main_cf="",
    milter_of="",
    delivery=None,
):
    """
    Activate a daemon's staged files (:py:func:`staged`), or roll back to the files that it had.

    name
        The daemon: ``postfix``.
    service
        Its systemd unit.
    files
        The files that make up its configuration.
    check
        The command of its own parser; ``{staged}`` is the folder that holds the staged files under their full paths.
    reload
        The command that makes it read its files again.
    restart_for
        For each file the settings for which a reload is not enough, or ``true`` for all of them.
    settings
        ``hostname``, ``addresses``, ``postfix`` and ``dovecot`` of the host's settings, as a mapping or as JSON text:
        they say where Postfix or Dovecot must answer.
    sockets
        Other addresses and ports where it must listen: ``inet:8891@127.0.0.1``, ``443``, ``[::]:443``.
    log
        A log file that it writes in addition to the journal.
    recipient
        An address that it must accept mail for.
    certificate, key
        Files of a certificate and its key that it serves.
    main_cf
        The path of a main.cf that names such pairs.
    milter_of
        The folder of the Postfix that uses it as a milter: mail waits while it is restarted, whatever main.cf says.
    delivery
        The host's setting of that name, as a mapping or as JSON text: Postfix must then deliver test messages of the
        formula, and Dovecot must store one.

    First the staged files are checked, also for what parsers overlook (a certificate without its key, a port that
    another daemon uses). Only then are all files put in place at once. The daemon must then stay active, answer on
    every port (greeting, TLS, a recipient), log nothing fatal, and deliver. Otherwise the former files are put back,
    and the state fails with the daemon's own message.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": f"{name} serves with the configuration as it is"}
    configuration = daemons_activation.Configuration(name, tuple(files), restart_for or {})
    if __opts__["test"]:
        if daemons_activation.is_cut_short(configuration):
            ret.update(result=None, comment=f"A change of {name}'s configuration was cut short, and would be completed")
        return ret
    try:
        pair = (certificate, key) if certificate else ()
        own = {"unit": service, "check": check, "reload": reload, "log": log, "main_cf": main_cf, "pair": pair}
        daemon = _daemon(configuration, settings, sockets, recipient, delivery, **own)
        with _mail_waiting(configuration, milter_of):
            outcome = daemons_activation.activate(configuration, daemon)
    except MailserverError as err:
        return {**ret, "result": False, "comment": str(err), "skip_watch": True}
    if outcome.how:
        ret["changes"] = dict.fromkeys(outcome.changed, "put in force")
        said = [f"{name} was {outcome.how}, and serves with the new configuration", *daemon.notes]
        ret["comment"] = "\n".join(said)
    return ret


def _data(given):
    """Return a state's argument as data: it is given as such or as JSON text."""
    return json.loads(given) if isinstance(given, str) else given


def _mail_waiting(configuration, folder):
    if not folder or not daemons_activation.is_to_change(configuration):
        return contextlib.nullcontext()
    return milter_action.waiting(milter_action.PostfixInstance(folder))


def _daemon(configuration, settings, sockets, recipient, delivery, **own):
    settings, name = _data(settings), configuration.name
    asked = daemons_services.services(settings) if settings else ()
    return mail_daemon.Daemon(
        services=tuple(one for one in asked if one.unit == name),
        sockets=tuple(map(mail_daemon.address_of_socket, sockets)),
        # Until a first change has been seen to serve, the tables of recipients may be missing.
        recipient=recipient if daemons_activation.has_served(configuration) else "",
        flow=_flow(name, delivery, configuration),
        **own,
    )


def _flow(name, delivery, configuration):
    """Return the function that checks whether mail arrives (:class:`mailhost.daemons.daemon.Daemon`), or ``None``."""
    plan = _data(delivery)
    if not plan:
        return None
    if name == "dovecot":

        def stored():
            wrong = selftest_delivery.stored(plan)
            return {"stored": wrong} if wrong else {}, []

        return stored if any(one["virtual"] for one in plan["places"]) else None

    def delivered():
        # In a first run the aliases do not exist yet.
        rows = selftest_delivery.Delivery(plan).check(aliases=daemons_activation.has_served(configuration))
        return selftest_delivery.problems(rows), selftest_delivery.notes(rows)

    return delivered


def delivered(name, delivery):
    """
    Send test messages of the formula all the way, and check that they arrive where IMAP shows them.

    name
        A name for what is checked.
    delivery
        The host's setting of that name, as a mapping or as JSON text.

    They go to a user, an alias, a name that does not exist, and to this host itself as mail for others; nobody receives
    them (:mod:`mailhost.selftest.delivery`). Nothing is rolled back. Run it after changes that no other state checks as
    a whole: the first run, aliases and tables.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "Messages would be sent, to see that mail flows"}
    if __opts__["test"]:
        return ret
    plan = _data(delivery)
    try:
        rows = selftest_delivery.Delivery(plan).check(mailboxes=True)
    except MailserverError as err:
        return {**ret, "result": False, "comment": str(err)}
    wrong = selftest_delivery.problems(rows)
    if wrong:
        return {**ret, "result": False, "comment": "\n".join(wrong.values())}
    if unknown := selftest_delivery.notes(rows):
        ret["warnings"] = unknown
    return {**ret, "comment": "\n".join(["Mail flows:", *map(str, rows)])}


def mod_watch(name, sfun=None, **kwargs):
    """
    In a dry run, report that the staged configuration would be activated.
    """
    if sfun == "activated" and __opts__["test"]:
        comment = f"{name}: the new configuration would be checked, activated and seen to serve, or rolled back"
        return {"name": name, "result": None, "changes": {"configuration": "would be activated"}, "comment": comment}
    return {"name": name, "result": True, "changes": {}, "comment": f"{name} serves with the configuration as it is"}


def command(name, done):
    """
    Run a shell command, unless another command says that there is nothing to do.

    name
        The command.
    done
        A command that succeeds if there is nothing to do.

    This is ``cmd.run`` with ``unless``. For ``unless``, ``onlyif`` and ``creates`` Salt 3008 loads all its modules,
    which takes longer than the rest of a run without changes.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "There is nothing to do"}
    if __salt__["cmd.retcode"](done, python_shell=True, ignore_retcode=True) == 0:
        return ret
    if __opts__["test"]:
        return {**ret, "result": None, "comment": f"This command would be run: {name}"}
    ran = __salt__["cmd.run_all"](name, python_shell=True)
    said = {stream: ran[stream] for stream in ("stdout", "stderr") if ran[stream]}
    if ran["retcode"]:
        words = "\n".join(said.values())
        return {**ret, "result": False, "comment": f"This command failed ({ran['retcode']}): {name}\n{words}".strip()}
    return {**ret, "changes": {"ran": name, **said}, "comment": "The command was run"}


def python_fits(name, packages):
    """
    Check that the Python that runs Salt on this host has the packages that the formula needs, in versions that serve.

    name
        What is checked.
    packages
        Requirements: ``dnspython>=2.6,<3``.

    Nothing is installed: this is for hosts whose packages somebody else looks after (``mailserver:python:install``).
    """
    lacks = __salt__["mailserver.python_lacks"](packages)
    if not lacks:
        return {"name": name, "result": True, "changes": {}, "comment": "All Python packages are there"}
    found = f"{sys.executable} lacks what the formula needs: {'; '.join(lacks)}. "
    remedy = 'Install these there, or set mailserver:python:install to true (README, "Python packages")'
    return {"name": name, "result": False, "changes": {}, "comment": found + remedy}


def packages_noted(name, ended=False):
    """
    Record which packages a run brings to the host, for :py:func:`packages_removed`; nothing else is changed.

    name
        What is recorded.
    ended
        Whether the run has installed its packages. Before that, the packages already present are recorded.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "It is noted which packages this formula brought"}
    if __opts__["test"]:
        return ret
    try:
        note, installed = packages.read(), list(__salt__["pkg.list_pkgs"]())
        if ended:
            new = packages.ended(note, installed)
        else:
            new = packages.begun(note, packages.wanted_by(__lowstate__), installed)
        if new != note:
            packages.write(new)
    except MailserverError as err:
        return {**ret, "result": False, "comment": str(err)}
    return ret


def packages_removed(name, queue):
    """
    Remove the packages that this formula brought, and no others (:py:func:`packages_noted`).

    name
        What is removed.
    queue
        Postfix's queue. If it holds mail, nothing is removed, since the mail would be lost as well.

    If another package needs one of them, or would be installed in its place, none is removed and the state fails.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "No package is left that this formula brought"}
    try:
        names = packages.to_remove(packages.read(), list(__salt__["pkg.list_pkgs"]()))
        if names:
            _may_go(names, queue)
    except MailserverError as err:
        return {**ret, "result": False, "comment": str(err)}
    if not names:
        return ret
    if __opts__["test"]:
        changes = {"removed": names}
        return {**ret, "result": None, "changes": changes, "comment": f"{len(names)} packages would be removed"}
    changes = {}
    for turn in packages.in_turns(names):
        salt.utils.dictupdate.update(changes, __salt__["pkg.purge"](pkgs=turn))
    left = packages.to_remove({"brought": names}, list(__salt__["pkg.list_pkgs"]()))
    if left:
        return {**ret, "result": False, "changes": changes, "comment": f"Not removed: {', '.join(left)}"}
    return {**ret, "changes": changes, "comment": f"{len(names)} packages that this formula brought were removed"}


def _may_go(names, queue):
    waiting = packages.queued(queue) if "postfix" in names else 0
    if waiting:
        raise PackagesError(
            f"{waiting} messages are in Postfix's queue, and would go with its package; no package was removed. Have "
            "them delivered (postqueue -f while it runs), or delete them (postsuper -d ALL), and run this again"
        )
    wrong = packages.in_the_way(names, run_command)
    if wrong:
        raise PackagesError(
            f"no package was removed: {wrong}; keep them (mailserver:clean:packages: false), or take those away first"
        )


def originals_noted(name, files, units, modes=(), zone="", firewall=""):
    """
    Record once how the host was before this formula: its files, units and ports. mailserver.clean restores them.

    name
        What is recorded.
    files
        Paths that the formula replaces. The files that exist now are copied.
    units
        Units that it starts or stops.
    modes
        Folders and files whose owners and modes it changes.
    zone, firewall
        firewalld's zone whose ports are recorded, and its unit; empty where the pillar leaves the firewall alone.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "It is noted how the host was before"}
    try:
        if originals.is_begun():
            return ret
        new = originals.to_note(files, existing=True)
        if __opts__["test"]:
            return {**ret, "comment": "It would be noted how the host was before"}
        upgraded = any(map(originals.is_ours, files))
        originals.keep(files, existing=True, upgraded=upgraded)
        ports = before_given_back.zone_state(zone, firewall) if zone else None
        every = [*units, *([firewall] if firewall else [])]
        states = before_given_back.unit_states(every)
        originals.note_host(states, modes, ports, upgraded)
    except MailserverError as err:
        return {**ret, "result": False, "comment": str(err)}
    return {**ret, "comment": f"{ret['comment']}; kept: {', '.join(new) or 'no file, since there was none'}"}


def originals_kept(name, files):
    """
    Keep a copy of these files as they are before the formula first replaces them (``/var/lib/mailserver/original``).

    name
        Whose files they are.
    files
        Their paths. One that does not exist is recorded as absent.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "The originals are kept"}
    try:
        if __opts__["test"]:
            return ret
        originals.keep(files)
    except MailserverError as err:
        return {**ret, "result": False, "comment": str(err)}
    return ret


def given_back(name, files, unit="", tables=(), modes=False, milter_of=""):
    """
    Restore the files that the host had before this formula, with the unit that reads them stopped.

    name
        Whose files they are.
    files
        Their paths. One that the host did not have is deleted; one that is no longer this formula's is left alone.
    unit
        The unit. If there is nothing to restore, it is not touched.
    tables
        Those of the files that OpenDKIM needs to start. The first of ``files`` is its configuration.
    modes
        Whether owners and modes are restored, too.
    milter_of
        The folder of the Postfix that uses the unit as a milter. If it runs, its mail waits while the unit is stopped.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "Nothing of this formula is left"}
    try:
        stays, why = originals.tables_to_keep(files[0], tables) if tables else ((), "")
        rows = originals.wanted(files, stays=stays)
        if not rows and not originals.is_begun():
            return ret
        ret["changes"] = {path: "removed" if row["kind"] == "absent" else "given back" for path, row in rows.items()}
        if __opts__["test"]:
            return {**ret, "result": None, "comment": "These files would be given back or removed"}
        postfix = milter_action.PostfixInstance(milter_of)
        if milter_of and milter_action.is_running(postfix):
            milter_action.make_wait(postfix)
        if unit:
            stopped = before_given_back.set_unit(unit, {"active": False, "enabled": False})
            ret["changes"].update({unit: "stopped"} if stopped else {})
        originals.keep([path for path in rows if originals.is_ours(path)])
        originals.give_back(rows)
        if modes:
            changed = originals.give_back_modes()
            ret["changes"].update(dict.fromkeys(changed, "owner and mode given back"))
    except (MailserverError, OSError) as err:
        return {**ret, "result": False, "comment": str(err)}
    if why:
        ret["warnings"] = [why]
    return {**ret, "comment": why or "These files were given back or removed"}


def units_given_back(name, units, milter="", firewall=""):
    """
    Make units run, and start at boot, as they did before this formula.

    name
        A name for the units.
    units
        The units, in the order in which they start.
    milter
        OpenDKIM's unit. The units after it start only when it listens; otherwise their mail would bypass it.
    firewall
        firewalld's unit. If it did not run before and the host's own mail daemons run again, it is stopped, since it
        would block them.

    If an earlier version of the formula ran first, their state before is unknown, and they stay stopped.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "The units are as they were"}
    try:
        noted = originals.read()["units"] or {}
        back = {unit: noted[unit] for unit in units if unit in noted}
        if firewall and firewall in noted and not noted[firewall]["active"] and any(o["active"] for o in back.values()):
            back[firewall] = noted[firewall]
        here = before_given_back.unit_states(back)
        differ = {unit: state for unit, state in back.items() if here[unit] != state}
        if __opts__["test"]:
            text = f"As before, would run: {', '.join(unit for unit, state in noted.items() if state['active'])}"
            return {**ret, "result": None, "comment": text} if noted else ret
        run_command(("systemctl", "daemon-reload"))
        for unit, state in differ.items():
            before_given_back.set_unit(unit, state)
            ret["changes"][unit] = " and ".join(key for key, value in state.items() if value) or "stopped"
            if unit == milter and state["active"]:
                opendkim_daemon.wait_until_it_listens(unit)
        originals.forget()
    except MailserverError as err:
        return {**ret, "result": False, "comment": str(err)}
    return ret


def aliases_given_back(name, entries):
    """
    Restore the entries that names in the aliases file had before this formula.

    name
        The file.
    entries
        The names. Where no original is recorded they are removed, except postmaster, which every host needs.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "The aliases are as they were"}
    try:
        present, former = daemons_activation.read_file(name), originals.original(name)
        if present is None:
            return ret
        texts = [one and one.octets.decode("utf-8", "surrogateescape") for one in (former, present)]
        text = before_given_back.aliases_as_they_were(*texts, entries)
        if text == texts[1]:
            return ret
        ret["changes"] = {name: "given back"}
        if __opts__["test"]:
            return {**ret, "result": None, "comment": "The aliases would be as they were"}
        octets = text.encode("utf-8", "surrogateescape")
        daemons_activation.put({name: daemons_activation.File(octets, present.mode, present.uid, present.gid)})
        run_command(("newaliases",))
    except MailserverError as err:
        return {**ret, "result": False, "comment": str(err)}
    return ret


def users_noted(name, users):
    """
    Record which of the pillar's users this formula is about to create; nothing else is changed.

    name
        What is recorded.
    users
        The names of the pillar's users.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "It is noted which users this formula makes"}
    if __opts__["test"]:
        return ret
    try:
        note = leaving.read()
        leaving.write(leaving.with_users(note, users, _has_user))
    except MailserverError as err:
        return {**ret, "result": False, "comment": str(err)}
    return ret


def _has_user(name):
    return bool(__salt__["user.info"](name))


def logins(name, opened=(), locked=()):
    """
    Lock the logins of some users, and unlock those that this state locked before. Mail and homes are not touched.

    name
        Whose logins they are.
    opened
        Users who may log in. A login that somebody else locked stays locked.
    locked
        Users who may not log in: the pillar says so, or they left it and this formula had created them.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "All logins are as they should be"}
    try:
        note = leaving.read()
        locking = leaving.to_lock([one for one in locked if _has_user(one)], leaving.shadow)
        opening = leaving.to_open(note, opened)
        ret["changes"] = {**dict.fromkeys(locking, "locked"), **dict.fromkeys(opening, "opened")}
        if __opts__["test"]:
            return {**ret, "result": None, "comment": _told(ret["changes"], "would be ")} if ret["changes"] else ret
        for verb, names in ((leaving.lock, locking), (leaving.unlock, opening)):
            for one in names:
                note = verb(note, one, leaving.shadow(one), run_command)
                leaving.write(note)
    except (MailserverError, OSError) as err:
        return {**ret, "result": False, "changes": {}, "comment": str(err)}
    return {**ret, "comment": _told(ret["changes"])} if ret["changes"] else ret


def _told(changes, would=""):
    return ", ".join(f"{one} {would}{what}" for one, what in changes.items())


def aliases_left(name, entries):
    """
    Remove from the aliases file the aliases that this formula wrote there and that are no longer in the pillar.

    name
        The file.
    entries
        The pillar's aliases, ``{name: targets}``. They are recorded for the next run.

    An alias that had another entry before this formula gets that entry back. One that somebody changed since then is
    left alone.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "No alias is left that left the pillar"}
    try:
        note, here = leaving.read(), daemons_activation.read_file(name)
        former = originals.original(name)
        present, was = (one and one.octets.decode("utf-8", "surrogateescape") for one in (here, former))
        present, was = (before_given_back.entries(one or "") for one in (present, was))
        left = leaving.left_aliases(note, entries, present)
        ret["changes"] = dict.fromkeys(left, "removed")
        if __opts__["test"]:
            return {**ret, "result": None, "comment": _told(ret["changes"], "would be ")} if left else ret
        note = leaving.with_aliases(note, entries, present, was)
        leaving.write(note)
        text, note = leaving.without_aliases(note, left, present)
        if left:
            octets = text.encode("utf-8", "surrogateescape")
            daemons_activation.put({name: daemons_activation.File(octets, here.mode, here.uid, here.gid)})
        # One that somebody changed by hand since belongs to them now.
        kept = {one: row for one, row in note["aliases"].items() if one in entries}
        leaving.write({**note, "aliases": kept})
    except MailserverError as err:
        return {**ret, "result": False, "changes": {}, "comment": str(err)}
    return {**ret, "comment": _told(ret["changes"])} if left else ret


def lost_settings(name, files):
    """
    List the settings of the host's own configuration that the pillar lacks, before it is replaced; nothing is changed.

    name
        ``postfix``, ``dovecot`` or ``opendkim``.
    files
        Its files, as other states of this run stage them (:py:func:`staged`). The first one shows whose they are: if it
        is this formula's or does not exist, nothing can be lost.

    A setting counts if it differs from the daemon's default and from the new configuration. Each is one line with its
    value (passwords masked), its place, and the pillar key that keeps it.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": f"No settings of {name}'s are to be lost"}
    if not before_found.text(files[0]) or originals.is_ours(files[0]):
        return ret
    with tempfile.TemporaryDirectory() as folder:
        try:
            for path in files:
                _render(path, os.path.join(folder, os.path.basename(path)))
            found = _FOUND[name](files, folder)
        except (OSError, ValueError, CommandExecutionError) as err:
            return {**ret, "warnings": [f"What {files[0]} says could not be compared with the pillar: {err}"]}
    return _lost(ret, found, f"{name}'s")


_FOUND = {
    "postfix": lambda files, folder: before_found.postfix(os.path.dirname(files[0]), folder),
    "dovecot": lambda files, folder: before_found.dovecot(os.path.dirname(files[0]), folder),
    "opendkim": lambda files, folder: before_found.opendkim(files[0], folder, files[-1]),
}


def _lost(ret, found, what):
    told = before_lost.report(found, what)
    if told:
        ret["comment"] = told
        ret["warnings"] = [f"{len(found)} settings of {what} are not in the pillar; this state's comment lists them"]
    return ret


_RENDERED = {"template": "template", "context": "context", "saltenv": "__env__"}


def _render(path, target):
    """Write a staged file, as the state of this run will write it, to another path."""
    for one in __lowstate__:
        if (one.get("state"), one.get("fun"), one.get("name")) == ("mailserver", "staged", path):
            wanted = {name: one.get(key) for name, key in _RENDERED.items() if one.get(key)}
            if not __salt__["cp.get_template"](one["source"], target, **wanted):
                raise ValueError(f"{one['source']} could not be rendered")


def lost_ports(name, firewall, services=(), ports=(), shut=()):
    """
    Fail if firewalld, which does not run yet, would close a port that a program listens on now, and the pillar neither
    opens that port nor gives it up. The state that starts firewalld requires this one.

    name
        The zone.
    firewall
        firewalld's unit.
    services, ports
        What this run opens in the zone.
    shut
        Ports that the pillar gives up.

    Each listener is listed with its program, address and port. Those that only this host can reach do not count.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": "No port would be shut"}
    state = before_given_back.zone_state(name, firewall)
    if state["running"]:
        return ret
    shown = run_command(("ss", "-Hltunp"))
    if shown.status != 0:
        said = shown.err.strip() or f"exit status {shown.status}"
        return {
            **ret,
            "result": False,
            "comment": f"It cannot be seen what listens, so firewalld is not started: {said}",
        }
    allowed = state["permanent"] or before_shut.DEFAULT
    try:
        brought = packages.read()["brought"]
    except MailserverError as err:
        return {**ret, "result": False, "comment": str(err)}
    opened = [*services, *(one for one in allowed if "/" not in one)]
    given_up = [*shut, *(one for one in allowed if "/" in one)]
    found = before_shut.shut(before_shut.listeners(shown.out), opened, ports, given_up)
    # A web server that this formula brought for MTA-STS policies had no visitors before.
    found = [one for one in found if one.program not in brought]
    told = before_shut.report(found, ports)
    return {**ret, "result": False, "comment": told} if told else ret


def mail_waits(name, files):
    """
    Make mail wait while OpenDKIM is installed, changed and restarted, if Postfix would otherwise send it unsigned.

    name
        Postfix's configuration folder.
    files
        Its files, which are kept first (:py:func:`originals_kept`).

    It acts before anything of OpenDKIM is touched, on a host whose main.cf is not this formula's, or where packages
    are about to be installed. ``milter_default_action``, and the ``default_action`` of single milters, become
    ``tempfail``, and Postfix is reloaded. Processes that started before that are waited for; after 60 s they are
    ended, and their clients try again. The pillar's values return with the main.cf that the same run puts in place.
    """
    postfix = milter_action.PostfixInstance(name)
    ret = {"name": name, "result": True, "changes": {}, "comment": "Mail waits while OpenDKIM is restarted"}
    try:
        if not postfix.path("main.cf").exists() or not _is_to_wait(postfix):
            return ret
        if __opts__["test"]:
            said = milter_action.lets_out(postfix)
            if said:
                comment = (
                    f"While OpenDKIM is restarted, mail would wait; Postfix would let it out now: {', '.join(said)}"
                )
                ret.update(result=None, comment=comment, changes={name: "mail would wait"})
            return ret
        originals.keep(files, existing=True)
        said = milter_action.make_wait(postfix)
    except MailserverError as err:
        return {**ret, "result": False, "comment": str(err)}
    if said:
        ret["changes"] = dict.fromkeys(said, "tempfail while OpenDKIM is restarted")
    return ret


def _is_to_wait(postfix):
    if not milter_action.is_ours(postfix) or postfix.mark.exists():
        return True
    return packages.read()["before"] is not None and bool(milter_action.lets_out(postfix))


def firewall_open(name, services=(), ports=()):
    """
    Allow services and ports in a firewalld zone, in the permanent and in the running firewall.

    name
        The zone.
    services
        Services that firewalld knows (``smtp``).
    ports
        Ports (``587/tcp``).

    Anything that an earlier run opened and the pillar no longer wants is closed again. Nothing else in the zone is
    touched, and the firewall is not reloaded, so no connection is cut.
    """
    try:
        note = leaving.read()
        left = leaving.left_open(note, name, {*services, *ports})
    except MailserverError as err:
        return {"name": name, "result": False, "changes": {}, "comment": str(err)}
    ret = _firewall(name, services, ports, "add", partial(_missing_and_noted, note), "open")
    return _close_left(ret, left) if left and ret["result"] is not False else ret


def _missing_and_noted(note, zone, services, ports):
    """Return what a zone is missing; before it is opened, record that this formula opens it."""
    items = daemons_firewall.missing(zone, services, ports)
    if not __opts__["test"]:
        leaving.write(leaving.with_opened(note, zone, items))
    return items


def _close_left(ret, left):
    """Close what this formula opened for settings that left the pillar, and add that to the state's return."""
    items = {zone: dict.fromkeys(one for some in rows.values() for one in some) for zone, rows in left.items()}
    said = [f"zone {zone}: {', '.join(names)}" for zone, names in items.items()]
    changes = {**ret["changes"], "closed": said}
    if __opts__["test"]:
        return {
            **ret,
            "result": None,
            "changes": changes,
            "comment": f"{ret['comment']}; closed would be {'; '.join(said)}",
        }
    try:
        for zone, rows in left.items():
            present = {where: daemons_firewall.present(zone, *_kinds(items))[where] for where, items in rows.items()}
            daemons_firewall.change("remove", zone, {where: items for where, items in present.items() if items})
        leaving.write(leaving.with_closed(leaving.read(), left))
    except MailserverError as err:
        return {**ret, "result": False, "comment": str(err)}
    return {**ret, "changes": changes, "comment": f"{ret['comment']}; closed: {'; '.join(said)}"}


def _kinds(items):
    """Return services and ports separately."""
    return [one for one in items if "/" not in one], [one for one in items if "/" in one]


def firewall_closed(name, services=(), ports=()):
    """
    Close these services and ports in a firewalld zone, except those that it allowed before this formula.
    """
    return _firewall(name, services, ports, "remove", _present_by_us, "closed")


def _present_by_us(zone, services, ports):
    note = originals.read()
    if note["units"] is None and not milter_action.is_ours(milter_action.PostfixInstance()):
        return {}  # The formula is not (or no longer) on this host, so these ports are somebody else's.
    before = note["firewall"] or {}
    kept = {"permanent": before.get("permanent", ()), "running": before.get("current", ())}
    found = daemons_firewall.present(zone, services, ports)
    return {where: [one for one in names if one not in kept[where]] for where, names in found.items()}


def firewall_passable(name, service):
    """
    Check that the firewall cuts the host off neither from its master nor from its administrators; change nothing else.

    name
        The zone.
    service
        firewalld's unit.

    If the firewall cuts the minion off from all of its masters, and they can be reached without it, it is stopped and
    disabled, and the state fails. If SSH or a Salt master listens here on a port that the zone closes, that is a
    warning. The state waits up to a minute for the minion's new connection to its master, so that the master gets the
    result of this run.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": f"Zone {name}: the master is reached"}
    if __opts__["test"]:
        return ret
    ret.update(_passable(name, service))
    if _masters() and __opts__.get("__cli") != "salt-call":
        port = __opts__.get("publish_port", 4505)
        words = ("ss", "-Htn", "state", "established", "dport", "=", f":{port}")
        if not daemons_firewall.is_connected(lambda: run_command(words).out):
            lost = f"the minion has no connection to its master's port {port}, which may not get what this run returns"
            ret["warnings"] = [*ret.get("warnings", []), lost]
    return ret


def _passable(zone, service):
    """Return what to change in the state's return, which otherwise reports success."""
    masters = _masters()
    stop, start = (partial(run_command, ("systemctl", verb, service)) for verb in ("stop", "start"))
    if daemons_firewall.keeps_from_master(masters, stop, start):
        run_command(("systemctl", "disable", service))
        comment = (
            f"the firewall kept this host from its master ({masters[0][0]}), so it is stopped and disabled; look at "
            "its rules for outgoing traffic (firewall-offline-cmd --direct --get-all-rules; --get-policies)"
        )
        return {"result": False, "changes": {service: {"old": "running", "new": "stopped"}}, "comment": comment}
    try:
        out = daemons_firewall.shut_out(zone, run_command(("ss", "-Hltnp")).out)
    except MailserverError as err:
        return {"result": False, "comment": str(err)}
    how = "add what it must let in to mailserver:firewalld:ports or to the zone"
    return {"warnings": [f"Zone {zone} shuts out {', '.join(out)}; {how}"]} if out else {}


def _masters():
    """Return (address, port) for the ports of the master that the minion is connected to; none without a master."""
    if __opts__.get("file_client") == "local" or not __opts__.get("master_ip"):
        return []
    ports = {__opts__.get("master_port", 4506), __opts__.get("publish_port", 4505)}
    return [(__opts__["master_ip"], int(port)) for port in sorted(ports)]


def _firewall(zone, services, ports, verb, find, wanted):
    ret = {"name": zone, "result": True, "changes": {}, "comment": f"Zone {zone}: all mail ports are {wanted}"}
    try:
        items = find(zone, services, ports)
    except MailserverError as err:
        if __opts__["test"]:
            ret.update(result=None, comment=f"Zone {zone} would have the mail ports {wanted}; now: {err}")
        else:
            ret.update(result=False, comment=str(err))
        return ret
    items = {where: names for where, names in items.items() if names}
    if not items:
        return ret
    ret["changes"] = {where: {verb: names} for where, names in items.items()}
    if __opts__["test"]:
        ret.update(result=None, comment=f"Zone {zone}: mail ports would be {wanted}")
        return ret
    try:
        daemons_firewall.change(verb, zone, items)
    except MailserverError as err:
        ret.update(result=False, comment=str(err), changes={})
        return ret
    ret["comment"] = f"Zone {zone}: mail ports are now {wanted}"
    return ret


def acme_credentials(name, rfc2136):
    """
    Give certbot's RFC 2136 plugin the server and the TSIG key that the host publishes its records with.

    name
        The file. Only root may read it, and its content is not shown.
    rfc2136
        The section ``dns:rfc2136`` of the host's settings.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": f"{name} is as it should be"}
    try:
        text = tls_acme.credentials(rfc2136)
        if tls_acme.is_private(name, text):
            return ret
        ret["changes"] = {name: "the TSIG key of dns:rfc2136, for certbot"}
        if __opts__["test"]:
            return {**ret, "result": None, "comment": f"{name} would be written"}
        tls_acme.put_private(name, text)
    except MailserverError as err:
        return {**ret, "result": False, "changes": {}, "comment": str(err)}
    return {**ret, "comment": f"{name} was written"}


def acme_issued(name, dns_names, acme, folder, credentials, reuse_key=False):
    """
    Let certbot get a certificate, unless it already has the one that is wanted; certbot's own timer renews it.

    name
        certbot's name for the certificate.
    dns_names
        The DNS names in it.
    acme
        The section ``tls:acme`` of the host's settings.
    folder
        certbot's folder.
    credentials
        The file of :py:func:`acme_credentials`.
    reuse_key
        Whether renewals keep the key, as a TLSA record wants it.

    If the certificate cannot be obtained yet, the state succeeds with a warning that quotes certbot. The next highstate
    tries again.
    """
    ret = {
        "name": name,
        "result": True,
        "changes": {},
        "comment": f"certbot has the certificate of {', '.join(dns_names)}",
    }
    reason = tls_acme.lacking(name, dns_names, acme, folder, reuse_key)
    if reason is None:
        return ret
    if __opts__["test"]:
        return {
            **ret,
            "result": None,
            "comment": f"certbot would get a certificate for {', '.join(dns_names)}: {reason}",
        }
    try:
        tls_acme.issue(tls_acme.command(name, dns_names, acme, credentials, reuse_key), acme["ca_file"])
    except MailserverError as err:
        comment = tls_acme.awaited(dns_names, reason, err)
        return {**ret, "comment": comment, "warnings": [comment]}
    ret["changes"] = {name: {"old": reason, "new": f"issued by {acme['server']} for {', '.join(dns_names)}"}}
    return {**ret, "comment": f"certbot got a certificate for {', '.join(dns_names)}"}


def records_published(name, settings):
    """
    Check that DNS shows the records that the host and its domains want. DKIM keys have states of their own.

    name
        A name for the report.
    settings
        ``domains``, ``hostname``, ``addresses``, ``own_addresses``, ``families``, ``dns``, ``tls`` and ``os`` of the
        host's settings (``mailserver.settings``), as a mapping or as JSON text. An SLS file with thousands of domains
        loads JSON a hundred times as fast. The domains may be packed (``mailserver.packed``).

    With more than 500 domains it checks those that were not as wanted, those whose settings changed, those that the
    last ``mailserver.watch`` saw wrong, and 100 of the others in rotation. Nothing is changed, in DNS or here, unless
    ``publish_records`` in ``dns`` is set. Then records that are absent or different are published
    (``mailserver.publish``), and the next run checks the outcome. A record that is absent, different or could not be
    seen is a warning. With ``strict`` in ``dns``, one that is absent or different is a failure. What to publish is in
    the comment of :py:func:`summary` or, without that state in the run, in this one's.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": ""}
    settings = _data(settings)
    settings = {**settings, "domains": packing.unpacked(settings["domains"])}
    try:
        tlsa = certificates.tlsa_data(settings)
    except MailserverError as err:
        tlsa, ret["warnings"] = None, [str(err)]
    if unknown := addresses.no_public(settings):
        ret["warnings"] = [*ret.get("warnings", ()), f"{unknown}. {addresses.NAME_THEM}"]
    host = (settings["hostname"], settings["addresses"], tlsa)
    turn = scale_turns.DueDomains(settings["domains"], settings["dns"], memory.seen_wrong)
    families = settings.get("families", (4, 6))
    wanted = records_wants.wants(settings["domains"], *host, only=frozenset(turn.due), families=families)
    try:
        answers = lookup.ask(records_wants.questions(wanted), lookup.options(settings["dns"]))
    except MissingPackage as err:
        if __opts__["test"]:
            comment = f"DNS would be asked for {len(wanted)} records"
            if any(one["state"] == "pip" for one in __lowstate__):
                comment += ", once this run has installed the Python packages for it"
            else:
                comment += f"; now: {err}"
            return {**ret, "result": None, "comment": comment}
        return {**ret, "result": False, "comment": str(err)}
    except MailserverError as err:
        return {**ret, "result": False, "comment": str(err)}
    findings = records_wants.compare(wanted, answers)
    if not __opts__["test"]:
        turn.note(finding.want.of for finding in records_wants.troubles(findings))
    published = _publish(ret, findings) if settings["dns"].get("publish_records") else ()
    findings = [one for one in findings if not records_wants.is_of(one, published)]
    if told_later := run_summary.follows(__lowstate__, __running__):
        run_summary.note(__context__, records_wants.todo(findings))
    report = records_wants.comment(findings, todo=not told_later)
    ret["comment"] = "\n".join([*filter(None, [ret["comment"]]), report])
    if turn.later:
        text = (
            f"{len(turn.later):,} domains that were right before were not checked in this run; later runs check them."
        )
        ret["comment"] += f"\n{text}"
    warnings = records_wants.warnings(findings)
    if warnings:
        ret["warnings"] = [*ret.get("warnings", ()), *warnings]
    if settings["dns"]["strict"] and any(finding.value in ("absent", "different") for finding in findings):
        ret["result"] = False
    return ret


def _publish(ret, findings):
    """Publish the policy records that DNS does not show as wanted; return their names.

    With ``test=True`` these are the records that would be published.
    """
    if not any(records_wants.is_publishable(one) for one in findings):
        return ()
    before = __context__.get("retcode", 0)
    try:
        told = __salt__["mailserver.publish"](test=__opts__["test"])
    except CommandExecutionError as err:
        ret["warnings"] = [*ret.get("warnings", ()), f"No record was published: {err}"]
        return ()
    # A record that was refused is a warning of this state, not a failure of the whole run.
    __context__["retcode"] = before
    if __opts__["test"]:
        due = [row["name"] for row in told if row["result"] == "due"]
        if due:
            ret.update(result=None, comment=f"{len(due)} records would be published: {', '.join(due[:20])}")
        return due
    names = [*told.get("sent", ()), *told.get("asked", ())]
    if names:
        how = "published" if "sent" in told else "asked to be published"
        ret.update(changes=dict.fromkeys(names, how), comment=f"{len(names)} records were {how}; DNS may need a moment")
    troubles = [f"Publishing failed: {text}" for text in [*told.get("refused", ()), *told["unknown"]]]
    if troubles:
        ret["warnings"] = [*ret.get("warnings", ()), *troubles[: records_wants.DETAILS]]
    return names
