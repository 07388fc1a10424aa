"""Doctests in docstrings as blocks of code: Markdown would take a list in their output for a link."""

from __future__ import annotations

import re
from typing import Any

import griffe

_DOCTEST = re.compile(r"(?:^>>> .*\n(?:(?!\n).*\n?)*)+", flags=re.MULTILINE)


class FencedDoctests(griffe.Extension):
    """Put fences around every run of lines that begins with ``>>>``, up to the next empty line."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of an object before it is parsed."""
        if obj.docstring is not None:
            obj.docstring.value = _DOCTEST.sub(
                lambda found: f"```python\n{found[0].rstrip()}\n```\n", obj.docstring.value + "\n"
            ).rstrip()
