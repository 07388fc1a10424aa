"""One layer, parameter or residual addition at one sampled step as an object, made from its row of a table."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from init_monitor.records.facts import Stream
from init_monitor.records.quantities import Quantity
from init_monitor.records.registry import moments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from init_monitor.records.table import Table

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
        """The square root of the variance."""
        return math.sqrt(self.variance) if self.variance >= 0 else math.nan


@dataclass(frozen=True, slots=True)
class Units:
    """The three categories of a rectifier's units over a window of samples (Shao et al. 2020, A.2).

    Attributes:
        count: units of the layer.
        samples: positions per unit behind the claim (batch items times spatial or time positions).
        dead_fraction: share of units whose pre-activation was never positive ("all negative").
        all_positive_fraction: share of units whose pre-activation was always positive.
        dead_at_least: share of units that fire on fewer than 3 in 1,000 positions, with 95 % confidence; NaN from one step.
    """

    count: int
    samples: int
    dead_fraction: float
    all_positive_fraction: float
    dead_at_least: float = field(default=math.nan, compare=False)

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


def _at(table: Table, i: int, quantity: Quantity) -> float:
    column = table.columns.get(quantity)
    return math.nan if column is None else float(column[i])


def _whole(number: float) -> int:
    """Return a count; 0 where it was not measured, or a file says that it is infinite."""
    return int(number) if math.isfinite(number) else 0


def layer_record(table: Table, i: int) -> LayerRecord:
    """Make the object of one row of the layers."""
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
            count=_whole(units),
            samples=_whole(_at(table, i, Quantity.UNIT_SAMPLES)),
            dead_fraction=_at(table, i, Quantity.DEAD_FRACTION),
            all_positive_fraction=_at(table, i, Quantity.ALL_POSITIVE_FRACTION),
            dead_at_least=_at(table, i, Quantity.DEAD_AT_LEAST),
        ),
        saturated_fraction=_at(table, i, Quantity.SATURATED_FRACTION),
        between_sample_share=_at(table, i, Quantity.BETWEEN_SAMPLE_SHARE),
    )


def _moments(table: Table, i: int, by_moment: Mapping[str, Quantity]) -> Moments | None:
    numbers = {moment: _at(table, i, quantity) for moment, quantity in by_moment.items()}
    count, nonfinite = numbers.pop("count"), numbers.pop("nonfinite_count")
    if math.isnan(count):
        return None
    return Moments(count=_whole(count), nonfinite_count=_whole(nonfinite), **numbers)


def parameter_record(table: Table, i: int) -> ParameterRecord:
    """Make the object of one row of the parameters."""
    count = _at(table, i, Quantity.WEIGHT_COUNT)
    return ParameterRecord(
        name=table.names[i],
        count=_whole(count),
        mean=_at(table, i, Quantity.WEIGHT_MEAN),
        variance=_at(table, i, Quantity.WEIGHT_VARIANCE),
        norm=_at(table, i, Quantity.WEIGHT_NORM),
        gradient_variance=_at(table, i, Quantity.WEIGHT_GRADIENT_VARIANCE),
        gradient_norm=_at(table, i, Quantity.WEIGHT_GRADIENT_NORM),
        update_ratio=_at(table, i, Quantity.UPDATE_RATIO),
        unit_spread=_at(table, i, Quantity.WEIGHT_UNIT_SPREAD),
        trainable=_at(table, i, Quantity.TRAINABLE) != 0,
    )


def residual_record(table: Table, i: int) -> ResidualRecord:
    """Make the object of one row of the residual additions."""
    return ResidualRecord(table.names[i], **{moment: _at(table, i, quantity) for moment, quantity in _ADDITION.items()})
