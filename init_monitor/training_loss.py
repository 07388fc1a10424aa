"""The training loss of a run: what each step's was, and whether the next step has to be looked at because of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from init_monitor.capture.losses import LossMeter
from init_monitor.records import LossCurve, LossStretch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor


MOST_SAVED = 1024
"""Losses that a checkpoint holds at most, so that it does not grow with the training."""


class TrainingLoss:
    """Collects the loss of every optimizer step, and keeps it.

    Attributes:
        curve: what is known on the host: everything up to the last record.
        by_optimizer: the parts of the last step that was read, by optimizer, where several step by hand.
    """

    def __init__(self) -> None:
        self.curve = LossCurve()
        self.by_optimizer: Mapping[str, float] = {}
        self._meter = LossMeter()
        self._finite = True

    @property
    def noted(self) -> int:
        """Losses noted in the current step."""
        return self._meter.noted

    def note(self, loss: object, factor: float | Tensor = 1.0) -> None:
        """Add a loss that went backward in the present step; ``loss · factor`` is its part of the step's loss."""
        self._meter.note(loss, factor)

    def replace(self, loss: object) -> None:
        """Take ``loss`` as that of the current step, whatever was noted before."""
        self._meter.replace(loss)

    def assign(self, optimizer: object) -> None:
        """Say whose losses those since the last call were."""
        self._meter.assign(optimizer)

    def end_step(self, step: int, *, mean: bool = False) -> None:
        """End an optimizer step; its loss is the sum of what was noted, or the mean."""
        self._meter.end_step(step, mean=mean)

    def forget_step(self) -> None:
        """Forget what was noted in a step that is abandoned."""
        self._meter.forget_step()

    def has_turned(self) -> bool:
        """Say, once, that the loss is not finite any more: the step that follows has to be looked at."""
        return self._finite and self._meter.has_turned()

    def waiting(self) -> Tensor | None:
        """Return what waits on a device to be copied with other numbers, ``[n]``; ``None`` if nothing does."""
        return self._meter.waiting()

    def read(self, waited: Sequence[float] = ()) -> LossStretch:
        """Return the losses of this process since the last reading, given those that waited."""
        return self._meter.read(waited)

    def keep(self, losses: LossStretch) -> LossStretch:
        """Keep the losses since the last reading: those of the whole batch, if there are several processes."""
        self.curve.add(losses)
        self.by_optimizer = self._meter.by_optimizer
        if len(losses):
            self._finite = math.isfinite(float(losses.values[-1]))
        return losses

    def saved(self) -> list[tuple[int, float]]:
        """Return what is known, as (step, loss): all of it, or every so many steps and the newest."""
        steps, values = self.curve.steps.tolist(), self.curve.values.tolist()
        return list(zip(steps, values, strict=True))[-1 :: -max(1, -(-len(steps) // MOST_SAVED))][::-1]

    def resume(self, losses: Sequence[tuple[int, float]]) -> None:
        """Go on from what :meth:`saved` returned."""
        self.curve.add(LossStretch.of(losses))

    def keep_rest(self) -> LossStretch:
        """Keep what is left at the end of a training; this may wait for the device."""
        return self.keep(self._meter.read_now())
