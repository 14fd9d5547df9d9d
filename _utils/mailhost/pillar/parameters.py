"""What differs between operating systems: the files in ``mailserver/parameters/``, merged for one host."""

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import salt.utils.dictupdate
import salt.utils.yaml

from mailhost.errors import MissingParameters, UnknownSystem

_NAMES = ("defaults", "families", "releases")
_TextOf: TypeAlias = Callable[[str], str | Literal[False] | None]
"""What takes a file's URL (``salt://…``) and returns its text, or nothing if the file server lacks it."""


def read(text_of: _TextOf, saltenv: str) -> dict[str, Any]:
    """Return the contents of the three files by their names.

    :raises MissingParameters: one of them is missing.
    """
    return {name: salt.utils.yaml.safe_load(_text(text_of, name, saltenv)) for name in _NAMES}


def _text(text_of: _TextOf, name: str, saltenv: str) -> str:
    path = f"salt://mailserver/parameters/{name}.yaml"
    text = text_of(path)
    if not text:
        raise MissingParameters(
            f"mailserver: {path} is not on the file server in the environment {saltenv!r}. If the formula is in "
            "another one, name it: saltenv=…"
        )
    return text


def of_system(parameters: Mapping[str, Any], grains: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a host's operating system, plain data.

    :param parameters: the contents of the three files by their names.
    :param grains: those of the host; ``osfinger``, ``oscodename`` and ``os_family`` are used.
    :raises UnknownSystem: the formula does not know the system.
    """
    releases, system = parameters["releases"], name_of(grains)
    if system not in releases:
        known = ", ".join(sorted(releases))
        raise UnknownSystem(f"mailserver: {system} is not among the systems that this formula knows: {known}")
    family = parameters["families"].get(grains.get("os_family"), {})
    merged = functools.reduce(_merged, (parameters["defaults"], family, releases[system]))
    plain: dict[str, Any] = json.loads(json.dumps(merged))
    return plain


def name_of(grains: Mapping[str, Any]) -> str:
    """Return a host's system as releases.yaml names it: by the grain osfinger, or by its code name (Debian-forky).

    A Debian that is not released yet has no number: its osfinger is Debian-forky/sid, or Debian-n/a from lsb_release.
    """
    osfinger, codename = grains.get("osfinger", "a system without a name"), grains.get("oscodename")
    name, _, release = osfinger.rpartition("-")
    return osfinger if release[:1].isdigit() or not codename else f"{name}-{codename}"


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = salt.utils.dictupdate.merge(below, above, "recurse")
    return merged
