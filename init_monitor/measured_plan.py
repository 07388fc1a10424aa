"""Which layers of a textbook plan a network needs: those where something is off, if the change is measured to help."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from init_monitor.analysis.initialiser import NORMAL_TABLE, OUTPUT_STD, SMALL_OUTPUT
from init_monitor.analysis.medians import median
from init_monitor.analysis.small_ends import end_modules, small_ends
from init_monitor.analysis.start_faults import FAR, OF_NUMBERS, UNDER_DROPOUT, StartFault, start_faults
from init_monitor.batch_targets import Targets, targets_of
from init_monitor.capture.single_pass import Rehearsal, rehearse
from init_monitor.recipes.apply import carry_out
from init_monitor.recipes.assignment import assign
from init_monitor.recipes.summed_outputs import divided
from init_monitor.recipes.weight_scale import far_weights, usual_firsts
from init_monitor.records.plan import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor

    from init_monitor.records import Structure
    from init_monitor.records.plan import LayerPlan

TRIAL_SEED = 0
"""Seed of the weights that are tried out, drawn from a generator of its own."""

DRAWS = 3
"""How often the weights are drawn to see what the first loss would be: with another draw it may be three times as large."""

ROUNDS = 3
"""How often faults that a change reveals may be changed as well."""

WORST = 100.0
"""The most that a fault counts: e^100 is as bad as no signal at all."""

LOUDER = 1.5
"""Factor on the loss of the batch that a plan may cost. An output of variance 1 doubles a squared error of standardised targets, and has
to be unlearned first: unless the targets are classes, the output layers that a plan draws are small. Where that does not help nothing is
changed: what has learned already, and where the loss needs a scale inside the network (a codebook's)."""

LOUDER_OF_CLASSES = 4.5
"""The same where the targets are classes, whose output layers are small only from there on: the 8 nats above ln 10 that an output of :data:`LOGITS` costs. The gradient of a cross entropy has
a bound, and classifiers learn better from an output of Xavier's variance: 6 GELU layers end at 0.127, with small weights at 0.194."""

_Dropout = nn.modules.dropout._DropoutNd  # noqa: SLF001 - the one common base of all kinds

KEPT = "Kept: the signal, the gradient and its own scale are healthy as they are."


CHAINS = frozenset({"signal", "gradient", "samples"})
"""Kinds of faults that all layers of a chain make together."""

NO_BETTER = "{} was tried and measured to make it no better."
FIRST = "that is mended by the layers behind it, and its own scale says how quickly what is learned may vary with the input."
OTHERS = "most layers of its chain are none that a recipe writes."


class _Looked(NamedTuple):
    """What is off with some layers initialised by plan."""

    faults: tuple[StartFault, ...]

    @property
    def distance(self) -> float:
        """How far all of it is from healthy together, as a sum of logarithms."""
        return sum(min(fault.off, WORST) - FAR * 0.5 for fault in self.faults)


@contextmanager
def carried_out(plans: Sequence[LayerPlan], model: nn.Module, seed: int = TRIAL_SEED) -> Iterator[None]:
    """Initialise a model by its plans temporarily, and restore every weight and buffer."""
    tensors = [*model.parameters(), *model.buffers()]
    kept = [tensor.detach().clone() for tensor in tensors]
    try:
        carry_out(plans, model, torch.Generator().manual_seed(seed))
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, kept, strict=True):
                tensor.copy_(value)


