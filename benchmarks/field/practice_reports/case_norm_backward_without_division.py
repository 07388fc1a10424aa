"""A fused RMSNorm of one's own: its backward returns grad * weight and forgets to divide by the root mean square, which is a third here.
Answer: the backward is wrong (torch.autograd.gradcheck); the gradient becomes a third at each layer, where the signal stays as large as it is.
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM201 IM202",
    "remedies": ("NORMALISE", "CONNECT", "GUARD"),
    "by": 60,
    "beside": "IM201 IM202 IM603",
    "layers": (),
}
MEASURED = (1.664, 0.1265)


class FusedRMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, right):
        rms = x.square().mean(-1, keepdim=True).add(1e-6).sqrt()
        ctx.save_for_backward(x, weight, rms)
        ctx.right = right
        return x / rms * weight

    @staticmethod
    def backward(ctx, grad):
        x, weight, rms = ctx.saved_tensors
        normed = x / rms
        for_weight = (grad * normed).flatten(0, -2).sum(0)
        given = grad * weight
        if ctx.right:
            given = (given - normed * (given * normed).mean(-1, keepdim=True)) / rms
        return given, for_weight, None


class RMSNorm(nn.Module):
    def __init__(self, width, right):
        super().__init__()
        self.weight, self.right = nn.Parameter(torch.ones(width)), right

    def forward(self, x):
        return FusedRMSNorm.apply(x, self.weight, self.right)


class Mixer(pl.LightningModule):
    """Tokens are the rows of a picture; no skips, each layer is normed before its activation."""

    def __init__(self, right):
        super().__init__()
        self.embed = nn.Linear(8, 64)
        self.layers, self.norms = nn.ModuleList(), nn.ModuleList()
        for _ in range(12):
            layer = nn.Linear(64, 64, bias=False)
            self.layers.append(layer)
            self.norms.append(RMSNorm(64, right))
        self.head = nn.Linear(64 * 8, 10)

    def forward(self, x):
        x = self.embed(x)
        for layer, norm in zip(self.layers, self.norms):
            x = F.gelu(norm(layer(x)))
        return self.head(x.flatten(1))

    def training_step(self, batch, _):
        return F.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.02, momentum=0.9)


def digits():
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32).view(-1, 8, 8)
    return DataLoader(
        TensorDataset((x - x.mean()) / x.std(), torch.tensor(y)), batch_size=64, shuffle=True, drop_last=True
    )


def faulty():
    return Mixer(False), digits()


def fixed():
    return Mixer(True), digits()
