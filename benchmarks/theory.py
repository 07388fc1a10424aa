"""Every formula that init_monitor rests on, against measurement: writes the table of docs/theory.md.

    python benchmarks/theory.py --out docs/theory.md

Each line is a :class:`Claim`: the theoretical value, the value measured on this machine, and how far they may lie apart.
"""

from __future__ import annotations

import argparse
import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

import init_monitor
from init_monitor import recipes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from init_monitor.records import StepRecord

PAGE = """# Theory and measurement

The formulas that rules and recipes rest on, each next to what a run measured. This page is written by
`python benchmarks/theory.py --out docs/theory.md`; the tests run the same in a small setting. `Var` is the variance over all
elements, `E[x²]` the mean square; a network of random weights scatters, and "within" is how far theory and measurement
may lie apart, as a factor.

![A dot for each formula, measured over theory: all lie near 1, within the bar that says how far they may be off](images/theory.svg)

| formula | source | theory | measured | within |
|:--|:--|--:|--:|--:|
"""


class Claim(NamedTuple):
    """One formula.

    Attributes:
        formula: in words and signs.
        source: paper and equation.
        theory: predicted number.
        measured: what a run gave.
        factor: they agree if neither is more than this factor larger; for a theory of 0, they differ by less than factor - 1.
    """

    formula: str
    source: str
    theory: float
    measured: float
    factor: float

    @property
    def holds(self) -> bool:
        """Whether theory and measurement agree."""
        if self.theory == 0:
            return abs(self.measured) < self.factor - 1
        ratio = self.measured / self.theory
        return math.isfinite(ratio) and 1 / self.factor <= ratio <= self.factor


class Size(NamedTuple):
    """How large the networks are."""

    width: int
    samples: int
    depth: int


FULL, SMALL = Size(512, 1024, 50), Size(256, 256, 20)

HALF_MAX = 65504.0
"""The largest float16."""
LINEAR_REGIME = {10: 0.146, 20: 0.368, 30: 0.49, 40: 0.57, 50: 0.64}
"""Share of units in the linear regime by layer, from an independent run: 1024 wide, 4096 inputs."""


def seeded(seed: int) -> torch.Generator:
    """Return a separate generator."""
    return torch.Generator().manual_seed(seed)


def variance(tensor: torch.Tensor) -> float:
    """Return the variance over all elements, correction 0."""
    return float(tensor.detach().double().var(correction=0))


def growth(net: nn.Module, x: torch.Tensor) -> tuple[float, float]:
    """Return Var(out)/Var(in) forward, and of the gradient backward."""
    x = x.clone().requires_grad_()
    out = net(x)
    cotangent = torch.randn(out.shape, generator=seeded(9))
    out.backward(cotangent)
    assert x.grad is not None  # noqa: S101 - x asks for a gradient
    return variance(out) / variance(x), variance(x.grad) / variance(cotangent)


def mlp(size: Size, activation: Callable[[], nn.Module], depth: int) -> nn.Sequential:
    """Return linear layers with an activation between each two."""
    layers = [part for _ in range(depth - 1) for part in (nn.Linear(size.width, size.width), activation())]
    return nn.Sequential(*layers, nn.Linear(size.width, size.width))


