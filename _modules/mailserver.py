"""
Mail hosts: their settings, the DNS records that their domains need, and a self-test (``salt '*' mailserver.…``).
"""
# ruff: noqa: E402 (an upgrade may have left outdated modules in memory, to be dropped before they are imported)

import contextlib
import hashlib
import importlib
import importlib.metadata
import json
import marshal
import pickle
import re
import time
from pathlib import Path

import salt.config
from salt.exceptions import CommandExecutionError, SaltException

import mailhost

mailhost.drop_outdated()

from mailhost import arguments as mailhost_arguments
from mailhost import wording
from mailhost.before import leaving
from mailhost.central import keys as central_keys
from mailhost.central import owners
from mailhost.central import policies as central_policies
from mailhost.check import areas as check_areas
from mailhost.dkim import records as dkim_records
from mailhost.dkim import run as dkim_run
from mailhost.dns import lookup, wildcards
from mailhost.errors import MailserverError, MissingParameters
from mailhost.page import overview as page_overview
from mailhost.pillar import logins
from mailhost.pillar import parameters as pillar_parameters
from mailhost.pillar import settings as pillar_settings
from mailhost.postfix import queue as postfix_queue
from mailhost.publish import policies as publish_policies
from mailhost.publish import remembered
from mailhost.records import addresses, mta_sts, nsupdate
from mailhost.records import hosts as records_hosts
from mailhost.records import record as mail_records
from mailhost.records import spf as records_spf
from mailhost.records import transport as transport_records
from mailhost.records import wants as records_wants
from mailhost.scale import garbage, packing
from mailhost.selftest import delivery
from mailhost.selftest import message as selftest_message
from mailhost.tls import certificate as certificates
from mailhost.watch import memory
from mailhost.watch import run as watch_run

__virtualname__ = "mailserver"
__outputter__ = dict.fromkeys(("check", "records", "selftest"), "mailserver")

_FORMATS = ("data", "json", "zone", "string", "nsupdate")


def __virtual__():
    return __virtualname__


@mailhost_arguments.read(
    CommandExecutionError,
    pillar=mailhost_arguments.as_given,
    saltenv=mailhost_arguments.text,
    parameters=mailhost_arguments.as_given,
    shared=mailhost_arguments.flag,
)
def settings(pillar=None, saltenv=None, parameters=None, shared=False):
    """
    Return the settings of this host: the pillar ``mailserver`` with every default filled in.

    pillar
        The value of the pillar key ``mailserver``; the host's own, if left out.
    saltenv
        The environment of the file server that the formula is in; the minion's own, or ``base``.
    parameters
        The three files of ``mailserver/parameters/`` as a mapping, where there is no file server to read them from:
        ``defaults``, ``families``, ``releases``.
    shared
        Return the object that other callers share, which must not be changed. With thousands of domains, a copy for
        each SLS file takes long.

    A pillar that asks for something impossible is refused as a whole, and the error lists everything that is wrong in
    it. The caller may change what is returned; that changes nothing elsewhere. Domains that have the same pillar share
    their settings in it.

    CLI Example:

    .. code-block:: bash

        salt '*' mailserver.settings
        salt '*' mailserver.settings '{domains: {example.com: {}}}'
    """
    is_state = shared or saltenv is not None
    if pillar is None:
        pillar = _own_pillar()
    saltenv = saltenv or _saltenv()
    cache = __context__.setdefault("mailserver.settings", {})
    key = _digest(pillar, saltenv, parameters)
    found = cache.get(key)
    if found is None:
        try:
            found = cache[key] = _resolved(pillar, _parameters(parameters, saltenv))
        except MissingParameters as err:
            # A state must learn what the file server lacks; not even the cache may hide it from one.
            if is_state:
                raise CommandExecutionError(str(err)) from err
            found = _without_file_server(pillar, err)
        except MailserverError as err:
            raise CommandExecutionError(str(err)) from err
    # Pickle is the fastest way to copy this.
    return found if shared else pickle.loads(pickle.dumps(found))


