"""Small real models and data that several tests train."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytorch_lightning as pl
import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from init_monitor import InitMonitor


class Classifier(pl.LightningModule):
    """Trains any network with cross entropy; remembers every loss."""

    def __init__(self, net: nn.Module, *, lr: float = 1e-2, optimizer: str = "SGD") -> None:
        super().__init__()
        self.net = net
        self.lr = lr
        self.optimizer = optimizer
        self.losses: list[float] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.net(x)
        return output

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _batch_idx: int) -> torch.Tensor:
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        self.losses.append(float(loss.detach()))
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer: torch.optim.Optimizer = getattr(torch.optim, self.optimizer)(self.parameters(), lr=self.lr)
        return optimizer


def mlp(
    depth: int,
    width: int,
    init: Callable[[torch.Tensor], object] | None = None,
    *,
    activation: Callable[[], nn.Module] | None = nn.ReLU,
    classes: int = 10,
) -> nn.Sequential:
    """``depth`` hidden layers of ``width``, each followed by an activation, and an output layer."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers.append(nn.Linear(width, width))
        if activation is not None:
            layers.append(activation())
    net = nn.Sequential(*layers, nn.Linear(width, classes))
    if init is not None:
        for module in net:
            if isinstance(module, nn.Linear):
                init(module.weight)
                nn.init.zeros_(module.bias)
    return net


def he_(layer: nn.Linear, variance: float = 1.0) -> nn.Linear:
    """Initialise so that Var(layer(x)) = ``variance`` · E[x²]·..., He's 2/n for an input that went through a ReLU."""
    nn.init.normal_(layer.weight, std=math.sqrt(2 * variance / layer.in_features))
    nn.init.zeros_(layer.bias)
    return layer


class Block(nn.Module):
    """Pre-activation block without normalisation: ``combine(x, F(x))``."""

    def __init__(
        self, width: int, combine: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], variance: float = 1.0
    ) -> None:
        super().__init__()
        self.first, self.second = he_(nn.Linear(width, width), variance), he_(nn.Linear(width, width), variance)
        self.combine = combine

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.combine(x, self.second(nn.functional.relu(self.first(nn.functional.relu(x)))))


def add(x: torch.Tensor, f: torch.Tensor) -> torch.Tensor:
    return x + f


def loader(
    *shape: int, samples: int = 256, batch: int = 32, seed: int = 0, classes: int = 10
) -> torch.utils.data.DataLoader[tuple[torch.Tensor, ...]]:
    """Standard normal inputs of ``shape`` with random classes."""
    generator = torch.Generator().manual_seed(seed)
    data = torch.utils.data.TensorDataset(
        torch.randn(samples, *shape, generator=generator),
        torch.randint(0, classes, (samples,), generator=generator),
    )
    return torch.utils.data.DataLoader(data, batch_size=batch)


def fit(
    module: pl.LightningModule,
    data: object,
    monitor: InitMonitor | None,
    *,
    steps: int = 12,
    root: Path | None = None,
    **options: object,
) -> pl.Trainer:
    """Train on the CPU without progress bar, summary, checkpoints or (unless given) logger."""
    settings: dict[str, object] = {
        "max_steps": steps,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
        "log_every_n_steps": 1,
        "callbacks": [] if monitor is None else [monitor],
        "default_root_dir": root,
    }
    trainer = pl.Trainer(**(settings | options))  # type: ignore[arg-type]
    trainer.fit(module, data)
    return trainer
