"""The mark of this machine. By it a host notices that its keys were made on another machine."""

import hashlib
from pathlib import Path

MACHINE_ID = "/etc/machine-id"
"""systemd's id of the installation (machine-id(5)). It survives reboots, and a clone that was set up correctly gets its
own. Where it did not (an image that contains the file), the static host name must tell the machines apart."""
HOSTNAME = "/etc/hostname"
_SALT = b"mailserver-formula\0"
"""machine-id(5) asks not to show the id itself to others."""


def mark(machine_id: str | Path = MACHINE_ID, hostname: str | Path = HOSTNAME) -> str:
    """Return the mark of this machine, 16 hexadecimal digits; ``""`` where it has no id, or none yet.

    The host name is read from ``/etc/hostname``: the kernel's may come from DHCP and change from boot to boot.
    """
    number = _read(machine_id)
    if len(number) != 32 or set(number) <= {"0"}:
        return ""
    return hashlib.sha256(_SALT + f"{number}\0{_read(hostname)}".encode()).hexdigest()[:16]


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip().lower()
    except (OSError, UnicodeDecodeError):
        return ""
