"""Nothing is wrong: a network that was trained on five digits is fine-tuned to the other five, its body at 2e-5 and the new head at 2e-3, with weight decay of the weights alone."""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = None


def pictures(low):
    x, y = load_digits(return_X_y=True)
    kept = (y < 5) == low
    x = torch.tensor(x[kept] / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    return (x - 0.3) / 0.37, torch.tensor(y[kept] % 5)


def body():
    layers = []
    for inputs, outputs in ((1, 32), (32, 32), (32, 64)):
        layers += [nn.Conv2d(inputs, outputs, 3, 1, 1), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())


def pretrained():
    network, head = body(), nn.Linear(256, 5)
    x, y = pictures(True)
    optimizer = torch.optim.Adam([*network.parameters(), *head.parameters()], lr=1e-3)
    for _ in range(100):
        some = torch.randint(0, len(x), (64,))
        optimizer.zero_grad()
        F.cross_entropy(head(network(x[some])), y[some]).backward()
        optimizer.step()
    return network


class FineTuning(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.body, self.head = pretrained(), nn.Linear(256, 5)

    def training_step(self, batch, _):
        x, y = batch
        return F.cross_entropy(self.head(self.body(x)), y, label_smoothing=0.05)

    def configure_optimizers(self):
        decayed = [p for p in self.body.parameters() if p.ndim > 1]
        others = [p for p in self.body.parameters() if p.ndim <= 1]
        return torch.optim.AdamW(
            [
                {"params": decayed, "lr": 2e-5, "weight_decay": 0.05},
                {"params": others, "lr": 2e-5, "weight_decay": 0.0},
                {"params": self.head.parameters(), "lr": 2e-3, "weight_decay": 0.0},
            ]
        )


def faulty():
    return FineTuning(), DataLoader(TensorDataset(*pictures(False)), batch_size=32, shuffle=True)