class Block(nn.Module):
    """A pre-activation block of two layers; ``total`` adds."""

    def __init__(self, width: int, total: Callable[..., torch.Tensor] = torch.add) -> None:
        super().__init__()
        self.first, self.second, self.total = nn.Linear(width, width), nn.Linear(width, width), total

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x + F(x), as ``total`` adds."""
        out: torch.Tensor = self.total(x, self.second(torch.relu(self.first(torch.relu(x)))))
        return out


def stack(size: Size, total: Callable[[int], Callable[..., torch.Tensor]] | None = None) -> nn.Sequential:
    """Return residual blocks in a row; ``total(k)`` gives the addition of block k."""
    return nn.Sequential(*(Block(size.width, torch.add if total is None else total(k + 1)) for k in range(size.depth)))


def one_layer(size: Size) -> Iterator[Claim]:
    """Measure what one linear layer and one ReLU do."""
    d = size.width
    x = torch.randn(size.samples, d, generator=seeded(0)) + 1.0
    layer = nn.Linear(d, 2 * d)
    nn.init.normal_(layer.weight, std=0.05, generator=seeded(1))
    nn.init.zeros_(layer.bias)
    given = x.clone().requires_grad_()
    y = layer(given)
    cotangent = torch.randn(y.shape, generator=seeded(2))
    y.backward(cotangent)
    w, square = variance(layer.weight), float(x.square().mean())
    glorot = "Glorot & Bengio 2010, Eq. 5, 6"
    yield Claim("Var(Wx) = fan_in · Var(W) · E[x²]", glorot, d * w * square, variance(y), 1.15)
    back = variance(given.grad) if given.grad is not None else math.nan
    yield Claim("Var(∂L/∂x) = fan_out · Var(W) · Var(∂L/∂y)", glorot, 2 * d * w * variance(cotangent), back, 1.05)
    square_layer = nn.Linear(d, d)
    for name, recipe, gain in (("He", recipes.he_normal_, 2.0), ("Xavier", recipes.xavier_normal_, 1.0)):
        local = variance(recipe(square_layer, generator=seeded(3))(x)) / square
        yield Claim(f"local gain Var(y)/E[x²] of a square layer, {name}", "n_in · Var(W)", gain, local, 1.15)
    near = 0.1 * torch.randn(size.samples, d, generator=seeded(11))
    flat = float(torch.tanh(near).square().mean()) / variance(near)
    yield Claim("tanh is the identity near 0: E[tanh(z)²]/Var(z) at std 0.1", "Glorot & Bengio 2010", 1.0, flat, 1.03)
    z = torch.randn(4 * size.samples, d, generator=seeded(10), requires_grad=True)
    torch.relu(z).backward(torch.randn(z.shape, generator=seeded(2)))
    he = "He et al. 2015, Section 2.2"
    yield Claim("E[relu(z)²] = Var(z)/2", he, variance(z) / 2, float(torch.relu(z).square().mean().detach()), 1.02)
    passed = variance(z.grad) if z.grad is not None else math.nan
    yield Claim("a ReLU passes half the gradient's variance", he, 0.5, passed, 1.02)


def drawn(size: Size) -> Iterator[Claim]:
    """Measure the weights that the recipes draw."""
    fan_in, fan_out = 2 * size.width, size.width
    mean, one = f"{fan_in} to {fan_out}", 6 / (fan_in + fan_out)

    def weight(recipe: Callable[..., torch.Tensor]) -> torch.Tensor:
        return recipe(torch.empty(fan_out, fan_in), generator=seeded(4))

    xavier, he = "Glorot & Bengio 2010, Eq. 12, 16", "He et al. 2015, Eq. 10, 14, 15"
    bound = float(weight(recipes.xavier_uniform_).abs().max())
    yield Claim(
        f"Xavier, {mean}: Var(W) = 2/(n_in + n_out)", xavier, one / 3, variance(weight(recipes.xavier_normal_)), 1.02
    )
    yield Claim(f"Xavier, {mean}: bound sqrt(6/(n_in + n_out))", xavier, math.sqrt(one), bound, 1.001)
    normal, uniform = recipes.he_normal_, recipes.he_uniform_
    yield Claim("He, fan_in: Var(W) = 2/n_in", he, 2 / fan_in, variance(weight(normal)), 1.02)
    yield Claim(
        "He, fan_out: Var(W) = 2/n_out", he, 2 / fan_out, variance(weight(partial(normal, mode="fan_out"))), 1.02
    )
    yield Claim("He: bound sqrt(6/n_in)", he, math.sqrt(6 / fan_in), float(weight(uniform).abs().max()), 1.001)
    leaky = weight(partial(normal, nonlinearity="leaky_relu", negative_slope=0.3))
    yield Claim("He, leaky 0.3: Var(W) = 2/((1 + a²) n_in)", he, 2 / 1.09 / fan_in, variance(leaky), 1.02)


def by_layer(size: Size) -> Iterator[Claim]:
    """Measure what the recipes for particular layers give."""
    d = size.width
    x = torch.randn(size.samples, d, generator=seeded(0))
    table = recipes.embedding_(nn.Embedding(1000, d), generator=seeded(4))
    yield Claim("embedding: Var(W) of N(0, 1)", "torch.nn.Embedding", 1.0, variance(table.weight), 1.02)
    head = recipes.small_output_(nn.Linear(d, 100), generator=seeded(4))
    yield Claim(
        "output layer: Var(W) of N(0, 0.01²)", "Krizhevsky et al. 2012, Section 5", 1e-4, variance(head.weight), 1.03
    )
    for name, layer in (("LSTM", recipes.lstm_(nn.LSTM(d, d), generator=seeded(4))), ("GRU", nn.GRU(d, d))):
        if isinstance(layer, nn.GRU):
            recipes.gru_(layer, generator=seeded(4))
        gate = layer.get_parameter("weight_hh_l0").detach()[:d]
        off = float((gate @ gate.T - torch.eye(d)).abs().max())
        yield Claim(f"{name}: largest element of UUᵀ - 1 in a recurrent gate", "Saxe et al. 2014", 0.0, off, 1 + 1e-5)
        into = variance(layer.get_parameter("weight_ih_l0")[:d])
        yield Claim(
            f"{name}: Var of an input gate, 2/(n_in + n_out)", "Glorot & Bengio 2010, Eq. 16", 1 / d, into, 1.03
        )
    writers = stack(size)
    recipes.gpt_(writers, x[:4], generator=seeded(4))
    for name, share in (("first", 1), ("second", size.depth)):
        what = "weights" if share == 1 else f"what writes into a stream of {share} additions"
        found = variance(writers.get_parameter(f"0.{name}.weight"))
        yield Claim(f"GPT-style: Var of {what}", "Radford et al. 2018, 2019", 0.0004 / share, found, 1.03)
    scaled = mlp(size, nn.Tanh, 10)
    worst = max(recipes.lsuv_(scaled, 3 * x, tolerance=0.02, generator=seeded(4)).values(), key=lambda v: abs(v - 1))
    yield Claim(
        "LSUV to 0.02: Var of the output farthest from 1, of 10", "Mishkin & Matas 2016, Alg. 1", 1.0, worst, 1.021
    )
    for kind in (nn.BatchNorm1d, nn.LayerNorm):
        fresh = nn.Sequential(kind(d))
        nn.init.constant_(fresh.get_parameter("0.weight"), 3.0)
        normed = variance(recipes.normalisation_defaults_(fresh)(3 * x + 1))
        yield Claim(
            f"{kind.__name__}, weight 1 and bias 0: Var(y)", "Ioffe & Szegedy 2015; Ba et al. 2016", 1.0, normed, 1.01
        )


def depth(size: Size) -> Iterator[Claim]:
    """Measure deep networks without skip connections."""
    x = torch.randn(size.samples, size.width, generator=seeded(0))
    # Each layer multiplies the variance by 1 ± sqrt(5/width); the factor per layer is the root of the product.
    close = math.exp(3 * math.sqrt(5 / size.width / size.depth))
    for name, recipe, activation, factor in (
        ("Xavier, linear", recipes.xavier_normal_, nn.Identity, 1.0),
        ("orthogonal, linear", recipes.orthogonal_, nn.Identity, 1.0),
        ("He, ReLU", recipes.he_normal_, nn.ReLU, 1.0),
        ("Xavier, ReLU", recipes.xavier_normal_, nn.ReLU, 0.5),
    ):
        net = recipe(mlp(size, activation, size.depth), generator=seeded(5))
        forward, backward = growth(net, x)
        # The last layer has no ReLU behind it, and the first none before it: one factor of the activation is left over.
        lone = 2.0 if (name == "He, ReLU") else 1.0
        steps = size.depth - 1
        source = {"X": "Glorot & Bengio 2010, Eq. 5, 6", "o": "Saxe et al. 2014", "H": "He et al. 2015, Eq. 10, 14"}[
            name[0]
        ]
        yield Claim(
            f"{name}, {size.depth} layers: factor per layer", source, factor, (forward / lone) ** (1 / steps), close
        )
        yield Claim(f"{name}, the same backward", source, factor, (backward / lone) ** (1 / steps), close)
    net = mlp(size, nn.Identity, 10)
    for parameter in net.parameters():
        nn.init.normal_(parameter, generator=seeded(6)) if parameter.dim() > 1 else nn.init.zeros_(parameter)
    measured = math.log10(growth(net, x)[0])
    yield Claim(
        f"N(0, 1), {size.width} wide: log10 of width^10 after 10 layers",
        "Var(y) = n · Var(x)",
        10 * math.log10(size.width),
        measured,
        1.03,
    )


def symmetry(size: Size) -> Iterator[Claim]:
    """Measure how far apart units drift that started with one constant."""
    x, y = torch.randn(64, 16, generator=seeded(0)), torch.randn(64, 2, generator=seeded(1))
    for name, value in (("zeros", 0.0), ("the constant 0.1", 0.1)):
        net = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2))
        for parameter in net.parameters():
            nn.init.constant_(parameter, value)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
        for _ in range(5 * size.depth):
            optimizer.zero_grad()
            nn.functional.mse_loss(net(x), y).backward()
            optimizer.step()
        apart = max(float((p - p[:1]).detach().abs().max()) for p in list(net.parameters())[:4] if p.dim() > 1)
        yield Claim(
            f"units that start at {name} differ after {5 * size.depth} steps by",
            "symmetry of the gradient",
            0.0,
            apart,
            1 + 1e-6,
        )


def residual(size: Size) -> Iterator[Claim]:
    """Measure residual networks."""
    x = torch.randn(size.samples, size.width, generator=seeded(0))
    blocks, prince, shao = size.depth, "Prince 2023, Section 11.4", "Shao et al. 2020"
    plain = recipes.he_normal_(stack(size), generator=seeded(7))
    forward, backward = growth(plain, x)
    yield Claim("He, x + F(x): Var grows per block by", prince, 2.0, forward ** (1 / blocks), 1.05)
    yield Claim("the same for the gradient", prince, 2.0, backward ** (1 / blocks), 1.05)
    found: StepRecord = init_monitor.check(plain, x, rules=()).records[0]
    one = found.residuals[blocks // 2]
    parts = one.skip_var + one.branch_var + 2 * one.correlation * math.sqrt(one.skip_var * one.branch_var)
    middle = f"block {blocks // 2 + 1}"
    yield Claim(
        f"Var(x + F)/Var(x) = 1 + Var(F)/Var(x) + 2 Cov/Var(x), {middle}",
        "variance of a sum",
        parts / one.skip_var,
        one.sum_var / one.skip_var,
        1.001,
    )
    ratios = sorted(one.branch_var / one.skip_var for one in found.residuals)
    yield Claim("He in the branch: Var(F)/Var(x), median", f"{prince}", 1.0, ratios[blocks // 2], 1.1)
    correlations = sorted(abs(one.correlation) for one in found.residuals)
    root = math.sqrt(size.width)
    yield Claim(
        "|correlation of x and F(x)| · sqrt(d), median",
        f"{shao}, Prop. 1: O(1)",
        1.0,
        correlations[blocks // 2] * root,
        4.0,
    )
    mixing = torch.randn(size.width, size.width, generator=seeded(8)) / root
    rows = torch.randn(16 * size.samples, size.width, generator=seeded(9))
    sums, own = (rows + rows @ mixing.T).var(dim=0), mixing.diagonal()
    # Var of unit i is 1 + 2 w_ii + Σ_j w_ij²: the slope over w_ii tells 2 Cov from the Cov that is printed in A.1.
    rest, centred = sums - 1 - mixing.square().sum(dim=1), own - own.mean()
    slope = float((rest * centred).sum() / centred.square().sum())
    yield Claim(
        "linear F: Var(x + F)_i rises with w_ii by 2 (2 Cov, not Cov)", f"{shao}, Eq. 11, corrected", 2.0, slope, 1.2
    )
    halved = recipes.he_normal_(stack(size, lambda _: recipes.halved_sum), generator=seeded(7))
    yield Claim("(x + F(x))/sqrt(2): per block", prince, 1.0, growth(halved, x)[0] ** (1 / blocks), 1.05)
    zeroed = stack(size)
    recipes.zero_init_residual_(zeroed, x)
    yield Claim(f"zero ends: after {blocks} blocks", "Goyal et al. 2017", 1.0, growth(zeroed, x)[0], 1.0001)
    for name, total in (("α_k, β_k", recipes.rescaled_sum), ("fixed weight, exponent 1/N", recipes.fixed_weight_sum)):
        net = stack(size, lambda k, total=total: partial(total, block=k, blocks=blocks))  # type: ignore[misc]
        recipes.rescale_residual_(net, x[:4], generator=seeded(7))
        yield Claim(f"RescaleNet, {name}: after {blocks} blocks", f"{shao}, Eq. 6, 16", 1.0, growth(net, x)[0], 1.15)
    folded = stack(size)
    recipes.rescale_residual_(folded, x[:4], generator=seeded(7))
    yield Claim(
        f"RescaleNet folded into weights: after {blocks} blocks", "(k+L)/L at k = L", 2.0, growth(folded, x)[0], 1.15
    )
    recipes.fixup_(folded, x[:4], generator=seeded(7))
    scale = variance(folded.get_parameter("0.first.weight"))
    yield Claim(
        "Fixup: Var(W) in branches = 2/n · L^(-1/(m-1)), m = 2",
        "Zhang et al. 2019, Section 3",
        2 / size.width / blocks,
        scale,
        1.03,
    )


def overflow(size: Size) -> Iterator[Claim]:
    """Measure how many doublings float16 has room for, and what a normalised branch adds instead."""
    h = torch.randn(size.samples, size.width, generator=seeded(0))
    doublings = 0
    with torch.no_grad():
        for block in recipes.he_normal_(stack(size._replace(depth=40)), generator=seeded(7)):
            if float(h.double().square().mean()) >= HALF_MAX**2:
                break
            h, doublings = block(h), doublings + 1
    yield Claim(
        "x + F(x): blocks until the rms passes float16's 65504",
        "log2(65504²)",
        2 * math.log2(HALF_MAX),
        doublings,
        1.07,
    )
    h = torch.randn(size.samples, size.width, generator=seeded(0))
    with torch.no_grad():
        for block in recipes.he_normal_(stack(size), generator=seeded(7)):
            # The branch of He gives E[relu²]·2·E[relu²]·2 = 1 for a normalised input, whatever the scale of the stream.
            h = (
                h
                + block(nn.functional.batch_norm(h, None, None, training=True))
                - nn.functional.batch_norm(h, None, None, training=True)
            )
    yield Claim(
        f"BatchNorm in the branch: Var after {size.depth} blocks", "1 + L, not 2^L", 1.0 + size.depth, variance(h), 1.15
    )


def contributions(size: Size) -> Iterator[Claim]:
    """Measure what each block of RescaleNet adds to the output, and what a step on its weights takes off the loss."""
    blocks, width, shao = 16, size.width // 2, "Shao et al. 2020"
    small = Size(width, 256, blocks)

    def net(total: Callable[..., torch.Tensor], seed: int) -> nn.Sequential:
        made = stack(small, lambda k: partial(total, block=k, blocks=blocks))
        recipes.rescale_residual_(made, torch.ones(2, width), generator=seeded(seed))
        return made

    h, added = torch.randn(4096, width, generator=seeded(0)), []
    with torch.no_grad():
        for k, block in enumerate(net(recipes.rescaled_sum, 1), 1):
            alpha, _ = recipes.rescale_factors(k, blocks)
            after = block(h)
            later = math.prod(recipes.rescale_factors(i, blocks)[0] ** 2 for i in range(k + 1, blocks + 1))
            added.append(variance(after - alpha * h) * later)
            h = after
    share = f"RescaleNet, 1/β_k² = k + L: block {blocks} adds to the output as block 1 does"
    yield Claim(share, f"{shao}, Eq. 14", 1.0, added[-1] / added[0], 1.2)

    names = (
        ("β_k = 1/sqrt(k+L)", recipes.rescaled_sum, (blocks + 1) / (2 * blocks)),
        ("fixed weight, N = 2", recipes.fixed_weight_sum, ((blocks + 1) / (2 * blocks)) ** 0.5),
    )
    for name, total, theory in names:
        logs = torch.zeros(blocks)
        for draw in range(12):
            made = net(total, draw)
            x, cotangent = torch.randn(2, 256, width, generator=seeded(100 + draw))
            (made(x) * cotangent).mean().backward()
            squared = [
                sum(float(p.grad.square().sum()) for p in block.parameters() if p.grad is not None) for block in made
            ]
            logs += torch.tensor(squared).log() / 12
        place = torch.arange(blocks) - (blocks - 1) / 2
        line = float((place * logs).sum() / place.square().sum())
        what = f"‖∂L/∂w‖² of block {blocks} over block 1, {name}"
        yield Claim(what, f"{shao}, A.4", theory, math.exp(line * (blocks - 1)), 1.2)

    made = net(recipes.rescaled_sum, 1).double()
    x, y = torch.randn(2, 256, width, generator=seeded(5), dtype=torch.float64)
    before, rate = (made(x) - y).square().mean(), 1e-4
    before.backward()
    squared_norm = sum(float(p.grad.square().sum()) for p in made[3].parameters() if p.grad is not None)
    with torch.no_grad():
        for parameter in made[3].parameters():
            if parameter.grad is not None:
                parameter.sub_(rate * parameter.grad)
        fell = float(before) - float((made(x) - y).square().mean())
    what = "an SGD step on one block's weights: loss decrease over η‖∂L/∂w‖²"
    yield Claim(what, f"{shao}, Eq. 15", 1.0, fell / (rate * squared_norm), 1.01)


def linear_regime(size: Size) -> Iterator[Claim]:
    """Measure the share of units whose ReLU does nothing, in He's deep network."""
    width, samples = 2 * size.width, 4 * size.samples
    h, weights = torch.randn(samples, width, generator=seeded(1)), seeded(0)
    # Narrower layers and fewer inputs raise the share; at full size a draw of weights moves it by a few points.
    factor = 1.35 if width >= 2 * FULL.width else 1.8
    with torch.no_grad():
        for layer in range(1, max(LINEAR_REGIME) + 1):
            h = h @ recipes.he_normal_(torch.empty(width, width), generator=weights).T
            if layer in LINEAR_REGIME:
                same = float(((h > 0).all(dim=0) | (h <= 0).all(dim=0)).float().mean())
                what = f"He, ReLU: share of units in the linear regime at layer {layer}"
                yield Claim(what, "Shao et al. 2020, Fig. 3a, run again", LINEAR_REGIME[layer], same, factor)
            h = torch.relu(h)


