"""A single linear layer with a ReLU on its logits, Adam at 0.02: the loss stays high for good, some digits are never predicted.
Cause there: relu() around the last layer. Answer: hand the logits over as they are.
Training loss not convergence -- https://github.com/Lightning-AI/pytorch-lightning/issues/4862
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {"codes": "IM301 IM503", "remedies": ("OUTPUT_ACTIVATION",), "by": 150, "beside": "IM302 IM604", "layers": ()}
MEASURED = (1.064, 0.1661)


def digits(batch_size, scale=16.0, images=False, shuffle=True):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / scale, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=shuffle)


class Classifier(pl.LightningModule):
    def __init__(self, rectified):
        super().__init__()
        self.rectified = rectified
        self.l1 = nn.Linear(64, 10)

    def forward(self, x):
        out = self.l1(x)
        return torch.relu(out) if self.rectified else out

    def training_step(self, batch, _):
        return F.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.02)


def faulty():
    return Classifier(True), digits(32)


def fixed():
    return Classifier(False), digits(32)
