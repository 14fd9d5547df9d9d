"""TLS certificates: read from files, and compared with a name, a key and another certificate."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mailhost.errors import CertificateError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes

    from mailhost.files import AnyPath
    from mailhost.shapes import Settings

_HASHES = {1: hashlib.sha256, 2: hashlib.sha512}
_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def read_chain(path: AnyPath) -> list[x509.Certificate]:
    """Return the certificates of a PEM file, in order; other blocks, such as a key, are skipped.

    :raises OSError: the file cannot be read.
    :raises ValueError: a block that claims to be a certificate is not one.
    """
    return parse_chain(Path(path).read_text(encoding="ascii", errors="replace"))


def parse_chain(text: str) -> list[x509.Certificate]:
    """Return the certificates in PEM text, like :func:`read_chain`."""
    from cryptography import x509

    return [x509.load_pem_x509_certificate(block.encode()) for block in blocks(text)]


def blocks(text: str) -> list[str]:
    """Return the certificates in PEM text as separate PEM texts."""
    return _BLOCK.findall(text)


def file_of(settings: Settings, part: Literal["certificate", "key"]) -> str:
    """Return the path of the ``certificate`` or ``key`` that the host serves, from its source or self-signed."""
    return settings["tls"][part] or settings["os"]["tls"][part]


def from_der(octets: bytes) -> x509.Certificate:
    """Return a certificate from DER bytes, as a server sends it."""
    from cryptography import x509

    return x509.load_der_x509_certificate(octets)


def private_key(path: AnyPath) -> PrivateKeyTypes:
    """Return the private key of a PEM file.

    :raises ValueError: it is not a key, or it is encrypted, so that no daemon could read it either.
    """
    return load_key(Path(path).read_bytes())


def load_key(pem: bytes) -> PrivateKeyTypes:
    """Return the private key in PEM bytes, like :func:`private_key`."""
    from cryptography.hazmat.primitives import serialization

    try:
        return serialization.load_pem_private_key(pem, None)
    except TypeError as err:
        raise ValueError("the key is encrypted") from err


def is_pair(key: PrivateKeyTypes, certificate: x509.Certificate) -> bool:
    """Tell whether a private key belongs to a certificate."""
    return _public(key.public_key()) == _public(certificate.public_key())


def _public(key: PublicKeyTypes) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def names_of(certificate: x509.Certificate) -> list[str]:
    """Return the DNS names of a certificate; the common name does not count (RFC 9525 section 2)."""
    from cryptography import x509

    try:
        named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return named.value.get_values_for_type(x509.DNSName)


def covers(name: str, hostname: str) -> bool:
    """Tell whether a certificate's name covers a host; ``*`` is its whole first label (RFC 9525 section 6.3)."""
    name, hostname = name.lower().rstrip("."), hostname.lower().rstrip(".")
    if name.startswith("*."):
        return "." in name[2:] and hostname.partition(".")[2] == name[2:]
    return name == hostname


def issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether a certificate names another one as its issuer and is signed with that one's key."""
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def subject(certificate: x509.Certificate) -> str:
    """Return the subject of a certificate as text."""
    return certificate.subject.rfc4514_string() or "(no name)"


def summary(certificate: x509.Certificate) -> str:
    """Return text that distinguishes a certificate from its predecessor."""
    from cryptography.hazmat.primitives import hashes

    fingerprint = certificate.fingerprint(hashes.SHA256()).hex()[:16]
    return f"SHA-256 {fingerprint}…, valid until {certificate.not_valid_after_utc:%Y-%m-%d}"


def digest(certificate: x509.Certificate, selector: int, matching: int) -> str:
    """Return the data of a TLSA record for a certificate, hexadecimal (RFC 6698 section 2.1)."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if selector:
        content = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        content = certificate.public_bytes(Encoding.DER)
    return _HASHES[matching](content).hexdigest() if matching else content.hex()


def tlsa_data(settings: Settings) -> str | None:
    """Return the certificate data for the host's TLSA record (``3 1 1``); ``None`` if it should have none.

    :raises CertificateError: the certificate cannot be read.
    """
    if not settings["tls"]["tlsa"]:
        return None
    path = file_of(settings, "certificate")
    try:
        chain = read_chain(path)
    except (OSError, ValueError) as err:
        raise CertificateError(f"{path}: the certificate for the TLSA record cannot be read: {err}") from err
    if not chain:
        raise CertificateError(f"{path}: there is no certificate in it for the TLSA record")
    return digest(chain[0], 1, 1)
