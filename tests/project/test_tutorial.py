"""The tutorial prints what it says it prints; ``--update`` writes what it prints now."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest  # noqa: TC002

if TYPE_CHECKING:
    from forked_programs import Forks

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
_CODE = re.compile(r"^```python\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
_OUTPUT = re.compile(r"(<!-- output: \w+ -->\n)(.*?)(<!-- end of output -->)", flags=re.DOTALL)
_MARK = "-- end of a block --"


def _printed(forks: Forks, directory: Path) -> list[str]:
    """Run the page's code in one process of its own, in an empty directory; return what each block printed."""
    program = "\n".join(f"{code}\nprint({_MARK!r})" for code in _CODE.findall(PAGE.read_text(encoding="utf-8")))
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PAGE.parents[1]), "COLUMNS": "80"}
    done = forks.run("-c", program, cwd=directory, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.split(f"{_MARK}\n")[:-1]


def _steady(text: str) -> str:
    """Take out what differs between machines and runs: where files went."""
    return "\n".join(line.rstrip() for line in text.strip().splitlines() if "init_monitor_runs" not in line)


def test_the_tutorial_prints_what_it_says(forks: Forks, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Each block of code is followed by what it printed; numbers are the same on every machine to the digits shown."""
    page = PAGE.read_text(encoding="utf-8")
    printed = [block for block in map(_steady, _printed(forks, tmp_path)) if block]
    assert len(printed) == len(_OUTPUT.findall(page))
    rest = iter(printed)
    written = _OUTPUT.sub(lambda found: f"{found[1]}\n```text\n{next(rest)}\n```\n\n{found[3]}", page)
    if request.config.getoption("--update"):
        PAGE.write_text(written, encoding="utf-8")
    assert _words_of(written) == _words_of(PAGE.read_text(encoding="utf-8"))


def _words_of(text: str) -> list[str]:
    """The words without numbers, whose last digits depend on the machine's linear algebra, and without drawn bars."""
    return re.sub(r"[-+]?[\d.,]+(?:e[-+]?\d+)?[%×]?|[#|.…-]+", " ", text).split()
