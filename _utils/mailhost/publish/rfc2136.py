"""Publishing: TXT records are sent to a zone's primary server by RFC 2136, signed with TSIG (RFC 8945).

Nobody else's record is ever touched: each change goes with prerequisites (RFC 2136 section 2.4) which say that the name
holds what was read there a moment before, and that what is taken away was known to be ours.
"""

import base64
import binascii
import os
import re
import socket
import stat
import struct
import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from mailhost.dns.message import dnspython, rcode, read_response, records_at, values, within
from mailhost.dns.wildcards import below
from mailhost.errors import PublishError
from mailhost.records.policies import KINDS
from mailhost.records.record import check_key, tags, txt_strings
from mailhost.records.shared import check_spf_beside, spf_beside
from mailhost.wording import plain, shown

_ALGORITHMS = (
    *("hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"),
    *("hmac-sha256-128", "hmac-sha384-192", "hmac-sha512-256"),
)
_KEY_NAME = re.compile(r"(?=.{1,253}\.?\Z)([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?\Z")
_TOKEN = re.compile(r'(?:\s+|//[^\n]*|#[^\n]*|/\*.*?\*/)|("[^"\n]*"|[{};]|[^\s{};"]+)', re.DOTALL)
_BATCH = 100
# So many records are read and then sent before the next are read: a run whose time ends has done the first of them.
_ROUND = 1000
# So many lost answers, and the server is left alone: one that is dead must not hold up a run for each of its zones.
_PATIENCE = 2
_UNLIKE = ("YXDOMAIN", "YXRRSET", "NXDOMAIN", "NXRRSET")
# What a server says because of one record of many; the others may still go through.
_TOO_LONG = "its records do not fit one message"
_OF_ONE_RECORD = (*_UNLIKE, "REFUSED", "NOTZONE", _TOO_LONG)


@dataclass(frozen=True)
class Credential:
    """A server that takes updates, and the TSIG key for it; ``secret`` is base64, ``timeout`` in seconds a message."""

    server: str
    port: int
    name: str
    algorithm: str
    secret: str = field(repr=False)
    timeout: float


@dataclass(frozen=True)
class Change:
    """The TXT record at ``name`` is to be ``wanted`` and nothing else, or to be gone (``None``).

    ``expected`` are values that it may have now, besides none and the wanted one; any other is somebody else's.
    ``zone`` is empty as long as DNS was not asked for it (:func:`placed`). ``kind`` is a policy record's
    (:data:`mailhost.records.policies.KINDS`): of the records at the name only those of this kind count, and the others
    stay; without a kind it is a key's, and counts are all. ``absent``: every server said a moment ago that there is
    nothing at the name. ``is_beside``: an SPF record that has ours, and what others have besides, serves as well.
    """

    name: str
    zone: str
    ttl: int
    wanted: str | None
    expected: tuple[str, ...] = ()
    kind: str = ""
    absent: bool = False
    is_beside: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Sent:
    """What became of a change; ``detail`` is a sentence with the server, the name and what was said.

    ``sent``: the server took it. ``already``: it has it. ``refused``: it does not have it, whoever said no.
    ``unknown``: it was sent and the answer got lost, so it may be done or not. ``due``: it would be sent, but this was
    to be a plan only. ``now`` are the texts that the server had before, of those that count.
    """

    change: Change
    result: str
    detail: str = ""
    now: tuple = ()


def placed(change, answers):
    """Return a change at the place where DNS keeps the name: at the end of its CNAMEs, with the zone of that."""
    absent = not answers.trouble and bool(answers.seen) and all(one.status == "absent" for one in answers.seen)
    return replace(change, name=answers.target or change.name, zone=answers.zone, absent=absent)


# ---- the credential


