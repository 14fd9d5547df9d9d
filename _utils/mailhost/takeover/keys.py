"""Private keys of a hand-made configuration: read wherever they are, and copied to the formula's key folder."""

import base64
import binascii
import contextlib
import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailhost import files as safe_files
from mailhost.dkim import keystore
from mailhost.errors import KeyFileError
from mailhost.files import AnyPath

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

LARGEST = 65536
"""Bytes; a larger file is not a key."""
WEAKEST = 1024
"""Bits; no verifier accepts a smaller key (RFC 8301 section 3.2)."""


@dataclass(frozen=True)
class Material:
    """A private key: its PEM text (PKCS #1), which is never shown, and the base64 text of its public half."""

    pem: str
    public: str
    bits: int


def load(key: str, base: str = "/") -> Material:
    """Return the :class:`Material` of a KeyTable's third field, or of ``KeyFile``: a path, or the key itself.

    :param base: OpenDKIM's BaseDirectory.
    :raises KeyFileError: it cannot be read, or is not an RSA key that verifiers accept; the message omits the key.
    """
    if re.match(r"\.{0,2}/", key):
        path = os.path.join(base, key)
        return _material(_octets(path), path)
    return _material(key.encode("ascii", "replace"), "the key in the table itself")


def _octets(path: str) -> bytes:
    """Return the content of a file, also through a link; it does not block on a pipe or a device."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise KeyFileError(f"{path}: not a regular file")
            if found.st_size > LARGEST:
                raise KeyFileError(f"{path}: {found.st_size} bytes are no private key")
            return file.read(LARGEST)
    except OSError as err:
        raise KeyFileError(f"{path}: cannot be read: {err.strerror}") from err


def _material(octets: bytes, where: str) -> Material:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = _parsed(octets, where)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise KeyFileError(
            f"{where}: this is no RSA key ({_kind(key)}); an OpenDKIM that signs with RSA refuses all mail with it"
        )
    if key.key_size < WEAKEST:
        raise KeyFileError(
            f"{where}: a key of {key.key_size} bits, and no verifier takes less than {WEAKEST} (RFC 8301)"
        )
    forms = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    pem = key.private_bytes(*forms).decode("ascii")
    return Material(pem, *keystore.public_half(pem, where))


def _parsed(octets: bytes, where: str) -> "PrivateKeyTypes":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    octets = octets.strip()
    how = serialization.load_der_private_key
    if octets.startswith(b"-----"):
        how = serialization.load_pem_private_key
    elif octets.startswith(b"MII"):
        with contextlib.suppress(binascii.Error):
            octets = base64.b64decode(octets)
    try:
        return how(octets, None, unsafe_skip_rsa_key_validation=True)
    except TypeError as err:
        raise KeyFileError(f"{where}: the key is locked with a passphrase, which OpenDKIM cannot ask for") from err
    except (ValueError, UnsupportedAlgorithm) as err:
        raise KeyFileError(f"{where}: this is not a private key") from err


def _kind(key: "PrivateKeyTypes") -> str:
    return type(key).__name__.strip("_").removesuffix("PrivateKey")


def is_own(keys: AnyPath, domain: str, selector: str) -> bool:
    """Tell whether a key file is in the domain's key folder as a file of its own: no link, and no second name."""
    path = keystore.private_path(keys, domain, selector)
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1


def present(keys: AnyPath, domain: str, selector: str) -> Material | None:
    """Return the :class:`Material` that is already at a key's path, also through links; ``None`` if there is none.

    :raises KeyFileError: something else is there, or the domain's folder is not a folder.
    """
    folder = os.path.join(keys, domain)
    for one in (keys, folder):
        if os.path.islink(one) or (os.path.lexists(one) and not os.path.isdir(one)):
            raise KeyFileError(f"{one}: is to be a folder, and no link to one; put a folder in its place, keys and all")
    path = keystore.private_path(keys, domain, selector)
    return load(str(path)) if os.path.lexists(path) else None


def put(keys: AnyPath, domain: str, selector: str, material: Material, owner: keystore.Owner) -> bool:
    """Copy a key to the domain's key folder, unless it is there; a link in its place is replaced by the copy.

    The file that was read stays where it is.

    :return: whether anything was written.
    """
    if is_own(keys, domain, selector):
        return False
    keystore.make_folder(keys, domain, owner)
    path = keystore.private_path(keys, domain, selector)
    safe_files.replace_file(path, material.pem, 0o600, owner.ids())
    return True
