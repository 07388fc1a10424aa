r"""The numbers of a step as bytes: a fifth of what they take as JSON, and still one line of the file.

A line of schema 2 holds a step's facts as JSON, the mark ``\x1f``, and its columns packed: a list of their names and, byte
by byte of the numbers (all first bytes, then all second bytes, …, because signs and exponents are alike), float64 whose
mantissas are rounded to 27 bits, all of it deflated. That is nine significant digits; whole numbers are exact. A column
that follows from others is written as its difference from what they give, which is mostly nothing. Line ends in the bytes
are escaped, so that a file is still read line by line, and one that was cut is read up to its last whole line.
"""

from __future__ import annotations

import json
import struct
import zlib
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from init_monitor.store import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from init_monitor.records import Column

    Bits = NDArray[np.uint64]
    Columns = dict[str, Column]

Name = TypeVar("Name", bound=str)

MARK = b"\x1f"
"""Between the JSON and the bytes of a line: JSON in ASCII never holds it."""

PACKED_VERSION = 2
"""Schema version of a run whose columns are packed; those of version 1 are lists of numbers, and read as well."""

PARTS = ("columns", "parameter_columns", "residual_columns", "head_columns")
"""Of layers, of parameters, of residual additions, of attention heads; runs of earlier versions have no heads."""

_ALWAYS = 3
"""Parts that every run has."""

_DROPPED = np.uint64(52 - 27)
"""Bits that a mantissa loses: what is left is right to 2^-28, as much as nine digits are."""

_EXACT_WHOLE = 2.0**53

_MOST_NAMES = 1 << 20
"""Bytes that the names of columns take at most; a bomb has more."""

_ESCAPES = ((b"\x10", b"\x10P"), (b"\n", b"\x10J"))
"""What the bytes of a line may not hold, and what stands for it."""


def packed(columns: Sequence[Mapping[Name, Column]]) -> bytes:
    """Return the columns of all parts as bytes without a line end; those that are NaN throughout are left out."""
    kept = _kept(columns)
    # A network without attention is written as it always was, so that an earlier version can read it.
    while len(kept) > _ALWAYS and not kept[-1]:
        kept.pop()
    ordered = [{name: part[name] for name in _order(part)} for part in kept]
    names = json.dumps([list(part) for part in ordered], separators=(",", ":")).encode("ascii")
    with np.errstate(all="ignore"):
        bits = _coded(ordered)
    whole = np.concatenate(bits) if bits else np.zeros(0, np.uint64)
    planes = whole.astype("<u8").view(np.uint8).reshape(-1, 8).T.tobytes()
    content = zlib.compress(struct.pack("<I", len(names)) + names + planes, 3)
    for raw, escaped in _ESCAPES:
        content = content.replace(raw, escaped)
    return content


def _kept(parts: Sequence[Mapping[Name, Column]]) -> list[Columns]:
    """Return the columns of every part that hold a number, rounded; all of them at once."""
    kept: list[Columns] = [{} for _ in parts]
    sized = [(k, name, column) for k, part in enumerate(parts) for name, column in part.items() if len(column)]
    if not sized:
        return kept
    begins = np.cumsum([0, *(len(column) for _, _, column in sized[:-1])])
    some = np.logical_or.reduceat(~np.isnan(np.concatenate([column for _, _, column in sized])), begins)
    here = [one for one, number in zip(sized, some.tolist(), strict=True) if number]
    for (k, name, _), rounded in zip(here, _all_rounded([column for _, _, column in here]), strict=True):
        kept[k][name] = rounded
    return kept


