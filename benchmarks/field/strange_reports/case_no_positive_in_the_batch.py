"""Supervised contrastive loss in batches of 8 with ten classes: the mean over a sample's positives is 0 / 0 where no other sample has its class.
Asked there: the loss is NaN for small batches. Answer: leave out, or guard, those without a positive.
fix: nan loss values -- https://github.com/HobbitLong/SupContrast/pull/142
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM601",
    "remedies": (
        "GUARD",
        "DATA",
    ),
    "by": 5,
    "beside": "IM601",
    "layers": (),
}
MEASURED = (0.9, 0.02727)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Embedder(pl.LightningModule):
    def __init__(self, guarded):
        super().__init__()
        self.guarded = guarded
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(16, 16, 3, 2, 1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(256, 16),
        )

    def training_step(self, batch, _):
        z = F.normalize(self.net(batch[0]), dim=1)
        other = ~torch.eye(len(z), dtype=torch.bool)
        positive = ((batch[1][:, None] == batch[1]) & other).float()
        logits = z @ z.T / 0.2
        log_prob = logits - torch.logsumexp(logits.masked_fill(~other, -1e9), 1, keepdim=True)
        count = positive.sum(1)
        if self.guarded:
            count = count.clamp(min=1)
        return -((positive * log_prob).sum(1) / count).mean()

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=2e-3)


def faulty():
    return Embedder(False), digits(8, images=True)


def fixed():
    return Embedder(True), digits(8, images=True)


def score(module, loader):
    """Share of digits whose nearest neighbour is another digit; the worst where embeddings are NaN."""
    x, y = loader.dataset.tensors
    with torch.no_grad():
        z = F.normalize(module.net(x), dim=1)
    if not z.isfinite().all():
        return 0.9
    near = (z @ z.T - 2 * torch.eye(len(z))).argmax(1)
    return float((y[near] != y).float().mean())
