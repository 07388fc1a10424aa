"""A classifier in float16 with a cross-entropy by hand, log(p + 1e-8): 1e-8 is 0 in float16, so the first sure answer gives 0 * log(0).
Answer: binary_cross_entropy_with_logits in float32 (or a larger eps).
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM601",
    "remedies": ("GUARD", "DTYPE"),
    "by": 300,
    "beside": "IM601 IM603 IM604",
    "layers": (),
}
MEASURED = (float("nan"), 0.0001041)


def blobs():
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 2, (4096,), generator=generator)
    x = torch.randn(4096, 8, generator=generator) + 2.0 * (2 * y[:, None] - 1)
    return DataLoader(TensorDataset(x.half(), y.half()), batch_size=64, shuffle=True)


class Classifier(pl.LightningModule):
    def __init__(self, by_hand):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
        self.by_hand = by_hand

    def training_step(self, batch, _):
        x, y = batch
        logits = self.net(x)[:, 0]
        if self.by_hand:
            p = torch.sigmoid(logits)
            return -(y * torch.log(p + 1e-8) + (1 - y) * torch.log(1 - p + 1e-8)).mean()
        return F.binary_cross_entropy_with_logits(logits.float(), y.float())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3, eps=1e-4)


def faulty():
    return Classifier(True), blobs(), {"precision": "16-true"}


def fixed():
    return Classifier(False), blobs(), {"precision": "16-true"}
