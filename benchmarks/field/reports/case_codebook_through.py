"""The codebook's loss is computed on the straight-through output, in which the code only stands inside a detach(): the codebook never moves.
Answer there: compute it on the looked-up code.
VQLAM: codebook never receives gradients (codebook loss uses the straight-through output) -- https://github.com/showlab/Olaf-World/issues/8
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 250
ANSWER = {"codes": "IM602", "remedies": ("CONNECT",), "by": 30, "beside": "", "layers": ("codebook*",)}
MEASURED = (0.0736, 0.04002)


def digits(batch_size, scale=16.0, images=False, shuffle=True):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / scale, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=shuffle)


class Vq(pl.LightningModule):
    def __init__(self, through):
        super().__init__()
        self.through = through
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
        self.codebook = nn.Embedding(32, 8)
        nn.init.normal_(self.codebook.weight, std=0.2)
        self.decoder = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64))

    def training_step(self, batch, _):
        x = batch[0]
        z = self.encoder(x)
        code = self.codebook(torch.cdist(z, self.codebook.weight).argmin(1))
        straight = z + (code - z).detach()
        book = F.mse_loss(straight if self.through else code, z.detach())
        commit = F.mse_loss(z, code.detach())
        return F.mse_loss(self.decoder(straight), x) + book + 0.25 * commit

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def faulty():
    return Vq(True), digits(64)


def fixed():
    return Vq(False), digits(64)


def score(module, loader):
    x = loader.dataset.tensors[0]
    z = module.encoder(x)
    code = module.codebook(torch.cdist(z, module.codebook.weight).argmin(1))
    return F.mse_loss(module.decoder(code), x)
