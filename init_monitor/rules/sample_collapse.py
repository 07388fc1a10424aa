"""IM702: all samples get the same representation; their differences do not reach the end of the network."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from init_monitor.analysis import paths
from init_monitor.analysis.between_layers import passage_to
from init_monitor.analysis.consequences import SIGNAL
from init_monitor.analysis.forward_growth import BLAME_FACTOR, to_blame
from init_monitor.analysis.gains import GLOROT, healthy_gain
from init_monitor.analysis.learning import Learning, learning_of
from init_monitor.analysis.lost_samples import Drowned, Loss, lost_at_the_end, lost_in_noise
from init_monitor.analysis.made_alike import made_alike
from init_monitor.analysis.one_input import constant_inputs
from init_monitor.analysis.rising import RISING_PAIRS, rising_share
from init_monitor.analysis.sample_shares import SampleShares, has_faded, sample_shares
from init_monitor.analysis.segments import log_of
from init_monitor.analysis.stream_factors import fading_by
from init_monitor.records import Figure, Finding, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import (
    affected_layers,
    alike_positions,
    between_layers,
    drowned_entry,
    emptied,
    faded_within,
    made_alike as making_alike,
    made_by_training,
    one_input,
    phrases,
    same_direction,
    snippets,
    stacked_recurrent,
    stream_factors,
)
from init_monitor.remedies.computed_weights import is_computed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from init_monitor.analysis.between_layers import Passage
    from init_monitor.records import History, Layer, Residual, StepRecord, Structure


VANISHING, GRADIENT, GROWTH, DIVERGED, STEPS = "IM102", "IM202", "IM401", "IM802", "IM603"


@dataclass(frozen=True)
class SampleCollapse:
    """IM702: the variance between samples is almost zero in the last layers, although the input varies.

    Also where training has emptied the last layer alone, or a code that is added to noise, so that short networks are seen, too.
    Otherwise looked at in the last two weight layers: one last layer that is all bias is healthy. Beside skip connections a branch, or a
    token that has not looked at the input yet, may start silent: there only what lasts counts. Batches whose samples are alike
    say nothing, unless each holds one and the same sample and the loss does not fall; so for one of several inputs (a time, a
    class). Where what a layer reads differs between samples and what it gives does not at all, an operation between the two is
    named, and no weight. So is what is added where a stream begins and drowns it; a recurrent module of several layers whose
    gates let too little through; and positions of a sample (tokens, queries, nodes) that are exactly alike at an output that
    has positions, or nearly while the loss stays. So are outputs that a loss compares with each other and that come to point one way,
    whatever their length, and a layer of the program's own that gives next to nothing (radial units far from every sample). Layers whose variance is exactly 0 have no share; IM102 is about them.

    **Why.** Every sample gets the same representation, so the loss cannot tell them apart, and the gradients of all samples
    are the same.

    **Example.** Twelve linear layers with ReLU and PyTorch's default initialisation: each multiplies the signal by a sixth and
    adds a bias that does not depend on it.

    **Remedy.** Initialise the layers whose gain is too small for the activation that follows, with zero biases; in a deep
    network add residual connections or normalisations. Made by training: a smaller learning rate or weight decay, or a smaller
    weight of the loss term that is served by equal outputs; what is compared with each other has to be kept apart. Made by an
    operation: a mean or a softmax over the batch, a token that has not seen the rest, a mask that is the wrong way round.

    Attributes:
        gone: share of the variance that lies between samples, relative to the first layers, at which nothing of the input
            arrives: the samples differ by a thousandth of what is the same in all. bfloat16 keeps less, and in float32 the
            measurement itself is rounding below 2e-7. Default initialised ReLU layers get here after 12; from there on Adam,
            too, learned the digits markedly worse.
        faint: share at which too little arrives, if that lasts and is not rising: eight to ten default initialised layers,
            on which SGD learned nothing in 300 steps. Fifty He-initialised layers keep 0.06, and of 52 networks of
            torchvision, timm and transformers as they are initialised there 51 keep 0.1 or more; in the other one (CaiT)
            LayerScale keeps the class token from looking at the image yet.
        records: sampled steps in a row that show it before it is said; a network that has only been looked at once is taken
            at that.
        lasting_records: sampled steps in a row after which it counts as lasting.
        lasting_steps: optimizer steps they span where a little still arrives: Adam woke ten default initialised layers
            within 30, and four hard sigmoids within 100.
        gone_steps: the same where nothing arrives.
        rising_pairs: share of growing pairs of records from which it counts as waking; noise gives 0.5 ± 0.11.
        varies: share at the first layers below which nothing is judged: the samples of the batch are then alike themselves.
            The mean over the positions of 224 × 224 pixels of pure noise leaves 3e-5.
        passes: factor of the mean square between two layers up to which that, and no weight, makes the signal fade: the average
            of 7 × 7 independent positions leaves twice that.
        blame_factor: how far off a layer's local gain may be: half-way to the factor 2 between He and Xavier before a ReLU.
        drop: factor by which one layer must lessen the share to be at fault. He's layers lessen it by 1.05 to 2, default
            initialised ones by 3 to 10.
        lost_records: sampled steps in a row, over ``gone_steps`` at least, that must show what training took away since the
            first record.
        lost_factor: by which the variance between samples at the end of the network must have fallen since then: the outputs
            differ by a thirtieth of what they did. A network that learns spreads its outputs.
        lost_share: share of the output's variance that may then be left of it.
        code_factor: by which what arrives must be less than at the first record for ``records`` of them, ``lasting_steps`` apart, to be
            enough, and by which the variance of a code must have fallen that a layer gets together with noise (a variational
            autoencoder's), and then be below ``faint`` of it: its standard deviation is a fifth and less. One that is used
            grows towards that of the noise.
        pressed: share of what arrives that a code may still have where the gradient at it is so much more than comes back through the
            layer that reads it that the two balance below ``faint``: a number of it then carries 0.07 bit (½ · log₂ 1.1).
        pressed_factor: by which that share must have fallen since the first record: one that started small may yet grow.
        faded: part of the first layers' variance that reached the end at the first record, at or below which the start is to
            blame and not the training: what IM102 warns of, and the first biases that grow drown it.
        one_way: share of the variance between samples up to which outputs that a loss compares with each other point one way: the
            mean cosine of two samples is then 0.8.
        turned: factor by which that share must have fallen since the first record; where something keeps samples apart it rises.
        satisfied: part of the gradient's mean square at the first record that may be left there, a tenth of its rms: the loss is
            content with one direction.
    """

    code: ClassVar[str] = "IM702"
    name: ClassVar[str] = "sample-collapse"
    yields_to: ClassVar[tuple[str, ...]] = (
        "IM102",
        "IM202",
        "IM401",
        "IM501",
        "IM503",
        "IM603",
        "IM604",
        "IM701",
        "IM802",
    )
    follows: ClassVar[tuple[str, ...]] = (*SIGNAL, "IM704")
    whatever_the_loss: ClassVar[bool] = True
    source: ClassVar[str] = (
        f"{GLOROT}; Schoenholz et al. 2017, 'Deep information propagation': correlations of inputs go to 1 with depth"
    )

    gone: float = 1e-6
    faint: float = 1e-3
    records: int = 3
    lasting_records: int = 8
    lasting_steps: int = 100
    gone_steps: int = 50
    rising_pairs: float = RISING_PAIRS
    varies: float = 1e-5
    passes: float = 1e-2
    blame_factor: float = BLAME_FACTOR
    drop: float = 3.0
    lost_records: int = 2
    lost_factor: float = 1e3
    lost_share: float = 1e-2
    code_factor: float = 30.0
    pressed: float = 0.1
    pressed_factor: float = 10.0
    faded: float = 1e-5
    one_way: float = 0.2
    turned: float = 3.0
    satisfied: float = 1e-2

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most one finding."""
        if one_input.is_one_sample(self, history):
            yield one_input.one_sample(self, self.varies, history)
            return
        alike = (
            self._made_alike(history) or drowned_entry.found(self, history) or stacked_recurrent.found(self, history)
        )
        if alike is not None:
            yield alike
            return
        now = sample_shares(history.last, history.structure, self.varies)
        if now is not None and now.arriving <= self.faint:
            stretch = self._stretch(history)
            severity = self._severity(history, stretch, self._began(history))
            if severity is not None:
                place = made_alike(history.last, history.structure, self.varies)
                yield (
                    making_alike.finding(self, place, severity, history)
                    if place is not None
                    else self._finding(severity, now, history, len(stretch))
                )
                return
        lost = self._lost(history)
        if lost is not None:
            yield emptied.finding(self, lost, history)
        elif other := same_direction.found(self, history) or faded_within.found(self, history):
            yield other
        elif positions := alike_positions.found(self, history):
            yield positions
        elif len(history.records) >= self.lasting_records:
            yield from one_input.findings(
                self, constant_inputs(history.records, history.structure, self.varies), history
            )

    def _made_alike(self, history: History) -> Finding | None:
        """Return the finding about one place that makes the samples exactly alike: at once, or where that may be a start, if it lasts."""
        latest = history.records[-self.records :]
        places = [made_alike(record, history.structure, self.varies) for record in latest]
        place = places[-1]
        learning = learning_of(history)
        if place is None or learning is Learning.LEARNS:
            return None
        if any(one is None or one.layer is not place.layer for one in places):
            return None
        span = history.last.step - history.records[0].step
        level = learning is Learning.LEVEL and span >= self.gone_steps
        if history.structure.residuals and not level:
            return None  # a token that has not looked at the input yet, behind branches that start at 0
        return making_alike.finding(self, place, Severity.CRITICAL if level else Severity.WARNING, history)

    def leaves(self, finding: Finding, other: Finding, structure: Structure) -> frozenset[str]:
        """Return the layers that another finding explains, judged by where their signal comes from.

        What training took away at the end is left to IM102 (weights that shrank), IM401 (a start that was undone), IM603 and IM802, and
        positions that are alike to IM802: it is what is left of that. Where IM202 names an activation that is off, that is why.
        """
        if other.code == GRADIENT:
            return frozenset(finding.layers) if other.evidence.get("zero_fraction", 0.0) == 1 else frozenset()
        if other.code in {VANISHING, GROWTH, DIVERGED, STEPS}:
            late = {"at_first", "position_share"} if other.code == DIVERGED else {"at_first"}
            return frozenset(finding.layers) if late & set(finding.evidence) else frozenset()
        return paths.explained(finding, other, structure)

    def _lost(self, history: History) -> Loss | None:
        """Return what training took away at the end of the network, or from a code, wherever that is in short networks too."""
        past = [record for record in history.records[1:] if record.step <= history.last.step - self.gone_steps]
        if not past:
            return None
        latest = [record for record in history.records[1:] if record.step >= past[-1].step]
        if len(latest) < self.lost_records:
            return None
        records = [history.records[0], *latest]
        limits = Drowned(self.code_factor, self.faint, self.pressed, self.pressed_factor)
        return lost_at_the_end(
            records, history.structure, factor=self.lost_factor, share=self.lost_share
        ) or lost_in_noise(records, history.structure, limits)

    def _stretch(self, history: History) -> list[float]:
        """Return what arrived in the latest records in a row that show it, oldest first."""
        arriving: list[float] = []
        for record in reversed(history.records):
            seen = sample_shares(record, history.structure, self.varies)
            if seen is None or not seen.arriving <= self.faint:
                break
            arriving.append(seen.arriving)
        return arriving[::-1]

    def _began(self, history: History) -> float:
        """Return what arrived at the first record."""
        began = sample_shares(history.records[0], history.structure, self.varies)
        return math.nan if began is None else began.arriving

    def _severity(self, history: History, arriving: Sequence[float], began: float) -> Severity | None:
        count = len(arriving)
        span = history.last.step - history.records[-count].step
        # Below what can be measured, rounding errors rise and fall at random.
        rising = rising_share(np.maximum(arriving, self.gone)) >= self.rising_pairs
        if count >= self.lasting_records and not rising:
            if span >= self.gone_steps and max(arriving) <= self.gone:
                return Severity.CRITICAL
            if span >= self.lasting_steps:
                return Severity.WARNING
        if began >= self.code_factor * self.faint and count >= self.records and span >= self.lasting_steps:
            # What training takes away is seen in fewer records than a start that may yet wake.
            return Severity.WARNING if arriving[-1] <= arriving[0] else None
        at_once = max(arriving[-self.records :]) <= self.gone and count >= min(self.records, len(history.records))
        return Severity.WARNING if at_once and not history.structure.residuals else None

    def _finding(self, severity: Severity, now: SampleShares, history: History, count: int) -> Finding:
        began = sample_shares(history.records[0], history.structure, self.varies)
        trained = (
            began is not None and began.arriving > self.faint and not has_faded(began, history.records[0], self.faded)
        )
        start = min(now.lost_from(self.faint), len(now.layers) - 1)
        blamed = list(now.layers[start:]) if trained else self._blamed(now, history.last, start)
        evidence = {
            "between_sample_share": Figure(now.arriving * now.entering, "of the variance"),
            "entering_share": Figure(now.entering, "of the variance, at the first layers"),
            "records": Figure(count, "sampled steps in a row"),
        }
        lost = now.layers[start:]
        places: Sequence[Layer | Residual] = ()
        message = (
            f"All samples look the same to {phrases.names([layer.name for layer in lost])}: what differs between them is"
            f" {phrases.number(now.arriving * now.entering)} of the variance there, and"
            f" {phrases.number(now.entering)} at the first layers. What is left is the same constant for every input."
        )
        if trained and began is not None:
            evidence["at_first"] = Figure(began.arriving * began.entering, f"at step {history.records[0].step}")
            message += f" At step {history.records[0].step} they did differ: training caused this."
            remedy = made_by_training.remedy(history, direction=-1)
        elif factor := fading_by(
            [x.name for x in now.layers], max(now.arriving, self.gone), history.last, history.structure
        ):
            places = factor.residuals
            message += f" {stream_factors.told(factor)}"
            remedy = stream_factors.remedy(factor)
        elif between := self._between(now, history.records[0]):
            blamed = [passage.layer for passage in between.values()]
            message += f" {between_layers.told(between)}"
            remedy = between_layers.remedy(between)
        else:
            # Where no gain is known (between sigmoids), any layer of the chain may contribute.
            unknown = any(math.isnan(healthy_gain(x)) and not x.normalised for x in now.layers)
            culprits = [layer for layer in (now.layers if unknown else blamed) if layer.weight or is_computed(layer)]
            culprits = affected_layers.off_too(culprits, history, direction=-1)
            message += (
                f" {phrases.names([layer.name for layer in blamed])} let the signal fade below the biases."
                if blamed
                else ""
            )
            sentence = (
                "Initialise these layers for the activation that follows them, with zero biases, so that the signal is not"
                " smaller than the constants added to it; in a deep network add residual connections or normalisations."
            )
            remedy = snippets.advice(sentence, snippets.initialise(culprits, among=history.structure))
        return Finding(
            rule=self.name,
            code=self.code,
            severity=severity,
            layers=tuple(one.name for one in places or blamed or lost),
            step=history.last.step,
            message=message,
            evidence=evidence,
            expected={"between_sample_share": Figure(self.faint * now.entering, "of the variance, or more")},
            remedy=remedy,
            source=self.source,
        )

    def _between(self, now: SampleShares, record: StepRecord) -> dict[int, Passage]:
        """Return the places between layers at which the signal fades, whatever the weights are."""
        places = enumerate(passage_to(layer, record) for layer in now.layers)
        return {i: place for i, place in places if place is not None and place.factor <= self.passes}

    def _blamed(self, now: SampleShares, record: StepRecord, start: int) -> list[Layer]:
        """Return the layers whose weights are too small for the signal; failing that, those that lessen the share most."""
        where = {name: i for i, name in enumerate(record.names)}
        given = record.column(Quantity.EXPECTED_GAIN)
        off = np.array([log_of(np.array([healthy_gain(x)]))[0] for x in now.layers])
        off = off - log_of(np.array([given[where[x.name]] for x in now.layers]))
        weak = to_blame(off, self.blame_factor)
        if weak:
            return [now.layers[i] for i in weak]
        shares = np.maximum(now.shares[: start + 1], self.gone)
        drops = np.append(np.nan, log_of(shares[:-1]) - log_of(shares[1:]))
        return [now.layers[i] for i in to_blame(drops, self.drop)] or list(now.layers[start : start + 1])
