"""Low-rank adapters of rank 4 with alpha = 4096, so that what they add is multiplied by 1024: the first step throws the network off.
Answer: alpha of the order of the rank. Reported of fine-tuning with LoRA whose loss jumps after the first steps.
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM603 IM101 IM201 IM802 IM703 IM303 IM401 IM301",
    "remedies": ("SLOWER", "RESIDUAL", "OUTPUT_SCALE"),
    "by": 30,
    "beside": "IM603 IM101 IM201 IM802 IM703 IM303 IM401 IM301 IM601",
    "layers": (),
}
MEASURED = (1.571, 0.5806)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Lora(nn.Module):
    def __init__(self, layer, scale):
        super().__init__()
        self.layer, self.scale = layer.requires_grad_(False), scale
        self.lora_A = nn.Linear(layer.in_features, 4, bias=False)
        self.lora_B = nn.Linear(4, layer.out_features, bias=False)
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, x):
        return self.layer(x) + self.scale * self.lora_B(self.lora_A(x))


class Adapted(pl.LightningModule):
    def __init__(self, alpha):
        super().__init__()
        self.net = nn.Sequential(
            Lora(nn.Linear(64, 64), alpha / 4),
            nn.GELU(),
            Lora(nn.Linear(64, 64), alpha / 4),
            nn.GELU(),
            Lora(nn.Linear(64, 10), alpha / 4),
        )

    def training_step(self, batch, _):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=3e-3)


def faulty():
    return Adapted(4096), digits(32)


def fixed():
    return Adapted(8), digits(32)
