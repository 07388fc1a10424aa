"""The loss does not reach what should learn, or the optimizer does not have it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.field.case import Case, Program, answer
from benchmarks.field.programs.base import Encoder, Learner, Supervised, adam, adamw, mlp, sgd, small_cnn
from benchmarks.field.programs.material import batches, counted, first_letter, pictures, rows, unit_rows
from benchmarks.field.remedy import Remedy


class GatedExperts(Learner):
    """Four experts, one of which a router chooses for each sample: hard, or by weight."""

    def __init__(self, *, hard: bool) -> None:
        super().__init__(adam(3e-3))
        self.hard = hard
        self.router = nn.Linear(8, 4)
        self.experts = nn.ModuleList([nn.Linear(8, 1) for _ in range(4)])

    def loss(self, batch: list[Tensor]) -> Tensor:
        x, y = batch
        share = self.router(x).softmax(-1)
        if self.hard:
            share = F.one_hot(share.argmax(-1), 4).float()
        answers = torch.cat([expert(x) for expert in self.experts], 1)
        return F.mse_loss((share * answers).sum(1, keepdim=True), y)


def _kinks() -> tuple[Tensor, Tensor]:
    """Return inputs and |x0| + |x1|, which the right choice among four linear experts makes exactly."""
    x = torch.randn(2048, 8, generator=torch.Generator().manual_seed(7))
    y = x[:, :2].abs().sum(1, keepdim=True)
    return x, (y - y.mean()) / y.std()


class RoundedCode(Learner):
    """An autoencoder whose code is rounded, with the gradient passed by or not."""

    def __init__(self, *, passed: bool) -> None:
        super().__init__(adamw(2e-3))
        self.passed = passed
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 12))
        self.decoder = nn.Sequential(nn.Linear(12, 64), nn.GELU(), nn.Linear(64, 64))

    def loss(self, batch: list[Tensor]) -> Tensor:
        code = 3 * torch.tanh(self.encoder(batch[0]))
        rounded = torch.round(code)
        if self.passed:
            rounded = code + (rounded - code).detach()
        return F.mse_loss(self.decoder(rounded), batch[0])


class Detached(Supervised):
    """Computes what it calls the loss from numbers, and silences autograd's complaint."""

    def loss(self, batch: list[Tensor]) -> Tensor:
        value = super().loss(batch).item()
        return torch.tensor(value, requires_grad=True)


class Features(Learner):
    """A text encoder used as if it were a finished feature extractor."""

    def __init__(self, *, no_grad: bool) -> None:
        super().__init__(adam(2e-3))
        self.no_grad = no_grad
        self.encoder = Encoder(24, 12)
        self.head = nn.Linear(32, 5)

    def loss(self, batch: list[Tensor]) -> Tensor:
        with torch.set_grad_enabled(not self.no_grad):
            features = self.encoder(batch[0])
        return F.cross_entropy(self.head(features), batch[1])


class Listed(Learner):
    """Embeddings of four columns of categories, in a Python list, which registers nothing, or in a ModuleList."""

    def __init__(self, *, registered: bool) -> None:
        super().__init__(adam(1e-2))
        columns = [nn.Embedding(60, 2) for _ in range(4)]
        self.columns: Any = nn.ModuleList(columns) if registered else columns
        self.read = mlp((8, 32, 1))

    def loss(self, batch: list[Tensor]) -> Tensor:
        x, y = batch
        embedded = [column(x[:, i]) for i, column in enumerate(self.columns)]
        return F.mse_loss(self.read(torch.cat(embedded, 1)), y)


def _categories() -> tuple[Tensor, Tensor]:
    """Return four columns of 60 categories each, and a sum of an effect for each of them, standardised."""
    generator = torch.Generator().manual_seed(15)
    x = torch.randint(0, 60, (2048, 4), generator=generator)
    effect = torch.randn(4, 60, generator=generator)
    y = effect[torch.arange(4), x].sum(1, keepdim=True)
    return x, y / y.std()


class Transferred(pl.LightningModule):
    """Makes its optimizer first and gets a new head, for fewer classes, afterwards."""

    def __init__(self, *, late: bool) -> None:
        super().__init__()
        self.late = late
        self.net = small_cnn(16, 100)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.02, momentum=0.9)
        self.net[-1] = nn.Linear(128, 10)
        nn.init.normal_(self.net[-1].weight, std=1e-3)  # type: ignore[arg-type]
        if not late:
            self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.02, momentum=0.9)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer


class Frozen(Learner):
    """Freezes by a pattern of names that fits every name, and tells the loss to require a gradient."""

    def __init__(self, *, head_too: bool) -> None:
        super().__init__(adam(3e-3))
        self.backbone = mlp((64, 96, 96))
        self.backbone_head = nn.Linear(96, 10)
        for name, parameter in self.named_parameters():
            parameter.requires_grad = not (name.startswith("backbone") if head_too else name.startswith("backbone."))

    def loss(self, batch: list[Tensor]) -> Tensor:
        value = F.cross_entropy(self.backbone_head(F.relu(self.backbone(batch[0]))), batch[1])
        return value if value.requires_grad else value.requires_grad_()


class TwoSteps(pl.LightningModule):
    """Manual optimisation with an optimizer for the recurrent part and one for the head."""

    def __init__(self, *, both: bool) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.both = both
        self.gru, self.head = nn.GRU(6, 32, batch_first=True), nn.Linear(32, 6)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        x, y = batch
        optimizers: Any = self.optimizers()
        of_gru, of_head = optimizers
        loss = F.cross_entropy(self.head(self.gru(x)[0][:, -1]), y)
        of_gru.zero_grad()
        of_head.zero_grad()
        self.manual_backward(loss)
        of_head.step()
        if self.both:
            of_gru.step()
        return loss

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[Any]]:
        return [adam(1e-2)(self.gru.parameters()), adam(1e-2)(self.head.parameters())], []


