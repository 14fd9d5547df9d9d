"""The DNS records that a mail domain needs: their text, and how what DNS shows differs from them. Pure."""

import base64
import binascii
import ipaddress
import json
import re
from dataclasses import dataclass

from mailhost.wording import shown

STRING = 255
"""Bytes: the longest string of a TXT record (RFC 1035 section 3.3.14)."""
_FWS = " \t\r\n"
_TAG_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_FLAGS = re.compile(rb"t[ \t\r\n]*=")
_TAG_VALUE = re.compile(r"[\x21-\x3a\x3c-\x7e \t\r\n]*\Z")
_ED25519_SPKI = bytes.fromhex("302a300506032b6570032100")
_DMARC_ORDER = ("p", "sp", "np", "psd", "adkim", "aspf", "fo", "rua", "ruf", "t")
# RFC 9989's defaults, and those of RFC 7489 for the tags that it dropped: some verifiers still read them.
_DMARC_DEFAULTS = {
    "psd": "u",
    "adkim": "r",
    "aspf": "r",
    "fo": "0",
    "t": "n",
    "pct": "100",
    "rf": "afrf",
    "ri": "86400",
}
_PASTED = r"the value has backslashes in it (`\;`), pasted from a zone file: enter it again as plain text, without them"
_QUOTED = "the value has quotation marks in it, which belong to zone files only: enter it again without them"


@dataclass(frozen=True)
class Record:
    """A DNS record.

    ``name`` is absolute without its final dot, ``ttl`` in seconds. ``value`` of a TXT record is all its strings joined,
    of an MX record ``10 mx1.example.com``.
    """

    name: str
    ttl: int
    rdtype: str
    value: str


# ---- the records


def spf_record(name, domain):
    """Return the SPF record of a domain (RFC 7208), or ``None`` if it is to have none.

    Nor has it one while the addresses are not known (``None``) that its mail leaves from: that would forbid them.

    :param domain: the domain's settings, as in the pillar with all defaults.
    """
    spf = domain["spf"]
    if not spf["enabled"] or (spf["addresses"] is None and not spf["record"]):
        return None
    addresses = [f"ip{ipaddress.ip_address(one).version}:{one}" for one in spf["addresses"] or ()]
    hosts = [f"a:{one}" for one in spf.get("hosts", ())]
    terms = ["v=spf1", *addresses, *hosts, *(f"include:{one}" for one in spf["include"]), spf["all"]]
    return Record(name, domain["ttl"], "TXT", spf["record"] or " ".join(terms))


def dmarc_record(name, domain):
    """Return the DMARC record of a domain (RFC 9989), or ``None``; only tags that were given are in it."""
    dmarc = domain["dmarc"]
    if not dmarc["enabled"]:
        return None
    tag_list = ["v=DMARC1"]
    for tag in _DMARC_ORDER:
        value = dmarc[tag]
        if tag in ("rua", "ruf"):
            value = ",".join(_uri(one) for one in value)
        if value:
            tag_list.append(f"{tag}={value}")
    return Record(f"_dmarc.{name}", domain["ttl"], "TXT", dmarc["record"] or "; ".join(tag_list))


def _uri(text):
    """Return a report URI as DMARC wants it: a comma or a semicolon of its own would end it (RFC 9989 section 4.7)."""
    return text.replace(",", "%2C").replace(";", "%3B")


def key_record(domain_name, selector, public, ttl, algorithm="rsa"):
    """Return a DKIM key record (RFC 6376 section 3.6.1).

    :param public: the base64 text of ``p=``; empty for a key that is revoked.
    """
    return Record(f"{selector}._domainkey.{domain_name}", ttl, "TXT", key_text(public, algorithm))


def key_text(public, algorithm="rsa"):
    """Return the text of a DKIM key record as this host emits it (RFC 6376 section 3.6.1)."""
    return f"v=DKIM1; k={algorithm}; p={public}"


def mx_records(name, domain):
    """Return the MX records of a domain, the first host with the best preference."""
    return [Record(name, domain["ttl"], "MX", f"{10 * place} {host}") for place, host in enumerate(domain["mx"], 1)]


