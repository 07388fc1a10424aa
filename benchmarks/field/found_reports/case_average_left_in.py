"""At the end of every 14th batch the averaged weights are put into the network to look at them, and its own are not put back. With a decay of 0.999 the average is nearly where training began, and so is the network, again and again.
Answer: put the weights back after the look.
Missed to restore model weights in training after validation with EMA on -- https://github.com/PKU-YuanGroup/Open-Sora-Plan/issues/186
"""

import copy
import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 280
ANSWER = {
    "codes": "IM604 IM603 IM802",
    "remedies": ("UNDONE",),
    "by": 250,
    "beside": "IM604 IM603 IM802",
    "layers": (),
}
MEASURED = (2.172, 0.1544)


def digits():
    x, y = load_digits(return_X_y=True)
    return DataLoader(
        TensorDataset(torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8), torch.tensor(y)),
        batch_size=128,
        shuffle=True,
    )


class Net(pl.LightningModule):
    def __init__(self, restored):
        super().__init__()
        self.restored = restored
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)
        )
        self.average = copy.deepcopy(list(self.net.parameters()))

    def training_step(self, batch, _):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def on_train_batch_end(self, outputs, batch, batch_idx):
        with torch.no_grad():
            for mean, weight in zip(self.average, self.net.parameters()):
                mean.lerp_(weight, 0.001)
            if batch_idx == 13:
                own = copy.deepcopy(list(self.net.parameters()))
                for weight, mean in zip(self.net.parameters(), self.average):
                    weight.copy_(mean)
                self.looked = self.net(batch[0]).argmax(1)
                for weight, before in zip(self.net.parameters(), own):
                    if self.restored:
                        weight.copy_(before)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.net.parameters(), lr=1e-3)


def faulty():
    return Net(restored=False), digits()


def fixed():
    return Net(restored=True), digits()
