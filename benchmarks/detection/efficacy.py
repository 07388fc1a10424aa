"""Whether a remedy works: its code is run on the faulty network before training, and the network trained again."""

from __future__ import annotations

import ast
import io
import math
import traceback
from contextlib import redirect_stdout
from dataclasses import dataclass
from enum import Enum
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from benchmarks.detection import running, seeding
from benchmarks.detection.scoring import deciding
from init_monitor import InitMonitor
from init_monitor.analysis.aims import confirmed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pytorch_lightning as pl

    from benchmarks.detection.case import Case, Training
    from benchmarks.detection.running import Outcome, Told
    from init_monitor.records.aim import Confirmation

DRAWS = (1, 2, 3)
"""A remedy draws new weights, and trainings as short as these depend on the draw: the median over this many seeds counts."""

REACHED = 0.9
"""A remedied run reaches its twin if it brings the loss down by this fraction of what the twin does."""


class Kind(str, Enum):
    """What the code of a remedy changes."""

    NETWORK = "initialisation or scaling"
    TRAINING = "learning rate, clipping"
    NOTHING = "nothing: it looks at something"

    def __str__(self) -> str:
        """Return the words."""
        return self.value


@dataclass(frozen=True, slots=True)
class Remedied:
    """The result of a remedy.

    Attributes:
        case: its name.
        code: of the finding whose remedy was applied.
        kind: what the remedy changed.
        losses: of the training with the remedy.
        failure: what its code, or the training with it, raised; empty if nothing.
        confirmed: whether the first step shows what the remedy aims at; ``None`` if it names nothing, or changed nothing then.
    """

    case: str
    code: str
    kind: Kind = Kind.NETWORK
    losses: tuple[float, ...] = ()
    failure: str = ""
    confirmed: Confirmation | None = None

    @property
    def end(self) -> float:
        """The loss at the end; infinite if any of it is not finite, or it broke."""
        return running.Outcome(self.case, self.losses).end


def reached(run: Outcome | Remedied, twin: Outcome) -> bool:
    """Say whether a run brings the loss down (from where its twin starts) nearly as far as the twin does."""
    return math.isfinite(run.end) and twin.start - run.end >= REACHED * (twin.start - twin.end)


def remedy_of(told: Iterable[Told], symptoms: frozenset[str]) -> Told | None:
    """Return the finding whose remedy a person would try first: right symptom, with code, most severe, oldest."""
    return deciding([one for one in told if one.remedy_code], symptoms)


