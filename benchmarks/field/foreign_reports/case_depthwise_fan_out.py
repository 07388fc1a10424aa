"""Depthwise and pointwise convolutions without norms, all by kaiming_normal_ with mode="fan_out": for a depthwise one that counts all 64 channels in
place of its own, and its weights are 8 times too small; after ten of them nothing is left.
Answer: fan_in for them.
Fan out is computed wrongly for depthwise convolutions -- https://github.com/pytorch/pytorch/issues/23854
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM102 IM502 IM202",
    "remedies": ("INITIALISE", "NORMALISE"),
    "by": 20,
    "beside": "IM102 IM502 IM202 IM702 IM604 IM603",
    "layers": (),
}
MEASURED = (2.305, 0.1218)


def pictures():
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x, dtype=torch.float32).view(-1, 1, 8, 8)
    return DataLoader(TensorDataset((x - x.mean()) / x.std(), torch.tensor(y)), batch_size=32, shuffle=True)


class Net(pl.LightningModule):
    def __init__(self, mode):
        super().__init__()
        layers = [nn.Conv2d(1, 64, 3, stride=2, padding=1), nn.ReLU()]  # 4 x 4
        for _ in range(6):
            layers += [nn.Conv2d(64, 64, 3, padding=1, groups=64), nn.ReLU(), nn.Conv2d(64, 64, 1), nn.ReLU()]
        self.net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(1024, 10))
        for m in self.net:
            if isinstance(m, nn.Conv2d):
                depthwise = m.groups > 1
                nn.init.kaiming_normal_(m.weight, mode=mode if depthwise else "fan_out", nonlinearity="relu")
                nn.init.zeros_(m.bias)

    def training_step(self, batch, _):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.02, momentum=0.9, nesterov=True)


def faulty():
    return Net("fan_out"), pictures()


def fixed():
    return Net("fan_in"), pictures()
