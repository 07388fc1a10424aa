"""The page's modules as one script: a file that is opened from disk cannot import others.

It is not a general tool: it understands the two forms of import and export that the modules use, and refuses any other.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

STATIC = Path(__file__).parent / "static"
EXPLORER = Path(__file__).parent / "explorer"
"""Modules of the explorer; they and those of the page import each other, and no two modules of both have one name."""

_IMPORT = re.compile(
    r'^import \{([^}]*)\} from "(?:\./|\.\./static/|\.\./explorer/)([\w-]+\.js)";\n', flags=re.MULTILINE
)
_EXPORT = re.compile(r"^export ((?:async )?function\*?|const|class) (\w+)", flags=re.MULTILINE)
_OTHER = re.compile(r"^(?:import|export)\b.*|\bimport\.meta\b", flags=re.MULTILINE)


@lru_cache(maxsize=2)
def script(entry: str = "report.js") -> str:
    """Return everything that ``entry`` needs as one script, which leaves its exports in ``initMonitorPage``.

    Each module becomes a function that is called once, in the order of the imports, so that names of different modules
    cannot meet.

    Raises:
        ValueError: a module uses another form of import or export, or two import each other.
    """
    done: dict[str, str] = {}
    _add(entry, done, ())
    modules = "\n".join(done.values())
    return f'"use strict";\nconst initMonitorPage = (() => {{\nconst modules = {{}};\n{modules}\nreturn modules["{entry}"];\n}})();\n'


def style() -> str:
    """Return the style sheet."""
    return (STATIC / "style.css").read_text(encoding="utf-8")


def explorer_style() -> str:
    """Return the style sheet of what the explorer has beyond the page."""
    return (EXPLORER / "explorer.css").read_text(encoding="utf-8")


def report_style() -> str:
    """Return the style sheet of the text around the pictures in a report."""
    return (STATIC / "report.css").read_text(encoding="utf-8")


def _add(name: str, done: dict[str, str], above: tuple[str, ...]) -> None:
    if name in above:
        message = f"{name} imports itself by way of {' and '.join(above)}"
        raise ValueError(message)
    if name in done:
        return
    source = _file(name).read_text(encoding="utf-8")
    for needed in _IMPORT.findall(source):
        _add(needed[1], done, (*above, name))
    done[name] = _as_function(name, source)


def _file(name: str) -> Path:
    own = EXPLORER / name
    return own if own.is_file() else STATIC / name


def _as_function(name: str, source: str) -> str:
    exported = [found[1] for found in _EXPORT.findall(source)]
    body = _IMPORT.sub(r'const {\1} = modules["\2"];\n', source)
    body = _EXPORT.sub(r"\1 \2", body)
    other = _OTHER.search(body)
    if other:
        message = f"{name} has {other.group()!r}, expected only import {{…}} from and export before a declaration"
        raise ValueError(message)
    return f'modules["{name}"] = (() => {{\n{body}return {{{", ".join(exported)}}};\n}})();'
