"""
What a mail host needs beside its daemons: the firewall's mail ports, and its domains' records in DNS.
"""
# ruff: noqa: E402 (an upgrade may have left outdated modules in memory, to be dropped before they are imported)

import json

from salt.exceptions import CommandExecutionError

import mailserver_reload

mailserver_reload.drop_outdated()

import mailserver_acme
import mailserver_certificate
import mailserver_dns
import mailserver_firewall
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


def acme_credentials(name, rfc2136):
    """
    Have certbot's plugin for RFC 2136 know the server and the TSIG key that the host publishes its records with.

    name
        The file, which root alone may read; what is in it is not shown.
    rfc2136
        The section ``dns:rfc2136`` of the host's settings.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": f"{name} is as it should be"}
    try:
        text = mailserver_acme.credentials(rfc2136)
        if mailserver_acme.is_private(name, text):
            return ret
        ret["changes"] = {name: "the TSIG key of dns:rfc2136, for certbot"}
        if __opts__["test"]:
            return {**ret, "result": None, "comment": f"{name} would be written"}
        mailserver_acme.put_private(name, text)
    except MailserverError as err:
        return {**ret, "result": False, "changes": {}, "comment": str(err)}
    return {**ret, "comment": f"{name} was written"}


def acme_issued(name, dns_names, acme, folder, credentials, reuse_key=False):
    """
    Have certbot get a certificate, unless it has the one that is wanted; its own timer renews it.

    name
        certbot's name of the certificate.
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

    A certificate that cannot be had yet is awaited: the result is a warning with certbot's words, and the next
    highstate tries again.
    """
    ret = {
        "name": name,
        "result": True,
        "changes": {},
        "comment": f"certbot has the certificate of {', '.join(dns_names)}",
    }
    reason = mailserver_acme.lacking(name, dns_names, acme, folder, reuse_key)
    if reason is None:
        return ret
    if __opts__["test"]:
        return {
            **ret,
            "result": None,
            "comment": f"certbot would get a certificate for {', '.join(dns_names)}: {reason}",
        }
    try:
        mailserver_acme.issue(mailserver_acme.command(name, dns_names, acme, credentials, reuse_key), acme["ca_file"])
    except MailserverError as err:
        comment = mailserver_acme.awaited(dns_names, reason, err)
        return {**ret, "comment": comment, "warnings": [comment]}
    ret["changes"] = {name: {"old": reason, "new": f"issued by {acme['server']} for {', '.join(dns_names)}"}}
    return {**ret, "comment": f"certbot got a certificate for {', '.join(dns_names)}"}


def records_published(name, settings):
    """
    Look whether DNS shows the records that the host and its domains want; those of DKIM keys have states of their own.

    name
        What the report is of.
    settings
        ``domains``, ``hostname``, ``addresses``, ``dns``, ``tls`` and ``os`` of the host's settings
        (``mailserver.settings``); or the same as JSON text, which an SLS file of thousands of domains loads a hundred
        times as fast.

    Nothing is changed, in DNS or here, unless ``publish_records`` in ``dns`` has what is absent or different published
    (``mailserver.publish``); the next run looks what came of it. What is absent, different or could not be seen is a
    warning with the line to publish; with ``strict`` in ``dns``, what is absent or different is a failure.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": ""}
    settings = json.loads(settings) if isinstance(settings, str) else settings
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
