"""The credential for publishing: a TSIG key, kept secret."""

import base64
import binascii
import os
import re
import stat
from dataclasses import dataclass, field

from mailhost.errors import PublishError
from mailhost.shapes import DnsRfc2136

_ALGORITHMS = (
    *("hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"),
    *("hmac-sha256-128", "hmac-sha384-192", "hmac-sha512-256"),
)
_KEY_NAME = re.compile(r"(?=.{1,253}\.?\Z)([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?\Z")
_TOKEN = re.compile(r'(?:\s+|//[^\n]*|#[^\n]*|/\*.*?\*/)|("[^"\n]*"|[{};]|[^\s{};"]+)', re.DOTALL)


@dataclass(frozen=True)
class Credential:
    """A server that accepts updates, and its TSIG key; ``secret`` is base64, ``timeout`` is seconds a message."""

    server: str
    port: int
    name: str
    algorithm: str
    secret: str = field(repr=False)
    timeout: float


def read_credential(rfc2136_settings: DnsRfc2136) -> Credential:
    """Return the credential that the pillar's section ``dns:rfc2136`` names.

    The key file has the form that ``tsig-keygen`` prints: ``key "mx1" { algorithm hmac-sha256; secret "…"; };``

    :raises PublishError: no server is named, or the file is missing or malformed, or users other than root and this
        process's user can read it.
    """
    server = rfc2136_settings["server"]
    if server is None:
        raise PublishError("mailserver:dns:rfc2136:server: not given; say which primary server takes the updates")
    path = rfc2136_settings["key_file"]
    name, algorithm, secret = _read_key(_private_text(path), path)
    return Credential(server, rfc2136_settings["port"], name, algorithm, secret, rfc2136_settings["timeout"])


def _private_text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            _check_private(os.fstat(file.fileno()), path)
            return file.read()
    except FileNotFoundError as err:
        raise PublishError(
            f"{path}: there is no such TSIG key file (mailserver:dns:rfc2136:key_file). "
            "`tsig-keygen NAME` makes a key; the name server needs the same one"
        ) from err
    except OSError as err:
        raise PublishError(f"{path}: the TSIG key file cannot be read: {err.strerror}") from err
    except UnicodeDecodeError:
        # Not raised from its cause: that holds the bytes of the file.
        raise PublishError(f"{path}: the TSIG key file is not text") from None


def _check_private(found: os.stat_result, path: str) -> None:
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid not in (0, os.geteuid()):
        raise PublishError(f"{path}: the TSIG key file belongs to user {found.st_uid}; `chown root {path}`")
    if mode & 0o007 or (mode & 0o070 and found.st_gid != 0):
        raise PublishError(f"{path}: others may use the TSIG key file (mode {mode:04o}); `chmod 0600 {path}`")


def _read_key(text: str, path: str) -> tuple[str, str, str]:
    """Return the name, algorithm and secret of BIND's ``key`` statement; errors do not quote the file."""
    tokens = [found[1].strip('"') for found in _TOKEN.finditer(text) if found[1]]
    count = tokens.count("key")
    if count != 1 or tokens[0] != "key" or tokens[2:3] != ["{"] or [one for one in tokens[-2:] if one != ";"] != ["}"]:
        raise PublishError(
            f"{path}: the TSIG key file holds {f'{count} keys' if count > 1 else 'no key'}; one is wanted, as "
            '`tsig-keygen NAME` prints it: key "NAME" { algorithm hmac-sha256; secret "…"; };'
        )
    body = tokens[3 : tokens.index("}")]
    given = {body[at].lower(): body[at + 1] for at in range(0, len(body) - 2, 3) if body[at + 2] == ";"}
    if len(body) != 6 or set(given) != {"algorithm", "secret"}:
        raise PublishError(f"{path}: the TSIG key needs an algorithm and a secret, each ended by a semicolon")
    if not _KEY_NAME.match(tokens[1]):
        raise PublishError(f"{path}: the name of the TSIG key is no domain name")
    algorithm = given["algorithm"].lower().rstrip(".")
    if algorithm not in _ALGORITHMS:
        raise PublishError(f"{path}: the TSIG key's algorithm is none of {', '.join(_ALGORITHMS)}")
    try:
        empty = not base64.b64decode(given["secret"], validate=True)
    except (binascii.Error, ValueError):
        empty = True
    if empty:
        raise PublishError(f"{path}: the TSIG key's secret is not base64")
    return tokens[1].lower().rstrip("."), algorithm, given["secret"]