def rectifiers(size: Size) -> Iterator[Claim]:
    """Measure dead units and zero elements, which are two quantities."""
    z = torch.randn(4 * size.samples, size.width, generator=seeded(0)) - 1.75
    quantile = 0.5 * math.erfc(-1.75 / math.sqrt(2))
    zeros = float((torch.relu(z) == 0).float().mean())
    dead = float((z <= 0).all(dim=0).float().mean())
    yield Claim("ReLU of N(-1.75, 1): share of zero elements", "normal distribution", quantile, zeros, 1.01)
    yield Claim("the same layer: share of dead units", "P(all ≤ 0) ≈ 0", 0.0, dead, 1.01)
    z = torch.randn(size.samples, size.width, generator=seeded(0))
    cut = int(0.4 * size.width)
    z[:, :cut] -= 100
    zeros = float((torch.relu(z) == 0).float().mean())
    yield Claim("40 % dead units: share of zero elements", "0.4 + 0.6/2", 0.7, zeros, 1.02)


PARTS: tuple[Callable[[Size], Iterator[Claim]], ...] = (
    one_layer,
    drawn,
    by_layer,
    depth,
    symmetry,
    residual,
    overflow,
    contributions,
    linear_regime,
    rectifiers,
)


def claims(size: Size) -> list[Claim]:
    """Measure every formula."""
    return [claim for part in PARTS for claim in part(size)]


def page(found: Sequence[Claim]) -> str:
    """Return the documentation page."""

    def cell(text: str) -> str:
        return text.replace("|", "\\|")

    rows = [
        f"| {cell(one.formula)} | {cell(one.source)} | {one.theory:.4g} | {one.measured:.4g} | {one.factor:.4g}× |"
        if one.theory
        else f"| {cell(one.formula)} | {cell(one.source)} | 0 | {one.measured:.4g} | {one.factor - 1:.2g} |"
        for one in found
    ]
    return PAGE + "\n".join(rows) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the page, and return 1 if a formula does not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, help="write the page here instead of printing it")
    parser.add_argument("--small", action="store_true", help="smaller networks: seconds")
    options = parser.parse_args(arguments)
    found = claims(SMALL if options.small else FULL)
    text = page(found)
    if options.out is None:
        print(text)
    else:
        options.out.write_text(text, encoding="utf-8")
    off = [one for one in found if not one.holds]
    for one in off:
        print(f"does not hold: {one.formula}: theory {one.theory:.4g}, measured {one.measured:.4g}")
    return 1 if off else 0


if __name__ == "__main__":
    raise SystemExit(main())
