"""y = x cubed for x from 1 to 4000, both as they are; the loss is 1e20 and stays.
Answer there: standardise the input and the target.
Neural network could not learn on this type of data, why? -- https://discuss.pytorch.org/t/neural-network-could-not-learn-on-this-type-of-data-why/96648
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = {"codes": "IM701", "remedies": ("INPUT", "TARGET"), "by": 20, "beside": "IM603", "layers": ()}
MEASURED = (1.777, 0.0002741)


class Network(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(1, 50), nn.Linear(50, 1)

    def training_step(self, batch, _):
        return F.mse_loss(self.fc2(F.relu(self.fc1(batch[0]))), batch[1])

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def data(standardised):
    x = torch.arange(1.0, 4000.0).unsqueeze(1)
    y = x**3
    if standardised:
        x, y = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    return DataLoader(TensorDataset(x, y), batch_size=256, shuffle=True)


def faulty():
    return Network(), data(False)


def fixed():
    return Network(), data(True)


def score(module, loader):
    x, y = loader.dataset.tensors
    return F.mse_loss(module.fc2(F.relu(module.fc1(x))), y) / y.var()