class Trials:
    """The same network, looked at with one set of layers after another initialised by the textbook."""

    def __init__(
        self,
        model: nn.Module,
        batch: Any,  # noqa: ANN401 - whatever the model takes
        loss_fn: Callable[..., Tensor] | None,
        textbook: Sequence[LayerPlan],
        seen: Rehearsal,
    ) -> None:
        """Take a network and its textbook plan.

        Args:
            model: the network; put back after every trial.
            batch: as ``recommend`` takes it.
            loss_fn: as ``recommend`` takes it.
            textbook: a plan for every layer.
            seen: the network as it is.
        """
        self.numbers, self._classes = targets_of(batch) is Targets.NUMBERS, targets_of(batch) is Targets.CLASSES
        self._small, self._loss = small_ends(seen.record, seen.structure), seen.loss
        self._model, self._batch, self._loss_fn = model, batch, loss_fn
        self._textbook = tuple(textbook)

    def look(self, modules: Mapping[str, str]) -> _Looked:
        """Return what is off with these modules initialised."""
        with self._with(modules, TRIAL_SEED) as seen:
            return self.judged(seen)

    def loss(self, modules: Mapping[str, str]) -> float:
        """Return the loss of the batch that these modules start with, the median of some draws; NaN if it has none."""
        if not modules or math.isnan(self._loss):
            return self._loss
        losses = []
        for draw in range(DRAWS):
            with self._with(modules, TRIAL_SEED + draw) as seen:
                losses.append(seen.loss)
        return median([math.inf if math.isnan(loss) else loss for loss in losses])

    def divided(self, modules: Mapping[str, str]) -> tuple[LayerPlan, ...]:
        """Return the textbook with the sums between these modules divided out, where that leaves less that is off."""
        with self._with(modules, TRIAL_SEED) as seen:
            small = small_ends(seen.record, seen.structure)
            before = self.judged(seen, small)
            plans = divided(self._textbook, modules.keys(), seen.record, seen.structure)
        if plans == self._textbook:
            return plans
        with carried_out([plan for plan in plans if plan.layer in modules], self._model):
            then = rehearse(self._model, self._batch, self._loss_fn, caller="recommend(model, batch)")
            after = self.judged(then, small)
        return plans if after.distance <= before.distance else self._textbook

    def may_start_small(self, loss: float) -> bool:
        """Say whether the output layers should be small, given the loss that the plan starts with otherwise."""
        return self.is_louder(loss) or not (math.isnan(loss) or self._classes)

    def is_louder(self, loss: float) -> bool:
        """Say whether a loss is clearly larger than that of the network as it is."""
        factor = LOUDER_OF_CLASSES if self._classes else LOUDER
        return loss - self._loss > (factor - 1) * abs(self._loss)

    @contextmanager
    def _with(self, modules: Mapping[str, str], seed: int) -> Iterator[Rehearsal]:
        chosen = [plan for plan in self._textbook if plan.layer in modules]
        with carried_out(chosen, self._model, seed):
            yield rehearse(self._model, self._batch, self._loss_fn, caller="recommend(model, batch)")

    def judged(self, seen: Rehearsal, small: frozenset[str] | None = None) -> _Looked:
        """Return what is off with the network as it is at this moment.

        Args:
            seen: it, at this moment.
            small: names of the output layers that are small on purpose; those that were so from the start if not given.
        """
        ends = end_modules(seen.structure)
        weights = tuple(far_weights(assign(self._model, seen.structure), self._model, ends))
        # Where some weights are odd, what would pass otherwise may be a part of it.
        lenience = OF_NUMBERS if self.numbers and not weights else 1.0
        others = start_faults(
            seen.record,
            seen.structure,
            power=max(UNDER_DROPOUT if _drops_units(self._model) else 1.0, lenience),
            scale_free=seen.scale_free,
            small=self._small if small is None else small,
        )
        return _Looked((*weights, *others))


def needed(
    model: nn.Module,
    batch: Any,  # noqa: ANN401 - whatever the model takes
    loss_fn: Callable[..., Tensor] | None,
    textbook: Sequence[LayerPlan],
    seen: Rehearsal,
) -> tuple[LayerPlan, ...]:
    """Return the plan in which every layer is kept that is healthy, or that the textbook would not improve.

    Args:
        model: the network; put back after every trial.
        batch: as ``recommend`` takes it.
        loss_fn: as ``recommend`` takes it.
        textbook: a plan for every layer.
        seen: the network as it is.
    """
    textbook = _as_torch_draws(textbook, seen.structure)
    trials = Trials(model, batch, loss_fn, textbook, seen)
    before = trials.judged(seen)
    can = {plan.layer for plan in textbook if plan.recipe}
    tables = {plan.layer for plan in textbook if plan.recipe and plan.place is Place.EMBEDDING}
    changed, dropped = _search(trials, before, can, tables, prune=bool(seen.structure.residuals))
    if trials.numbers and not seen.structure.residuals:
        without = _without_first(trials, changed, textbook, seen.structure)
        dropped |= {module: (why, FIRST) for module, why in changed.items() if module not in without}
        changed = without
    first = trials.loss(changed)
    if trials.may_start_small(first):
        ends = changed.keys() & end_modules(seen.structure)
        quiet = tuple(_quiet(plan) if plan.layer in ends else plan for plan in textbook)
        softer = Trials(model, batch, loss_fn, quiet, seen).loss(changed)
        if softer < first or not trials.is_louder(softer):
            textbook, first = quiet, softer
    parted = Trials(model, batch, loss_fn, textbook, seen).divided(changed) if changed else tuple(textbook)
    if parted != tuple(textbook):
        textbook, first = parted, Trials(model, batch, loss_fn, parted, seen).loss(changed)
    # What cannot learn at all has no start to lose.
    if trials.is_louder(first) and all(math.isfinite(fault.off) for fault in before.faults):
        raised = f"{{}} was tried and measured to raise the loss of this batch from {seen.loss:.2g} to {first:.2g}."
        dropped |= {module: (off, raised) for module, off in changed.items()}
        changed = {}
    return tuple(_decided(plan, changed, dropped) for plan in textbook)


def _quiet(plan: LayerPlan) -> LayerPlan:
    """Return the plan of an output layer with small weights; that of an embedding or a branch as it is."""
    if plan.place not in {Place.OUTPUT, Place.HIDDEN} or not plan.target_variance > OUTPUT_STD**2:
        return plan
    reason = "Small weights let the network start near its bias: what larger ones add to its first answers would have to be unlearned."
    return replace(
        plan,
        recipe="small_output_",
        options={"std": OUTPUT_STD},
        target_variance=OUTPUT_STD**2,
        reason=reason,
        source=SMALL_OUTPUT,
    )