@mailhost_arguments.read(
    CommandExecutionError,
    domains=mailhost_arguments.as_given,
    sections=mailhost_arguments.as_given,
)
def packed(domains, sections=None):
    """
    Return the settings of domains as short JSON text, for the arguments of a state. Settings that many domains share
    are in it once.

    domains
        A mapping of the domains' names to their settings, as ``mailserver.settings`` returns it.
    sections
        The names of the sections that the state needs; all, if left out.

    CLI Example:

    .. code-block:: bash

        salt mx1 mailserver.packed '{a.example: {ttl: 60}, b.example: {ttl: 60}}'
    """
    return packing.packed(domains, sections)


def first_user_id():
    """
    Return the lowest user id that this host gives to a person (``UID_MIN`` of ``/etc/login.defs``, or 1000).

    Users with a lower id can log in to the mail server only if the pillar names them (``accounts:users``).

    CLI Example:

    .. code-block:: bash

        salt mx1 mailserver.first_user_id
    """
    try:
        text = Path(logins.LOGIN_DEFS).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        text = ""
    return logins.first_user_id(text)


def scheduler():
    """
    Return what runs regular jobs on this host: ``minion``; ``systemd``, where no minion runs a schedule; or ``later``,
    where there is no systemd either: the minion will run them once it is started.

    A minion runs no schedule if its service is not active, or if it is configured to have no master but waits for one
    all the same (``file_client: local`` without ``master_type: disable``): it does not even accept a job then.

    CLI Example:

    .. code-block:: bash

        salt mx1 mailserver.scheduler
    """
    if __salt__["service.status"]("salt-minion") and not _waits_for_a_master():
        return "minion"
    return "systemd" if Path("/run/systemd/system").is_dir() else "later"


@mailhost_arguments.read(CommandExecutionError, names=mailhost_arguments.texts)
def left_users(names):
    """
    Return the users that this formula made on the host and that the pillar no longer names.

    names
        The users that the pillar names.

    Their logins are locked and mail to them is refused; their files stay (docs/accounts.md).

    CLI Example:

    .. code-block:: bash

        salt mx1 mailserver.left_users '[alice, bob]'
    """
    try:
        return leaving.left_users(leaving.read(), names)
    except MailserverError as err:
        raise CommandExecutionError(str(err)) from err


def _waits_for_a_master():
    """Tell whether the minion is configured to have no master but waits for one all the same."""
    if __opts__["file_client"] != "local":
        return False
    # With salt-call --local, __opts__ always says that there is no master: read the minion's own configuration.
    configured = salt.config.minion_config(__opts__["conf_file"])
    return configured["file_client"] == "local" and configured.get("master_type") != "disable"


def _host_grains():
    """Return the grains without temporary IPv6 addresses, which the grains do not tell apart from lasting ones."""
    found = {name: __grains__[name] for name in __grains__}
    with contextlib.suppress(OSError, ValueError):
        flags = Path("/proc/net/if_inet6").read_text(encoding="ascii")
        found["ipv6"] = addresses.lasting(found.get("ipv6") or (), flags)
    return found


def _own_pillar():
    """Return the pillar ``mailserver`` as it is now: a running minion keeps in memory what it was at its start.

    pillar.get is not used: from Salt 3008 on it returns asterisks instead of values.
    """
    from salt.pillar import get_pillar

    found = __pillar__
    if __opts__.get("__cli") != "salt-call":
        with contextlib.suppress(SaltException):
            environments = {"saltenv": __opts__.get("saltenv"), "pillarenv": __opts__.get("pillarenv")}
            found = get_pillar(__opts__, dict(__grains__), __opts__["id"], **environments).compile_pillar()
    return found.get("mailserver", {})


def _digest(*arguments):
    """Return a hash of everything that settings depend on, so that a changed pillar or host never gets old settings."""
    known = ("fqdn", "ipv4", "ipv6", "ip4_interfaces", "ip6_interfaces", "osfinger", "oscodename", "os_family")
    grains = _host_grains()
    host = [grains.get(name) for name in known]
    try:
        # Each SLS file calls this, and JSON takes a hundred times as long with thousands of domains.
        text = marshal.dumps([*arguments, host], 2)
    except ValueError:
        # Pairs: JSON objects take only text as keys, and a bad pillar may have other keys.
        text = json.dumps(_plain([*arguments, host]), default=str).encode()
    return hashlib.sha256(text).hexdigest()


def _plain(value):
    if isinstance(value, dict):
        return ["mapping", *([_plain(name), _plain(inner)] for name, inner in value.items())]
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value


