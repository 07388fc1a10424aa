"""What a layer needs whose outputs are summed before the next layer, which no recipe sees."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from init_monitor.analysis.summed_inputs import summed_inputs

if TYPE_CHECKING:
    from collections.abc import Sequence, Set as AbstractSet

    from init_monitor.records import StepRecord, Structure
    from init_monitor.records.plan import LayerPlan


def divided(
    plans: Sequence[LayerPlan], chosen: AbstractSet[str], record: StepRecord, structure: Structure
) -> tuple[LayerPlan, ...]:
    """Return the plans with the weights before a sum divided by the fourth root of its mean square.

    The sum multiplies the signal forward, its gradient is copied to each element: the mean of what either direction asks for is taken,
    as in Glorot & Bengio 2010, Eq. 12.

    Args:
        plans: of all layers.
        chosen: paths of the modules that are initialised.
        record: of the network with those initialised.
        structure: the network.
    """
    sums = {before.module: received for before, received in summed_inputs(record, structure).values()}
    return tuple(_divided(plan, sums[plan.layer]) if plan.layer in chosen & sums.keys() else plan for plan in plans)


def _divided(plan: LayerPlan, received: float) -> LayerPlan:
    if plan.recipe != "xavier_normal_":
        return plan
    gain = float(f"{received**-0.25:.2g}")
    reason = f"{plan.reason} What it gives is summed: the next layer would receive a mean square of {received:.2g}."
    return replace(
        plan,
        options={**plan.options, "gain": gain},
        target_variance=plan.target_variance * gain**2,
        reason=reason,
    )
