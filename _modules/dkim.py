"""
DKIM keys of this host: what became of each, and the records to publish (``salt '*' dkim.…``).
"""

from salt.exceptions import CommandExecutionError

import mailserver_lifecycle
import mailserver_opendkim
import mailserver_records
from mailserver_errors import MailserverError

__virtualname__ = "dkim"


def __virtual__():
    return __virtualname__


def records(domain=None, format="zone"):
    """
    Return the DKIM records of this host's keys, ready to publish.

    domain
        One domain; all, if left out.
    format
        ``zone`` (lines of a zone file, strings of at most 255 bytes), ``string`` (each record's text as one string, for
        a provider's form), ``json`` or ``data``, ``nsupdate`` (input for nsupdate, which adds what is not there), or
        ``octodns`` (for each domain the text of a zone file of octoDNS, DOMAIN.yaml).

    A revoked key is returned with an empty ``p=`` (RFC 6376 section 3.6.1), a removed one not at all.

    CLI Example:

    .. code-block:: bash

        salt mx1 dkim.records example.com
        salt mx1 dkim.records example.com format=nsupdate
    """
    settings = __salt__["mailserver.settings"]()
    keys = settings["os"]["opendkim"]["keys"]
    try:
        found = mailserver_lifecycle.key_records(keys, settings["domains"], domain)
    except MailserverError as err:
        raise CommandExecutionError(str(err)) from err
    forms = {
        "zone": mailserver_records.zone,
        "nsupdate": lambda records: mailserver_records.nsupdate(records, {}),
        "string": lambda records: {record.name: mailserver_records.one_string(record) for record in records},
        "json": mailserver_records.as_json,
        "data": mailserver_records.as_data,
        "octodns": _octodns,
    }
    if format not in forms:
        raise CommandExecutionError(f"dkim.records: format {format!r} is none of {', '.join(forms)}")
    return forms[format](found)


def _octodns(records):
    by_domain = {}
    for record in records:
        by_domain.setdefault(record.name.partition("._domainkey.")[2], []).append(record)
    return {name: mailserver_records.octodns(found, name) for name, found in by_domain.items()}


def status(domain=None):
    """
    Return what became of each key: its stage, since when, whether OpenDKIM signs with it, and what comes next.

    domain
        One domain; all, if left out. A domain that is no longer in the pillar, but whose keys are still here, is shown.

    CLI Example:

    .. code-block:: bash

        salt '*' dkim.status
        salt mx1 dkim.status example.com
    """
    settings = __salt__["mailserver.settings"]()
    paths = settings["os"]["opendkim"]
    tables = mailserver_opendkim.tables(paths["key_table"], paths["signing_table"])
    try:
        found = mailserver_lifecycle.status(paths["keys"], settings["domains"], tables)
    except MailserverError as err:
        raise CommandExecutionError(str(err)) from err
    if domain is None:
        return found
    if domain not in found:
        raise CommandExecutionError(
            f"dkim.status: {domain} has no keys on this host; those that have: {', '.join(found)}"
        )
    return {domain: found[domain]}
