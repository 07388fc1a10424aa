"""The frozen words that every room of the house speaks: what was measured, found, and built.

A :class:`StepRecord` keeps its numbers as columns (one float64 array per quantity, one entry per layer in
execution order), because a window of hundreds of records of hundreds of layers has to stay small. Reading one
layer as an object goes through :attr:`StepRecord.layers`. NaN means *not measured*; it never means healthy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from init_monitor.outline import outline_text, rendered
from init_monitor.tags import PARAMETER_QUANTITIES, RESIDUAL_QUANTITIES, Quantity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from rich.console import Console, ConsoleOptions
    from rich.text import Text
    from typing_extensions import Self

    Column = NDArray[np.float64]


class Severity(str, Enum):
    """How much a finding matters, by its consequence: ``info < warning < critical``.

    >>> Severity.INFO < Severity.CRITICAL, Severity.WARNING == "warning"
    (True, True)
    """

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for info, 1 for warning, 2 for critical."""
        return ("info", "warning", "critical").index(self.value)

    def __lt__(self, other: str) -> bool:
        """Order by consequence, not by alphabet."""
        return self.rank < Severity(other).rank

    def __le__(self, other: str) -> bool:
        """Order by consequence, not by alphabet."""
        return self.rank <= Severity(other).rank

    def __gt__(self, other: str) -> bool:
        """Order by consequence, not by alphabet."""
        return self.rank > Severity(other).rank

    def __ge__(self, other: str) -> bool:
        """Order by consequence, not by alphabet."""
        return self.rank >= Severity(other).rank

    def __str__(self) -> str:
        """Return the word itself."""
        return self.value


