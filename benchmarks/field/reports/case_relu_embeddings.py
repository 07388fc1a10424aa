"""Graph encoder with a ReLU after every convolution, the last one too; an edge's logit is the product of two embeddings. The loss stays at ln 2.
Cause there: products of what is never negative are never negative, so everything is pushed to 0. Answer: no activation after the last convolution.
Output ReLU Causes Training to Remain at BCE 0.6931 -- https://github.com/fani-lab/OpeNTF/issues/349
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM301 IM604 IM702 IM102",
    "remedies": ("OUTPUT_ACTIVATION", "ACTIVATION", "SLOWER"),
    "by": 150,
    "beside": "IM202 IM602 IM302",
    "layers": (),
}
MEASURED = (0.6931, 0.3011)


def graph():
    g = torch.Generator().manual_seed(1)
    block = torch.arange(120) % 4
    same = block[:, None] == block[None, :]
    edges = (torch.rand(120, 120, generator=g) < torch.where(same, 0.30, 0.02)).float()
    edges = ((edges + edges.T) > 0).float()
    adjacency = edges + torch.eye(120)
    features = F.one_hot(block, 4).float() + 0.5 * torch.randn(120, 4, generator=g)
    return features, adjacency / adjacency.sum(1, keepdim=True), same.float()


class Encoder(pl.LightningModule):
    def __init__(self, rectified):
        super().__init__()
        self.rectified = rectified
        features, adjacency, same = graph()
        self.register_buffer("features", features)
        self.register_buffer("adjacency", adjacency)
        self.register_buffer("same", same)
        self.convs = nn.ModuleList([nn.Linear(4, 64), nn.Linear(64, 64), nn.Linear(64, 32)])

    def forward(self):
        x = self.features
        for k, conv in enumerate(self.convs):
            x = conv(self.adjacency @ x)
            if self.rectified or k < len(self.convs) - 1:
                x = F.relu(x)
        return x

    def training_step(self, batch, _):
        z = self()
        left, right = batch[0].unbind(1)
        return F.binary_cross_entropy_with_logits((z[left] * z[right]).sum(1), self.same[left, right])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.02)


def data():
    pairs = torch.randint(0, 120, (8192, 2), generator=torch.Generator().manual_seed(2))
    return DataLoader(TensorDataset(pairs), batch_size=256, shuffle=True)


def faulty():
    return Encoder(True), data()


def fixed():
    return Encoder(False), data()
