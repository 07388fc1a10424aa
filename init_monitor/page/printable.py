"""A run that a browser can show: names and sentences without control characters.

The same name is used in tables, in the page's data and in its requests, so it is escaped once, here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from init_monitor.records import Structure, Table
from init_monitor.records.quoting import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import Attention, Finding, Layer, Residual, StepRecord

Word = TypeVar("Word", "Attention", "Finding", "Layer", "Residual")

_WITH_LINES = frozenset({"message", "remedy"})
"""Fields that may have several lines; a name has one."""


def printable_finding(finding: Finding) -> Finding:
    """Return a finding that can be shown."""
    return _printable(finding)


def printable_structure(structure: Structure) -> Structure:
    """Return a network whose names can be shown."""
    return Structure(
        tuple(map(_printable, structure.layers)),
        tuple(map(_printable, structure.residuals)),
        tuple(map(_printable, structure.attentions)),
    )


def printable_records(records: Sequence[StepRecord]) -> list[StepRecord]:
    """Return records whose names can be shown; the numbers are the same arrays."""
    known: dict[tuple[str, ...], tuple[str, ...]] = {}
    return [_printable_record(record, known) for record in records]


def _printable_record(record: StepRecord, known: dict[tuple[str, ...], tuple[str, ...]]) -> StepRecord:
    changed: dict[str, Any] = {}
    for part in ("layer_table", "parameter_table", "residual_table", "head_table"):
        table: Table = getattr(record, part)
        names = known.setdefault(table.names, table.names)
        if names is table.names:
            names = known[table.names] = tuple(map(printable, names))
        if names != table.names:
            changed[part] = Table(names, table.columns)
    return replace(record, **changed) if changed else record


def _printable(word: Word) -> Word:
    """Return a frozen dataclass with the control characters of its strings written out; the same one if there are none."""
    changed = {}
    for one in fields(word):
        value = getattr(word, one.name)
        shown = _shown(value, lines=one.name in _WITH_LINES)
        if shown is not value:
            changed[one.name] = shown
    return replace(word, **changed) if changed else word


def _shown(value: Any, *, lines: bool) -> Any:  # noqa: ANN401 - any field
    # Words of closed lists (a severity, a role) are strings too, and stay what they are.
    if type(value) is str:
        return printable(value, lines=lines)
    if isinstance(value, tuple):
        shown = tuple(_shown(one, lines=lines) for one in value)
        return shown if shown != value else value
    if isinstance(value, Mapping):
        return {printable(name): _figure(figure) for name, figure in value.items()} if value else value
    return value


def _figure(figure: Any) -> Any:  # noqa: ANN401 - a figure, or a plain number of a rule of one's own
    unit = getattr(figure, "unit", "")
    return figure if unit.isprintable() else type(figure)(float(figure), printable(unit))
