"""The prediction is clamped to [0, 1] before the loss; where it starts outside no gradient comes through, and the network's gradient is nothing.
Answer: clamp for the evaluation only.
question on torch.clamp() function blocking gradient propagation -- https://github.com/MCG-NJU/EMA-VFI/issues/27
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 120
ANSWER = {
    "codes": "IM604 IM503 IM602",
    "remedies": ("OUTPUT_ACTIVATION",),
    "by": 10,
    "beside": "IM602 IM503 IM604 IM202",
    "layers": (),
}
MEASURED = (0.6225, 0.03261)


def digits(batch_size, scale=16.0, images=False, shuffle=True):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / scale, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=shuffle)


class Refine(pl.LightningModule):
    def __init__(self, clamp):
        super().__init__()
        self.clamp = clamp
        self.unet = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 1, 3, padding=1),
        )

    def training_step(self, batch, _):
        x = batch[0]
        out = 1.5 + x.mean((2, 3), keepdim=True) + self.unet(x)
        out = out.clamp(0, 1) if self.clamp else out
        return F.mse_loss(out, x)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def faulty():
    return Refine(True), digits(32, images=True)


def fixed():
    return Refine(False), digits(32, images=True)
