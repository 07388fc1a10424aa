"""The page of a rule (What, Why, Example, Remedy, Source, thresholds), made from its docstring and its fields."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import TYPE_CHECKING

from init_monitor.remedies import phrases

if TYPE_CHECKING:
    from collections.abc import Iterable

    from init_monitor.rules.rule import Rule

INTRODUCTION = """\
# The rules

Each rule looks at the window of records and says what holds at the last one. A finding has a stable code, a severity by
*consequence* (info, warning, critical), the layers at fault, evidence against expectation, a remedy, and a source. It is
not repeated while it holds; it comes back if it gets worse, spreads, or returns after it had cleared. What follows from
another finding is information, and so is a start whose code would draw weights anew that were trained before.

Thresholds are fields of the rule: `InitMonitor(rules=(DeadReLU(warning=0.5),))` after
`from init_monitor.rules import DeadReLU`. `init-monitor explain IM301` prints a section of this page, which is made from the
rules' own docstrings and fields (`make rule-pages`).

![A finding as the console prints it: what is wrong, measured against expected, what to do, code to paste and the source](images/rules.svg)

| code | rule | fires on |
|:--|:--|:--|
"""

_SECTION = re.compile(r"^\*\*(\w+)\.\*\* ", flags=re.MULTILINE)
_FIELD = re.compile(r"^(\w+): (.*?)(?=^\w+: |\Z)", flags=re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Threshold:
    """One field of a rule: its name, its default in words, and what it means and why it is what it is."""

    name: str
    default: str
    reason: str


@dataclass(frozen=True, slots=True)
class RulePage:
    """The contents of a rule's page.

    Attributes:
        code: its stable code.
        name: its plain name.
        summary: what it fires on, in one sentence.
        sections: What, Why, Example, Remedy and Source, in this order; those that the rule gives.
        yields_to: codes of the rules that it leaves layers to.
        thresholds: its fields.
    """

    code: str
    name: str
    summary: str
    sections: dict[str, str]
    yields_to: tuple[str, ...]
    thresholds: tuple[Threshold, ...]

    def markdown(self, *, listed: bool = False) -> str:
        """Return the section of ``docs/rules.md``; with a line for each threshold instead of a table, for a terminal, if ``listed``."""
        parts = [f"## {self.code} {self.name}"]
        parts += [f"**{title}.** {text}" for title, text in self.sections.items()]
        if self.yields_to:
            parts.append(f"**Yields to.** {', '.join(self.yields_to)}")
        if self.thresholds and listed:
            parts.append("**Thresholds.**")
            parts += [f"`{one.name}` = {one.default}: {one.reason}" for one in self.thresholds]
        elif self.thresholds:
            rows = [f"| `{one.name}` | {one.default} | {_cell(one.reason)} |" for one in self.thresholds]
            parts.append("\n".join(["| threshold | default | reason |", "|:--|--:|:--|", *rows]))
        return "\n\n".join(parts) + "\n"


def page_of(rule: Rule) -> RulePage:
    """Return the page of a rule, from its docstring, its ``source`` and, if it is a dataclass, its fields."""
    documented = re.sub(r"``(.+?)``", r"`\1`", inspect.getdoc(type(rule)) or "")
    text, _, attributes = documented.partition("\nAttributes:\n")
    what, *rest = _SECTION.split(text.strip())
    what = _joined(what.removeprefix(f"{rule.code}: "))
    what = what[:1].upper() + what[1:]
    sections = {"What": what} if what else {}
    sections |= {title: _joined(body) for title, body in zip(rest[::2], rest[1::2], strict=True)}
    source = str(getattr(rule, "source", ""))
    if source:
        sections["Source"] = f"{source}."
    return RulePage(
        rule.code,
        rule.name,
        what.partition("\n")[0],
        sections,
        tuple(getattr(rule, "yields_to", ())),
        _thresholds(rule, inspect.cleandoc(attributes)),
    )


def all_pages(rules: Iterable[Rule]) -> str:
    """Return ``docs/rules.md``: what rules are, a table of them, and a section on each."""
    pages = [page_of(rule) for rule in rules]
    rows = [f"| [{p.code}](#{p.code.lower()}-{p.name}) | {p.name} | {_cell(p.summary)} |" for p in pages]
    return "\n".join([INTRODUCTION + "\n".join(rows) + "\n", *(page.markdown() for page in pages)])


def _thresholds(rule: Rule, documented: str) -> tuple[Threshold, ...]:
    if not is_dataclass(rule):
        return ()
    reasons = {name: _joined(reason) for name, reason in _FIELD.findall(documented)}
    return tuple(
        Threshold(one.name, _spelled(getattr(rule, one.name)), reasons.get(one.name, ""))
        for one in fields(rule)
        if one.default is not MISSING
    )


def _spelled(value: object) -> str:
    if isinstance(value, tuple):
        return " … ".join(_spelled(one) for one in value)
    return phrases.number(value) if isinstance(value, (int, float)) else repr(value)


def _joined(text: str) -> str:
    """Return paragraphs with one line each."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n"))


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
