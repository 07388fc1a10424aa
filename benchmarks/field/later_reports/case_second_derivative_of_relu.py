"""A network is to obey u'' = -sin(x) between u(0) = u(pi) = 0 and has rectifiers, whose second derivative is 0 everywhere: the equation teaches nothing.
Said there: don't use ReLU, which is not second order differentiable; use tanh.
Convergence issue on Navier-Stokes equation -- https://github.com/lululxvi/deepxde/issues/80
"""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SEED, STEPS = 0, 400
ANSWER = None  # nothing to be said by a signal monitor
MEASURED = (0.5048, 0.0001259)


class Equation(pl.LightningModule):
    def __init__(self, activation):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 32), activation(), nn.Linear(32, 32), activation(), nn.Linear(32, 1))

    def training_step(self, batch, _):
        x = batch[0].requires_grad_()
        u = self.net(x)
        (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        (bend,) = torch.autograd.grad(slope.sum(), x, create_graph=True, materialize_grads=True, allow_unused=True)
        ends = self.net(torch.tensor([[0.0], [torch.pi]]))
        return (bend + torch.sin(x)).square().mean() + ends.square().mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def points():
    x = torch.rand(4096, 1, generator=torch.Generator().manual_seed(0)) * torch.pi
    return DataLoader(TensorDataset(x), batch_size=64, shuffle=True)


def faulty():
    return Equation(nn.ReLU), points()


def fixed():
    return Equation(nn.Tanh), points()
