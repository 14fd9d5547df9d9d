"""Postfix's restriction lists: which words exist, what keeps strangers from relaying, and how lists are merged."""

from collections.abc import Iterable

from mailhost.postfix.lists import TYPES, inner, words
from mailhost.wording import did_you_mean

_ALONE = frozenset(
    """
    check_recipient_maps check_relay_domains defer defer_if_permit defer_if_reject defer_unauth_destination permit
    permit_auth_destination
    permit_inet_interfaces permit_mx_backup permit_mynetworks permit_naked_ip_address permit_sasl_authenticated
    permit_tls_all_clientcerts permit_tls_clientcerts reject reject_authenticated_sender_login_mismatch
    reject_invalid_helo_hostname reject_invalid_hostname reject_known_sender_login_mismatch reject_maps_rbl
    reject_multi_recipient_bounce reject_non_fqdn_helo_hostname reject_non_fqdn_hostname reject_non_fqdn_recipient
    reject_non_fqdn_sender reject_plaintext_session reject_sender_login_mismatch reject_unauth_destination
    reject_unauth_pipelining reject_unauthenticated_sender_login_mismatch reject_unknown_address reject_unknown_client
    reject_unknown_client_hostname reject_unknown_forward_client_hostname reject_unknown_helo_hostname
    reject_unknown_hostname reject_unknown_recipient_domain reject_unknown_reverse_client_hostname
    reject_unknown_sender_domain reject_unlisted_recipient reject_unlisted_sender reject_unverified_recipient
    reject_unverified_sender warn_if_reject
    """.split()
)
_TAKING = frozenset(
    """
    check_ccert_access check_client_a_access check_client_access check_client_mx_access check_client_ns_access
    check_etrn_access check_helo_a_access check_helo_access check_helo_mx_access check_helo_ns_access
    check_policy_service check_recipient_a_access check_recipient_access check_recipient_mx_access
    check_recipient_ns_access check_reverse_client_hostname_a_access check_reverse_client_hostname_access
    check_reverse_client_hostname_mx_access check_reverse_client_hostname_ns_access check_sasl_access
    check_sender_a_access check_sender_access check_sender_mx_access check_sender_ns_access permit_dnswl_client
    permit_rhswl_client reject_rbl reject_rbl_client reject_rhsbl_client reject_rhsbl_helo reject_rhsbl_recipient
    reject_rhsbl_reverse_client reject_rhsbl_sender sleep
    """.split()
)
"""Restrictions that take the next word as their argument (postconf(5))."""

GUARDS = frozenset(("reject_unauth_destination", "defer_unauth_destination", "check_relay_domains", "reject", "defer"))
"""Restrictions that keep strangers from relaying; smtpd(8) accepts no mail without one of them."""
BINDINGS = frozenset(
    f"reject_{kind}sender_login_mismatch" for kind in ("", "authenticated_", "known_", "unauthenticated_")
)
"""Restrictions that limit a login to its own addresses."""
_ENDS = frozenset(("permit", "reject", "defer", "permit_auth_destination", "permit_mx_backup"))
"""After these, nothing more is evaluated for a stranger's recipient."""


def unknown(text: str, classes: Iterable[str]) -> tuple[str, str] | None:
    """Return the first word that is not a restriction, and what may have been meant; ``None`` if there is none.

    :param text: a list of restrictions, ``$name`` filled in.
    :param classes: the names in ``smtpd_restriction_classes``.
    """
    known = {*_ALONE, *_TAKING, *classes}
    takes = False
    for word in words(text):
        name = word.lower()
        is_table = word.lstrip("!").partition(":")[0] in TYPES and ":" in word
        if takes or is_table or inner(word) or "$" in word or word in known or name in known:
            takes = name in _TAKING and not takes
            continue
        return word, did_you_mean(word, known)
    return None


def guards(text: str) -> bool:
    """Tell whether a list keeps strangers from relaying: it refuses before it permits everybody."""
    for word in map(str.lower, words(text)):
        if word in GUARDS:
            return True
        if word == "permit":
            return False
    return False


def lets_all_by(text: str) -> bool:
    """Tell whether a list has a bare ``permit``, after which nothing in it counts."""
    return "permit" in map(str.lower, words(text))


def added(text: str, restriction: str) -> str:
    """Return a list with a restriction that must apply to strangers added: before the word that ends it, if any."""
    listed = words(text)
    at = next((at for at, word in enumerate(listed) if word.lower() in _ENDS), None)
    if at is None:
        return ", ".join(filter(None, [text.strip().rstrip(","), restriction]))
    return ", ".join(filter(None, [_joined(listed[:at]), restriction, _joined(listed[at:])]))


def _joined(listed: Iterable[str]) -> str:
    """Return words as a list in readable form: a restriction's argument follows it without a comma."""
    text, takes = "", False
    for word in listed:
        text += f"{' ' if takes else ', '}{word}" if text else word
        takes = word.lower() in _TAKING and not takes
    return text
