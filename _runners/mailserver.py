"""
All mail hosts, seen from the master: a page that shows them (``salt-run mailserver.report``), their keys in one table
(``salt-run mailserver.keys``), and a check of their pillars (``salt-run mailserver.validate``).
"""
# ruff: noqa: E402 (an upgrade may have left outdated modules in memory, to be dropped before they are imported)

import os
import time
from pathlib import Path

import salt.client
import salt.fileclient
import salt.utils.master
import salt.utils.minions
from salt.exceptions import CommandExecutionError, SaltClientError

import mailhost

mailhost.drop_outdated()

from mailhost import arguments, wording
from mailhost import files as safe_files
from mailhost.errors import MailserverError
from mailhost.page import fleet as page_fleet
from mailhost.page import html as page_html
from mailhost.pillar import parameters as pillar_parameters
from mailhost.pillar import settings as pillar_settings

__virtualname__ = "mailserver"

_OVERVIEW = "mailserver.overview"
_STATUS = "dkim.status"
_NO_HIGHSTATE = "no highstate has put settings for DKIM in force"
"""What ``dkim.status`` says on a minion that has the formula's modules but no keys, since it is no mail host."""
_TIMEOUT = 120
_LONGEST = 1500
"""Most characters to show of an answer that is not what was asked for."""
_TRIMMED = "VALUE_TRIMMED"
"""What Salt's event bus puts in place of a value that is larger than ``max_event_size``."""


def __virtual__():
    return __virtualname__


@arguments.read(
    CommandExecutionError,
    tgt=arguments.target,
    tgt_type=arguments.text,
    output=arguments.text,
    mine=arguments.flag,
    timeout=arguments.number,
)
def report(tgt="*", tgt_type="glob", output=None, mine=False, timeout=_TIMEOUT):
    """
    Write one HTML file that shows all mail hosts: what is wrong, each domain on each host, and the stages of its keys.

    tgt
        The minions to show. Those that are not mail hosts, or lack the formula's modules, are only listed by name.
    tgt_type
        How ``tgt`` is read: glob, grain, pillar, compound, list …
    output
        The path of the file; by default ``mailserver.html`` in the master's cache. Its mode is always 0644. The page
        loads nothing from elsewhere, so it can be mailed or put on any web server.
    mine
        Use what the hosts put into the mine (``mine_functions: {mailserver.overview: []}``). This takes seconds, since
        no host has to check itself now. Anything older than two hours is shown as old.
    timeout
        Seconds without an answer after which Salt asks a host whether it is still working on it.

    Returns ``path``, ``status`` (the worst), ``hosts`` (each with its worst status), ``domains`` and ``findings`` (how
    many), and ``others``, the minions that are not mail hosts. A minion that does not answer is shown as unknown.

    ``salt-run saltutil.sync_all`` brings the modules to the master.

    CLI Example:

    .. code-block:: bash

        salt-run mailserver.report
        salt-run mailserver.report 'mx*' output=/var/www/html/mail.html mine=True
    """
    path = os.path.abspath(output or os.path.join(__opts__["cachedir"], "mailserver.html"))
    answers, troubles, others = (_mined if mine else _asked)(tgt, tgt_type, timeout)
    if not (answers or troubles or others):
        raise CommandExecutionError(f"mailserver.report: no minion matches {tgt!r} ({tgt_type}); nothing was written")
    fleet = page_fleet.fleet(answers, troubles, others, int(time.time()))
    try:
        safe_files.replace_file(path, page_html.page(fleet), 0o644)
    except MailserverError as err:
        raise CommandExecutionError(str(err)) from err
    return {"path": path, **page_fleet.summary(fleet)}


