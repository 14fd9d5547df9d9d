"""The manifest of a domain's keys as text: written, and read with distrust. Pure."""

import base64
import binascii
import json
import re
from dataclasses import asdict, fields, replace
from datetime import datetime, timezone
from typing import Any

from mailhost.clock import iso_time
from mailhost.dkim.life import LIFE, STAGES, KeyRow, Manifest, with_keys
from mailhost.errors import ManifestError

FORMAT = 1
_STAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z", re.ASCII)
_COLUMNS = frozenset(field.name for field in fields(KeyRow)) - {"given_up"}


def emit(manifest: Manifest) -> str:
    """Return the manifest as the text of ``keys.json``."""
    rows = [{name: _out(value) for name, value in asdict(key).items() if name in _COLUMNS} for key in manifest.keys]
    given_up = {key.selector: key.given_up for key in manifest.keys if key.given_up}
    head = {"format": FORMAT, "domain": manifest.domain, **({"machine": manifest.machine} if manifest.machine else {})}
    # Beside the rows, and only where there is something to say: earlier versions of the formula read it, too.
    return json.dumps({**head, **({"given_up": given_up} if given_up else {}), "keys": rows}, indent=2) + "\n"


def _out(value: datetime | str | int | None) -> str | int | None:
    return iso_time(value) if isinstance(value, datetime) else value


def parse(text: str, domain: str, where: str) -> Manifest:
    """Read the text of ``keys.json``.

    :param domain: the domain that it must be of.
    :param where: the file's path, for messages.
    :raises ManifestError: naming file, row and column of what is wrong; such a file is never overwritten.
    """
    try:
        data = json.loads(text)
        rows, version, named = data["keys"], data["format"], data["domain"]
    except (ValueError, KeyError, TypeError, RecursionError) as err:
        raise ManifestError(f"{where}: this is not a manifest of keys ({err!r}); restore it from a backup") from err
    if type(version) is not int or version != FORMAT:
        raise ManifestError(
            f"{where}: format {version!r} is not known here (this is format {FORMAT}); upgrade the formula"
        )
    if named != domain:
        raise ManifestError(f"{where}: it is the manifest of {named!r}, not of {domain!r}; was it copied here?")
    if not isinstance(rows, list):
        raise ManifestError(f"{where}: keys is not a list")
    keys = tuple(_row(row, f"{where}: row {number}") for number, row in enumerate(rows, 1))
    for number, key in enumerate(keys, 1):
        if any(one.selector == key.selector for one in keys[: number - 1]):
            raise ManifestError(f"{where}: row {number}, selector: {key.selector} is there twice")
    return _with_marks(Manifest(domain, keys), data, where)


def _with_marks(manifest: Manifest, data: dict[str, Any], where: str) -> Manifest:
    """Return the manifest with what the file says beside its rows: the machine, and which keys are given up."""
    machine, given_up = data.get("machine", ""), data.get("given_up", {})
    if not isinstance(machine, str):
        raise ManifestError(f"{where}: machine: {machine!r} is not text")
    if not isinstance(given_up, dict) or not all(isinstance(why, str) for why in given_up.values()):
        raise ManifestError(f"{where}: given_up: not a mapping of selectors to texts")
    odd = sorted(given_up.keys() - {key.selector for key in manifest.keys})
    if odd:
        raise ManifestError(f"{where}: given_up: there is no row of {odd[0]}")
    marked = [replace(key, given_up=given_up[key.selector]) for key in manifest.keys if key.selector in given_up]
    return replace(with_keys(manifest, marked), machine=machine)


def _row(row: Any, where: str) -> KeyRow:
    if not isinstance(row, dict):
        raise ManifestError(f"{where}: not a mapping")
    odd = sorted(_COLUMNS.symmetric_difference(row))
    if odd:
        raise ManifestError(f"{where}, {odd[0]}: {'not a column' if odd[0] in row else 'missing'}")
    times = {name: _time(row[name], f"{where}, {name}") for name in STAGES}
    _check_texts(row, where)
    key = KeyRow(**{**row, **times})
    _check_order(key, where)
    return key


def _check_texts(row: dict[str, Any], where: str) -> None:
    for name in ("selector", "algorithm", "public"):
        if not isinstance(row[name], str):
            raise ManifestError(f"{where}, {name}: {row[name]!r} is not text")
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", row["selector"]):
        raise ManifestError(f"{where}, selector: {row['selector']!r} is not a selector")
    if type(row["bits"]) is not int or row["bits"] < 1:
        raise ManifestError(f"{where}, bits: {row['bits']!r} is not a number")
    try:
        base64.b64decode(row["public"], validate=True)
    except (binascii.Error, ValueError) as err:
        raise ManifestError(f"{where}, public: not base64") from err


def _time(value: Any, where: str) -> datetime | None:
    if value is None:
        return None
    try:
        # Ten times as fast as strptime, for the thousands of stamps that a run reads.
        found = _STAMP.fullmatch(value)
        year, month, day, hour, minute, second = map(int, found.groups() if found else ())
        return datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
    except (TypeError, ValueError) as err:
        raise ManifestError(f"{where}: {value!r} is not a time such as 2026-11-24T18:00:00Z") from err


def _check_order(key: KeyRow, where: str) -> None:
    reached: list[str] = []
    for stage in LIFE:
        moment = getattr(key, stage.name)
        if moment is None:
            continue
        last = reached[-1] if reached else None
        if stage.follows and (last is None or last not in stage.follows):
            raise ManifestError(f"{where}, {stage.name}: it cannot follow {last or 'nothing'}")
        if last and moment < getattr(key, last):
            raise ManifestError(f"{where}, {stage.name}: it lies before {last}")
        reached.append(stage.name)
    if not reached:
        raise ManifestError(f"{where}, generated: missing")
