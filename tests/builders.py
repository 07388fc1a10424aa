"""Small synthetic networks and records with exact numbers, and a slow measurement of real ones, for the rules' tests."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from init_monitor.records import History, Layer, Of, Residual, Role, StepRecord, Structure, Table
from init_monitor.records.quantities import LAYER_QUANTITIES, Quantity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor, nn

    from init_monitor.records import Finding


def linear(depth: int, module: str, *, activation: str | None = None, width: int = 512, **changes: Any) -> Layer:
    """Return a watched Linear with weight and bias."""
    layer = Layer(
        name=module,
        module=module,
        kind="Linear",
        role=Role.WEIGHT,
        depth=depth,
        activation=activation,
        fan_in=width,
        fan_out=width,
        weight=f"{module}.weight",
        bias=f"{module}.bias",
    )
    return dataclasses.replace(layer, **changes)


def rectifier(depth: int, module: str, *, kind: str = "ReLU", **changes: Any) -> Layer:
    """Return a watched rectifier."""
    layer = Layer(
        name=module,
        module=module,
        kind=kind,
        role=Role.ACTIVATION,
        depth=depth,
        activation=kind,
        flat_below=kind == "ReLU",
        piecewise_linear=True,
    )
    return dataclasses.replace(layer, **changes)


def norm(depth: int, module: str, **changes: Any) -> Layer:
    """Return a watched normalisation."""
    layer = Layer(name=module, module=module, kind="LayerNorm", role=Role.NORMALISATION, depth=depth)
    return dataclasses.replace(layer, **changes)


def in_a_row(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """Return the layers with each fed by the one before it."""
    row = tuple(layers)
    return (*row[:1], *(dataclasses.replace(one, inputs=(before.name,)) for before, one in itertools.pairwise(row)))


def linears(count: int, *, activation: str | None = None, **changes: Any) -> Structure:
    """Return ``count`` Linear layers in a row, each fed by the one before; the last has no activation."""
    return Structure(
        tuple(
            linear(
                i,
                f"net.{i}",
                activation=activation if i < count - 1 else None,
                inputs=(f"net.{i - 1}",) if i else (),
                **changes,
            )
            for i in range(count)
        )
    )


def blocks(count: int, *, named: str = "blocks", **changes: Any) -> Structure:
    """Return ``count`` residual blocks in a row, two Linear layers and one addition each, between a stem and a head."""
    layers, residuals = [linear(0, "stem")], []
    for i in range(count):
        layers.append(linear(2 * i + 1, f"{named}.{i}.fc1", activation="ReLU", inputs=(layers[-1].name,)))
        layers.append(linear(2 * i + 2, f"{named}.{i}.fc2", inputs=(layers[-1].name,)))
        before = f"{named}.{i - 1}#1" if i else ""
        residual = Residual(
            name=f"{named}.{i}#1",
            owner=f"{named}.{i}",
            kind="identity",
            skip=before or "stem",
            branch=f"{named}.{i}.fc2",
            follows=before,
            depth=2 * i + 3,
            layers=(f"{named}.{i}.fc1", f"{named}.{i}.fc2"),
        )
        residuals.append(dataclasses.replace(residual, **changes))
    head = linear(2 * count + 1, "head", inputs=(layers[-1].name,))
    return Structure((*layers, head), tuple(residuals))


def chain(count: int, *, prefix: str = "net", **changes: Any) -> Structure:
    """Return ``count`` residual blocks ``x + second(relu(first(x)))`` and nothing else, each from the sum before it."""
    layers: list[Layer] = []
    residuals: list[Residual] = []
    for i in range(count):
        owner = f"{prefix}.{i}"
        fed = (layers[-1].name,) if layers else ()
        first = linear(len(layers), f"{owner}.first", activation="relu", inputs=fed)
        second = linear(len(layers) + 1, f"{owner}.second", inputs=(first.name,))
        layers += [first, second]
        before = residuals[-1].name if residuals else ""
        residual = Residual(
            name=f"{owner}#1",
            owner=owner,
            kind="identity",
            skip=before or "input",
            branch=second.name,
            follows=before,
            depth=len(layers),
            layers=(first.name, second.name),
        )
        residuals.append(dataclasses.replace(residual, **changes))
    return Structure(tuple(layers), tuple(residuals))


def along(levels: Any, *, gradients: Any = None) -> dict[Quantity, Any]:
    """Return the residual columns of one stream with these variances before, between and after its blocks."""
    levels = np.asarray(levels, np.float64)
    with np.errstate(invalid="ignore"):
        growth = levels[1:] / levels[:-1]
    columns: dict[Quantity, Any] = {
        Quantity.RESIDUAL_SKIP_VAR: levels[:-1],
        Quantity.RESIDUAL_SUM_VAR: levels[1:],
        Quantity.RESIDUAL_GROWTH: growth,
        Quantity.RESIDUAL_VARIANCE_RATIO: growth - 1,
        Quantity.RESIDUAL_CORRELATION: 0.0,
    }
    if gradients is not None:
        back = np.asarray(gradients, np.float64)
        columns[Quantity.RESIDUAL_SKIP_GRADIENT_VAR] = back[:-1]
        columns[Quantity.RESIDUAL_SUM_GRADIENT_VAR] = back[1:]
    return columns


def record(
    structure: Structure,
    columns: Mapping[Quantity, Any],
    *,
    step: int = 0,
    **fields: Any,
) -> StepRecord:
    """Return a record of ``structure``; a single number stands for every layer, parameter or residual."""
    parameters = tuple(fields.pop("parameter_names", [layer.weight for layer in structure.layers if layer.weight]))
    residuals = tuple(fields.pop("residual_names", [residual.name for residual in structure.residuals]))
    heads = tuple(name for attention in structure.attentions for name in attention.head_names)

    def column(quantity: Quantity, values: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        lengths = {
            Of.LAYER: len(structure),
            Of.PARAMETER: len(parameters),
            Of.RESIDUAL: len(residuals),
            Of.HEAD: len(heads),
        }
        length = lengths[quantity.facts.of]
        return np.broadcast_to(np.asarray(values, np.float64), (length,)).copy()

    made = {quantity: column(quantity, values) for quantity, values in columns.items()}
    return StepRecord(
        step=step,
        time=0.0,
        layer_table=Table(structure.names, {q: c for q, c in made.items() if q.facts.of is Of.LAYER}),
        parameter_table=Table(parameters, {q: c for q, c in made.items() if q.facts.of is Of.PARAMETER}),
        residual_table=Table(residuals, {q: c for q, c in made.items() if q.facts.of is Of.RESIDUAL}),
        head_table=Table(heads, {q: c for q, c in made.items() if q.facts.of is Of.HEAD}),
        **fields,
    )


def history(structure: Structure, *columns: Mapping[Quantity, Any], **fields: Any) -> History:
    """Return a history with one record per mapping of columns, at steps 0, 1, …."""
    return History([record(structure, one, step=i, **fields) for i, one in enumerate(columns)], structure)


def parameter(module: nn.Module, name: str = "weight") -> Tensor:
    """Return a parameter of a module without its history."""
    return dict(module.named_parameters())[name].detach()


def only(findings: Any) -> Finding:
    """Return the one finding there is."""
    found = list(findings)
    assert len(found) == 1, found
    return found[0]  # type: ignore[no-any-return]


def is_complete(finding: Finding) -> None:
    """Check that a finding has all its parts: sentences, a source, code that compiles, and figures with units."""
    assert finding.message
    assert finding.source
    assert finding.remedy_sentence
    compile(finding.remedy_code, "remedy", "exec")
    assert set(finding.expected) <= set(finding.evidence)
    assert all(type(v).__name__ == "Figure" for v in (*finding.evidence.values(), *finding.expected.values()))


def measure(model: nn.Sequential, batch: Tensor) -> History:
    """Measure a Sequential of Linear, ReLU, Tanh and LayerNorm slowly, in float64, with plain hooks: the oracle."""
    from torch import float64, nn as torch_nn

    modules = list(model.named_children())
    layers: list[Layer] = []
    for depth, (name, module) in enumerate(modules):
        fed = (modules[depth - 1][0],) if depth else ()
        after = type(modules[depth + 1][1]).__name__ if depth + 1 < len(modules) else None
        if isinstance(module, torch_nn.Linear):
            activation = after if after in {"ReLU", "Tanh"} else None
            bias = f"{name}.bias" if "bias" in dict(module.named_parameters()) else ""
            layers.append(
                linear(depth, name, activation=activation, normalised=after == "LayerNorm", inputs=fed, bias=bias)
            )
        elif isinstance(module, torch_nn.LayerNorm):
            layers.append(norm(depth, name, inputs=fed))
        else:
            kind = type(module).__name__
            layers.append(rectifier(depth, name, kind=kind, inputs=fed, piecewise_linear=kind == "ReLU"))
    columns: dict[Quantity, list[float]] = {quantity: [] for quantity in LAYER_QUANTITIES}
    outputs, x = [], batch
    for _, module in modules:
        entering, x = x, module(x)
        x.retain_grad()
        outputs.append((entering, x, module))
    x.square().mean().backward()
    for entering, out, module in outputs:
        wide, gradient = out.detach().to(float64), out.grad.to(float64)
        variance, square = float(wide.var(correction=0)), float(entering.detach().to(float64).square().mean())
        row = {
            Quantity.VARIANCE: variance,
            Quantity.ABS_MAX: float(wide.abs().max()),
            Quantity.GAIN: variance / square if square else float("nan"),
            Quantity.ZERO_FRACTION: float((wide == 0).double().mean()),
            Quantity.DEAD_FRACTION: float((wide <= 0).all(0).double().mean()),
            Quantity.ALL_POSITIVE_FRACTION: float((wide > 0).all(0).double().mean()),
            Quantity.UNIT_SAMPLES: float(wide.shape[0]),
            Quantity.GRADIENT_VARIANCE: float(gradient.var(correction=0)),
            Quantity.GRADIENT_COUNT: float(gradient.numel()),
            Quantity.NONFINITE_COUNT: float((~wide.isfinite()).sum()),
        }
        if entering.grad is not None:
            row[Quantity.BACKWARD_GAIN] = float(entering.grad.to(float64).var(correction=0) / gradient.square().mean())
        if isinstance(module, torch_nn.ReLU):
            row[Quantity.UNIT_COUNT] = float(wide.shape[1])
        if isinstance(module, torch_nn.Linear):
            row[Quantity.EXPECTED_GAIN] = module.in_features * float(module.weight.detach().var(correction=0))
        for quantity in LAYER_QUANTITIES:
            columns[quantity].append(row.get(quantity, float("nan")))
    structure = Structure(tuple(layers))
    return History([record(structure, columns)], structure)
