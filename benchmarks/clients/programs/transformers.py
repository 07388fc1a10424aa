"""A small Mamba of transformers learns a periodic language; it applies the weights of modules that it never calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers import MambaConfig, MambaForCausalLM

from benchmarks.clients.program import Expected, Program
from benchmarks.clients.watching import STEPS

if TYPE_CHECKING:
    from torch import nn

    from benchmarks.clients.watching import Watching

WORDS, LENGTH, LAYERS = 16, 12, 2


def train(watching: Watching) -> nn.Module:
    """Train two blocks to go on with sequences that count up in steps of one to three."""
    config = MambaConfig(
        vocab_size=WORDS, hidden_size=32, state_size=8, num_hidden_layers=LAYERS, use_cache=False, use_mambapy=False
    )
    model = MambaForCausalLM(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    with watching.loop(model, optimizer) as watch:
        for _ in range(STEPS):
            start, pace = torch.randint(0, WORDS, (16, 1)), torch.randint(1, 4, (16, 1))
            words = (start + pace * torch.arange(LENGTH)) % WORDS
            with watch.step():
                loss = model(input_ids=words, labels=words).loss
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            watching.keep(loss)
    return model


# modeling_mamba.py, without the fused kernels. Per block in_proj, x_proj and out_proj are called; conv1d and dt_proj are
# not: their weights are given to F.conv1d and to a matrix product. With embeddings and lm_head: 2 x 5 + 2 = 12.
# Per block x + mixer(norm(x)), and inside the mixer scan(u) + D u, a scaled skip over x_proj and dt_proj: four residual
# additions. The recurrence state = A state + B u is none, as in an LSTM. The loss that the model computes itself is none of its layers.
PROGRAM = Program(
    distribution="transformers",
    kind="language (Mamba)",
    loop="its own",
    train=train,
    expected=Expected(
        weights={"backbone.embeddings": 1, "backbone.layers.*.mixer*": 5 * LAYERS, "lm_head": 1},
        residuals=2 * LAYERS,
        others=("*.norm", "*.norm_f", "*.act"),
        inputs={
            "backbone.layers.0.mixer.in_proj": ("backbone.layers.0.norm",),
            "lm_head": ("backbone.norm_f",),
        },
    ),
)
