"""Networks with zeros, masks, frozen copies and unused parts that are meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name
from torch.nn.utils import parametrizations
from torch.optim import lr_scheduler

from benchmarks.field.case import Case, Program
from benchmarks.field.programs.base import Encoder, Learner, Supervised, adam, adamw, mlp, sgd
from benchmarks.field.programs.material import batches, blobs, chain, counted, function, graphs, pictures, rows

if TYPE_CHECKING:
    from collections.abc import Callable


class SparseCode(nn.Module):
    """1,024 rectifiers with a threshold each: about 4 in 100 are on, and every one is now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.code = nn.Linear(64, 1024)
        nn.init.normal_(self.code.weight, std=64**-0.5)
        nn.init.constant_(self.code.bias, -1.75)
        self.read = nn.Linear(1024, 10)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.read(F.relu(self.code(x)))
        return out


def _sparse() -> Program:
    generator = torch.Generator().manual_seed(40)
    x = torch.randn(8192, 64, generator=generator)
    y = (x @ torch.randn(64, 10, generator=generator)).argmax(1)
    return Program(Supervised(SparseCode(), F.cross_entropy, adam(1e-3)), batches(x, y, batch=128))


class ZeroBlock(nn.Module):
    """A residual block whose last normalisation starts at a scale of 0."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        nn.init.zeros_(self.norm2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))))


def _zero_residuals() -> Program:
    blocks = [ZeroBlock(16) for _ in range(4)]
    net = nn.Sequential(
        *[nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()],
        *blocks,
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    return Program(Supervised(net, F.cross_entropy, sgd(0.05, momentum=0.9)), batches(*pictures(), batch=64))


class GatedReader(Learner):
    """Reads a text for a picture's sake through a gate, tanh of a parameter that starts at 0."""

    def __init__(self) -> None:
        super().__init__(adamw(2e-3))
        self.text = Encoder(24, 12)
        self.own = nn.Linear(4, 32)
        self.gate = nn.Parameter(torch.zeros(1))
        self.head = nn.Linear(32, 5)

    def loss(self, batch: list[Tensor]) -> Tensor:
        tokens, y = batch
        own = self.own(F.one_hot(tokens[:, 0] % 4, 4).float())
        return F.cross_entropy(self.head(own + torch.tanh(self.gate) * self.text(tokens)), y)


