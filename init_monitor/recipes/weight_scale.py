"""Weights so far from every initialisation in use that no update of a usual size suits them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import nn

from init_monitor.analysis.start_faults import FAR, StartFault
from init_monitor.recipes.embedding import TABLES
from init_monitor.recipes.planned_weight import fans_of, variance_of
from init_monitor.records.plan import Place
from init_monitor.structure.layers import modules_by_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from init_monitor.records.plan import LayerPlan

LARGE = math.log(30.0)
"""A variance from this factor above the largest usual one on is far off: its rms is 5 times too large. No initialisation in use starts there:
the largest gain in use, a sigmoid's, is 3.4 times He's."""

SMALL = math.log(1000.0)
"""The same below the smallest usual one; N(0, 0.01²) and N(0, 0.02²), which are in use, are up to 100 times below it in
narrow layers, and a small weight is soon made larger."""


def far_weights(plans: Iterable[LayerPlan], model: nn.Module) -> Iterator[StartFault]:
    """Return the weights whose variance is far from both PyTorch's own and the textbook's.

    Args:
        plans: the textbook's.
        model: the network; only read.
    """
    modules = modules_by_name(model)
    for plan in plans:
        module = modules[plan.layer]
        usual = [v for v in (plan.target_variance, default_variance(module)) if v > 0]
        now = plan.current_variance
        if not plan.recipe or not usual or not now > 0:
            continue  # whether zeros are a fault is not a matter of scale
        if plan.place is Place.RECURRENT:
            # Input and recurrent weights are judged separately; the one that is further off counts.
            held = [
                variance_of(w, module) for n, w in module.named_parameters(recurse=False) if n.startswith("weight_")
            ]
            now = max((v for v in held if v > 0), key=lambda v: abs(math.log(v / max(usual))), default=now)
        above, below = math.log(now / max(usual)), math.log(min(usual) / now)
        if above > LARGE:
            says = f"its weights have {now / max(usual):.2g} times the variance of the largest usual start"
            yield StartFault("weight", (plan.layer,), above + FAR - LARGE, says)
        elif below > SMALL:
            says = f"its weights have 1/{min(usual) / now:.2g} of the variance of the smallest usual start"
            yield StartFault("weight", (plan.layer,), below + FAR - SMALL, says)


def default_variance(module: nn.Module) -> float:
    """Return Var(W) that torch itself gives a layer; NaN for one that has no such number.

    ``kaiming_uniform_`` with a = sqrt(5), as linear layers and convolutions have it, gives 1/(3 fan_in).
    """
    if isinstance(module, TABLES):
        return 1.0
    fans = fans_of(module)
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        return 1.0 / (3.0 * fans.backward) if fans.backward else math.nan
    if isinstance(module, nn.MultiheadAttention):
        return 2.0 / (fans.forward + fans.backward)
    return 1.0 / (3.0 * fans.forward) if fans.forward else math.nan
