"""Settings of many domains as short JSON text: what is the same for many of them is written once.

A host with ten thousand domains has only a handful of different settings. Written out in full, megabytes of text would
go through Jinja, YAML and back for each state.
"""

import hashlib
import json
import marshal
from collections.abc import Collection, Mapping
from typing import Any

from mailhost.shapes import Domains

_KINDS, _OF = "kinds", "of"


def packed(domains: Mapping[str, Mapping[str, object]], sections: Collection[str] | None = None) -> str:
    """Return JSON text of the settings of domains.

    :param domains: ``{name: settings}``, plain data.
    :param sections: the names of the sections to include; all, if left out.
    """
    kinds: list[Mapping[str, object]] = []
    numbers: dict[bytes | str, int] = {}
    known: dict[int, int] = {}
    of: dict[str, int] = {}
    for name, domain in domains.items():
        if id(domain) not in known:
            part = domain if sections is None else {section: domain[section] for section in sections}
            known[id(domain)] = numbers.setdefault(mark(part), len(kinds))
            if known[id(domain)] == len(kinds):
                kinds.append(part)
        of[name] = known[id(domain)]
    return json.dumps({_KINDS: kinds, _OF: of})


def mark(data: Any) -> bytes | str:
    """Return a value that is equal for equal plain data, within a run.

    :raises TypeError: it is not plain data.
    """
    try:
        return marshal.dumps(data, 2)
    except ValueError:
        # A mapping of another type, as a pillar renderer may make it. Its str() is not used: pillars of Salt 3008 show
        # asterisks there.
        return json.dumps(data)


def unpacked(given: str | dict[str, Any]) -> Domains:
    """Return ``{name: settings}`` as :func:`packed` was given it; a mapping, or JSON text of one, is used as it is.

    Domains with equal settings share them, so they must not be changed.
    """
    found: dict[str, Any] = json.loads(given) if isinstance(given, str) else given
    if found.keys() != {_KINDS, _OF}:
        return found
    return {name: found[_KINDS][number] for name, number in found[_OF].items()}


class Marks:
    """Marks that show whether settings changed between runs; computed once for domains that share their settings.

    :param more: further plain data that the marks depend on.
    """

    def __init__(self, more: object = None) -> None:
        self._more = more
        self._made: dict[int, str] = {}

    def of(self, settings: Mapping[str, object]) -> str:
        """Return the mark of settings. They are recognized by identity, so they must live as long as this object."""
        if id(settings) not in self._made:
            text = json.dumps([settings, self._more], sort_keys=True)
            self._made[id(settings)] = hashlib.sha256(text.encode()).hexdigest()[:16]
        return self._made[id(settings)]
