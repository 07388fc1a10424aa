"""A Wasserstein critic's loss without a clip or a penalty: the difference of its means can be made as large as one likes, and it is, without end.
Answer: a gradient penalty (or clipping, or spectral normalisation).
The loss of the critic goes to minus infinity: reported again and again of Wasserstein GANs.
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM802 IM101 IM201 IM603",
    "remedies": ("CLIP", "NORMALISE", "LOSS_TERM", "SIGN"),
    "by": 250,
    "beside": "IM802 IM101 IM201 IM603 IM703",
    "layers": (),
}
MEASURED = (1546.0, 0.6336)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Critic(pl.LightningModule):
    def __init__(self, penalty):
        super().__init__()
        self.penalty = penalty
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))

    def training_step(self, batch, _):
        x = batch[0]
        noise = torch.rand_like(x)
        loss = self.net(noise).mean() - self.net(x).mean()
        if self.penalty:
            between = (x + torch.rand(len(x), 1) * (noise - x)).requires_grad_()
            (slope,) = torch.autograd.grad(self.net(between).sum(), between, create_graph=True)
            loss = loss + self.penalty * (slope.norm(dim=1) - 1).square().mean()
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3, betas=(0.5, 0.9))


def faulty():
    return Critic(0.0), digits(64)


def fixed():
    return Critic(10.0), digits(64)


def score(module, loader):
    """How steep the critic is: 1 is right."""
    x = loader.dataset.tensors[0][:64]
    return (module.net(x + 1e-2) - module.net(x)).abs().mean() / 8e-2
