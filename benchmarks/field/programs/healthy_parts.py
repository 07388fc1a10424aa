"""Networks with frozen copies, unused outputs and codes that are passed straight through, as is meant."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.field.case import Case, Program
from benchmarks.field.programs.base import Learner, adam, adamw, mlp
from benchmarks.field.programs.material import batches, rows, waves

if TYPE_CHECKING:
    from collections.abc import Callable


class WithSideHead(Learner):
    """A second head whose output is computed, and which the loss does not use yet."""

    def __init__(self) -> None:
        super().__init__(adamw(2e-3))
        self.body, self.head, self.side = (
            nn.Sequential(nn.Linear(64, 64), nn.ReLU()),
            nn.Linear(64, 10),
            nn.Linear(64, 4),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x)
        return self.head(h), self.side(h)

    def loss(self, batch: list[Tensor]) -> Tensor:
        out, _ = self(batch[0])
        return F.cross_entropy(out, batch[1])


class QLearner(Learner):
    """Learns values of moves from a random walk, with a frozen copy for the target that is renewed now and then."""

    def __init__(self) -> None:
        super().__init__(adam(1e-3))
        self.values = mlp((6, 64, 64, 3))
        self.target = copy.deepcopy(self.values).requires_grad_(requires_grad=False)

    def loss(self, batch: list[Tensor]) -> Tensor:
        state, move, reward, after = batch
        with torch.no_grad():
            best = reward + 0.9 * self.target(after).amax(1)
        return F.smooth_l1_loss(self.values(state).gather(1, move[:, None])[:, 0], best)

    def on_train_batch_end(self, *_: object) -> None:
        if self.global_step % 25 == 0:
            self.target.load_state_dict(self.values.state_dict())


def _walk() -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(42)
    state = torch.randn(4096, 6, generator=generator)
    move = torch.randint(0, 3, (4096,), generator=generator)
    after = 0.8 * state + 0.5 * F.one_hot(move, 6) + 0.2 * torch.randn(4096, 6, generator=generator)
    return state, move, after[:, 0] - after[:, 1].abs(), after


class Quantised(Learner):
    """A code out of 32 for each quarter of a digit, passed straight through; not every code is used."""

    def __init__(self) -> None:
        super().__init__(adam(2e-3))
        self.encoder, self.decoder = mlp((64, 96, 32)), mlp((32, 96, 64))
        self.codes = nn.Embedding(32, 8)
        nn.init.uniform_(self.codes.weight, -0.5, 0.5)

    def loss(self, batch: list[Tensor]) -> Tensor:
        (x,) = batch
        h = self.encoder(x).view(-1, 8)
        code = self.codes(torch.cdist(h, self.codes.weight).argmin(1))
        passed = h + (code - h).detach()
        near = F.mse_loss(code, h.detach()) + 0.25 * F.mse_loss(h, code.detach())
        return F.mse_loss(self.decoder(passed.view(-1, 32)), x) + near


class Seq2Seq(Learner):
    """An encoder and a decoder of one shared GRU, with attention, for the curve's second half."""

    def __init__(self) -> None:
        super().__init__(adam(5e-3))
        self.gru, self.read = nn.GRU(1, 24, batch_first=True), nn.Linear(48, 1)

    def loss(self, batch: list[Tensor]) -> Tensor:
        x, _ = batch
        seen, state = self.gru(x[:, :12])
        made, _ = self.gru(x[:, 11:-1], state)
        looked = (made @ seen.mT / 24**0.5).softmax(-1) @ seen
        return F.mse_loss(self.read(torch.cat([made, looked], -1)), x[:, 12:])


def _case(name: str, about: str, make: Callable[[], Program], steps: int = 150) -> Case:
    return Case(name, about, make, steps=steps)


CASES = (
    _case(
        "unused_output",
        "An output that the loss does not use.",
        lambda: Program(WithSideHead(), batches(*rows(), batch=64)),
    ),
    _case("frozen_target", "Q-learning with a frozen copy.", lambda: Program(QLearner(), batches(*_walk(), batch=64))),
    _case("codebook", "Codes passed straight through.", lambda: Program(Quantised(), batches(rows()[0], batch=64))),
    _case("shared_recurrence", "One GRU reads and writes.", lambda: Program(Seq2Seq(), batches(*waves(), batch=64))),
)
