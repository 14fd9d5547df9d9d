"""Settings of a hand-made opendkim.conf, and options of its unit, that decide which mail is signed and how."""

import getopt
import ipaddress
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from mailhost.errors import TakeoverError
from mailhost.shapes import Opendkim
from mailhost.takeover.opendkim_conf import Setting, data_set, same_path

if TYPE_CHECKING:
    from mailhost.takeover.plan import WantedHost

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

OPTIONS = "Ab:c:d:De:fF:k:lL:no:p:P:Qrs:S:t:T:u:vVWx:X?"
"""OpenDKIM 2.11's own options."""
DECIDING = (
    "ChangeRootDirectory",
    "DefaultSender",
    "FinalPolicyScript",
    "LuaOnlySigning",
    "MacroList",
    "MTA",
    "POPDBFile",
    "ResignAll",
    "ResignMailTo",
    "ScreenPolicyScript",
    "SenderHeaders",
    "SenderMacro",
    "SetupPolicyScript",
)
"""With these, OpenDKIM signs other mail, for other domains, or with other keys than its tables and networks say."""
_DROP = "mailserver:opendkim:takeover:drop"


def settings_lost(settings: Mapping[str, Setting], host: "WantedHost") -> Iterator[tuple[str, str, str]]:
    """Yield ``(what, why, remedy)`` for each setting that affects which mail is signed and that the pillar lacks.

    :param settings: as returned by :func:`mailhost.takeover.opendkim_conf.settings_of`.
    """
    kept = {name.lower(): value for name, value in host.opendkim["settings"].items()}
    for name in DECIDING:
        found = settings.get(name.lower())
        if found and _plain(kept.get(name.lower())) != _plain(found.value):
            what, key = f"{found.name} {found.value}", f"mailserver:opendkim:settings:{found.name}"
            why = f"{found.where}: it decides which mail is signed, and would be gone"
            yield what, why, f"Set {key} to it, or give it up: list {what} in {_DROP}."
    if "s" not in host.opendkim["mode"]:
        why = "mail is signed now and would not be after the run"
        yield f"Mode {host.opendkim['mode']}", why, f"Set mailserver:opendkim:mode to sv, or list it in {_DROP}."
    yield from _hosts_lost(settings, host)


def _plain(value: bool | int | str | None) -> str:
    text = ("yes" if value else "no") if isinstance(value, bool) else str(value)
    return text.strip().lower()


def _hosts_lost(settings: Mapping[str, Setting], host: "WantedHost") -> Iterator[tuple[str, str, str]]:
    """Yield the hosts whose mail is signed now and would no longer be."""
    setting = settings.get("internalhosts")
    if not setting:
        return
    remedy = f"Write it as a refile: table and run again, or list it in {_DROP}."
    try:
        rows = data_set(setting, settings).rows
    except TakeoverError as err:
        yield f"{setting.name} {setting.value}", str(err), remedy
        return
    for row in rows:
        if not row.key.startswith("!") and not _is_trusted(row.key, host):
            why = f"{row.where}: mail that this host takes from {row.key} is signed now and would not be after the run"
            yield row.key, why, f"List it in mailserver:opendkim:trusted_hosts, or give it up: list it in {_DROP}."


def _is_trusted(text: str, host: "WantedHost") -> bool:
    """Tell whether the pillar has mail from an address, network or name signed, or it is the host itself."""
    own = {host.hostname, *host.domains, *host.addresses, "localhost", "localhost.localdomain"}
    trusted = [one.lower() for one in host.opendkim["trusted_hosts"]]
    if text.lower() in own or text.lower() in trusted:
        return True
    network = _network(text)
    known = [_network(one) for one in ("127.0.0.0/8", "::1", *host.addresses, *trusted)]
    return network is not None and any(one is not None and _lies_in(network, one) for one in known)


def _lies_in(network: _Network, other: _Network) -> bool:
    if isinstance(network, ipaddress.IPv4Network):
        return isinstance(other, ipaddress.IPv4Network) and network.subnet_of(other)
    return isinstance(other, ipaddress.IPv6Network) and network.subnet_of(other)


def _network(text: str) -> _Network | None:
    try:
        return ipaddress.ip_network(text.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        return None


def options_of(words: Sequence[str]) -> tuple[list[tuple[str, str]], str]:
    """Return ``([(option, value)], why they cannot be read)`` for a command line of OpenDKIM."""
    try:
        return getopt.getopt(words[1:], OPTIONS)[0], ""
    except getopt.GetoptError as err:
        return [], str(err)


def words_lost(words: Sequence[str], config: str, opendkim: Opendkim, user: str, signs: bool) -> Iterator[str]:
    """Yield why OpenDKIM, as its unit starts it, would not use only the formula's opendkim.conf.

    Options that may make it sign on their own always count; where it listens and its mode count only if it ``signs``.

    :param words: its command line; empty if it is not known.
    :param config: the path of opendkim.conf, as the formula writes it.
    :param opendkim, user: the pillar's section, and the user that OpenDKIM must run as.
    """
    if not words:
        return
    given, wrong = options_of(words)
    if wrong:
        yield f"its options cannot be read: {wrong}"
    if os.path.basename(words[0]) == "opendkim" and words[0].startswith("/usr/local"):
        yield f"it is {words[0]}, which no package of the system brought; install the system's and start that"
    wanted = {"-p": opendkim["socket"], "-b": opendkim["mode"], "-u": user}
    for option, value in given:
        if option == "-x" and not same_path(value, config):
            yield f"-x {value}: it reads another file; move that to {config}"
        elif option in ("-d", "-k", "-s", "-S", "-D"):
            yield (
                f"{option} {value}".strip()
                + f": it decides who signs; write it into {config} (opendkim(8) has the setting's name)"
            )
        elif signs and option in wanted and value != wanted[option]:
            yield f"{option} {value}: {wanted[option]} is what the pillar says"
