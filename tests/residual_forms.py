# mypy: disable-error-code="no-any-return"
# (a module's call returns Any)
"""Networks whose residual additions are easily missed or easily imagined, each with its count by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everyone writes it

D = 8


def _map(into: int = D, out: int = D) -> nn.Sequential:
    return nn.Sequential(nn.Linear(into, 2 * D), nn.ReLU(), nn.Linear(2 * D, out))


class MovingAverage(nn.Module):
    """Over the positions of [N, T, C], with both ends repeated so that their number stays."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.average = nn.AvgPool1d(kernel, stride=1)

    def forward(self, x: Tensor) -> Tensor:
        front = x[:, :1].repeat(1, (self.kernel - 1) // 2, 1)
        end = x[:, -1:].repeat(1, self.kernel // 2, 1)
        padded = torch.cat([front, x, end], dim=1)
        return self.average(padded.permute(0, 2, 1)).permute(0, 2, 1)


class Decomposition(nn.Module):
    """What is left of a series without its moving average, and the average."""

    def __init__(self, kernels: tuple[int, ...]) -> None:
        super().__init__()
        self.averages = nn.ModuleList(MovingAverage(kernel) for kernel in kernels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        trend = sum(average(x) for average in self.averages) / len(self.averages)
        return x - trend, trend


class SeriesLayer(nn.Module):
    """Three residual additions, each followed by a decomposition; the trends are summed up on the side."""

    def __init__(self, kernels: tuple[int, ...]) -> None:
        super().__init__()
        self.attention, self.cross, self.feed = _map(), _map(), _map()
        self.split1, self.split2, self.split3 = (Decomposition(kernels) for _ in range(3))
        self.projection = nn.Conv1d(D, D, 3, padding=1, bias=False)

    def forward(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        x, trend1 = self.split1(x + self.attention(x))
        x, trend2 = self.split2(x + self.cross(x + memory.mean()))
        x, trend3 = self.split3(x + self.feed(x))
        return x, self.projection((trend1 + trend2 + trend3).transpose(1, 2)).transpose(1, 2)


class SeriesNet(nn.Module):
    """A forecaster by series decomposition (Wu et al. 2021): 3 additions per layer."""

    def __init__(self, layers: int = 2, kernels: tuple[int, ...] = (5,)) -> None:
        super().__init__()
        self.split = Decomposition(kernels)
        self.embed = nn.Linear(D, D)
        self.layers = nn.ModuleList(SeriesLayer(kernels) for _ in range(layers))
        self.head = nn.Linear(D, D)

    def forward(self, x: Tensor) -> Tensor:
        seasonal, trend = self.split(x)
        x = self.embed(seasonal)
        for layer in self.layers:
            x, more = layer(x, seasonal)
            trend = trend + more
        return self.head(x) + trend


class BiasedAttention(nn.Module):
    """Attention whose logits get a term computed from what it looks at: one addition per layer, not two."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.relative = (nn.Linear(D, D) for _ in range(4))
        self.positions = nn.Linear(D, 6)
        self.out = nn.Linear(D, D)

    def forward(self, x: Tensor) -> Tensor:
        scores = self.query(x) @ self.key(x).transpose(1, 2)
        scores = scores + self.positions(x)
        return x + self.out(torch.softmax(scores, -1) @ self.value(x))


class Reversible(nn.Module):
    """Two streams that take turns (Gomez et al. 2017): two additions per block."""

    def __init__(self, blocks: int = 3, *, split: str = "chunk") -> None:
        super().__init__()
        self.split = split
        self.stem = nn.Linear(D, 2 * D)
        self.f = nn.ModuleList(_map() for _ in range(blocks))
        self.g = nn.ModuleList(_map() for _ in range(blocks))
        self.head = nn.Linear(2 * D, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        left, right = x.chunk(2, -1) if self.split == "chunk" else (x[..., :D], x[..., :D].clone())
        for f, g in zip(self.f, self.g, strict=True):
            left = left + f(right)
            right = right + g(left)
        return self.head(torch.cat([left, right], -1))


class ReversibleBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.f, self.g = _map(), _map()

    def forward(self, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        left = left + self.f(right)
        return left, right + self.g(left)


class ReversibleInBlocks(nn.Module):
    """The same with a module per block, and the halves put together in between."""

    def __init__(self, blocks: int = 3) -> None:
        super().__init__()
        self.stem = nn.Linear(D, 2 * D)
        self.blocks = nn.ModuleList(ReversibleBlock() for _ in range(blocks))
        self.head = nn.Linear(2 * D, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = torch.cat(block(*x.chunk(2, -1)), -1)
        return self.head(x)


class SharedProjection(nn.Module):
    """A bottleneck whose skip and whose branch come out of one projection: one addition per block."""

    def __init__(self, *, form: str) -> None:
        super().__init__()
        self.form = form
        self.project = nn.Linear(D, D + 4)
        self.square = nn.Linear(D, D)
        self.widen = nn.Linear(4, D)
        self.branch = _map()

    def forward(self, x: Tensor) -> Tensor:
        if self.form == "split":
            skip, h = self.project(x).split([D, 4], -1)
            return skip + self.widen(F.relu(h))
        if self.form == "twice":
            return self.square(x) + self.branch(self.square(x))
        if self.form == "same weight":
            return F.linear(x, self.square.weight) + self.branch(F.linear(x, self.square.weight))
        h = self.square(x)
        return h + self.branch(h)


class Bottlenecks(nn.Module):
    def __init__(self, *, form: str, blocks: int = 2) -> None:
        super().__init__()
        self.stem = nn.Linear(D, D)
        self.blocks = nn.Sequential(*(SharedProjection(form=form) for _ in range(blocks)))
        self.head = nn.Linear(D, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.blocks(self.stem(x))))


class Sampler(nn.Module):
    """A variational autoencoder: ``mean + deviation * noise`` is no residual addition."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.mean, self.log_variance, self.decoder = (nn.Linear(D, D) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.encoder(x))
        mean, deviation = self.mean(h), torch.exp(self.log_variance(h) / 2)
        return self.decoder(mean + deviation * torch.randn_like(deviation))


class StateSpace(nn.Module):
    """A selective scan (Gu & Dao 2023): ``y = scan(u) + D u``, where ``u`` is read by a layer and, turned round, by the scan."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.select, self.out = nn.Linear(D, D), nn.Linear(D, 3), nn.Linear(D, D)
        self.decay, self.skip = nn.Parameter(-torch.ones(D)), nn.Parameter(torch.ones(D))

    def forward(self, x: Tensor) -> Tensor:
        u = F.silu(self.enter(x))
        pace, given, taken = self.select(u).split(1, -1)
        turned = u.transpose(1, 2)
        keep = torch.exp(self.decay * F.softplus(pace)).transpose(1, 2)
        more = (F.softplus(pace) * given).transpose(1, 2) * turned
        state, seen = torch.zeros_like(turned[..., 0]), []
        for i in range(x.shape[1]):
            state = keep[..., i] * state + more[..., i]
            seen.append(state * taken[:, i])
        y = torch.stack(seen, -1) + turned * self.skip[:, None]
        return x + self.out(y.transpose(1, 2))


class Likelihood(nn.Module):
    """A likelihood in the forward, of counts with a rate and a dispersion that is learned or computed: no residual addition."""

    def __init__(self, *, learned: bool = True) -> None:
        super().__init__()
        self.encoder, self.rate, self.spread = nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, D)
        self.dispersion, self.learned = nn.Parameter(torch.zeros(D)), learned

    def forward(self, counts: Tensor) -> Tensor:
        hidden = torch.relu(self.encoder(torch.log1p(counts.abs())))
        spread = self.dispersion if self.learned else self.spread(hidden)
        rate, spread = torch.broadcast_tensors(F.softplus(self.rate(hidden)), spread.exp())
        shares = spread * (torch.log(spread) - torch.log(spread + rate))
        shares = shares + torch.lgamma(counts + spread) - torch.lgamma(spread) - torch.lgamma(counts + 1)
        return -(shares + counts * torch.log(rate / (spread + rate))).sum(-1).mean()


class Gates(nn.Module):
    """Two halves of one projection in a gate, a maximum and a plain sum: no residual addition."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.out = nn.Linear(D, 2 * D), nn.Linear(D, 3)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.project(x).chunk(2, -1)
        return self.out(a * torch.sigmoid(b) + torch.tanh(a))


class Merges(nn.Module):
    """A value inside a branch is used again after the sum: one addition, and one merge of parallel ways."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b, self.c, self.head = (nn.Linear(D, D) for _ in range(5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        inner = torch.relu(self.a(x))
        y = x + self.b(inner)
        return self.head(inner + torch.relu(self.c(y)))


FORMS: dict[str, tuple[nn.Module, int]] = {
    "series decomposition": (SeriesNet(), 6),
    "series decomposition by several averages": (SeriesNet(kernels=(3, 5)), 6),
    "biased attention": (nn.Sequential(nn.Linear(D, D), BiasedAttention(), BiasedAttention()), 2),
    "reversible": (Reversible(), 6),
    "reversible from one value": (Reversible(split="copy"), 6),
    "reversible in blocks": (ReversibleInBlocks(), 6),
    "one projection, split": (Bottlenecks(form="split"), 2),
    "one projection, called twice": (Bottlenecks(form="twice"), 2),
    "one projection, its weight used twice": (Bottlenecks(form="same weight"), 2),
    "one projection for both": (Bottlenecks(form="both"), 2),
    "state space": (nn.Sequential(nn.Linear(D, D), StateSpace(), StateSpace()), 4),
    "reparameterisation": (Sampler(), 0),
    "likelihood": (Likelihood(), 0),
    "likelihood with a computed dispersion": (Likelihood(learned=False), 0),
    "gates": (Gates(), 0),
}
