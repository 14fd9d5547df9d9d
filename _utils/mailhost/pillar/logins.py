"""Which of the host's users are people, by login.defs(5): their ids start at UID_MIN, and all others are lower."""

import re

LOGIN_DEFS = "/etc/login.defs"
USUAL = 1000


def first_user_id(text: str) -> int:
    """Return UID_MIN from the text of login.defs: decimal, octal (``01750``) or hexadecimal (``0x3e8``); the last one.

    If it is not given, not a number, or 0, which would let root log in, it is 1000, as in shadow-utils.
    """
    given = re.findall(r"^[ \t]*UID_MIN[ \t]+(\S{1,20})", text, re.MULTILINE)
    return _number(given[-1]) or USUAL if given else USUAL


def _number(text: str) -> int:
    if re.fullmatch(r"0[xX][0-9a-fA-F]+", text):
        return int(text, 16)
    if not re.fullmatch(r"[0-9]+", text):
        return 0
    return int(text, 8) if re.fullmatch(r"0[0-7]+", text) else int(text)
