"""Measures a fault itself, on the network as the training left it, with plain torch and in float64 where it counts."""

from __future__ import annotations

import math
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.detection.case import Evidence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor, nn

    from benchmarks.detection.case import Training

    Pathology = Callable[[Training], Evidence]

SAME = 1e-6
"""Share of a representation's mean square that differs between samples, below which all have the same."""

TOLERANCE = 1e-6
"""Two rows of a weight are one if they differ by less than this part of the largest entry: rounding moves them apart."""


@contextmanager
def outputs_of(module: nn.Module, name: str) -> Iterator[list[Tensor]]:
    """Collect the outputs of one module in float64."""
    found: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Any) -> None:  # noqa: ANN401 - a tensor, or a tuple with one
        found.append((output[0] if isinstance(output, tuple) else output).detach().double())

    hook = module.get_submodule(name).register_forward_hook(keep)
    try:
        yield found
    finally:
        hook.remove()


def _seen(training: Training, name: str, network: str) -> Tensor:
    """Return a module's output for the whole training data, in evaluation mode."""
    module = training.module
    was_training = module.training
    with outputs_of(module, name) as found, torch.no_grad():
        net = module.get_submodule(network).eval()
        for inputs, *_ in training.loader:
            net(inputs)
    module.train(was_training)
    return torch.cat(found)


def unmoved(make: Callable[[], Training], *patterns: str) -> Pathology:
    """Say that parameters are bit for bit where they began, all of those that match.

    Args:
        make: makes the training as it began.
        patterns: of the names of the parameters that do not move.
    """

    def measure(training: Training) -> Evidence:
        fresh = dict(make().module.named_parameters())
        still: list[str] = []
        moved: list[str] = []
        for name, parameter in training.module.named_parameters():
            if any(fnmatchcase(name, pattern) for pattern in patterns):
                (still if torch.equal(parameter, fresh[name]) else moved).append(name)
        return Evidence(
            holds=bool(still) and not moved,
            figure=f"{len(still)} of the {len(still) + len(moved)} parameters {', '.join(patterns)} did not move a bit",
        )

    return measure


def barely_moved(make: Callable[[], Training], share: float, *patterns: str) -> Pathology:
    """Say that weights went less than ``share`` of their norm from where they began."""

    def measure(training: Training) -> Evidence:
        fresh = dict(make().module.named_parameters())
        ways = [
            float(((now - fresh[name]).norm() / fresh[name].norm()).detach())
            for name, now in training.module.named_parameters()
            if now.ndim > 1 and any(fnmatchcase(name, pattern) for pattern in patterns or ("*",))
        ]
        return Evidence(max(ways) < share, f"the weights went at most {max(ways):.1e} of their norm")

    return measure


def stale(make: Callable[[], Training], share: float, *patterns: str) -> Pathology:
    """Say that at least ``share`` of the elements of parameters are bit for bit where they began."""

    def measure(training: Training) -> Evidence:
        fresh = dict(make().module.named_parameters())
        pairs = [
            (parameter, fresh[name])
            for name, parameter in training.module.named_parameters()
            if any(fnmatchcase(name, pattern) for pattern in patterns)
        ]
        same = sum(int((now == then.to(now.dtype)).sum()) for now, then in pairs)
        total = sum(now.numel() for now, _ in pairs)
        return Evidence(same >= share * total, f"{same / total:.1%} of the elements did not move a bit")

    return measure


def one_representation(name: str, *, network: str = "net") -> Pathology:
    """Say that a module gives every sample the same output."""

    def measure(training: Training) -> Evidence:
        seen = _seen(training, name, network).flatten(1)
        between = float(seen.var(0, correction=0).mean() / seen.square().mean())
        return Evidence(
            between < SAME or math.isnan(between), f"{between:.1e} of {name}'s mean square differs between samples"
        )

    return measure


def dead_units(name: str, share: float, *, network: str = "net") -> Pathology:
    """Say that at least ``share`` of the units of a rectifier are 0 for every sample there is.

    Units are channels of [n, c, h, w] and the last dimension otherwise.
    """

    def measure(training: Training) -> Evidence:
        seen = _seen(training, name, network)
        units = seen.transpose(1, -1).flatten(0, -2) if seen.ndim == 4 else seen.flatten(0, -2)  # noqa: PLR2004 - images
        dead = float((units == 0).all(0).double().mean())
        return Evidence(dead >= share, f"{dead:.0%} of the units of {name} are 0 for all {len(units):,} samples")

    return measure


def no_dead_units(name: str, *, zeros: float, network: str = "net") -> Pathology:
    """Say that a rectifier is 0 for at least a share ``zeros`` of its elements, yet no unit of it always is."""

    def measure(training: Training) -> Evidence:
        units = _seen(training, name, network).flatten(0, -2)
        dead = int((units == 0).all(0).sum())
        share = float((units == 0).double().mean())
        return Evidence(dead == 0 and share >= zeros, f"{share:.1%} zeros in {name}, {dead} dead units")

    return measure


