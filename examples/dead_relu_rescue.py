"""Dead ReLUs noticed while training, and brought back: the layers that the monitor names are re-initialised.

A bias of -4 kills most units of two layers before the training of a digit classifier begins. One run continues like that; the
other asks the monitor, gives the layers it names He weights and zero bias, and continues.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from setting import Claim, digits, figure, report, setting
from torch import nn

import init_monitor
from init_monitor import recipes

if TYPE_CHECKING:
    from collections.abc import Sequence

LAYERS, WIDTH, BATCH = 4, 64, 128
KILLED = ("2", "4")
KILLING_BIAS = -4.0
RESCUE_STEP = 30


def train(epochs: int, *, rescue: bool) -> tuple[list[float], list[float], float, set[str]]:
    """Return losses, dead share of the killed layers, accuracy on held-out digits, and the layers that were rescued."""
    images, labels, held_out, answers = digits()
    hidden = [part for _ in range(LAYERS) for part in (nn.Linear(WIDTH, WIDTH), nn.ReLU())]
    net = nn.Sequential(*hidden, nn.Linear(WIDTH, 10))
    recipes.he_normal_(net, generator=torch.Generator().manual_seed(0))
    for name in KILLED:
        nn.init.constant_(net.get_parameter(f"{name}.bias"), KILLING_BIAS)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    losses, dead, rescued, shuffling = [], [], set[str](), torch.Generator().manual_seed(1)
    with init_monitor.watch(net, optimizer, sinks=(), every_n_steps=2) as monitor:
        for _ in range(epochs):
            for rows in torch.randperm(len(images), generator=shuffling).split(BATCH):
                with monitor.step():
                    loss = nn.functional.cross_entropy(net(images[rows]), labels[rows])
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                losses.append(float(loss.detach()))
                units = [monitor.records[-1].layers[str(int(name) + 1)].units for name in KILLED]
                dead.append(max(one.dead_fraction for one in units if one is not None))
                if rescue and len(losses) == RESCUE_STEP:
                    named = {layer for f in monitor.findings if f.rule == "dead-relu" for layer in f.layers}
                    rescued = {feeding(monitor.structure, layer) for layer in named}
                    for layer in sorted(rescued):
                        recipes.he_normal_(net.get_submodule(layer), generator=torch.Generator().manual_seed(2))
                    optimizer.state.clear()  # drop the momentum of the replaced weights
    accuracy = float((net(held_out).argmax(1) == answers).float().mean())
    return losses, dead, accuracy, rescued


def feeding(structure: init_monitor.Structure, layer: str) -> str:
    """Return the weight layer that a finding is about: itself, or what feeds the activation it names."""
    found = structure.by_name()[layer]
    return found.module if found.weight else structure.by_name()[found.inputs[0]].module


def main(arguments: Sequence[str] | None = None) -> list[Claim]:
    """Train both, draw, and compare."""
    given = setting("dead_relu_rescue", __doc__, arguments)
    epochs = 8 if given.small else 40
    left, rescued = train(epochs, rescue=False), train(epochs, rescue=True)
    with figure(given, 1, 2, "Dead ReLUs, left alone and rescued") as (curve, share):
        for name, (losses, dead, _, _) in (("left alone", left), (f"rescued at step {RESCUE_STEP}", rescued)):
            curve.plot(losses, label=name)
            share.plot(dead, label=name)
        curve.set(xlabel="step", ylabel="loss")
        share.set(xlabel="step", ylabel="dead share of the killed layers", ylim=(0, 1.05))
        curve.legend()
    print(f"right without rescue: {left[2]:.0%}, with: {rescued[2]:.0%}; the monitor named {sorted(rescued[3])}")
    claims = [
        Claim("killed layers among those named", len(KILLED), len(rescued[3] & set(KILLED)), 1.01),
        Claim("rescued: dead share at the end", 0.0, rescued[1][-1], 1.15),
        Claim("rescued: share of digits right", 0.95, rescued[2], 1.15),
    ]
    return report(given, claims)


if __name__ == "__main__":
    main()