def read_credential(rfc2136_settings: dict) -> Credential:
    """Return the credential that the pillar's section ``dns:rfc2136`` names.

    The key file is as ``tsig-keygen`` makes it: ``key "mx1" { algorithm hmac-sha256; secret "…"; };``

    :raises PublishError: no server is named, or the file is missing, malformed, or others than root and this
        process's user can read it.
    """
    if rfc2136_settings["server"] is None:
        raise PublishError("mailserver:dns:rfc2136:server: not given; say which primary server takes the updates")
    path = rfc2136_settings["key_file"]
    name, algorithm, secret = _read_key(_private_text(path), path)
    server, port, timeout = (rfc2136_settings[key] for key in ("server", "port", "timeout"))
    return Credential(server, port, name, algorithm, secret, timeout)


def _private_text(path):
    try:
        with open(path, encoding="utf-8") as file:
            _check_private(os.fstat(file.fileno()), path)
            return file.read()
    except FileNotFoundError as err:
        raise PublishError(
            f"{path}: there is no such TSIG key file (mailserver:dns:rfc2136:key_file). "
            "`tsig-keygen NAME` makes a key; the name server needs the same one"
        ) from err
    except OSError as err:
        raise PublishError(f"{path}: the TSIG key file cannot be read: {err.strerror}") from err
    except UnicodeDecodeError:
        # Without its cause: that holds the bytes of the file.
        raise PublishError(f"{path}: the TSIG key file is not text") from None


def _check_private(found, path):
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid not in (0, os.geteuid()):
        raise PublishError(f"{path}: the TSIG key file belongs to user {found.st_uid}; `chown root {path}`")
    if mode & 0o007 or (mode & 0o070 and found.st_gid != 0):
        raise PublishError(f"{path}: others may use the TSIG key file (mode {mode:04o}); `chmod 0600 {path}`")


def _read_key(text, path):
    """Return the name, algorithm and secret of BIND's ``key`` statement; what is wrong is said without quoting it."""
    tokens = [found[1].strip('"') for found in _TOKEN.finditer(text) if found[1]]
    count = tokens.count("key")
    if count != 1 or tokens[0] != "key" or tokens[2:3] != ["{"] or [one for one in tokens[-2:] if one != ";"] != ["}"]:
        raise PublishError(
            f"{path}: the TSIG key file holds {f'{count} keys' if count > 1 else 'no key'}; one is wanted, as "
            '`tsig-keygen NAME` prints it: key "NAME" { algorithm hmac-sha256; secret "…"; };'
        )
    body = tokens[3 : tokens.index("}")]
    given = {body[at].lower(): body[at + 1] for at in range(0, len(body) - 2, 3) if body[at + 2] == ";"}
    if len(body) != 6 or set(given) != {"algorithm", "secret"}:
        raise PublishError(f"{path}: the TSIG key needs an algorithm and a secret, each ended by a semicolon")
    if not _KEY_NAME.match(tokens[1]):
        raise PublishError(f"{path}: the name of the TSIG key is no domain name")
    algorithm = given["algorithm"].lower().rstrip(".")
    if algorithm not in _ALGORITHMS:
        raise PublishError(f"{path}: the TSIG key's algorithm is none of {', '.join(_ALGORITHMS)}")
    try:
        empty = not base64.b64decode(given["secret"], validate=True)
    except (binascii.Error, ValueError):
        empty = True
    if empty:
        raise PublishError(f"{path}: the TSIG key's secret is not base64")
    return tokens[1].lower().rstrip("."), algorithm, given["secret"]


# ---- publishing


def publish(
    changes: Iterable[Change], credential: Credential, options, read: Callable | None = None, test: bool = False
) -> list[Sent]:
    """Send changes to the server, those of a zone together, and return what became of each, in their order.

    A record that the server does not let pass holds up no other. Trouble with the server never raises.

    :param options: a :class:`mailhost.dns.lookup.Options`; ``lifetime`` limits the run, ``in_flight`` queries at once.
    :param read: takes the server and changes, and returns a :class:`Present` for each; a test has things happen then.
    :param test: send nothing, and say what would be sent.
    :raises MissingPackage: dnspython is not installed.
    """
    changes = list(changes)
    server = _Server(dnspython(), credential, options)
    first = {}
    for change in changes:
        first.setdefault(_plain(change.name), change)
    told, present = {}, {}
    ordered = sorted(first.values(), key=lambda change: _plain(change.zone))
    for start in range(0, len(ordered), _ROUND):
        some = ordered[start : start + _ROUND]
        if not test:
            told.update(_first(server, some))
        some = [change for change in some if change not in told]
        present.update((read or read_present)(server, [change for change in some if _is_within(change)]))
        told.update(_round(server, some, present, test))
    contradiction = ("refused", "two different records are wanted there")
    results = [told.get(change, contradiction) for change in changes]
    return [
        Sent(change, result, _sentence(server.place, change, result, said), _texts(change, present.get(change)))
        for change, (result, said) in zip(changes, results, strict=True)
    ]


