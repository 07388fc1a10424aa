"""Short trainings under the monitor, for the tests beside: through the public interface alone."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

import init_monitor
from init_monitor import InitMonitor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from init_monitor import Structure

WEIGHT = "weight"


def watch_loop(
    model: nn.Module, loss_of: Callable[[int], Tensor], *, steps: int = 2, rate: float = 1e-3, **options: Any
) -> Any:
    """Train ``model`` in a loop, every step measured, and return what watched it; what fails inside is raised."""
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    settings: dict[str, Any] = {"sinks": (), "strict": True, "dense_steps": 1000} | options
    with init_monitor.watch(model, optimizer=optimizer, **settings) as watch:
        for step in range(steps):
            with watch.step():
                loss = loss_of(step)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return watch


def watch_net(net: nn.Module, *given: Any, steps: int = 2) -> Any:
    """Train ``net`` to give small numbers for what it is given."""
    return watch_loop(net, lambda _: net(*given).square().mean(), steps=steps)


def watch_fit(module: pl.LightningModule, batches: list[Any], directory: Path, **options: Any) -> InitMonitor:
    """Fit ``module`` under a Trainer, every step measured, and return the callback; what fails inside is raised."""
    settings: dict[str, Any] = {"sinks": (), "strict": True, "dense_steps": 1000}
    monitor = InitMonitor(**(settings | options))
    # Each of the list is a batch; a bare list would be several loaders.
    loader: DataLoader[Any] = DataLoader(batches, batch_size=None)  # type: ignore[arg-type] # anything with a length will do
    trainer_of(directory, callbacks=[monitor], logger=False).fit(module, loader)
    return monitor


def trainer_of(directory: Path, **options: Any) -> pl.Trainer:
    """Return a Trainer for one epoch that shows and writes nothing of its own."""
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "max_epochs": 1,
        "default_root_dir": directory,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "log_every_n_steps": 1,
    }
    with contextlib.redirect_stderr(io.StringIO()):
        return pl.Trainer(**(settings | options))


def weights(structure: Structure) -> list[str]:
    """Return the names of the weight layers, in execution order."""
    return [layer.name for layer in structure.layers if layer.role == WEIGHT]


def inputs(structure: Structure) -> Mapping[str, tuple[str, ...]]:
    """Return what each layer takes its input from."""
    return {layer.name: layer.inputs for layer in structure.layers}


def codes(findings: Iterable[init_monitor.Finding]) -> list[tuple[str, str]]:
    """Return severity and code of each finding."""
    return [(str(finding.severity), finding.code) for finding in findings]
