"""Publishing: TXT records are sent to a zone's primary server by RFC 2136, signed with TSIG (RFC 8945).

Nobody else's record is ever touched. Each change has prerequisites (RFC 2136 section 2.4): the name still holds what
was read there a moment before. Only records that are known to be ours are deleted.
"""

import base64
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from mailhost.dns.lookup import Options
from mailhost.dns.message import dnspython, rcode, read_response, records_at, values, within
from mailhost.dns.wildcards import below
from mailhost.publish.change import Change, Result, Sent
from mailhost.publish.credential import Credential
from mailhost.publish.server import TOO_LONG, AnswerLost, PlannedUpdate, Present, PrimaryServer, Refused, plain_name
from mailhost.records.key import check_key
from mailhost.records.policies import KINDS
from mailhost.records.shared import check_spf_beside, spf_beside
from mailhost.records.tags import tags
from mailhost.wording import plain, shown

if TYPE_CHECKING:
    from dns.message import Message, QueryMessage
    from dns.rrset import RRset

Reader = Callable[[PrimaryServer, Sequence[Change]], Mapping[Change, Present]]
"""What :func:`read_present` does: it takes the server and changes, and returns what the server has at their names."""
_Told = tuple[Result, str]
"""The outcome of a change: its result, and a detail."""

_BATCH = 100
# So many records are read and sent before the next are read: if the run's time ends, the first ones are done.
_ROUND = 1000
_UNLIKE = ("YXDOMAIN", "YXRRSET", "NXDOMAIN", "NXRRSET")
# Response codes that may be caused by one of many records; the others may still be accepted.
_OF_ONE_RECORD = (*_UNLIKE, "REFUSED", "NOTZONE", TOO_LONG)


# ---- publishing


def publish(
    changes: Iterable[Change],
    credential: Credential,
    options: Options,
    read: Reader | None = None,
    test: bool = False,
) -> list[Sent]:
    """Send changes to the server, grouped by zone, and return their outcomes in order.

    A record that the server refuses does not hold up the others. Trouble with the server never raises an exception.

    :param options: ``lifetime`` limits the run, ``in_flight`` queries at once.
    :param read: :func:`read_present` if not given; tests use it as a hook.
    :param test: send nothing, and report what would be sent.
    :raises MissingPackage: dnspython is not installed.
    """
    changes = list(changes)
    server = PrimaryServer(dnspython(), credential, options)
    first: dict[str, Change] = {}
    for change in changes:
        first.setdefault(plain_name(change.name), change)
    told: dict[Change, _Told] = {}
    present: dict[Change, Present] = {}
    ordered = sorted(first.values(), key=lambda change: plain_name(change.zone))
    for start in range(0, len(ordered), _ROUND):
        some = ordered[start : start + _ROUND]
        if not test:
            told.update(_first(server, some))
        some = [change for change in some if change not in told]
        present.update((read or read_present)(server, [change for change in some if _is_within(change)]))
        told.update(_round(server, some, present, test))
    contradiction: _Told = ("refused", "two different records are wanted there")
    results = [told.get(change, contradiction) for change in changes]
    return [
        Sent(change, result, _sentence(server.endpoint, change, result, said), _texts(change, present.get(change)))
        for change, (result, said) in zip(changes, results, strict=True)
    ]


def _first(server: PrimaryServer, changes: Iterable[Change]) -> list[tuple[Change, _Told]]:
    """Send records whose names are empty in DNS, without reading them first; return (change, outcome) for successes.

    The server accepts a message only if no name in it has a record of any type. The records of a message that it
    refuses are then read and sent like all others.
    """
    zones: dict[str, list[PlannedUpdate]] = {}
    told: list[tuple[Change, _Told]] = []
    for change in changes:
        if change.absent and change.wanted is not None and _is_within(change):
            zones.setdefault(plain_name(change.zone), []).append(PlannedUpdate(change, (), (), change.ttl, unused=True))
    for zone, steps in zones.items():
        for start in range(0, len(steps), _BATCH):
            some = steps[start : start + _BATCH]
            try:
                said = server.update(zone, some)
            except Refused:
                return told
            except AnswerLost as err:
                told += [(step.change, ("unknown", str(err))) for step in some]
            else:
                told += [(step.change, ("sent", "")) for step in some] if said == "NOERROR" else []
    return told


