"""How deep a signal, the difference between two samples and a gradient reach in a network as it is, fitted to what was measured.

Schoenholz et al. 2017 ("Deep information propagation") compute these length scales for random networks of infinite width from
the variances of their weights. Here nothing is assumed of weights or activations: the size of the signal and the correlation of
the samples are measured at every weight layer along the deepest chain of the real network, and the course over depth is fitted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from init_monitor.analysis.segments import bounded_exp, by_level, log_of, segments, theil_sen
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from init_monitor.records import Column, StepRecord, Structure

LEAST_LEVELS = 6
"""Weight layers in a row without which there is no course over depth to fit: the deeper half of them is three points."""

TOLD_APART = 1e-6
"""Difference of two samples, as a part of what they share, at which they count as one: that of IM702, below what bfloat16 keeps
and near the rounding of a sum in float32."""

ROUNDING = 1e-12
"""Differences below this are the rounding of float32 (6e-8 of the value, squared, with what sums add to it)."""

LEVEL = 0.005
"""A difference whose logarithm moves by less per layer stays: a factor of 1.6 in a hundred layers."""


_LONGEST_PERIOD = 4
"""Weight layers of a residual branch, or of a block of attention, at most: their sizes repeat."""


class Course(str, Enum):
    """How the difference between two samples goes over depth."""

    DECAYS = "decays"
    """By a factor per layer, towards samples that are all alike: the ordered phase."""
    CRITICAL = "critical"
    """As the inverse square of the depth, or by no factor that the chain is long enough to tell: ReLU with He's weights."""
    SETTLES = "settles"
    """To a difference that is not 0: the chaotic phase, or biases and inputs that keep samples apart."""
    STAYS = "stays"
    """It does not change."""

    def __str__(self) -> str:
        """Return the word itself."""
        return self.value


@dataclass(frozen=True, slots=True)
class Pace:
    """The logarithm of a factor per layer.

    Attributes:
        value: that logarithm.
        doubt: what it could be off by: three standard errors, and at least what makes a factor of e over four times the levels.
    """

    value: float
    doubt: float

    @property
    def is_told(self) -> bool:
        """Whether it can be told from 0."""
        return abs(self.value) > self.doubt


@dataclass(frozen=True, slots=True)
class Difference:
    """The course of the difference between two samples.

    Attributes:
        course: what it does.
        factor: per layer, of a small difference: χ relative to the growth of the signal. Below 1 it decays, above 1 it grows.
        scale: layers in which that is a factor of e; NaN of a critical course.
        now: the difference at the last measured layer, as 1 − correlation.
        rest: where it settles; 0 if it decays, NaN if the chain is too short to tell.
        more: further such layers until two samples cannot be told apart; infinite if they always can, 0 if that is so already.
    """

    course: Course
    factor: float
    scale: float
    now: float
    rest: float
    more: float


@dataclass(frozen=True, slots=True)
class LengthScales:
    """What was measured along the deepest chain of weight layers, and what follows for more such layers.

    Attributes:
        layers: names along the chain, one per level; the nearest to the input first.
        mean_square: E[x²] of each level's output, the median of layers side by side.
        apart: 1 − correlation of two samples, averaged over all pairs of the batch: (E[x_a²] − E[x_a·x_b]) / E[x²].
        signal: factor per layer of the mean square, in the deeper half.
        signal_moves: whether that can be told from 1.
        gradient: factor per layer, from the output towards the input, of the gradient's sum of squares: χ. NaN if not measured.
        difference: the course of ``apart``; ``None`` if the samples of the batch are alike, or there is only one.
    """

    layers: tuple[str, ...]
    mean_square: tuple[float, ...]
    apart: tuple[float, ...]
    signal: float
    signal_moves: bool
    gradient: float
    difference: Difference | None


def is_deep(structure: Structure) -> bool:
    """Say whether a network has a chain of weight layers that is deep enough to be fitted."""
    return any(chain.depth > LEAST_LEVELS for chain in segments(structure, through_normalisation=True))


