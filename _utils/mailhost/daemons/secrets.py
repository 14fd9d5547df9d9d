"""Secrets in the parameters of daemons: everybody can read these files, and diffs and the job cache show them.

No secret that is found is ever repeated. What a host has by hand is shown with its secrets masked.
"""

import itertools
import re
from collections.abc import Sequence

# The words of a parameter's name: smtp_sasl_password_maps, LDAPBindPassword, ldap_bind_pw.
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z0-9]*|[a-z0-9]+")
_SECRET = frozenset(
    "password passwd passphrase passwort pass dnpass pw pwd bindpw secret secrets token nonce credential credentials "
    "apikey".split()
)
_ABOUT = frozenset(
    "scheme schemes query attrs file files path delimiter format filter command socket service verify mechanism "
    "mechanisms type length iterations fields map mapping result timeout time limit size max min count port".split()
)
"""Last words that make a parameter one about secrets, whose value is not a secret."""
_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----|-----BEGIN OpenSSH PRIVATE|AGE-SECRET-KEY-1")
_LOGIN = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
_PAIR = re.compile(
    r"(?i)(?<![a-z0-9])(?:password|passwd|passphrase|bind_?pw|dnpass|secret|api_?key|token)[ \t]{0,9}[=:][ \t]{0,9}"
    r"""["']?[^\s"'/<$%{},;]"""
)
_HEADER = re.compile(r"(?i)\bauthorization:[ \t]{0,9}\S|\b(?:basic|bearer) [A-Za-z0-9+/=._-]{8}")
_ELSEWHERE = re.compile(r"<?[ \t]{0,9}/\S*|\$\S+|%\{[^}]*\}|(?:[a-z_]+:){1,3}(?:/|\$)\S*", re.IGNORECASE)
"""A file, a table in a file, or another parameter: not a secret itself."""
_WORDS_OF_NONE = frozenset(("", "yes", "no", "true", "false", "none"))
_IN_A_NAME = re.compile(r"(?i)pass(?:wd|word|phrase)|secret|token|dnpass|credential|nonce")
_MASKS = (
    (
        re.compile(
            r"(?i)((?:pass(?:wd|word|phrase)?|secret|token|dnpass|pw|api_?key)\w{0,40}\s{0,9}[=:]\s{0,9})"
            r"(\"[^\"]*\"?|'[^']*'?|(?:\{[\w.-]+\})?[^\s,}/]+)"
        ),
        r"\1***",
    ),
    (re.compile(r"(?i)(\bauthorization:\s{0,9}|\b(?:basic|bearer) )[A-Za-z0-9+/=._ -]+"), r"\1***"),
    (re.compile(r"(://[^/\s:@]*:)[^/\s@]+@"), r"\1***@"),
    (re.compile(r"(inline:\s{0,9}\{)[^}]*"), r"\1 *** "),
    (re.compile(r"(\{(?:SSHA|SHA|CRYPT|PLAIN|BLF|ARGON)[\w.-]*\})\S+"), r"\1***"),
    (re.compile(r"\$(?:1|2[aby]?|5|6|y|argon2\w*)\$\S+"), "***"),
    (re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.*|AGE-SECRET-KEY-1\w*", re.DOTALL), "***"),
)

WHERE = {
    "postfix": "Put it into a file of root's with mode 0600 on the host, by hand or by a state of your own, and name "
    "the file: for logins at a relay smtp_sasl_password_maps: texthash:/etc/postfix/sasl_passwd, for a database its "
    "own file, mysql:/etc/postfix/NAME.cf or ldap:/etc/postfix/NAME.cf",
    "dovecot": "Put it, without a line break at its end, into a file of root's with mode 0600 on the host, and give "
    "the setting as </etc/dovecot/NAME: Dovecot then reads it from there",
    "opendkim": "Put the line into a file root:opendkim with mode 0640 on the host, and name it: "
    "Include: /etc/opendkim/NAME.conf",
}
"""Where a secret should go that was given in the parameters of a daemon."""


def problem(daemon: str, name: str, value: object) -> str:
    """Return why a parameter must not be given, without its value, and where it should go; ``""`` if it has no secret.

    :param daemon: a key of :data:`WHERE`.
    :param value: as in the pillar: text, a number, true or false, or a list.
    """
    values = value if isinstance(value, (list, tuple)) else [value]
    # In YAML a password of digits only is a number.
    texts = [str(one).strip() for one in values if isinstance(one, (str, int, float)) and not isinstance(one, bool)]
    whole = ", ".join(texts)
    what = _what(name, texts) or _in_text(whole, name)
    if not what:
        return ""
    return f"it holds {what}, which would lie in a file for all to read, in diffs and in the job cache. {WHERE[daemon]}"


def masked(name: str, value: str) -> str:
    """Return a value, text, with its secrets replaced by ``***``, or all of it if its name marks it as a secret.

    This takes more for a secret than :func:`problem` refuses, since nothing is lost by masking.
    """
    words = [one.lower() for one in _WORDS.findall(name)]
    is_named = _is_secret(words) or _IN_A_NAME.search(name)
    if is_named and not _ABOUT.union(("maps",)).intersection(words[-1:]) and _is_given(value):
        return "***"
    for pattern, shown in _MASKS:
        value = pattern.sub(shown, value)
    return value


def _what(name: str, texts: Sequence[str]) -> str:
    words = [one.lower() for one in _WORDS.findall(name)]
    if not _is_secret(words) or words[-1] in _ABOUT:
        return ""
    if words[-1] == "maps":
        given = any(re.search(r"\b(inline|static):", one) for one in texts)
        return "passwords" if given else ""
    return f"a secret ({name})" if any(map(_is_given, texts)) else ""


def _is_given(value: str) -> bool:
    return value.lower() not in _WORDS_OF_NONE and not _ELSEWHERE.fullmatch(value)


def _is_secret(words: Sequence[str]) -> bool:
    return bool(_SECRET.intersection(words)) or ("api", "key") in itertools.pairwise(words)


def _in_text(text: str, name: str) -> str:
    if _KEY.search(text):
        return "a private key"
    if _LOGIN.search(text):
        return "a password in a URL"
    if _HEADER.search(text):
        return "a login for HTTP"
    is_template = name.lower().endswith(("_query", "_attrs", "_filter", "_fields"))
    return "a password" if not is_template and _PAIR.search(text) else ""