def unpacked(content: bytes, lengths: Sequence[int]) -> list[Columns]:
    """Return the columns of all parts.

    Args:
        content: the bytes of a line.
        lengths: how many layers, parameters, residual additions and heads there are.

    Raises:
        MalformedError: it is cut, spoiled, or made for other lengths.
    """
    for raw, escaped in reversed(_ESCAPES):
        content = content.replace(escaped, raw)
    text = _inflated(content, _MOST_NAMES + 8 * _MOST_COLUMNS * sum(lengths))
    (size,) = struct.unpack_from("<I", text) if len(text) >= _HEAD else (len(text),)
    names = _names(text[_HEAD : _HEAD + size], len(lengths))
    planes = np.frombuffer(text, np.uint8, offset=min(_HEAD + size, len(text)))
    sizes = [[_size(name, part, length) for name in part] for length, part in zip(lengths, names, strict=True)]
    count = sum(map(sum, sizes))
    if len(planes) != 8 * count:
        message = f"the columns have {len(planes) / 8:g} numbers, expected {count}"
        raise schema.MalformedError(message)
    bits = np.ascontiguousarray(planes.reshape(8, count).T).reshape(-1).view("<u8").astype(np.uint64)
    words = iter(np.split(bits, np.cumsum([size for part in sizes for size in part])))
    return [_decoded({name: next(words) for name in part}, length) for length, part in zip(lengths, names, strict=True)]


_HEAD = 4
_MOST_COLUMNS = 1000
"""Quantities that a part has at most."""


def _inflated(content: bytes, most: int) -> bytes:
    try:
        inflating = zlib.decompressobj()
        text = inflating.decompress(content, most)
    except zlib.error as error:
        message = f"the columns cannot be read: {error}"
        raise schema.MalformedError(message) from error
    if not inflating.eof:
        message = "the columns are cut, or longer than their names say"
        raise schema.MalformedError(message)
    return text


def _names(text: bytes, parts: int) -> list[tuple[str, ...]]:
    names = schema.items(schema.parsed(b'{"names":' + text + b"}")["names"], "the names of the columns")
    if any(isinstance(one, list) and len(one) > _MOST_COLUMNS for one in names):
        message = f"there are more than {_MOST_COLUMNS} columns of one kind"
        raise schema.MalformedError(message)
    if not _ALWAYS <= len(names) <= parts:
        message = f"there are columns of {len(names)} kinds, expected {parts}"
        raise schema.MalformedError(message)
    names += [[]] * (parts - len(names))
    return [schema.texts(one, part) for one, part in zip(names, PARTS, strict=False)]


def _order(part: Mapping[str, Any]) -> list[str]:
    """Return names so that a column comes after those that it follows from."""
    return [*(name for name in part if name not in _FOLLOWING), *(name for name in _FOLLOWING if name in part)]


def _all_rounded(columns: Sequence[Column]) -> list[Column]:
    """Return columns rounded; in one piece, as there are dozens of them."""
    if not columns:
        return []
    rounded = _rounded(np.concatenate(columns))
    ends = list(accumulate(map(len, columns)))
    return [rounded[end - len(column) : end] for column, end in zip(columns, ends, strict=True)]


def _rounded(column: Column) -> Column:
    bits = column.astype(np.float64).view(np.uint64)
    half = np.uint64(1) << (_DROPPED - np.uint64(1))
    rounded = ((bits + half) >> _DROPPED << _DROPPED).view(np.float64)
    whole = (np.floor(column) == column) & (np.abs(column) < _EXACT_WHOLE)
    exact = whole | ~np.isfinite(column) | ~np.isfinite(rounded)
    numbers: Column = np.where(np.isnan(column), np.nan, np.where(exact, column, rounded))
    return numbers


def _coded(parts: Sequence[Columns]) -> list[Bits]:
    """Return the words of each column: of those that follow from others, the differences, worked out together."""
    raw = [{name: guess for name in columns if (guess := _unrounded(name, columns)) is not None} for columns in parts]
    rounded = iter(_all_rounded([guess for part in raw for guess in part.values()]))
    coded: list[Bits] = []
    for columns, guessed in zip(parts, raw, strict=True):
        differences: dict[str, Bits] = {}
        if guessed:
            guesses = np.array([next(rounded) for _ in guessed]).view(np.uint64)
            own = np.array([columns[name] for name in guessed])
            differences = dict(zip(guessed, _differences(own, guesses), strict=True))
        coded += [differences[name] if name in differences else one.view(np.uint64) for name, one in columns.items()]
    return coded


