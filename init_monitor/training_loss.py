"""The training loss of a run: what each step's was, and whether the next step has to be looked at because of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from init_monitor.capture.losses import LossMeter, averaged
from init_monitor.records import LossCurve, LossStretch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor


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
        """Losses noted in the present step."""
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
        """Forget what was noted in a step that is given up."""
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

    def keep(self, given: Sequence[LossStretch]) -> LossStretch:
        """Keep the losses of all processes since the last reading, and return those of the whole batch."""
        together = averaged(given) if len(given) > 1 else given[0]
        self.curve.add(together)
        self.by_optimizer = self._meter.by_optimizer
        if len(together):
            self._finite = math.isfinite(float(together.values[-1]))
        return together

    def keep_rest(self) -> LossStretch:
        """Keep what is left at the end of a training; this may wait for the device."""
        return self.keep([self._meter.read_now()])
