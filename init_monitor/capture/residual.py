"""Residual additions and functional activations: what the probe finds, measured like everything else.

The probe passes on the tensors that meet in an addition. Most of their numbers are known already: the skip is the
sum of the block before or the output of a layer, the branch often is the output of a layer. What was measured is not
measured again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from init_monitor.capture.reader import empty_columns, ratio
from init_monitor.capture.taps import Rows, Tap
from init_monitor.capture.tensors import name_of
from init_monitor.measures import MOMENTS_ONLY
from init_monitor.records.quantities import RESIDUAL_QUANTITIES, Quantity

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from torch import Tensor

    from init_monitor.capture.hooks import LayerHooks
    from init_monitor.capture.reader import Reader
    from init_monitor.capture.reading import Columns
    from init_monitor.records import Column, Layer, Residual
    from init_monitor.structure.sites import ResidualSite


@dataclass(slots=True, eq=False)
class ResidualTap:
    """One residual addition: the site as last seen, and the rows of its terms.

    Attributes:
        site: what the probe says about it.
        skip, branch, sum: rows of the terms as they enter the sum, and of the sum.
        own: the rows that were made for it, by term; others belong to what measured the tensor first.
        depth: how many layers had been called before it.
        dtype: format of the sum.
        before: rows of the skip before its factor, where that was looked for already.
    """

    site: ResidualSite
    skip: Rows
    branch: Rows
    sum: Rows
    own: dict[str, Rows] = field(default_factory=dict)
    depth: int = 0
    dtype: str = "float32"
    before: Rows | None = None


class ResidualTaps:
    """Measures the terms of every residual addition of a sampled step.

    Args:
        hooks: measures the layers, and knows which tensors were measured.

    Attributes:
        known: every addition that was ever measured, by name.
        order: those of this step, in execution order.
    """

    def __init__(self, hooks: LayerHooks) -> None:
        """Start with no addition known."""
        self._hooks = hooks
        self.known: dict[str, ResidualTap] = {}
        self.order: dict[str, ResidualTap] = {}
        hooks.on_drop = self._move_up

    def _move_up(self, places: Sequence[int]) -> None:
        """Recount the layers before each addition, without those at ``places``."""
        for tap in self.order.values():
            tap.depth -= sum(place < tap.depth for place in places)

    def take(self, site: ResidualSite, skip: Tensor, branch: Tensor, total: Tensor) -> None:
        """Measure one addition, right after it ran.

        Args:
            site: what the probe says about it.
            skip: the skip as it enters the sum.
            branch: the branch as it enters the sum.
            total: the sum.
        """
        tap = self.known.get(site.name)
        if tap is None:
            nothing = Rows(self._hooks.accumulator(total.device))
            tap = self.known[site.name] = ResidualTap(site, nothing, nothing, nothing)
        tap.site, tap.depth, tap.dtype = site, self._hooks.position, name_of(total.dtype)
        tap.skip = self._measure(tap, "skip", skip)
        tap.branch = self._measure(tap, "branch", branch)
        tap.sum = self._measure(tap, "sum", total)
        self.order[site.name] = tap

    def settle(self, sites: Sequence[ResidualSite]) -> None:
        """Take over what is known about the additions only after the forward."""
        for site in sites:
            tap = self.order.get(site.name)
            if tap is not None:
                tap.site = site

    def forget(self, names: Collection[str]) -> None:
        """Forget the additions of these names in this step: they turned out not to belong to the network."""
        if names:
            self.order = {name: tap for name, tap in self.order.items() if name not in names}

    def leave_out(self, is_left_out: Callable[[str], bool]) -> None:
        """Forget the additions of this step in the modules that ``is_left_out`` names."""
        self.order = {name: tap for name, tap in self.order.items() if not is_left_out(tap.site.owner)}

    def _measure(self, tap: ResidualTap, term: str, tensor: Tensor) -> Rows:
        rows = self._hooks.rows_of(tensor)
        if rows is not None:
            return rows
        rows = tap.own.get(term)
        if rows is None or rows.accumulator.device != tensor.device:
            accumulator = self._hooks.accumulator(tensor.device)
            rows = tap.own[term] = Rows(accumulator, accumulator.new_row(), accumulator.new_row())
        rows.accumulator.take(rows.forward, tensor, MOMENTS_ONLY)
        # A branch that no layer gave is a term of a plain sum: its gradient is that of the sum, not read twice.
        if term != "branch":
            self._hooks.follow(tensor, rows, tap.site.name)
            self._hooks.remember(tensor, rows)
        return rows


def residual_columns(taps: Sequence[ResidualTap], residuals: Sequence[Residual], reader: Reader) -> Columns:
    """Fill every residual quantity except the loss decrease, which needs the weight gradients."""
    before = rows_before_factors(taps, residuals)
    entering, branch, plain_sum, unscaled = (
        reader.column(reader.index((rows.accumulator, rows.forward) for rows in term), "variance")
        for term in ([tap.skip for tap in taps], [tap.branch for tap in taps], [tap.sum for tap in taps], before)
    )
    skip_gradient, at_branch, at_sum = (
        reader.column(reader.index((rows.accumulator, rows.backward) for rows in term), "variance")
        for term in (before, [tap.branch for tap in taps], [tap.sum for tap in taps])
    )
    sum_scale = np.array([_square(residual.sum_scale) for residual in residuals])
    skip_gradient = skip_gradient / _scales_before(residuals)
    with np.errstate(invalid="ignore", over="ignore"):
        skip = entering / np.array([_square(residual.skip_scale) for residual in residuals])
        total = plain_sum * sum_scale
        covariance = (plain_sum - entering - branch) / 2
        spread = np.sqrt(np.where((entering > 0) & (branch > 0), entering * branch, np.nan))
        sum_gradient = at_sum / sum_scale
    # Of a factor that is a tensor no number is known: what was measured before and behind it stands for it.
    by_tensor = np.array([math.isnan(residual.skip_scale) for residual in residuals], dtype=bool)
    skip = np.where(by_tensor & np.isfinite(unscaled), unscaled, skip)
    for i, next_one in _behind_tensors(residuals):
        total[i], sum_gradient[i] = skip[next_one], skip_gradient[next_one]
    found: Columns = {
        Quantity.RESIDUAL_SKIP_VAR: skip,
        Quantity.RESIDUAL_BRANCH_VAR: branch,
        Quantity.RESIDUAL_SUM_VAR: total,
        Quantity.RESIDUAL_VARIANCE_RATIO: ratio(branch, skip),
        Quantity.RESIDUAL_GROWTH: ratio(total, skip),
        Quantity.RESIDUAL_COVARIANCE: covariance,
        # The covariance is a difference of variances: rounding may push the correlation beyond ±1.
        Quantity.RESIDUAL_CORRELATION: np.clip(ratio(covariance, spread), -1, 1),
        Quantity.RESIDUAL_SKIP_GRADIENT_VAR: skip_gradient,
        Quantity.RESIDUAL_BRANCH_GRADIENT_VAR: np.where(np.isnan(at_branch), at_sum, at_branch),
        Quantity.RESIDUAL_SUM_GRADIENT_VAR: sum_gradient,
        Quantity.RESIDUAL_BACKWARD_GROWTH: ratio(skip_gradient, sum_gradient),
    }
    return empty_columns(RESIDUAL_QUANTITIES, len(taps), found)


def rows_before_factors(taps: Sequence[ResidualTap], residuals: Sequence[Residual]) -> list[Rows]:
    """Return the rows of each skip as it was before a factor.

    Where αx enters, it is an intermediate with the gradient of the sum; x itself is the sum of the block before, or the
    output of the layer that made it.
    """
    by_name = {residual.name: tap for tap, residual in zip(taps, residuals, strict=True)}
    found = []
    for tap, residual in zip(taps, residuals, strict=True):
        rows = tap.skip if tap.before is None else tap.before
        if residual.skip_scale != 1.0 and tap.before is None:
            before, maker = by_name.get(residual.follows), tap.site.skip_maker
            nothing = Rows(rows.accumulator)
            rows = before.sum if before is not None else maker.rows if isinstance(maker, Tap) else nothing
        found.append(rows)
    return found


def _scales_before(residuals: Sequence[Residual]) -> Column:
    """Return the square by which the gradient of each skip before its factor was scaled with the sum that it is."""
    by_name = {residual.name: residual for residual in residuals}
    scales = np.ones(len(residuals))
    for i, residual in enumerate(residuals):
        before = by_name.get(residual.follows)
        if residual.skip_scale != 1.0 and before is not None:
            scales[i] = _square(before.sum_scale)
    return scales


def _behind_tensors(residuals: Sequence[Residual]) -> list[tuple[int, int]]:
    """Return the additions whose sum is multiplied by a tensor, each with the one that takes the product as its skip, as it is."""
    followed = {one.follows: i for i, one in enumerate(residuals) if one.follows and one.skip_scale == 1.0}
    return [
        (i, followed[one.name]) for i, one in enumerate(residuals) if math.isnan(one.sum_scale) and one.name in followed
    ]


def loss_decrease(residuals: Sequence[Residual], norms: Mapping[str, float], layers: Mapping[str, Layer]) -> Column:
    """Return ‖g‖² of every block: times the learning rate, what one SGD step takes off the loss, to first order.

    Source: Shao et al. 2020, Eq. 15.

    Args:
        residuals: in execution order.
        norms: ‖g‖ by qualified parameter name.
        layers: the structure's layers by tap name.
    """
    column = np.full(len(residuals), np.nan)
    for i, residual in enumerate(residuals):
        # Each once and in their order, which is the same in every process: the last digit of a sum depends on it.
        owned = dict.fromkeys(name for layer in residual.layers for name in layers[layer].parameters)
        squares = [norms[name] ** 2 for name in owned if not math.isnan(norms.get(name, math.nan))]
        if squares:
            column[i] = sum(squares)
    return column


def residuals_of(taps: Sequence[ResidualTap], names: Sequence[str], owners: Sequence[str]) -> tuple[Residual, ...]:
    """Describe the additions of a step in the words of the records.

    A block's layers are those of its owner that were called since its skip was made (by a layer, or by an addition in a
    module inside the owner), or since the owner's addition before it.

    Args:
        taps: in execution order.
        names: tap names of the layers, in execution order.
        owners: module path of each of them.
    """
    described = []
    begun: dict[str, int] = {}
    ended: dict[str, int] = {}
    for tap in taps:
        residual = tap.site.residual
        prefix = f"{residual.owner}." if residual.owner else ""
        since = begun.get(_call_of(residual.name), 0)
        makers = [i for i in range(since, tap.depth) if residual.skip and owners[i] == residual.skip]
        # What made the skip is not part of the block that starts from it (a stem in the same owner).
        if residual.kind == "identity":
            since = max(makers[-1] + 1 if makers else since, ended.get(residual.skip, 0))
        layers = tuple(
            name
            for name, owner in zip(names[since : tap.depth], owners[since : tap.depth], strict=True)
            if owner.startswith(prefix) or owner == residual.owner
        )
        begun[_call_of(residual.name)] = ended[residual.name] = tap.depth
        described.append(replace(residual, depth=tap.depth, layers=layers, dtype=tap.dtype))
    return tuple(described)


def _call_of(name: str) -> str:
    return name.rpartition("#")[0]


def _square(scale: float) -> float:
    return 1.0 if math.isnan(scale) or scale == 0 else scale * scale
