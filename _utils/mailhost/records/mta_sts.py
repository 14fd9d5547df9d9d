"""MTA-STS (RFC 8461): reading a domain's record and policy, and fetching the policy as senders do."""

import hashlib
import http.client
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from mailhost.shapes import DomainSettings

LIMIT = 5
"""Seconds for one policy, from connecting to its last byte; senders give up after a minute (section 3.3)."""
LARGEST = 64 * 1024
LONGEST = 31557600
"""Seconds: the largest ``max_age`` (section 3.2)."""
MODES = ("enforce", "testing", "none")


@dataclass(frozen=True)
class Policy:
    """What a policy file says: ``mode``, ``max_age`` in seconds, and the patterns of MX hosts."""

    mode: str
    max_age: int
    mx: tuple[str, ...]


class PolicyError(Exception):
    """A domain's policy cannot be fetched or is not valid; senders ignore it, or use an older one."""


class Unfetched(Exception):
    """Whether there is a policy is unknown: a timeout, or trouble with DNS."""


def policy_text(domain: DomainSettings) -> str:
    """Return the text of a domain's policy file (section 3.2), made from its settings.

    The order of its hosts has no meaning, so they are sorted: changed MX preferences do not make a new policy.
    """
    policy = domain["mta_sts"]
    hosts = (f"mx: {host}" for host in sorted(filter(None, domain["mx"] or ())))
    lines = ("version: STSv1", f"mode: {policy['mode']}", *hosts, f"max_age: {policy['max_age']}")
    return "".join(f"{line}\n" for line in lines)


def policy_id(text: str) -> str:
    """Return the ``id`` of a policy: the same for the same text, another one for any other text (section 3.1)."""
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def url(domain: str) -> str:
    """Return the URL of a domain's policy (section 3.3)."""
    return f"https://mta-sts.{domain}/.well-known/mta-sts.txt"


def is_record(value: bytes) -> bool:
    """Tell whether a TXT value counts as an MTA-STS record (section 3.1)."""
    return bool(re.match(rb"v=STSv1[ \t]*;", value))


def record_problem(value: bytes) -> str | None:
    """Return what is wrong with a record, or ``None``; it needs an ``id`` (section 3.1)."""
    return "it needs one id= of 1 to 32 letters and digits" if id_of(value) is None else None


def id_of(value: bytes) -> str | None:
    """Return the ``id`` of a record; ``None`` if it has none that is valid."""
    fields = [one.strip() for one in value.decode("utf-8", "replace").split(";")]
    ids = [one.partition("=")[2].strip() for one in fields if re.match(r"id[ \t]*=", one)]
    return ids[0] if len(ids) == 1 and re.fullmatch(r"[A-Za-z0-9]{1,32}", ids[0]) else None


def parse(text: str) -> Policy:
    """Read a policy file (section 3.2).

    :raises PolicyError: the file is not valid; the message says what is wrong.
    """
    pairs = [line.partition(":") for line in text.splitlines() if line.strip()]
    fields = [(name.strip(), value.strip()) for name, colon, value in pairs if colon]
    # If a field is repeated, the first one counts, except for mx.
    first = dict(reversed(fields))
    if first.get("version") != "STSv1":
        raise PolicyError("it does not say version: STSv1")
    if first.get("mode") not in MODES:
        raise PolicyError(f"its mode: is {first.get('mode', 'missing')}; it can be {', '.join(MODES)}")
    age = first.get("max_age", "")
    if not re.fullmatch(r"[0-9]{1,10}", age) or int(age) > LONGEST:
        raise PolicyError(f"its max_age: is {age or 'missing'}; it is a number of seconds up to {LONGEST}")
    mx = tuple(value.lower().rstrip(".") for name, value in fields if name == "mx")
    if not mx and first["mode"] != "none":
        raise PolicyError("it names no mx:")
    return Policy(first["mode"], int(age), mx)


def allows(policy: Policy, host: str) -> bool:
    """Tell whether a policy allows mail to an MX host; ``*.`` stands for one label (section 4.1)."""
    return any(host == one or (one.startswith("*.") and host.partition(".")[2] == one[2:]) for one in policy.mx)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Redirects are not followed (section 3.3)."""

    def redirect_request(self, *_: object) -> None:
        return None


def fetch(domain: str, limit: float = LIMIT, context: ssl.SSLContext | None = None) -> str:
    """Return the text of a domain's policy file, by HTTPS with the certificate checked (section 3.3).

    :param context: by default the system's, with its certificate authorities.
    :raises PolicyError: there is none: a status other than 200, a redirect, a certificate that is not valid for the
        name, a type other than text/plain, or no connection.
    :raises Unfetched: no answer within ``limit`` seconds, or none from DNS.
    """
    context = context or ssl.create_default_context()
    context.sslsocket_class = _socket_until(time.monotonic() + limit)
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(url(domain), timeout=limit) as response:
            return _read(response)
    except urllib.error.HTTPError as err:
        raise PolicyError(f"the web server answers with status {err.code}") from err
    except urllib.error.URLError as err:
        raise _trouble(err.reason, limit) from err
    except (OSError, ValueError, http.client.HTTPException) as err:
        raise _trouble(err, limit) from err


def _socket_until(ends: float) -> type[ssl.SSLSocket]:
    """Return a class of sockets that stop reading at a moment of the monotonic clock, however slowly bytes arrive."""

    class Socket(ssl.SSLSocket):
        def recv_into(self, *arguments: Any, **options: Any) -> int:
            self.settimeout(max(ends - time.monotonic(), 0.001))
            return super().recv_into(*arguments, **options)

    return Socket


def _read(response: http.client.HTTPResponse) -> str:
    kind = response.headers.get_content_type()
    if kind != "text/plain":
        raise PolicyError(f"it is served as {kind}, and has to be text/plain")
    parts: list[bytes] = []
    size = 0
    while part := response.read1(4096):
        parts.append(part)
        size += len(part)
        if size > LARGEST:
            raise PolicyError(f"it is larger than {LARGEST} bytes")
    return b"".join(parts).decode("utf-8", "replace")


def _trouble(reason: str | BaseException, limit: float) -> PolicyError | Unfetched:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return PolicyError(f"the web server's certificate is not valid: {reason.verify_message}")
    if isinstance(reason, TimeoutError):
        return Unfetched(f"no answer in {limit:g} s")
    if isinstance(reason, socket.gaierror) and reason.errno != socket.EAI_NONAME:
        return Unfetched(f"DNS gave no answer: {reason}")
    return PolicyError(" ".join(str(reason).split()) or type(reason).__name__)
