"""Arguments of execution functions as they were meant: Salt reads them as YAML, which makes 20210808 a number."""

import functools
import inspect
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any, Protocol, TypeAlias, TypeVar, cast

from mailhost.errors import ArgumentError

Reader: TypeAlias = Callable[[Any], object]
"""What reads one argument, such as :func:`text`: it returns what was meant, or raises :class:`ArgumentError`."""
_Given = TypeVar("_Given")
_Result = TypeVar("_Result")
_Result_co = TypeVar("_Result_co", covariant=True)
_FLAGS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


class Reads(Protocol[_Result_co]):
    """An execution function that reads its arguments by the kinds that it ``takes``."""

    takes: Mapping[str, Reader]
    __signature__: inspect.Signature

    def __call__(self, *given: object, **named: object) -> _Result_co: ...


def read(error: type[Exception] = ArgumentError, **kinds: Reader) -> Callable[[Callable[..., _Result]], Reads[_Result]]:
    """Return a decorator that reads the arguments of an execution function.

    :param error: the class to raise, with one sentence, if an argument cannot be read as what was written.
    :param kinds: for each parameter one of this module's readers, such as :func:`text` or :func:`flag`.

    ``None`` is left as it is if it is the parameter's default. The decorated function has its kinds as ``takes``.
    """

    def decorated(function: Callable[..., _Result]) -> Reads[_Result]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def called(*given: object, **named: object) -> _Result:
            # Arguments that Salt adds itself (__pub_jid …) do not belong to the function.
            bound = signature.bind(*given, **named)
            for name, value in bound.arguments.items():
                if not (value is None and signature.parameters[name].default is None):
                    bound.arguments[name] = _read(kinds[name], value, f"{function.__name__}: {name}", error)
            return function(*bound.args, **bound.kwargs)

        reads = cast("Reads[_Result]", called)
        reads.takes = kinds
        # Salt's loader and documentation inspect the signature.
        reads.__signature__ = signature
        return reads

    return decorated


def _read(kind: Reader, value: object, what: str, error: type[Exception]) -> object:
    try:
        return kind(value)
    except ArgumentError as err:
        raise error(f"{what}: {err}") from err


def text(value: object) -> str:
    """Return an argument as the text that was written.

    For a whole number and a date, the text that was meant as a selector or a name can be restored. Other values have
    lost it: ``2021.10`` has become 2021.1, and ``on`` true.

    :raises ArgumentError: the message says how to pass the value literally.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, date)) or isinstance(value, datetime):
        raise ArgumentError(
            f"{value!r} is {_a(value)}, and text is wanted. Salt reads arguments as YAML; quote what is to be taken "
            "as it is, twice for the shell: \"'2021.10'\" (in YAML files and JSON once)"
        )
    return value.isoformat() if isinstance(value, date) else str(value)


def domain(value: object) -> str:
    """Return a domain name as DNS compares names: in lower case, without a final dot."""
    return text(value).strip().lower().removesuffix(".")


def texts(value: object) -> list[str]:
    """Return a list of texts from a list, from the keys of a mapping, or from a single text.

    :raises ArgumentError: the text of one of them is lost (:func:`text`).
    """
    if isinstance(value, (list, tuple, set, frozenset, Mapping)):
        return [text(one) for one in value]
    return [text(value)]


def target(value: object) -> str | list[str]:
    """Return a target as Salt takes it: text or, for the type ``list``, a list of texts."""
    return texts(value) if isinstance(value, (list, tuple)) else text(value)


def flag(value: object) -> bool:
    """Return a truth value; ``no`` and ``off`` are false even as text, as a quoted argument or the API passes them.

    :raises ArgumentError: it is not a truth value.
    """
    known = _FLAGS.get(str(value).lower()) if isinstance(value, (bool, int, str)) else None
    if known is None:
        raise ArgumentError(f"{value!r} is neither true nor false")
    return known


def number(value: object) -> int:
    """Return a whole number.

    :raises ArgumentError: it is not a whole number.
    """
    try:
        return value if isinstance(value, int) and not isinstance(value, bool) else int(text(value))
    except ValueError as err:
        raise ArgumentError(f"{value!r} is not a whole number") from err


def as_given(value: _Given) -> _Given:
    """Return an argument unchanged: a mapping from the pillar, or something that the function reads itself."""
    return value


def _a(value: object) -> str:
    names = {bool: "a truth value", float: "a number", dict: "a mapping", list: "a list", type(None): "nothing"}
    return names.get(type(value), f"a {type(value).__name__}")
