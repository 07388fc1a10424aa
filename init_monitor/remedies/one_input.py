"""The findings of IM702 about what goes in: all of it, or one of several inputs, is the same for every sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from init_monitor.analysis.learning import Learning, learning_of
from init_monitor.analysis.sample_shares import all_the_same, entering_share
from init_monitor.records import Figure, Finding, Role, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import phrases, snippets

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from init_monitor.records import History, Layer
    from init_monitor.remedies.named_rule import CitedRule


class _Patience(Protocol):
    @property
    def lasting_records(self) -> int: ...
    @property
    def gone_steps(self) -> int: ...


def is_one_sample(rule: _Patience, history: History) -> bool:
    """Say whether every batch so far held one and the same sample only, and the loss has not fallen by that."""
    records = history.records
    if len(records) < rule.lasting_records or history.last.step - records[0].step < rule.gone_steps:
        return False
    known = all(all_the_same(record, history.structure) for record in records)
    return known and learning_of(history) is not Learning.LEARNS


def one_sample(rule: CitedRule, varies: float, history: History) -> Finding:
    """Return the finding about batches that hold one and the same sample each.

    Args:
        rule: whose finding it is.
        varies: share of the variance between samples at the first layers that is to be expected.
        history: what was judged.
    """
    first = [layer for layer in history.structure.layers if layer.role is Role.WEIGHT][:1]
    return Finding(
        rule=rule.name,
        code=rule.code,
        severity=Severity.WARNING,
        layers=tuple(layer.name for layer in first),
        step=history.last.step,
        message=(
            f"All samples of a batch have been the same in each of {len(history.records)} sampled steps, from the first layer on:"
            " the network gets one input, whatever it is to answer, and the loss has not fallen."
        ),
        evidence={
            "entering_share": Figure(
                entering_share(history.last, history.structure), "of the variance, at the first layers"
            ),
            "records": Figure(len(history.records), "sampled steps in a row"),
        },
        expected={"entering_share": Figure(varies, "of the variance, or more")},
        remedy=snippets.advice(
            "Look at the data: whether the data set uses its index, whether a division of whole numbers or a wrong scale makes"
            " every input 0, whether one sample was expanded to a batch.",
            "print(batch[0].float().std(0).max())  # 0: all samples are the same",
        ),
        source=rule.source,
    )


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
            "# in the forward, for what the layer is given: print(x.float().std(0).max()), which is 0 where all samples are the same",
        ),
        source=rule.source,
    )
