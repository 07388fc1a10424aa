"""Rates by layer from a recipe for fine-tuning, each layer half of the one after it, in a network of twelve layers that is trained from scratch with SGD: the first one has a four-thousandth of the rate, and stays what it was drawn as.
Answer: the same rate for all layers, as nothing was trained before.
How to implement Layer-wise learning rate decay on ResNet -- https://github.com/pengzhiliang/MAE-pytorch/issues/95, Fix layer decay to work as intended with optimizers -- https://github.com/huggingface/pytorch-image-models/pull/2532
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 400
ANSWER = {
    "codes": "IM603 IM602 IM604 IM202",
    "remedies": ("FASTER", "LEARNING_RATE"),
    "by": 300,
    "beside": "IM603 IM602 IM604 IM202",
    "layers": (),
}
MEASURED = (0.6028, 0.2352)


def crossed():
    """Whether two columns of eight have the same sign, if a third is above a bound."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(4096, 8, generator=g)
    y = ((x[:, 0] * x[:, 1] > 0) == (x[:, 2] > -0.7)).long()
    return DataLoader(TensorDataset(x, y), batch_size=128, shuffle=True)


class Net(pl.LightningModule):
    def __init__(self, decay):
        super().__init__()
        self.decay = decay
        sizes = (8, *[64] * 11)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU()) for a, b in zip(sizes, sizes[1:])
        )
        self.layers.append(nn.Linear(64, 2))

    def training_step(self, batch, _):
        x = batch[0]
        for layer in self.layers:
            x = layer(x)
        return F.cross_entropy(x, batch[1])

    def configure_optimizers(self):
        groups = [
            {"params": layer.parameters(), "lr": 0.03 * self.decay ** (len(self.layers) - 1 - i)}
            for i, layer in enumerate(self.layers)
        ]
        return torch.optim.SGD(groups, momentum=0.9)


def faulty():
    return Net(decay=0.5), crossed()


def fixed():
    return Net(decay=1), crossed()
