"""Bayes by backprop: the divergence of all weights from their prior is added to the mean loss of a batch, whole, instead of divided by the number of samples. The weights go to the prior, every unit gives noise, and nothing of the digits is learned.
Answer: divide the divergence by the number of samples.
KL-reweighting not done correctly in BNN code -- https://github.com/tensorflow/probability/issues/719, Question about a parameter of model.sample_elbo -- https://github.com/piEsposito/blitz-bayesian-deep-learning/issues/108
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 400
ANSWER = {
    "codes": "IM702 IM802 IM603 IM101 IM703 IM502",
    "remedies": ("LOSS_TERM", "LOSS_SCALE"),
    "by": 350,
    "beside": "IM702 IM802 IM603 IM101 IM703 IM502",
    "layers": (),
}
MEASURED = (2.353, 0.02837)


def digits():
    x, y = load_digits(return_X_y=True)
    return DataLoader(
        TensorDataset(torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)), batch_size=64, shuffle=True
    )


class Bayesian(nn.Module):
    """A linear layer whose weights are drawn anew for each batch."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.mean = nn.Parameter(torch.empty(outputs, inputs))
        nn.init.kaiming_uniform_(self.mean, a=5**0.5)
        self.log_std = nn.Parameter(torch.full((outputs, inputs), -3.0))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x):
        return F.linear(x, self.mean + self.log_std.exp() * torch.randn_like(self.mean), self.bias)

    def divergence(self, prior=0.3):
        ratio = self.log_std.exp().square() / prior**2
        return 0.5 * (ratio + self.mean.square() / prior**2 - 1 - ratio.log()).sum()


class Net(pl.LightningModule):
    def __init__(self, samples):
        super().__init__()
        self.samples = samples
        self.net = nn.Sequential(Bayesian(64, 64), nn.ReLU(), Bayesian(64, 64), nn.ReLU(), Bayesian(64, 10))

    def training_step(self, batch, _):
        divergence = sum(layer.divergence() for layer in self.net if isinstance(layer, Bayesian))
        return F.cross_entropy(self.net(batch[0]), batch[1]) + divergence / self.samples

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def score(module, loader):
    """What the labels cost."""
    x, y = loader.dataset.tensors
    return F.cross_entropy(module.net(x), y)


def faulty():
    return Net(1), digits()


def fixed():
    loader = digits()
    return Net(30 * len(loader.dataset)), loader
