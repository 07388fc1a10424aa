"""What the numbers of a finding are called where a person reads them: one table, beside that of the quantities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from init_monitor.records.finding import Finding

TITLES = {
    "abs_max": "largest value",
    "at_first": "the same at first",
    "between_sample_share": "what differs between samples",
    "branch_variance": "variance of a branch",
    "correlation": "correlation",
    "dead_at_least": "dead units, at least",
    "depth_at_limit": "depth at the format's end",
    "detectable_rate": "rarest firing that would be seen",
    "elements": "elements",
    "entering_share": "what differs where they enter",
    "first_loss": "first loss",
    "first_step": "turned at step",
    "gain": "gain of the layer before",
    "gain_from_weights": "gain by the weights",
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
    "share": "share that is left",
    "steps": "lasts for",
    "total_growth": "growth in all",
    "total_mismatch": "mismatch in all",
    "variance": "variance",
    "unit_spread": "difference between units",
    "variance_between_samples": "variance between samples",
    "variance_ratio": "branch beside skip",
    "weight_gradient_rms": "rms of the weights' gradient",
    "worst_gain": "gain of the worst layer",
    "zero_layers": "layers of zeros",
}
"""Words of the rules: for what is no quantity, and where a quantity stands for one layer and not for a picture."""


def evidence_title(name: str) -> str:
    """Return the words for a name of :attr:`Finding.evidence`; of a rule of one's own, its name without underscores.

    >>> evidence_title("dead_fraction"), evidence_title("growth_per_layer"), evidence_title("my_own_ratio")
    ('dead units', 'growth', 'my own ratio')
    """
    known = TITLES.get(name)
    if known is None and name in Quantity.__members__.values():
        title = Quantity(name).facts.title
        known = title if title[1:2].isupper() else title[:1].lower() + title[1:]
    return known or name.replace("_", " ")


def figure_rows(finding: Finding) -> list[tuple[str, str, str]]:
    """Return the numbers of a finding in words: what it is, what was measured, what was expected (empty where nothing)."""
    names = dict.fromkeys((*finding.evidence, *finding.expected))
    return [
        (evidence_title(name), str(finding.evidence.get(name, "")), str(finding.expected.get(name, "")))
        for name in names
    ]


def measured_at(finding: Finding) -> str:
    """Return the head of the column of what was measured: the table beside it may be of another step.

    >>> from init_monitor.records.finding import Finding, Severity
    >>> measured_at(Finding("name", "IM000", Severity.INFO, (), 1200, "…"))
    'measured at step 1,200'
    """
    return f"measured at step {finding.step:,}"
