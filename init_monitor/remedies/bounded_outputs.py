"""The findings of IM303 about a bounded activation that ends the network, and targets that lie beyond what it can give."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from init_monitor.records import Figure, Finding, Severity
from init_monitor.remedies import outsized_loss, phrases
from init_monitor.remedies.named_rule import CitedRule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from init_monitor.analysis.bounded import Reading
    from init_monitor.records import History, Layer


class _Rule(CitedRule, Protocol):
    @property
    def bound_share(self) -> float: ...
    @property
    def late_share(self) -> float: ...
    @property
    def error_left(self) -> float: ...


def out_of_reach(rule: _Rule, layer: Layer, reading: Reading, history: History) -> Finding:
    """Return the finding about an output at its bound whose loss is far too large for targets within, and does not fall."""
    loss, share = outsized_loss.first_loss(history), reading.share(layer)
    return _finding(
        rule,
        layer,
        history,
        f"{_at_its_bound(layer, share)}, and the loss, {phrases.number(loss)} at first, does not fall: the targets lie beyond what it can"
        " give.",
        {"saturated_fraction": Figure(share, "of the elements"), "loss": Figure(loss, "at step 0")},
        {"saturated_fraction": Figure(rule.bound_share, "of the elements, or less")},
    )


def pulled_on(rule: _Rule, layer: Layer, readings: tuple[Reading, Reading], history: History) -> Finding:
    """Return the finding about an output that came to its bound with much of its squared error left.

    Args:
        rule: that it is of.
        layer: the activation.
        readings: the first record and the latest.
        history: what was measured.
    """
    first, last = readings
    share, left, passing = last.share(layer), last.error_left(layer, first), last.passing(layer)
    return _finding(
        rule,
        layer,
        history,
        f"{_at_its_bound(layer, share)}, and {phrases.percent(left)} of the first squared error is left: it pulls them further, and"
        f" {phrases.percent(passing)} of that gets through. The targets lie beyond what it can give.",
        {
            "saturated_fraction": Figure(share, "of the elements"),
            "error_left": Figure(left, "of the loss at step 0"),
            "gradient_passing": Figure(passing, "of the gradient's mean square that can pass"),
        },
        {
            "saturated_fraction": Figure(rule.late_share, "of the elements, or less"),
            "error_left": Figure(rule.error_left, "of the loss at step 0, or less"),
        },
    )


def _at_its_bound(layer: Layer, share: float) -> str:
    return f"{phrases.percent(share)} of the outputs of {layer.name} ({layer.kind}), the end of the network, are at its bound"


def _finding(  # noqa: PLR0913, PLR0917 - the parts of a finding
    rule: _Rule,
    layer: Layer,
    history: History,
    message: str,
    evidence: Mapping[str, Figure],
    expected: Mapping[str, Figure],
) -> Finding:
    return Finding(
        rule=rule.name,
        code=rule.code,
        severity=Severity.WARNING,
        layers=(layer.name,),
        step=history.last.step,
        message=message,
        evidence=dict(evidence),
        expected=dict(expected),
        remedy=(
            f"Take it away: {layer.name} is on the output of the network, and the last layer can give any number. Or scale the targets"
            " into the range that it gives (0 to 1 for a sigmoid, -1 to 1 for tanh)."
        ),
        source=rule.source,
    )
