"""Names and numbers as a terminal can show them: short, printable, and in ASCII where necessary."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from rich.cells import cell_len

from init_monitor.records.quoting import LONGEST_NAME, clipped, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

_SAMPLE = "█▌▐│▁▅…–─◀▶×²∂√≈"
"""What tables and findings contain beyond ASCII: an encoding that has all of it is shown as it is."""

_ASCII = str.maketrans(
    {
        "…": "...",
        "–": "-",
        "—": "-",
        "−": "-",
        "×": "x",
        "·": "*",
        "²": "^2",
        "½": "1/2",
        "√": "sqrt ",
        "‖": "||",
        "∂": "d",
        "Δ": "d",
        "η": "eta",
        "ε": "eps",
        "α": "alpha",
        "β": "beta",
        "σ": "sigma",
        "≈": "~",
        "≤": "<=",
        "≥": ">=",
        "≠": "!=",
        "±": "+-",
        "→": "->",
        "∞": "inf",
    }
)

_LONG_WORD = re.compile(rf"\S{{{LONGEST_NAME + 1},}}")

_CELLS_PER_COLUMN = 4
"""Characters per column that a name may have, combining accents included: no script needs more."""

_LISTED = 3
"""Up to this many layers are listed; more are given as a range."""


def has_unicode(encoding: str) -> bool:
    """Say whether text of this encoding can hold the marks that tables and findings use.

    >>> has_unicode("utf-8"), has_unicode("ascii"), has_unicode("latin-1")
    (True, False, False)
    """
    try:
        _SAMPLE.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def spelled(text: str, encoding: str) -> str:
    """Return ``text`` in characters that the encoding has: a spelling where there is one, else a question mark.

    >>> spelled("3 × 10² → γ", "ascii"), spelled("3 × 10²", "utf-8")
    ('3 x 10^2 -> ?', '3 × 10²')
    """
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return text.translate(_ASCII).encode("ascii", "replace").decode("ascii")
    return text


def shown(text: str, *, lines: bool = False) -> str:
    r"""Return text as a terminal can show it: without control characters, and without a word that fills the screen.

    Args:
        text: anything, for instance the message of a finding, with names in it.
        lines: keep line ends.

    >>> shown("net\x1b[31m.0\n"), len(shown("the layer " + "x" * 10_000))
    ('net\\x1b[31m.0\\n', 210)
    """
    return _LONG_WORD.sub(lambda word: clipped(word[0]), printable(text, lines=lines))


def shown_name(name: str) -> str:
    """Return a name as a terminal can show it, cut before it is measured: a table measures each name many times."""
    return clipped(printable(name))


def shortened(name: str, width: int, mark: str = "…") -> str:
    """Return ``name`` in at most ``width`` columns; its start names the block and its end the layer, so both are kept.

    >>> shortened("11.attention.output.dense", 14)
    '11.att…t.dense'
    """
    # A character may have no width, but a name of a thousand characters is not measured a thousand times.
    name = clipped(name, max(_CELLS_PER_COLUMN * width, 2 * len(mark)), mark)
    if cell_len(name) <= width:
        return name
    for kept in range(len(name) - 1, 1, -1):
        shorter = name[: kept // 2] + mark + name[-((kept + 1) // 2) :]
        if cell_len(shorter) <= width:
            return shorter
    return mark


def common_start(names: Sequence[str]) -> str:
    """Return the dotted path that all names begin with, with its last dot: it does not distinguish layers.

    >>> common_start(["model.net.0", "model.net.1"]), common_start(["net", "head"]), common_start(["net.0"])
    ('model.net.', '', 'net.')
    """
    paths = [name.split(".")[:-1] for name in names]
    shared: list[str] = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return "".join(f"{part}." for part in shared)


def compact(number: float, digits: int = 3) -> str:
    """Return a few significant digits in few characters; NaN becomes "n/a".

    >>> [compact(x) for x in (0.0, 1.0, -0.01234, 1.234e-05, 1234567.0, float("inf"), float("nan"))]
    ['0', '1', '-0.0123', '1.23e-5', '1.23e6', 'inf', 'n/a']
    """
    if math.isnan(number):
        return "n/a"
    mantissa, mark, exponent = f"{number:.{digits}g}".partition("e")
    return f"{mantissa}e{int(exponent)}" if mark else mantissa


def layer_range(layers: Sequence[str]) -> str:
    """Name a group of layers that are in execution order.

    >>> layer_range(["net.0", "net.2"]), layer_range([f"net.{i}" for i in range(4, 42, 2)])
    ('net.0, net.2', 'net.4 … net.40 (19 layers)')
    """
    if len(layers) <= _LISTED:
        return ", ".join(layers)
    return f"{layers[0]} … {layers[-1]} ({len(layers)} layers)"
