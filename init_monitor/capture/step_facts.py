"""What the training loop knows about a step and the tensors do not show."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from init_monitor.records import LossStretch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch.optim import Optimizer


class StepFacts(NamedTuple):
    """Of one optimizer step.

    Attributes:
        step: from 0.
        optimizer: class names of those that stepped, with commas.
        learning_rate: the largest of their parameter groups; NaN if unknown.
        initial_rate: likewise, of the rates that a schedule multiplies; NaN where there is none.
        weight_decay: likewise, the largest.
        momentum: likewise, the largest: of SGD, or the first of Adam's betas.
        second_momentum: the smallest of Adam's second betas; NaN if there is none.
        loss_scaled: a gradient scaler is at work.
        optimizers: all of the training, whether they stepped or not.
        losses: of the steps since the record before, this one included.
        loss_by_optimizer: the parts of this step's loss, where several optimizers step by hand.
        batches_waited: batches since the start of the run without a step of any optimizer, where it is ended for that.
    """

    step: int
    optimizer: str = ""
    learning_rate: float = math.nan
    initial_rate: float = math.nan
    weight_decay: float = math.nan
    momentum: float = math.nan
    second_momentum: float = math.nan
    loss_scaled: bool = False
    optimizers: tuple[Optimizer, ...] = ()
    losses: LossStretch = LossStretch()
    loss_by_optimizer: Mapping[str, float] = MappingProxyType({})
    batches_waited: int = 0

    def of_optimizers(self) -> dict[str, Any]:
        """Return what is known of those that stepped, by the names that it has in a record."""
        return {
            "optimizer": self.optimizer,
            "learning_rate": self.learning_rate,
            "initial_rate": self.initial_rate,
            "weight_decay": self.weight_decay,
            "momentum": self.momentum,
            "second_momentum": self.second_momentum,
        }

    def with_optimizer(self, optimizer: Optimizer) -> StepFacts:
        """Return them with another optimizer that is about to step."""
        name = type(optimizer).__name__
        names = [n for n in self.optimizer.split(", ") if n]
        groups = optimizer.param_groups
        return self._replace(
            optimizer=", ".join(names if name in names else [*names, name]),
            learning_rate=_largest(self.learning_rate, [group.get("lr") for group in groups]),
            initial_rate=_largest(self.initial_rate, [group.get("initial_lr") for group in groups]),
            weight_decay=_largest(self.weight_decay, [group.get("weight_decay") for group in groups]),
            momentum=_largest(self.momentum, [_momentum(group) for group in groups]),
            second_momentum=-_largest(-self.second_momentum, map(_second_momentum, groups)),
        )


def _momentum(group: Mapping[str, object]) -> object:
    betas = group.get("betas")
    return group.get("momentum", betas[0] if isinstance(betas, (tuple, list)) and betas else None)


def _second_momentum(group: Mapping[str, object]) -> float:
    """Return what the second of two betas is, with a minus, so that the largest of them is the smallest beta."""
    match group.get("betas"):
        case [float(), float(second)]:
            return -second
    return math.nan


def _largest(known: float, given: Iterable[object]) -> float:
    """Return the largest of the numbers; one that lives on a device would cost a host sync to read and is left out."""
    numbers = [float(one) for one in (known, *given) if isinstance(one, (int, float)) and not math.isnan(one)]
    return max(numbers, default=math.nan)
