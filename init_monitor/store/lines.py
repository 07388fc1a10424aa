"""The lines of a stored run: records as JSON values and back. The package says what the lines mean."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from init_monitor.records import Figure, Finding, Layer, Residual, Role, Severity, StepRecord, Structure, Table
from init_monitor.records.registry import quantities

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from init_monitor.records import Column
    from init_monitor.records.quantities import Quantity

_EXACT_WHOLE = 2.0**53
"""Above it float64 no longer holds every whole number, so there is no exact one to keep."""

_KNOWN_ROLES = frozenset(role.value for role in Role)


class Names(NamedTuple):
    """What the numbers of a step are of, each in execution order; the fields are those of a ``names`` line."""

    layers: tuple[str, ...]
    parameters: tuple[str, ...]
    residuals: tuple[str, ...] = ()

    @classmethod
    def of(cls, record: StepRecord) -> Names:
        """Return the names of a record."""
        return cls(record.names, record.parameter_names, record.residual_names)


def json_value(value: object) -> Any:  # noqa: ANN401 - any JSON value
    """Turn ``value`` into what strict JSON can hold; what has no JSON form becomes its text.

    >>> json_value({"slope": float("nan"), "count": 3.0, "share": 0.1234567891234, "where": ("a", "b")})
    {'slope': 'NaN', 'count': 3, 'share': 0.123456789, 'where': ['a', 'b']}
    """
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(item) for item in value]
    return str(value)


def structure_json(structure: Structure) -> dict[str, Any]:
    """Return a structure as JSON values: ``layers`` and ``residuals``, one object each."""
    return {
        "layers": [_fields_json(layer) for layer in structure.layers],
        "residuals": [_fields_json(residual) for residual in structure.residuals],
    }


def finding_json(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON values; each figure becomes ``{"value": …, "unit": …}``."""
    return _fields_json(finding) | {
        "evidence": _figures_json(finding.evidence),
        "expected": _figures_json(finding.expected),
    }


def _number(value: float) -> float | int | str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value.is_integer() and abs(value) < _EXACT_WHOLE:
        return int(value)
    return float(f"{value:.9g}")


def _fields_json(value: Any) -> dict[str, Any]:  # noqa: ANN401 - any of the frozen words
    return {name: json_value(getattr(value, name)) for name in _field_names(type(value))}


def _field_names(kind: Any) -> tuple[str, ...]:  # noqa: ANN401 - any dataclass type
    return tuple(one.name for one in fields(kind))


def _figures_json(figures: Mapping[str, Figure]) -> dict[str, Any]:
    return {
        name: {"value": _number(float(figure)), "unit": getattr(figure, "unit", "")} for name, figure in figures.items()
    }


def step_json(record: StepRecord, names_id: int) -> dict[str, Any]:
    """Return a step as JSON values, its names by number."""
    return {
        "kind": "step",
        "step": int(record.step),
        "time": float(record.time),
        "names": names_id,
        "exact": record.exact,
        "optimizer": record.optimizer,
        "learning_rate": _number(float(record.learning_rate)),
        "loss_scaled": record.loss_scaled,
        "stepped": record.stepped,
        "unoptimized": list(record.unoptimized),
        "columns": _columns_json(record.columns),
        "parameter_columns": _columns_json(record.parameter_columns),
        "residual_columns": _columns_json(record.residual_columns),
    }


def _columns_json(columns: Mapping[Quantity, Column]) -> dict[str, Any]:
    return {
        quantity.value: [_number(number) for number in column.tolist()]
        for quantity, column in columns.items()
        if not np.isnan(column).all()
    }


def _known(kind: Any, entry: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - any dataclass type
    return {name: entry[name] for name in _field_names(kind) if name in entry}


def _strings(values: Iterable[object]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)


def names_json(names: Names, names_id: int) -> dict[str, Any]:
    """Return names as JSON values, under the number that steps refer to."""
    return {"kind": "names", "id": names_id, **names._asdict()}


def names_from(entry: dict[str, Any]) -> Names:
    """Return the names that a line holds; older files have none of residual additions."""
    return Names(_strings(entry["layers"]), _strings(entry["parameters"]), _strings(entry.get("residuals", ())))


def structure_from(entry: dict[str, Any]) -> Structure:
    """Return the structure that a line holds."""
    return Structure(
        tuple(Layer(**_restored(Layer, one)) for one in entry["layers"]),
        tuple(Residual(**_restored(Residual, one)) for one in entry["residuals"]),
    )


def _restored(kind: Any, entry: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - any dataclass type
    """Return the known fields of an entry, each as the type that JSON has no form for."""
    types = {one.name: str(one.type) for one in fields(kind)}
    return {name: _restored_value(types[name], value) for name, value in _known(kind, entry).items()}


def _restored_value(type_name: str, value: object) -> object:
    if isinstance(value, list):
        return _strings(value)
    if type_name == "float" and isinstance(value, (int, float, str)):
        return float(value)
    if type_name == "Role":
        return Role(value) if value in _KNOWN_ROLES else Role.OTHER
    return value


def finding_from(entry: dict[str, Any]) -> Finding:
    """Return the finding that a line holds."""
    return Finding(
        **_known(Finding, entry)
        | {
            "severity": Severity(entry["severity"]),
            "layers": _strings(entry["layers"]),
            "evidence": dict(_figures(entry.get("evidence", {}))),
            "expected": dict(_figures(entry.get("expected", {}))),
        }
    )


def _figures(entry: dict[str, Any]) -> Iterator[tuple[str, Figure]]:
    for name, figure in entry.items():
        yield name, Figure(float(figure["value"]), figure["unit"])


def step_from(entry: dict[str, Any], names: Names) -> StepRecord:
    """Return the step that a line holds, with the names it refers to."""
    return StepRecord(
        **_known(StepRecord, entry)
        | {
            "learning_rate": float(entry["learning_rate"]),
            "unoptimized": _strings(entry.get("unoptimized", ())),
            "layer_table": _table(names.layers, entry["columns"]),
            "parameter_table": _table(names.parameters, entry["parameter_columns"]),
            "residual_table": _table(names.residuals, entry.get("residual_columns", {})),
        }
    )


def _table(names: tuple[str, ...], entry: dict[str, Any]) -> Table:
    columns: dict[Quantity, Column] = {}
    known = {str(quantity): quantity for quantity in quantities()}
    for name, numbers in entry.items():
        column = np.array([float(number) for number in numbers], dtype=np.float64)
        if len(column) != len(names):
            message = f"{name} has {len(column)} numbers, expected {len(names)}"
            raise ValueError(message)
        quantity = known.get(name)
        if quantity is not None:
            columns[quantity] = column
    return Table(names, columns)