def _first(server, changes):
    """Send what DNS has nothing of without reading it there first; return (change, told) of what went through.

    The server takes a message only if none of its names is in use, with any type of record; all that is in one that it
    does not take is read and sent as everything else.
    """
    zones, told = {}, []
    for change in changes:
        if change.absent and change.wanted is not None and _is_within(change):
            zones.setdefault(_plain(change.zone), []).append(_Step(change, (), (), change.ttl, unused=True))
    for zone, steps in zones.items():
        for start in range(0, len(steps), _BATCH):
            some = steps[start : start + _BATCH]
            try:
                said = server.update(zone, some)
            except _Refused:
                return told
            except _Lost as err:
                told += [(step.change, ("unknown", str(err))) for step in some]
            else:
                told += [(step.change, ("sent", "")) for step in some] if said == "NOERROR" else []
    return told


def _round(server, changes, present, test):
    """Send what is to be sent, by what the server has at the names, and return what became of each change."""
    told, zones = {}, {}
    for change in changes:
        step = _step(change, present.get(change))
        if not isinstance(step, _Step):
            told[change] = step
        elif test:
            told[change] = ("due", "")
        else:
            zones.setdefault(_plain(change.zone), []).append(step)
    for zone, steps in zones.items():
        for start in range(0, len(steps), _BATCH):
            told.update(_send(server, zone, steps[start : start + _BATCH]))
    return told


def _texts(change, present):
    return tuple(map(_text, _counting(change, present.values))) if present else ()


def _sentence(place, change, result, said):
    if not said:
        return ""
    head = {"unknown": "may or may not have changed", "refused": "did not change"}[result]
    return f"{place} {head} {change.name} TXT in the zone {change.zone}: {said}."


@dataclass(frozen=True)
class Present:
    """What the server has at a name: TXT values with the records that they are in, or why that is not known.

    ``alias`` is the target of a CNAME that is there. ``is_made``: a wildcard made what the server shows there.
    """

    values: tuple = ()
    records: tuple = ()
    trouble: str = ""
    ttl: int | None = None
    alias: str = ""
    is_made: bool = False


@dataclass(frozen=True)
class _Step:
    """A change that is to be sent, the records that are at its name, and those in whose place it comes.

    ``unused``: nothing at all may be at the name.
    """

    change: Change
    present: tuple
    older: tuple
    ttl: int
    unused: bool = False


def _step(change, present):
    """Return what to send for a change, or its result and what there is to say of it."""
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
    # Others' records at the name are of one set with ours, and would get its TTL (RFC 2181 section 5.2).
    ttl = present.ttl if len(older) < len(present.records) and present.ttl is not None else change.ttl
    return _Step(change, present.records, older, ttl, present.is_made)


def _counting(change, values):
    """Return those of the TXT values at a name that are of the kind of a change."""
    return [one for one in values if KINDS[change.kind].counts(one)] if change.kind else list(values)


def _somebody_elses(change, text):
    if not change.kind:
        return f"it holds somebody else's record, {shown(text)}"
    if change.kind == "SPF":
        both = plain(spf_beside(change.wanted, (text.encode(),)), 500)
        return (
            f'the SPF record there was not published from here, "{plain(text, 500)}", and may be of another host or '
            f'of a service. A record for both is "{both}": publish it by hand, or list all hosts of the domain in the '
            "pillar of each (domains:NAME:hosts), or have the pillar say what is there (spf:record)"
        )
    return (
        f'the {change.kind} record there was not published from here, "{text}"; ours would be '
        f'"{change.wanted}". Have the pillar say what is there, or take it away, then publish again'
    )


