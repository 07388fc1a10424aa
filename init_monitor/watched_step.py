"""One optimizer step of a watched loop, as the loop sees it: it takes the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from init_monitor.torch_compat import unseen

if TYPE_CHECKING:
    from torch import Tensor

    from init_monitor.monitor import Monitor


class WatchedStep:
    """One optimizer step of a watched loop; made by :meth:`Watch.step`."""

    __slots__ = ("_monitor", "_value", "mean", "told")

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._value: Tensor | float | None = None
        self.told = self.mean = False
        """An adapter tells the losses of the micro-batches, and the step's is their mean."""

    @property
    def loss(self) -> Tensor | float | None:
        """The step's training loss: a tensor of one element, which stays on its device, or a number.

        Assign it if the monitor is to know the loss of every step: ``step.loss = loss``. Without it the tensors that
        ``backward()`` is called on in sampled steps are taken. The last assignment in a step counts.
        """
        return self._value

    @loss.setter
    def loss(self, value: Tensor | float | None) -> None:
        self._value = value
        if value is not None:
            with unseen():
                self._monitor.set_loss(value.detach() if isinstance(value, torch.Tensor) else value)
