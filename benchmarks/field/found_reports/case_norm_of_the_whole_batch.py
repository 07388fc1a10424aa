"""Cosines between states and goals for a contrastive loss. The norm that they are divided by has no dimension, and is that of the whole batch: all logits are below a thousandth, the softmax is even, and the loss stays at the logarithm of the batch size.
Answer: the norm over the last dimension, and a temperature.
Fix cosine energy_fn: normalize per-sample, not over the whole batch -- https://github.com/MichalBortkiewicz/JaxGCRL/pull/64
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM202 IM604 IM603 IM702 IM102",
    "remedies": ("OUTPUT_SCALE", "DIMENSION", "NORMALISE"),
    "by": 250,
    "beside": "IM202 IM604 IM603 IM702 IM102",
    "layers": (),
}
MEASURED = (4.846, 0.4906)


def journeys():
    g = torch.Generator().manual_seed(0)
    state = torch.randn(4096, 12, generator=g)
    goal = torch.tanh(state @ torch.randn(12, 12, generator=g)) + 0.1 * torch.randn(4096, 12, generator=g)
    return DataLoader(TensorDataset(state, goal), batch_size=128, shuffle=True, drop_last=True)


def encoder():
    return nn.Sequential(nn.Linear(12, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 32))


class Contrastive(pl.LightningModule):
    def __init__(self, each):
        super().__init__()
        self.each = each
        self.of_state, self.of_goal = encoder(), encoder()

    def training_step(self, batch, _):
        a, b = self.of_state(batch[0]), self.of_goal(batch[1])
        if self.each:
            a, b = F.normalize(a, dim=1), F.normalize(b, dim=1) / 0.07
        else:
            a, b = a / a.norm(), b / b.norm()
        return F.cross_entropy(a @ b.T, torch.arange(len(a)))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


def faulty():
    return Contrastive(each=False), journeys()


def fixed():
    return Contrastive(each=True), journeys()
