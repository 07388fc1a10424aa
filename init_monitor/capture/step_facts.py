"""What the training loop knows about a step and the tensors do not say."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from init_monitor.records import LossStretch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch.optim import Optimizer


class StepFacts(NamedTuple):
    """Of one optimizer step.

    Attributes:
        step: from 0.
        optimizer: class names of those that stepped, with commas.
        learning_rate: the largest of their parameter groups; NaN if unknown.
        loss_scaled: a gradient scaler is at work.
        optimizers: all of the training, whether they stepped or not.
        losses: of the steps since the record before, this one included.
        loss_by_optimizer: the parts of this step's loss, where several optimizers step by hand.
    """

    step: int
    optimizer: str = ""
    learning_rate: float = math.nan
    loss_scaled: bool = False
    optimizers: tuple[Optimizer, ...] = ()
    losses: LossStretch = LossStretch()
    loss_by_optimizer: Mapping[str, float] = MappingProxyType({})

    def with_optimizer(self, optimizer: Optimizer) -> StepFacts:
        """Return them with another optimizer that is about to step."""
        name = type(optimizer).__name__
        names = [n for n in self.optimizer.split(", ") if n]
        # A rate that lives on the device would cost a host sync to read.
        given = [group["lr"] for group in optimizer.param_groups if isinstance(group.get("lr"), (int, float))]
        rates = [rate for rate in (self.learning_rate, *given) if not math.isnan(rate)]
        return self._replace(
            optimizer=", ".join(names if name in names else [*names, name]),
            learning_rate=max(rates, default=math.nan),
        )
