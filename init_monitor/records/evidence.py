"""The titles of a finding's numbers, as a person reads them: one table, next to that of the quantities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.records.finding import Finding

TITLES = {
    "abs_max": "largest value",
    "at_first": "the same at first",
    "at_step": "at step",
    "between_sample_share": "between-sample share",
    "branch_variance": "variance of a branch",
    "correlation": "correlation",
    "dead_at_least": "dead units, at least",
    "depth_at_limit": "depth at which the format ends",
    "detectable_rate": "lowest rate that would be seen",
    "elements": "elements",
    "entering_share": "between-sample share at the first layers",
    "first_loss": "first loss",
    "first_step": "turned at step",
    "gain": "gain of the layer before",
    "gain_from_weights": "gain from the weights",
    "gradient_growth_per_block": "gradient growth",
    "gradient_passing": "gradient that passes",
    "growth_per_block": "growth",
    "growth_per_layer": "growth",
    "input_abs_max": "largest input",
    "input_mean": "mean of the input",
    "input_rms": "rms of the input",
    "input_std": "std of the input",
    "linear_fraction": "one-sided units",
    "layers_to_limit": "until the format's end",
    "learning_rate": "learning rate",
    "logits_std": "std of the logits",
    "loss_before": "loss before it",
    "overflow_block": "overflow",
    "overflow_block_float16": "overflow in float16",
    "parameters_with_gradient": "parameters with a gradient",
    "predicted_variance": "variance as predicted",
    "records": "seen in",
    "rise": "rise of the loss",
    "rising_pairs": "rising",
    "samples": "samples",
    "second_momentum": "second momentum",
    "share": "share left",
    "shrinking": "smaller",
    "step_in_rates": "step in learning rates",
    "steps": "lasts for",
    "total_growth": "growth in all",
    "total_mismatch": "mismatch in all",
    "variance": "variance",
    "unit_spread": "difference between units",
    "variance_between_samples": "variance between samples",
    "variance_ratio": "branch over skip",
    "weight_gradient_rms": "rms of the weights' gradient",
    "worst_gain": "gain of the worst layer",
    "zero_layers": "layers of zeros",
}
"""Titles for numbers that are no quantity, and for quantities whose title is about all layers, not one."""


def evidence_title(name: str) -> str:
    """Return the title of a name in :attr:`Finding.evidence`; for a custom rule, the name without underscores.

    >>> evidence_title("dead_fraction"), evidence_title("growth_per_layer"), evidence_title("my_own_ratio")
    ('dead units', 'growth', 'my own ratio')
    """
    known = TITLES.get(name)
    if known is None and name in Quantity.__members__.values():
        title = Quantity(name).facts.title
        known = title if title[1:2].isupper() else title[:1].lower() + title[1:]
    return known or name.replace("_", " ")


def figure_rows(finding: Finding) -> list[tuple[str, str, str]]:
    """Return a finding's numbers as text: title, measured value, expected value (empty where there is none)."""
    names = dict.fromkeys((*finding.evidence, *finding.expected))
    return [
        (evidence_title(name), str(finding.evidence.get(name, "")), str(finding.expected.get(name, "")))
        for name in names
    ]


_SURE = {
    "samples": "seen over {}",
    "dead_at_least": "at least {}",
    "records": "seen in {}",
    "rising_pairs": "rising in {}",
}
"""What evidence says of how sure a finding is, in words."""


def how_sure(finding: Finding, but: str = "") -> list[str]:
    """Return what makes a finding sure: how many samples or steps it was seen in, and bounds.

    >>> from init_monitor.records.finding import Figure, Finding, Severity
    >>> evidence = {"share": Figure(0.5), "samples": Figure(256, "samples per unit")}
    >>> how_sure(Finding("name", "IM000", Severity.INFO, (), 1, "…", evidence))
    ['seen over 256 samples per unit']
    """
    known = {name: words for name, words in _SURE.items() if name in finding.evidence and name != but}
    return [words.format(finding.evidence[name]) for name, words in known.items()]


def measured_at(finding: Finding) -> str:
    """Return the heading of the measured values: the table next to them may be about another step.

    >>> from init_monitor.records.finding import Finding, Severity
    >>> measured_at(Finding("name", "IM000", Severity.INFO, (), 1200, "…"))
    'measured at step 1,200'
    """
    return f"measured at step {finding.step:,}"
