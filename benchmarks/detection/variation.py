"""A case once more: with another seed, batch size, optimizer and number of steps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader

from benchmarks.detection import seeding

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.detection.case import Case, Evidence, Training

    Remake = Callable[[torch.optim.Optimizer], torch.optim.Optimizer]

FEWEST = 2
"""Samples of a batch: batch norm needs as many."""


@dataclass(frozen=True, slots=True)
class Variation:
    """What is different the second and the third time.

    Attributes:
        batch: factor of the batch size.
        steps: factor of the number of steps.
        optimizer: makes another optimizer for the one of the case, of which the learning rate means the same.
    """

    batch: float
    steps: float
    optimizer: Remake


def _groups(optimizer: torch.optim.Optimizer, *names: str, **other: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - options of any optimizer
    return [
        {"params": g["params"], **{name: g[name] for name in ("lr", *names)}, **other} for g in optimizer.param_groups
    ]


def _nesterov_and_decoupled(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """SGD looks ahead; Adam becomes AdamW with a small decay."""
    if type(optimizer) is torch.optim.SGD:
        for group in optimizer.param_groups:
            group["nesterov"] = group["momentum"] > 0
    elif type(optimizer) is torch.optim.Adam:
        return torch.optim.AdamW(_groups(optimizer, "betas", "eps", weight_decay=1e-3))
    return optimizer


def _without_momentum_and_nadam(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """SGD loses its momentum of 0.9 and gets a larger rate instead; Adam becomes NAdam."""
    if type(optimizer) is torch.optim.SGD:
        for group in optimizer.param_groups:
            group["lr"] /= 1 - group["momentum"]
            group["momentum"], group["nesterov"] = 0.0, False
    elif type(optimizer) is torch.optim.Adam:
        return torch.optim.NAdam(_groups(optimizer, "betas", "eps"))
    return optimizer


VARIATIONS: tuple[Variation | None, ...] = (
    None,
    Variation(0.5, 1.25, _nesterov_and_decoupled),
    Variation(2.0, 0.8, _without_momentum_and_nadam),
)
"""By seed; the first is the case as it is. Labels are verified again each time, so that a case that another batch size repairs
is dropped and not counted."""


def repeated(case: Case, seed: int) -> Case:
    """Return a case with another seed and what varies with it; seed 0 is the case itself.

    Raises:
        ValueError: there are not so many variations.
    """
    if not 0 <= seed < len(VARIATIONS):
        message = f"a seed must be from 0 to {len(VARIATIONS) - 1}, but is {seed}."
        raise ValueError(message)
    variation = VARIATIONS[seed]
    if variation is None:
        return case

    def make() -> Training:
        with seeding.repetition(seed):
            return varied(case.make(), variation, seed)

    def measured(training: Training) -> Evidence:
        assert case.pathology is not None  # noqa: S101 - asked for below
        with seeding.repetition(seed):
            return case.pathology(training)

    return replace(
        case,
        name=named(case.name, seed),
        twin=named(case.twin, seed) if case.twin else "",
        make=make,
        steps=max(1, round(variation.steps * case.steps)),
        pathology=None if case.pathology is None else measured,
        seed=seed,
    )


def named(name: str, seed: int) -> str:
    """Return the name of a case with a seed.

    >>> named("mlp/dead", 0), named("mlp/dead", 2)
    ('mlp/dead', 'mlp/dead seed 2')
    """
    return f"{name} seed {seed}" if seed else name


def varied(training: Training, variation: Variation, seed: int) -> Training:
    """Return a training with another batch size, order of its samples, and optimizer."""
    configure = training.module.configure_optimizers

    def configured() -> Any:  # noqa: ANN401 - Lightning takes several forms
        return _remade(configure(), variation.optimizer)

    training.module.configure_optimizers = configured  # type: ignore[method-assign]
    return replace(training, loader=_rebatched(training.loader, variation.batch, seed))


def _remade(made: Any, optimizer: Remake) -> Any:  # noqa: ANN401 - Lightning takes several forms
    """Change the optimizers in what ``configure_optimizers`` returned; those that a schedule holds stay."""
    if isinstance(made, torch.optim.Optimizer):
        return optimizer(made)
    if isinstance(made, list) and all(isinstance(one, torch.optim.Optimizer) for one in made):
        return [optimizer(one) for one in made]
    return made


def _rebatched(loader: Any, factor: float, seed: int) -> Any:  # noqa: ANN401 - a few cases have loaders of their own
    """Return a loader of larger or smaller batches in another order; one that is no such loader as it is."""
    size = getattr(loader, "batch_size", None)
    if not isinstance(loader, DataLoader) or size is None:
        return loader
    samples = len(loader.dataset)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seeding.APART * seed)
    return DataLoader(
        loader.dataset,
        batch_size=min(max(FEWEST, round(factor * size)), samples),
        shuffle=isinstance(loader.sampler, torch.utils.data.RandomSampler),
        drop_last=loader.drop_last,
        collate_fn=loader.collate_fn,
        generator=generator,
    )
