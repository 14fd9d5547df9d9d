"""What differs between operating systems: the files in ``mailserver/parameters/``, merged for one host."""

import functools
import json

import salt.utils.dictupdate
import salt.utils.yaml

from mailhost.errors import MissingParameters, UnknownSystem

_NAMES = ("defaults", "families", "releases")


def read(text_of, saltenv):
    """Return the contents of the three files by their names.

    :param text_of: takes a file's URL (``salt://…``) and returns its text, or nothing if the file server lacks it.
    :raises MissingParameters: one of them is missing.
    """
    return {name: salt.utils.yaml.safe_load(_text(text_of, name, saltenv)) for name in _NAMES}


def _text(text_of, name, saltenv):
    path = f"salt://mailserver/parameters/{name}.yaml"
    text = text_of(path)
    if not text:
        raise MissingParameters(
            f"mailserver: {path} is not on the file server in the environment {saltenv!r}. If the formula is in "
            "another one, name it: saltenv=…"
        )
    return text


def of_system(parameters, grains):
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
    return json.loads(json.dumps(merged))


def name_of(grains):
    """Return a host's system as releases.yaml names it: by the grain osfinger, or by its code name (Debian-forky).

    A Debian that is not released yet has no number: its osfinger is Debian-forky/sid, or Debian-n/a from lsb_release.
    """
    osfinger, codename = grains.get("osfinger", "a system without a name"), grains.get("oscodename")
    name, _, release = osfinger.rpartition("-")
    return osfinger if release[:1].isdigit() or not codename else f"{name}-{codename}"


def _merged(below, above):
    return salt.utils.dictupdate.merge(below, above, "recurse")
