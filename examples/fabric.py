"""Lightning Fabric: `init_monitor.watch` around a loop that accumulates gradients and clips them.

Run it with ``python examples/fabric.py``. A deep ReLU network with Xavier's initialisation reads digits: the monitor says
that the signal vanishes, in which layers, and what to change.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import torch
from lightning.fabric import Fabric
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import init_monitor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.standalone import Watch

DEPTH, WIDTH = 20, 128
ACCUMULATE = 2


def network() -> nn.Sequential:
    """Return a ReLU network with the initialisation that suits tanh."""
    layers: list[nn.Module] = [nn.Linear(64, WIDTH), nn.ReLU()]
    for _ in range(DEPTH):
        layers += [nn.Linear(WIDTH, WIDTH), nn.ReLU()]
    net = nn.Sequential(*layers, nn.Linear(WIDTH, 10))
    for layer in net:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    return net


def train(steps: int, precision: str) -> Watch:
    """Train for this many optimizer steps and return what was found."""
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)  # type: ignore[arg-type]
    fabric.seed_everything(0, verbose=False)
    digits = load_digits()
    images, labels = torch.tensor(digits.data, dtype=torch.float32), torch.tensor(digits.target)
    images = (images - images.mean()) / images.std()
    loader = fabric.setup_dataloaders(DataLoader(TensorDataset(images, labels), batch_size=32, shuffle=True))
    net = network()
    model, optimizer = fabric.setup(net, torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9))

    # Only a GPU with 16-mixed has a scaler; without one, `scaler=None` is the default.
    scaler = getattr(fabric.strategy.precision, "scaler", None)
    with init_monitor.watch(model, optimizer, scaler=scaler) as monitor:
        batches = iter(loader)
        for _ in range(steps):
            with monitor.step():
                for part in range(ACCUMULATE):
                    image, label = next(batches)
                    with fabric.no_backward_sync(model, enabled=part < ACCUMULATE - 1):
                        loss = nn.functional.cross_entropy(model(image), label)
                        fabric.backward(loss / ACCUMULATE)
                fabric.clip_gradients(model, optimizer, max_norm=1.0)
                optimizer.step()
                optimizer.zero_grad()
    return monitor


def main(arguments: Sequence[str] | None = None) -> Watch:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20, help="at most 28: one pass over the digits")
    parser.add_argument("--precision", default="32-true", help='for instance "bf16-mixed"')
    given = parser.parse_args(arguments)
    return train(given.steps, given.precision)


if __name__ == "__main__":
    main()
