"""The pages of the rules, and what a rule's module may hold: it knows no other rule, and its thresholds are fields."""

from __future__ import annotations

import ast
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from init_monitor.rules import DEFAULT_RULES
from init_monitor.rules.rule_page import all_pages, page_of

if TYPE_CHECKING:
    from init_monitor.records import Finding, History
    from init_monitor.rules.rule import Rule

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "rules.md"
each_rule = pytest.mark.parametrize("rule", DEFAULT_RULES, ids=lambda rule: rule.code)


def test_the_page_of_the_documentation_is_what_the_rules_say() -> None:
    written = PAGE.read_text(encoding="utf-8")
    assert written == all_pages(DEFAULT_RULES), "docs/rules.md is stale: run `make rule-pages`"


@each_rule
def test_a_rule_says_what_why_an_example_a_remedy_and_a_source(rule: Rule) -> None:
    page = page_of(rule)
    assert list(page.sections) == ["What", "Why", "Example", "Remedy", "Source"]
    assert all(text.endswith((".", ".)")) for text in page.sections.values())
    assert "``" not in page.markdown()


@each_rule
def test_every_threshold_has_its_default_and_its_reason(rule: Rule) -> None:
    page = page_of(rule)
    assert [one.name for one in page.thresholds] == [one.name for one in fields(rule)]  # type: ignore[arg-type]
    assert page.thresholds
    for one in page.thresholds:
        assert one.reason.endswith("."), one.name
        assert one.default
        assert f"| `{one.name}` | {one.default} |" in page.markdown()


def test_the_numbers_of_a_page_are_those_of_the_rule_at_hand() -> None:
    from init_monitor.rules import DeadReLU

    assert "| `warning` | 0.5 |" not in page_of(DeadReLU()).markdown()
    changed = {one.name: one.default for one in page_of(DeadReLU(warning=0.5)).thresholds}
    assert changed["warning"] == "0.5"


@each_rule
def test_the_module_of_a_rule_has_its_name(rule: Rule) -> None:
    assert type(rule).__module__ == f"init_monitor.rules.{rule.name.replace('-', '_')}"
    assert (ROOT / "tests" / "rules" / f"test_{rule.name.replace('-', '_')}.py").exists()


@each_rule
def test_a_rule_knows_no_other_rule(rule: Rule) -> None:
    tree = ast.parse((ROOT / f"{type(rule).__module__.replace('.', '/')}.py").read_text(encoding="utf-8"))
    imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert [name for name in imported if name.startswith("init_monitor.rules")] == []


@each_rule
def test_no_number_stands_beside_the_fields_of_a_rule(rule: Rule) -> None:
    tree = ast.parse((ROOT / f"{type(rule).__module__.replace('.', '/')}.py").read_text(encoding="utf-8"))
    assigned = [node for node in tree.body if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None]
    numbers = [
        ast.unparse(node)
        for node in assigned
        for part in ast.walk(node.value)  # type: ignore[arg-type]
        if isinstance(part, ast.Constant) and isinstance(part.value, (int, float))
    ]
    assert numbers == []


@dataclass(frozen=True)
class Mine:
    """X001: my network is tired.

    It says so | in the morning.

    **Remedy.** Let ``it`` sleep.

    Attributes:
        hours: of sleep: as many as
            it takes.
        shares: from which on.
    """

    code: ClassVar[str] = "X001"
    name: ClassVar[str] = "tired"
    yields_to: ClassVar[tuple[str, ...]] = ("IM101",)
    hours: float = 1e4
    shares: tuple[float, float] = (0.5, 0.9)

    def judge(self, past: History) -> list[Finding]:
        del past
        return []


def test_a_rule_from_outside_has_a_page_too() -> None:
    page = page_of(Mine())
    assert page.summary == "My network is tired."
    assert page.sections == {
        "What": "My network is tired.\n\nIt says so | in the morning.",
        "Remedy": "Let `it` sleep.",
    }
    assert [(one.name, one.default, one.reason) for one in page.thresholds] == [
        ("hours", "10,000", "of sleep: as many as it takes."),
        ("shares", "0.5 … 0.9", "from which on."),
    ]
    assert "**Yields to.** IM101" in page.markdown()
    assert "\n`hours` = 10,000: of sleep: as many as it takes." in page.markdown(listed=True)
    assert "| [X001](#x001-tired) | tired | My network is tired. |" in all_pages([Mine()])


class Bare:
    code, name = "X002", "bare"

    def judge(self, past: History) -> list[Finding]:
        del past
        return []


def test_a_rule_that_says_nothing_of_itself_has_a_page_with_its_name() -> None:
    assert page_of(Bare()).markdown() == "## X002 bare\n"
