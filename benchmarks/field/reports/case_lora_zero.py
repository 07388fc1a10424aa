"""Low-rank adapters on frozen layers with both matrices at 0: each one's gradient is a product with the other, so both stay 0.
Answer: only B is 0, A is random.
Code bugs -- https://github.com/Guitaricet/relora/issues/18
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = {
    "codes": "IM604 IM602 IM501 IM503",
    "remedies": ("INITIALISE",),
    "by": 10,
    "beside": "IM602 IM501 IM102 IM202 IM503 IM502",
    "layers": (),
}
MEASURED = (2.296, 0.4534)


def digits(batch_size, scale=16.0, images=False, shuffle=True):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / scale, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=shuffle)


class Lora(nn.Module):
    def __init__(self, layer, both):
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.lora_A = nn.Linear(layer.in_features, 4, bias=False)
        self.lora_B = nn.Linear(4, layer.out_features, bias=False)
        nn.init.zeros_(self.lora_B.weight)
        if both:
            nn.init.zeros_(self.lora_A.weight)

    def forward(self, x):
        return self.layer(x) + 2 * self.lora_B(self.lora_A(x))


class Adapted(pl.LightningModule):
    def __init__(self, both):
        super().__init__()
        self.net = nn.Sequential(
            Lora(nn.Linear(64, 64), both),
            nn.ReLU(),
            Lora(nn.Linear(64, 64), both),
            nn.ReLU(),
            Lora(nn.Linear(64, 10), both),
        )

    def training_step(self, batch, _):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=0.01)


def faulty():
    return Adapted(True), digits(32)


def fixed():
    return Adapted(False), digits(32)
