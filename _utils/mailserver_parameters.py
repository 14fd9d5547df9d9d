"""What differs between operating systems: the files of ``mailserver/parameters/``, put together for one host."""

import functools
import json

import salt.utils.dictupdate

from mailserver_errors import UnknownSystem

NAMES = ("defaults", "families", "releases")


def path(name):
    """Return where the file server has one of the files."""
    return f"salt://mailserver/parameters/{name}.yaml"


def of_system(parameters, grains):
    """Return the parameters of a host's operating system, plain data.

    :param parameters: what the three files hold, by their names.
    :param grains: of the host; ``osfinger`` and ``os_family`` count.
    :raises UnknownSystem: the formula does not know it.
    """
    releases, osfinger = parameters["releases"], grains.get("osfinger", "a system without a name (grain osfinger)")
    if osfinger not in releases:
        known = ", ".join(sorted(releases))
        raise UnknownSystem(f"mailserver: {osfinger} is not among the systems that this formula knows: {known}")
    family = parameters["families"].get(grains.get("os_family"), {})
    merged = functools.reduce(_merged, (parameters["defaults"], family, releases[osfinger]))
    return json.loads(json.dumps(merged))


def _merged(below, above):
    return salt.utils.dictupdate.merge(below, above, "recurse")