@mailhost_arguments.read(CommandExecutionError, pillar=mailhost_arguments.as_given, saltenv=mailhost_arguments.text)
def validate(pillar=None, saltenv=None):
    """
    Report what is wrong in the pillar ``mailserver``, and change nothing.

    pillar
        The value of the pillar key ``mailserver``; if left out, the host's own as it is on the master now.
    saltenv
        The environment of the file server that the formula is in; the minion's own, or ``base``.

    Returns a list with a sentence for each problem and its place; the list is empty if a highstate would accept the
    pillar. With a problem the exit status is not 0. ``salt-run mailserver.validate`` does the same on the master,
    before any minion sees the pillar.

    CLI Example:

    .. code-block:: bash

        salt 'mx*' mailserver.validate
        salt mx1 mailserver.validate '{domains: {example.com: {}}}'
    """
    pillar = _own_pillar() if pillar is None else pillar
    try:
        found = pillar_settings.problems(pillar, _parameters(None, saltenv or _saltenv()), _host_grains())
    except MailserverError as err:
        raise CommandExecutionError(str(err)) from err
    if found:
        __context__["retcode"] = 1
    return list(found)


def _saltenv():
    return __opts__.get("saltenv") or "base"


def _resolved(pillar, system):
    with garbage.kept():
        return pillar_settings.resolve(pillar, system, _host_grains())


def _without_file_server(pillar, err):
    """Return the settings of a host that has no file server (salt-ssh), from what the last highstate activated.

    With salt-ssh such a host has no pillar either; then they are the settings that were activated.
    """
    try:
        in_force = _in_force()
        return _resolved(pillar, in_force["os"]) if pillar else in_force
    except CommandExecutionError:
        raise CommandExecutionError(str(err)) from err
    except MailserverError as wrong:
        raise CommandExecutionError(str(wrong)) from wrong


def _parameters(given, saltenv):
    """Return the parameters of this host's operating system.

    :raises MissingParameters: they are not on the file server.
    :raises MailserverError: they do not know this system.
    """
    read = given or pillar_parameters.read(lambda path: __salt__["cp.get_file_str"](path, saltenv=saltenv), saltenv)
    return pillar_parameters.of_system(read, __grains__)


@mailhost_arguments.read(CommandExecutionError, packages=mailhost_arguments.texts)
def python_ready(packages=None):
    """
    Tell whether Salt's own Python has the Python packages that this formula needs, in versions that work with it.

    packages
        Requirements (``dnspython>=2.6,<3``); the formula's own, if left out.

    States call this before pip, which takes seconds to find out that there is nothing to do.

    CLI Example:

    .. code-block:: bash

        salt '*' mailserver.python_ready
    """
    return not python_lacks(packages)


@mailhost_arguments.read(CommandExecutionError, packages=mailhost_arguments.texts)
def python_lacks(packages=None):
    """
    Return what Salt's own Python lacks of the Python packages that this formula needs: a line each, empty if nothing.

    packages
        Requirements (``dnspython>=2.6,<3``); the formula's own, if left out.

    CLI Example:

    .. code-block:: bash

        salt '*' mailserver.python_lacks
    """
    importlib.invalidate_caches()
    return [*filter(None, map(_lack, packages or settings()["os"]["python"]["packages"]))]


