"""firewalld's zones, permanent and running: what is missing in each, and the commands that add or remove it."""

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, Protocol, TypeAlias

from mailhost.errors import FirewallError

_COMMAND = "firewall-cmd"
_WHERE: dict[str, tuple[str, ...]] = {"permanent": ("--permanent",), "running": ()}

Items: TypeAlias = dict[str, list[str]]
"""Services and ports of a zone: ``{"permanent": [...], "running": [...]}``."""


class FirewallCmd(Protocol):
    """What takes firewall-cmd's arguments and returns its output, as :func:`firewall_cmd` does."""

    def __call__(self, *arguments: str) -> str: ...


def missing(zone: str, services: Collection[str], ports: Collection[str], run: FirewallCmd | None = None) -> Items:
    """Return what ``zone`` does not allow yet: ``{"permanent": [...], "running": [...]}`` of services and ports.

    :param run: takes firewall-cmd's arguments and returns its output; for tests.
    :raises FirewallError: firewalld does not run, or knows no such zone or service.
    """
    run = run or firewall_cmd
    with ThreadPoolExecutor() as pool:  # firewall-cmd is slow to start
        shown = pool.map(lambda options: run(*options, f"--zone={zone}", "--list-all"), _WHERE.values())
        absent = {where: _absent(text, services, ports) for where, text in zip(_WHERE, shown, strict=True)}
    lacking = {name for names in absent.values() for name in names if "/" not in name}
    _check_services(sorted(lacking), run)
    return absent


def present(zone: str, services: Collection[str], ports: Collection[str], run: FirewallCmd | None = None) -> Items:
    """Return which of these services and ports ``zone`` allows, in the form that :func:`missing` returns."""
    lacking = missing(zone, services, ports, run)
    return {where: _without([*services, *ports], absent) for where, absent in lacking.items()}


def _check_services(services: Collection[str], run: FirewallCmd) -> None:
    unknown = set(services) - set(run("--get-services").split()) if services else ()
    if unknown:
        raise FirewallError(
            f"firewalld on this host knows no service {', '.join(sorted(unknown))}; name others, or ports, in the "
            "pillar mailserver:firewalld (firewall-cmd --get-services lists those that it knows)"
        )


def change(
    verb: Literal["add", "remove"], zone: str, items: Mapping[str, Collection[str]], run: FirewallCmd | None = None
) -> None:
    """``add`` or ``remove`` the services and ports in ``items`` (see :func:`missing`); the firewall is not reloaded.

    :raises FirewallError: firewalld refused something; what was changed before that is undone.
    """
    run = run or firewall_cmd
    done: list[tuple[str, str, list[str]]] = []
    try:
        for where, kind, names in _steps(items):
            done.append((where, kind, names))  # firewall-cmd may accept the first of several and refuse the last
            run(*_WHERE[where], f"--zone={zone}", *(f"--{verb}-{kind}={name}" for name in names))
    except FirewallError:
        undo = {"add": "remove", "remove": "add"}[verb]
        for where, kind, names in reversed(done):
            for name in names:
                with contextlib.suppress(FirewallError):
                    run(*_WHERE[where], f"--zone={zone}", f"--{undo}-{kind}={name}")
        raise


def _steps(items: Mapping[str, Collection[str]]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield (where, kind, names); firewall-cmd takes one kind at a time."""
    for where, names in items.items():
        kinds = {"service": [one for one in names if "/" not in one], "port": [one for one in names if "/" in one]}
        for kind, some in kinds.items():
            if some:
                yield where, kind, some


def _absent(shown: str, services: Collection[str], ports: Collection[str]) -> list[str]:
    """Return which services and ports are missing in ``shown``, the output of ``firewall-cmd --list-all``."""
    lines = dict(line.strip().partition(": ")[::2] for line in shown.splitlines())
    allowed = {"services": lines.get("services", "").split(), "ports": lines.get("ports", "").split()}
    return [*_without(services, allowed["services"]), *_without(ports, allowed["ports"])]


def _without(wanted: Collection[str], allowed: Collection[str]) -> list[str]:
    return [one for one in wanted if one not in allowed]


def firewall_cmd(*arguments: str) -> str:
    """Run firewall-cmd; return its output.

    :raises FirewallError: with the command and its error message.
    """
    try:
        done = subprocess.run((_COMMAND, *arguments), capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError as err:
        raise FirewallError(f"{_COMMAND} is not installed") from err
    except subprocess.TimeoutExpired as err:
        raise FirewallError(f"{_COMMAND} {' '.join(arguments)}: no answer in 60 s; does firewalld run?") from err
    if done.returncode:
        raise FirewallError(f"{_COMMAND} {' '.join(arguments)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()


ADMINISTRATION = ("sshd", "salt-master")
"""Programs by which a host, or many of them, is administered."""
_USUAL = {"ssh": {"22/tcp"}, "salt-master": {"4505/tcp", "4506/tcp"}}


def shut_out(zone: str, listening: str, run: FirewallCmd | None = None) -> list[str]:
    """Return which administration programs a zone blocks: ``["sshd at 2222/tcp"]``.

    :param listening: what ``ss -Hltnp`` printed.
    """
    run = run or firewall_cmd
    lines = dict(line.strip().partition(": ")[::2] for line in run(f"--zone={zone}", "--list-all").splitlines())
    if lines.get("target") == "ACCEPT":
        return []
    allowed = set(lines.get("ports", "").split())
    for service in lines.get("services", "").split():
        allowed |= _USUAL.get(service, set())
    found = []
    for line in listening.splitlines():
        name, words = re.search(r'"([^"]+)"', line), line.split()
        if not name or name[1] not in ADMINISTRATION or words[3].startswith(("127.", "[::1]")):
            continue
        port = f"{words[3].rpartition(':')[2]}/tcp"
        if port not in allowed:
            found.append(f"{name[1]} at {port}")
    return sorted(set(found))


def is_reached(address: str, port: int, limit: float = 5) -> bool:
    """Tell whether a TCP connection to a port can be made."""
    try:
        socket.create_connection((address, port), limit).close()
    except OSError:
        return False
    return True


def keeps_from_master(
    masters: Collection[tuple[str, int]],
    stop: Callable[[], object],
    start: Callable[[], object],
    reached: Callable[[str, int], bool] = is_reached,
) -> bool:
    """Tell whether the firewall cuts the host off from its master; if so, it is left stopped.

    :param masters: (address, port) of each master's ports; one that answers is enough.
    :param stop, start: stop and start the firewall. It is to blame only if a master is reached without it.
    """
    if not masters or any(reached(*one) for one in masters):
        return False
    stop()
    if any(reached(*one) for one in masters):
        return True
    start()
    return False


def is_connected(
    connections: Callable[[], str],
    limit: float = 60,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> bool:
    """Wait until the minion has a connection to its master; tell whether it has one within ``limit`` seconds.

    While a minion of Salt 3008 has none, its returns are lost.

    :param connections: returns the output of ``ss -Htn`` with the established connections to the master's publish port.
    """
    until, step = clock() + limit, 0
    while not connections().strip():
        if clock() >= until:
            return False
        step = 1
        pause(step)
    pause(step)  # The minion opens the channel for its returns right after this connection.
    return True
