"""DeepXDE solves Poisson's equation: the loss holds second derivatives of the network by its input."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

os.environ.setdefault("DDE_BACKEND", "pytorch")

import deepxde
import numpy as np
import torch

from benchmarks.clients.program import Expected, Program
from benchmarks.clients.watching import STEPS

if TYPE_CHECKING:
    from torch import Tensor, nn

    from benchmarks.clients.watching import Watching

HIDDEN = 3


class Steps(deepxde.callbacks.Callback):  # type: ignore[misc]
    """Tells the monitor of the library's steps."""

    def __init__(self, watch: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.watch, self.open = watch, ExitStack()

    def on_batch_begin(self) -> None:
        """Begin a step."""
        self.open.enter_context(self.watch.step())

    def on_batch_end(self) -> None:
        """End it, after the optimizer has stepped."""
        self.open.close()


def equation(x: Tensor, y: Tensor) -> Tensor:
    """Return what is zero where the equation u'' = -pi^2 sin(pi x) holds."""
    return deepxde.grad.hessian(y, x) + np.pi**2 * torch.sin(np.pi * x)


def train(watching: Watching) -> nn.Module:
    """Train tanh layers on the inside and on the border of an interval."""
    deepxde.config.set_random_seed(5)
    line = deepxde.geometry.Interval(-1, 1)
    border = deepxde.icbc.DirichletBC(line, lambda x: np.zeros((len(x), 1)), lambda _, on: on)
    problem = deepxde.data.PDE(line, equation, border, num_domain=64, num_boundary=2)
    net = deepxde.nn.FNN([1] + [32] * HIDDEN + [1], "tanh", "Glorot uniform")
    model = deepxde.Model(problem, net)
    model.compile("adam", lr=0.002, verbose=0)
    with watching.loop(net, model.opt) as watch:
        history, _ = model.train(iterations=STEPS, display_every=1, callbacks=[Steps(watch)], verbose=0)
    for losses in history.loss_train:
        watching.keep(float(np.sum(losses)))
    return net


# nn/pytorch/fnn.py: four linear layers with torch.tanh between them; the first takes the points, a leaf that requires a
# gradient. The derivatives that the loss needs are no layers, and nothing is added to what it was made of.
PROGRAM = Program(
    distribution="deepxde",
    kind="physics (PINN)",
    loop="its own",
    train=train,
    expected=Expected(
        weights={"linears.?": HIDDEN + 1},
        residuals=0,
        others=("",),
        inputs={"linears.0": ("input",), "linears.1": ("/tanh#1",), "linears.3": ("/tanh#3",)},
    ),
)
