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
"""Steps at the end of a trial in which its loss has to stay below the first: what overshoots at first and comes back learns
(Lewkowycz et al. 2020)."""

RISE = 0.25
"""Part of the first loss by which those steps may be above it, since dropout and draws move a loss that has not yet fallen. With 134
plans (``make bench-plans``) they stayed below it but for two networks; half of the trainings of the worse one ended in NaN."""

FACTOR = 3.0
"""By how much each next trial is slower: the step of the rates that people try."""

MARGIN = 2.0
"""Factor on a rate at which the loss has to stay a number: the trial learns one batch by heart, and the gradients of others go on. Six
starving ReLU layers that were planned anew bear a rate of 0.05 in four of six draws of a trial, and one of these then ends in NaN."""

SLOWEST = 1e-2
"""Part of the rate below which no more is tried."""


class Rate(NamedTuple):
    """What the trials of a plan say about the learning rate.

    Attributes:
        given: the optimizer's, of its first group.
        fits: the largest that was tried whose trials, and those of twice of it, held; NaN where none did.
    """

    given: float
    fits: float

    def __str__(self) -> str:
        """Say it in a sentence."""
        too = f"From the new start a learning rate of {self.given:.3g}, which the network as it is bears, is too large or nearly so"
        then = f"train it with {self.fits:.2g}" if self.fits > 0 else "no smaller one that was tried was small enough"
        return f"{too}: {then} ({STEPS} steps of this batch were tried)."


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
    if trial.bears(plans, 1.0) or not trial.ended((), 1.0, draws=1).bears:
        return None
    if trial.ended(plans, 1.0).bears and not trial.ended((), MARGIN, draws=1).stays:
        return None  # that the rate has no margin is then nothing new
    part = 1 / FACTOR
    while part >= SLOWEST:
        if trial.bears(plans, part):
            return Rate(given, part * given)
        part /= FACTOR
    return Rate(given, math.nan)


class _Ended(NamedTuple):
    """How the trials of a rate ended.

    Attributes:
        stays: the loss was a number in all of them.
        bears: in none of them it ended above its first value.
    """

    stays: bool
    bears: bool


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

    def bears(self, plans: Sequence[LayerPlan], part: float) -> bool:
        """Say whether this part of the optimizer's rate suits the plans, and with a margin: other batches are no trial of it."""
        above = self.ended(plans, MARGIN * part)
        return above.bears or (above.stays and self.ended(plans, part).bears)

    def ended(self, plans: Sequence[LayerPlan], part: float, *, draws: int = DRAWS) -> _Ended:
        """Train some draws of the plans at this part of the optimizer's rate."""
        trainings = [self._losses(plans, part, TRIAL_SEED + draw) for draw in range(draws)]
        stays = all(math.isfinite(losses[-1]) for losses in trainings)
        rise = (
            max(max(losses[-LAST:]) - losses[0] - RISE * abs(losses[0]) for losses in trainings) if stays else math.inf
        )
        return _Ended(stays, rise <= 0)

    def _losses(self, plans: Sequence[LayerPlan], part: float, seed: int) -> list[float]:
        """Return the loss of each step, infinite from the first on that is no number."""
        losses: list[float] = []
        with carried_out(plans, self.model, seed), untouched(self.model), torch.enable_grad():
            self.model.train()
            anew = _made_anew(self.optimizer, part)
            for _ in range(STEPS):
                anew.zero_grad()
                output, target = forward(self.model, self.batch)
                loss = loss_of(output, target, self.loss_fn, "recommend(model, batch)")
                losses.append(float(loss.detach()))
                if not math.isfinite(losses[-1]):
                    return [*losses[:-1], *[math.inf] * (STEPS - len(losses) + 1)]
                loss.backward()
                anew.step()
        return losses
