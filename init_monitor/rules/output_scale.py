"""IM703: logits so large at the start that the first loss is far above that of guessing, or that drift off as a whole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from init_monitor.analysis.between_layers import passage_to
from init_monitor.analysis.consequences import SIGNAL
from init_monitor.analysis.learned_scale import LARGEST, exponentiated
from init_monitor.analysis.learning import LONG
from init_monitor.analysis.log_partition import HALF, Drift, drifts
from init_monitor.analysis.lost_samples import ends_of
from init_monitor.analysis.medians import median
from init_monitor.records import Figure, Finding, Severity
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import between_layers, phrases, snippets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from init_monitor.records import History, Layer, StepRecord, Structure


Z_LOSS = """def z_loss(logits):  # in the training step: loss = loss + z_loss(logits)
    return 1e-4 * logits.float().logsumexp(dim=-1).square().mean()"""


LOGARITHM = """# where the model is built:
# self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
# in the forward:
# logits = self.logit_scale.exp() * similarities"""


@dataclass(frozen=True)
class OutputScale:
    """IM703: the logits of a classifier are far too large at step 0, and its first loss is far above that of guessing, ln C.

    Judged on the first record, where the loss and the gradient of the logits both are those of a cross entropy: no element of
    it is larger than its share of the batch. A regression with targets out of scale does not count. A network that has unlearned
    its start within a few steps has lost nothing by it, so a warning waits for these, unless the loss is hopelessly large, or the biases
    of the classes make it so. Where
    a finding that names the cause exists (growth over depth, initial weights), this one yields to it.

    Of logits that are compared outside the layers (CLIP's), a learned number whose exponential multiplies the first loss is named where
    it is far too large.

    Later, log Z = ln Σ exp(logits) is looked at: a cross entropy does not hold it, so that all logits may drift off together. Where
    their format rounds numbers of that size visibly that is a warning, in a wider one information.

    **Why.** The network starts certain of random answers. Until it has unlearned that, which takes most of the first
    steps, it learns nothing about the classes, and every gradient is as much too large as the logits are.

    **Example.** A head that shares the weight of ``nn.Embedding``, which starts from N(0, 1): logits of standard deviation
    √width, and a first loss of 77 where ln 24 = 3.2 is what guessing costs.

    **Remedy.** Initialise the weight that makes the logits with a standard deviation of 0.02 (shared embeddings) or Xavier's, or
    multiply the logits by 1/√width. A weight that is shared wants a standard deviation of 1 as an embedding and of 1/√width as a head:
    give it the head's, and multiply the embedding by √width (Vaswani et al. 2017, 3.4). Against drift: a z-loss,
    10⁻⁴ · (log Z)² on top of the loss (Chowdhery et al. 2022, section 5).

    Attributes:
        excess: loss of guessing, ln C, times this, from which the first loss is far above it.
        least: and by at least this much: with two classes guessing costs 0.69, and a loss of 2.7 means 7 % for the right one.
        hopeless: loss of guessing times this, from which it is a warning at once: most of a first epoch goes into unlearning it.
        soon: losses after which it is a warning if the latest of them are still far above that of guessing: networks that learn
            at all have left their first loss by then. Published ones start at four times that of guessing (Kaiming's fan_out mode
            before ten classes) and are past it.
        least_std: standard deviation of the logits from which they can be the reason: at 2 a cross entropy starts 2 above ln C.
        sure: largest element of the gradient of the logits, times the rows of the batch, of a cross entropy that is certain and
            wrong: 1. Rows that do not count (padding) make it larger, half of them by a factor of 2.
        drift: log Z from which it has drifted off: bfloat16 rounds logits from 64 on to halves.
        records: sampled steps in a row that must show it.
        chance: how many times the variance that zero-mean weights give, fan_in · Var(W) · E[x²], the logits may have: more, and
            the weights were trained before (fine-tuning). Sharing the weight with the embedding gives 3.5.
    """

    code: ClassVar[str] = "IM703"
    name: ClassVar[str] = "output-scale"
    yields_to: ClassVar[tuple[str, ...]] = ("IM101", "IM401", "IM502", "IM701")
    follows: ClassVar[tuple[str, ...]] = SIGNAL
    source: ClassVar[str] = (
        "Karpathy 2019, 'A recipe for training neural networks': verify the loss at initialisation, -log(1/C) for a softmax"
    )

    excess: float = 2.0
    least: float = 2.0
    hopeless: float = 10.0
    soon: int = LONG
    least_std: float = 2.0
    sure: tuple[float, float] = (0.5, 2.1)
    chance: float = 5.0
    drift: float = 64.0
    records: int = 3

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most two findings: one about the first record of a run from step 0, one about where log Z is now."""
        yield from self._drifted(history)
        first = history.records[0]
        if first.step > 0 or not math.isfinite(first.loss):
            return
        yield from self._exponentiated(first, history)
        found = [layer for layer in ends_of(history.structure) if self._is_sure(layer, first)]
        if found and (severity := self._severity(found[0], first.loss, history)) is not None:
            yield self._finding(found[0], first, history, severity)

    def _severity(self, layer: Layer, start: float, history: History) -> Severity | None:
        """Return how bad it is, by what the first steps came to; ``None`` while that is not known."""
        if start >= self.hopeless * math.log(layer.fan_out) or not history.last.optimizer:
            return Severity.WARNING
        if _made_by_biases(layer, history.records[0]):
            return (
                Severity.WARNING
            )  # Adam moves a bias by its rate, and weights that make up for one have to be unlearned with it
        losses = history.losses.values[: self.soon]
        if len(losses) < self.soon:
            return None
        stays = self._is_far(median(losses[-3:]), layer)
        return Severity.WARNING if stays else Severity.INFO

    def is_about_start(self, finding: Finding) -> bool:
        """Say whether it tells of the start."""
        return not {"log_z", "learned_scale"}.intersection(finding.evidence)

    def leaves(self, finding: Finding, other: Finding, structure: Structure) -> frozenset[str]:
        """Return the layers: any finding about the scale of what comes before the output explains that of the output."""
        del other, structure
        return frozenset(finding.layers)

    def _exponentiated(self, first: StepRecord, history: History) -> Iterator[Finding]:
        """Yield a finding about a learned number whose exponential makes the first loss, if there is one."""
        one = exponentiated(first, history.structure)
        if one is None:
            return
        scale = math.exp(min(one.size, 700.0))  # the largest that a float holds
        yield Finding(
            rule=self.name,
            code=self.code,
            severity=Severity.WARNING,
            layers=(),
            step=history.last.step,
            message=(
                f"The first loss, {phrases.number(first.loss)}, is proportional to the exponential of {one.name}: its gradient is"
                f" as large as the loss itself. It is {phrases.number(one.size)}, so that what is compared is multiplied by"
                f" {phrases.number(scale)}, where {phrases.number(LARGEST)} is much."
            ),
            evidence={"learned_scale": Figure(scale), "first_loss": Figure(first.loss)},
            expected={"learned_scale": Figure(LARGEST, "or less")},
            remedy=snippets.advice(
                "Keep the logarithm of the scale where the forward takes the exponential: a temperature of 0.07 is log(1/0.07) = 2.66,"
                " and the logits are then multiplied by 14.3; or multiply by the number itself, without exp. Hold the scale below 100.",
                LOGARITHM,
            ),
            source="Radford et al. 2021, 'Learning transferable visual models from natural language supervision', Sec. 2.5",
        )

    def _drifted(self, history: History) -> Iterator[Finding]:
        """Return a finding about the layer whose log Z has drifted furthest, if one has."""
        found = drifts(history, self.records, self.drift)
        if not found:
            return
        worst: Drift = max(found, key=lambda one: (one.spacing, abs(one.now)))
        layer = worst.layer
        message = (
            f"log Z, ln Σ exp(logits), of {layer.shown} was {phrases.number(worst.first)} at step {history.records[0].step} and is"
            f" {phrases.number(worst.now)} now. The loss does not hold it, so all logits drift off together."
        )
        message += (
            f" {layer.dtype} knows numbers of that size to {phrases.number(worst.spacing)}: the logits are rounded to that."
            if worst.is_coarse
            else f" {layer.dtype} holds numbers of that size finely; bfloat16 would round them to halves."
        )
        yield Finding(
            rule=self.name,
            code=self.code,
            severity=Severity.WARNING if worst.is_coarse else Severity.INFO,
            layers=(layer.name,),
            step=history.last.step,
            message=message,
            evidence={
                "log_z": Figure(worst.now),
                "spacing": Figure(worst.spacing, f"between numbers in {layer.dtype}"),
            },
            expected={"log_z": Figure(self.drift, "or less, of either sign"), "spacing": Figure(HALF, "or less")},
            remedy=snippets.advice(
                "Add a z-loss, which pulls log Z to 0 and changes no probability; weight decay on the output layer does it more slowly.",
                Z_LOSS,
            ),
            source="Chowdhery et al. 2022, 'PaLM: scaling language modeling with Pathways', section 5",
        )

    def _is_sure(self, layer: Layer, first: StepRecord) -> bool:
        classes, table = layer.fan_out, first.layer_table
        if classes < 2:  # noqa: PLR2004 - one output is a regression, or a yes and no whose size says little
            return False
        std = math.sqrt(max(0.0, table.at(layer.name, Quantity.VARIANCE)))
        peak = table.at(layer.name, Quantity.ABS_MAX)
        rows = table.at(layer.name, Quantity.COUNT) / classes
        sure = table.at(layer.name, Quantity.GRADIENT_ABS_MAX) * rows
        guessing, far = math.log(classes), self._is_far(first.loss, layer)
        # The right class is as likely as any other, so its logit falls short of the largest by about their own spread.
        theirs = std / 2 <= first.loss - guessing <= 2 * peak
        if not (far and theirs and std >= self.least_std and self.sure[0] <= sure <= self.sure[1]):
            return False
        # Trained weights respond to their input: they amplify it more than random ones, and are not an initialisation.
        by_chance = table.at(layer.name, Quantity.EXPECTED_GAIN) * table.at(layer.name, Quantity.INPUT_MEAN_SQUARE)
        frozen = first.parameter_table.at(layer.weight, Quantity.TRAINABLE) == 0
        return not frozen and (_made_by_biases(layer, first) or not by_chance * self.chance < std**2)

    def _is_far(self, loss: float, layer: Layer) -> bool:
        guessing = math.log(layer.fan_out)
        return loss >= max(self.excess * guessing, guessing + self.least)

    def _finding(self, layer: Layer, first: StepRecord, history: History, severity: Severity) -> Finding:
        table, structure = first.layer_table, history.structure
        std = math.sqrt(table.at(layer.name, Quantity.VARIANCE))
        guessing = math.log(layer.fan_out)
        shared = [x for x in structure.layers if x.is_embedding and x.weight and x.weight == layer.weight]
        given = table.at(layer.name, Quantity.EXPECTED_GAIN)
        arriving = table.at(layer.name, Quantity.INPUT_MEAN_SQUARE)
        biases = _by_biases(layer, first)
        by_bias = _made_by_biases(layer, first)
        by_weight = by_bias or not arriving > given
        passage = None if by_weight else passage_to(layer, first)
        if passage is not None and passage.factor < 1:
            passage = None
        message = (
            f"The first loss is {phrases.number(first.loss)}, where guessing among {layer.fan_out:,} classes costs"
            f" {phrases.number(guessing)}: the logits of {layer.shown} have a standard deviation of {phrases.number(std)}, so that"
            " the network starts certain of random answers."
        )
        if by_bias:
            message += f" {layer.bias} makes them: the biases of the classes have a standard deviation of {phrases.number(math.sqrt(biases))}."
        elif by_weight and given > 0:
            name = shared[0].weight if shared else layer.weight
            message += (
                f" {name or layer.shown} makes them: fan_in · Var(W) is {phrases.number(given)}, where 1 is usual."
            )
        elif arriving > 0:
            message += (
                f" What it receives has an rms of {phrases.number(math.sqrt(arriving))} already, where 1 is usual."
            )
            if passage is not None:
                message += f" {between_layers.told({0: passage})}"
        if shared and by_weight and not by_bias:
            message += _two_roles(shared[0], layer, first)
        if severity is Severity.INFO:
            message += f" After {self.soon} steps it is past that."
        names = dict.fromkeys([*(x.name for x in shared), layer.name])
        return Finding(
            rule=self.name,
            code=self.code,
            severity=severity,
            layers=tuple(names),
            step=history.last.step,
            message=message,
            evidence={
                name: figure
                for name, figure in {
                    "first_loss": Figure(first.loss),
                    "logits_std": Figure(std),
                    "gain_from_weights": Figure(given, "fan_in · Var(W)"),
                }.items()
                if math.isfinite(figure)
            },
            expected={"first_loss": Figure(guessing, "ln C, about"), "logits_std": Figure(1.0, "or less")},
            remedy=("" if severity > Severity.INFO else "Nothing has to change for that. ")
            + (
                between_layers.remedy({0: passage})
                if passage
                else _remedy(layer, shared, structure, by_weight=by_weight)
            ),
            source=self.source,
        )


def _by_biases(layer: Layer, first: StepRecord) -> float:
    """Return the variance between the biases of an output's classes; 0 without any."""
    variance = first.parameter_table.at(layer.bias, Quantity.WEIGHT_VARIANCE) if layer.bias else 0.0
    return variance if variance > 0 else 0.0