def length_scales(
    structure: Structure, record: StepRecord, measured: Mapping[str, tuple[float, float]]
) -> LengthScales | None:
    """Fit what was measured; ``None`` if no chain is deep enough.

    Args:
        structure: the network.
        record: a step, for the gradients.
        measured: by tap name, mean square and 1 − correlation of a weight layer's output.
    """
    chain = max(segments(structure, through_normalisation=True), key=lambda one: one.depth, default=None)
    if chain is None:
        return None
    # The last one is the output: nothing follows it, and it has few units.
    rows = [
        (layer, level)
        for layer, level in zip(chain.layers, chain.levels, strict=True)
        if layer.name in measured and level < max(chain.levels)
    ]
    levels = [level for _, level in rows]
    depths, squares = by_level(levels, log_of(np.array([measured[layer.name][0] for layer, _ in rows])))
    if len(depths) < LEAST_LEVELS:
        return None
    apart_at, apart = by_level(levels, np.array([measured[layer.name][1] for layer, _ in rows]))
    table = record.layer_table
    sums = log_of(table.column(Quantity.GRADIENT_MEAN_SQUARE) * table.column(Quantity.GRADIENT_COUNT))
    known = dict(zip(record.names, sums.tolist(), strict=True))
    back_at, back = by_level(levels, np.array([known.get(layer.name, math.nan) for layer, _ in rows]))
    first = {level: layer.name for layer, level in reversed(rows)}
    growth = pace_of(*_deeper(depths, squares))
    relative, gradient = Pace(math.nan, math.nan), math.nan
    if len(back) >= LEAST_LEVELS:
        # Towards the input: against the order of the levels.
        gradient = bounded_exp(-pace_of(*_deeper(back_at, back)).value)
        # A growth that cannot be told from none would only bring its scatter into the factor.
        sizes = np.interp(back_at, depths, squares) if growth.is_told else np.zeros_like(back)
        fitted = pace_of(*_deeper(back_at, -back - sizes))
        scatter = pace_of(*_deeper(back_at, -back - np.interp(back_at, depths, squares)))
        relative = Pace(fitted.value, max(fitted.doubt, scatter.doubt))
    return LengthScales(
        tuple(first[int(level)] for level in depths),
        tuple(float(value) for value in np.exp(squares)),
        tuple(float(value) for value in apart),
        bounded_exp(growth.value),
        growth.is_told,
        gradient,
        difference(apart_at, apart, relative),
    )


def difference(levels: Column, apart: Column, pace: Pace | None = None) -> Difference | None:
    """Say how 1 − correlation goes on over depth.

    The correlation map of a layer takes a small difference ``d`` to ``χ·d`` relative to the signal, so that χ decides where
    it goes (Schoenholz et al. 2017). χ is measured by the gradient, which has no transient of the input in it.

    Args:
        levels: weight layers before each.
        apart: what was measured there.
        pace: logarithm of that factor per layer; the course of ``apart`` itself is taken where it is not known.
    """
    usable = np.isfinite(apart)
    levels, apart = levels[usable], apart[usable]
    if len(levels) < LEAST_LEVELS or apart.max() <= TOLD_APART:
        return None
    now = float(apart[-1])
    real = apart > ROUNDING
    x, y = _deeper(levels[real], apart[real])
    own = pace_of(x, np.log(y))
    if pace is None or math.isnan(pace.value):
        pace = own
    factor, scale = bounded_exp(pace.value), 1 / abs(pace.value) if pace.value else math.inf
    if now <= TOLD_APART:
        return Difference(Course.DECAYS, factor, scale, now, 0.0, 0.0)
    if pace.is_told and pace.value < 0:
        return Difference(Course.DECAYS, factor, scale, now, 0.0, math.log(now / TOLD_APART) * scale)
    if pace.is_told:
        return Difference(Course.SETTLES, factor, scale, now, _rest(y, factor), math.inf)
    step = theil_sen(x, y**-0.5)
    if abs(own.value) <= LEVEL or not step > 0:
        return Difference(Course.STAYS, factor, math.nan, now, now, math.inf)
    return Difference(Course.CRITICAL, factor, math.nan, now, 0.0, (TOLD_APART**-0.5 - now**-0.5) / step)


def _rest(apart: Column, factor: float) -> float:
    """Return where the measured correlation map ``d → factor·d − κ·d²`` has its fixed point; NaN if it has none below 1.

    κ is fitted by least squares to the steps from one level to the next.
    """
    before, after = apart[:-1], apart[1:]
    bend = float((before**2 @ (factor * before - after)) / (before**2 @ before**2))
    rest = (factor - 1) / bend if bend > 0 else math.nan
    return rest if rest < 1 else math.nan


def pace_of(levels: Column, logs: Column) -> Pace:
    """Return how fast a logarithm moves over the levels, and how far that can be trusted.

    Weights are drawn anew in every layer, so that the logarithm scatters as a random walk does: the doubt is the standard error
    of the mean of its steps. Where every second layer differs (the first and the last of a residual branch) steps over two,
    three or four levels scatter less, and theirs is taken.
    """
    slope = theil_sen(levels, logs)
    doubts = [
        float(np.std(logs[lag:] - logs[:-lag])) / math.sqrt(lag * len(logs))
        for lag in range(1, min(_LONGEST_PERIOD, len(logs) - 2) + 1)
    ]
    # The least of four is small by chance; of layers that repeat it is a fraction of that of single steps.
    least = min(doubts, default=0.0)
    doubt = least if doubts and least < doubts[0] / 2 else (doubts or [0.0])[0]
    longest = 1 / (4 * max(1, len(levels)))
    return Pace(0.0 if math.isnan(slope) else slope, max(longest, 3 * doubt))


def _deeper(levels: Column, values: Column) -> tuple[Column, Column]:
    """Return the deeper half: the input's own size and correlation are forgotten there."""
    start = len(levels) // 2
    return levels[start:], values[start:]