class ThroughNumpy(Learner):
    """Looks for a pattern in noise; takes the energy of its filters in numpy, or in torch."""

    def __init__(self, *, numpy: bool) -> None:
        super().__init__(sgd(0.05, momentum=0.9))
        self.numpy = numpy
        self.filters = nn.Conv1d(1, 4, 9)
        self.read = mlp((4, 16, 1))

    def loss(self, batch: list[Tensor]) -> Tensor:
        x, y = batch
        h = self.filters(x)
        energy = torch.from_numpy(np.square(h.detach().numpy())) if self.numpy else h.square()
        return F.binary_cross_entropy_with_logits(self.read(energy.amax(2)), y)


def _noise_with_pattern() -> tuple[Tensor, Tensor]:
    """Return noise [n, 1, 32], in every other of which there is one pattern somewhere, and whether there is."""
    generator = torch.Generator().manual_seed(16)
    x = 0.5 * torch.randn(2048, 32, generator=generator)
    pattern = torch.randn(9, generator=generator).sign()
    place = torch.randint(0, 24, (1024,), generator=generator)
    for i, start in enumerate(place.tolist()):
        x[i, start : start + 9] += pattern
    return x[:, None], (torch.arange(2048) < 1024).float()[:, None]


def _detached(*, mended: bool) -> Program:
    kind = Supervised if mended else Detached
    return Program(kind(small_cnn(12), F.cross_entropy, adam(3e-3)), batches(*pictures(), batch=32))


CASES = (
    Case(
        "hard_gate",
        "A router chooses the expert by argmax, so it never learns to choose.",
        lambda: Program(GatedExperts(hard=True), batches(*_kinks(), batch=128)),
        lambda: Program(GatedExperts(hard=False), batches(*_kinks(), batch=128)),
        answer("IM602", Remedy.CONNECT, by=20, layers=("router*",)),
        steps=250,
        measured=(0.916, 0.381),
    ),
    Case(
        "rounded_code",
        "An autoencoder rounds its code; the gradient of round is 0, and the encoder stays as it was drawn.",
        lambda: Program(RoundedCode(passed=False), batches(unit_rows(), batch=64)),
        lambda: Program(RoundedCode(passed=True), batches(unit_rows(), batch=64)),
        answer("IM602 IM503 IM202", Remedy.CONNECT, by=20, beside="IM603", layers=("encoder*",)),
        steps=250,
        measured=(0.0614, 0.0236),
    ),
    Case(
        "loss_of_numbers",
        "The loss is made of .item() values and given requires_grad=True, because backward() complained.",
        lambda: _detached(mended=False),
        lambda: _detached(mended=True),
        answer("IM604 IM602", Remedy.CONNECT, by=10, severity="critical"),
        steps=120,
        measured=(2.3, 0.196),
    ),
    Case(
        "encoder_under_no_grad",
        "The encoder runs under torch.no_grad() since it was copied from a feature extractor, but is to be trained.",
        lambda: Program(Features(no_grad=True), batches(*counted(), batch=64)),
        lambda: Program(Features(no_grad=False), batches(*counted(), batch=64)),
        answer("IM602", Remedy.CONNECT, by=20, layers=("encoder*",)),
        steps=200,
        measured=(1.35, 0.0119),
    ),
    Case(
        "layers_in_a_list",
        "Embeddings are kept in a Python list, so parameters() does not give them to the optimizer.",
        lambda: Program(Listed(registered=False), batches(*_categories(), batch=64)),
        lambda: Program(Listed(registered=True), batches(*_categories(), batch=64)),
        answer("IM602", Remedy.OPTIMIZER, by=60),
        steps=250,
        measured=(0.871, 0.0974),
    ),
    Case(
        "head_replaced_late",
        "The head is replaced after the optimizer was made; it still steps the old one.",
        lambda: Program(Transferred(late=True), batches(*pictures(), batch=64)),
        lambda: Program(Transferred(late=False), batches(*pictures(), batch=64)),
        answer("IM602", Remedy.OPTIMIZER, by=20, layers=("net.7*",)),
        steps=150,
        measured=(2.3, 0.0923),
    ),
    Case(
        "everything_frozen",
        "A pattern that was to freeze the backbone fits the head's name as well; requires_grad_() on the loss hid it.",
        lambda: Program(Frozen(head_too=True), batches(*rows(), batch=32)),
        lambda: Program(Frozen(head_too=False), batches(*rows(), batch=32)),
        answer("IM604 IM602", *[Remedy.UNFREEZE, Remedy.CONNECT], by=10, severity="critical"),
        steps=150,
        measured=(2.29, 1.47),
    ),
    Case(
        "one_optimizer_never_steps",
        "Manual optimisation with two optimizers; step() of the one with the recurrent part is never called.",
        lambda: Program(TwoSteps(both=False), batches(*first_letter(), batch=64)),
        lambda: Program(TwoSteps(both=True), batches(*first_letter(), batch=64)),
        answer("IM602 IM603 IM604", Remedy.OPTIMIZER, by=60, layers=("gru*",)),
        steps=300,
        measured=(1.78, 0.651),
    ),
    Case(
        "through_numpy",
        "The energy of some filters is taken in numpy, and what comes before is cut off.",
        lambda: Program(ThroughNumpy(numpy=True), batches(*_noise_with_pattern(), batch=64)),
        lambda: Program(ThroughNumpy(numpy=False), batches(*_noise_with_pattern(), batch=64)),
        answer("IM602", Remedy.CONNECT, by=20, layers=("filters*",)),
        steps=200,
        measured=(0.193, 0.0274),
    ),
)