def _is_right(change, value, wanted):
    """Tell whether a TXT value serves as the wanted one: it may differ in what does not count in such a record."""
    if change.is_beside:
        return check_spf_beside((value,), wanted) is None
    if change.kind:
        return KINDS[change.kind].same(value, wanted)
    key = _key(wanted)
    if key is None:
        return _text(value) == wanted
    return check_key((value,), re.sub(r"\s", "", tags(wanted)["p"]), key[0]) is None


def _is_same(change, value, known):
    """Tell whether a TXT value is a known one: the same key or policy, or the same text."""
    if change.kind:
        return KINDS[change.kind].same(value, known)
    key = _key(known)
    return _text(value) == known or (key is not None and key == _key(_text(value)))


def _key(text):
    """Return the algorithm and the bytes of a DKIM key record; ``None`` if it is none."""
    try:
        found = tags(text)
        return found.get("k", "rsa"), base64.b64decode(re.sub(r"\s", "", found["p"]), validate=True)
    except (ValueError, KeyError):
        return None


def _send(server, zone, steps):
    """Send steps in one message, or in several if the server does not let one of them pass; return (change, told)."""
    try:
        said = server.update(zone, steps)
    except _Refused as err:
        return [(step.change, ("refused", str(err))) for step in steps]
    except _Lost as err:
        return [(step.change, ("unknown", str(err))) for step in steps]
    if said in _OF_ONE_RECORD and len(steps) > 1:
        half = len(steps) // 2
        return [*_send(server, zone, steps[:half]), *_send(server, zone, steps[half:])]
    result = ("sent", "") if said == "NOERROR" else ("refused", _meaning(said, server.key_name))
    return [(step.change, result) for step in steps]


def _meaning(code, key_name):
    """Return a response's code with what it means to an operator (RFC 2136 section 3.8)."""
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


def read_present(server, changes):
    """Return what the server itself has at the names of the changes."""
    found, queries = {}, {}
    for number, change in enumerate(changes):
        try:
            queries[change] = server.query(_plain(change.name), number)
        except (server.dns.exception.DNSException, UnicodeError) as err:
            found[change] = Present(trouble=f"it is no domain name ({type(err).__name__})")
    for change, said in server.ask(queries):
        found[change] = said if isinstance(said, Present) else _as_present(server, change, change.name, said)
    return {**found, **_made_by_wildcards(server, found)}


def _made_by_wildcards(server, found):
    """Return the changes at whose names there is nothing: what is shown there is made from a wildcard (RFC 4592).

    The server shows the same below such a name. Should it be at the name besides, the server refuses the update, which
    is to find nothing there.
    """
    odd = [change for change, present in found.items() if present.alias or not _serves(change, present)]
    queries = {}
    for number, change in enumerate(odd):
        with suppress(server.dns.exception.DNSException):
            queries[change] = server.query(below(_plain(change.name)), number)
    nothing = {}
    for change, said in server.ask(queries):
        there = (
            said if isinstance(said, Present) else _as_present(server, change, said.question[0].name.to_text(), said)
        )
        here = found[change]
        if (here.alias or here.values) and (there.alias, there.values) == (here.alias, here.values):
            nothing[change] = Present(is_made=True)
    return nothing


def _serves(change, present):
    """Tell whether what is at a name is nothing, or what is wanted there, so that no wildcard matters."""
    values = _counting(change, present.values)
    if not present.values or change.wanted is None:
        return not present.values
    return len(values) == 1 and _is_right(change, values[0], change.wanted)


def _as_present(server, change, name, response):
    name, zone = _plain(name), _plain(change.zone)
    said = read_response(response, name, "TXT", zone)
    if said.child:
        return Present(trouble=f"the name lies in another zone, {said.child}")
    if said.alias:
        said_of_it = f"the name is an alias (CNAME) of {said.alias}; publish the record there"
        return Present(trouble=said_of_it, alias=said.alias)
    if said.status == "absent":
        return Present()
    if said.status == "answer":
        records = records_at(response.answer, name, "TXT")
        return Present(values(records), tuple(records), ttl=records.ttl)
    if rcode(response) == "REFUSED":
        return Present(trouble=f"REFUSED: it has no such zone, or does not let the key {server.key_name} read it")
    return Present(trouble=said.detail)


