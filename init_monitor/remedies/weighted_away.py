"""The finding about a loss that a learned number of it makes small (IM603): its gradient goes with it, and the steps of the network."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from init_monitor.analysis.loss_weights import free_loss_weight
from init_monitor.analysis.pace import paces_of
from init_monitor.records import Figure, Severity
from init_monitor.remedies import phrases

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from init_monitor.records import Finding, History

    MakeFinding = Callable[[History, Severity, str, Mapping[str, Figure]], Finding]

TENFOLD = 10.0
"""Factor by which both the loss and the steps must have become smaller: a rate that is a tenth is a different training."""


def found(history: History, judged: frozenset[str], make: MakeFinding) -> Finding | None:
    """Return the finding, or ``None`` where no such number is known, or the network still moves as it did.

    Args:
        history: what was measured.
        judged: names of the weights whose steps count.
        make: makes a finding of history, severity, message and evidence.
    """
    paces = paces_of(history.records, judged, history.structure)
    if not paces or paces[-1].record is not history.last:
        return None
    most, now = max(pace.high for pace in paces), paces[-1].high
    weight = free_loss_weight(history) if 0 < TENFOLD * now <= most else None
    if weight is None or weight.fallen < TENFOLD:
        return None
    message = (
        f"The loss has fallen to {phrases.part(1 / weight.fallen)} its size, and {weight.name} with it: it is multiplied by a learned"
        f" number (the slope in {weight.name}, which has gone from {phrases.number(weight.first)} to {phrases.number(weight.last)}, is as large as the"
        f" loss in all of {len(history.records)} sampled steps), and nothing keeps that from getting ever smaller. So does the gradient of"
        f" the network: the median layer changes by {phrases.part(now)} its own size per step, where it was {phrases.number(most)} at most."
    )
    return replace(
        make(
            history,
            Severity.WARNING,
            message,
            {
                "update_ratio": Figure(now, "‖Δw‖/‖w‖ per step"),
                "loss_fallen": Figure(weight.fallen, "×, by a learned factor"),
            },
        ),
        expected={"update_ratio": Figure(most / TENFOLD, "‖Δw‖/‖w‖ per step, or more")},
        remedy=(
            f"Let the weight of each loss term cost something, or give it a fixed one. Beside exp(-s) · error stands + s (+ s / 2 where"
            f" the error is squared), which keeps {weight.name} from growing and makes the loss a log-likelihood: that it falls below 0"
            " then is right."
        ),
    )
