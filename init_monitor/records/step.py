"""What was measured at one sampled step.

A :class:`StepRecord` keeps its numbers in three tables (one float64 array per quantity, one entry per layer, parameter or
residual addition in execution order), because a window of hundreds of records of hundreds of layers has to stay small.
Reading one layer as an object goes through :attr:`StepRecord.layers`. NaN means *not measured*; it never means healthy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from init_monitor.records.facts import Of, Stream
from init_monitor.records.quantities import Quantity
from init_monitor.records.registry import moments
from init_monitor.records.table import Rows, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from init_monitor.records.facts import Column

_OUTPUT, _GRADIENT, _ADDITION = (moments(one) for one in (Stream.OUTPUT, Stream.GRADIENT, Stream.ADDITION))


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
        unit_spread: how unlike its units are: the variance over units of a fixed ±1 combination of their incoming
            weights, over what independent weights would give (fan_in · E[w²]). About 1 for random weights, 0 if all
            units are the same; NaN with fewer than two dimensions or units, and where all weights are 0.
        trainable: whether it requires a gradient.
    """

    name: str
    count: int
    mean: float
    variance: float
    norm: float
    gradient_variance: float
    gradient_norm: float
    update_ratio: float
    unit_spread: float = math.nan
    trainable: bool = True


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
        layer_table: the numbers of the layers, by tap name, in execution order.
        parameter_table: those of the parameters, by qualified name.
        residual_table: those of the residual additions, in execution order.
        exact: False if the numbers come from a sample of the elements (``measure="staged"``).
        optimizer: class name of the optimizer that stepped (comma-separated if several), or empty.
        learning_rate: largest learning rate of its parameter groups; NaN if unknown.
        loss_scaled: True if a gradient scaler was active (non-finite gradients are then part of its work).
        stepped: False if the optimizer step was seen to change no parameter.
        unoptimized: qualified names of the trainable parameters that no optimizer holds; empty if none is known.
    """

    step: int
    time: float
    layer_table: Table = field(default_factory=Table)
    parameter_table: Table = field(default_factory=Table)
    residual_table: Table = field(default_factory=Table)
    exact: bool = True
    optimizer: str = ""
    learning_rate: float = math.nan
    loss_scaled: bool = False
    stepped: bool = True
    unoptimized: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Add what registered quantities make of the columns."""
        for name, of in (
            ("layer_table", Of.LAYER),
            ("parameter_table", Of.PARAMETER),
            ("residual_table", Of.RESIDUAL),
        ):
            object.__setattr__(self, name, getattr(self, name).derived(of))

    def table(self, of: Of) -> Table:
        """Return the table of the layers, the parameters or the residual additions."""
        if of is Of.LAYER:
            return self.layer_table
        return self.parameter_table if of is Of.PARAMETER else self.residual_table

    def column(self, quantity: Quantity) -> Column:
        """Return one quantity over all layers (or parameters, or residuals): float64, NaN where not measured."""
        return self.table(Quantity(quantity).facts.of).column(quantity)

    @property
    def names(self) -> tuple[str, ...]:
        """Tap names in execution order."""
        return self.layer_table.names

    @property
    def columns(self) -> Mapping[Quantity, Column]:
        """One float64 array per layer quantity, aligned with ``names``; NaN where not measured."""
        return self.layer_table.columns

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Qualified parameter names."""
        return self.parameter_table.names

    @property
    def parameter_columns(self) -> Mapping[Quantity, Column]:
        """One float64 array per parameter quantity, aligned with ``parameter_names``."""
        return self.parameter_table.columns

    @property
    def residual_names(self) -> tuple[str, ...]:
        """Names of the residual additions, in execution order."""
        return self.residual_table.names

    @property
    def residual_columns(self) -> Mapping[Quantity, Column]:
        """One float64 array per residual quantity, aligned with ``residual_names``."""
        return self.residual_table.columns

    @property
    def layers(self) -> Mapping[str, LayerRecord]:
        """The layers by tap name, in execution order; one is built when it is asked for."""
        return Rows(self.layer_table, _layer)

    @property
    def parameters(self) -> Mapping[str, ParameterRecord]:
        """The parameters by qualified name; one is built when it is asked for."""
        return Rows(self.parameter_table, _parameter)

    @property
    def residuals(self) -> tuple[ResidualRecord, ...]:
        """The residual additions in execution order, built on demand."""
        return tuple(_residual(self.residual_table, i) for i in range(len(self.residual_names)))

    def __iter__(self) -> Iterator[LayerRecord]:
        """Iterate over the layers in execution order."""
        return (_layer(self.layer_table, i) for i in range(len(self.names)))


def _at(table: Table, i: int, quantity: Quantity) -> float:
    column = table.columns.get(quantity)
    return math.nan if column is None else float(column[i])


def _layer(table: Table, i: int) -> LayerRecord:
    units = _at(table, i, Quantity.UNIT_COUNT)
    return LayerRecord(
        name=table.names[i],
        forward=_moments(table, i, _OUTPUT) or Moments(0, math.nan, math.nan, math.nan, math.nan, math.nan, 0),
        backward=_moments(table, i, _GRADIENT),
        gain=_at(table, i, Quantity.GAIN),
        expected_gain=_at(table, i, Quantity.EXPECTED_GAIN),
        backward_gain=_at(table, i, Quantity.BACKWARD_GAIN),
        expected_backward_gain=_at(table, i, Quantity.EXPECTED_BACKWARD_GAIN),
        units=None
        if math.isnan(units)
        else Units(
            count=int(units),
            samples=int(_at(table, i, Quantity.UNIT_SAMPLES)),
            dead_fraction=_at(table, i, Quantity.DEAD_FRACTION),
            all_positive_fraction=_at(table, i, Quantity.ALL_POSITIVE_FRACTION),
        ),
        saturated_fraction=_at(table, i, Quantity.SATURATED_FRACTION),
        between_sample_share=_at(table, i, Quantity.BETWEEN_SAMPLE_SHARE),
    )


def _moments(table: Table, i: int, by_moment: Mapping[str, Quantity]) -> Moments | None:
    numbers = {moment: _at(table, i, quantity) for moment, quantity in by_moment.items()}
    count, nonfinite = numbers.pop("count"), numbers.pop("nonfinite_count")
    if math.isnan(count):
        return None
    return Moments(count=int(count), nonfinite_count=0 if math.isnan(nonfinite) else int(nonfinite), **numbers)


def _parameter(table: Table, i: int) -> ParameterRecord:
    count = _at(table, i, Quantity.WEIGHT_COUNT)
    return ParameterRecord(
        name=table.names[i],
        count=0 if math.isnan(count) else int(count),
        mean=_at(table, i, Quantity.WEIGHT_MEAN),
        variance=_at(table, i, Quantity.WEIGHT_VARIANCE),
        norm=_at(table, i, Quantity.WEIGHT_NORM),
        gradient_variance=_at(table, i, Quantity.WEIGHT_GRADIENT_VARIANCE),
        gradient_norm=_at(table, i, Quantity.WEIGHT_GRADIENT_NORM),
        update_ratio=_at(table, i, Quantity.UPDATE_RATIO),
        unit_spread=_at(table, i, Quantity.WEIGHT_UNIT_SPREAD),
        trainable=_at(table, i, Quantity.TRAINABLE) != 0,
    )


def _residual(table: Table, i: int) -> ResidualRecord:
    return ResidualRecord(table.names[i], **{moment: _at(table, i, quantity) for moment, quantity in _ADDITION.items()})
