"""Settings of many domains as short JSON text: what is the same for many of them is written once.

A host of ten thousand domains has a handful of kinds of them. All of them spelled out, text of megabytes would go
through Jinja, YAML and back for each state.
"""

import hashlib
import json
import marshal

_KINDS, _OF = "kinds", "of"


def packed(domains, sections=None):
    """Return JSON text of the settings of domains.

    :param domains: ``{name: settings}``, plain data.
    :param sections: the names of those of their sections that matter; all, if left out.
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
    """Return what plain data is told apart by, within a run.

    :raises TypeError: it is not plain.
    """
    try:
        return marshal.dumps(data, 2)
    except ValueError:
        # A kind of mapping of somebody's own, as a renderer of pillars may make it. Not by what it shows of itself:
        # pillars of Salt 3008 show asterisks.
        return json.dumps(data)


def unpacked(given):
    """Return ``{name: settings}`` as :func:`packed` was given it; JSON text of a mapping, or one, is taken as it is.

    Domains of a kind have their settings in common: they are to be read only.
    """
    found = json.loads(given) if isinstance(given, str) else given
    if found.keys() != {_KINDS, _OF}:
        return found
    return {name: found[_KINDS][number] for name, number in found[_OF].items()}


class Marks:
    """What settings are told apart by from run to run; made once for the many domains that have theirs in common.

    :param more: plain data that counts as well.
    """

    def __init__(self, more=None):
        self._more, self._made = more, {}

    def of(self, settings):
        """Return the mark of settings that live as long as this does: they are known again by their identity."""
        if id(settings) not in self._made:
            text = json.dumps([settings, self._more], sort_keys=True)
            self._made[id(settings)] = hashlib.sha256(text.encode()).hexdigest()[:16]
        return self._made[id(settings)]