def _round(
    server: PrimaryServer, changes: Iterable[Change], present: Mapping[Change, Present], test: bool
) -> dict[Change, _Told]:
    """Send what is due, given what the server has at the names; return the outcome of each change."""
    told: dict[Change, _Told] = {}
    zones: dict[str, list[PlannedUpdate]] = {}
    for change in changes:
        step = _step(change, present.get(change))
        if not isinstance(step, PlannedUpdate):
            told[change] = step
        elif test:
            told[change] = ("due", "")
        else:
            zones.setdefault(plain_name(change.zone), []).append(step)
    for zone, steps in zones.items():
        for start in range(0, len(steps), _BATCH):
            told.update(_send(server, zone, steps[start : start + _BATCH]))
    return told


def _texts(change: Change, present: Present | None) -> tuple[str, ...]:
    return tuple(map(_text, _counting(change, present.values))) if present else ()


def _sentence(endpoint: str, change: Change, result: Result, said: str) -> str:
    if not said:
        return ""
    head = {"unknown": "may or may not have changed", "refused": "did not change"}[result]
    return f"{endpoint} {head} {change.name} TXT in the zone {change.zone}: {said}."


def _step(change: Change, present: Present | None) -> PlannedUpdate | _Told:
    """Return the step to send for a change, or its result and a detail."""
    if present is None:
        return "refused", "the name does not lie in this zone"
    if present.trouble:
        return "refused", present.trouble
    wanted = () if change.wanted is None else (change.wanted,)
    values = _counting(change, present.values)
    if len(values) == len(wanted) and all(_is_right(change, *pair) for pair in zip(values, wanted, strict=True)):
        return "already", ""
    known = (*wanted, *change.expected)
    strange = next((one for one in values if not any(_is_same(change, one, other) for other in known)), None)
    if strange is not None:
        return "refused", _somebody_elses(change, _text(strange))
    older = tuple(one for one in present.records if _counting(change, [b"".join(one.strings)]))
    # The TXT records of others at the name are in the same RRset and would get its TTL (RFC 2181 section 5.2).
    ttl = present.ttl if len(older) < len(present.records) and present.ttl is not None else change.ttl
    return PlannedUpdate(change, present.records, older, ttl, present.is_made)


def _counting(change: Change, values: Iterable[bytes]) -> list[bytes]:
    """Return the TXT values at a name that are of the change's kind."""
    return [one for one in values if KINDS[change.kind].counts(one)] if change.kind else list(values)


def _somebody_elses(change: Change, text: str) -> str:
    if not change.kind:
        return f"it holds somebody else's record, {shown(text)}"
    if change.kind == "SPF":
        both = plain(spf_beside(change.text, (text.encode(),)), 500)
        return (
            f'the SPF record there was not published from here, "{plain(text, 500)}", and may be of another host or '
            f'of a service. A record for both is "{both}": publish it by hand, or list all hosts of the domain in the '
            "pillar of each (domains:NAME:hosts), or have the pillar say what is there (spf:record)"
        )
    return (
        f'the {change.kind} record there was not published from here, "{text}"; ours would be '
        f'"{change.wanted}". Have the pillar say what is there, or take it away, then publish again'
    )


def _is_right(change: Change, value: bytes, wanted: str) -> bool:
    """Tell whether a TXT value means the same as the wanted one, even if it is written differently."""
    if change.is_beside:
        return check_spf_beside((value,), wanted) is None
    if change.kind:
        return KINDS[change.kind].same(value, wanted)
    key = _key(wanted)
    if key is None:
        return _text(value) == wanted
    return check_key((value,), re.sub(r"\s", "", tags(wanted)["p"]), key[0]) is None


def _is_same(change: Change, value: bytes, known: str) -> bool:
    """Tell whether a TXT value matches a known one: the same key or policy, or the same text."""
    if change.kind:
        return KINDS[change.kind].same(value, known)
    key = _key(known)
    return _text(value) == known or (key is not None and key == _key(_text(value)))


def _key(text: str) -> tuple[str, bytes] | None:
    """Return the algorithm and the bytes of a DKIM key record; ``None`` if the text is not one."""
    try:
        found = tags(text)
        return found.get("k", "rsa"), base64.b64decode(re.sub(r"\s", "", found["p"]), validate=True)
    except (ValueError, KeyError):
        return None


