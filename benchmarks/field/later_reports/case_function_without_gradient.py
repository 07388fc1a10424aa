"""A hand-written autograd.Function gives back None for the weight in its backward: the layer is never trained, and nothing complains.
Answer there: return the gradient of the weight as well.
function adderBackward returned an incorrect number of gradients -- https://github.com/huawei-noah/AdderNet/issues/21
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM602",
    "remedies": ("CONNECT",),
    "by": 20,
    "beside": "",
    "layers": ("first*",),
}
MEASURED = (1.55, 0.2444)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, whole):
        ctx.save_for_backward(x, weight)
        ctx.whole = whole
        return x @ weight.t()

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        return gradient @ weight, gradient.t() @ x if ctx.whole else None, None


class Own(nn.Module):
    def __init__(self, fan_in, fan_out, whole):
        super().__init__()
        self.whole = whole
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in) / fan_in**0.5)

    def forward(self, x):
        return Product.apply(x, self.weight, self.whole)


class Net(pl.LightningModule):
    def __init__(self, whole):
        super().__init__()
        self.first = Own(64, 16, whole)
        self.head = nn.Sequential(nn.Tanh(), nn.Linear(16, 10))

    def training_step(self, batch, _):
        return F.cross_entropy(self.head(self.first(batch[0])), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def faulty():
    return Net(False), digits(64)


def fixed():
    return Net(True), digits(64)
