"""The finding of IM201 and IM202 about a gradient that grows or fades over depth, and its remedy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np

from init_monitor.analysis import alike_positions as positions
from init_monitor.analysis.activations import Shape, activation_called
from init_monitor.analysis.backward_growth import backward_gains, change_over, swallowed_by
from init_monitor.analysis.between_layers import passages
from init_monitor.analysis.dtypes import FORMATS
from init_monitor.analysis.forward_growth import accounts_for, to_blame
from init_monitor.analysis.forward_profile import signal_of
from init_monitor.analysis.gains import gain_source
from init_monitor.analysis.learning import Learning
from init_monitor.analysis.optimizers import epsilon_of
from init_monitor.analysis.segments import log_of
from init_monitor.analysis.stream_factors import fading_by
from init_monitor.records import Figure, Finding, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import (
    activation_off,
    affected_layers,
    alike_positions,
    between_layers,
    made_by_training,
    own_scale,
    phrases,
    snippets,
    stream_factors,
)
from init_monitor.remedies.alike_weights import all_alike
from init_monitor.remedies.named_rule import NamedRule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.analysis.backward_growth import GradientChange, GradientFault, Swallowed
    from init_monitor.analysis.forward_profile import Signal
    from init_monitor.records import Column, History, Layer, Structure


VARIES = 1e-5
"""Share of an output's variance between samples below which they are alike themselves, as for IM702."""


class _Rule(NamedRule, Protocol):
    @property
    def blame_factor(self) -> float: ...
    @property
    def healthy_update(self) -> tuple[float, float]: ...


def finding(rule: _Rule, fault: GradientFault, history: History) -> Finding:
    """Return the finding of ``rule`` about one chain, which :attr:`History.last` shows."""
    change, updates, direction = fault.change, fault.updates, fault.direction
    signal, segment = signal_of(history.last, history.structure), change.segment
    measured, healthy = backward_gains(signal, segment)
    off = direction * (log_of(measured) - log_of(healthy))
    factor = (
        None
        if change.silent or fault.severity is Severity.INFO
        else fading_by([layer.name for layer in segment.layers], change.total, history.last, history.structure)
    )
    explained = change.silent or direction > 0 or _lies_in_weights(change, signal, off, healthy)
    blamed = to_blame(off, rule.blame_factor) if explained and not (change.silent or factor) else ()
    worst = max(blamed, key=lambda i: float(off[i]), default=None)
    trained = (
        worst is not None
        and (fault.severity > Severity.INFO or not updates.learns)
        and made_by_training.made_by_training(
            signal_of(history.records[0], history.structure).column(Quantity.EXPECTED_BACKWARD_GAIN, segment),
            signal.column(Quantity.EXPECTED_BACKWARD_GAIN, segment),
            healthy,
            worst,
            direction=direction,
        )
    )
    message = _message(fault, history.last.optimizer, rule.healthy_update)
    if off_layer := _off(change, history):
        message += activation_off.told(off_layer, history)
    if factor is not None:
        message += f" {stream_factors.told(factor)}"
    if trained and worst is not None:
        message += (
            f" {segment.layers[worst].name} is furthest off. {made_by_training.told(history, direction=direction)}"
        )
    alike = [] if fault.severity is Severity.INFO else _alike(change, history)
    swallowed, same = None if trained or factor or alike else _one_hot(fault, history), False
    if swallowed is not None:
        message += (
            f" Most of it is lost in {swallowed.layer.shown}, which passes {phrases.number(swallowed.share)} of the gradient's"
            " variance: its outputs are almost only 0 and 1, where its slope is 0."
        )
    elif trained or factor or alike or fault.severity is Severity.INFO:
        pass
    elif direction < 0 and _has_one_answer(history):
        same = True
        message += " All positions of a sample are alike at the end: what each hands back is shared among all of them."
    elif _came_later(change, history, direction):
        trained = True
        message += f" {made_by_training.told(history, direction=direction, weights=False)}"
    evidence, expected = _numbers(fault, measured, healthy, worst, rule.healthy_update)
    if off_layer:
        evidence["zero_fraction"] = Figure(1.0, f"of what {off_layer.shown} gives")
    before = segment.before(worst) if worst is not None else None
    return Finding(
        rule=rule.name,
        code=rule.code,
        severity=fault.severity,
        layers=tuple(
            one.name for one in (factor.residuals if factor else [segment.layers[i] for i in blamed or change.affected])
        ),
        step=history.last.step,
        message=message,
        evidence=evidence,
        expected=expected,
        remedy=(
            stream_factors.remedy(factor)
            if factor is not None
            else all_alike(alike, history)
            if alike
            else _warmer(swallowed)
            if swallowed is not None
            else alike_positions.ROUNDS
            if same
            else made_by_training.remedy(history, direction=direction)
            if trained
            else _remedy(fault, blamed, history)
        ),
        source=gain_source(before.activation if before else segment.layers[0].activation),
    )


