"""Weights kept in bfloat16 and a small learning rate: nearly every update is rounded away.
Cause and answer: float32 weights (or rounding by chance).
Very bad convergence with bf16 -- https://github.com/meta-pytorch/torchtune/issues/2254
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {"codes": "IM603 IM604", "remedies": ("DTYPE", "FASTER"), "by": 100, "beside": "", "layers": ()}
MEASURED = (2.088, 0.8322)


def digits(batch_size, scale=16.0, images=False, shuffle=True):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / scale, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=shuffle)


class Net(pl.LightningModule):
    def __init__(self, half):
        super().__init__()
        self.half_weights = half
        self.net = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 256), nn.GELU(), nn.Linear(256, 10))
        if half:
            self.net.to(torch.bfloat16)

    def training_step(self, batch, _):
        x = batch[0].to(torch.bfloat16) if self.half_weights else batch[0]
        return F.cross_entropy(self.net(x).float(), batch[1])

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-4)


def faulty():
    return Net(True), digits(32)


def fixed():
    return Net(False), digits(32)
