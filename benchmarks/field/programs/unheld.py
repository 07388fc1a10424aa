"""What learns in the program is not what the person means: unregistered, replaced, copied over, never stepped."""

from __future__ import annotations

import copy
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.field.case import Case, Program, answer
from benchmarks.field.programs.base import Encoder, Learner, adam, mlp, sgd, small_cnn
from benchmarks.field.programs.material import batches, counted, function, pictures, rows
from benchmarks.field.remedy import Remedy


class OverACopy(pl.LightningModule):
    """Hands the parameters of a copy, made for an average of the weights, to the optimizer."""

    def __init__(self, *, copied: bool) -> None:
        super().__init__()
        self.net = small_cnn(12)
        average = copy.deepcopy(self.net)
        self.average = [average]  # not a part of the model
        self.copied = copied

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return adam(3e-3)((self.average[0] if self.copied else self.net).parameters())


class Renewed(pl.LightningModule):
    """Draws the weights of some layers anew, as new parameters, after the optimizer was made."""

    def __init__(self, *, late: bool) -> None:
        super().__init__()
        self.net = mlp((8, 64, 64, 1), nn.Tanh)
        optimizer = torch.optim.Adam(self.net.parameters(), lr=3e-3)
        for layer in self.net:
            if isinstance(layer, nn.Linear) and layer.out_features > 1:
                weight = torch.empty_like(layer.weight)
                layer.weight = nn.Parameter(nn.init.xavier_normal_(weight))
        self.optimizer = optimizer if late else torch.optim.Adam(self.net.parameters(), lr=3e-3)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        return F.mse_loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer


