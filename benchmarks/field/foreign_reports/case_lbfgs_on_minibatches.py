"""LBFGS as it comes, with a rate of 1 and no line search, over batches of 32: curvature from one batch, a step on the next, and the loss is gone.
Answer: line_search_fn="strong_wolfe" and the whole set at once (or Adam).
LBFGS gives NaN when the function is noisy -- https://github.com/pytorch/pytorch/issues/5953
"""

import pytorch_lightning as pl
import torch
from sklearn.datasets import load_diabetes
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 60
ANSWER = {
    "codes": "IM603 IM802 IM601 IM303",
    "remedies": ("SLOWER", "LEARNING_RATE", "OPTIMIZER", "CLIP", "DATA"),
    "by": 50,
    "beside": "IM603 IM802 IM601 IM303 IM101 IM703 IM702 IM201 IM202",
    "layers": (),
}
MEASURED = (1.058e04, 4.5e-08)


def patients(batch):
    x, y = load_diabetes(return_X_y=True, scaled=False)
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)[:, None]
    x, y = (x - x.mean(0)) / x.std(0), (y - y.mean()) / y.std()
    return DataLoader(TensorDataset(x, y), batch_size=batch, shuffle=True)


class Net(pl.LightningModule):
    def __init__(self, search):
        super().__init__()
        self.search = search
        self.net = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))

    def training_step(self, batch, _):
        return F.mse_loss(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.LBFGS(self.parameters(), lr=1.0, max_iter=8, line_search_fn=self.search)


def faulty():
    return Net(None), patients(32)


def fixed():
    return Net("strong_wolfe"), patients(442)