def _lack(requirement):
    """Say what is wrong with the package of a requirement; ``""``: nothing."""
    name = re.match(r"[A-Za-z0-9._-]*", requirement)[0]
    wanted = requirement.removeprefix(name)
    try:
        version = importlib.metadata.version(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return f"{name} is not installed ({wanted or 'any version'} is needed)"
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return ""
    fits = Requirement(requirement).specifier.contains(version, prereleases=True)
    return "" if fits else f"{name} is {version} ({wanted} is needed)"


@mailhost_arguments.read(CommandExecutionError, domain=mailhost_arguments.domain, format=mailhost_arguments.text)
def records(domain=None, format="data"):
    """
    Return the DNS records that a domain needs: A, AAAA, PTR, MX, SPF, DMARC, MTA-STS, TLS-RPT, TLSA, CAA, and those of
    its DKIM keys.

    domain
        One domain; all of the host, if left out.
    format
        ``data`` or ``json`` (a list of name, ttl, type, value; TXT also ``strings`` of at most 255 bytes), ``zone``
        (lines of a zone file), ``string`` (by name and type, each value as one string, for a provider's form), or
        ``nsupdate`` (input for nsupdate; DNS is asked for the present records, so that exactly the older version of a
        record is replaced).

    A, AAAA, TLSA and PTR are those of the host, if its name lies in the domain. PTR records belong to a zone of their
    own, run by whoever gave you the addresses. MTA-STS, TLS-RPT, TLSA and CAA are included if the pillar asks for them.
    For use by another program, ``--out=txt`` makes Salt print lines without indentation, each after the host's name.

    CLI Example:

    .. code-block:: bash

        salt mx1 mailserver.records example.com
        salt-call mailserver.records example.com format=zone --out=txt | sed 's/^local: //'
    """
    if format not in _FORMATS:
        raise CommandExecutionError(
            f"mailserver.records: no format {format!r}; {wording.did_you_mean(format, _FORMATS)}"
        )
    host = settings()
    domains = host["domains"]
    if domain is not None:
        _check_domain("records", domain, domains)
        domains = {domain: domains[domain]}
    try:
        shared = {name: one for name, one in domains.items() if not one["spf"]["exact"]}
        spf = [record for name, one in shared.items() if (record := records_spf.spf_record(name, one))]
        text = _formatted(_all_records(domains, host), format, host["dns"], spf)
    except MailserverError as err:
        raise CommandExecutionError(str(err)) from err
    unknown = addresses.no_public(host)
    is_commented = unknown and format in ("zone", "nsupdate")
    return f"; {unknown}. {addresses.NAME_THEM}\n{text}" if is_commented else text


def _check_domain(function, domain, domains):
    if domain not in domains:
        near = wording.did_you_mean(domain, domains) if domains else "its pillar lists none"
        raise CommandExecutionError(f"mailserver.{function}: {domain} is not among the domains of this host; {near}")


def _all_records(domains, host):
    paths = dkim_run.paths_of(host)
    run = dkim_run.begin(paths, host["domains"], host["dns"], test=True)
    of_keys = dkim_records.records_by_domain(run, domains, postfix_queue.oldest_for)
    tlsa = certificates.tlsa_data(host)
    return [
        record
        for name, domain in domains.items()
        for record in (
            *records_hosts.domain_records(name, domain, host["hostname"], host["addresses"]),
            *transport_records.records_of(name, domain, host["hostname"], host["addresses"], tlsa),
            *of_keys[name],
        )
    ]


def _formatted(found, format, dns, spf=()):
    """Return records in a format; ``spf`` are those of them whose names may also hold other senders' SPF terms."""
    if format == "nsupdate":
        asked = records_wants.text_questions(found)
        options = lookup.options(dns)
        answers = wildcards.unmasked(lookup.ask(asked, options), lambda more: lookup.ask(more, options))
        present = records_wants.present(answers)
        shared = [records_wants.beside(one, present) if one in spf else one for one in found]
        return nsupdate.nsupdate(shared, present)
    forms = {
        "data": mail_records.as_data,
        "json": mail_records.as_json,
        "zone": mail_records.zone,
        "string": mail_records.as_strings,
    }
    return forms[format](found)


@mailhost_arguments.read(CommandExecutionError, domain=mailhost_arguments.domain)
def selftest(domain=None):
    """
    Send a message from ``selftest@domain`` through this host's Postfix back to this host, and judge it.

    domain
        One of the host's domains; the host's own, if left out.

    The message is verified as a receiver would verify it: by dkimpy, pyspf and the rules of DMARC (RFC 9989), against
    live DNS. Returns ``result`` (true if SPF, DKIM and DMARC all pass, and mail arrives), ``overall`` (that in a
    sentence), ``spf`` (for each address of the domain), ``dkim`` (for each signature), ``dmarc``, ``delivery`` (which
    Postfix program delivers to a user, an alias and others, and that an unknown name is refused), and ``report``, all
    of it as text.

    If Postfix refuses the message or cannot deliver it within a minute, that is an error with Postfix's own words.

    CLI Example:

    .. code-block:: bash

        salt mx1 mailserver.selftest
        salt mx1 mailserver.selftest example.com
    """
    host = settings()
    domain = domain or host["domain"]
    _check_domain("selftest", domain, host["domains"])
    try:
        found = selftest_message.run(domain, host)
        rows = delivery.Delivery(host["delivery"]).check(mailboxes=True) if host["delivery"] else []
        return wording.told(delivery.reported(found, rows))
    except MailserverError as err:
        raise CommandExecutionError(str(err)) from err


@mailhost_arguments.read(
    CommandExecutionError,
    domain=mailhost_arguments.domain,
    area=mailhost_arguments.text,
    everything=mailhost_arguments.flag,
)
def check(domain=None, area=None, everything=False):
    """
    Check the whole mail server, and what the world sees of it: is my mail all right?

    domain
        Only one of the host's domains; all, if left out.
    area
        Only ``config``, ``running``, ``protocol``, ``tls`` or ``dns``; all, if left out.
    everything
        Also return what is as wanted, not only what is not.

    Returns ``status`` (the worst of all: ``ok``, ``unknown``, ``warn`` or ``fail``), ``counts``, and ``findings``: each
    with a stable ``id``, its ``status``, what it is ``about``, what was ``wanted``, what was ``seen`` and where, and a
    ``remedy``. A check that had no result because a server did not answer is ``unknown``, not a failure. Nothing is
    changed. With a failure the return code is 1.

    CLI Example:

    .. code-block:: bash

        salt mx1 mailserver.check
        salt mx1 mailserver.check example.com area=dns everything=True
    """
    host = settings()
    if domain is not None:
        _check_domain("check", domain, host["domains"])
    if area is not None and area not in check_areas.AREAS:
        near = wording.did_you_mean(area, check_areas.AREAS)
        raise CommandExecutionError(f"mailserver.check: no area {area!r}; {near}")
    names = list(host["domains"]) if domain is None else [domain]
    areas = tuple(check_areas.AREAS) if area is None else (area,)
    told = check_areas.summary(check_areas.check(host, names, areas), everything)
    if told["status"] == "fail":
        __context__["retcode"] = 1
    return told


def watch():
    """
    Check the whole mail server, and report what changed since the last run: by an event, and by mail if the pillar asks
    for it.

    It uses the settings that the last highstate activated; the minion's schedule runs it (pillar ``watch``). Returns
    ``status`` and ``counts`` as :py:func:`check` does; ``changed``: for each ``change``, ``id``, ``was``, ``status``,
    ``count``, the first of what it is ``about``, and ``wanted``, ``seen`` and ``remedy`` of the first; and
    ``troubles``, what could not be reported or saved. The next run tries that again, and the return code is 1. The
    first run reports everything that is wrong. What is ``unknown`` is reported only after it has been so for a day.

    The event ``mailserver/watch/changed`` holds the same without ``troubles``, and at most fifty changes; ``more`` is
    the number of changes that were left out.

    CLI Example:

    .. code-block:: bash

        salt mx1 mailserver.watch
    """
    path = __opts__.get("mailserver.watch_memory", memory.PATH)
    try:
        told = watch_run.watch(_in_force(), path, _send_event)
    except (MailserverError, OSError) as err:
        raise CommandExecutionError(str(err)) from err
    if told["troubles"]:
        __context__["retcode"] = 1
    return told


def metrics():
    """
    Return what :py:func:`check` finds, and the state of the DKIM keys, in the text format of Prometheus.

    :py:func:`watch` writes the same into a file, if the pillar asks for it (``watch:prometheus``).

    CLI Example:

    .. code-block:: bash

        salt mx1 mailserver.metrics
        salt-call mailserver.metrics --out=newline_values_only
    """
    settings = _in_force()
    return watch_run.metrics(settings, watch_run.survey(settings))


def _in_force():
    """Return the settings that the last highstate activated; a minion option may name another file for them."""
    try:
        return watch_run.settings_in_force(__opts__.get("mailserver.settings_in_force", watch_run.SETTINGS))
    except MailserverError as err:
        raise CommandExecutionError(str(err)) from err


def _send_event(data):
    """Send an event, and return whether the master has it. Without a master it goes to the minion's own bus.

    With ``preload`` it goes to the master directly. Otherwise it would go through the minion, which silently drops it
    while the master is away.
    """
    tag, local = watch_run.EVENT, __opts__.get("file_client") == "local" or __opts__.get("local")
    if (local or __opts__.get("master_type") == "disable") and not __opts__.get("use_master_when_local"):
        __salt__["event.fire"](data, tag)
        return True
    uris = __opts__.get("master_uri_list") or [__opts__.get("master_uri")]
    if not watch_run.anyone_listens(uris):
        return False
    return bool(__salt__["event.send"](tag, data, preload={"cmd": "_minion_event"}))


def overview():
    """
    Return what the page of all hosts (``salt-run mailserver.report``) needs of this host; all of it is public.

    That is every finding of :py:func:`check` that is not ok, and the stamps of each domain's keys. A large result is
    compressed. To put it into the mine: ``mine_functions: {mailserver.overview: []}``.

    CLI Example:

    .. code-block:: bash

        salt '*' mailserver.overview
    """
    pillar = _own_pillar()
    if isinstance(pillar, dict) and not pillar.get("domains") and not Path(dkim_run.APPLIED).exists():
        return page_overview.NOTHING
    host = settings(pillar)
    return page_overview.overview(host, check_areas.check(host, list(host["domains"])), time.time())


@mailhost_arguments.read(CommandExecutionError, domain=mailhost_arguments.domain)
def mta_sts_policy(domain):
    """
    Return the text of a domain's MTA-STS policy, for the server of ``https://mta-sts.DOMAIN/.well-known/mta-sts.txt``.

    domain
        One of the host's domains, with ``mta_sts:mode`` in its pillar.

    It must be served as ``text/plain``, with a certificate that is valid for ``mta-sts.DOMAIN`` (RFC 8461 section
    3.3). With ``mailserver:mta_sts:serve: nginx`` this host serves it.

    CLI Example:

    .. code-block:: bash

        salt mx1 mailserver.mta_sts_policy example.com
    """
    domains = settings()["domains"]
    _check_domain("mta_sts_policy", domain, domains)
    if not domains[domain]["mta_sts"]["mode"]:
        raise CommandExecutionError(
            f"mailserver.mta_sts_policy: {domain} has no policy: mailserver:domains:{domain}:mta_sts:mode is not given"
        )
    return mta_sts.policy_text(domains[domain])


@mailhost_arguments.read(CommandExecutionError, domain=mailhost_arguments.domain, test=mailhost_arguments.flag)
def publish(domain=None, test=False):
    """
    Publish the SPF, DMARC, MTA-STS and TLS-RPT records that the pillar wants, in the same way as DKIM's
    (``mailserver:dns:publish``).

    domain
        One domain; all of the host, if left out.
    test
        Only return the plan: for each record its ``name``, what it is (``record``), what is there ``now``, what is
        ``wanted``, and the ``result``: ``already`` there, ``due`` to be sent, ``refused`` or ``unknown``, with ``why``.

    A record that was not published from here is never replaced, unless it already says what is wanted; other TXT
    records at the name stay. No record is removed without another one in its place. Returns the names that were
    ``sent`` and those that DNS showed ``already``, and a sentence for each record that was ``refused`` or whose outcome
    is ``unknown``; with either of these the return code is not 0. With ``publish: central`` it returns ``asked``
    instead of ``sent``: the publisher decides.

    CLI Example:

    .. code-block:: bash

        salt mx1 mailserver.publish test=True
        salt mx1 mailserver.publish example.com
    """
    host = settings()
    if domain is not None:
        _check_domain("publish", domain, host["domains"])
    domains = host["domains"] if domain is None else {domain: host["domains"][domain]}
    how = host["dns"]["publish"]
    if how == "manual":
        raise CommandExecutionError(
            "mailserver.publish: mailserver:dns:publish is manual, so people publish: see mailserver.records, whose "
            "format=nsupdate shows what it would replace; or set it to rfc2136 or central (docs/dns.md)"
        )
    changes = publish_policies.changes_of(domains)
    try:
        if how == "central":
            return _ask_for(publish_policies.seen(changes, host["dns"]), host["dns"]["central"], test)
        path = _published()
        return _outcomes(publish_policies.publish(changes, path, host["dns"], test), test)
    except MailserverError as err:
        raise CommandExecutionError(str(err)) from err


def _published(minion=None):
    """Return the path of the note of published records; a minion option may name another folder for it."""
    return remembered.path_of(__opts__.get("mailserver.published", remembered.FOLDER), minion)


def _outcomes(outcomes, test):
    told = [one.as_data() for one in outcomes] if test else publish_policies.by_result(outcomes)
    told = wording.told(told)
    if any(one.result in ("refused", "unknown") for one in outcomes):
        __context__["retcode"] = 2
    return told


def _ask_for(outcomes, central, test):
    """Put records that DNS does not show as wanted into the mine, and notify the master; or return the plan."""
    if test:
        return _outcomes(outcomes, test)
    due = [one.change for one in outcomes if one.result == "due"]
    names = [f"{one.kind} {one.name}" for one in due]
    policies = central_policies
    if not central_keys.ask_publisher(__salt__, central, policies.MINE, "mailserver.wanted", names, policies.EVENT):
        raise CommandExecutionError("mailserver.publish: the master could not be reached; nothing was requested")
    told = _outcomes([one for one in outcomes if one.result != "due"], test)
    del told["sent"], told["refused"]
    return {"asked": [one.name for one in due], **told}


@mailhost_arguments.read(CommandExecutionError, names=mailhost_arguments.texts)
def wanted(names):
    """
    Return policy records of this host in the form that the publisher should publish. :py:func:`publish` puts this
    function into the mine.

    names
        The records, a list of kind and name (``SPF example.com``).

    CLI Example:

    .. code-block:: bash

        salt mx1 mailserver.wanted '[SPF example.com]'
    """
    changes = publish_policies.changes_of(settings()["domains"])
    return central_policies.rows(one for one in changes if f"{one.kind} {one.name}" in names)


@mailhost_arguments.read(
    CommandExecutionError,
    minion=mailhost_arguments.text,
    domains=mailhost_arguments.texts,
    pillar=mailhost_arguments.as_given,
    test=mailhost_arguments.flag,
)
def publish_for(minion, domains, pillar=None, test=False):
    """
    Publish the policy records that another minion put into the mine, with this host's credential (``dns:rfc2136``).

    minion
        Its id.
    domains
        The domains whose records it may have published. The orchestration ``mailserver.publisher.orchestrate``
        takes them from the pillar that the master gives that minion.
    pillar
        What that pillar says of these domains: the sections ``spf``, ``dmarc``, ``mta_sts``, ``tls_rpt`` of each.
        Records must say the same. If left out, they only have to be in exactly the form that this formula writes.
    test
        Only return the plan, as :py:func:`publish` does.

    Returns what :py:func:`publish` does. This host remembers what it published for that minion: no record is replaced
    for a minion that did not have it published. While one call for a minion works and another waits, a third returns at
    once and leaves the work to that one (``later``).

    CLI Example:

    .. code-block:: bash

        salt ns1 mailserver.publish_for mx1 '[example.com]' test=True
    """
    try:
        if test:
            return _publish_for(str(minion), domains, pillar, test)
        with owners.turn(_published().parent, f"{minion} records") as is_ours:
            return _publish_for(str(minion), domains, pillar, test) if is_ours else dict(owners.LATER)
    except MailserverError as err:
        raise CommandExecutionError(str(err)) from err


def _publish_for(minion, domains, pillar, test):
    given = __salt__["mine.get"](minion, central_policies.MINE, tgt_type="list").get(minion)
    if given is None:
        raise CommandExecutionError(
            f"mailserver.publish_for: {minion} has nothing in the mine that this minion may read. Has "
            "mailserver.publish been run there, and does its mailserver:dns:central:publisher match this minion?"
        )
    # Each name as the pillar spells it, to find its sections, and as DNS has it.
    spelled = [(name, known) for name in domains for known in central_keys.domains_of([name])]
    allowed = {known: None if pillar is None else pillar.get(name) or {} for name, known in spelled}
    changes, refused = central_policies.read_rows(given, allowed)
    outcomes = publish_policies.publish(changes, _published(minion), settings()["dns"], test)
    told = _outcomes(outcomes, test)
    refused = wording.told(refused)
    if refused:
        __context__["retcode"] = 2
        if test:
            told += [{"result": "refused", "why": why} for why in refused]
        else:
            told["refused"] = [*refused, *told["refused"]]
    return told
