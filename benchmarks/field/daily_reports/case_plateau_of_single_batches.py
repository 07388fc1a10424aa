"""ReduceLROnPlateau watches the loss of the single batch ("interval": "step", patience=3), which goes up as often as down: within forty steps the rate is nothing.
Answer: let it watch once per epoch, or take the mean over many batches.
"""

from sklearn.datasets import load_digits

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 300
ANSWER = {
    "codes": "IM603 IM604",
    "remedies": ("SCHEDULE", "FASTER", "LEARNING_RATE"),
    "by": 200,
    "beside": "IM603 IM604",
    "layers": (),
}
MEASURED = (0.345, 0.03245)


def digits(flat=True):
    pictures, kinds = load_digits(return_X_y=True)
    x = torch.tensor(pictures, dtype=torch.float32) / 16
    x = (x - x.mean()) / x.std()
    return x if flat else x.view(-1, 1, 8, 8), torch.tensor(kinds)


class Net(pl.LightningModule):
    def __init__(self, interval):
        super().__init__()
        self.interval = interval
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(512, 10),
        )

    def training_step(self, batch, _):
        x, kind = batch
        loss = F.cross_entropy(self.net(x), kind)
        self.log("train_loss", loss, on_step=self.interval == "step", on_epoch=self.interval == "epoch")
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.02, momentum=0.9)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=3)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": plateau, "monitor": "train_loss", "interval": self.interval},
        }


def pictures():
    return DataLoader(TensorDataset(*digits(flat=False)), batch_size=16, shuffle=True)


def faulty():
    return Net("step"), pictures()


def fixed():
    return Net("epoch"), pictures()