def address_records(hostname, addresses, ttl):
    """Return the A and AAAA records of the host."""
    return [Record(hostname, ttl, "A" if ipaddress.ip_address(one).version == 4 else "AAAA", one) for one in addresses]


def domain_records(name, domain, hostname, addresses):
    """Return all that a domain needs in DNS but its DKIM keys; the host's addresses if its name lies in the domain."""
    host = address_records(hostname, addresses, domain["ttl"]) if within(hostname, name) else []
    policies = (spf_record(name, domain), dmarc_record(name, domain))
    return [*host, *mx_records(name, domain), *(record for record in policies if record)]


def within(hostname, domain):
    """Tell whether a host's name lies in a domain."""
    return hostname == domain or hostname.endswith(f".{domain}")


# ---- their text


def txt_strings(value):
    """Return a TXT value cut into strings of at most 255 bytes each (RFC 1035 section 3.3.14)."""
    if value.isascii():
        return [value[start : start + STRING] for start in range(0, len(value) or 1, STRING)]
    strings, current, size = [], [], 0
    for letter in value:
        width = len(letter.encode())
        if size + width > STRING:
            strings.append("".join(current))
            current, size = [], 0
        current.append(letter)
        size += width
    return [*strings, "".join(current)]


def zone_line(record):
    """Return a record as one line of a zone file (RFC 1035 section 5.1)."""
    return f"{record.name}. {record.ttl} IN {record.rdtype} {_zone_value(record)}"


def as_strings(records):
    """Return ``{"NAME TYPE": value}`` with each value as a web form wants it, or a list of several at one place."""
    found = {}
    for record in records:
        found.setdefault(f"{record.name} {record.rdtype}", []).append(one_string(record))
    return {place: values[0] if len(values) == 1 else values for place, values in found.items()}


def one_string(record):
    """Return a record's value as a provider's web form wants it: no quotation marks, nothing escaped, not split."""
    return record.value


def zone(records):
    """Return records as a snippet of a zone file, ready for ``$INCLUDE``; those of another zone (PTR) are comments."""
    return "".join(f"{'; ' * (record.rdtype == 'PTR')}{zone_line(record)}\n" for record in records)


def as_data(records):
    """Return records as plain data; a TXT record also with the strings that its value is split into."""
    return [
        {"name": record.name, "ttl": record.ttl, "type": record.rdtype, "value": record.value}
        | ({"strings": txt_strings(record.value)} if record.rdtype == "TXT" else {})
        for record in records
    ]


def as_json(records):
    """Return records as JSON text."""
    return json.dumps(as_data(records), indent=2, ensure_ascii=False)


def octodns(records, zone):
    """Return TXT records as a zone file of octoDNS's YamlProvider: names relative to ``zone``, in natural order.

    Its values have a backslash before each semicolon (``escaped_semicolons``); octoDNS itself splits them.
    """
    by_name = {}
    for record in records:
        by_name.setdefault(record.name[: -len(zone) - 1], []).append(record)
    lines = ["---"]
    for name in sorted(by_name, key=_natural):
        values = [_yaml(record.value.replace(";", "\\;")) for record in by_name[name]]
        value = f"value: {values[0]}" if len(values) == 1 else f"values: [{', '.join(values)}]"
        lines += [f"{_yaml(name)}:", f"  ttl: {by_name[name][0].ttl}", "  type: TXT", f"  {value}"]
    return "\n".join([*lines, ""])


