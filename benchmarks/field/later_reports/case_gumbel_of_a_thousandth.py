"""Gumbel-softmax between an encoder and a decoder with the temperature of the end, 0.001, from the start: the code is one-hot and its slope 0.
Answer: begin at a temperature of 1 and anneal.
Told often of Gumbel-softmax on forums; the annealing is in Jang et al. 2017, 'Categorical reparameterization'.
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 400
ANSWER = {
    "codes": "IM202 IM602 IM303 IM603 IM503 IM201",
    "remedies": ("OUTPUT_SCALE", "COLLAPSE", "ATTENTION"),
    "by": 100,
    "beside": "IM202 IM602 IM303 IM603 IM503 IM201 IM702 IM604",
    "layers": (),
}
MEASURED = (0.07375, 0.03499)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Discrete(pl.LightningModule):
    def __init__(self, temperature):
        super().__init__()
        self.temperature = temperature
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4 * 16))
        self.decoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64))

    def training_step(self, batch, _):
        logits = self.encoder(batch[0]).view(-1, 4, 16)
        code = F.gumbel_softmax(logits, tau=self.temperature, dim=2)
        return F.mse_loss(self.decoder(code.flatten(1)), batch[0])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def faulty():
    return Discrete(1e-3), digits(64)


def fixed():
    return Discrete(1.0), digits(64)
