"""How many terms each output, and each input gradient, of a layer sums."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeGuard

_Conv = nn.modules.conv._ConvNd  # noqa: SLF001 - the one common base of all convolutions
_ConvTranspose = nn.modules.conv._ConvTransposeNd  # noqa: SLF001

_MATRIX = 2


def is_matrix(shape: Sequence[int]) -> bool:
    """Return True for the shape of a weight that mixes units: (C, 1, 1) is a vector, (1, C) may have one output."""
    return len(shape) == _MATRIX or sum(size > 1 for size in shape) >= _MATRIX


def mixes_as_kernel(shape: Sequence[int]) -> bool:
    """Return True for the shape of a convolution's weight that mixes units or positions: (1, 1, 3) does, (C, 1, 1) not."""
    return is_matrix(shape) or (len(shape) > _MATRIX and math.prod(shape[_MATRIX:]) > 1)


class Fans(NamedTuple):
    """How many terms each output and each input gradient of a layer sums; 0 where that has no meaning.

    ``fan_in`` and ``fan_out`` are those of ``torch.nn.init``; ``forward`` and ``backward`` are the numbers of terms:
    a strided or grouped convolution sends each input to fewer outputs than ``fan_out`` says.
    """

    fan_in: int = 0
    fan_out: int = 0
    forward: float = 0.0
    backward: float = 0.0


def fans_of(module: nn.Module | None) -> Fans:
    """Return the fans of a linear or convolutional layer; zeros for every other."""
    # Not from the weight itself: reading a parametrized one computes it, and spectral norm iterates each time.
    if isinstance(module, nn.Linear):
        return Fans(module.in_features, module.out_features, float(module.in_features), float(module.out_features))
    if not isinstance(module, _Conv):
        return Fans()
    return convolution_fans(
        (module.in_channels // module.groups, module.out_channels // module.groups),
        module.groups,
        math.prod(module.kernel_size),
        math.prod(module.stride),
        transposed=isinstance(module, _ConvTranspose),
    )


def is_transposed_linear(module: nn.Module | None) -> TypeGuard[nn.Linear]:
    """Say whether this is the linear layer of GPT-2 in transformers, which keeps its weight as [fan_in, fan_out]."""
    return (
        type(module).__name__ == "Conv1D"
        and hasattr(module, "nf")
        and isinstance(getattr(module, "weight", None), Tensor)
    )


def terms_of_a_part(module: nn.Module | None) -> tuple[float, float]:
    """Return how many terms each output and each input gradient of one part of a layer's weight sums; zeros if it has none.

    The parts of an attention are query, key and value, those of a recurrent layer its gates. The layer's output is not
    the sum of one of them, so these are no fans of the layer.
    """
    if isinstance(module, nn.MultiheadAttention):
        return float(module.embed_dim), float(module.embed_dim)
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
        return float(module.input_size), float(module.hidden_size)
    if is_transposed_linear(module):
        into, out = module.weight.shape
        return float(into), float(out)
    return 0.0, 0.0


def convolution_fans(channels: tuple[int, int], groups: int, area: int, stride: int, *, transposed: bool) -> Fans:
    """Return the fans of a convolution.

    Args:
        channels: that each group takes and makes.
        groups: of channels.
        area: positions of the kernel.
        stride: product of the strides.
        transposed: it goes the other way.
    """
    into, out = channels
    if transposed:
        return Fans(out * area, into * groups * area, into * area / stride, float(out * area))
    return Fans(into * area, out * groups * area, float(into * area), out * area / stride)
