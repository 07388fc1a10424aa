"""The finding of IM702 about one of several inputs that is the same for every sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.analysis.learning import Learning, learning_of
from init_monitor.records import Figure, Finding, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import phrases, snippets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from init_monitor.records import History, Layer
    from init_monitor.remedies.named_rule import CitedRule


def findings(rule: CitedRule, layers: Sequence[Layer], history: History) -> Iterator[Finding]:
    """Yield the finding about the layers that receive it, if there are any: information, unless the loss stays level."""
    if not layers:
        return
    records, first = history.records, layers[0]
    share = history.last.layer_table.at(first.name, Quantity.BETWEEN_SAMPLE_SHARE)
    severity = Severity.WARNING if learning_of(history) is Learning.LEVEL else Severity.INFO
    yield Finding(
        rule=rule.name,
        code=rule.code,
        severity=severity,
        layers=tuple(layer.name for layer in layers),
        step=history.last.step,
        message=(
            f"What {phrases.names([layer.name for layer in layers])} receives from the data is one and the same vector for every sample,"
            f" in all {len(records)} sampled steps, while the other inputs differ: the network is not told what this input is to say."
        ),
        evidence={
            "between_sample_share": Figure(share, "of the variance"),
            "records": Figure(len(records), "sampled steps in a row"),
        },
        expected={"between_sample_share": Figure(1e-3, "of the variance, about, or more")},
        remedy=snippets.advice(
            "Look at how this input is made, before the layer: a division of whole numbers (//, or a cast to int) that gives 0 for every"
            " time or step, frequencies that are all 0, an index or a column that is always the same. If it is meant to be constant, the"
            " layer is only a bias.",
            "print(embedding.float().std(0).max())  # in the forward; 0: all samples are the same",
        ),
        source=rule.source,
    )
