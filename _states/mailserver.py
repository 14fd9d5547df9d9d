"""
What a mail host needs beside its daemons: the firewall's mail ports, and its domains' records in DNS.
"""
# ruff: noqa: E402 (an upgrade may have left outdated modules in memory, to be dropped before they are imported)

import json

from salt.exceptions import CommandExecutionError

import mailserver_reload

mailserver_reload.drop_outdated()

import mailserver_certificate
import mailserver_dns
import mailserver_firewall
import mailserver_packing
import mailserver_wants
from mailserver_errors import MailserverError, MissingPackage

__virtualname__ = "mailserver"


def __virtual__():
    return __virtualname__


def firewall_open(name, services=(), ports=()):
    """
    Allow services and ports in a firewalld zone, in the permanent and in the running firewall.

    name
        The zone.
    services
        Services that firewalld knows (``smtp``).
    ports
        Ports (``587/tcp``).

    Nothing else of the zone is touched, and the firewall is not reloaded, so no connection is cut.
    """
    return _firewall(name, services, ports, "add", mailserver_firewall.missing, "open")


def firewall_closed(name, services=(), ports=()):
    """
    Allow these services and ports in a firewalld zone no longer; the opposite of :py:func:`firewall_open`.
    """
    return _firewall(name, services, ports, "remove", mailserver_firewall.present, "closed")


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
        mailserver_firewall.change(verb, zone, items)
    except MailserverError as err:
        ret.update(result=False, comment=str(err), changes={})
        return ret
    ret["comment"] = f"Zone {zone}: mail ports are now {wanted}"
    return ret


def records_published(name, settings):
    """
    Look whether DNS shows the records that the host and its domains want; those of DKIM keys have states of their own.

    name
        What the report is of.
    settings
        ``domains``, ``hostname``, ``addresses``, ``dns``, ``tls`` and ``os`` of the host's settings
        (``mailserver.settings``); or the same as JSON text, which an SLS file of thousands of domains loads a hundred
        times as fast. The domains may be packed (``mailserver.packed``).

    Nothing is changed, in DNS or here, unless ``publish_records`` in ``dns`` has what is absent or different published
    (``mailserver.publish``); the next run looks what came of it. What is absent, different or could not be seen is a
    warning with the line to publish; with ``strict`` in ``dns``, what is absent or different is a failure.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": ""}
    settings = json.loads(settings) if isinstance(settings, str) else settings
    settings = {**settings, "domains": mailserver_packing.unpacked(settings["domains"])}
    try:
        tlsa = mailserver_certificate.tlsa_data(settings)
    except MailserverError as err:
        tlsa, ret["warnings"] = None, [str(err)]
    wanted = mailserver_wants.wants(settings["domains"], settings["hostname"], settings["addresses"], tlsa)
    try:
        answers = mailserver_dns.ask(mailserver_wants.questions(wanted), mailserver_dns.options(settings["dns"]))
    except MissingPackage as err:
        if __opts__["test"]:
            return {**ret, "result": None, "comment": f"DNS would be asked for {len(wanted)} things; now: {err}"}
        return {**ret, "result": False, "comment": str(err)}
    except MailserverError as err:
        return {**ret, "result": False, "comment": str(err)}
    findings = mailserver_wants.compare(wanted, answers)
    published = _publish(ret, findings) if settings["dns"].get("publish_records") else ()
    findings = [one for one in findings if not mailserver_wants.is_of(one, published)]
    ret["comment"] = "\n".join([*filter(None, [ret["comment"]]), mailserver_wants.comment(findings)])
    warnings = mailserver_wants.warnings(findings)
    if warnings:
        ret["warnings"] = [*ret.get("warnings", ()), *warnings]
    if settings["dns"]["strict"] and any(finding.value in ("absent", "different") for finding in findings):
        ret["result"] = False
    return ret


def _publish(ret, findings):
    """Have those policy records published that DNS does not show as wanted; return their names.

    With ``test=True`` they are those that would be.
    """
    if not any(mailserver_wants.is_publishable(one) for one in findings):
        return ()
    before = __context__.get("retcode", 0)
    try:
        told = __salt__["mailserver.publish"](test=__opts__["test"])
    except CommandExecutionError as err:
        ret["warnings"] = [*ret.get("warnings", ()), f"No record was published: {err}"]
        return ()
    # What was refused is a warning of this state, and no failure of the whole run.
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
        ret["warnings"] = [*ret.get("warnings", ()), *troubles[: mailserver_wants.DETAILS]]
    return names
