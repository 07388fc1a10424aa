"""What a kernel is: one way to reduce tensors, which says itself what it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from init_monitor.measures.partials import Partials, Reduction
    from init_monitor.measures.scratch import Scratch


class Kernel(Protocol):
    """One way to reduce tensors."""

    def applies(self, block: Tensor, plan: Reduction) -> bool:
        """Say whether this kernel can reduce such tensors, without waiting for their device."""

    def reduce(self, block: Tensor, plan: Reduction, scratch: Scratch) -> Partials:
        """Reduce them; what it is to give is said at :class:`Partials`."""
