"""What the formula itself needs in Postfix's parameters: it is merged with what the pillar gives.

Without it mail would leave unsigned, or be refused, lost or deferred, while everything looks right.
"""

import re
from collections.abc import Iterable, Mapping

from mailhost.postfix import restrictions
from mailhost.postfix.lists import expanded, inner, words
from mailhost.postfix.versions import is_parameter

MACROS = {
    "milter_connect_macros": ("{daemon_name}",),
    "milter_mail_macros": ("i", "{auth_type}", "{auth_authen}"),
}
"""What OpenDKIM's script (authors.lua) must know about a session."""

LOCAL, LOGINS = "mailserver-local", "ORIGINATING"
"""``{daemon_name}`` of mail from sendmail(1), and of the services for logins with ``safe_options``."""


def full(text: str, values: Mapping[str, str]) -> str:
    """Return a value with each ``$name`` filled in, or unchanged if that is not possible."""
    found = expanded(text, values, is_parameter)
    return text if found is None else found


def beside(text: str, needed: Iterable[str], values: Mapping[str, str]) -> str:
    """Return a list extended by the words of ``needed`` that it lacks; they are added at its end.

    :param values: the texts of all parameters, to fill in ``$name``.
    """
    there = {_plain(word) for word in words(full(text, values))}
    missing = [one for one in needed if not {_plain(word) for word in words(full(one, values))} <= there]
    return ", ".join([*([text.strip().rstrip(",")] if text.strip() else []), *missing])


def _plain(word: str) -> str:
    """Return a word in the form in which equal ones are equal: a milter without options, a table without proxymap."""
    first = (words(inner(word)) or [word])[0].lower().removeprefix("proxy:")
    return re.sub(r"^inet:(localhost|\[::1\])(?=:)", "inet:127.0.0.1", first)


def merged(needs: Mapping[str, Iterable[str]], given: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """Return the pillar's parameters that change when the formula's own words are added.

    :param needs: ``{parameter: words}`` that must be in Postfix's lists.
    :param given: ``{parameter: text}`` of the pillar; ``values`` are the texts of all parameters.
    """
    found = {name: beside(text, needs[name], values) for name, text in given.items() if name in needs}
    return {name: text for name, text in found.items() if text != given[name]}


def relaying(given: Mapping[str, str], own: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """Return the restriction list that keeps strangers from relaying, if the pillar's own lists would not.

    :param given: ``{parameter: text}`` of the pillar; ``own`` is that of the formula.
    """
    relay, recipient = "smtpd_relay_restrictions", "smtpd_recipient_restrictions"
    texts = {name: given.get(name, own.get(name, "")) for name in (relay, recipient)}
    whole = {name: full(text, values) for name, text in texts.items()}
    if any(map(restrictions.guards, whole.values())) or restrictions.lets_all_by(whole[relay]):
        return {}
    return {relay: restrictions.added(texts[relay], "reject_unauth_destination") if texts[relay] else own[relay]}


def with_restriction(text: str, restriction: str, values: Mapping[str, str]) -> str:
    """Return a list of restrictions with one of the formula's added."""
    whole = full(text, values)
    if restriction.rsplit(maxsplit=1)[-1] in whole.replace("}", " ").replace(",", " ").split():
        return text
    # If a parameter of the pillar may end the list, a restriction after it would never be evaluated.
    return restrictions.added(whole if "$" in text else text, restriction)


def for_logins(text: str, values: Mapping[str, str]) -> str:
    """Return relay restrictions of a service for logins that let them send elsewhere; ``""`` stays as it is."""
    listed = [word.lower() for word in words(full(text, values))]
    if not listed or "permit_sasl_authenticated" in listed or "$" in text:
        return text
    return f"permit_sasl_authenticated, {text}"


def bound(text: str, values: Mapping[str, str]) -> str:
    """Return sender restrictions with the one that limits a login to its own addresses."""
    listed = {word.lower() for word in words(full(text, values))}
    if not listed or listed & restrictions.BINDINGS:
        return text
    return f"reject_sender_login_mismatch, {text}"