@arguments.read(CommandExecutionError, tgt=arguments.target, tgt_type=arguments.text, timeout=arguments.number)
def keys(tgt="*", tgt_type="glob", timeout=_TIMEOUT):
    """
    Show the DKIM keys of all mail hosts in one table, by domain; first those that need attention.

    tgt
        The minions to ask for ``dkim.status``. Those that are not mail hosts, or lack the formula's modules, are left
        out.
    tgt_type
        How ``tgt`` is read: glob, grain, pillar, compound, list …
    timeout
        Seconds without an answer after which Salt asks a host whether it is still working on it.

    Returns ``domains``, which has for each domain and minion what ``dkim.status`` returned
    (``{domain: {minion: {selector: row}}}``), and ``unanswered``, the minions that gave no such answer, and why.
    ``--out=json`` and the like print that instead of the table.

    CLI Example:

    .. code-block:: bash

        salt-run mailserver.keys
        salt-run mailserver.keys 'mx*' --out=json
    """
    domains, unanswered, answered = {}, {}, []
    for name, returned in sorted(_returns(_STATUS, tgt, tgt_type, timeout)):
        answered.append(name)
        if returned is None:
            unanswered[name] = f"no answer within {timeout} s"
        elif not _has_no_keys(returned["ret"]):
            unanswered.update(_kept(domains, name, returned))
    if not answered:
        raise CommandExecutionError(f"mailserver.keys: no minion matches {tgt!r} ({tgt_type})")
    told = {"domains": dict(sorted(domains.items())), "unanswered": unanswered}
    return {"outputter": "dkim_keys", "data": wording.told(told)}


def _has_no_keys(answer):
    """Tell whether a minion lacks the formula's modules, or is no mail host."""
    return _is_foreign(_STATUS, answer) or (isinstance(answer, str) and _NO_HIGHSTATE in answer)


def _kept(domains, name, returned):
    """Add the keys that a minion returned to ``domains``; return ``{minion: why}`` if it returned something else."""
    answer = returned["ret"]
    why = _unusable(returned)
    if not why and not all(map(_are_rows, answer.values())):
        why = f"it answered: {_brief(wording.brief(answer))}"
    if why:
        return {name: why}
    for domain, rows in answer.items():
        domains.setdefault(domain, {})[name] = rows
    return {}


def _are_rows(keys):
    return isinstance(keys, dict) and all(isinstance(row, dict) and "stage" in row for row in keys.values())


def _asked(tgt, tgt_type, timeout):
    """Let all minions check themselves; return ``(answers, troubles, others)`` (:func:`mailhost.page.fleet.fleet`)."""
    answers, troubles, others = {}, {}, []
    for name, returned in _returns(_OVERVIEW, tgt, tgt_type, timeout):
        if returned is None:
            troubles[name] = page_fleet.silent(name, f"no answer within {timeout} s")
        elif _is_foreign(_OVERVIEW, returned["ret"]):
            others.append(name)
        elif why := _unusable(returned):
            troubles[name] = page_fleet.unusable(name, why)
        else:
            answers[name] = returned["ret"]
    return answers, troubles, others


def _returns(function, tgt, tgt_type, timeout):
    """Yield ``(minion, what it returned)`` for each minion that matches; ``None`` for one that did not answer."""
    with salt.client.get_local_client(__opts__["conf_file"]) as client:
        try:
            job = client.run_job(tgt, function, (), tgt_type, "", timeout, "", listen=True)
        except SaltClientError as err:
            raise CommandExecutionError(f"{function}: the master could not be asked: {err}") from err
        if job:
            yield from _returns_of(client, job, tgt, tgt_type, timeout)


def _returns_of(client, job, tgt, tgt_type, timeout):
    silent = set(job["minions"])
    # Salt makes up answers for minions that gave none; those must not count as answers.
    for some in client.get_cli_event_returns(job["jid"], job["minions"], timeout, tgt, tgt_type, expect_minions=False):
        for name, returned in (some or {}).items():
            if name in silent and "ret" in returned and returned.get("out") != "no_return":
                silent.discard(name)
                yield name, returned
    for name in silent:
        yield name, None


def _is_foreign(function, answer):
    """Tell whether a minion answered that it does not have the formula's modules."""
    return isinstance(answer, str) and f"'{function}' is not available" in answer


