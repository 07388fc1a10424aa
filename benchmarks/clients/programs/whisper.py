"""Whisper, small and untrained, learns which tones stand for which words, in a loop of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from whisper.model import ModelDimensions, Whisper

from benchmarks.clients.program import Expected, Program
from benchmarks.clients.watching import STEPS

if TYPE_CHECKING:
    from benchmarks.clients.watching import Watching

MELS, FRAMES, WORDS, LENGTH, LAYERS = 16, 48, 12, 6, 2


def speech(count: int) -> tuple[Tensor, Tensor]:
    """Return ``count`` spectrograms in which each word is a tone, and the words, after a first that stands for none."""
    words = torch.randint(1, WORDS, (count, LENGTH))
    sounds = 0.3 * torch.randn(count, MELS, FRAMES)
    tones = nn.functional.one_hot(words, MELS).float().repeat_interleave(FRAMES // LENGTH, 1)
    return sounds + tones.transpose(1, 2), torch.cat((torch.zeros(count, 1, dtype=torch.long), words), 1)


def train(watching: Watching) -> nn.Module:
    """Train encoder and decoder of two blocks each."""
    model = Whisper(ModelDimensions(MELS, FRAMES // 2, 32, 4, LAYERS, WORDS, LENGTH, 32, 4, LAYERS))
    nn.init.normal_(model.decoder.positional_embedding, std=0.01)  # the library leaves it as memory was
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    with watching.loop(model, optimizer) as watch:
        for _ in range(STEPS):
            sounds, words = speech(16)
            with watch.step():
                logits = model(sounds, words[:, :-1])
                loss = nn.functional.cross_entropy(logits.flatten(0, 1), words[:, 1:].flatten())
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
            watching.keep(loss)
    return model


# model.py. Encoder: conv1, conv2; per block q, k, v, out and two of the mlp. Decoder: the embedding (once as a table, and
# once more as the head: x @ weight.T, a functional call of the parameter that ties them; counted where it is looked up),
# per block self-attention (four), cross-attention (four), mlp (two). 2 + 12 + 1 + 20 = 35.
# Residual additions: two per encoder block, three per decoder block: ten. Positions added to x are none.
PROGRAM = Program(
    distribution="openai-whisper",
    kind="speech",
    loop="its own",
    train=train,
    expected=Expected(
        weights={
            "encoder.conv?": 2,
            "encoder.blocks.*": 6 * LAYERS,
            "decoder.token_embedding": 2,
            "decoder.blocks.*": 10 * LAYERS,
        },
        residuals=5 * LAYERS,
        others=("encoder", "*_ln", "encoder.ln_post", "decoder.ln", "*.mlp.1", "decoder", "*attn"),
        inputs={
            "encoder.conv1": ("input",),
            "decoder.blocks.0.cross_attn.key": ("encoder.ln_post",),
            "encoder.blocks.1.attn.query": ("encoder.blocks.1.attn_ln",),
        },
    ),
)
