"""A sparse autoencoder keeps the 16 largest of 1,024 units for each sample and sets the others to 0; many are never among them in a batch. That is how it is meant, and the error falls."""

from sklearn.datasets import load_digits

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = None


def digits(flat=True):
    pictures, kinds = load_digits(return_X_y=True)
    x = torch.tensor(pictures, dtype=torch.float32) / 16
    x = (x - x.mean()) / x.std()
    return x if flat else x.view(-1, 1, 8, 8), torch.tensor(kinds)


class Sparse(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(64, 1024), nn.Linear(1024, 64)
        with torch.no_grad():
            self.decoder.weight.copy_(F.normalize(self.decoder.weight, dim=0))
            self.encoder.weight.copy_(self.decoder.weight.T)
            self.encoder.bias.zero_()

    def training_step(self, batch, _):
        x = batch[0]
        h = F.relu(self.encoder(x - self.decoder.bias))
        best = h.topk(16, dim=1)
        code = torch.zeros_like(h).scatter(1, best.indices, best.values)
        return F.mse_loss(self.decoder(code), x)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def faulty():
    return Sparse(), DataLoader(TensorDataset(*digits()), batch_size=64, shuffle=True)
