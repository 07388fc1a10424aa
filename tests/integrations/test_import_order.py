"""Two Lightnings, and a program that imports them in any order: the callback derives from the one that runs it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess

    from forked_programs import Forks

PACKAGES = ("pytorch_lightning", "lightning.pytorch")

TRAIN = """
import torch

def fitted(lightning, monitor):
    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Linear(4, 1)
        def training_step(self, batch, batch_idx):
            return self.net(batch).mean()
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    assert isinstance(monitor, lightning.Callback), type(monitor).__mro__
    trainer = lightning.Trainer(max_steps=2, callbacks=[monitor], logger=False, enable_checkpointing=False,
                                enable_progress_bar=False, enable_model_summary=False, accelerator="cpu")
    trainer.fit(Module(), torch.utils.data.DataLoader(torch.ones(8, 4)))
    assert monitor.state_key == "InitMonitor"
    assert type(monitor).__bases__[0].__name__ == "Callback"
    print("steps", [record.step for record in monitor.records])
"""

ORDERS = {
    "the package first": """
import {used} as pl
from init_monitor import InitMonitor
assert issubclass(InitMonitor, pl.Callback)
import sys
fitted(pl, InitMonitor(sinks=(), strict=True))
assert "{other}" not in sys.modules
""",
    "the monitor first, as an alphabetical order has it": """
import init_monitor
from init_monitor import InitMonitor
import {used} as pl
import sys
assert issubclass(init_monitor.InitMonitor, pl.Callback)
fitted(pl, InitMonitor(sinks=(), strict=True))
assert "{other}" not in sys.modules
""",
    "a class of one's own, defined before": """
from init_monitor import InitMonitor
class Mine(InitMonitor):
    pass
import {used} as pl
import sys
monitor = Mine(sinks=(), strict=True)
assert isinstance(monitor, pl.Callback)
assert "{other}" not in sys.modules
import pickle, copy
twin = copy.deepcopy(monitor)
assert isinstance(twin, pl.Callback) and twin.findings == []
fitted(pl, InitMonitor(sinks=(), strict=True))
""",
    "an instance before any": """
from init_monitor import InitMonitor
monitor = InitMonitor(sinks=(), strict=True)
import {used} as pl
fitted(pl, monitor)
""",
    "both, and one callback under the Trainers of both": """
from init_monitor import InitMonitor
import {used} as pl
first = InitMonitor(sinks=(), strict=True)
import {other} as other
fitted(pl, first)
second = InitMonitor(sinks=(), strict=True)
fitted(pl, second)
fitted(other, first)
assert isinstance(second, pl.Callback) and isinstance(second, other.Callback)
""",
    "out of a pickle": """
import pickle, subprocess, sys
code = "import pickle, sys; from init_monitor import InitMonitor; sys.stdout.buffer.write(pickle.dumps(InitMonitor(sinks=(), strict=True)))"
made = subprocess.run([sys.executable, "-W", "ignore", "-c", "import {used};" + code], capture_output=True, check=True).stdout
monitor = pickle.loads(made)
import {used} as pl
fitted(pl, monitor)
""",
}


CASES = [
    *((order, used) for order in list(ORDERS)[:2] for used in PACKAGES),
    # What these add is the same for both.
    *((order, PACKAGES[1]) for order in list(ORDERS)[2:]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("order", "used"), CASES, ids=[f"{used}: {order}" for order, used in CASES])
def test_the_callback_is_one_of_the_lightning_that_runs_it(order: str, used: str, forks: Forks, tmp_path: Path) -> None:
    (other,) = {*PACKAGES} - {used}
    here = Path(__file__).parents[1]
    program = "import conftest\n" + TRAIN + ORDERS[order].format(used=used, other=other)
    path = os.pathsep.join((str(here), str(here.parent)))
    done = forks.run("-c", program, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path})
    assert "steps [0, 1]" in done.stdout, done.stderr
    assert done.returncode == 0, done.stderr


ALONE = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name.partition(".")[0] in {hidden!r} else find(name, *a)
for name in {hidden!r}:
    sys.modules[name] = None
from init_monitor import InitMonitor
monitor = InitMonitor(sinks=())
print([name for name in ("pytorch_lightning", "lightning.pytorch") if sys.modules.get(name)])
"""


@pytest.mark.slow
def test_where_one_is_installed_it_is_that_one_and_where_none_is_a_sentence_says_what_to_do(
    forks: Forks, tmp_path: Path
) -> None:
    def alone(*hidden: str) -> subprocess.CompletedProcess[str]:
        path = str(Path(__file__).parents[2])
        return forks.run("-c", ALONE.format(hidden=hidden), cwd=tmp_path, env=os.environ | {"PYTHONPATH": path})

    assert alone("lightning").stdout.strip() == "['pytorch_lightning']"
    assert alone("pytorch_lightning").stdout.strip() == "['lightning.pytorch']"
    assert (
        alone("pytorch_lightning", "lightning")
        .stderr.strip()
        .endswith(
            "ImportError: InitMonitor needs PyTorch Lightning: pip install pytorch-lightning. Without it: init_monitor.watch."
        )
    )
