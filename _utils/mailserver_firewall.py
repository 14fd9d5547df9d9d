"""firewalld's zones, permanent and running: what is missing in either, and the commands that add or remove it."""

import subprocess

from mailserver_errors import FirewallError

_COMMAND = "firewall-cmd"
_WHERE = {"permanent": ("--permanent",), "running": ()}


def missing(zone, services, ports, run=None):
    """Return what ``zone`` does not allow yet: ``{"permanent": [...], "running": [...]}`` of services and ports.

    :param run: takes firewall-cmd's arguments and returns its output; for tests.
    :raises FirewallError: firewalld does not run, or knows no such zone or service.
    """
    run = run or firewall_cmd
    known = run("--get-services").split()
    unknown = [service for service in services if service not in known]
    if unknown:
        raise FirewallError(
            f"firewalld on this host knows no service {', '.join(unknown)}; name others, or ports, in the pillar "
            "mailserver:firewalld (firewall-cmd --get-services lists those that it knows)"
        )
    return {where: _absent(zone, services, ports, options, run) for where, options in _WHERE.items()}


def present(zone, services, ports, run=None):
    """Return which of these services and ports ``zone`` allows, permanent and running, as :func:`missing` does."""
    lacking = missing(zone, services, ports, run)
    wanted = [*services, *ports]
    return {where: [one for one in wanted if one not in absent] for where, absent in lacking.items()}


def change(verb, zone, items, run=None):
    """``add`` or ``remove`` the services and ports in ``items`` (see :func:`missing`); the firewall is not reloaded."""
    run = run or firewall_cmd
    for where, names in items.items():
        for name in names:
            kind = "port" if "/" in name else "service"
            run(*_WHERE[where], f"--zone={zone}", f"--{verb}-{kind}={name}")


def _absent(zone, services, ports, options, run):
    allowed = run(*options, f"--zone={zone}", "--list-services").split()
    open_ports = run(*options, f"--zone={zone}", "--list-ports").split()
    return [one for one in services if one not in allowed] + [one for one in ports if one not in open_ports]


def firewall_cmd(*arguments):
    """Run firewall-cmd; return what it printed.

    :raises FirewallError: with what it was asked and what it said.
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
