"""Numbers as a person reads them: one way of writing them for messages and for evidence."""

from __future__ import annotations

import re

_PLAIN_FROM, _PLAIN_TO = 1e-3, 1e6

_COUNTED = re.compile(r"\b(steps?|records|layers|blocks|elements|samples|parameters)\b")
"""Units of what is counted one by one: step 1,237 is not step 1,240."""

_EXACT_TO = 2.0**53
"""From here on a float does not hold every whole number."""


def number(value: float) -> str:
    """Return three significant digits, plain where that is readable.

    >>> number(512.0), number(1.234e27), number(0.5), number(65504.0), number(4.472e8)
    ('512', '1.23e27', '0.5', '65,500', '4.47e8')
    """
    if value == 0:
        return "0"
    digits = float(f"{value:.3g}")
    if not _PLAIN_FROM <= abs(digits) < _PLAIN_TO:
        mantissa, mark, exponent = f"{digits:.3g}".partition("e")
        return f"{mantissa}e{int(exponent)}" if mark else mantissa
    return f"{digits:,.0f}" if digits == int(digits) else f"{digits:g}"


def with_unit(value: float, unit: str) -> str:
    """Return a number with its unit; a count to the last digit, no space before × or a comma, infinitely many of "none".

    >>> with_unit(512.0, "× per layer"), with_unit(4096.0, "samples per unit"), with_unit(0.25, "of the units")
    ('512× per layer', '4,096 samples per unit', '0.25 of the units')
    """
    if unit == "none":
        return unit
    factor = unit.startswith("×")
    counted = not factor and abs(value) < _EXACT_TO and value == int(value) and _COUNTED.search(unit)
    written = f"{value:,.0f}" if counted else number(value)
    return f"{written}{'' if unit.startswith(('×', ',')) else ' '}{unit}".rstrip()
