"""Manual optimisation with batches of one sample, stepping every 32nd: the loss does not converge, with automatic optimisation it does.
Cause: nobody divides the loss by the number of batches any more, so the gradient is 32 times as large. Answer: divide by it.
In Manual Optimization mode, loss does not converge when the Train Batch Size is 1 -- https://github.com/Lightning-AI/pytorch-lightning/issues/14527
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 80
ANSWER = {
    "codes": "IM603 IM802 IM201",
    "remedies": ("SLOWER", "LOSS_SCALE"),
    "by": 2560,
    "beside": "IM603 IM301 IM601 IM101 IM703",
    "layers": (),
}
MEASURED = (2.483, 0.3855)


def digits(batch_size, scale=16.0, images=False, shuffle=True):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / scale, dtype=torch.float32)
    x = x.view(-1, 1, 8, 8) if images else x
    return DataLoader(TensorDataset(x, torch.tensor(y)), batch_size=batch_size, shuffle=shuffle)


class Net(pl.LightningModule):
    def __init__(self, divide):
        super().__init__()
        self.automatic_optimization = False
        self.divide = divide
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def training_step(self, batch, index):
        optimizer = self.optimizers()
        loss = F.cross_entropy(self.net(batch[0]), batch[1])
        self.manual_backward(loss / 32 if self.divide else loss)
        if (index + 1) % 32 == 0:
            optimizer.step()
            optimizer.zero_grad()
        return loss.detach()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def faulty():
    return Net(False), digits(1)


def fixed():
    return Net(True), digits(1)
