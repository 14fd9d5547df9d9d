"""What the formula needs of Postfix beside what the pillar gives: both are put together.

Without its own part mail would leave unsigned, or be refused, lost or deferred, while everything looks right.
"""

import re

from mailhost.postfix import restrictions
from mailhost.postfix.lists import expanded, inner, words
from mailhost.postfix.versions import is_parameter

MACROS = {
    "milter_connect_macros": ("{daemon_name}",),
    "milter_mail_macros": ("i", "{auth_type}", "{auth_authen}"),
}
"""What OpenDKIM's script has to be told of a session (authors.lua)."""

LOCAL, LOGINS = "mailserver-local", "ORIGINATING"
"""``{daemon_name}`` of what sendmail(1) was given, and of the services for logins with ``safe_options``."""


def full(text, values):
    """Return a value with each ``$name`` filled in as far as that is known."""
    found = expanded(text, values, is_parameter)
    return text if found is None else found


def beside(text, needed, values):
    """Return a list that has all words of ``needed``; those that it lacks come last.

    :param values: the texts of all parameters, for what ``$name`` stands for.
    """
    there = {_plain(word) for word in words(full(text, values))}
    missing = [one for one in needed if not {_plain(word) for word in words(full(one, values))} <= there]
    return ", ".join([*([text.strip().rstrip(",")] if text.strip() else []), *missing])


def _plain(word):
    """Return a word so that those that mean the same are the same: a milter with options, a table through proxymap."""
    first = (words(inner(word)) or [word])[0].lower().removeprefix("proxy:")
    return re.sub(r"^inet:(localhost|\[::1\])(?=:)", "inet:127.0.0.1", first)


def merged(needs, given, values):
    """Return those of the pillar's parameters in which the formula has a part, with it.

    :param needs: ``{parameter: words}`` that the formula has to have in lists of Postfix's.
    :param given: ``{parameter: text}`` of the pillar; ``values`` the texts of all parameters.
    """
    found = {name: beside(text, needs[name], values) for name, text in given.items() if name in needs}
    return {name: text for name, text in found.items() if text != given[name]}


def relaying(given, own, values):
    """Return the two lists that keep strangers from relaying, where the pillar's own would not.

    :param given: ``{parameter: text}`` of the pillar, ``own`` that of the formula.
    """
    relay, recipient = "smtpd_relay_restrictions", "smtpd_recipient_restrictions"
    texts = {name: given.get(name, own.get(name, "")) for name in (relay, recipient)}
    whole = {name: full(text, values) for name, text in texts.items()}
    if any(map(restrictions.guards, whole.values())) or restrictions.lets_all_by(whole[relay]):
        return {}
    return {relay: restrictions.added(texts[relay], "reject_unauth_destination") if texts[relay] else own[relay]}


def with_restriction(text, restriction, values):
    """Return a list of restrictions that has one of the formula's."""
    whole = full(text, values)
    if restriction.split()[-1] in whole.replace("}", " ").replace(",", " ").split():
        return text
    # Where a parameter of the pillar's may end the list, what comes after it would never be asked.
    return restrictions.added(whole if "$" in text else text, restriction)


def for_logins(text, values):
    """Return the relay restrictions of a service for logins with what lets these send elsewhere; ``""`` stays."""
    listed = [word.lower() for word in words(full(text, values))]
    if not listed or "permit_sasl_authenticated" in listed or "$" in text:
        return text
    return f"permit_sasl_authenticated, {text}"


def bound(text, values):
    """Return the restrictions of senders with the one by which a login sends as its own addresses alone."""
    listed = {word.lower() for word in words(full(text, values))}
    if not listed or listed & restrictions.BINDINGS:
        return text
    return f"reject_sender_login_mismatch, {text}"
