"""Keys and manifests on disk. After a crash at any point a file has its old or its new content, never half of one."""

import base64
import contextlib
import functools
import grp
import os
import pwd
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mailhost import files as safe_files
from mailhost.dkim import folders as key_folders
from mailhost.dkim import life
from mailhost.dkim import manifest as dkim_manifest
from mailhost.errors import DkimError, KeyFileError, ManifestError, UnsafeFile
from mailhost.files import AnyPath

MANIFEST = "keys.json"
_COMPROMISED = ".compromised"


@dataclass(frozen=True)
class Owner:
    """The user and group, as names, that key files belong to."""

    user: str
    group: str

    def ids(self) -> tuple[int, int]:
        """Return ``(uid, gid)``.

        :raises KeyFileError: the host has no such user or group.
        """
        try:
            return _ids(self.user, self.group)
        except KeyError as err:
            raise KeyFileError(f"this host has no user or group {self.user}:{self.group} to own DKIM keys") from err


@functools.lru_cache
def _ids(user: str, group: str) -> tuple[int, int]:
    return pwd.getpwnam(user).pw_uid, grp.getgrnam(group).gr_gid


_read_before: dict[str, tuple[tuple[int, ...], life.Manifest]] = {}
"""``{path: (version of the file, manifest)}``: the states of a highstate read each manifest one after the other.

A manifest is immutable. A file that replaces another has another inode, and a file that somebody edits gets another
ctime, which no tool can set. On a fast disk, though, an inode number may be reused within one tick of the clock, so
what this process writes is dropped from this cache.
"""


def domains_on_disk(keys: AnyPath) -> list[str]:
    """Return the names of all domains that have a manifest below the folder ``keys``."""
    return sorted(path.parent.name for path in Path(keys).glob(f"*/{MANIFEST}"))


def read_manifest(keys: AnyPath, domain: str) -> life.Manifest:
    """Return the :class:`mailhost.dkim.life.Manifest` of ``domain``; one without keys if there is no file.

    :raises ManifestError: the file is damaged, cannot be read, or may have been written by a user other than root.
    """
    path = f"{keys}/{domain}/{MANIFEST}"
    try:
        before = _read_before.get(path)
        if before and before[0] == _version(os.lstat(path)):
            return before[1]
        octets, found = safe_files.read(path, roots=True)
        text = octets.decode()
    except FileNotFoundError:
        return life.Manifest(domain)
    except UnsafeFile as err:
        raise ManifestError(str(err)) from err
    except (OSError, UnicodeDecodeError) as err:
        raise ManifestError(f"{path}: cannot be read: {err}") from err
    manifest = dkim_manifest.parse(text, domain, path)
    _read_before[path] = (_version(found), manifest)
    return manifest


def _version(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_ctime_ns, found.st_mtime_ns, found.st_size


def write_manifest(keys: AnyPath, manifest: life.Manifest) -> None:
    """Replace a manifest on disk atomically and durably (fsync of file and folder)."""
    try:
        safe_files.replace_file(Path(keys) / manifest.domain / MANIFEST, dkim_manifest.emit(manifest), 0o644)
    finally:
        _read_before.pop(f"{keys}/{manifest.domain}/{MANIFEST}", None)


def private_path(keys: AnyPath, domain: str, selector: str) -> Path:
    """Return the path of a private key file."""
    return Path(keys, domain, f"{selector}.private")


def make_folder(keys: AnyPath, domain: str, owner: Owner) -> None:
    """Make the domain's folder and the one above it. Root owns them, and the owner's group may pass (0750).

    :raises UnsafeFile: something else has that name.
    """
    top, ids = Path(keys), owner.ids()
    top.mkdir(parents=True, exist_ok=True)
    with safe_files.opened_folder(top) as descriptor, contextlib.suppress(FileExistsError):
        os.mkdir(domain, 0o700, dir_fd=descriptor)
    for folder in (top, top / domain):
        key_folders.settle_folder(folder, ids)


def _settle(descriptor: int, mode: int, uid: int, gid: int) -> bool:
    """Give an open file or folder this mode and owner; return whether it had others before."""
    wrong = _differs(os.fstat(descriptor), mode, uid, gid)
    if wrong:
        os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, mode)
    return wrong


def _differs(found: os.stat_result, mode: int, uid: int | None, gid: int | None) -> bool:
    return (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) != (mode, uid, gid)


def generate(bits_wanted: Iterable[int]) -> Iterator[str]:
    """Yield a new RSA private key as PEM text for each number of bits in the list; all cores work in parallel.

    PEM is PKCS #1 (``BEGIN RSA PRIVATE KEY``), as opendkim-genkey writes it.
    """
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        yield from pool.map(_new_rsa, bits_wanted)


def _new_rsa(bits: int) -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode("ascii")


