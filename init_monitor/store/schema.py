"""What the values of a stored run have to be. The one place where what was read is checked.

Files come from disks that fail, from programs that write something else, and from people. Each function here takes a
JSON value and where it stands, and returns it as the type that the records promise, or raises :class:`MalformedError`
with one short sentence. Nothing in here walks into a value deeper than the format goes.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import MISSING, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from init_monitor.records import Figure, Role, Severity
from init_monitor.records.aim import Aim, Measure
from init_monitor.records.quoting import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from init_monitor.records import Column

MOST_WHOLE = 2**53
"""Whole numbers are below: up to here float64, and with it every reader of JSON, holds them exactly."""

MOST_SECONDS = 8.64e12
"""Seconds since the epoch that a date of a browser can hold."""

DEEPEST = 16
"""Levels of lists and objects in the settings: those of the monitor have two."""

_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""Numbers that JSON has no form for."""

_ROLES = frozenset(role.value for role in Role)


class MalformedError(ValueError):
    """A value is not what the format says; the text says which, expected against got."""


def parsed(line: bytes | str) -> dict[str, Any]:
    """Return the JSON object that a line holds."""
    try:
        entry = json.loads(line)
    except RecursionError:
        message = "lists or objects are nested too deep"
        raise MalformedError(message) from None
    except ValueError as error:
        # UnicodeDecodeError and the limit of digits are ValueErrors too.
        message = f"no JSON: {getattr(error, 'msg', None) or error}"
        raise MalformedError(message) from error
    return mapping(entry, "the line")


def mapping(value: object, where: str) -> dict[str, Any]:
    """Return an object."""
    if isinstance(value, dict):
        return value
    raise _unexpected(where, "an object", value)


def whole(value: object, where: str) -> int:
    """Return a whole number from 0 that JSON holds exactly."""
    if type(value) is int and 0 <= value < MOST_WHOLE:
        return value
    raise _unexpected(where, "a whole number from 0 and below 2^53", value)


def number(value: object, where: str) -> float:
    """Return a number, which may be NaN or infinite."""
    if isinstance(value, str) and value in _WORDS:
        return _WORDS[value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            pass
    raise _unexpected(where, "a number", value)


def seconds(value: object, where: str) -> float:
    """Return a point in time, seconds since the epoch."""
    time = number(value, where)
    if 0 <= time < MOST_SECONDS:
        return time
    raise _unexpected(where, "seconds since 1970", value)


def text(value: object, where: str) -> str:
    """Return a string."""
    if isinstance(value, str):
        return value
    raise _unexpected(where, "a string", value)


def flag(value: object, where: str) -> bool:
    """Return true or false."""
    if isinstance(value, bool):
        return value
    raise _unexpected(where, "true or false", value)


def items(value: object, where: str) -> list[Any]:
    """Return a list."""
    if isinstance(value, list):
        return value
    raise _unexpected(where, "a list", value)


def texts(value: object, where: str) -> tuple[str, ...]:
    """Return a list of strings."""
    return tuple(text(one, where) for one in items(value, where))


def column(value: object, where: str, length: int | None = None) -> Column:
    """Return a list of numbers, one for each of ``length`` names; of any length if that is not given."""
    numbers = items(value, where)
    if length is not None and len(numbers) != length:
        message = f"{where} has {len(numbers)} numbers, expected {length}"
        raise MalformedError(message)
    return np.array([number(one, where) for one in numbers], dtype=np.float64)


def plain(value: object, where: str, deepest: int = DEEPEST) -> Any:  # noqa: ANN401 - any JSON value
    """Return any JSON value, as long as it is not nested beyond what can be shown."""
    if isinstance(value, (dict, list)) and deepest == 0:
        message = f"{where} is nested more than {DEEPEST} levels deep"
        raise MalformedError(message)
    if isinstance(value, dict):
        return {key: plain(one, where, deepest - 1) for key, one in value.items()}
    if isinstance(value, list):
        return [plain(one, where, deepest - 1) for one in value]
    return value


def restored(kind: Any, value: object, where: str = "") -> Any:  # noqa: ANN401 - any of the frozen words
    """Return a frozen dataclass from an object: unknown fields are passed over, missing ones get their default.

    Args:
        kind: the dataclass.
        value: what should be an object with its fields.
        where: what it is, for the message.
    """
    entry = mapping(value, where or kind.__name__.lower())
    words = {}
    for one in _fields(kind):
        if one.name in entry:
            words[one.name] = one.read(entry[one.name], f"{where}{'.' if where else ''}{one.name}")
        elif one.needed:
            raise MalformedError(_missing(where or kind.__name__.lower(), one.name))
    return kind(**words)


def needed(entry: Mapping[str, Any], name: str, where: str = "the line") -> Any:  # noqa: ANN401 - any JSON value
    """Return a field that must be there."""
    if name in entry:
        return entry[name]
    raise MalformedError(_missing(where, name))


class _Field(NamedTuple):
    name: str
    read: Callable[[object, str], object]
    needed: bool


@lru_cache(maxsize=8)
def _fields(kind: Any) -> tuple[_Field, ...]:  # noqa: ANN401 - any dataclass type
    return tuple(
        _Field(one.name, _reader(str(one.type)), one.default is MISSING and one.default_factory is MISSING)
        for one in fields(kind)
    )


def _reader(type_name: str) -> Callable[[object, str], object]:
    """Return what reads a field of this type, as a record declares it."""
    if type_name.endswith(" | None"):
        read = _reader(type_name.removesuffix(" | None"))
        return lambda value, where: None if value is None else read(value, where)
    several = re.fullmatch(r"tuple\[(\w+), \.\.\.\]", type_name)
    if several is not None:
        one = _reader(several[1])
        return lambda value, where: tuple(one(item, where) for item in items(value, where))
    return _READERS[type_name]


def _role(value: object, where: str) -> Role:
    # A later version may have more of them.
    return Role(value) if text(value, where) in _ROLES else Role.OTHER


def _severity(value: object, where: str) -> Severity:
    try:
        return Severity(text(value, where))
    except ValueError:
        raise _unexpected(where, " or ".join(Severity), value) from None


def _figures(value: object, where: str) -> dict[str, Figure]:
    return {name: _figure(one, f"{where}.{quoted(name)}") for name, one in mapping(value, where).items()}


def _figure(value: object, where: str) -> Figure:
    entry = mapping(value, where)
    unit = text(needed(entry, "unit", where), f"{where}.unit")
    return Figure(number(needed(entry, "value", where), f"{where}.value"), unit)


def _aim(value: object, where: str) -> Aim | None:
    # A later version may measure more.
    name = text(needed(mapping(value, where), "measure", where), f"{where}.measure").upper()
    return restored(Aim, value, where) if name in Measure.__members__ else None


_READERS: dict[str, Callable[[object, str], object]] = {
    "Aim": _aim,
    "Measure": lambda value, where: Measure[text(value, where).upper()],
    "str": text,
    "int": whole,
    "float": number,
    "bool": flag,
    "Role": _role,
    "Severity": _severity,
    "Mapping[str, Figure]": _figures,
}
"""By the type that a record declares for a field."""


def _unexpected(where: str, expected: str, value: object) -> MalformedError:
    return MalformedError(f"{where} is {quoted(value)}, expected {expected}")


def _missing(where: str, name: str) -> str:
    return f"{where} misses '{name}'"
