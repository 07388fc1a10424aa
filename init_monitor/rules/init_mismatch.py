"""IM502: initial weights that are far too large or too small for the activation that follows, where it matters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from init_monitor.analysis import odd_parameters
from init_monitor.analysis.answering_products import large_products
from init_monitor.analysis.faint_network import faint_network
from init_monitor.analysis.forward_profile import Signal, signal_of
from init_monitor.analysis.gains import GLOROT, HE, gain_source, gains_around, healthy_gain
from init_monitor.analysis.hidden_scale import hidden_scale
from init_monitor.analysis.medians import median
from init_monitor.analysis.odd_weights import Odd, large_embeddings, large_starts, odd_recurrent
from init_monitor.analysis.reaching import outputs_of, reaching_the_output
from init_monitor.analysis.recurrent import GATES
from init_monitor.analysis.segments import Segment, bounded_exp, by_level, log_of, segments
from init_monitor.analysis.sines import network_of, odd_sines
from init_monitor.records import Figure, Finding, History, Severity
from init_monitor.records.once import Keeping, once
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import affected_layers, odd_parameters as parameters, phrases, small_factors, snippets
from init_monitor.remedies.raw_tables import Tables, faint_tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from init_monitor.records import Column, Layer, StepRecord, Structure


HIDDEN = "smaller_step"
"""Evidence of a finding about weights whose scale normalisations hide."""

WHERE_IT_SHOWS = ("IM401",)
"""Rules that name such weights where they do show in the signal, on a residual stream."""


class _Seen(NamedTuple):
    """What the first record shows.

    Attributes:
        odd: the layers that are far off.
        total: the factor over the network.
        beside: names of those beside which another branch carries the signal.
        hidden: how many times smaller the steps are, relative to weights whose scale normalisations hide; 0 where none do.
    """

    odd: Sequence[Odd]
    total: float
    beside: frozenset[str] = frozenset()
    hidden: float = 0.0


@dataclass(frozen=True)
class InitMismatch(Keeping):
    """IM502: initial weights whose variance is far from what the activation that follows needs.

    Judged on the first record of a run, and only where the signal reaches the output with no normalisation after it and
    outside of residual blocks: elsewhere the scale is removed, or a small one is meant. Too small an output layer is a
    healthy start, and PyTorch's own default is never mentioned. Embeddings and recurrent weights that are far off are reported as well,
    recurrent weights of zero too unless they are frozen, and networks of which nearly all weights are faint, or far too large, whatever
    normalises or bypasses them.
    So are factors that start so small that the loss does not notice them, once they have stayed so for 50 steps, weights that nearly all
    have one sign, scales of normalisations far from 1, biases that outweigh the signal, and embeddings whose products make the first
    squared error. What IM101 and IM102 say about the same layers, at least as severely, is left to them.

    **Why.** In a network too short for a slope one layer of N(0, 1) or 1e-4 makes the output, and every other layer's
    gradient, as much too large or too small as itself.

    **Example.** ``nn.init.normal_(weight)`` on a network of three layers: 32 times too large for each ReLU layer of width 64.

    **Remedy.** Initialise the layers it names for the activation that follows.

    Attributes:
        large_layer: gain over the healthy one from which a layer is far too large. Kaiming's fan_out mode, which is in wide
            use, gives up to fan_in/fan_out = 2 to 4 in front of a narrower layer.
        large_total: product of these over the network from which the rms at its end, and with it every gradient, is five
            times too large.
        small_layer: healthy gain over the measured one from which a layer is far too small. PyTorch's own default for Linear
            and Conv gives 1/3, which is 6 times too small before a ReLU and 8 before SiLU, and shallow networks learn with
            it.
        small_total: product of these from which the rms at the end is a tenth, and the gradient of every layer before, too.
        output_alone: the same where only an output layer is too large: its rms is thirty times too large, and the first
            steps make up for less. Kaiming's fan_out mode before ten classes gives 128 behind 1280 features (MNASNet of
            torchvision), and learns.
        critical_total: product from which it is critical: the rms is off a thousandfold, and no learning rate suits both
            such layers and the others.
        unknown_gains: range of gains that are accepted before an activation of which none is known. Sigmoid has the widest:
            its slope of 1/4 asks for four times Xavier's standard deviation (Glorot & Bengio 2010, Sec. 2).
        large_embedding: variance of an embedding from which it drowns whatever is added to it: published ones start
            between 0.02² and 1. The same of any layer that a stream starts from, if its branches add so much less.
        recurrent_gains: range of H · Var(W) of a recurrent weight. Its square root is the spectral radius of a random one
            (Girko 1985): PyTorch's default gives 1/3, an orthogonal one 1. At 10 each step triples what is remembered, at
            1e-3 it keeps a thirtieth.
        without_gates: the largest where no gate holds the state (``nn.RNN``): above 1 its state is chaotic (Sompolinsky et al.
            1988), and He's variance, the largest that is in use, gives 2.
        first_records: records for which the finding holds, as many as the default dense start; after them the weights are
            the training's.
    """

    code: ClassVar[str] = "IM502"
    name: ClassVar[str] = "init-mismatch"
    yields_to: ClassVar[tuple[str, ...]] = ("IM101", "IM102", *WHERE_IT_SHOWS)
    source: ClassVar[str] = f"{HE}; {GLOROT}; Girko 1985 (circular law) for recurrent weights"

    large_layer: float = 5.0
    large_total: float = 30.0
    small_layer: float = 10.0
    small_total: float = 100.0
    output_alone: float = 1000.0
    critical_total: float = 1e6
    unknown_gains: tuple[float, float] = (1.0, 16.0)
    large_embedding: float = 25.0
    recurrent_gains: tuple[float, float] = (1e-3, 10.0)
    without_gates: float = 2.5
    first_records: int = 10

    def judge(self, history: History) -> Iterator[Finding]:
        """Return one finding about the size of weights, or that they are not centred, and one each about scales and biases."""
        first, structure = history.records[0], history.structure
        if faint := small_factors.found(self, history):
            yield faint
        if first.step > 0 or len(history.records) > self.first_records:
            return  # later, or in a resumed run, the weights are not the initial ones
        seen = _seen_at_first(first, structure, self, history.covered)
        uncentred = _left(odd_parameters.uncentred(first, structure), history)
        if seen.odd:
            yield self._finding(seen, history)
        elif uncentred:
            yield parameters.told_uncentred(self, uncentred, history)
        for product in large_products(first, structure, self.large_total):
            yield parameters.told_product(self, product, history)
        if scales := _left(odd_parameters.odd_scales(first, structure), history):
            yield parameters.told_scales(self, scales, history)
        if biased := _left(odd_parameters.large_biases(first, structure, outputs_of(structure)), history):
            yield parameters.told_biases(self, biased, history)

    def at_first(self, began: History) -> _Seen:
        """Return the layers that are far off, the factor over the network, and those beside which another branch carries."""
        odd: list[Odd] = []
        total = 1.0
        beside: set[str] = set()
        looks = {i: self._look(began, x, began.covered) for i, x in reaching_the_output(began.structure).items()}
        every = segments(began.structure)
        for number, (found, change) in looks.items():
            odd += found
            total = max(total, change)
            if any(other not in looks or not looks[other][0] for other in every[number].meets):
                beside.update(one.layer.name for one in found)  # what another branch carries is not lost
        alone = large_embeddings(began.last, began.structure, self.large_embedding)
        alone += large_starts(began.last, began.structure, self.large_embedding)
        alone += odd_sines(began.last, began.structure)
        alone += odd_recurrent(began.last, began.structure, self.recurrent_gains, self.without_gates)
        odd += [one for one in alone if one.layer.name not in began.covered]
        if all(one.gain > one.healthy for one in odd):  # else the network is too small somewhere, and that is told
            large = [one for one in hidden_scale(began.last, began.structure) if one.layer.name not in began.covered]
            if large:
                hidden = math.sqrt(median([one.off for one in large]))
                names = {one.layer.name for one in large}
                odd = large + [one for one in odd if one.layer.name not in names]
                return _Seen(odd, total, hidden=hidden)
        everywhere = None if odd else faint_network(began.last, began.structure, outputs_of(began.structure))
        if everywhere is not None:
            pairs = zip(everywhere.layers, everywhere.gains, strict=True)
            odd = [Odd(x, gain, healthy_gain(x)) for x, gain in pairs if x.name not in began.covered]
            beside.update(one.layer.name for one in odd)  # what skips and normalisations carry is not lost
        return _Seen(odd, total, frozenset(beside))

    def leaves(self, finding: Finding, other: Finding, structure: Structure) -> frozenset[str]:
        """Return the layers whose weights another finding names, in whichever call of a shared layer."""
        del structure
        if parameters.UNCENTRED in finding.evidence:
            return frozenset(finding.layers)
        if other.code in WHERE_IT_SHOWS:  # their code covers what is off beside what they name
            return frozenset(finding.layers) if HIDDEN in finding.evidence else frozenset()
        named = {name.partition("#")[0] for name in other.layers}
        places = finding.layers or ("",)
        return frozenset(name for name in places if not named or name.partition("#")[0] in named)

    def _look(self, began: History, segment: Segment, covered: frozenset[str]) -> tuple[list[Odd], float]:
        """Return the layers of a segment that are far off in one direction, and by which factor they change its end.

        Layers that other findings cover (``covered``) do not count.
        """
        signal = signal_of(began.last, began.structure)
        given = signal.column(Quantity.EXPECTED_GAIN, segment)
        measured = signal.column(Quantity.GAIN, segment)
        low, high = np.array([self._accepted(layer) for layer in segment.layers]).T
        # A bias raises the measured gain of a small weight, and correlated inputs that of a small layer: only where
        # both agree has a large weight made the signal large.
        known, arriving = ~np.isnan(given), _arriving(signal, segment)
        large = np.where(known, _beyond(np.fmin(np.fmin(given, measured), arriving), low, high), np.nan)
        small = np.where(known, -_beyond(np.fmax(given, arriving), low, high), np.nan)
        outputs = outputs_of(began.structure)
        small[[layer.name in outputs for layer in segment.layers]] = np.nan
        large[[layer.name in covered for layer in segment.layers]] = np.nan
        small[[layer.name in covered for layer in segment.layers]] = np.nan
        for excess, layer_bar, total_bar, healthy in (
            (large, self.large_layer, self.large_total, high),
            (small, self.small_layer, self.small_total, low),
        ):
            far = np.flatnonzero(excess >= math.log(layer_bar))
            odd = [Odd(segment.layers[i], float(given[i]), float(healthy[i])) for i in far]
            levels = np.asarray(segment.levels)[far].tolist()
            together = min(_sum(levels, excess[far]), _sum(segment.levels, excess))
            alone = all(one.layer.name in outputs for one in odd)
            if odd and together >= math.log(self.output_alone if alone else total_bar):
                return odd, bounded_exp(together)
        return [], 1.0

    def _accepted(self, layer: Layer) -> tuple[float, float]:
        """Return the range of healthy gains of a layer; its ends are the same where the activation is known."""
        gains = gains_around(layer.activation, flat_below=layer.flat_below)
        return self.unknown_gains if gains is None else (gains.forward, gains.forward)

    def _finding(self, seen: _Seen, history: History) -> Finding:
        odd, beside = seen.odd, seen.beside
        total = max([seen.total, *(one.off for one in odd if math.isfinite(one.off))])
        worst = max(odd, key=lambda one: one.off)
        layers = list(dict.fromkeys(one.layer.name for one in odd))
        too = "large" if worst.gain > worst.healthy else "small"
        tables = faint_tables(history) if too == "small" else Tables()
        survives = too == "small" and all(one.layer.name in beside for one in odd)
        follows = f" with {worst.layer.activation} after it" if worst.layer.activation else ""
        message = (
            f"The initial weights of {phrases.names(layers)} are far too {too}: those of {worst.layer.name} multiply the"
            f" variance of the signal by {phrases.number(worst.gain)}, where {phrases.number(worst.healthy)} keeps"
            f" it{follows}."
        )
        if worst.layer.kind in GATES and all(one.layer.kind in GATES for one in odd):
            modules = list(dict.fromkeys(one.layer.module for one in odd))
            message = (
                f"The recurrent weights of {phrases.names(modules)} are far too {too}: at each step of the sequence those of"
                f" {worst.layer.module} multiply the variance of its state by {phrases.number(worst.gain)}, where 1 keeps it."
            )
        if worst.layer.frequency:
            message += (
                f" What is multiplied by {phrases.number(worst.layer.frequency)} before a sine then turns through whole periods: what comes"
                " out of it is noise to the next layer."
            )
        elif seen.hidden:
            message += (
                " Normalisations hide that from the signal, not from the training: relative to such weights a step of Adam is about"
                f" {phrases.number(seen.hidden)} times too small, one of gradient descent {phrases.number(seen.hidden**2)} times."
            )
        elif survives and history.structure.residuals:
            message += " Skips and normalisations carry the signal past them: such a network learns, but first these weights have to grow."
        elif len(layers) > 1 and total > worst.off:
            message += f" Together these layers make it {phrases.times(total)} too {too}."
        return Finding(
            rule=self.name,
            code=self.code,
            severity=Severity.CRITICAL
            if total >= self.critical_total and not survives and not seen.hidden
            else Severity.WARNING,
            layers=tuple(layers),
            step=history.last.step,
            message=message,
            evidence={
                "gain_from_weights": Figure(worst.gain, "fan_in · Var(W)"),
                "total_mismatch": Figure(total, f"× too {too}, in variance"),
                **(
                    {HIDDEN: Figure(seen.hidden, "× too small a step of Adam, relative to the weights")}
                    if seen.hidden
                    else {}
                ),
            },
            expected={
                "gain_from_weights": Figure(worst.healthy, "fan_in · Var(W)"),
                "total_mismatch": Figure(1.0, "×"),
            },
            remedy=snippets.advice(
                "Initialise the weights of these layers for the activation that follows them, before training."
                + tables.sentence,
                snippets.together(
                    snippets.initialise(
                        affected_layers.off_too(
                            [*_without_embeddings(odd), *network_of(worst.layer, history.structure)],
                            history,
                            direction=1 if worst.gain > worst.healthy else -1,
                        ),
                        among=history.structure,
                    ),
                    snippets.initialise([one.layer for one in odd if one.layer.is_embedding], among=history.structure),
                    tables.code,
                ),
            ),
            source=gain_source(worst.layer.activation),
        )


@once
def _seen_at_first(first: StepRecord, structure: Structure, rule: InitMismatch, covered: frozenset[str]) -> _Seen:
    """Return what a rule sees at the first record: the same at each of the records that it speaks at."""
    return rule.at_first(History([first], structure, covered))


def _left(layers: Sequence[Layer], history: History) -> list[Layer]:
    """Return the layers that no other finding speaks for."""
    return [layer for layer in layers if layer.name not in history.covered]


def _arriving(signal: Signal, segment: Segment) -> Column:
    """Return, for layers with no known activation, the mean square that the next layer receives over what they receive.

    A factor that is written between two layers (30 in SIREN, 1/sqrt(fan_in) in the NTK parametrisation) belongs to the
    initialisation; NaN where nothing follows or nothing was measured.
    """
    square = signal.column(Quantity.INPUT_MEAN_SQUARE, segment)
    gain = np.full(len(segment.layers), np.nan)
    for i, layer in enumerate(segment.layers):
        after = [k for k, level in enumerate(segment.levels) if level == segment.levels[i] + 1 and k > i]
        if layer.activation is None and after and square[i] > 0:
            gain[i] = square[after[0]] / square[i]
    return gain


def _beyond(gain: Column, low: Column, high: Column) -> Column:
    """Return by how much, in natural logarithm, gains are above their range; negative below it, 0 inside.

    >>> np.exp(_beyond(np.array([8.0, 0.5, 4.0]), np.ones(3), np.full(3, 4.0))).round(6).tolist()
    [2.0, 0.5, 1.0]
    """
    return log_of(gain) - log_of(np.clip(gain, low, high))


def _sum(levels: Sequence[int], excess: Column) -> float:
    """Return the sum over the levels of the median excess at each; what is not known counts for nothing."""
    return float(np.sum(by_level(levels, excess)[1])) if len(levels) else 0.0


def _without_embeddings(odd: Sequence[Odd]) -> list[Layer]:
    return [one.layer for one in odd if not one.layer.is_embedding]