def public_half(pem: str, where: str) -> tuple[str, int]:
    """Return ``(public, bits)`` of a private key: the base64 text of its SubjectPublicKeyInfo, and its size.

    :param pem: the key file's text, never repeated in a message.
    :raises KeyFileError: it holds no RSA key (an OpenDKIM process signs with one algorithm only).
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    try:
        key = serialization.load_pem_private_key(pem.encode("ascii"), None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise KeyFileError(f"{where}: this is not a private key in PEM form") from err
    if not isinstance(key, rsa.RSAPrivateKey):
        raise KeyFileError(
            f"{where}: this is no RSA key; an OpenDKIM that signs with RSA would refuse all mail with it"
        )
    der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode("ascii"), key.key_size


def write_private(keys: AnyPath, domain: str, selector: str, pem: str, owner: Owner) -> None:
    """Write a private key file (0600, with its owner), which must not exist yet.

    :raises KeyFileError: a file of that name is there.
    """
    path = private_path(keys, domain, selector)
    if os.path.lexists(path):
        raise KeyFileError(f"{path}: already there, and never overwritten")
    safe_files.replace_file(path, pem, 0o600, owner.ids())


def destroy(path: AnyPath) -> None:
    """Delete a private key file, if it exists, and sync its folder, so that it does not come back after a power cut."""
    safe_files.delete(path)


def is_compromised(keys: AnyPath, domain: str, selector: str) -> bool:
    """Tell whether a private key was reported as known to others (:func:`mark_compromised`)."""
    return os.path.lexists(f"{keys}/{domain}/{selector}{_COMPROMISED}")


def mark_compromised(keys: AnyPath, domain: str, selector: str) -> None:
    """Record that a private key is known to others: its record is revoked as soon as another key signs."""
    safe_files.replace_file(_mark(keys, domain, selector), "This key is known to others; see dkim.revoke.\n", 0o644)


def _mark(keys: AnyPath, domain: str, selector: str) -> Path:
    return Path(keys) / domain / f"{selector}{_COMPROMISED}"


def write_record(keys: AnyPath, domain: str, selector: str, zone_line: str) -> None:
    """Write the record to publish beside its key (``<selector>.txt``), for people."""
    safe_files.replace_file(Path(keys) / domain / f"{selector}.txt", f"{zone_line}\n", 0o644)


def settle_key(keys: AnyPath, domain: str, key: life.KeyRow, owner: Owner, test: bool = False) -> bool:
    """Give a key file the owner and mode that OpenDKIM insists on; return whether it had others before.

    :param test: only check.
    :raises KeyFileError: the file is missing, or it may be somebody else's file under this name.
    """
    path = private_path(keys, domain, key.selector)
    try:
        with safe_files.opened(path) as descriptor:
            return _settle_private(path, descriptor, key, owner, test)
    except FileNotFoundError as err:
        raise KeyFileError(
            f"{path}: missing; without it the key {key.selector} cannot sign. Restore it from a backup or have a new "
            f"key made: salt-call dkim.rotate {domain} force=True"
        ) from err
    except UnsafeFile as err:
        raise KeyFileError(str(err)) from err


def _settle_private(path: Path, descriptor: int, key: life.KeyRow, owner: Owner, test: bool) -> bool:
    found = os.fstat(descriptor)
    ids = _ids_if_there(owner) if test else owner.ids()
    if not _differs(found, 0o600, *ids):
        return False
    if found.st_nlink > 1 and found.st_uid != ids[0]:
        raise UnsafeFile(
            f"{path}: it has {found.st_nlink} names, so it may be another's file, and is not given to {owner.user}; "
            "put a copy of the key in its place"
        )
    return True if test else _settle(descriptor, 0o600, *owner.ids())


def _ids_if_there(owner: Owner) -> tuple[int, int] | tuple[None, None]:
    try:
        return owner.ids()
    except KeyFileError:
        # The package that brings the user is not installed yet, so the file cannot be that user's.
        return None, None


def read_private(path: AnyPath) -> str:
    """Return the text of a private key file.

    :raises KeyFileError: it cannot be read, or is not a regular file.
    """
    try:
        return safe_files.read_text(path, encoding="ascii")
    except UnsafeFile as err:
        raise KeyFileError(str(err)) from err
    except (OSError, UnicodeDecodeError) as err:
        raise KeyFileError(f"{path}: cannot be read: {err}") from err


def check_private(keys: AnyPath, domain: str, key: life.KeyRow) -> None:
    """Check that a key's file holds the key whose record the manifest has.

    :raises KeyFileError: the file is missing, unreadable, or holds another key.
    """
    path = private_path(keys, domain, key.selector)
    pem = read_private(path)
    if public_half(pem, str(path))[0] != key.public:
        raise KeyFileError(
            f"{path}: it is not the key whose record was emitted for {key.selector}; was it replaced by hand?"
        )


def read_each(
    names: Iterable[str], read: Callable[[str], life.Manifest]
) -> tuple[dict[str, life.Manifest], dict[str, str]]:
    """Return ``({domain: manifest}, {domain: why it cannot be read})``; ``read`` takes a domain's name."""
    manifests: dict[str, life.Manifest] = {}
    troubles: dict[str, str] = {}
    for name in names:
        try:
            manifests[name] = read(name)
        except DkimError as err:
            troubles[name] = str(err)
    return manifests, troubles
