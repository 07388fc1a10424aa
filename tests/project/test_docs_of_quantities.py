"""``docs/measures.md`` says what the table of quantities says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from init_monitor.display.quantity_docs import main, with_tables
from init_monitor.records.quantities import Quantity

MEASURES = Path(__file__).parents[2] / "docs" / "measures.md"


def test_the_page_is_what_the_table_makes_of_it() -> None:
    page = MEASURES.read_text(encoding="utf-8")
    assert page == with_tables(page), "run: python -m init_monitor.display.quantity_docs docs/measures.md"


@pytest.mark.parametrize("quantity", Quantity)
def test_every_quantity_has_one_row(quantity: Quantity) -> None:
    page = MEASURES.read_text(encoding="utf-8")
    assert len(re.findall(rf"^\| `{quantity}` \|", page, flags=re.MULTILINE)) == 1


def test_a_stale_page_is_written_anew_and_its_sentences_stay(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Before.\n\n<!-- quantities: gain -->\nold\n<!-- end of quantities -->\n\nAfter.\n", encoding="utf-8"
    )
    main([str(page)])
    written = page.read_text(encoding="utf-8")
    assert "| `gain` | Var(out) / E[in²] of one layer |" in written
    assert "old" not in written
    assert written.startswith("Before.\n")
    assert written.endswith("\nAfter.\n")