def _as_torch_draws(textbook: Sequence[LayerPlan], structure: Structure) -> tuple[LayerPlan, ...]:
    """Return the plans with embeddings from N(0, 1), as torch draws them, where no output layer shares the weight of one.

    The textbook has 0.02 in transformers. Small language models of 200 steps gain more from rows as large as what a
    normalisation makes of them: 98 % of the healthy start's gain, against 82 % (``make bench-plans``).
    """
    tables = {plan.parameter for plan in textbook if plan.place is Place.EMBEDDING and plan.recipe}
    users = [layer.weight for layer in structure.layers if layer.weight in tables]
    if len(users) > len(set(users)):
        return tuple(textbook)
    reason = "Each output is one row: variance 1 is a standard input for the next layer."

    def drawn(plan: LayerPlan) -> LayerPlan:
        if plan.parameter not in tables:
            return plan
        return replace(plan, options={"std": 1.0}, target_variance=1.0, reason=reason, source=NORMAL_TABLE)

    return tuple(map(drawn, textbook))


def _search(
    trials: Trials, before: _Looked, can: set[str], tables: set[str], *, prune: bool
) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
    """Return why which modules are changed, and of those that are not what is off there, and why.

    Args:
        trials: of the network.
        before: what is off.
        can: the modules that a recipe knows.
        tables: the embeddings among them. What is added to a smaller one would drown it: they are changed together.
        prune: leave out again what could as well have stayed. A skip carries the signal past a branch, so that one layer may
            be the whole cause; in a plain chain each layer has its part in what all of them do.
    """
    changed: dict[str, str] = {}
    best, now = before, before
    tried: dict[str, str] = {}
    for _ in range(ROUNDS):
        # What most layers of a chain cannot mend, since no recipe writes them, the others must not make up for.
        mendable = [
            x for x in now.faults if x.kind not in CHAINS or 2 * len(can.intersection(x.modules)) > len(x.modules)
        ]
        wanted = {m: why for m, why in _named(mendable, tables).items() if m in can and m not in tried}
        if not wanted:
            break
        tried |= wanted
        now = trials.look(tried)
        if now.distance < best.distance:
            best, changed = now, dict(tried)
    for kind in dict.fromkeys(fault.kind for fault in before.faults) if prune else ():
        # A kind whose layers could as well have stayed is left out again.
        only = {m for f in before.faults if f.kind == kind for m in f.modules}
        others = {m for f in before.faults if f.kind != kind for m in f.modules}
        without = {m: why for m, why in changed.items() if m not in only - others}
        if len(without) < len(changed):
            looked = trials.look(without)
            if looked.distance <= best.distance:
                best, changed = looked, without
    dropped = {m: (why, OTHERS) for m, why in _named(before.faults, tables).items() if m in can}
    dropped |= {m: (why, NO_BETTER) for m, why in tried.items()}
    return changed, {m: why for m, why in dropped.items() if m not in changed}


def _without_first(
    trials: Trials, changed: dict[str, str], textbook: Sequence[LayerPlan], structure: Structure
) -> dict[str, str]:
    """Return why which modules are changed without those that read the data, if these are usual and nothing is off without them.

    The scale of the first layer says how quickly what is learned may vary with the input. Of 78 pairs of a plain network and a
    regression (3 to 12 layers), plans that left it as torch draws it ended 15 % above the default start in 12, others in 24.
    """
    usual = usual_firsts(textbook, structure)
    without = {module: why for module, why in changed.items() if module not in usual}
    return without if len(without) < len(changed) and not trials.look(without).faults else changed


def _named(faults: Sequence[StartFault], tables: set[str]) -> dict[str, str]:
    """Return the modules that something is said of; the first that was looked at is the nearest to the cause."""
    named: dict[str, str] = {}
    for fault in faults:
        for module in fault.modules:
            named.setdefault(module, fault.says)
    if tables & named.keys():
        named |= dict.fromkeys(tables - named.keys(), "an embedding beside it is changed")
    return named


def _decided(
    plan: LayerPlan,
    changed: Mapping[str, str],
    dropped: Mapping[str, tuple[str, str]],
) -> LayerPlan:
    if not plan.recipe:
        return plan
    if plan.layer in changed:
        return replace(plan, reason=f"{_sentence(changed[plan.layer])} {plan.reason}")
    reason = KEPT
    if plan.layer in dropped:
        off, came = dropped[plan.layer]
        reason = f"Kept: {off}, but {came.format(plan.recipe)}"
    return replace(plan, recipe="", options={}, target_variance=math.nan, reason=reason, source="")


def _drops_units(model: nn.Module) -> bool:
    return any(isinstance(module, _Dropout) and module.p > 0 for module in model.modules())


def _sentence(clause: str) -> str:
    return f"{clause[:1].upper()}{clause[1:]}."
