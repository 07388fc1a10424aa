"""Weights so far from every initialisation in use that no update of a usual size suits them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from torch import nn

from init_monitor.analysis.start_faults import FAR, StartFault
from init_monitor.recipes.embedding import TABLES
from init_monitor.recipes.planned_weight import fans_of, variance_of
from init_monitor.records.layer import INPUT
from init_monitor.records.plan import Place
from init_monitor.structure.layers import modules_by_name

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from init_monitor.records import Structure
    from init_monitor.records.plan import LayerPlan

LARGE = math.log(30.0)
"""A variance from this factor above the largest usual one on is far off: its rms is 5 times too large. No initialisation in use starts there:
the largest gain in use, a sigmoid's, is 3.4 times He's."""

SMALL = math.log(1000.0)
"""The same below the smallest usual one; N(0, 0.01²) and N(0, 0.02²), which are in use, are up to 100 times below it in
narrow layers, and a small weight is soon made larger."""


def far_weights(plans: Iterable[LayerPlan], model: nn.Module, ends: Container[str] = ()) -> Iterator[StartFault]:
    """Return the weights whose variance is far from both PyTorch's own and the textbook's.

    Args:
        plans: the textbook's.
        model: the network; only read.
        ends: paths of the output layers. Where they alone are small, that was set on purpose.
    """
    found = list(_far_weights(plans, model))
    small = [fault for fault in found if fault.says.endswith(_BELOW)]
    if all(module in ends for fault in small for module in fault.modules):
        found = [fault for fault in found if fault not in small]
    yield from found


def _far_weights(plans: Iterable[LayerPlan], model: nn.Module) -> Iterator[StartFault]:
    modules = modules_by_name(model)
    plans = tuple(plans)
    yield from _drowned(plans)
    for plan in plans:
        if not plan.recipe:
            continue
        looked = (
            _recurrent(plan, modules[plan.layer])
            if plan.place is Place.RECURRENT
            else [_plain(plan, modules[plan.layer])]
        )
        if any(one.constant for one in looked):
            yield StartFault("constant", (plan.layer,), math.inf, "all numbers of a weight of it are the same")
            continue
        known = [one for one in looked if one.now > 0 and one.usual]
        if not known:
            continue  # whether zeros are a fault is not a matter of scale
        # What is read and what is remembered are weighed apart; the one that is further off counts.
        now, usual = max(known, key=lambda one: max(one.now / max(one.usual), min(one.usual) / one.now))[:2]
        above, below = math.log(now / max(usual)), math.log(min(usual) / now)
        if above > LARGE:
            says = f"its weights have {now / max(usual):.2g} times the variance of the largest usual start"
            yield StartFault("weight", (plan.layer,), above + FAR - LARGE, says)
        elif below > SMALL:
            says = f"its weights have 1/{min(usual) / now:.2g} {_BELOW}"
            yield StartFault("weight", (plan.layer,), below + FAR - SMALL, says)


def _drowned(plans: Iterable[LayerPlan]) -> Iterator[StartFault]:
    """An embedding beside which another is so much larger that nothing is left of it where they are added."""
    tables = [plan for plan in plans if plan.place is Place.EMBEDDING and plan.recipe and plan.current_variance > 0]
    largest = max(tables, key=lambda plan: plan.current_variance, default=None)
    for plan in tables:
        ratio = 1.0 if largest is None else largest.current_variance / plan.current_variance
        if largest is not None and math.log(ratio) > SMALL:
            says = f"its rows have 1/{ratio:.2g} of the variance of those of {largest.layer}"
            yield StartFault("weight", (plan.layer,), math.log(ratio) + FAR - SMALL, says)


_BELOW = "of the variance of the smallest usual start"


class _Spread(NamedTuple):
    """The variance of one weight, those that it usually starts with, and whether it is one number other than 0."""

    now: float
    usual: tuple[float, ...]
    constant: bool = False


def _plain(plan: LayerPlan, module: nn.Module) -> _Spread:
    usual = tuple(v for v in (plan.target_variance, default_variance(module)) if v > 0)
    return _Spread(plan.current_variance, usual)


def _recurrent(plan: LayerPlan, module: nn.Module) -> list[_Spread]:
    """Return every weight of a recurrent layer: what reads by Xavier's variance, what remembers by an orthogonal one's."""
    own = default_variance(module)
    found = []
    for name, weight in module.named_parameters(recurse=False):
        if name.startswith("weight_"):
            width = weight.shape[1]
            usual = plan.target_variance if name.startswith("weight_ih") else 1.0 / width
            now = variance_of(weight, module)
            constant = now == 0 and bool(weight.detach().any())
            found.append(_Spread(now, tuple(v for v in (usual, own) if v > 0), constant))
    return found


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


def usual_firsts(plans: Sequence[LayerPlan], structure: Structure) -> frozenset[str]:
    """Return the paths of the modules that read the data and whose weights are within ten times of their plan's variance, either way.

    Args:
        plans: of all layers.
        structure: the network.
    """
    firsts = {layer.module for layer in structure.layers if INPUT in layer.inputs}
    return frozenset(
        plan.layer
        for plan in plans
        if plan.layer in firsts
        and plan.current_variance > 0 < plan.target_variance
        and abs(math.log(plan.current_variance / plan.target_variance)) <= FAR / 2
    )
