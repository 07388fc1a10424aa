"""Two residual blocks, the first of which adds as little as asked for, and the rule that judges it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from builders import chain, record

from init_monitor.records import Finding, History, Structure
from init_monitor.records.quantities import Quantity
from init_monitor.rules import SilentBranch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def quiet(past: History) -> list[Finding]:
    """Return what IM402 finds."""
    return list(SilentBranch().judge(past))


DENSE = tuple(range(10))


SAMPLED = (*DENSE, 50, 100)
"""The steps a Trainer with the default options has sampled after step 100."""


def silent(
    ratios: Sequence[float] | float = 0.0,
    steps: Sequence[int] = SAMPLED,
    *,
    structure: Structure | None = None,
    gradient: object = 1.0,
    update: object = 1e-3,
    columns: Mapping[Quantity, object] | None = None,
    stepped: bool = True,
) -> History:
    """Return a window in which the first of two blocks has these ratios, and the second is loud."""
    structure = structure or chain(2)
    records = []
    for i, step in enumerate(steps):
        ratio = ratios if isinstance(ratios, float) else ratios[i]
        made: dict[Quantity, object] = {
            Quantity.RESIDUAL_VARIANCE_RATIO: [ratio, 1.0],
            Quantity.RESIDUAL_BRANCH_GRADIENT_VAR: 1.0,
            Quantity.WEIGHT_NORM: 1.0,
            Quantity.WEIGHT_GRADIENT_NORM: gradient,
            Quantity.UPDATE_RATIO: update,
            **(columns or {}),
        }
        records.append(record(structure, made, step=step, stepped=stepped))
    return History(records, structure)


NO_GRADIENT = (0.0, 0.0, 1.0, 1.0)
"""Of the four weights of two blocks: the first block's get none."""
