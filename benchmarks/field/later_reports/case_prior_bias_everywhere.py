"""A detector's last bias is to start at -log((1 - p) / p) = -4.6 for rare objects; a loop gives it to every convolution, and the rectifiers are off.
Said of the start: with the bias in the head alone, both losses decrease.
classification loss sticks around 2.30212 -- https://github.com/yhenon/pytorch-retinanet/issues/41
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = {
    "codes": "IM301 IM604 IM102 IM602 IM503",
    "remedies": ("INITIALISE",),
    "by": 10,
    "beside": "IM301 IM604 IM102 IM202 IM602 IM702 IM503 IM501",
    "layers": (),
}
MEASURED = (0.4025, 0.05216)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Heat(pl.LightningModule):
    def __init__(self, everywhere):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Conv2d(16, 1, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and (everywhere or module is self.head):
                nn.init.constant_(module.bias, -4.6)

    def training_step(self, batch, _):
        peaks = ((batch[0] == F.max_pool2d(batch[0], 5, 1, 2)) & (batch[0] > 0.99)).float()
        return F.binary_cross_entropy_with_logits(self.head(self.body(batch[0])), peaks)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def faulty():
    return Heat(True), digits(32, images=True)


def fixed():
    return Heat(False), digits(32, images=True)
