"""A contrastive loss over dot products divided by 0.07, the temperature for cosines; nobody normalised the embeddings, and the logits are hundreds.
Answer: F.normalize before the product.
Nothing to cite: the temperature is SimCLR's and CLIP's, and leaving the normalisation out is reported of both.
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 150
ANSWER = {
    "codes": "IM703 IM101 IM303 IM603",
    "remedies": ("OUTPUT_SCALE", "NORMALISE"),
    "by": 20,
    "beside": "IM603 IM201 IM301",
    "layers": (),
}
MEASURED = (2.946e08, 1.07)


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Contrast(pl.LightningModule):
    def __init__(self, normed):
        super().__init__()
        self.normed = normed
        self.net = nn.Sequential(
            nn.Linear(64, 128), nn.ReLU(), nn.BatchNorm1d(128), nn.Linear(128, 128), nn.BatchNorm1d(128)
        )

    def embed(self, x):
        return F.normalize(self.net(x), dim=1) if self.normed else self.net(x)

    def training_step(self, batch, _):
        x = batch[0]
        a, b = (self.embed(x + 0.3 * torch.randn_like(x)) for _ in range(2))
        return F.cross_entropy(a @ b.t() / 0.07, torch.arange(len(a)))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


def faulty():
    return Contrast(False), digits(128)


def fixed():
    return Contrast(True), digits(128)
