"""How a recipe writes into a tensor: in place, outside autograd, drawn in the order of its elements."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch

from init_monitor.errors import InitMonitorWarning, RecipeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

_DRAWN_AS_GIVEN = frozenset({torch.float32, torch.float64})
"""Formats that are drawn in place; lower precision is drawn in float32 and rounded once."""

_HELD_WITHIN = 0.05
"""A parametrization that changes the mean square by more than this does not keep the scale; half precision rounds by less."""


def assign_computed(owner: nn.Module, name: str, values: Tensor, shown: str, *, tell: bool = True) -> None:
    """Set a weight that ``torch.nn.utils.parametrize`` computes; warn if the parametrization changes its scale.

    Spectral normalisation divides by the largest singular value whatever it is given: the draw is right up to a factor.

    Raises:
        RecipeError: the parametrization has no inverse.
    """
    with torch.no_grad():
        try:
            setattr(owner, name, values)
        except (NotImplementedError, RuntimeError, AttributeError) as error:
            message = (
                f"{shown} is computed by a parametrization that cannot be given a value ({error}). Remove it,"
                " initialise, and add it again."
            )
            raise RecipeError(message) from error
        wanted, got = (float(one.double().square().mean()) for one in (values, getattr(owner, name)))
    if tell and abs(got - wanted) > _HELD_WITHIN * wanted:
        message = (
            f"init_monitor: the parametrization of {shown} does not keep the scale it is given: its mean square is"
            f" {got:.3g}, the recipe gives {wanted:.3g}."
        )
        warnings.warn(message, InitMonitorWarning, stacklevel=2)


def fill(tensor: Tensor, draw: Callable[[Tensor], object], generator: torch.Generator | None = None) -> None:
    """Write into ``tensor`` what ``draw`` makes, in place and outside autograd.

    ``draw`` gets a tensor on the generator's device, so that one seed gives one network on every device, and in float32
    at least: what half precision cannot compute (a QR decomposition) works for it too.

    Raises:
        TypeError: the generator is none, such as a bare seed; nothing was changed.
    """
    if generator is not None and not isinstance(generator, torch.Generator):
        message = (
            f"generator must be a torch.Generator, got {type(generator).__name__}. For a seed give"
            " torch.Generator().manual_seed(seed)."
        )
        raise TypeError(message)
    with torch.no_grad():
        device = tensor.device if generator is None else generator.device
        # Drawn in the order of its elements, not of its memory: a network in channels_last starts like any other.
        if tensor.dtype in _DRAWN_AS_GIVEN and tensor.device == device and tensor.is_contiguous():
            draw(tensor)
            return
        dtype = tensor.dtype if tensor.dtype in _DRAWN_AS_GIVEN else torch.float32
        values = torch.zeros(tensor.shape, dtype=dtype, device=device)
        draw(values)
        tensor.copy_(values)
