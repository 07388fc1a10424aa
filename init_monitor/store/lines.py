"""The lines of a stored run: records as JSON values and back. The package says what the lines mean."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from init_monitor.records import Attention, Figure, Finding, Layer, LossStretch, Residual, StepRecord, Structure, Table
from init_monitor.records.registry import quantities
from init_monitor.store import schema
from init_monitor.store.packed import PARTS, packed, unpacked

if TYPE_CHECKING:
    from init_monitor.records import Column
    from init_monitor.records.quantities import Quantity

_EXACT_WHOLE = 2.0**53
"""Above it float64 no longer holds every whole number, so there is no exact one to keep."""


class Names(NamedTuple):
    """What the numbers of a step are of, each in execution order; the fields are those of a ``names`` line."""

    layers: tuple[str, ...]
    parameters: tuple[str, ...]
    residuals: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()

    @classmethod
    def of(cls, record: StepRecord) -> Names:
        """Return the names of a record."""
        return cls(record.names, record.parameter_names, record.residual_names, record.head_names)


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
    """Return a structure as JSON values: ``layers``, ``residuals`` and, where there are any, ``attentions``, one object each."""
    return {
        "layers": [_fields_json(layer) for layer in structure.layers],
        "residuals": [_fields_json(residual) for residual in structure.residuals],
        **({"attentions": [_fields_json(one) for one in structure.attentions]} if structure.attentions else {}),
    }


def finding_json(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON values; each figure becomes ``{"value": …, "unit": …}``."""
    return _fields_json(finding) | {
        "evidence": _figures_json(finding.evidence),
        "expected": _figures_json(finding.expected),
        "aim": None
        if finding.aim is None
        else _fields_json(finding.aim) | {"measure": finding.aim.measure.name.lower()},
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
    """Return a step as JSON values, its names by number and its columns as lists."""
    parts = (record.columns, record.parameter_columns, record.residual_columns, record.head_columns)
    return facts_of_step_json(record, names_id) | {
        name: _columns_json(part) for name, part in zip(PARTS, parts, strict=True) if part or name != PARTS[-1]
    }


def step_columns(record: StepRecord) -> bytes:
    """Return the columns of a step, packed."""
    parts = (record.columns, record.parameter_columns, record.residual_columns, record.head_columns)
    return packed(parts)


def facts_of_step_json(record: StepRecord, names_id: int) -> dict[str, Any]:
    """Return a step as JSON values, without its columns."""
    return {
        "kind": "step",
        "step": int(record.step),
        "time": float(record.time),
        "names": names_id,
        "exact": record.exact,
        "optimizer": record.optimizer,
        "learning_rate": _number(float(record.learning_rate)),
        **{
            name: _number(value)
            for name in ("initial_rate", "weight_decay", "momentum", "second_momentum")
            if (value := getattr(record, name)) == value
        },
        "loss_scaled": record.loss_scaled,
        "stepped": record.stepped,
        "unoptimized": list(record.unoptimized),
        **{one: list(names) for one in ("unstepped", "unregistered") if (names := getattr(record, one))},
        **({"kept_gradients": True} if record.kept_gradients else {}),
        **({"batches_waited": int(record.batches_waited)} if record.batches_waited else {}),
        **({"weight_dtype": record.weight_dtype} if record.weight_dtype else {}),
        **({"losses": losses_json(record.losses)} if len(record.losses) else {}),
        **({"loss_by_optimizer": json_value(record.loss_by_optimizer)} if record.loss_by_optimizer else {}),
    }


def _columns_json(columns: Mapping[Quantity, Column]) -> dict[str, Any]:
    return {
        quantity.value: [_number(number) for number in column.tolist()]
        for quantity, column in columns.items()
        if not np.isnan(column).all()
    }


def names_json(names: Names, names_id: int) -> dict[str, Any]:
    """Return names as JSON values, under the number that steps refer to."""
    known = names._asdict()
    if not names.heads:
        del known["heads"]
    return {"kind": "names", "id": names_id, **known}


def names_from(entry: Mapping[str, Any]) -> Names:
    """Return the names that a line holds; older files have none of residual additions or heads."""
    return Names(
        *(
            schema.texts(entry.get(one, []) if one in {"residuals", "heads"} else schema.needed(entry, one), one)
            for one in Names._fields
        )
    )


def structure_from(entry: Mapping[str, Any]) -> Structure:
    """Return the structure that a line holds."""
    return Structure(
        tuple(schema.restored(Layer, one, "layer") for one in schema.items(schema.needed(entry, "layers"), "layers")),
        tuple(
            schema.restored(Residual, one, "residual")
            for one in schema.items(schema.needed(entry, "residuals"), "residuals")
        ),
        tuple(
            schema.restored(Attention, one, "attention")
            for one in schema.items(entry.get("attentions", []), "attentions")
        ),
    )


def finding_from(entry: Mapping[str, Any]) -> Finding:
    """Return the finding that a line holds."""
    found: Finding = schema.restored(Finding, entry, "finding")
    return found


def step_from(entry: Mapping[str, Any], names: Names, content: bytes | None = None) -> StepRecord:
    """Return the step that a line holds.

    Args:
        entry: its JSON.
        names: those it refers to.
        content: its columns, if they are packed.
    """
    layers, parameters, residuals, heads = _tables(entry, names, content)
    return StepRecord(
        step=schema.whole(schema.needed(entry, "step"), "step"),
        time=schema.seconds(schema.needed(entry, "time"), "time"),
        exact=schema.flag(entry.get("exact", True), "exact"),
        optimizer=schema.text(entry.get("optimizer", ""), "optimizer"),
        learning_rate=schema.number(entry.get("learning_rate", "NaN"), "learning_rate"),
        initial_rate=schema.number(entry.get("initial_rate", "NaN"), "initial_rate"),
        weight_decay=schema.number(entry.get("weight_decay", "NaN"), "weight_decay"),
        momentum=schema.number(entry.get("momentum", "NaN"), "momentum"),
        second_momentum=schema.number(entry.get("second_momentum", "NaN"), "second_momentum"),
        loss_scaled=schema.flag(entry.get("loss_scaled", False), "loss_scaled"),
        stepped=schema.flag(entry.get("stepped", True), "stepped"),
        unoptimized=schema.texts(entry.get("unoptimized", []), "unoptimized"),
        unstepped=schema.texts(entry.get("unstepped", []), "unstepped"),
        unregistered=schema.texts(entry.get("unregistered", []), "unregistered"),
        kept_gradients=schema.flag(entry.get("kept_gradients", False), "kept_gradients"),
        batches_waited=schema.whole(entry.get("batches_waited", 0), "batches_waited"),
        weight_dtype=schema.text(entry.get("weight_dtype", ""), "weight_dtype"),
        losses=losses_from(entry["losses"]) if "losses" in entry else LossStretch(),
        loss_by_optimizer={
            name: schema.number(part, "loss_by_optimizer")
            for name, part in schema.mapping(entry.get("loss_by_optimizer", {}), "loss_by_optimizer").items()
        },
        layer_table=layers,
        parameter_table=parameters,
        residual_table=residuals,
        head_table=heads,
    )


def _tables(entry: Mapping[str, Any], names: Names, content: bytes | None) -> list[Table]:
    if content is not None:
        known = {str(quantity): quantity for quantity in quantities()}
        return [
            Table(own, {known[name]: one for name, one in columns.items() if name in known})
            for own, columns in zip(names, unpacked(content, [len(own) for own in names]), strict=True)
        ]
    layers, parameters = (schema.needed(entry, part) for part in PARTS[:2])
    parts = (layers, parameters, *(entry.get(part, {}) for part in PARTS[2:]))
    return [_table(value, part, own) for value, part, own in zip(parts, PARTS, names, strict=True)]


def losses_json(losses: LossStretch) -> dict[str, Any]:
    """Return the losses of some steps as JSON values."""
    return {"steps": losses.steps.tolist(), "values": [_number(value) for value in losses.values.tolist()]}


def losses_from(value: object) -> LossStretch:
    """Return the losses that a step, or a line of their own, holds."""
    entry = schema.mapping(value, "losses")
    steps = schema.column(schema.needed(entry, "steps"), "losses.steps")
    values = schema.column(schema.needed(entry, "values"), "losses.values", len(steps))
    whole = (steps >= 0) & (steps < _EXACT_WHOLE) & (steps == np.floor(steps))
    if not whole.all() or (np.diff(steps) <= 0).any():
        message = "losses.steps are not ascending whole numbers"
        raise schema.MalformedError(message)
    return LossStretch.of(zip(steps.astype(np.int64).tolist(), values.tolist(), strict=True))


def _table(value: object, where: str, names: tuple[str, ...]) -> Table:
    known = {str(quantity): quantity for quantity in quantities()}
    return Table(
        names,
        {
            known[name]: schema.column(one, name, len(names))
            for name, one in schema.mapping(value, where).items()
            if name in known
        },
    )
