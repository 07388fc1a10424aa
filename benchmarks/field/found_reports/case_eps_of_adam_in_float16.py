"""The network was cast to float16, and Adam left as it is: its eps of 1e-8 is 0 in that format, squares of small gradients are 0 as well, and 0/0 is in the weights after the first steps.
Answer: an eps of 1e-4, or float32 weights under autocast.
Training on half precision leads to nan values -- https://github.com/afiaka87/glide-finetune/issues/5, NaN loss when using half precision -- https://github.com/pytorch/pytorch/issues/8860
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM601 IM802 IM603",
    "remedies": ("EPS", "DTYPE", "GUARD"),
    "by": 30,
    "beside": "IM601 IM802 IM603 IM604",
    "layers": (),
}
MEASURED = (float("nan"), 0.1086)


def digits():
    x, y = load_digits(return_X_y=True)
    return DataLoader(
        TensorDataset(torch.tensor(x / 16, dtype=torch.float16), torch.tensor(y)), batch_size=64, shuffle=True
    )


class Net(pl.LightningModule):
    def __init__(self, eps):
        super().__init__()
        self.eps = eps
        self.net = nn.Sequential(
            nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
        ).half()

    def training_step(self, batch, _):
        return F.cross_entropy(self.net(batch[0]).float(), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3, eps=self.eps, foreach=False)


def faulty():
    return Net(1e-8), digits()


def fixed():
    return Net(1e-4), digits()
