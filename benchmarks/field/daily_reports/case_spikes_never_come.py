"""A spiking network with leaky membranes and a threshold of 1: the inputs are so weak that no neuron ever gets there, no spike leaves the first layer, and the steep surrogate slope lets next to no gradient back.
Answer: scale the currents (or lower the threshold) so that some neurons fire from the start.
"""

from sklearn.datasets import load_digits

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM102 IM702 IM202 IM301 IM503 IM602 IM604 IM502 IM402",
    "remedies": ("INITIALISE", "INPUT", "ACTIVATION", "NORMALISE"),
    "by": 100,
    "beside": "IM102 IM702 IM202 IM301 IM503 IM602 IM604 IM502 IM603",
    "layers": (),
}
MEASURED = (1.418, 0.153)


def digits(flat=True):
    pictures, kinds = load_digits(return_X_y=True)
    x = torch.tensor(pictures, dtype=torch.float32) / 16
    x = (x - x.mean()) / x.std()
    return x if flat else x.view(-1, 1, 8, 8), torch.tensor(kinds)


class Spike(torch.autograd.Function):
    """A step, with the slope of a fast sigmoid in its place on the way back."""

    @staticmethod
    def forward(ctx, over):
        ctx.save_for_backward(over)
        return (over > 0).float()

    @staticmethod
    def backward(ctx, grad):
        (over,) = ctx.saved_tensors
        return grad / (25 * over.abs() + 1) ** 2


class Leaky(nn.Module):
    def __init__(self, threshold):
        super().__init__()
        self.threshold = threshold

    def forward(self, currents):
        membrane, spikes = torch.zeros_like(currents[0]), []
        for current in currents:
            membrane = 0.5 * membrane + current
            spike = Spike.apply(membrane - self.threshold)
            membrane = membrane - self.threshold * spike.detach()
            spikes.append(spike)
        return torch.stack(spikes)


class Net(pl.LightningModule):
    def __init__(self, gain):
        super().__init__()
        self.gain = gain
        self.first, self.second, self.last = nn.Linear(64, 128), nn.Linear(128, 128), nn.Linear(128, 10)
        self.one, self.two = Leaky(1.0), Leaky(1.0)

    def training_step(self, batch, _):
        x, kind = batch
        currents = self.gain * self.first(x).expand(8, -1, -1)
        spikes = self.two(self.gain * self.second(self.one(currents)))
        return F.cross_entropy(self.last(spikes).mean(0), kind)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def rows():
    x, kind = digits()
    return DataLoader(TensorDataset(0.1 * x, kind), batch_size=64, shuffle=True)


def faulty():
    return Net(1.0), rows()


def fixed():
    return Net(12.0), rows()