def beyond(name: str, low: float, high: float, share: float, *, network: str = "net") -> Pathology:
    """Say that at least ``share`` of a module's outputs lie outside of [low, high]."""

    def measure(training: Training) -> Evidence:
        seen = _seen(training, name, network)
        outside = float(((seen < low) | (seen > high)).double().mean())
        return Evidence(outside >= share, f"{outside:.0%} of the outputs of {name} lie outside of [{low}, {high}]")

    return measure


def sharp(name: str, largest: float, *, network: str = "net") -> Pathology:
    """Say that the largest share of a softmax is at least ``largest`` on average."""

    def measure(training: Training) -> Evidence:
        found = float(_seen(training, name, network).amax(-1).mean())
        return Evidence(found >= largest, f"the largest share of {name} is {found:.2f} on average")

    return measure


def looks_at_one_place(make: Callable[[], Training], share: float, *, network: str = "net") -> Pathology:
    """Say that in some attention at least ``share`` of the rows give one key more than 0.9, before any training.

    Of what fused kernels compute, the weights are computed once more here, from what they are given.
    """

    def measure(_: Training) -> Evidence:
        training = make()
        shares: list[float] = []
        fused = torch.nn.functional.scaled_dot_product_attention

        def seen(query: Tensor, key: Tensor, value: Tensor, *rest: Any, **options: Any) -> Tensor:  # noqa: ANN401 - the function's own
            scale = options.get("scale") or query.shape[-1] ** -0.5
            scores = query.detach().double() @ key.detach().double().transpose(-2, -1) * scale
            rows = torch.ones(scores.shape[-2:], dtype=torch.bool)
            rows = rows.tril() if options.get("is_causal") else rows
            weights = scores.masked_fill(~rows, -math.inf).softmax(-1)[..., rows.sum(-1) > 1, :]
            shares.append(float((weights.amax(-1) > 0.9).double().mean()))  # noqa: PLR2004 - as the sentence says
            return fused(query, key, value, *rest, **options)

        torch.nn.functional.scaled_dot_product_attention = seen  # type: ignore[assignment]
        try:
            training.module.get_submodule(network)(next(iter(training.loader))[0])
        finally:
            torch.nn.functional.scaled_dot_product_attention = fused
        most = max(shares, default=0.0)
        return Evidence(most >= share, f"{most:.0%} of the rows of an attention look at one place from the start")

    return measure


def same_rows(*names: str) -> Pathology:
    """Say that in each of some weights all rows are still the same one."""

    def measure(training: Training) -> Evidence:
        parameters = dict(training.module.named_parameters())
        spread = max(
            float((w - w[:1]).abs().max() / w.abs().max().clamp_min(1e-30))
            for w in (parameters[name].detach().double().flatten(1) for name in names)
        )
        return Evidence(spread < TOLERANCE, f"rows of {', '.join(names)} differ by {spread:.0e} of the largest entry")

    return measure


def sound(training: Training) -> Evidence:
    """Say that every loss and every parameter is finite: for runs too short, or too odd, for their loss to fall."""
    losses: Any = training.module.losses
    finite = all(math.isfinite(loss) for loss in losses)
    finite = finite and all(bool(torch.isfinite(p).all()) for p in training.module.parameters())
    return Evidence(finite, f"losses from {losses[0]:.3g} to {losses[-1]:.3g}, all and every parameter finite")


def fell(to: float) -> Pathology:
    """Say that the loss is finite throughout and ends below a number."""

    def measure(training: Training) -> Evidence:
        losses: Any = training.module.losses
        return Evidence(
            all(math.isfinite(loss) for loss in losses) and losses[-1] < to,
            f"loss {losses[0]:.3g} to {losses[-1]:.3g}, to be below {to}",
        )

    return measure


def improved(share: float) -> Pathology:
    """Say that every loss is finite and the last fifth of them is on average below ``share`` of the first."""

    def measure(training: Training) -> Evidence:
        losses: Any = training.module.losses
        last = losses[-max(1, len(losses) // 5) :]
        end = sum(last) / len(last)
        finite = all(math.isfinite(loss) for loss in losses)
        return Evidence(finite and end < share * losses[0], f"loss {losses[0]:.3g} to {end:.3g}")

    return measure


def all_of(*pathologies: Pathology) -> Pathology:
    """Require several measurements at once."""

    def measure(training: Training) -> Evidence:
        found = [pathology(training) for pathology in pathologies]
        return Evidence(all(one.holds for one in found), "; ".join(one.figure for one in found))

    return measure