def _send(server: PrimaryServer, zone: str, steps: Sequence[PlannedUpdate]) -> list[tuple[Change, _Told]]:
    """Send steps in one message, or in several if the server refuses one of them; return (change, outcome)."""
    try:
        said = server.update(zone, steps)
    except Refused as err:
        return [(step.change, ("refused", str(err))) for step in steps]
    except AnswerLost as err:
        return [(step.change, ("unknown", str(err))) for step in steps]
    if said in _OF_ONE_RECORD and len(steps) > 1:
        half = len(steps) // 2
        return [*_send(server, zone, steps[:half]), *_send(server, zone, steps[half:])]
    result: _Told = ("sent", "") if said == "NOERROR" else ("refused", _meaning(said, server.key_name))
    return [(step.change, result) for step in steps]


def _meaning(code: str, key_name: str) -> str:
    """Return a response code with its meaning for an operator (RFC 2136 section 3.8)."""
    told = {
        "REFUSED": f"its update-policy or allow-update does not let the key {key_name} change it",
        "NOTAUTH": "it is not a primary server of this zone",
        "NOTZONE": "the name does not lie in this zone",
        "NOTIMP": "it takes no updates",
        "SERVFAIL": "its own log says why",
    }
    if code in _UNLIKE:
        return f"{code}: the record was changed by somebody else while this ran"
    return f"{code}: {told[code]}" if code in told else code


# ---- what the server has


def read_present(server: PrimaryServer, changes: Iterable[Change]) -> dict[Change, Present]:
    """Return what the server itself has at the names of the changes."""
    found: dict[Change, Present] = {}
    queries: dict[Change, QueryMessage] = {}
    for number, change in enumerate(changes):
        try:
            queries[change] = server.query(plain_name(change.name), number)
        except (server.dns.exception.DNSException, UnicodeError) as err:
            found[change] = Present(trouble=f"it is no domain name ({type(err).__name__})")
    for change, said in server.ask(queries):
        found[change] = said if isinstance(said, Present) else _as_present(server, change, change.name, said)
    return {**found, **_made_by_wildcards(server, found)}


def _made_by_wildcards(server: PrimaryServer, found: Mapping[Change, Present]) -> dict[Change, Present]:
    """Return the changes whose names are empty: what the server shows there is synthesized from a wildcard (RFC 4592).

    The server shows the same at a random name below. If the record does exist at the name as well, the server refuses
    the update, whose prerequisite is that nothing exists there.
    """
    odd = [change for change, present in found.items() if present.alias or not _serves(change, present)]
    queries: dict[Change, QueryMessage] = {}
    for number, change in enumerate(odd):
        with suppress(server.dns.exception.DNSException):
            queries[change] = server.query(below(plain_name(change.name)), number)
    nothing = {}
    for change, said in server.ask(queries):
        there = (
            said if isinstance(said, Present) else _as_present(server, change, said.question[0].name.to_text(), said)
        )
        here = found[change]
        if (here.alias or here.values) and (there.alias, there.values) == (here.alias, here.values):
            nothing[change] = Present(is_made=True)
    return nothing


def _serves(change: Change, present: Present) -> bool:
    """Tell whether a name holds nothing, or what is wanted there, so that no wildcard matters."""
    values = _counting(change, present.values)
    if not present.values or change.wanted is None:
        return not present.values
    return len(values) == 1 and _is_right(change, values[0], change.wanted)


def _as_present(server: PrimaryServer, change: Change, name: str, response: "Message") -> Present:
    name, zone = plain_name(name), plain_name(change.zone)
    said = read_response(response, name, "TXT", zone)
    if said.child:
        return Present(trouble=f"the name lies in another zone, {said.child}")
    if said.alias:
        said_of_it = f"the name is an alias (CNAME) of {said.alias}; publish the record there"
        return Present(trouble=said_of_it, alias=said.alias)
    if said.status == "absent":
        return Present()
    if said.status == "answer":
        records = cast("RRset", records_at(response.answer, name, "TXT"))
        return Present(values(records), tuple(records), ttl=records.ttl)
    if rcode(response) == "REFUSED":
        return Present(trouble=f"REFUSED: it has no such zone, or does not let the key {server.key_name} read it")
    return Present(trouble=said.detail)


def _is_within(change: Change) -> bool:
    return within(plain_name(change.name), plain_name(change.zone))


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
