"""What was measured at one sampled step.

A :class:`StepRecord` keeps its numbers as columns (one float64 array per quantity, one entry per layer in
execution order), because a window of hundreds of records of hundreds of layers has to stay small. Reading one
layer as an object goes through :attr:`StepRecord.layers`. NaN means *not measured*; it never means healthy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from init_monitor.records.quantities import PARAMETER_QUANTITIES, RESIDUAL_QUANTITIES, Quantity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    Column = NDArray[np.float64]


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
        unoptimized: qualified names of the trainable parameters that no optimizer holds; empty if none is known.
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
    unoptimized: tuple[str, ...] = ()

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
            unit_spread=at(Quantity.WEIGHT_UNIT_SPREAD),
            trainable=at(Quantity.TRAINABLE) != 0,
        )
