"""Which learning rate a plan can be trained with: a few steps of the user's own optimizer from the planned start, tried and undone."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from torch.optim import Optimizer

from init_monitor.capture.single_pass import forward, loss_of, untouched
from init_monitor.errors import InitMonitorWarning, OptionError
from init_monitor.measured_plan import DRAWS, TRIAL_SEED, carried_out

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from init_monitor.records.plan import LayerPlan

STEPS = 50
"""Steps of a trial: gradient descent beyond 2 / sharpness multiplies what it overshoots by in every one of them (Cohen et al. 2021)."""

LAST = 10
"""Steps at the end of a trial within which its loss has to come back to the first: what overshoots at first and comes back learns
(Lewkowycz et al. 2020)."""

FACTOR = 3.0
"""By how much each next trial is slower: the step of the rates that people try."""

SLOWEST = 1e-2
"""Part of the rate below which no more is tried."""


class Rate(NamedTuple):
    """What the trials of a plan say about the learning rate.

    Attributes:
        given: the optimizer's, of its first group.
        fits: the largest one that was tried and that no trial came apart with; NaN where none was.
    """

    given: float
    fits: float

    def __str__(self) -> str:
        """Say it in a sentence."""
        came = f"From the new start {STEPS} steps of this batch came apart at a learning rate of {self.given:.3g}, which the network as it is bears"
        return (
            f"{came}: {f'train it with {self.fits:.2g}.' if self.fits > 0 else 'none that was tried is small enough.'}"
        )


def tried(
    model: nn.Module,
    batch: Any,  # noqa: ANN401 - whatever the model takes
    loss_fn: Callable[..., Tensor] | None,
    plans: Sequence[LayerPlan],
    optimizer: Optimizer,
) -> Rate | None:
    """Return the rate that a plan needs if the optimizer's own is too large for it; ``None`` if it is not, or as much without the plan.

    Weights, gradients, buffers, random state and the optimizer are what they were before.

    Raises:
        OptionError: the optimizer is none, or holds no parameter of the model.
    """
    _check(optimizer, model)
    try:
        _made_anew(optimizer, 1.0)
    except Exception as error:  # noqa: BLE001 - an optimizer that is not made as torch's are may raise anything
        name = type(optimizer).__name__
        message = (
            f"init_monitor: no learning rate was tried, {name} cannot be made anew: {type(error).__name__}: {error}"
        )
        warnings.warn(message, InitMonitorWarning, stacklevel=4)
        return None
    trial = _Trial(model, batch, loss_fn, optimizer)
    given = float(optimizer.param_groups[0]["lr"])
    if trial.bears(plans, 1.0) or not trial.bears((), 1.0, draws=1):
        return None
    part = 1 / FACTOR
    while part >= SLOWEST:
        if trial.bears(plans, part):
            return Rate(given, part * given)
        part /= FACTOR
    return Rate(given, math.nan)


def _made_anew(optimizer: Optimizer, part: float) -> Optimizer:
    """Return an optimizer of the same kind and options over the same parameters, with a part of the rate and no memory."""
    make: Any = type(optimizer)
    anew: Optimizer = make([{**group, "lr": part * group["lr"]} for group in optimizer.param_groups])
    return anew


def _check(optimizer: object, model: nn.Module) -> None:
    if not isinstance(optimizer, Optimizer):
        message = f"recommend(optimizer=…) takes a torch.optim.Optimizer, got {type(optimizer).__name__}."
        raise OptionError(message)
    own = set(model.parameters())
    if not any(p in own for group in optimizer.param_groups for p in group["params"]):
        message = "recommend(optimizer=…) holds no parameter of the model: make it of model.parameters(), once the model is complete."
        raise OptionError(message)


class _Trial(NamedTuple):
    """What is trained for a few steps, and put back."""

    model: nn.Module
    batch: Any
    loss_fn: Callable[..., Tensor] | None
    optimizer: Optimizer

    def bears(self, plans: Sequence[LayerPlan], part: float, *, draws: int = DRAWS) -> bool:
        """Say whether no draw of the plans comes apart at this part of the optimizer's rate."""
        return all(self._stays(plans, part, TRIAL_SEED + draw) for draw in range(draws))

    def _stays(self, plans: Sequence[LayerPlan], part: float, seed: int) -> bool:
        with carried_out(plans, self.model, seed), untouched(self.model), torch.enable_grad():
            self.model.train()
            anew = _made_anew(self.optimizer, part)
            losses: list[float] = []
            for _ in range(STEPS):
                anew.zero_grad()
                output, target = forward(self.model, self.batch)
                loss = loss_of(output, target, self.loss_fn, "recommend(model, batch)")
                losses.append(float(loss.detach()))
                if not math.isfinite(losses[-1]):
                    return False
                loss.backward()
                anew.step()
        return min(losses[-LAST:]) <= losses[0]
