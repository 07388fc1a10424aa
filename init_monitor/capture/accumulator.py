"""The device side of a sampled step: tensors come in from hooks, one packed copy goes out to the host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from init_monitor.capture.stacked import Stacked
from init_monitor.capture.straight import Straight
from init_monitor.measures import MOMENTS, Reduction, native

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import Tensor

    from init_monitor.capture.drained import Drained


class Accumulator(Protocol):
    """Collects the tensors of one device over the micro-batches of one optimizer step.

    Attributes:
        device: whose tensors it takes.
        rows: how many rows there are.
    """

    device: torch.device
    rows: int

    def new_row(self) -> int:
        """Return the number of a row that nothing has been added to."""

    def take(
        self, row: int, tensor: Tensor, plan: Reduction = MOMENTS, *, gradient: bool = False, lasting: bool = False
    ) -> None:
        """Add a floating tensor to a row. Only its values at this moment count; nothing of it is kept alive.

        Args:
            row: from :meth:`new_row`.
            tensor: of any shape.
            plan: what to reduce of it besides its moments.
            gradient: its numbers get the factor that :meth:`end_batch` is given.
            lasting: nobody writes to it any more: a small one may be kept as it is until it is reduced.
        """

    def take_each(self, rows: Sequence[int], sizes: Sequence[int], together: Tensor, plan: Reduction = MOMENTS) -> None:
        """Add the pieces of a flat tensor to a row each. Nobody writes to it any more.

        Args:
            rows: from :meth:`new_row`.
            sizes: of the pieces.
            together: ``[sum of the sizes]``, on this device.
            plan: what to reduce of them besides their moments; without a layout.
        """

    def add(self, rows: Sequence[int], partials: Tensor) -> None:
        """Add to rows what was reduced already.

        Args:
            rows: from :meth:`new_row`, each once.
            partials: ``[len(rows), WIDTH]``, on this device.
        """

    def end_batch(self, gradient_factor: float | Tensor = 1.0) -> None:
        """Merge what this micro-batch brought into the step's rows; gradients are multiplied by the factor."""

    def drain(self, also: Tensor | None = None, flags: Tensor | None = None) -> Drained:
        """Copy everything to the host, once, and start over; numbers and truth values of the same device travel along."""

    def discard(self) -> None:
        """Forget everything that was added since the last drain."""


def accumulator_of(device: torch.device, *, exact: bool) -> Accumulator:
    """Return an accumulator for a device; ``exact=False`` has it keep a strided sample of every tensor."""
    if device.type == "cpu" and native.library() is not None:
        return Straight(device, exact=exact)
    return Stacked(device, exact=exact)
