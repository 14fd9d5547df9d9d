"""A hand-written OpenDKIM configuration: the settings of opendkim.conf, and the data sets that they name."""

import os
import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from mailhost.errors import TakeoverError
from mailhost.files import AnyPath

MOST_INCLUDES = 5
"""How deeply files may include others; this is OpenDKIM's own limit."""
Reader = Callable[[str], str]
"""From a file's path to its text, as :func:`read_text`."""


@dataclass(frozen=True)
class Setting:
    """A setting in effect, which is the last of its name: its value, and where it is (``file:line``)."""

    name: str
    value: str
    where: str


@dataclass(frozen=True)
class DataSetRow:
    """A row of a data set: its key, its value, and where it is (``file:line``, or that of the setting)."""

    key: str
    value: str
    where: str


@dataclass(frozen=True)
class DataSet:
    """A data set: ``file`` (lookup by key), ``refile`` (patterns, the first match counts), ``csl`` (in the setting)."""

    kind: str
    path: str
    rows: tuple[DataSetRow, ...]


def read_text(path: AnyPath) -> str:
    """Return a file's text; bytes that are not UTF-8 are preserved.

    :raises TakeoverError: it cannot be read.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            return file.read()
    except OSError as err:
        raise TakeoverError(f"{path}: cannot be read: {err.strerror}") from err


def settings_of(path: str, read: Reader = read_text) -> dict[str, Setting]:
    """Return ``{name in lower case: Setting}`` for a file like opendkim.conf and its includes.

    A line ends at a hash, even within a value; of several lines the last counts (OpenDKIM 2.11, config.c).

    :raises TakeoverError: a file cannot be read.
    """
    return {one.name.lower(): one for one in _settings(path, read, 0)}


def _settings(path: str, read: Reader, depth: int) -> Iterator[Setting]:
    if depth > MOST_INCLUDES:
        raise TakeoverError(f"{path}: it includes itself, or files include files more than {MOST_INCLUDES} deep")
    for number, line in enumerate(read(path).split("\n"), 1):
        name, _, value = _plain(line).replace("\t", " ").partition(" ")
        value = value.strip()
        if name.lower() == "include" and value:
            yield from _settings(value, read, depth + 1)
        elif name and value:
            yield Setting(name, value, f"{path}:{number}")


def _plain(line: str) -> str:
    return line.partition("#")[0].partition("\r")[0].strip(" \t")


def is_true(settings: Mapping[str, Setting], name: str) -> bool:
    """Tell whether a setting is given and true, as OpenDKIM reads it."""
    one = settings.get(name.lower())
    return one is not None and one.value[0] in "tTyY1"


def data_set(setting: Setting, settings: Mapping[str, Setting], read: Reader = read_text) -> DataSet:
    """Return the :class:`DataSet` that a setting names (opendkim(8), DATA SETS).

    :raises TakeoverError: it is a database or a program, which cannot be read here, or its file cannot be read.
    """
    kind, source = _kind(setting.value)
    if kind == "csl":
        return DataSet(kind, "", tuple(_listed(source, setting.where)))
    if kind not in ("file", "refile"):
        raise TakeoverError(
            f"{setting.where}: {setting.name} {setting.value}: a data set of the kind {kind}: is not read here; "
            "only file:, refile: and csl: are"
        )
    path = posixpath.join(settings["basedirectory"].value if "basedirectory" in settings else "/", source)
    return DataSet(kind, path, tuple(_rows(read(path), path)))


def _kind(value: str) -> tuple[str, str]:
    kind, colon, source = value.partition(":")
    if colon and "," not in kind:
        return kind.lower(), source
    if value.endswith(".db"):
        return "db", value
    return ("file" if value.startswith("/") else "csl"), value


def _listed(text: str, where: str) -> Iterator[DataSetRow]:
    for one in text.split(","):
        key, _, value = one.partition("=")
        if key.strip():
            yield DataSetRow(key.strip(), value.strip(), where)


def _rows(text: str, path: str) -> Iterator[DataSetRow]:
    for number, line in enumerate(text.split("\n"), 1):
        words = line.partition("#")[0].split(None, 1)
        if words:
            yield DataSetRow(words[0], words[1].strip() if len(words) > 1 else "", f"{path}:{number}")


def same_path(one: AnyPath, other: AnyPath) -> bool:
    """Tell whether two paths lead to the same file, through links as well."""
    return os.path.realpath(one) == os.path.realpath(other)
