"""A LightningCLI program whose callback comes from its configuration file.

python examples/lightning_cli/train.py fit --config examples/lightning_cli/config.yaml
python examples/lightning_cli/train.py fit --config examples/lightning_cli/config.yaml --print_config
python examples/lightning_cli/train.py fit --trainer.callbacks.help init_monitor.InitMonitor
"""

from __future__ import annotations

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningCLI
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


class Points(LightningDataModule):
    """Points in space, each of the class of its largest coordinate.

    Args:
        samples: how many.
        batch_size: samples of a step.
    """

    def __init__(self, samples: int = 2048, batch_size: int = 64) -> None:
        super().__init__()
        self.samples, self.batch_size = samples, batch_size

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Return the points in random order."""
        points = torch.randn(self.samples, 16, generator=torch.Generator().manual_seed(0))
        return DataLoader(TensorDataset(points, points[:, :4].argmax(dim=1)), self.batch_size, shuffle=True)


class Classifier(LightningModule):
    """A deep ReLU network.

    Args:
        depth: hidden layers.
        width: units of each.
        gain: of its weights, in units of He's initialisation: 1 keeps the signal, others let it explode or vanish.
        learning_rate: of Adam.
    """

    def __init__(self, depth: int = 12, width: int = 64, gain: float = 1.0, learning_rate: float = 1e-3) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        widths = [16, *[width] * depth]
        hidden = [part for i in range(depth) for part in (nn.Linear(widths[i], widths[i + 1]), nn.ReLU())]
        self.net = nn.Sequential(*hidden, nn.Linear(width, 4))
        for layer in self.net:
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                layer.weight.data.mul_(gain)
                nn.init.zeros_(layer.bias)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        """Return the cross-entropy of a batch."""
        points, classes = batch
        loss = nn.functional.cross_entropy(self.net(points), classes)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Use Adam."""
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)


if __name__ == "__main__":
    LightningCLI(Classifier, Points, save_config_callback=None)
