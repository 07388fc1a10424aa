"""SchNet learns energies and forces of small clusters: its input requires a gradient, its modules pass a dict on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytorch_lightning as pl
import schnetpack as spk
import schnetpack.properties as keys
import torch
import torchmetrics

from benchmarks.clients.program import Expected, Program
from benchmarks.clients.watching import STEPS

if TYPE_CHECKING:
    from torch import Tensor, nn

    from benchmarks.clients.watching import Watching

CLUSTERS, ATOMS, INTERACTIONS, CUTOFF = 4, 6, 3, 5.0


def clusters(count: int) -> list[dict[str, Tensor]]:
    """Return batches of argon-like clusters with energies and forces of a Lennard-Jones potential."""
    generator = torch.Generator().manual_seed(1)
    grid = torch.cartesian_prod(torch.arange(2.0), torch.arange(2.0), torch.arange(2.0))[:ATOMS] * 1.3
    first, second = torch.tensor([(i, j) for i in range(ATOMS) for j in range(ATOMS) if i != j]).T
    batches = []
    for _ in range(count):
        place = (grid + 0.1 * torch.randn(CLUSTERS, ATOMS, 3, generator=generator)).requires_grad_()
        inverse = (place[:, second] - place[:, first]).norm(dim=-1) ** -6
        energy = 2 * (inverse**2 - inverse).sum(1)
        forces = -torch.autograd.grad(energy.sum(), place)[0]
        shift = ATOMS * torch.arange(CLUSTERS)[:, None]
        batches.append(
            {
                keys.Z: torch.randint(1, 4, (CLUSTERS * ATOMS,), generator=generator),
                keys.R: place.detach().reshape(-1, 3),
                keys.idx_i: (first + shift).reshape(-1),
                keys.idx_j: (second + shift).reshape(-1),
                keys.offsets: torch.zeros(CLUSTERS * len(first), 3),
                keys.idx_m: torch.arange(CLUSTERS).repeat_interleave(ATOMS),
                keys.n_atoms: torch.full((CLUSTERS,), ATOMS),
                keys.energy: energy.detach() / 10,
                keys.forces: forces.reshape(-1, 3) / 10,
            }
        )
    return batches


def train(watching: Watching) -> nn.Module:
    """Train a SchNet of three interactions on energies and forces."""
    representation = spk.representation.SchNet(
        n_atom_basis=32,
        n_interactions=INTERACTIONS,
        radial_basis=spk.nn.GaussianRBF(n_rbf=20, cutoff=CUTOFF),
        cutoff_fn=spk.nn.CosineCutoff(CUTOFF),
    )
    model = spk.model.NeuralNetworkPotential(
        representation,
        input_modules=[spk.atomistic.PairwiseDistances()],
        output_modules=[spk.atomistic.Atomwise(n_in=32, output_key=keys.energy), spk.atomistic.Forces()],
    )
    outputs = [
        spk.task.ModelOutput(
            name, loss_fn=torch.nn.MSELoss(), loss_weight=weight, metrics={"mae": torchmetrics.MeanAbsoluteError()}
        )
        for name, weight in ((keys.energy, 0.1), (keys.forces, 0.9))
    ]
    task = spk.task.AtomisticTask(model, outputs, torch.optim.AdamW, {"lr": 1e-3})
    trainer = pl.Trainer(
        max_steps=STEPS,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        callbacks=watching.callbacks(pl),
    )
    trainer.fit(task, torch.utils.data.DataLoader(clusters(STEPS), batch_size=None))
    return task


# SchNet.forward: one embedding; each of the three interactions applies in2f, filter_network (two), f2out (two), and its
# result is added to x: three residual additions. Atomwise.outnet is build_mlp(n_layers=2): two. All but the embedding
# are snn.Dense, an nn.Linear that holds an activation module (nn.Identity, or none where it is a function).
# filter_network is fed by distances, so by data; in2f by the embedding or the sum before it; f2out through
# scatter_add, which TorchScript runs. PairwiseDistances makes _Rij and Forces makes forces; the rest of the dict is only
# handed on.
PROGRAM = Program(
    distribution="schnetpack",
    kind="molecules (force field)",
    loop="pytorch_lightning",
    train=train,
    expected=Expected(
        weights={
            "*.embedding": 1,
            "*.in2f": INTERACTIONS,
            "*.filter_network.?": 2 * INTERACTIONS,
            "*.f2out.?": 2 * INTERACTIONS,
            "*.outnet.?": 2,
        },
        residuals=INTERACTIONS,
        others=(
            "*.filter_network*",
            "*.f2out*",
            "*.outnet*",
            "*.cutoff_fn*",
            "*.radial_basis*",
            "model.input_modules.0[_Rij]",
            "model.output_modules.1[forces]",
        ),
        inputs={
            "model.representation.embedding": ("input",),
            "model.representation.interactions.1.filter_network.0": ("input", "model.representation.radial_basis"),
        },
    ),
)