def _natural(name):
    """Return a key that sorts numbers in names by their value: octoDNS refuses a file in another order."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _yaml(text):
    return "'" + text.replace("'", "''") + "'"


def _zone_value(record):
    if record.rdtype in ("MX", "PTR"):
        return f"{record.value}."
    if record.rdtype != "TXT":
        return record.value
    strings = [quoted(string.encode()) for string in txt_strings(record.value)]
    return strings[0] if len(strings) == 1 else f"( {' '.join(strings)} )"


def quoted(string):
    """Return bytes as a quoted string; within quotation marks a semicolon needs no backslash."""
    return '"' + "".join(_escaped(byte) for byte in string) + '"'


def _escaped(byte):
    if byte in b'"\\':
        return "\\" + chr(byte)
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03d}"


# ---- what DNS shows, against what is wanted


def tags(text):
    """Return a tag=value list as a dict in its own order (RFC 6376 section 3.2).

    :raises ValueError: with the reason why it is none.
    """
    specs = text.split(";")
    if len(specs) > 1 and not specs[-1].strip(_FWS):
        specs.pop()
    found = {}
    for spec in specs:
        name, equals, value = (part.strip(_FWS) for part in spec.partition("="))
        if not equals or not _TAG_NAME.match(name):
            raise ValueError(f"{shown(spec.strip(_FWS))} is not tag=value")
        if name in found:
            raise ValueError(f"the tag {name}= is there twice")
        if not _TAG_VALUE.match(value):
            raise ValueError(f"the tag {name}= has a character that is not allowed: {shown(value)}")
        found[name] = value
    return found


def check_key(values, public, algorithm="rsa"):
    """Compare the TXT values at a key's name with our key; return ``None`` or a sentence of what is wrong.

    :param public: base64 text of our public key; empty if the key is to be revoked.

    Keys are equal if their decoded bytes and ``k=`` are; white space within ``p=`` and other tags do not count.
    """
    if not values:
        return "there is no key record"
    if len(values) > 1:
        return _several_keys(values, public, algorithm)
    text = _text(values[0])
    if text == key_text(public, algorithm):
        return None  # as it is of thousands of keys: nothing needs to be taken apart
    if "\\" in text:
        return _PASTED
    if '"' in text:
        return _QUOTED
    try:
        seen = tags(text)
    except ValueError as err:
        return f"it is not a key record: {err}; publish ours in its place"
    return _wrong_form(seen, text) or _wrong_use(seen, algorithm) or _wrong_key(seen["p"], public)


def _several_keys(values, public, algorithm):
    others = [value for value in values if check_key((value,), public, algorithm)]
    head = f"there are {len(values)} TXT records at this name; which one counts is undefined (RFC 6376 section 3.6.2.2)"
    listed = ", ".join(_shown(value) for value in others)
    if len(others) == len(values):
        return f"{head}; none is ours: take away {listed} and publish ours"
    if not others:
        return f"{head}; each of them holds our key: keep one"
    return f"{head}; keep ours and take away {listed}"


def _wrong_form(seen, text):
    if "p" not in seen:
        return f"it is not a key record, having no p=: {shown(text)}; publish ours in its place"
    if "v" in seen and (seen["v"] != "DKIM1" or next(iter(seen)) != "v"):
        return (
            "v= must be DKIM1, in capitals, and the first tag (RFC 6376 section 3.6.1); publish our record in its place"
        )
    return None


def _wrong_use(seen, algorithm):
    kind = seen.get("k", "rsa")
    if kind != algorithm:
        return f"it says k={kind}, but our key is k={algorithm}; publish our record in its place"
    if "h" in seen and "sha256" not in _listed(seen["h"]):
        return f"it allows only h={seen['h']}, but we sign with sha256 (RFC 8301); take h= away"
    if "s" in seen and seen["s"] not in ("*", "email"):
        # A list with email in it would do (RFC 6376 section 3.6.1), but dkimpy, and so others' filters, take none.
        return f"it is for s={seen['s']} only, which not every verifier takes for email; take s= away"
    return None


def is_testing(value):
    """Tell whether a key record has t=y: verifiers may take its signatures for none (RFC 6376 section 3.6.1)."""
    if not _FLAGS.search(value):
        return False
    try:
        return "y" in _listed(tags(_text(value)).get("t", ""))
    except ValueError:
        return False


def _listed(value):
    return {one.strip(_FWS) for one in value.split(":")}


def _wrong_key(value, public):
    seen = re.sub(r"\s", "", value)
    if seen == public:
        return None
    if not public:
        return (
            f"it still holds a key (p={shown(seen)}), but the key is to be revoked: publish the record with an empty p="
        )
    if not seen:
        return "its p= is empty, which says that the key is revoked; publish the record with our p="
    if public.startswith(seen):
        return (
            f"the key is cut: p= has {len(seen)} of {len(public)} characters. A TXT string holds 255 bytes, so "
            "the value has to be split into several strings of one record"
        )
    return _other_key(seen, public)


def _other_key(seen, public):
    ours = base64.b64decode(public)
    try:
        theirs = base64.b64decode(seen, validate=True)
    except (binascii.Error, ValueError):
        return f"its p= is damaged: {len(seen)} characters, no base64, {len(public)} wanted; publish our record again"
    if theirs == ours:
        return f"its p= ends with what does not belong there: {_from(seen, len(public) - 4)}; publish our record again"
    if theirs == _ED25519_SPKI + ours:
        return (
            "its p= is wrapped (MCow…), but RFC 8463 section 4 wants a bare Ed25519 key of 32 bytes; publish our record"
        )
    start = next(
        (place for place, pair in enumerate(zip(seen, public, strict=False)) if len(set(pair)) > 1), len(public)
    )
    # All RSA keys of a size begin alike, so only the place where they part tells anything.
    return (
        f"it holds a different key: from character {start + 1} on p= is {_from(seen, start)}, "
        f"ours is {_from(public, start)}. If ours was made anew, publish ours; if another host signs with this "
        "selector, give the two different ones"
    )


def _from(text, start):
    rest = text[start : start + 12]
    return f"{rest}…" if rest else "at its end"


def check_spf(values, wanted):
    """Compare the TXT values at a domain's name with its SPF record; return ``None`` or a sentence of what is wrong.

    Others' TXT values do not count. Equal are records that a verifier reads alike: letters' case, white space, ``+``,
    the order of terms with the same qualifier and the spelling of an address are free.
    """
    found = [_text(value) for value in values if is_spf(value)]
    if len(found) > 1:
        return (
            f"there are {len(found)} SPF records, which makes every check a permerror (RFC 7208 section 4.5); keep one"
        )
    if not found:
        near = next((_text(value) for value in values if "v=spf1" in _text(value).lower()), "")
        quoted = f"; {shown(near)} is none: {_QUOTED}" if '"' in near else f"; {shown(near)} is none" if near else ""
        return f"none of the {len(values)} TXT records there is an SPF record{quoted}"
    if "\\" in found[0]:
        return _PASTED
    if _spf(found[0]) == _spf(wanted):
        return None
    seen_terms, wanted_terms = spf_terms(found[0]), spf_terms(wanted)
    missing = [term for term in wanted_terms if term not in seen_terms]
    surplus = [term for term in seen_terms if term not in wanted_terms]
    return f"the SPF record {lacks_and_has(missing, surplus) or 'has its terms in another order, or some twice'}"


def is_spf(value):
    """Tell whether a TXT value is an SPF record (RFC 7208 section 4.5)."""
    return bool(re.match(r"v=spf1( |\Z)", _text(value), re.IGNORECASE))


def spf_terms(text, only=None):
    """Return an SPF record's terms in one spelling each, or ``only`` these of them."""
    return [_spf_term(term) for term in (text.split()[1:] if only is None else only)]


