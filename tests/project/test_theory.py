"""Every formula of the theory holds when it is measured, and the page in the documentation is what the script writes."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def theory(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("theory")


@pytest.mark.slow
def test_every_formula_holds_and_is_on_the_page_with_the_numbers_of_a_full_run(theory: Any) -> None:
    found = theory.claims(theory.SMALL)
    assert [claim for claim in found if not claim.holds] == []
    text = (ROOT / "docs" / "theory.md").read_text(encoding="utf-8")
    assert text.startswith(theory.PAGE)
    rows = [re.split(r"(?<!\\) \| ", line.strip("| ")) for line in text.removeprefix(theory.PAGE).splitlines()]
    # Sizes differ between a small and the full run; the formulas and their order do not.
    words = [re.sub(r"\d+", "#", row[0].replace("\\|", "|")) for row in rows]
    assert words == [re.sub(r"\d+", "#", claim.formula) for claim in found]
    for row in rows:
        expected, measured, within = float(row[2]), float(row[3]), float(row[4].rstrip("×"))
        factor = within if expected else within + 1
        assert theory.Claim(row[0], row[1], expected, measured, factor * 1.001).holds, row


def test_a_formula_that_does_not_hold_is_told_and_fails(
    theory: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = theory.Claim("|x| = 2", "nobody", 2.0, 3.0, 1.1)
    right = theory.Claim("y = 0", "nobody", 0.0, 0.0, 1.1)
    monkeypatch.setattr(theory, "PARTS", (lambda size: iter([wrong, right]),))
    assert theory.main(["--small", "--out", str(tmp_path / "page.md")]) == 1
    assert "does not hold: |x| = 2: theory 2, measured 3" in capsys.readouterr().out
    assert (
        "| \\|x\\| = 2 | nobody | 2 | 3 | 1.1× |\n| y = 0 | nobody | 0 | 0 | 0.1 |"
        in (tmp_path / "page.md").read_text()
    )
    monkeypatch.setattr(theory, "PARTS", (lambda size: iter([right]),))
    assert theory.main([]) == 0
    assert "# Theory and measurement" in capsys.readouterr().out
