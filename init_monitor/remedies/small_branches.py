"""The code that starts residual branches small."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.analysis.residual_branches import end_of, layers_of
from init_monitor.records import Role
from init_monitor.remedies import snippets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import Residual, Structure


def start_small(residuals: Sequence[Residual], structure: Structure) -> str:
    """Return code that starts every branch at zero; a branch that cannot (see :func:`end_of`) at 1/L of the variance.

    Args:
        residuals: the L additions of a stream.
        structure: the network.
    """
    ends = [end_of(residual, structure) for residual in residuals]
    last = [
        next((x for x in reversed(layers_of(residual, structure)) if x.role is Role.WEIGHT and x.weight), None)
        for residual, end in zip(residuals, ends, strict=True)
        if end is None
    ]
    shrink = f"{{}}.data.mul_({len(residuals) ** -0.5:.4g})"
    return snippets.together(
        snippets.initialise([end for end in ends if end is not None], snippets.ZERO),
        snippets.initialise([layer for layer in last if layer is not None], shrink),
    )
