"""Which gain suits which activation: signal and gradient through 30 layers, and what 200 steps learn, by measurement.

Findings and plans choose through one function, :func:`init_monitor.analysis.initialiser.initialiser_for`. What it chooses where
theory leaves more than one answer was decided by this table: for each activation the gains that theory offers, each in
fully connected networks of 256 and 1024 units, and in trainings of digits. ``--out`` writes the table into a page.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

torch.set_num_threads(1)
torch.set_flush_denormal(True)  # Adam squares gradients of 1e-20: denormal numbers cost a hundred times the time
DEPTH, SAMPLES, SEEDS = 30, 128, 3
WIDTHS = (256, 1024)
LEARNING_WIDTH, LEARNING_DEPTHS = 128, (6, 30)
STEPS, BATCH, LAST = 200, 64, 20
RATES = {"Adam": (1e-4, 1e-3), "SGD": (1e-2, 1e-1)}
"""For each optimizer the best rate counts, so that no gain wins by a rate that happens to suit it."""

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "ReLU": nn.functional.relu,
    "ELU": nn.functional.elu,
    "SELU": nn.functional.selu,
    "GELU": nn.functional.gelu,
    "SiLU": nn.functional.silu,
    "Mish": nn.functional.mish,
    "Hardswish": nn.functional.hardswish,
    "Tanh": torch.tanh,
    "Softsign": nn.functional.softsign,
    "Hardtanh": nn.functional.hardtanh,
    "Sigmoid": torch.sigmoid,
    "Hardsigmoid": nn.functional.hardsigmoid,
    "Softplus": nn.functional.softplus,
    "LogSigmoid": nn.functional.logsigmoid,
    "Softshrink": nn.functional.softshrink,
    "Hardshrink": nn.functional.hardshrink,
    "Tanhshrink": nn.functional.tanhshrink,
    "Sin": torch.sin,
}


@dataclass(frozen=True)
class Candidate:
    """A way to initialise the layers between activations.

    Attributes:
        name: its name in the table.
        gain: fan_in · Var(W).
        offset: what the bias takes out of every input: ``bias = -offset · ΣW``.
    """

    name: str
    gain: float
    offset: float = 0.0


@dataclass(frozen=True)
class Measured:
    """What one candidate gave: factors per layer (forward, of what differs between samples, backward), and losses."""

    forward: dict[int, float]
    between: dict[int, float]
    backward: dict[int, float]
    losses: dict[tuple[int, str], float]


def moments(function: Callable[[Tensor], Tensor]) -> tuple[float, float]:
    """Return E[f(z)] and E[f(z)²] for a standard normal z, by the trapezoidal rule in float64."""
    z = torch.linspace(-12, 12, 480_001, dtype=torch.float64)
    density = torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    out = function(z)
    return float(torch.trapezoid(out * density, z)), float(torch.trapezoid(out**2 * density, z))


def candidates(function: Callable[[Tensor], Tensor]) -> Iterator[Candidate]:
    """Yield what theory offers for an activation."""
    mean, square = moments(function)
    origin = torch.zeros((), dtype=torch.float64, requires_grad=True)
    value = function(origin)
    (slope,) = torch.autograd.grad(value, origin)
    yield Candidate("1", 1.0)
    yield Candidate("2 (ReLU's)", 2.0)
    if not any(math.isclose(1 / square, one, rel_tol=1e-3) for one in (1.0, 2.0)):
        yield Candidate("1/E[f²]", 1 / square)
    if abs(float(value)) > 0:
        yield Candidate("1/f'(0)², centred", 1 / float(slope) ** 2, float(value))
        yield Candidate("1/Var(f), centred", 1 / (square - mean**2), mean)


def drawn(width: int, fan_in: int, one: Candidate, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return weights [width, fan_in] and their bias [width]."""
    weight = torch.randn(width, fan_in, generator=generator) * math.sqrt(one.gain / fan_in)
    return weight.requires_grad_(), (-one.offset * weight.detach().sum(dim=1)).requires_grad_()


