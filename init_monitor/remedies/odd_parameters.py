"""What to say and do about initial parameters that are off in other ways than the variance of a weight (IM502)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from init_monitor.analysis.odd_parameters import GAINS, biases_beside
from init_monitor.records import Figure, Finding, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import phrases, snippets
from init_monitor.remedies.addressing import NAMES_IN_A_LINE, expression

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.analysis.answering_products import Product
    from init_monitor.records import History, Layer
    from init_monitor.remedies.named_rule import CitedRule

UNCENTRED = "mean_over_spread"
"""Evidence of a finding about weights that are not centred."""

PRODUCT = "answer_square"
"""Evidence of a finding about factors whose products are answers: their spread is right by that, and no initialiser's."""


def told_uncentred(rule: CitedRule, layers: Sequence[Layer], history: History) -> Finding:
    """Return the finding about weights that nearly all have one sign."""
    at = history.records[0].parameter_table.at

    def ratio(layer: Layer) -> float:
        return abs(at(layer.weight, Quantity.WEIGHT_MEAN)) / math.sqrt(at(layer.weight, Quantity.WEIGHT_VARIANCE))

    worst = max(layers, key=ratio)
    names = _names(layers)
    return Finding(
        rule=rule.name,
        code=rule.code,
        severity=Severity.WARNING,
        layers=names,
        step=history.last.step,
        message=(
            f"The initial weights of {phrases.names(names)} are not centred: those of {worst.name} have a mean of"
            f" {phrases.number(at(worst.weight, Quantity.WEIGHT_MEAN))} and a standard deviation of"
            f" {phrases.number(math.sqrt(at(worst.weight, Quantity.WEIGHT_VARIANCE)))}. Every unit adds up its inputs in the same way,"
            " and all units give much the same."
        ),
        evidence={UNCENTRED: Figure(ratio(worst), "|mean| over standard deviation of the weights")},
        expected={UNCENTRED: Figure(0.0, "about")},
        remedy=snippets.advice(
            "Draw these weights around 0, before training (torch.rand gives numbers from 0 to 1 only).",
            snippets.initialise(layers, among=history.structure),
        ),
        source=rule.source,
    )


def told_scales(rule: CitedRule, layers: Sequence[Layer], history: History) -> Finding:
    """Return the finding about normalisations whose scale is far from 1."""
    at, names = history.records[0].parameter_table.at, _names(layers)
    scales = {layer.name: abs(at(layer.weight, Quantity.WEIGHT_MEAN)) for layer in layers}
    worst = max(layers, key=lambda layer: abs(math.log(scales[layer.name])))
    scale = scales[worst.name]
    much = (
        "a softmax or a tanh behind them starts saturated"
        if scale > 1
        else "little of the signal, and of the gradient, is left"
    )
    low, high = (math.sqrt(bound) for bound in GAINS)
    return Finding(
        rule=rule.name,
        code=rule.code,
        severity=Severity.WARNING,
        layers=names,
        step=history.last.step,
        message=(
            f"The scales of {phrases.names(names)} begin at {phrases.number(scale)}, where a normalisation begins at 1: whatever they"
            f" receive leaves them with that standard deviation, and {much}."
        ),
        evidence={"scale": Figure(scale, "of a normalisation")},
        expected={"scale": Figure(1.0, f"from {phrases.number(low)} to {phrases.number(high)}")},
        remedy=snippets.advice(
            "Start the scales of normalisations at 1, before training.",
            _filled([layer.weight for layer in layers], "ones_"),
        ),
        source="Ioffe & Szegedy 2015, 'Batch normalization', Algorithm 1",
    )


def told_product(rule: CitedRule, product: Product, history: History) -> Finding:
    """Return the finding about an answer that is a product of two outputs and starts far larger than its targets."""
    names = tuple(layer.name for layer in product.layers)
    std = product.width**-0.25
    loss = history.records[0].loss
    tables = [layer.module for layer in product.layers if layer.is_embedding]
    drawn = [f"nn.init.normal_({expression(module)}.weight, std={std:.2g})" for module in tables]
    code = "\n".join(["from torch import nn\n", *drawn])
    return Finding(
        rule=rule.name,
        code=rule.code,
        severity=Severity.WARNING,
        layers=names,
        step=history.last.step,
        message=(
            f"The products of {phrases.names(names)}, {product.width:g} of them added up, start with a standard deviation of"
            f" {phrases.number(math.sqrt(product.square))} and make the first loss, {phrases.number(loss)}: the targets are far smaller, and"
            " all of that has to be unlearned first."
        ),
        evidence={PRODUCT: Figure(product.square, "mean square of the answer"), "first_loss": Figure(loss)},
        expected={PRODUCT: Figure(1.0, "about, or that of the targets")},
        remedy=snippets.advice(
            f"Draw both factors with a standard deviation of {product.width:g}^(-1/4) = {std:.2g} or less, so that a sum of {product.width:g} of"
            " their products has 1, and begin with the mean of the targets as a bias.",
            code if tables else "",
        ),
        source="by arithmetic: Var(Σ u · v) = width · Var(u) · Var(v) for independent factors around 0",
    )


def told_biases(rule: CitedRule, layers: Sequence[Layer], history: History) -> Finding:
    """Return the finding about biases that outweigh what the weights make of the input."""
    first = history.records[0]
    table, at, names = first.layer_table, first.parameter_table.at, _names(layers)

    def made(layer: Layer) -> float:
        return math.sqrt(
            table.at(layer.name, Quantity.EXPECTED_GAIN) * table.at(layer.name, Quantity.INPUT_MEAN_SQUARE)
        )

    def bias(layer: Layer) -> float:
        return math.sqrt(at(layer.bias, Quantity.WEIGHT_VARIANCE))

    worst = max(layers, key=lambda layer: bias(layer) / made(layer))
    return Finding(
        rule=rule.name,
        code=rule.code,
        severity=Severity.WARNING,
        layers=names,
        step=history.last.step,
        message=(
            f"The biases of {phrases.names(names)} begin far too large: those of {worst.name} have a standard deviation of"
            f" {phrases.number(bias(worst))} beside the {phrases.number(made(worst))} that its weights make of the input. Its units are on,"
            " or off, for nearly every sample."
        ),
        evidence={
            "bias_over_signal": Figure(
                bias(worst) / made(worst), "standard deviations, of the biases over what the weights give"
            )
        },
        expected={"bias_over_signal": Figure(1.0, "or less")},
        remedy=snippets.advice(
            "Start these biases at 0, before training.", _filled(biases_beside(first, history.structure), "zeros_")
        ),
        source=rule.source,
    )


def _names(layers: Sequence[Layer]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(layer.name for layer in layers))


def _filled(parameters: Sequence[str], fill: str) -> str:
    """Return code that fills parameters with one number."""
    quoted = [f'"{name}"' for name in parameters]
    rows = [", ".join(quoted[i : i + NAMES_IN_A_LINE]) for i in range(0, len(quoted), NAMES_IN_A_LINE)]
    return "\n".join(
        [
            snippets.HEAD.rstrip("\n"),
            "",
            "for name in (",
            *(f"    {row}," for row in rows),
            "):",
            f"    nn.init.{fill}(model.get_parameter(name))",
        ]
    )
