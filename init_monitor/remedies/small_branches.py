"""The code that starts residual branches small."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.analysis.residual_branches import end_of, layers_of
from init_monitor.records import Role
from init_monitor.remedies import snippets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.records import Layer, Residual, Structure


def start_small(residuals: Sequence[Residual], structure: Structure) -> str:
    """Return code that starts every branch small, each as the plan does.

    A transformer's branches are re-drawn as a whole: small weights in their last layers do not compensate for large ones
    before them. Every other end becomes zero, even behind a factor in the forward: what grows shows that the factor is not
    small. A branch that ends in no layer with weights starts at 1/L of its variance.

    Args:
        residuals: the L additions of a stream.
        structure: the network.
    """
    zeroed: list[Layer] = []
    drawn: list[Layer] = []
    shrunk: list[Layer] = []
    for residual in residuals:
        end = end_of(residual, structure)
        weights = [x for x in layers_of(residual, structure) if x.role is Role.WEIGHT and x.weight]
        if end is None:
            shrunk += weights[-1:]
        elif end.transformer:
            drawn += [*weights, end]
        else:
            zeroed.append(end)
    return snippets.together(
        snippets.initialise(drawn, among=structure),
        snippets.initialise(zeroed, snippets.ZERO),
        snippets.initialise(shrunk, f"{{}}.data.mul_({len(residuals) ** -0.5:.4g})"),
    )


def drawn_by(residuals: Sequence[Residual], structure: Structure) -> frozenset[str]:
    """Return the names of the layers that :func:`start_small` draws as a whole: those of a transformer's branches."""
    return frozenset(
        layer.name
        for residual in residuals
        if (end := end_of(residual, structure)) is not None and end.transformer
        for layer in layers_of(residual, structure)
        if layer.role is Role.WEIGHT
    )
