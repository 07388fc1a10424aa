"""The tutorial prints what it says it prints; ``--update`` writes what it prints now."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
_CODE = re.compile(r"^```python\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
_OUTPUT = re.compile(r"(<!-- output: \w+ -->\n)(.*?)(<!-- end of output -->)", flags=re.DOTALL)
_MARK = "-- end of a block --"


def _printed(directory: Path) -> list[str]:
    """Run the page's code in one fresh process, in an empty directory; return what each block printed."""
    program = "\n".join(f"{code}\nprint({_MARK!r})" for code in _CODE.findall(PAGE.read_text(encoding="utf-8")))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(PAGE.parents[1]), "COLUMNS": "100", "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split(f"{_MARK}\n")[:-1]


def _steady(text: str) -> str:
    """Take out what differs between machines and runs: where files went."""
    return "\n".join(line.rstrip() for line in text.strip().splitlines() if "init_monitor_runs" not in line)
