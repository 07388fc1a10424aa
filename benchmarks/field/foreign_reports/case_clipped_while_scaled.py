"""The loss is multiplied by 65536 for mixed precision, the gradients are clipped to a norm of 1 and only then divided again: what SGD gets is never
longer than 1/65536.
Answer: divide first, then clip.
Clipped while they are scaled -- https://github.com/Lightning-AI/pytorch-lightning/issues/9599
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = {
    "codes": "IM603 IM604",
    "remedies": ("CLIP", "LOSS_SCALE", "DTYPE", "FASTER", "LEARNING_RATE"),
    "by": 100,
    "beside": "IM603 IM604 IM202",
    "layers": (),
}
MEASURED = (2.579, 0.03528)
SCALE = 65536.0


def pictures():
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    return DataLoader(TensorDataset((x - x.mean()) / x.std(), torch.tensor(y)), batch_size=48, shuffle=True)


class Net(pl.LightningModule):
    def __init__(self, divide_first):
        super().__init__()
        self.automatic_optimization = False
        self.divide_first = divide_first
        self.net = nn.Sequential(
            nn.Conv2d(1, 12, 3), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(108, 10)
        )

    def divide(self):
        for p in self.parameters():
            p.grad /= SCALE

    def training_step(self, batch, _):
        optimizer = self.optimizers()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(self.net(batch[0]).float(), batch[1])
        optimizer.zero_grad()
        self.manual_backward(loss * SCALE)
        if self.divide_first:
            self.divide()
        nn.utils.clip_grad_norm_(self.parameters(), 1.0)
        if not self.divide_first:
            self.divide()
        optimizer.step()
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def faulty():
    return Net(False), pictures()


def fixed():
    return Net(True), pictures()
