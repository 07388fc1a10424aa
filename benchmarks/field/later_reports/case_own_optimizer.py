"""Manual optimisation with an optimizer that the person keeps by themselves; configure_optimizers() gives none. It trains as it should.
Asked there: where is optimizer.step()? Nothing is wrong.
where is the optimizer.step()? -- https://github.com/CompVis/latent-diffusion/issues/332
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 200
ANSWER = None  # nothing to be said by a signal monitor


def digits(batch_size, images=False):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=True)


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        self.mine = [torch.optim.Adam(self.net.parameters(), lr=2e-3)]

    def training_step(self, batch, _):
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.mine[0].zero_grad()
        loss.backward()
        self.mine[0].step()
        return loss.detach()

    def configure_optimizers(self):
        return None


def faulty():
    return Net(), digits(32), {"max_steps": -1, "max_epochs": 4}  # Lightning counts its own optimizers' steps only


def score(module, loader):
    x, y = loader.dataset.tensors
    return F.cross_entropy(module.net(x), y)
