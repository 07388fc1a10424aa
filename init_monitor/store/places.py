"""Where runs lie on disk: the file of a log directory, what a person may call it, and folders that nobody uses yet."""

from __future__ import annotations

import re
from pathlib import Path

from init_monitor.errors import StoreError
from init_monitor.records.quoting import clipped, printable, quoted_path
from init_monitor.records.tags import PLUGIN_NAME

RUN_FILE = "run.jsonl"

_NUMBERED = re.compile(r"(?P<path>.+)@(?P<number>[0-9]{1,9})", flags=re.DOTALL)
"""``RUN@2``: the second run of a file."""

_LISTED_RUNS = 3
"""How many runs an error message lists: enough to recognise the layout, short enough to read."""

_LONGEST_LISTED = 60
"""Characters of each."""


def run_file(log_dir: Path) -> Path:
    """Return where the run of a log directory is stored."""
    return log_dir / PLUGIN_NAME / RUN_FILE


def named_run(path: Path | str) -> tuple[Path, int | None]:
    """Return the path and, if it ends in ``@k`` and is not called so itself, which run of the file is meant."""
    numbered = _NUMBERED.fullmatch(str(path))
    if numbered is None or _exists(Path(path)):
        return Path(path), None
    return Path(numbered["path"]), int(numbered["number"])


def found_file(path: Path) -> Path:
    """Return the file of a run.

    Raises:
        StoreError: there is none; the message says what there is instead.
    """
    named = quoted_path(path)
    try:
        if path.is_file():
            return path
        if not path.exists():
            message = f"no such run: {named} does not exist; give the log directory of a run that init_monitor watched"
            raise StoreError(message)
        for file in (run_file(path), path / RUN_FILE):
            if file.is_file():
                return file
        # Where a Trainer keeps its runs, and where it keeps folders of them.
        below = [
            file.parent.parent.relative_to(path)
            for levels in ("*", "*/*", "*/*/*")
            for file in path.glob(f"{levels}/{PLUGIN_NAME}/{RUN_FILE}")
        ]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        message = f"no such run: {named} cannot be opened ({reason or error}); give the log directory of a run"
        raise StoreError(message) from error
    message = f"no run in {named}: expected {PLUGIN_NAME}/{RUN_FILE} in it"
    if below:
        names = [clipped(printable(str(one)), _LONGEST_LISTED) for one in sorted(below)[:_LISTED_RUNS]]
        more = f" and {len(below) - _LISTED_RUNS} more" if len(below) > _LISTED_RUNS else ""
        message += f"; there are runs below it, give one of them: {', '.join(names)}{more}"
    else:
        message += "; give the log directory of a run that init_monitor watched"
    raise StoreError(message)


def fresh_folder(root: Path) -> Path:
    """Make and return ``root/version_N`` with the first number that is free: one folder per training.

    Raises:
        OSError: it cannot be made.
    """
    root.mkdir(parents=True, exist_ok=True)
    taken = [int(one.name[8:]) for one in root.glob("version_*") if re.fullmatch("version_[0-9]{1,9}", one.name)]
    number = max(taken, default=-1) + 1
    while True:
        folder = root / f"version_{number}"
        try:
            # Another process may be looking for a place as well: whoever makes the folder has it.
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
