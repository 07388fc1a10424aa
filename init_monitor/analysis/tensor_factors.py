"""Factors on a residual stream that are tensors (a parameter, a buffer): how large they are, by what was measured around them.

The forward that was probed shows that a skip, a sum or a branch is multiplied by a tensor, and reading its elements would wait
for the device. The variances before and behind it are measured anyway, and their quotient is the mean square of its elements.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from init_monitor.records import Role
from init_monitor.records.once import once
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from init_monitor.records import Residual, StepRecord, Structure


@once
def with_known_factors(record: StepRecord, structure: Structure) -> Mapping[str, Residual]:
    """Return the additions that have a tensor for a factor, by name, with its root mean square in the place of NaN.

    What cannot be told stays NaN: two tensors in a row, and one below 1 where an activation lies on the stream, which makes the
    variance smaller as well.
    """
    scaled = [one for one in structure.residuals if has_tensor(one)]
    if not scaled:
        return {}
    where = record.residual_table.index
    skip, branch, total, covariance = (
        record.column(quantity)
        for quantity in (
            Quantity.RESIDUAL_SKIP_VAR,
            Quantity.RESIDUAL_BRANCH_VAR,
            Quantity.RESIDUAL_SUM_VAR,
            Quantity.RESIDUAL_COVARIANCE,
        )
    )
    activated = {one.name for one in structure.residuals if _is_activated(one, structure)}
    found = {}
    for one in scaled:
        i = where.get(one.name)
        if i is None:
            continue
        # Var(αx + F) = α² Var(x) + Var(F) + 2 Cov(αx, F), and the sum is multiplied by s after that.
        both = float(branch[i] + 2 * covariance[i])
        known = one
        if math.isnan(one.skip_scale) and not math.isnan(one.sum_scale):
            square = one.sum_scale**2 or 1.0
            known = replace(
                known,
                skip_scale=_root(float(total[i]) / square - both, float(skip[i]), activated=one.follows in activated),
            )
        elif math.isnan(one.sum_scale) and not math.isnan(one.skip_scale):
            plain = one.skip_scale**2 * float(skip[i]) + both
            known = replace(known, sum_scale=_root(float(total[i]), plain, activated=one.name in activated))
        if math.isnan(one.branch_scale):
            known = replace(known, branch_scale=_root(float(branch[i]), _made(one, record, structure)))
        found[one.name] = known
    return found


def has_tensor(residual: Residual) -> bool:
    """Say whether the sum, the skip or the branch of an addition is multiplied by a tensor."""
    return any(math.isnan(factor) for factor in (residual.sum_scale, residual.skip_scale, residual.branch_scale))


def _root(after: float, before: float, *, activated: bool = False) -> float:
    """Return the root mean square of a factor from the variances behind and before it; NaN where it cannot be told."""
    if not (before > 0 and 0 < after < math.inf):
        return math.nan
    factor = math.sqrt(after / before)
    return math.nan if activated and factor < 1 else factor


def _is_activated(residual: Residual, structure: Structure) -> bool:
    """Say whether an activation is what ran next after an addition: on the stream, or as the first of the next branch."""
    behind = structure.layers[residual.depth : residual.depth + 1]
    return any(layer.role is Role.ACTIVATION for layer in behind)


def _made(residual: Residual, record: StepRecord, structure: Structure) -> float:
    """Return the variance of what the last layer of a branch made; NaN if it is not known."""
    known = structure.by_name()
    made = [name for name in residual.layers if name in known and known[name].module == residual.branch]
    return record.layer_table.at(made[-1], Quantity.VARIANCE) if made else math.nan