# ---- the server


class _Refused(Exception):
    """The server did not do what it was asked for, or was not asked."""


class _Lost(Exception):
    """A message was sent, and no answer came that can be trusted."""


class _Closed(_Lost):
    """The connection was closed before the answer came."""


class _Server:
    """The primary server in one run: how it is reached, and whether there is still any use in asking it."""

    def __init__(self, dns, credential, options):
        self.dns, self.key_name = dns, credential.name
        self.place = credential.server + (f" port {credential.port}" if credential.port != 53 else "")
        self._key = dns.tsig.Key(credential.name, credential.secret, credential.algorithm)
        self._in_flight, self._timeout = options.in_flight, credential.timeout
        self.ends = time.monotonic() + options.lifetime
        self._where, self._addresses = (credential.server, credential.port), None
        self._lost, self._useless = 0, ""

    def query(self, name, number):
        """Return a signed question for the TXT records at ``name``; a view may be chosen by the key."""
        message = self.dns.message.make_query(name, "TXT", flags=0)
        message.id = number % 0x10000
        message.use_tsig(self._key)
        return message

    def ask(self, queries):
        """Send queries, many at once; return pairs of their key and a response, or a :class:`Present` with trouble."""
        waiting, told = dict(queries), []
        while waiting:
            said = []
            try:
                # A server may close a connection early: what it left unanswered is asked again, unless that was all.
                self._ask(dict(list(waiting.items())[: self._in_flight]), said)
                trouble = ""
            except (_Refused, _Lost) as err:
                trouble = str(err)
                if isinstance(err, _Closed) and not said and self._in_flight > 1:
                    # Some servers take one question a connection; then the others' arrival costs that one its answer.
                    self._in_flight = 1
                    continue
            if not said:
                return [*told, *((key, Present(trouble=trouble)) for key in waiting)]
            for key, _ in said:
                del waiting[key]
            told += said
        return told

    def _ask(self, queries, said):
        keys = {message.id: key for key, message in queries.items()}
        with self._connected() as (connection, ends):
            for message in queries.values():
                _put(connection, message.to_wire(), ends)
            for _ in queries:
                wire = _get(connection, ends)
                key = keys.pop(int.from_bytes(wire[:2], "big"), None)
                if key is not None:
                    said.append((key, self._response_or_trouble(wire, queries[key])))

    def _response_or_trouble(self, wire, request):
        try:
            return self._response(wire, request)
        except _Lost as err:
            return Present(trouble=str(err))

    def update(self, zone, steps):
        """Send an update; return its response's code, or what keeps it from being sent if that is one of its records.

        :raises _Refused: nothing was changed. :raises _Lost: that is not known.
        """
        message = self._message(zone, steps)
        try:
            wire = message.to_wire()
        except self.dns.exception.TooBig:
            return _TOO_LONG
        try:
            # A connection of its own: one that the server closes in between would make the result unknown.
            with self._connected() as (connection, ends):
                _put(connection, wire, ends)
                response = self._response(_get(connection, ends), message)
        except _Lost:
            self._lost += 1
            if self._lost == _PATIENCE:
                self._useless = f"it was not asked, because it left {self._lost} updates of this run without an answer"
            raise
        return rcode(response)

    def _message(self, zone, steps):
        message = self.dns.update.UpdateMessage(f"{zone}.", keyring=self._key)
        for step in steps:
            name = self.dns.name.from_text(_plain(step.change.name))
            if step.present:
                message.present(name, *step.present)
            elif step.unused:
                message.absent(name)
            else:
                message.absent(name, "TXT")
            if step.older:
                message.delete(name, *step.older)
            if step.change.wanted is not None:
                message.add(name, step.ttl, self._txt(step.change.wanted))
        return message

    def _txt(self, value):
        kind = self.dns.rdtypes.ANY.TXT.TXT
        return kind(self.dns.rdataclass.IN, self.dns.rdatatype.TXT, [one.encode() for one in txt_strings(value)])

    @contextmanager
    def _connected(self):
        if not self._useless and time.monotonic() > self.ends:
            self._useless = "it was not asked, because the time of this run was over (mailserver:dns:lifetime)"
        if self._useless:
            raise _Refused(self._useless)
        ends = time.monotonic() + self._timeout
        connection = self._connect()
        try:
            with connection:
                yield connection, ends
        except OSError as err:
            kind = _Lost if isinstance(err, TimeoutError) else _Closed
            raise kind(f"the answer got lost: {self._why(err)}") from err

    def _connect(self):
        try:
            if self._addresses is None:
                found = socket.getaddrinfo(*self._where, type=socket.SOCK_STREAM)
                self._addresses = [address for *_, address in found]
        except OSError as err:
            self._useless = f"the name of the server has no address: {err.strerror}"
            raise _Refused(self._useless) from err
        for address in self._addresses:
            try:
                connection = socket.create_connection(address[:2], timeout=self._timeout)
            except OSError as err:
                self._useless = f"no connection to {address[0]}: {self._why(err)}"
            else:
                self._addresses, self._useless = [address], ""
                return connection
        raise _Refused(self._useless)

    def _why(self, err):
        return f"time-out, {self._timeout} s" if isinstance(err, TimeoutError) else (err.strerror or str(err)).lower()

    def _response(self, wire, request):
        """Read a response; errors of TSIG itself hold for all messages (RFC 8945 section 5.2)."""
        dns, tsig = self.dns, self.dns.tsig
        try:
            response = dns.message.from_wire(wire, keyring=self._key, request_mac=request.mac)
        except (tsig.PeerBadKey, tsig.PeerBadSignature, tsig.PeerBadTime, tsig.PeerError) as err:
            self._useless = self._meaning_of_tsig(err, wire, request)
            raise _Refused(self._useless) from None
        except (dns.exception.DNSException, ValueError) as err:
            unsigned = self._unsigned(wire)
            raise _Lost(unsigned or f"the answer cannot be trusted ({type(err).__name__})") from None
        if not response.had_tsig:
            raise _Lost(self._unsigned(wire))
        if not request.is_response(response):
            raise _Lost("the answer belongs to another message")
        return response

    def _unsigned(self, wire):
        """Return what to say of an answer without a signature; nothing if it has one, or cannot be read."""
        try:
            code = rcode(self.dns.message.from_wire(wire))
        except (self.dns.exception.DNSException, ValueError):
            return ""
        return f"it answered {code} without a signature, as anybody on the way could"

    def _meaning_of_tsig(self, err, wire, request):
        tsig = self.dns.tsig
        if isinstance(err, tsig.PeerBadKey):
            return f"BADKEY: it knows no key {self.key_name} with this algorithm"
        if isinstance(err, tsig.PeerBadSignature):
            return f"BADSIG: the key {self.key_name} has another secret there"
        if isinstance(err, tsig.PeerBadTime):
            # The server's time is the last field of its answer (RFC 8945 section 5.2.3).
            size, server = struct.unpack("!H6s", wire[-8:])
            apart = int.from_bytes(server, "big") - request.tsig[0].time_signed
            return f"BADTIME: the clocks differ{f' by {abs(apart)} s' if size == 6 else ''}"
        return f"TSIG error: {err}"


def _put(connection, wire, ends):
    connection.settimeout(_left(ends))
    connection.sendall(len(wire).to_bytes(2, "big") + wire)


def _get(connection, ends):
    return _exactly(connection, int.from_bytes(_exactly(connection, 2, ends), "big"), ends)


def _exactly(connection, size, ends):
    received = b""
    while len(received) < size:
        connection.settimeout(_left(ends))
        part = connection.recv(size - len(received))
        if not part:
            raise ConnectionError("the connection was closed")
        received += part
    return received


def _left(ends):
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _is_within(change):
    return within(_plain(change.name), _plain(change.zone))


def _plain(name):
    return name.lower().rstrip(".")


def _text(value):
    return value.decode("utf-8", "replace")
