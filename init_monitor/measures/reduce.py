"""The one way in: tensors on any device, reduced there by the first kernel that says it can.

A kernel is a module here that declares what it takes. It is asked in the order of :data:`KERNELS`; the last one takes
everything. A new kernel for a device goes into that device's module, and nothing else has to know of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.measures import cpu, cuda
from init_monitor.measures.eager import Eager
from init_monitor.measures.partials import MOMENTS, Partials, Reduction
from init_monitor.measures.scratch import Scratch, Sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import Tensor

    from init_monitor.measures.kernel import Kernel

KERNELS: Sequence[Kernel] = (*cuda.KERNELS, *cpu.KERNELS, Eager())
"""In the order in which they are asked."""


def reduce(block: Tensor, plan: Reduction = MOMENTS, scratch: Scratch | None = None) -> Partials:
    """Reduce each of ``G`` stacked tensors, on their device and without a wait for it.

    Args:
        block: ``[G, ...]``, floating; narrower formats than float32 are widened.
        plan: what to reduce besides the moments.
        scratch: memory to work in; a single large tensor is read in pieces that suit it. Without it, all at once.
    """
    room = Scratch(block.device) if scratch is None else scratch
    # The imaginary part of a conjugate is negative by name only: who reads memory would not see it.
    block = block.resolve_neg()
    # The last kernel takes everything.
    kernel = next(kernel for kernel in KERNELS if kernel.applies(block, plan))
    return kernel.reduce(block, plan, room)


def sizes_for(device: torch.device) -> Sizes:
    """Return how much to work on at once on a device."""
    return cpu.SIZES if device.type == "cpu" else cuda.SIZES