def try_remedy(case: Case, told: Told) -> Remedied:
    """Return the result of a remedy with the seed that has the median loss at the end."""
    tried = [_try(case, told, DRAWS[0])]
    if tried[0].kind is Kind.NETWORK and not tried[0].failure:
        tried += [_try(case, told, seed) for seed in DRAWS[1:]]
    return sorted(tried, key=lambda one: one.end)[len(tried) // 2]


def drawn_anew(twin: Case) -> tuple[float, ...]:
    """Return where a healthy training ends whose network begins from other random numbers, once per draw, on the same batches.

    A remedy draws such a start, and cannot be asked for more than it gives.
    """
    running.quiet()
    ends = []
    for draw in DRAWS:
        with seeding.drawn(draw):
            training = twin.make()
        ends.append(running.Outcome(twin.name, running.train(training, twin.steps)).end)
    return tuple(ends)


def share_of(end: float, twin: Outcome) -> float:
    """Return which part of the decrease of a twin's loss a training reaches that ends at a loss."""
    return (twin.start - end) / (twin.start - twin.end) if twin.start != twin.end else math.nan


def _try(case: Case, told: Told, seed: int) -> Remedied:
    """Apply the code of a finding to a fresh copy of a faulty training, and train.

    The code sees ``model`` (the LightningModule), a ``batch`` and ``pl``. What it passes to
    ``pl.Trainer`` becomes an option of the training. Of an ``optimizer`` that it makes, everything that it gives is
    used, and the parameters that no optimizer of the training has; everything else stays as it was.
    """
    running.quiet()
    kind = Kind.NOTHING
    try:
        training = case.make()
        before = _fingerprint(training.module)
        options: dict[str, Any] = {}
        space = _run_code(case, training, told, options, seed)
        optimizer = space.get("optimizer")
        if isinstance(optimizer, torch.optim.Optimizer):
            _put_in(training.module, optimizer, _written(told.remedy_code))
        if options or optimizer is not None:
            kind = Kind.TRAINING
        elif _fingerprint(training.module) != before:
            kind = Kind.NETWORK
        monitor = InitMonitor(dense_steps=1, every_n_steps=case.steps, rules=(), sinks=())
        losses = running.train(training, case.steps, [monitor], options=options)
        aim = told.aim if kind is Kind.NETWORK else None
        shown = None if aim is None else confirmed(aim, monitor.records[0], monitor.structure)
    except Exception:  # noqa: BLE001 - a remedy that raises has failed, and is listed as such
        return Remedied(case.name, told.code, kind, failure=traceback.format_exc())
    finally:
        torch.autograd.set_detect_anomaly(mode=False)  # a remedy may have switched it on, for this whole process
    return Remedied(case.name, told.code, kind, losses, confirmed=shown)


def why_it_does_not_run(case: Case, told: Told) -> str:
    """Return what the code of a finding raises on a fresh copy of its training; empty if nothing."""
    running.quiet()
    try:
        training = case.make()
        _run_code(case, training, told, {}, DRAWS[0])
    except Exception as error:  # noqa: BLE001 - whatever it is, it is listed
        return f"{type(error).__name__}: {error}"
    finally:
        torch.autograd.set_detect_anomaly(mode=False)
    return ""


def _run_code(case: Case, training: Training, told: Told, options: dict[str, Any], seed: int) -> dict[str, Any]:
    """Run the code of a finding as it was copied, and return the names that it leaves; it imports what it needs itself."""
    space: dict[str, Any] = {
        "model": training.module,
        "batch": next(iter(case.make().loader)),  # of another loader: this one's order must not move on
        "pl": SimpleNamespace(Trainer=lambda **given: options.update(given)),
    }
    torch.manual_seed(seed)  # making the batch has seeded it as the case does
    with redirect_stdout(io.StringIO()):
        exec(compile(told.remedy_code, f"{told.code} for {case.name}", "exec"), space)  # noqa: S102 - that is the point
    return space


def _fingerprint(module: nn.Module) -> tuple[str, list[bytes], int]:
    """Return what a remedy may change of a network: its structure, its numbers, and what was hooked to it."""
    numbers = [tensor.detach().double().numpy().tobytes() for tensor in module.state_dict().values()]
    hooks = sum(len(part._forward_pre_hooks) + len(part._forward_hooks) for part in module.modules())  # noqa: SLF001 - nothing public lists them
    return str(module), numbers, hooks


def _written(code: str) -> frozenset[str]:
    """Return the names of all arguments that are written out in code: one may be given its default, and means it."""
    calls = (node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call))
    return frozenset(keyword.arg for call in calls for keyword in call.keywords if keyword.arg)


def _put_in(module: pl.LightningModule, given: torch.optim.Optimizer, written: frozenset[str]) -> None:
    """Give the optimizers that the module makes what another one was given: its arguments, and parameters that none has."""
    configure = module.configure_optimizers
    make: Any = type(given)
    plain = make([nn.Parameter(torch.zeros(1))])
    ours = given.param_groups[0]
    changed = {name: ours[name] for name, usual in plain.defaults.items() if name in written or ours[name] != usual}

    def configured() -> Any:  # noqa: ANN401 - Lightning takes several forms
        made = configure()
        held = {parameter for one in _optimizers(made) for group in one.param_groups for parameter in group["params"]}
        for one in _optimizers(made):
            for group in one.param_groups:
                group.update({name: value for name, value in changed.items() if name in group})
        outside = [parameter for parameter in ours["params"] if parameter.requires_grad and parameter not in held]
        if outside:
            next(_optimizers(made)).add_param_group({"params": outside, **changed})
        return made

    module.configure_optimizers = configured  # type: ignore[method-assign]


def _optimizers(made: object) -> Iterator[torch.optim.Optimizer]:
    """Give the optimizers in what ``configure_optimizers`` returned."""
    if isinstance(made, torch.optim.Optimizer):
        yield made
    elif isinstance(made, (list, tuple)):
        for one in made:
            yield from _optimizers(one)
    elif isinstance(made, dict):
        yield from _optimizers(made.get("optimizer"))
