"""Text from outside, made safe to show: the name of a layer, a path, a cell of a file that anybody may have written.

A name may hold control characters (ESC), a direction override (U+202E), or no character at all (half of a
surrogate pair). Every output goes through :func:`printable`: console, Markdown, HTML, and the numbers of the page.
"""

from __future__ import annotations

LONGEST_NAME = 200
"""Characters of a name that are shown where there is a line for it: two lines of a terminal."""

LONGEST_QUOTE = 80
"""Characters of a bad value that an error quotes: enough to find it."""

LONGEST_PATH = 250
"""Characters of a path that a message quotes: ordinary paths are shorter."""

_LONGEST_PRINTED_NUMBER = 1e15
"""From here on a whole number is quoted by its size: Python refuses to print one of more than 4,300 digits."""


def printable(text: str, *, lines: bool = False) -> str:
    r"""Return ``text`` with every character that cannot be printed escaped as Python does.

    Args:
        text: anything.
        lines: keep line ends.

    >>> printable("net\x1b[31m.0\n"), printable("a\u202eb"), printable("café 名前")
    ('net\\x1b[31m.0\\n', 'a\\u202eb', 'café 名前')
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or (lines and one == "\n") else one.encode("unicode_escape").decode("ascii")
        for one in text
    )


def clipped(text: str, most: int = LONGEST_NAME, mark: str = "…") -> str:
    """Return at most ``most`` characters of ``text``: its start and its end.

    >>> clipped("layers.0.attention.output", 13)
    'layers…output'
    """
    if len(text) <= most:
        return text
    kept = max(most - len(mark), 2)
    return f"{text[: kept // 2]}{mark}{text[len(text) - (kept + 1) // 2 :]}"


def quoted(value: object, most: int = LONGEST_QUOTE) -> str:
    """Return a value as an error message quotes it: short, printable, and never by walking through it.

    >>> quoted("a" * 9, 7), quoted(None), quoted([1, 2]), quoted(10**400), quoted(2.5)
    ("'aaa…aaa'", 'null', 'a list of 2', 'a number of 1329 bits', '2.5')
    """
    if isinstance(value, str):
        return f"'{clipped(printable(value[: 2 * most] + value[2 * most :][-most:]), most)}'"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) > _LONGEST_PRINTED_NUMBER:
        return f"a number of {value.bit_length()} bits"
    return "null" if value is None else clipped(printable(repr(value)), most)


def quoted_path(path: object) -> str:
    r"""Return a path as a message names it.

    >>> quoted_path("runs/a\x1b[2J")
    'runs/a\\x1b[2J'
    """
    return clipped(printable(str(path)), LONGEST_PATH)
