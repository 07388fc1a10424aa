"""Hugging Face Trainer: `InitMonitorCallback` watches a small GPT-2 from its first step.

Run it with ``python examples/huggingface.py`` (``pip install transformers accelerate``). Nothing is downloaded: the model
starts from random weights and learns to count.
"""

from __future__ import annotations

import argparse
import tempfile
from typing import TYPE_CHECKING

import torch
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

from init_monitor.integrations.huggingface import InitMonitorCallback

if TYPE_CHECKING:
    from collections.abc import Sequence

VOCABULARY, LENGTH = 64, 16


class Counting(Dataset[dict[str, torch.Tensor]]):
    """Rows of consecutive numbers, from every beginning."""

    def __len__(self) -> int:
        """Return how many rows there are."""
        return 512

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Return a row, which is its own label."""
        ids = (index + torch.arange(LENGTH)) % VOCABULARY
        return {"input_ids": ids, "labels": ids}


def train(steps: int, directory: str) -> InitMonitorCallback:
    """Train for this many optimizer steps and return what was found."""
    set_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=LENGTH,
        n_embd=64,
        n_layer=6,
        n_head=4,
        bos_token_id=0,
        eos_token_id=0,
    )
    arguments = TrainingArguments(
        output_dir=directory,
        max_steps=steps,
        per_device_train_batch_size=16,
        gradient_accumulation_steps=2,
        learning_rate=1e-3,
        logging_steps=10,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
    )
    with InitMonitorCallback(dense_steps=5, every_n_steps=10) as monitor:
        Trainer(model=GPT2LMHeadModel(config), args=arguments, train_dataset=Counting(), callbacks=[monitor]).train()
    return monitor


def main(arguments: Sequence[str] | None = None) -> InitMonitorCallback:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=30)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as directory:
        return train(given.steps, directory)


if __name__ == "__main__":
    main()