def _unusable(returned):
    """Return why a minion's return is not what was asked for; ``""`` if it is."""
    answer = returned["ret"]
    if _TRIMMED in (answer, *(answer.values() if isinstance(answer, dict) else ())):
        return "its answer was larger than max_event_size; raise that in the configuration of master and minion"
    failed = returned.get("retcode") or not isinstance(answer, dict)
    return f"it answered: {_brief(wording.brief(answer, 2**20))}" if failed else ""


def _brief(text):
    """Return a long text without its middle: the end of a traceback says what happened."""
    return text if len(text) <= _LONGEST else f"{text[:200]} … {text[200 - _LONGEST :]}"


def _mined(tgt, tgt_type, _timeout):
    """Read the mine; return the same as :func:`_asked`."""
    found = __salt__["mine.get"](tgt, _OVERVIEW, tgt_type)
    known = salt.utils.minions.CkMinions(__opts__).check_minions(tgt, tgt_type)["minions"]
    missing = {name: page_fleet.not_mined(name) for name in known if name not in found}
    return found, missing, []


@arguments.read(
    CommandExecutionError,
    tgt=arguments.target,
    tgt_type=arguments.text,
    saltenv=arguments.text,
)
def validate(tgt="*", tgt_type="glob", saltenv="base"):
    """
    Report what is wrong in the pillars of minions before any minion sees it. It runs on the master and changes nothing.

    tgt
        The minions. Those whose pillar has no ``mailserver`` are left out.
    tgt_type
        How ``tgt`` is read: glob, grain, pillar, compound, list …
    saltenv
        The environment of the master's file server that the formula is in.

    Returns ``problems``, which has a list for each minion, with a sentence for each problem and its place, and
    ``retcode``, the exit status: 1 if there is any problem. A pillar is rendered with the grains that the master last
    got from the minion, and checked against what the formula knows of the minion's operating system.

    CLI Example:

    .. code-block:: bash

        salt-run mailserver.validate
        salt-run mailserver.validate 'mx*'
    """
    # Use the grains that the master has cached. No minion is asked, since it may be away, or new.
    known = {"use_cached_grains": True, "grains_fallback": False, "use_cached_pillar": False, "pillar_fallback": False}
    util = salt.utils.master.MasterPillarUtil(tgt, tgt_type, opts=__opts__, **known)
    grains, parameters = util.get_minion_grains(), _parameters(saltenv)
    if not grains:
        raise CommandExecutionError(f"mailserver.validate: no minion matches {tgt!r} ({tgt_type})")
    found = {name: _problems(name, grains[name], parameters) for name in sorted(grains)}
    found = {name: told for name, told in found.items() if told is not None}
    return {"problems": found, "retcode": int(any(found.values()))}


def _problems(name, grains, parameters):
    """Return what is wrong in a minion's pillar; ``None`` if it is not a mail host."""
    from salt.pillar import Pillar

    if not grains:
        return [
            "the master has no grains of this minion, which its pillar is rendered with: run saltutil.refresh_grains"
        ]
    # The operator on the master may see errors that are hidden from a minion.
    options = {**__opts__, "pillar_safe_render_error": False}
    pillar = Pillar(options, grains, name, None, options["ext_pillar"]).compile_pillar()
    if pillar.get("_errors"):
        return [f"the pillar does not render: {wording.lines(one)}" for one in pillar["_errors"]]
    if "mailserver" not in pillar:
        return None
    try:
        system = pillar_parameters.of_system(parameters, grains)
    except MailserverError as err:
        return [str(err)]
    return list(pillar_settings.problems(pillar["mailserver"], system, grains))


def _parameters(saltenv):
    with salt.fileclient.FSClient(__opts__) as client:

        def text_of(path):
            copy = client.cache_file(path, saltenv)
            return Path(copy).read_text(encoding="utf-8") if copy else ""

        try:
            return pillar_parameters.read(text_of, saltenv)
        except MailserverError as err:
            raise CommandExecutionError(str(err)) from err