def _off(change: GradientChange, history: History) -> Layer | None:
    """Return the activation that is off as a whole behind the layers whose gradient is exactly 0."""
    stuck = {change.segment.layers[i].name for i in change.affected} if change.silent else set[str]()
    return activation_off.off_behind(stuck, history)


def _alike(change: GradientChange, history: History) -> list[Layer]:
    return affected_layers.alike_from_the_start({layer.name for layer in change.segment.layers}, history)


def _lies_in_weights(change: GradientChange, signal: Signal, off: Column, healthy: Column) -> bool:
    """Say whether half of a fading gradient, in logarithm, is lost in the layers, by weights that could be larger.

    A layer that gets nearly the same gradient everywhere has a small gain whatever its weights are; and one with fewer outputs
    than inputs sends back fan_out / fan_in of what it gets, if its weights are right for the forward pass.
    """
    given = log_of(healthy) - log_of(signal.column(Quantity.EXPECTED_BACKWARD_GAIN, change.segment))
    fans = [(layer.fan_out, layer.fan_in) for layer in change.segment.layers]
    narrow = np.array([math.log(a / b) if a and b and a < b else 0.0 for a, b in fans])
    lost = np.where(np.isfinite(given), np.minimum(off, given + narrow), off)
    return accounts_for(lost, change.segment, math.log(change.total), -1)


def _came_later(change: GradientChange, history: History, direction: int) -> bool:
    """Say whether the chain showed less than half of it, in logarithm, at the first record."""
    first = history.records[0]
    if change.silent or not change.total > 0 or first.step == history.last.step:
        return False
    before = change_over(signal_of(first, history.structure), change.segment, direction=direction)
    return before < abs(math.log(change.total)) / 2


def _has_one_answer(history: History) -> bool:
    """Say whether an output that has positions is exactly the same at all of them, and differs between samples."""
    return positions.alike_positions(history.last, history.structure, faint=0.0, varies=VARIES) is not None


def _one_hot(fault: GradientFault, history: History) -> Swallowed | None:
    """Return the softmax that swallows most of a fading gradient; other activations that do are saturation's (IM303)."""
    if fault.direction > 0 or fault.severity is Severity.INFO:
        return None
    found = swallowed_by(fault.change, history.last, history.structure)
    known = None if found is None else activation_called(found.layer.kind)
    return found if known is not None and known.shape is Shape.DISTRIBUTION else None


def _warmer(swallowed: Swallowed) -> str:
    """Return the remedy for a softmax that is one-hot."""
    return (
        f"Raise the temperature of {swallowed.layer.shown}: begin at 1 and lower it slowly. Without one, scale down what it receives"
        " (divide the logits, or normalise what they are made of); if its logits grew in training, lower the learning rate."
    )


def _numbers(
    fault: GradientFault,
    measured: Column,
    healthy: Column,
    worst: int | None,
    healthy_update: tuple[float, float],
) -> tuple[dict[str, Figure], dict[str, Figure]]:
    change, updates = fault.change, fault.updates
    evidence = {
        "growth_per_layer": Figure(change.growth, "× per layer towards the input"),
        "total_growth": Figure(change.total, "×"),
    }
    expected = {"growth_per_layer": Figure(1.0, "× per layer towards the input"), "total_growth": Figure(1.0, "×")}
    if worst is not None:
        evidence["worst_gain"] = Figure(measured[worst], "Var(∂in)/E[(∂out)²]")
        expected["worst_gain"] = Figure(healthy[worst], "Var(∂in)/E[(∂out)²]")
    if not math.isnan(updates.ratio):
        evidence["update_ratio"] = Figure(updates.ratio, "‖Δw‖/‖w‖ per step")
        expected["update_ratio"] = Figure(math.sqrt(math.prod(healthy_update)), "‖Δw‖/‖w‖ per step")
    if not math.isnan(updates.rms):
        evidence["weight_gradient_rms"] = Figure(updates.rms)
    return evidence, expected


