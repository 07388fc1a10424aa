"""Tensor in, moments out: every reduction the monitor makes, on the tensor's own device, without a host sync.

A *block* is a stack of ``G`` tensors of one shape, ``[G, ...]``; :func:`reduce` turns it into *partial rows*. Rows of any
origin (pieces of one tensor, micro-batches, ranks) are combined by :func:`merge`; :func:`finalise` turns merged rows into
the numbers of a record. :func:`moments` is all of it in one call.
"""

from init_monitor.measures.finalise import finalise, moments
from init_monitor.measures.kernel import Kernel
from init_monitor.measures.merge import merge, rescale
from init_monitor.measures.partials import (
    COUNT,
    HIGH,
    LOW,
    M2,
    MEAN,
    MOMENTS,
    MOMENTS_ONLY,
    NONFINITE,
    SATURATED,
    WIDTH,
    ZEROS,
    Knee,
    Layout,
    Partials,
    Reduction,
    UnitSums,
    wide_dtype,
    working_dtype,
)
from init_monitor.measures.reduce import KERNELS, reduce, sizes_for
from init_monitor.measures.scratch import Scratch, Sizes
from init_monitor.measures.units import between_sample_share, between_sample_shares, position_shares

__all__ = [
    "COUNT",
    "HIGH",
    "KERNELS",
    "LOW",
    "M2",
    "MEAN",
    "MOMENTS",
    "MOMENTS_ONLY",
    "NONFINITE",
    "SATURATED",
    "WIDTH",
    "ZEROS",
    "Kernel",
    "Knee",
    "Layout",
    "Partials",
    "Reduction",
    "Scratch",
    "Sizes",
    "UnitSums",
    "between_sample_share",
    "between_sample_shares",
    "finalise",
    "merge",
    "moments",
    "position_shares",
    "reduce",
    "rescale",
    "sizes_for",
    "wide_dtype",
    "working_dtype",
]