class Figure(float):
    """A number with its unit, which still is a float.

    >>> growth = Figure(512.0, "× per layer")
    >>> growth * 2, str(growth)
    (1024.0, '512 × per layer')
    """

    unit: str

    def __new__(cls, value: float, unit: str = "") -> Self:
        """Make a figure of ``value`` in ``unit`` (empty for a plain ratio)."""
        figure = super().__new__(cls, value)
        figure.unit = unit
        return figure

    def __getnewargs__(self) -> tuple[float, str]:  # type: ignore[override]
        """Keep the unit through pickle and copy."""
        return float(self), self.unit

    def __str__(self) -> str:
        """Four significant digits and the unit."""
        return f"{float(self):.4g} {self.unit}".rstrip()

    def __repr__(self) -> str:
        """Show value and unit."""
        return f"Figure({float(self)!r}, {self.unit!r})"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: what was measured, what should be, who is to blame, and what to change.

    Attributes:
        rule: name of the rule, for instance ``"exploding-activations"``.
        code: its stable code, for instance ``"IM101"``.
        severity: info, warning or critical.
        layers: qualified names of the layers (or parameters) at fault, in execution order.
        step: optimizer step of the record that showed it.
        message: the finding in one or two plain sentences.
        evidence: what was measured, by name, each with its unit.
        expected: what a healthy network shows for the same names.
        remedy: what to change, in a sentence; then, after a blank line, code to paste, where there is some.
        source: where the expectation comes from (paper, equation).
    """

    rule: str
    code: str
    severity: Severity
    layers: tuple[str, ...]
    step: int
    message: str
    evidence: Mapping[str, Figure] = field(default_factory=dict)
    expected: Mapping[str, Figure] = field(default_factory=dict)
    remedy: str = ""
    source: str = ""

    @property
    def remedy_sentence(self) -> str:
        """The remedy without its code."""
        return self.remedy.partition("\n\n")[0]

    @property
    def remedy_code(self) -> str:
        """The code to paste, or an empty string."""
        return self.remedy.partition("\n\n")[2]


class Role(str, Enum):
    """What a watched layer is for."""

    WEIGHT = "weight"
    ACTIVATION = "activation"
    NORMALISATION = "normalisation"
    OTHER = "other"

    def __str__(self) -> str:
        """Return the word itself."""
        return self.value


@dataclass(frozen=True, slots=True)
class Layer:
    """One watched layer call, as the rules and the reader see it.

    Attributes:
        name: tap name: the ``named_modules()`` path, ``#k`` for the k-th call of several, ``[i]`` for one of
            several output tensors.
        module: the ``named_modules()`` path alone (the code in a remedy addresses this).
        kind: class name of the module, for instance ``"Conv2d"``.
        role: weight, activation, normalisation or other.
        depth: position in execution order, from 0.
        activation: kind of the activation that follows (``"ReLU"``), ``None`` if none was seen.
        normalised: True if a normalisation follows directly.
        inputs: tap names whose output tensor this call received, where known.
        fan_in, fan_out: as in ``torch.nn.init``; 0 where they have no meaning.
        weight, bias: qualified parameter names, empty where there is none.
        parameters: qualified names of all parameters the layer owns.
        dtype: format of the output, for instance ``"float32"``.
        flat_below: True if the activation blocks the gradient of every negative input (ReLU).
        piecewise_linear: True if the activation is linear on each side of zero (ReLU, leaky ReLU).
    """

    name: str
    module: str
    kind: str
    role: Role
    depth: int
    activation: str | None = None
    normalised: bool = False
    inputs: tuple[str, ...] = ()
    fan_in: int = 0
    fan_out: int = 0
    weight: str = ""
    bias: str = ""
    parameters: tuple[str, ...] = ()
    dtype: str = "float32"
    flat_below: bool = False
    piecewise_linear: bool = False


@dataclass(frozen=True, slots=True)
class Residual:
    """One residual addition of the network: ``owner#k`` adds ``branch`` to ``skip``.

    Attributes:
        name: ``owner#k``; ``owner@c#k`` in the c-th call of a module that is called several times.
        owner: qualified name of the module whose forward adds; empty for the model itself.
        kind: ``"identity"``, or ``"projection"`` if the skip goes through a light affine map.
        skip: where the skip was made: a layer, an earlier residual (its name), ``"input"`` or ``"parameter"``.
        branch: the same for the branch.
        skip_scale: α of ``αx + βF``; NaN if x was multiplied by a tensor.
        branch_scale: β, likewise.
        sum_scale: number by which the sum is multiplied before the next addition of the stream.
        follows: name of the addition before it in the stream: its skip is that sum, but for views, factors, a
            normalisation or an activation; empty for the first.
        nested: it lies inside the branch of another residual addition.
        long: its skip passes over other residual additions of the stream (a global skip, a U-Net's).
        depth: position among the layers: how many of them had been called when it was added.
        layers: tap names of the layers of its block that were called since the skip was made.
        normalised: a normalisation lies between it and the next addition, on the stream itself (post-norm).
        dtype: format of the sum.
    """

    name: str
    owner: str
    kind: str
    skip: str
    branch: str
    skip_scale: float = 1.0
    branch_scale: float = 1.0
    sum_scale: float = 1.0
    follows: str = ""
    nested: bool = False
    long: bool = False
    depth: int = 0
    layers: tuple[str, ...] = ()
    normalised: bool = False
    dtype: str = "float32"


@dataclass(frozen=True, slots=True)
class Structure:
    """The network as it was executed: layers in execution order, and its residual additions.

    It prints as an outline, and as a tree where rich prints it.
    """

    layers: tuple[Layer, ...] = ()
    residuals: tuple[Residual, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Tap names in execution order."""
        return tuple(layer.name for layer in self.layers)

    def by_name(self) -> dict[str, Layer]:
        """Return the layers keyed by tap name."""
        return {layer.name: layer for layer in self.layers}

    def __len__(self) -> int:
        """Count the watched layers."""
        return len(self.layers)

    def __str__(self) -> str:
        """Return the network as an indented outline."""
        return outline_text(self)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Draw the network as a tree."""
        return rendered(self, console, options)


@dataclass(frozen=True, slots=True)
class Moments:
    """One stream of numbers, reduced. Non-finite elements are counted and excluded from the rest.

    Attributes:
        count: finite elements seen.
        mean: their mean.
        variance: their variance, correction 0.
        mean_square: E[x²].
        abs_max: largest absolute value.
        zero_fraction: share of exact zeros, in [0, 1].
        nonfinite_count: NaN and ±Inf elements seen.
    """

    count: int
    mean: float
    variance: float
    mean_square: float
    abs_max: float
    zero_fraction: float
    nonfinite_count: int

    @property
    def std(self) -> float:
        """Square root of the variance."""
        return math.sqrt(self.variance) if self.variance >= 0 else math.nan


@dataclass(frozen=True, slots=True)
class Units:
    """The three categories of a rectifier's units over a window of samples (Shao et al. 2020, A.2).

    Attributes:
        count: units of the layer.
        samples: positions per unit behind the claim (batch items times spatial or time positions).
        dead_fraction: share of units whose pre-activation was never positive ("all negative").
        all_positive_fraction: share of units whose pre-activation was always positive.
    """

    count: int
    samples: int
    dead_fraction: float
    all_positive_fraction: float

    @property
    def linear_fraction(self) -> float:
        """Share of units in the linear regime: all negative plus all positive."""
        return self.dead_fraction + self.all_positive_fraction

    @property
    def nonlinear_fraction(self) -> float:
        """Share of units that saw both signs."""
        return 1.0 - self.linear_fraction


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """One layer at one sampled step.

    Attributes:
        name: tap name.
        forward: moments of the output, over batch and all positions.
        backward: moments of ∂loss/∂output, or ``None`` if no gradient reached it.
        gain: Var(out)/E[in²] (NaN where the input was not seen).
        expected_gain: fan_in · Var(W), what zero-mean weights give.
        backward_gain: Var(∂loss/∂in)/E[(∂loss/∂out)²].
        expected_backward_gain: fan_out · Var(W).
        units: categories of a rectifier's units, or ``None``.
        saturated_fraction: share of elements beyond a bounded activation's knee (NaN for others).
        between_sample_share: variance between the samples' mean signals over the total variance, in [0, 1].
    """

    name: str
    forward: Moments
    backward: Moments | None
    gain: float
    expected_gain: float
    backward_gain: float
    expected_backward_gain: float
    units: Units | None
    saturated_fraction: float
    between_sample_share: float


@dataclass(frozen=True, slots=True)
class ParameterRecord:
    """One parameter at one sampled step.

    Attributes:
        name: qualified name.
        count: elements.
        mean, variance, norm: of the weight before the step (norm is Euclidean).
        gradient_variance, gradient_norm: of the weight gradient the optimizer received (NaN without one).
        update_ratio: ‖Δw‖/‖w‖, measured around the optimizer step (NaN where no optimizer holds it).
    """

    name: str
    count: int
    mean: float
    variance: float
    norm: float
    gradient_variance: float
    gradient_norm: float
    update_ratio: float


@dataclass(frozen=True, slots=True)
class ResidualRecord:
    """One residual addition at one sampled step. The skip is x itself: a factor α in ``αx + βF`` is taken out of it.

    Attributes:
        name: as in :class:`Residual`.
        skip_var: variance of x.
        branch_var: variance of the branch as it enters the sum (β included).
        sum_var: variance of the block's output (a constant factor on the sum, such as 1/√2, included).
        variance_ratio: branch_var / skip_var.
        growth: sum_var / skip_var: 2 for an unscaled branch of the skip's variance.
        covariance, correlation: between the two terms of the sum; the correlation is in [-1, 1].
        skip_gradient_var: variance of ∂loss/∂x, the whole gradient at the block's input.
        branch_gradient_var: variance of ∂loss/∂branch.
        sum_gradient_var: variance of ∂loss/∂sum.
        backward_growth: skip_gradient_var / sum_gradient_var.
        loss_decrease: η‖g‖² over the parameters of the block: what one SGD step of the learning rate takes off the
            loss, to first order (Shao et al. 2020, Eq. 15).
    """

    name: str
    skip_var: float
    branch_var: float
    sum_var: float
    variance_ratio: float
    growth: float
    covariance: float
    correlation: float
    skip_gradient_var: float
    branch_gradient_var: float
    sum_gradient_var: float
    backward_growth: float
    loss_decrease: float


@dataclass(frozen=True, slots=True, eq=False)
class StepRecord:
    """Everything measured at one sampled optimizer step.

    Attributes:
        step: optimizer step, on the axis the Trainer's loggers use; the first is 0.
        time: seconds since the epoch.
        names: tap names in execution order.
        columns: one float64 array per layer quantity, aligned with ``names``; NaN where not measured.
        parameter_names: qualified parameter names.
        parameter_columns: one float64 array per parameter quantity, aligned with ``parameter_names``.
        residual_names: names of the residual additions, in execution order.
        residual_columns: one float64 array per residual quantity, aligned with ``residual_names``.
        exact: False if the numbers come from a sample of the elements (``measure="staged"``).
        optimizer: class name of the optimizer that stepped (comma-separated if several), or empty.
        learning_rate: largest learning rate of its parameter groups; NaN if unknown.
        loss_scaled: True if a gradient scaler was active (non-finite gradients are then part of its work).
        stepped: False if the optimizer step was seen to change no parameter.
    """

    step: int
    time: float
    names: tuple[str, ...]
    columns: Mapping[Quantity, Column]
    parameter_names: tuple[str, ...] = ()
    parameter_columns: Mapping[Quantity, Column] = field(default_factory=dict)
    residual_names: tuple[str, ...] = ()
    residual_columns: Mapping[Quantity, Column] = field(default_factory=dict)
    exact: bool = True
    optimizer: str = ""
    learning_rate: float = math.nan
    loss_scaled: bool = False
    stepped: bool = True

    def column(self, quantity: Quantity) -> Column:
        """Return one quantity over all layers (or parameters, or residuals): float64, NaN where not measured."""
        names, columns = self.names, self.columns
        if quantity in PARAMETER_QUANTITIES:
            names, columns = self.parameter_names, self.parameter_columns
        elif quantity in RESIDUAL_QUANTITIES:
            names, columns = self.residual_names, self.residual_columns
        found = columns.get(quantity)
        return np.full(len(names), np.nan) if found is None else found

    @property
    def layers(self) -> Mapping[str, LayerRecord]:
        """The layers by tap name, built on demand, in execution order."""
        return MappingProxyType({name: self._layer(i) for i, name in enumerate(self.names)})

    @property
    def parameters(self) -> Mapping[str, ParameterRecord]:
        """The parameters by qualified name, built on demand."""
        return MappingProxyType({name: self._parameter(i) for i, name in enumerate(self.parameter_names)})

    @property
    def residuals(self) -> tuple[ResidualRecord, ...]:
        """The residual additions in execution order, built on demand."""
        return tuple(self._residual(i) for i in range(len(self.residual_names)))

    def __iter__(self) -> Iterator[LayerRecord]:
        """Iterate over the layers in execution order."""
        return (self._layer(i) for i in range(len(self.names)))

    def _layer(self, i: int) -> LayerRecord:
        def at(quantity: Quantity) -> float:
            return float(self.column(quantity)[i])

        def moments(prefix: str) -> Moments | None:
            count = at(Quantity(f"{prefix}count"))
            nonfinite = at(Quantity(f"{prefix}nonfinite_count"))
            if math.isnan(count):
                return None
            return Moments(
                count=int(count),
                mean=at(Quantity(f"{prefix}mean")),
                variance=at(Quantity(f"{prefix}variance")),
                mean_square=at(Quantity(f"{prefix}mean_square")),
                abs_max=at(Quantity(f"{prefix}abs_max")),
                zero_fraction=at(Quantity(f"{prefix}zero_fraction")),
                nonfinite_count=0 if math.isnan(nonfinite) else int(nonfinite),
            )

        units = at(Quantity.UNIT_COUNT)
        empty = Moments(0, math.nan, math.nan, math.nan, math.nan, math.nan, 0)
        return LayerRecord(
            name=self.names[i],
            forward=moments("") or empty,
            backward=moments("gradient_"),
            gain=at(Quantity.GAIN),
            expected_gain=at(Quantity.EXPECTED_GAIN),
            backward_gain=at(Quantity.BACKWARD_GAIN),
            expected_backward_gain=at(Quantity.EXPECTED_BACKWARD_GAIN),
            units=None
            if math.isnan(units)
            else Units(
                count=int(units),
                samples=int(at(Quantity.UNIT_SAMPLES)),
                dead_fraction=at(Quantity.DEAD_FRACTION),
                all_positive_fraction=at(Quantity.ALL_POSITIVE_FRACTION),
            ),
            saturated_fraction=at(Quantity.SATURATED_FRACTION),
            between_sample_share=at(Quantity.BETWEEN_SAMPLE_SHARE),
        )

    def _residual(self, i: int) -> ResidualRecord:
        numbers = {q.value.removeprefix("residual_"): float(self.column(q)[i]) for q in RESIDUAL_QUANTITIES}
        return ResidualRecord(self.residual_names[i], **numbers)

    def _parameter(self, i: int) -> ParameterRecord:
        def at(quantity: Quantity) -> float:
            return float(self.column(quantity)[i])

        count = at(Quantity.WEIGHT_COUNT)
        return ParameterRecord(
            name=self.parameter_names[i],
            count=0 if math.isnan(count) else int(count),
            mean=at(Quantity.WEIGHT_MEAN),
            variance=at(Quantity.WEIGHT_VARIANCE),
            norm=at(Quantity.WEIGHT_NORM),
            gradient_variance=at(Quantity.WEIGHT_GRADIENT_VARIANCE),
            gradient_norm=at(Quantity.WEIGHT_GRADIENT_NORM),
            update_ratio=at(Quantity.UPDATE_RATIO),
        )
