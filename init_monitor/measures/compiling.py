"""From ``one_read.c`` to a library: for the wheel (see ``hatch_build.py``), and for a checkout.

Imports nothing but the standard library, so that building a wheel needs neither torch nor numpy.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("one_read.c")

LIBRARY = "one_read.so"
"""Its name next to its source in a wheel; ctypes accepts the ending on every system."""

OFF = "INIT_MONITOR_NO_NATIVE"
"""If this variable of the environment is set (and not ``0``), nothing is compiled."""

FLAGS = ("-O3", "-std=c11", "-fPIC", "-shared", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math")
"""Without contraction every processor gives the same numbers; without traps both sides of a choice may be computed."""

_THREADS = ("-DWITH_THREADS", "-pthread")
CHOICES = (("-DWITH_CLONES", *_THREADS), _THREADS, ())
"""Tried in turn: a function for each processor, which needs x86-64 and a loader that chooses (glibc), or one for all; with threads,
or, where the system has none of POSIX, without: the numbers are the same."""

PATIENCE_S = 60
"""A compiler takes a second; one that takes a minute hangs."""


def compiled(target: Path) -> bool:
    """Compile the kernel into ``target``; say whether it is there. Never raises: not everybody has a compiler."""
    if os.environ.get(OFF, "0") not in {"", "0"} or sys.platform == "win32":
        return False
    compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
    if shutil.which(compiler[0]) is None:
        return False
    unfinished = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        done = any(_compiles([*compiler, *FLAGS, *choice], unfinished) for choice in CHOICES)
        if done:
            # At once: another process may be compiling the same, or loading it.
            unfinished.replace(target)
    except (OSError, subprocess.SubprocessError):
        return False
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()
    return done


def in_checkout() -> Path | None:
    """Return where a checkout keeps the library of the source as it is now; ``None`` if this is no checkout."""
    root = SOURCE.parents[2]
    if not (root / "pyproject.toml").is_file() or not SOURCE.is_file():
        return None
    version = hashlib.sha256(SOURCE.read_bytes() + repr((FLAGS, CHOICES)).encode()).hexdigest()[:16]
    return root / "build" / "native" / f"{version}-{platform.system()}-{platform.machine()}-{LIBRARY}"


def _compiles(command: list[str], target: Path) -> bool:
    done = subprocess.run(  # noqa: S603 - the user's own compiler
        [*command, str(SOURCE), "-o", str(target), "-lm"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return done.returncode == 0