class Branches(Learner):
    """Three convolutional branches of different kernels, in a dict, which registers nothing, or in a ModuleDict."""

    def __init__(self, *, registered: bool) -> None:
        super().__init__(sgd(0.02, momentum=0.9))
        branches = {str(k): nn.Sequential(nn.Conv2d(1, 4, k, padding=k // 2), nn.ReLU()) for k in (1, 3, 5)}
        self.branches: Any = nn.ModuleDict(branches) if registered else branches
        self.head = nn.Linear(12, 10)

    def loss(self, batch: list[Tensor]) -> Tensor:
        x, y = batch
        seen = torch.cat([branch(x).amax((2, 3)) for branch in self.branches.values()], 1)
        return F.cross_entropy(self.head(seen), y)


class Prompted(Learner):
    """A frozen text encoder that is steered by learned vectors put before the text.

    Args:
        registered: make them a Parameter; a plain tensor that requires a gradient is in no optimizer.
    """

    def __init__(self, *, registered: bool) -> None:
        super().__init__(adam(1e-2))
        self.encoder = Encoder(24, 12)
        self.encoder.requires_grad_(requires_grad=False)
        self.head = nn.Linear(32, 5)
        self.head.requires_grad_(requires_grad=False)
        self.scale = nn.Parameter(torch.ones(()))
        prompt = torch.randn(32, 32) / 32**0.5
        self.prompt: Tensor = nn.Parameter(prompt) if registered else prompt.requires_grad_()

    def loss(self, batch: list[Tensor]) -> Tensor:
        tokens, y = batch
        h = self.encoder.embedding(tokens) + self.encoder.place
        h = F.gelu(h @ self.prompt)
        return F.cross_entropy(self.scale * self.head(self.encoder.layers(h).mean(1)), y)


class Careless(pl.LightningModule):
    """Manual optimisation whose calls are in the wrong order, or whose condition is never met.

    Args:
        kind: "right", "zeroed" (the gradients are zeroed between backward and step) or "never" (a count that never comes).
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.kind = kind
        self.net = mlp((64, 48, 10), nn.GELU)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        optimizer: Any = self.optimizers()
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        if self.kind == "zeroed":
            self.manual_backward(loss)
            optimizer.zero_grad(set_to_none=False)
            optimizer.step()
            return loss
        self.manual_backward(loss / 4)
        if batch_idx % 4 == (4 if self.kind == "never" else 3):
            optimizer.step()
            optimizer.zero_grad()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return adam(3e-3)(self.parameters())


class Synchronised(pl.LightningModule):
    """Keeps a slow copy of a network and copies between the two after every step: to it, or from it."""

    def __init__(self, *, backwards: bool) -> None:
        super().__init__()
        self.backwards = backwards
        self.online, self.slow = mlp((8, 64, 64, 1), nn.ReLU), mlp((8, 64, 64, 1), nn.ReLU)
        self.slow.requires_grad_(requires_grad=False)
        self.slow.load_state_dict(self.online.state_dict())

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        source, target = (self.slow, self.online) if self.backwards else (self.online, self.slow)
        target.load_state_dict(source.state_dict())
        return F.mse_loss(self.online(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return adam(3e-3)(self.online.parameters())


class Groups(pl.LightningModule):
    """Sorts parameters into those with weight decay and those without, and forgets a kind."""

    def __init__(self, *, forgetful: bool) -> None:
        super().__init__()
        self.forgetful = forgetful
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.GroupNorm(2, 8)
        self.second = nn.Conv2d(8, 16, 3, padding=1)
        self.head = nn.Linear(16, 10)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        h = F.relu(self.norm(self.first(batch[0])))
        return F.cross_entropy(self.head(F.relu(self.second(h)).amax((2, 3))), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        plain = [p for n, p in self.named_parameters() if n.endswith("bias") or "norm" in n]
        kinds = (nn.Linear,) if self.forgetful else (nn.Linear, nn.Conv2d)
        decayed = [m.weight for m in self.modules() if isinstance(m, kinds)]
        return torch.optim.AdamW(
            [{"params": plain, "weight_decay": 0.0}, {"params": decayed, "weight_decay": 0.01}], lr=3e-3
        )


CASES = (
    Case(
        "optimizer_over_a_copy",
        "The optimizer holds the parameters of a copy made for averaging; the network that is trained never moves.",
        lambda: Program(OverACopy(copied=True), batches(*pictures(), batch=64)),
        lambda: Program(OverACopy(copied=False), batches(*pictures(), batch=64)),
        answer("IM604 IM602", Remedy.OPTIMIZER, by=20, severity="critical", beside="IM602"),
        steps=150,
        measured=(2.31, 0.126),
    ),
    Case(
        "weights_renewed_too_late",
        "The weights of the hidden layers are drawn anew as new parameters after the optimizer was made.",
        lambda: Program(Renewed(late=True), batches(*function(), batch=128)),
        lambda: Program(Renewed(late=False), batches(*function(), batch=128)),
        answer("IM602", Remedy.OPTIMIZER, by=20, layers=("net.0*", "net.2*")),
        steps=200,
        measured=(0.314, 0.198),
    ),
    Case(
        "branches_in_a_dict",
        "Three branches of a conv net are kept in a dict, so the optimizer has the head only.",
        lambda: Program(Branches(registered=False), batches(*pictures(), batch=64)),
        lambda: Program(Branches(registered=True), batches(*pictures(), batch=64)),
        answer("IM602", Remedy.OPTIMIZER, by=60),
        steps=300,
        measured=(2.06, 0.527),
    ),
    Case(
        "prompt_is_no_parameter",
        "What is to be learned beside a frozen network is a plain tensor that requires a gradient, no Parameter.",
        lambda: Program(Prompted(registered=False), batches(*counted(), batch=64)),
        lambda: Program(Prompted(registered=True), batches(*counted(), batch=64)),
        answer("IM602", Remedy.OPTIMIZER, by=60),
        steps=250,
        measured=(1.58, 0.804),
    ),
    Case(
        "zeroed_before_the_step",
        "Manual optimisation: zero_grad() stands between backward and step.",
        lambda: Program(Careless("zeroed"), batches(*rows(), batch=64)),
        lambda: Program(Careless("right"), batches(*rows(), batch=64)),
        answer("IM604 IM602", *[Remedy.ZERO_GRADIENTS], by=20, severity="critical"),
        steps=150,
        measured=(2.33, 0.0865),
    ),
    Case(
        "a_count_that_never_comes",
        "Manual optimisation steps when batch_idx % 4 == 4, which is never.",
        lambda: Program(Careless("never"), batches(*rows(), batch=64), {"max_steps": -1, "max_epochs": 5}),
        lambda: Program(Careless("right"), batches(*rows(), batch=64), {"max_steps": -1, "max_epochs": 20}),
        answer("IM604 IM602", Remedy.OPTIMIZER, by=140, severity="critical"),
        steps=150,
        measured=(2.33, 0.0967),
    ),
    Case(
        "copied_the_wrong_way",
        "The slow copy of a network is copied onto the network before every step, instead of the other way round.",
        lambda: Program(Synchronised(backwards=True), batches(*function(), batch=128)),
        lambda: Program(Synchronised(backwards=False), batches(*function(), batch=128)),
        answer("IM604 IM603", Remedy.UNDONE, by=60, severity="critical"),
        steps=150,
        measured=(1.06, 0.15),
    ),
    Case(
        "a_kind_of_layer_forgotten",
        "Parameters are sorted into groups by the kind of their layer, and convolutions are forgotten.",
        lambda: Program(Groups(forgetful=True), batches(*pictures(), batch=64)),
        lambda: Program(Groups(forgetful=False), batches(*pictures(), batch=64)),
        answer("IM602", Remedy.OPTIMIZER, by=20, layers=("first*", "second*")),
        steps=200,
        measured=(2.14, 0.262),
    ),
)
