"""The code on every page of the documentation runs, in the order of the page, in one fresh process."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from forked_programs import Forks

ROOT = Path(__file__).parents[2]

_MODEL = """
import torch, init_monitor
from collections import OrderedDict
from torch import nn
torch.manual_seed(0)
model = nn.Sequential(OrderedDict(stem=nn.Linear(8, 16), act=nn.ReLU(), head=nn.Linear(16, 4)))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
batch = (torch.randn(32, 8), torch.randint(4, (32,)))
loss_fn = lambda output, target: (output.mean(1) - target).square().mean()
loader = [batch] * 3
generator = torch.Generator().manual_seed(0)
"""
_LIGHTNING = """
import pytorch_lightning as pl, torch
from init_monitor import InitMonitor
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(8, 4)
    def training_step(self, batch, _):
        return torch.nn.functional.cross_entropy(self.net(batch[0]), batch[1])
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)
    def train_dataloader(self):
        samples = torch.utils.data.TensorDataset(torch.randn(256, 8), torch.randint(4, (256,)))
        return torch.utils.data.DataLoader(samples, batch_size=32)
model, train_loader = Net(), Net().train_dataloader()
_trainer = pl.Trainer
pl.Trainer = lambda **options: _trainer(
    max_steps=4, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, **options
)
"""
PATIENCE = 300
"""Seconds, on a busy machine."""

GIVEN = {
    "README.md": _LIGHTNING,
    "docs/distributed.md": _MODEL
    + "torch.distributed.init_process_group('gloo', store=torch.distributed.HashStore(), rank=0, world_size=1)\n",
    "docs/integrations.md": _MODEL,
    "docs/recipes.md": _MODEL,
    "docs/storage.md": _LIGHTNING
    + """
_trainer(
    max_steps=4, accelerator="cpu", enable_checkpointing=False, enable_progress_bar=False, callbacks=[InitMonitor()],
    logger=pl.loggers.CSVLogger("init_monitor_demo", name="xavier", version="version_0"),
).fit(model)
""",
    "docs/training.md": _LIGHTNING,
}
"""What a page takes for granted: a network, a batch, a Trainer that ends after four steps."""


def _blocks(page: Path) -> list[str]:
    return re.findall(r"^```python[^\n]*\n(.*?)^```", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def _pages() -> list[str]:
    every = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    # What the tutorial prints is looked at as well, in test_tutorial.
    return [str(page.relative_to(ROOT)) for page in every if page.name != "tutorial.md" and _blocks(page)]


@pytest.mark.parametrize("page", _pages())
def test_the_code_of_a_page_runs(page: str, forks: Forks, tmp_path: Path) -> None:
    program = "\n".join([GIVEN.get(page, ""), *_blocks(ROOT / page)])
    done = forks.run("-c", program, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr[-2000:]
