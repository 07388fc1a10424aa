"""The finding of IM802 about a binary cross-entropy below 0: some of its targets do not lie between 0 and 1."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

from init_monitor.analysis.entropies import farthest_target
from init_monitor.analysis.learning import DROWNS, SURE, course_of, plays
from init_monitor.analysis.lost_samples import ends_of
from init_monitor.records import Figure, Finding, Role, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import phrases
from init_monitor.remedies.named_rule import CitedRule

if TYPE_CHECKING:
    from init_monitor.records import History


class _Rule(CitedRule, Protocol):
    @property
    def outside(self) -> float: ...


def found(rule: _Rule, history: History) -> Finding | None:
    """Return the finding, if the loss began as such an entropy, its gradient shows such targets, and large logits hold it below 0 now."""
    course, first = course_of(history.losses), history.records[0]
    below = course.last < -SURE * course.error and math.isfinite(course.newest)
    if not below or first.step > 0 or history.losses.steps[0] > 0 or plays(history.records):
        return None
    weights = [layer for layer in history.structure.layers if layer.role is Role.WEIGHT]
    # A sigmoid that is a module reads the logits, so that no layer with weights ends the network.
    ends = [layer for layer in ends_of(history.structure) if layer.weight] or weights[-1:]
    # Only large logits lower such an entropy below 0. A likelihood that gets there by its variance has outputs of the targets' size.
    table = history.last.layer_table
    large = [layer for layer in ends if table.at(layer.name, Quantity.MEAN_SQUARE) >= DROWNS]
    known = [(farthest_target(first, layer), layer.name) for layer in large]
    far, name = max((one for one in known if one[0] >= rule.outside), default=(0.0, ""))
    if not name:
        return None
    return Finding(
        rule=rule.name,
        code=rule.code,
        severity=Severity.WARNING,
        layers=(),
        step=max(history.last.step, int(history.losses.steps[-1])),
        message=(
            f"The loss has fallen below 0: {phrases.number(course.last)} now. It began as a binary cross-entropy does"
            f" ({phrases.number(course.start)}; ln 2 for each element is {phrases.number(math.log(2))}), which is never negative while its"
            f" targets lie between 0 and 1. By the first gradient of {name} some lie {phrases.number(far)} from ½: the loss of these falls"
            " without end, towards outputs of 0 and 1."
        ),
        evidence={
            "loss": Figure(course.last, "over the last steps"),
            "farthest_target": Figure(far, "from ½, by the gradient at the first step"),
        },
        expected={"loss": Figure(0.0, "or above"), "farthest_target": Figure(0.5, "from ½, or less")},
        remedy=(
            "Bring the targets between 0 and 1: what is to be reconstructed must not be standardised (leave out Normalize(mean, std), or"
            " undo it for the target), masks are 0 and 1, labels of -1 become 0. Else take another loss: mse_loss for targets of any"
            " size."
        ),
        source=rule.source,
    )
