"""Settings of many domains as short JSON text: what is the same for many of them is written once.

A host with ten thousand domains has only a handful of different settings. Written out in full, megabytes of text would
go through Jinja, YAML and back for each state.
"""

import hashlib
import json
import marshal

_KINDS, _OF = "kinds", "of"


def packed(domains, sections=None):
    """Return JSON text of the settings of domains.

    :param domains: ``{name: settings}``, plain data.
    :param sections: the names of the sections to include; all, if left out.
    """
    kinds, numbers, known, of = [], {}, {}, {}
    for name, domain in domains.items():
        if id(domain) not in known:
            part = domain if sections is None else {section: domain[section] for section in sections}
            known[id(domain)] = numbers.setdefault(mark(part), len(kinds))
            if known[id(domain)] == len(kinds):
                kinds.append(part)
        of[name] = known[id(domain)]
    return json.dumps({_KINDS: kinds, _OF: of})


def mark(data):
    """Return a value that is equal for equal plain data, within a run.

    :raises TypeError: it is not plain data.
    """
    try:
        return marshal.dumps(data, 2)
    except ValueError:
        # A mapping of another type, as a pillar renderer may make it. Its str() is not used: pillars of Salt 3008 show
        # asterisks there.
        return json.dumps(data)


def unpacked(given):
    """Return ``{name: settings}`` as :func:`packed` was given it; a mapping, or JSON text of one, is used as it is.

    Domains with equal settings share them, so they must not be changed.
    """
    found = json.loads(given) if isinstance(given, str) else given
    if found.keys() != {_KINDS, _OF}:
        return found
    return {name: found[_KINDS][number] for name, number in found[_OF].items()}


class Marks:
    """Marks that show whether settings changed between runs; computed once for domains that share their settings.

    :param more: further plain data that the marks depend on.
    """

    def __init__(self, more=None):
        self._more, self._made = more, {}

    def of(self, settings):
        """Return the mark of settings. They are recognized by identity, so they must live as long as this object."""
        if id(settings) not in self._made:
            text = json.dumps([settings, self._more], sort_keys=True)
            self._made[id(settings)] = hashlib.sha256(text.encode()).hexdigest()[:16]
        return self._made[id(settings)]
