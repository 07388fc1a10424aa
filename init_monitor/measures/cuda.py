"""Accelerators: few launches for many elements. What is read there is read by the kernel that works everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.measures.scratch import Sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.measures.kernel import Kernel

ACCELERATOR_BLOCK = 1 << 22
"""Elements at once: few launches per tensor, and their counts are still exact in float32."""

SIZES = Sizes(ACCELERATOR_BLOCK, ACCELERATOR_BLOCK, ACCELERATOR_BLOCK, ACCELERATOR_BLOCK)

KERNELS: Sequence[Kernel] = ()
"""Kernels that only run here, in the order in which they are asked."""
