"""``init-monitor explain``: the page of a rule in the terminal."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from init_monitor import DEFAULT_RULES, cli
from init_monitor.rules.rule_page import all_pages, page_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("word", ["IM301", "im301", "dead-relu", "Dead_ReLU"])
def test_a_code_or_a_name_prints_the_page_of_the_rule(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", word]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "IM301 dead-relu" in shown
    for part in ("Why.", "Example.", "Remedy.", "Source.", "Thresholds."):
        assert part in shown
    assert "warning = 0.35: share of dead units" in shown


@pytest.mark.parametrize("rule", DEFAULT_RULES, ids=lambda rule: rule.code)
def test_every_rule_has_one_and_its_markdown_is_that_of_the_documentation(
    rule: object, capsys: pytest.CaptureFixture[str]
) -> None:
    code = rule.code  # type: ignore[attr-defined]
    assert cli.main(["explain", code, "--md"]) == 0
    shown = capsys.readouterr().out
    assert shown == page_of(rule).markdown()  # type: ignore[arg-type]
    assert shown in (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")


def test_without_a_code_it_prints_every_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "--md"]) == 0
    assert capsys.readouterr().out == all_pages(DEFAULT_RULES)
    assert cli.main(["explain"]) == 0
    shown = capsys.readouterr().out
    assert re.findall(r"^IM\d+(?= [a-z]+-?[a-z]* *$)", shown, flags=re.MULTILINE) == [r.code for r in DEFAULT_RULES]


@pytest.mark.parametrize(("word", "near"), [("IM302x", "IM302 linear-regime"), ("vanishing-gradient", "IM202")])
def test_an_unknown_code_ends_with_status_2_the_nearest_and_those_there_are(
    word: str, near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["explain", word]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"init-monitor: there is no rule '{word}'. Did you mean {near}")
    assert all(f"{rule.code} {rule.name}" in shown.err for rule in DEFAULT_RULES)


def test_it_works_without_torch_and_in_a_terminal_that_has_no_unicode(tmp_path: Path) -> None:
    code = (
        "import sys\nfor name in ('torch', 'lightning', 'pytorch_lightning'): sys.modules[name] = None\n"
        "from init_monitor import cli\nsys.exit(cli.main(['explain', 'IM402']))"
    )
    environment = {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "IM402 silent-branch" in done.stdout
    assert done.stdout.isascii()