def _spf_term(term):
    # In a macro the letter's case has a meaning (RFC 7208 section 7.3).
    term = "".join(part if part.startswith("%{") else part.lower() for part in re.split(r"(%\{[^{}%]*\})", term))
    term = term.removeprefix("+")
    network = re.fullmatch(r"([-~?]?)(ip[46]):(.+)", term)
    if not network:
        return term
    try:
        address = ipaddress.ip_network(network[3], strict=False)
    except ValueError:
        return term
    text = str(address.network_address) if address.prefixlen == address.max_prefixlen else str(address)
    return f"{network[1]}{network[2]}:{text}"


def _spf(text):
    """Return an SPF record as what a verifier makes of it: runs of terms with one qualifier, and modifiers."""
    runs, modifiers = [], set()
    for term in spf_terms(text):
        if re.match(r"[a-z][a-z0-9_.-]*=", term):
            modifiers.add(term)
            continue
        qualifier = term[0] if term[0] in "-~?" else "+"
        if not runs or runs[-1][0] != qualifier:
            runs.append((qualifier, set()))
        runs[-1][1].add(term)
    return runs, modifiers


def check_dmarc(values, wanted):
    """Compare the TXT values at a domain's ``_dmarc`` with its DMARC record; return ``None`` or what is wrong.

    Equal are records with the same tags in any order, ``v=`` first; a tag with its default value counts as left out.
    """
    found = [_text(value) for value in values if is_dmarc(value)]
    if len(found) > 1:
        return f"there are {len(found)} DMARC records, so verifiers take none (RFC 9989 section 4.10); keep one"
    if not found:
        return _no_dmarc(values)
    if "\\" in found[0]:
        return _PASTED
    if found[0].split() == wanted.split():
        return None
    try:
        seen_tags, wanted_tags = tags(found[0]), tags(wanted)
    except ValueError as err:
        return f"the DMARC record is not as wanted: {err}"
    missing, surplus = _unmatched(wanted_tags, seen_tags), _unmatched(seen_tags, wanted_tags)
    difference = lacks_and_has(missing, surplus)
    return f"the DMARC record {difference}" if difference else None