def _message(fault: GradientFault, optimizer: str, healthy_update: tuple[float, float]) -> str:
    change, updates, severity = fault.change, fault.updates, fault.severity
    layers = change.segment.layers
    if change.silent:
        stuck = phrases.names([layers[i].name for i in change.affected])
        return (
            f"The gradient is exactly 0 in {stuck}, while layers nearer to the loss have one: nothing there can learn."
        )
    pace = (
        f"grows {phrases.times(change.growth)}" if change.growth >= 1 else f"shrinks to {phrases.times(change.growth)}"
    )
    total = f"from {layers[-1].name} to {layers[0].name} its variance {phrases.change(change.total)}"
    parts = [f"On its way back the gradient {pace} per layer: {total}."]
    if fault.underflow:
        smallest = phrases.number(FORMATS["float16"].smallest)
        parts.append(f"In float16, gradients below {smallest} become 0, and these are below.")
    if not math.isnan(updates.ratio):
        parts.append(
            f"These weights change by {phrases.part(updates.ratio)} their size per step"
            f" ({optimizer or 'optimizer'}){_comment(fault, optimizer, healthy_update)}"
        )
    epsilon = epsilon_of(optimizer) or 0
    if severity > Severity.INFO and epsilon * fault.near_epsilon > updates.rms:
        starved = not updates.ratio >= healthy_update[0]
        parts.append(
            f"Their gradient of {phrases.number(updates.rms)} is as small as the epsilon of {optimizer}"
            f" ({phrases.number(epsilon)}), which "
            + ("therefore no longer compensates for it." if starved else "already shortens these steps.")
        )
    return " ".join(parts)


def _comment(fault: GradientFault, optimizer: str, healthy_update: tuple[float, float]) -> str:
    if fault.severity is Severity.INFO:
        if not fault.updates.learns:
            return ", much like those of the other layers."
        # Only where it was seen: updates of a healthy size may still have no effect.
        return ", which is enough to learn." if fault.learning is Learning.LEARNS else ", which is a usual size."
    level = " The loss has not left its level; this may be why." if fault.learning is Learning.LEVEL else ""
    return _reason(fault, optimizer, healthy_update) + level


def _reason(fault: GradientFault, optimizer: str, healthy_update: tuple[float, float]) -> str:
    """Return why weights move despite a faint gradient, where they do: otherwise the two seem to contradict each other."""
    updates, (low, high) = fault.updates, healthy_update
    if fault.direction > 0 or updates.ratio < low:
        return "."
    if updates.ratio > high and epsilon_of(optimizer) is not None:
        return f": {optimizer} rescales even a faint gradient, so they are not too small but too large."
    return f", those of the other layers by {phrases.number(updates.elsewhere)}." if updates.elsewhere > 0 else "."


def _remedy(fault: GradientFault, blamed: Sequence[int], history: History) -> str:
    change = fault.change
    layers = [change.segment.layers[i] for i in blamed]
    if fault.severity is Severity.INFO:
        lead = (
            "Nothing has to change"
            if fault.learning is Learning.LEARNS
            else "See whether the loss falls: nothing has to change"
        )
        return f"{lead} while the updates stay in their range; an initialisation that keeps the gradient helps."
    if change.silent:
        off_layer = _off(change, history)
        return (
            activation_off.remedy(off_layer, history)
            if off_layer
            else (
                "Look at the first layer that still has a gradient, and at what stands before it: its weights are 0, the activation"
                f" before it is off, or an operation there lets no gradient through. {phrases.STEPWISE}"
            )
        )
    if layers:
        sentence = "Initialise the weights of these layers for the activation that follows them, before training."
        layers = affected_layers.off_too(layers, history, direction=1 if change.total > 1 else -1)
        if change.total > 1 and (factors := own_scale.advice(layers, history)):
            return factors
        return snippets.advice(sentence, snippets.initialise(layers, among=history.structure))
    at = signal_of(history.last, history.structure).of(change.segment)
    if between := passages(at, change.total, history.last):
        return between_layers.remedy(between)
    return _remedy_for_all(change, history.structure)


def _remedy_for_all(change: GradientChange, structure: Structure) -> str:
    vanishing = change.total < 1
    followers = {layer.activation or "" for layer in change.segment.layers}
    squashing = sorted(name for name in followers if _squashes(name))
    if vanishing and squashing:
        return (
            f"Use another activation than {phrases.names(squashing)}, which passes at most a quarter of a gradient (ReLU"
            " with He's initialisation, tanh with Xavier's), or normalisations between the layers."
        )
    if vanishing:
        return (
            "Add residual connections or normalisations: no single layer is off. What lies between the layers loses it: look there"
            " for a factor near 0 (gamma where 1 + gamma is meant), a mean or a sum with small weights (a softmax over the wrong dimension)."
        )
    if structure.residuals:
        return "Start the residual branches at zero or normalise inside them: each addition adds to the gradient too."
    return (
        "No single layer is off. Look between the layers for a factor on what an activation receives, as in sin(30 · x): divide the input of"
        " the activation by it, or draw the weights in front of it so much smaller. Else add normalisations, or clip the gradient."
    )


def _squashes(name: str) -> bool:
    """Say whether an activation passes at most a quarter of a gradient."""
    known = activation_called(name)
    return known is not None and known.slopes.largest <= 1 / 4