def _made_by_biases(layer: Layer, first: StepRecord) -> bool:
    """Say whether most of the logits' variance is that between the biases of the classes."""
    return _by_biases(layer, first) > first.layer_table.at(layer.name, Quantity.VARIANCE) / 2


def _two_roles(embedding: Layer, head: Layer, first: StepRecord) -> str:
    """Return what a shared weight gives in each of its roles, and what each role wants of it."""
    rms = math.sqrt(max(0.0, first.layer_table.at(embedding.name, Quantity.MEAN_SQUARE)))
    if not (rms > 0 and head.fan_in > 0):
        return ""
    return (
        f" It is shared: as {embedding.name} it gives an rms of {phrases.number(rms)}, and for an rms of 1 it wants a standard"
        f" deviation of 1; as the head it wants 1/√{head.fan_in} = {phrases.number(head.fan_in**-0.5)}."
    )


def _remedy(layer: Layer, shared: list[Layer], structure: Structure, *, by_weight: bool) -> str:
    if not by_weight:
        return (
            f"Normalise what {layer.shown} receives (a LayerNorm before the output layer), or scale the logits down:"
            " logits = logits / sqrt(width)."
        )
    if shared:
        return snippets.advice(
            "Initialise the shared weight for the head, with a standard deviation of 1/sqrt(width) or the usual 0.02, and multiply the"
            " embedding by sqrt(width) where no normalisation follows it; or keep it as it is and scale the logits: multiply them"
            " by 1/sqrt(width).",
            snippets.initialise(shared[:1], among=structure),
        )
    return snippets.advice(
        "Initialise the output layer smaller, with Xavier's variance and a zero bias, before training.",
        snippets.initialise([layer], among=structure),
    )