class Masked(nn.Module):
    """A policy that gives forbidden moves -inf before its log-softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp((20, 48, 48, 10), nn.Tanh)
        self.chances = nn.LogSoftmax(dim=1)

    def forward(self, x: Tensor) -> Tensor:
        allowed = x[:, 10:] > 0
        out: Tensor = self.chances(self.body(x).masked_fill(~allowed, -torch.inf))
        return out


def _masked() -> Program:
    generator = torch.Generator().manual_seed(41)
    place = torch.randn(4096, 10, generator=generator)
    allowed = (torch.rand(4096, 10, generator=generator) < 0.6).float()
    allowed[:, 0] = 1
    best = place.masked_fill(allowed == 0, -torch.inf).argmax(1)
    x = torch.cat([place, 2 * allowed - 1], 1)
    return Program(Supervised(Masked(), F.nll_loss, adam(2e-3)), batches(x, best, batch=64))


class Causal(Learner):
    """A transformer whose future is hidden by -inf in a float mask."""

    def __init__(self) -> None:
        super().__init__(adamw(2e-3))
        self.embedding, self.place = nn.Embedding(24, 32), nn.Parameter(0.02 * torch.randn(16, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, batch_first=True, norm_first=True)
        self.layers, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(32, 24)
        self.register_buffer("future", torch.full((16, 16), -torch.inf).triu(1))

    def loss(self, batch: list[Tensor]) -> Tensor:
        (text,) = batch
        h = self.layers(self.embedding(text[:, :-1]) + self.place, mask=self.future)
        return F.cross_entropy(self.head(h).flatten(0, 1), text[:, 1:].flatten())


class UNet(nn.Module):
    """Down, up, and the fine picture beside the coarse one."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.ReLU())
        self.deep = nn.Sequential(
            nn.MaxPool2d(2), nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(24, 12, 2, 2)
        )
        self.out = nn.Sequential(nn.Conv2d(24, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        fine = self.down(x)
        out: Tensor = self.out(torch.cat([fine, self.deep(fine)], 1))
        return out


def _dice(out: Tensor, mask: Tensor) -> Tensor:
    p = torch.sigmoid(out)
    overlap = (p * mask).sum((1, 2, 3))
    return 1 - ((2 * overlap + 1) / (p.sum((1, 2, 3)) + mask.sum((1, 2, 3)) + 1)).mean()


class GraphAttention(Learner):
    """Two rounds of attention among neighbours; who is none is hidden by -inf."""

    def __init__(self) -> None:
        super().__init__(adam(5e-3))
        self.start = nn.Linear(8, 24)
        self.scores = nn.ModuleList([nn.Linear(24, 2) for _ in range(2)])
        self.values = nn.ModuleList([nn.Linear(24, 24) for _ in range(2)])
        self.head = nn.Linear(24, 2)

    def loss(self, batch: list[Tensor]) -> Tensor:
        x, edges, y = batch
        x = F.elu(self.start(x))
        for score, value in zip(self.scores, self.values, strict=True):
            mine, theirs = score(x).unbind(-1)
            logits = F.leaky_relu(mine[:, :, None] + theirs[:, None], 0.2).masked_fill(edges == 0, -torch.inf)
            x = F.elu(logits.softmax(-1) @ value(x)) + x
        return F.cross_entropy(self.head(x.mean(1)), y)


class MixerBlock(nn.Module):
    """Mixes patches, then channels."""

    def __init__(self, patches: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.patches, self.channels = mlp((patches, 32, patches), nn.GELU), mlp((width, 64, width), nn.GELU)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.patches(self.norm1(x).mT).mT
        out: Tensor = x + self.channels(self.norm2(x))
        return out


class Patches(nn.Module):
    """[n, 1, 8, 8] to 16 patches of 4 pixels."""

    def forward(self, x: Tensor) -> Tensor:
        return F.unfold(x, 2, stride=2).mT


class MeanOverPatches(nn.Module):
    """[n, patches, width] to [n, width]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def _mixer() -> Program:
    def schedule(optimizer: torch.optim.Optimizer) -> object:
        return lr_scheduler.OneCycleLR(optimizer, max_lr=5e-3, total_steps=150)

    blocks = [MixerBlock(16, 32) for _ in range(3)]
    net = nn.Sequential(Patches(), nn.Linear(4, 32), *blocks, nn.LayerNorm(32), MeanOverPatches(), nn.Linear(32, 10))
    return Program(Supervised(net, F.cross_entropy, adamw(1e-3), schedule), batches(*pictures(), batch=64))


def _weight_norm() -> Program:
    layers = [parametrizations.weight_norm(nn.Linear(a, b)) for a, b in ((8, 48), (48, 48))]
    net = nn.Sequential(layers[0], nn.ELU(), layers[1], nn.ELU(), parametrizations.spectral_norm(nn.Linear(48, 1)))
    return Program(Supervised(net, F.mse_loss, adam(3e-3)), batches(*function(), batch=64))


class DropsBlocks(nn.Module):
    """Residual blocks of which a third is left out at each step, by lot."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.end = nn.Linear(64, 48), nn.Linear(48, 10)
        self.blocks = nn.ModuleList(
            [nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 48), nn.GELU(), nn.Linear(48, 48)) for _ in range(6)]
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.start(x)
        for block in self.blocks:
            if not self.training or torch.rand(()) > 1 / 3:
                x = x + block(x)
        out: Tensor = self.end(x)
        return out


def _case(name: str, about: str, make: Callable[[], Program], steps: int = 150) -> Case:
    return Case(name, about, make, steps=steps)


CASES = (
    _case("sparse_code", "96 in 100 rectified values are 0, and no unit is dead.", _sparse, 120),
    _case("zero_residuals", "Residual branches whose last scale starts at 0.", _zero_residuals, 100),
    _case(
        "gate_at_zero",
        "A branch behind a gate that starts shut.",
        lambda: Program(GatedReader(), batches(*counted(), batch=64)),
    ),
    _case("forbidden_moves", "Logits of forbidden moves are -inf before a log-softmax.", _masked),
    _case(
        "hidden_future",
        "A float mask of -inf in a language model.",
        lambda: Program(Causal(), batches(chain(), batch=64)),
    ),
    _case(
        "unet",
        "A U-Net for small discs, by the dice loss.",
        lambda: Program(Supervised(UNet(), _dice, adam(3e-3)), batches(*blobs(), batch=16)),
        100,
    ),
    _case(
        "graph_attention",
        "Attention among neighbours.",
        lambda: Program(GraphAttention(), batches(*graphs(), batch=32)),
        120,
    ),
    _case("mixer", "An MLP-Mixer with OneCycleLR.", _mixer),
    _case("normed_weights", "Weight norm and spectral norm.", _weight_norm),
    _case(
        "dropped_blocks",
        "A third of the residual blocks is left out at each step.",
        lambda: Program(Supervised(DropsBlocks(), F.cross_entropy, adamw(1e-3)), batches(*rows(), batch=64)),
    ),
)