def network(sizes: Sequence[int], one: Candidate, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Return the parameters of the layers; the first, which no activation feeds, has no mean to remove."""
    generator = torch.Generator().manual_seed(seed)
    first = Candidate(one.name, 1.0 if one.offset else one.gain)
    return [drawn(out, into, first if i == 0 else one, generator) for i, (into, out) in enumerate(pairwise(sizes))]


def signal(function: Callable[[Tensor], Tensor], one: Candidate, width: int, seed: int) -> tuple[float, float, float]:
    """Return the factor per layer of the variance forward, of the variance between samples, and of the gradient's backward."""
    x = torch.randn(SAMPLES, width, generator=torch.Generator().manual_seed(seed + 100))
    outs = []
    for weight, bias in network([width] * (DEPTH + 1), one, seed):
        x = nn.functional.linear(x, weight, bias)
        x.retain_grad()
        outs.append(x)
        x = function(x)
    x.backward(torch.randn(x.shape, generator=torch.Generator().manual_seed(seed + 200)))
    layers = len(outs) - 1

    def factor(late: float, early: float) -> float:
        return (late / early) ** (1 / layers) if early > 0 and math.isfinite(late) else math.nan

    def grad(out: Tensor) -> float:
        return 0.0 if out.grad is None else float(out.grad.double().square().mean())

    first, last = outs[0].detach().double(), outs[-1].detach().double()
    forward = factor(float(last.var()), float(first.var()))
    between = factor(float(last.var(dim=0).mean()), float(first.var(dim=0).mean()))
    return forward, between, factor(grad(outs[0]), grad(outs[-1]))


def digits() -> tuple[Tensor, Tensor]:
    """Return scikit-learn's digits, standardised over all pixels, and their classes."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - slow to import

    found = load_digits()
    pixels = torch.tensor(found.data, dtype=torch.float32)
    return (pixels - pixels.mean()) / pixels.std(), torch.tensor(found.target)


def learned(
    function: Callable[[Tensor], Tensor], one: Candidate, depth: int, optimizer: str, output: float | None = None
) -> float:
    """Return the mean loss of the last steps with the best learning rate; ln 10 = 2.3 is guessing."""
    pixels, classes = digits()
    best = math.inf
    for rate in RATES[optimizer]:
        generator = torch.Generator().manual_seed(7)
        layers = network([64, *[LEARNING_WIDTH] * depth], one, 0)
        last = torch.randn(10, LEARNING_WIDTH, generator=generator)
        last *= math.sqrt(2 / (LEARNING_WIDTH + 10)) if output is None else output
        head = (last.requires_grad_(), torch.zeros(10, requires_grad=True))
        parameters = [tensor for pair in (*layers, head) for tensor in pair]
        stepper = (
            torch.optim.Adam(parameters, lr=rate)
            if optimizer == "Adam"
            else torch.optim.SGD(parameters, lr=rate, momentum=0.9)
        )
        losses = []
        for _ in range(STEPS):
            chosen = torch.randint(len(pixels), (BATCH,), generator=generator)
            x = pixels[chosen]
            for weight, bias in layers:
                x = function(nn.functional.linear(x, weight, bias))
            loss = nn.functional.cross_entropy(nn.functional.linear(x, *head), classes[chosen])
            stepper.zero_grad()
            loss.backward()
            stepper.step()
            losses.append(float(loss.detach()))
        end = sum(losses[-LAST:]) / LAST
        best = min(best, end if math.isfinite(end) else math.inf)
    return best


def measured(function: Callable[[Tensor], Tensor], one: Candidate, widths: Sequence[int]) -> Measured:
    """Measure one candidate."""
    factors: dict[int, tuple[float, float, float]] = {}
    for width in widths:
        runs = [signal(function, one, width, seed) for seed in range(SEEDS)]
        first, second, third = (
            math.exp(sum(math.log(x) if x > 0 else -math.inf for x in c) / SEEDS) for c in zip(*runs, strict=True)
        )
        factors[width] = (first, second, third)
    forward, between, backward = ({width: factors[width][i] for width in widths} for i in range(3))
    losses = {(d, name): learned(function, one, d, name) for d in LEARNING_DEPTHS for name in RATES}
    return Measured(forward, between, backward, losses)


def rows(names: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """Yield the lines of the table."""
    for name in names:
        for one in candidates(FUNCTIONS[name]):
            found = measured(FUNCTIONS[name], one, widths)
            figures = [
                " / ".join(f"{factor[width]:.3g}" for width in widths)
                for factor in (found.forward, found.between, found.backward)
            ]
            losses = [f"{found.losses[d, opt]:.2g}" for d in LEARNING_DEPTHS for opt in RATES]
            yield f"| {name} | {one.name} | {one.gain:.4g} | {' | '.join([*figures, *losses])} |"


HEAD = (
    "| activation | choice | fan_in · Var(W) | forward | between samples | backward |"
    + "".join(f" {d} layers, {name} |" for d in LEARNING_DEPTHS for name in RATES),
    "|:--|:--|--:|--:|--:|--:|" + "--:|" * len(LEARNING_DEPTHS) * len(RATES),
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(FUNCTIONS), help="activations (default: all)")
    parser.add_argument("--out", type=Path, help="write it there, too")
    options = parser.parse_args()
    lines = []
    for line in chain(HEAD, rows(options.names, WIDTHS)):
        print(line, flush=True)
        lines.append(line)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