def is_dmarc(value):
    """Tell whether a TXT value is a DMARC record; others at the name do not count (RFC 9989 section 4.10)."""
    return bool(re.match(r"v[ \t]*=[ \t]*DMARC1[ \t]*(\\?;|\Z)", _text(value)))


def _no_dmarc(values):
    near = next((_text(value) for value in values if "dmarc1" in _text(value).lower()), "")
    if '"' in near:
        return _QUOTED
    if near:
        return f"{shown(near)} is no DMARC record: it must begin with v=DMARC1, in capitals"
    return f"none of the {len(values)} TXT records there is a DMARC record"


def _unmatched(tag_list, other):
    """Return the tags of one record that do not hold in another, neither said there nor by default."""
    policy = other.get("sp", other.get("p"))
    implied = {**_DMARC_DEFAULTS, "sp": policy, "np": policy, **other}
    return [f"{tag}={value}" for tag, value in tag_list.items() if not _same_tag(tag, value, implied.get(tag))]


def _same_tag(tag, value, other):
    if other is None:
        return False
    if tag in ("rua", "ruf"):
        return {one.strip() for one in value.split(",")} == {one.strip() for one in other.split(",")}
    if tag == "fo":
        return _listed(value) == _listed(other)
    return value.lower() == other.lower()


def lacks_and_has(missing, surplus):
    """Return what is missing from a record and what is too much in it, as the end of a sentence; empty for neither."""
    halves = []
    if missing:
        halves.append(f"lacks {' '.join(missing)}")
    if surplus:
        halves.append(f"has {' '.join(surplus)}, which is not wanted")
    return " and ".join(halves)


def check_mx(values, hosts):
    """Compare MX values, pairs of preference and host, with the hosts wanted; preferences are free."""
    seen = sorted({host.lower().rstrip(".") for _, host in values})
    if seen == [""]:
        return "the MX record is the null MX (RFC 7505), which says that the domain takes no mail"
    missing, surplus = ([one for one in a if one not in b] for a, b in ((hosts, seen), (seen, hosts)))
    difference = lacks_and_has(missing, surplus)
    return f"the MX record {difference}" if difference else None


def check_addresses(values, addresses):
    """Compare A or AAAA values with the addresses wanted."""
    wanted, seen = ({str(ipaddress.ip_address(one)): one for one in some} for some in (addresses, values))
    missing = [one for address, one in wanted.items() if address not in seen]
    surplus = sorted(one for address, one in seen.items() if address not in wanted)
    difference = lacks_and_has(missing, surplus)
    return f"the name {difference}" if difference else None


def _text(value):
    return value.decode("utf-8", "replace")


def _shown(value):
    return shown(_text(value))
