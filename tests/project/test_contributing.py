"""The table "what do I touch to …": twelve changes, each with files that exist, and few of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECTION = (
    (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## What do I touch to …")[2].partition("\n## ")[0]
)
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in SECTION.splitlines() if line.startswith("| ")
][1:]
MOST_FILES = 4


def files(cell: str) -> list[str]:
    return [name for name in re.findall(r"`([^`]+)`", cell) if "." in name]


def test_twelve_changes_are_told() -> None:
    assert len(ROWS) == 12
    assert len({row[0] for row in ROWS}) == 12
    assert all(len(row) == 4 for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_change_takes_few_files_and_all_of_them_exist(row: list[str]) -> None:
    _, touched, test, page = row
    assert 1 <= len(files(touched)) <= MOST_FILES
    assert len(files(test)) == len(files(page)) == 1
    for name in (*files(touched), *files(test), *files(page)):
        if "<name>" in name:
            # A new file beside others of its kind.
            pattern = Path(name).name.replace("<name>", "*")
            assert list((ROOT / name).parent.glob(pattern)), name
        else:
            assert (ROOT / name).is_file(), name


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_is_in_the_package_is_in_a_room_of_its_own_kind(row: list[str]) -> None:
    assert all(name.startswith("init_monitor/") or name == "pyproject.toml" for name in files(row[1]))
