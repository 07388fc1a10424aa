"""IM304: attention whose logits leave the range in which softmax still learns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from init_monitor.analysis import paths
from init_monitor.analysis.attention_heads import heads_at, makers_of
from init_monitor.analysis.bounded import is_fresh
from init_monitor.analysis.consequences import SIGNAL
from init_monitor.analysis.learning import Learning, learning_of
from init_monitor.records import Figure, Finding, Severity
from init_monitor.remedies import phrases, sharp_attention

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from init_monitor.analysis.attention_heads import Heads
    from init_monitor.records import History, Structure

_STEPS = frozenset({"IM601", "IM603", "IM604"})
"""Steps that are too large for the whole network, which explain logits that grew."""


@dataclass(frozen=True)
class AttentionLogits:
    """IM304: the logits of an attention are so large that its rows look at one place, or they grow without a bound.

    A row looks at one place if one key has more than 0.9 of its weight. That a network *starts* so is a fault: it has learned
    nothing yet that it could choose by. One that is trained on (its normalisations show that) is left alone, and so is a head that
    becomes sharp while the loss falls: that is how attention learns. Logits that *grow* are told where the loss does not
    fall, where they are as large as in runs that diverged, or where the number format ends; else as information. Heads without
    any preference are not a finding: most begin like that.

    **Why.** The derivative of a weight p is p(1 - p): where one key has it all, no gradient reaches queries and keys, and the
    random choice stays. Logits that keep growing end in entropy collapse, and the loss jumps or becomes NaN.

    **Example.** 64 dimensions without 1/√64: logits of rms 8, and a third to two thirds of the rows look at one place before
    anything was learned. A learning rate that is too high: logits from 2 to 500 within five steps.

    **Remedy.** From the start: the scale 1/√d, Xavier's variance for queries and keys. Made by training: QK-norm, a lower
    rate or a longer warm-up, a softcap.

    Attributes:
        start: optimizer steps: what is seen in a record this early is what the network started with.
        share: share of rows at one place, mean over heads, from which it is a warning at the start. Gaussian logits with a standard
            deviation of 8 (64 dimensions unscaled) give 0.32 to 0.63 over 1,024 to 8 keys, those of 3 at most 0.21 and those of 1
            none.
        unscaled_share: the same where the scale is known to be missing: 16 dimensions unscaled, a standard deviation of
            4, give 0.12 over 64 keys.
        fewest_keys: keys that a row has to see for that: over 2 keys, logits of a standard deviation of 2 look at one of them in
            4 rows of 10.
        missing: times 1/√d from which the scale is not the usual one.
        late_share: share of rows at one place from which attention has collapsed: two and a half times what a small network
            reaches that learns its task.
        late_records: sampled steps in a row that must show it: one may be an odd batch.
        range: largest logit from which growth is worth saying: bfloat16 holds 50 to a quarter, and beyond a difference of 17
            float32's weights are 0 and 1 to the last bit.
        growth: times the largest logit of the first record, that growth has to amount to.
        diverges: largest logit from which runs were seen to diverge, whatever the loss says (Wortsman et al. 2023, section 3.1.1).
        float16: largest logit from which float16, which ends at 65,504, is two doublings from its end.
    """

    code: ClassVar[str] = "IM304"
    name: ClassVar[str] = "attention-logits"
    yields_to: ClassVar[tuple[str, ...]] = (
        "IM101", "IM401", "IM502", "IM503", "IM601", "IM603", "IM604", "IM701",
    )  # fmt: skip
    follows: ClassVar[tuple[str, ...]] = SIGNAL
    source: ClassVar[str] = (
        "Vaswani et al. 2017, 'Attention is all you need', 3.2.1; Zhai et al. 2023, 'Stabilizing Transformer training by preventing"
        " attention entropy collapse'; Dehghani et al. 2023, 'Scaling vision Transformers to 22 billion parameters', section 2"
    )

    start: int = 10
    share: float = 0.25
    unscaled_share: float = 0.1
    fewest_keys: float = 4.0
    missing: float = 2.0
    late_share: float = 0.8
    late_records: int = 3
    range: float = 50.0
    growth: float = 4.0
    diverges: float = 1e4
    float16: float = 16_384.0

    def judge(self, history: History) -> Iterator[Finding]:
        """Return at most two findings: what the network started with, and what training made."""
        structure = history.structure
        if not structure.attentions:
            return
        first, last = heads_at(history.records[0], structure), heads_at(history.last, structure)
        begun: list[Heads] = []
        if history.records[0].step < self.start and is_fresh(history.records[0], structure):
            begun = [one for name, one in last.items() if self._starts_sharp(first.get(name), one)]
            begun = [one for one in begun if not history.covered.intersection(one.attention.inputs)]
        if begun:
            yield self._of_the_start(sorted(begun, key=lambda one: -one.one_place), history)
        recent = [heads_at(record, structure) for record in history.records[-self.late_records :]]
        grown = [
            (one, severity)
            for name, one in last.items()
            if one not in begun
            and (severity := self._late(first.get(name), [each[name] for each in recent if name in each], history))
        ]
        if grown:
            grown.sort(key=lambda pair: (-pair[1].rank, -pair[0].largest))
            yield self._of_training([one for one, _ in grown], grown[0][1], first[grown[0][0].attention.name], history)

    def leaves(self, finding: Finding, other: Finding, structure: Structure) -> frozenset[str]:
        """Return the layers that another finding explains: steps too large for the whole network explain what grew."""
        if other.code in _STEPS and "growth" in finding.evidence:
            return frozenset(finding.layers)
        return paths.explained(finding, other, structure)

    def is_about_start(self, finding: Finding) -> bool:
        """Say that none is: attention that started sharp and still is has lost something, however well the rest learns without."""
        del finding
        return False

    def _starts_sharp(self, first: Heads | None, last: Heads) -> bool:
        if first is None or not all(one.keys >= self.fewest_keys for one in (first, last)):
            return False
        attention = last.attention
        unscaled = attention.scale * math.sqrt(attention.head_dim) >= self.missing and not attention.normalised
        bar = self.unscaled_share if unscaled else self.share
        return all(one.one_place >= bar for one in (first, last))

    def _late(self, first: Heads | None, recent: Sequence[Heads], history: History) -> Severity | None:
        """Return how bad the growth of an attention's logits is, ``None`` if there is none."""
        if first is None or len(recent) < self.late_records:
            return None
        bar = max(self.range, self.growth * first.largest)
        if not all(one.largest >= bar for one in recent):
            return None
        least = min(one.largest for one in recent)
        if least >= self.float16 and "float16" in _formats(recent[-1], history.structure):
            return Severity.CRITICAL
        stuck = learning_of(history) in {Learning.LEVEL, Learning.BROKEN}
        collapsed = all(one.one_place >= self.late_share for one in recent)
        return Severity.WARNING if least >= self.diverges or (stuck and collapsed) else Severity.INFO

    def _of_the_start(self, found: Sequence[Heads], history: History) -> Finding:
        worst = found[0]
        message = (
            f"{phrases.percent(worst.one_place)} of the rows of the attention of {worst.attention.name} look at one place from the"
            f" start, before anything was learned: its logits have an rms of {phrases.number(worst.rms)}, where 1 or less is usual."
            f"{sharp_attention.cause(worst, history)}{_others(found)}"
        )
        return Finding(
            rule=self.name,
            code=self.code,
            severity=Severity.WARNING,
            layers=sharp_attention.names_of(found, history.structure),
            step=history.last.step,
            message=message,
            evidence=_evidence(worst),
            expected={
                "rows_at_one_place": Figure(self.share, "of the rows, or less"),
                "logit_rms": Figure(1.0, "or less"),
            },
            remedy=sharp_attention.of_the_start(found, history),
            source=self.source,
        )

    def _of_training(self, found: Sequence[Heads], severity: Severity, first: Heads, history: History) -> Finding:
        worst = found[0]
        factor = worst.largest / first.largest if first.largest > 0 else math.inf
        message = (
            f"The largest attention logit of {worst.attention.name} was {phrases.number(first.largest)} at step"
            f" {history.records[0].step} and is {phrases.number(worst.largest)} now"
        )
        if worst.one_place >= 0:
            message += f"; {phrases.percent(worst.one_place)} of its rows look at one place"
        message += "."
        if severity is Severity.INFO:
            message += " As far as the loss tells, nothing is lost by it yet."
        return Finding(
            rule=self.name,
            code=self.code,
            severity=severity,
            layers=sharp_attention.names_of(found, history.structure),
            step=history.last.step,
            message=message + _others(found),
            evidence={
                **_evidence(worst),
                "logit_max": Figure(worst.largest),
                "growth": Figure(factor, "times that of the first record"),
            },
            expected={"logit_max": Figure(self.range, "or less")},
            remedy=sharp_attention.of_training(found, history),
            source=self.source,
        )


def _evidence(heads: Heads) -> dict[str, Figure]:
    return {
        "rows_at_one_place": Figure(heads.one_place, "of the rows"),
        "logit_rms": Figure(heads.rms),
        "entropy": Figure(heads.entropy, "of the largest, ln T"),
    }


def _others(found: Sequence[Heads]) -> str:
    names = [one.attention.name for one in found[1:]]
    return f" So {'do' if len(names) > 1 else 'does'} {phrases.names(names)}." if names else ""


def _formats(heads: Heads, structure: Structure) -> set[str]:
    return {layer.dtype for layer in makers_of(heads.attention, structure)}
