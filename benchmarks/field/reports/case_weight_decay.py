"""With a weight decay of 0.5 every input gets the same output: the weights go to 0.
Answer there: 0.0005.
Any input produce the same output -- https://github.com/BVLC/caffe/issues/1396
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {
    "codes": "IM102 IM702 IM603",
    "remedies": ("WEIGHT_DECAY",),
    "by": 150,
    "beside": "IM202 IM702 IM102 IM301",
    "layers": (),
}
MEASURED = (2.305, 0.1908)


def digits(batch_size, scale=16.0, images=False, shuffle=True):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / scale, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=shuffle)


class Net(pl.LightningModule):
    def __init__(self, decay):
        super().__init__()
        self.decay = decay
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def training_step(self, batch, _):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9, weight_decay=self.decay)


def faulty():
    return Net(0.5), digits(32)


def fixed():
    return Net(5e-4), digits(32)