def _decoded(bits: dict[str, Bits], length: int) -> Columns:
    columns: Columns = {}
    for name, one in bits.items():
        guess = _guess(name, columns)
        columns[name] = one.view(np.float64) if guess is None else _sum(one, guess, length)
    return columns


def _size(name: str, part: Sequence[str], length: int) -> int:
    """Return how many words of eight bytes a column takes."""
    before = part[: part.index(name)]
    guessed = name in _FOLLOWING and all(one in before for one in _FOLLOWING[name][0])
    return length + (_mask_size(length) if guessed else 0)


def _mask_size(length: int) -> int:
    return -(-length // 64)


def _guess(name: str, columns: Columns) -> Bits | None:
    """Return what a column should be, by those before it; the same on every machine: plain IEEE arithmetic."""
    with np.errstate(all="ignore"):
        made = _unrounded(name, columns)
        return None if made is None else _rounded(made).view(np.uint64)


def _unrounded(name: str, columns: Columns) -> Column | None:
    if name not in _FOLLOWING:
        return None
    needed, make = _FOLLOWING[name]
    if any(one not in columns for one in needed):
        return None
    return np.asarray(make(*(columns[one] for one in needed)), np.float64)


def _differences(columns: Column, guesses: Bits) -> Bits:
    """Return where there is no number, a bit each, and the differences, small both ways: 0, -1, 1, -2 become 0, 1, 2, 3.

    Args:
        columns: ``[columns, rows]``.
        guesses: the same shape.
    """
    count, length = columns.shape
    missing = np.isnan(columns)
    apart = np.where(missing, np.uint64(0), columns.view(np.uint64) - guesses).view(np.int64)
    mask = np.zeros((count, 8 * _mask_size(length)), np.uint8)
    mask[:, : -(-length // 8)] = np.packbits(missing, axis=1)
    words = mask.view("<u8").astype(np.uint64), ((apart << 1) ^ (apart >> 63)).view(np.uint64)
    return np.concatenate(words, axis=1)


def _sum(words: Bits, guess: Bits, length: int) -> Column:
    start, one = _mask_size(length), np.uint64(1)
    missing = np.unpackbits(words[:start].astype("<u8").view(np.uint8), count=length).astype(np.bool_)
    difference = words[start:]
    numbers = (((difference >> one) ^ (np.uint64(0) - (difference & one))) + guess).view(np.float64)
    column: Column = np.where(missing, np.nan, numbers)
    return column


def _before(column: Column) -> Column:
    """Return for each layer the number of the one before it, whose output it often takes."""
    return np.concatenate(([np.nan], column[:-1])) if len(column) else column


def _mean_square(mean: Column, variance: Column) -> Column:
    squares: Column = variance + mean * mean
    return squares


_FOLLOWING: dict[str, tuple[tuple[str, ...], Callable[..., Column]]] = {
    "mean_square": (("mean", "variance"), _mean_square),
    "gradient_mean_square": (("gradient_mean", "gradient_variance"), _mean_square),
    "input_mean": (("mean",), _before),
    "input_variance": (("variance",), _before),
    "input_mean_square": (("mean_square",), _before),
    "input_abs_max": (("abs_max",), _before),
    "gain": (("variance", "input_mean_square"), np.divide),
    "backward_gain": (
        ("gradient_variance", "gradient_mean_square"),
        lambda variance, mean_square: _before(variance) / mean_square,
    ),
    "weight_norm": (
        ("weight_count", "weight_mean", "weight_variance"),
        lambda count, mean, variance: np.sqrt(count * _mean_square(mean, variance)),
    ),
    # As far as the gradient's mean is small compared with it.
    "weight_gradient_norm": (
        ("weight_count", "weight_gradient_variance"),
        lambda count, variance: np.sqrt(count * variance),
    ),
}
"""What follows from what, in an order that holds for reading: a column comes after those it needs."""
