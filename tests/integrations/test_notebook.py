"""A real notebook, executed by a real kernel: one block per fit, and objects that show themselves."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

CELLS = (
    """
import logging, warnings
warnings.filterwarnings("ignore")
for name in ("pytorch_lightning", "lightning.pytorch"):
    logging.getLogger(name).setLevel(logging.ERROR)
import torch, pytorch_lightning as pl
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
import init_monitor
from init_monitor import InitMonitor
torch.manual_seed(0)

class Classifier(pl.LightningModule):
    def __init__(self):
        super().__init__()
        layers = [part for _ in range(12) for part in (nn.Linear(16, 16), nn.Tanh())]
        self.net = nn.Sequential(*layers, nn.Linear(16, 4))
        for layer in self.net:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.01)

    def training_step(self, batch, index):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)

x = torch.randn(512, 16)
data = DataLoader(TensorDataset(x, x[:, :4].argmax(1)), batch_size=32)
model = Classifier()
""",
    """
monitor = InitMonitor(every_n_steps=10)
trainer = pl.Trainer(max_epochs=4, callbacks=[monitor], logger=False, enable_checkpointing=False,
                     enable_progress_bar=False, enable_model_summary=False)
trainer.fit(model, data)
""",
    "monitor.report",
    "monitor.findings",
    "monitor.findings[0]",
    "monitor.structure",
    "monitor.records[0]",
    "plan = init_monitor.recommend(model.net, x[:32]); plan",
    "plan.compare(x[:32])",
    "repr(plan), repr(plan.compare(x[:32])), repr(monitor.structure), repr(monitor.report)",
)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, Any]]]:
    made: Any = nbformat
    book = made.v4.new_notebook(cells=[made.v4.new_code_cell(cell.strip()) for cell in CELLS])
    folder = tmp_path_factory.mktemp("notebook")
    root = str(Path(__file__).parents[2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        patch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
        client = NotebookClient(book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
        client.execute()
    written = os.environ.get("INIT_MONITOR_NOTEBOOK")
    if written:
        made.write(book, written)
    return [cell.outputs for cell in book.cells]


def html_of(outputs: list[dict[str, Any]]) -> str:
    (shown,) = (one["data"]["text/html"] for one in outputs if "data" in one)
    return str(shown)


def words_of(markup: str) -> str:
    return re.sub(r"<[^>]+>", "", markup)


def test_a_fit_is_one_block(executed: list[list[dict[str, Any]]]) -> None:
    outputs = executed[1]
    blocks = [one for one in outputs if one["output_type"] == "display_data"]
    assert len(blocks) == 1
    markup = blocks[0]["data"]["text/html"]
    words = words_of(markup)
    assert words.count("Signal propagation at step") == 1
    assert "critical IM" in words
    assert re.search(
        r"\nInit Monitor: .* in 64 steps \(\d+ of them measured\), and the loss has not fallen since step 0 .*\.\s*$",
        words,
    )
    assert len(words.splitlines()) < 45
    assert "color: #" in markup
    assert not any("Init Monitor" in one.get("text", "") for one in outputs if one["output_type"] == "stream")
    assert "Init Monitor: " in blocks[0]["data"]["text/plain"]


def test_code_of_the_block_is_copied_as_it_runs(executed: list[list[dict[str, Any]]]) -> None:
    (block,) = (one for one in executed[1] if "data" in one)
    words = words_of(block["data"]["text/html"])
    code = words.partition("from torch import nn\n")[2].partition("\n\n")[0]
    assert code.startswith(("for ", "nn.init"))
    compile(code.replace("&quot;", '"').replace("&#x27;", "'"), "<copied>", "exec")


def test_objects_show_themselves_in_few_words_and_as_tables(executed: list[list[dict[str, Any]]]) -> None:
    report, findings, finding, structure, record, plan, comparison, reprs = executed[2:]
    assert "Signal propagation" in html_of(report)
    assert findings[0]["data"]["text/plain"].count("\n") < 10
    assert "<section" in html_of(finding)
    assert "What to do" in html_of(finding)
    assert "<details" in html_of(structure)
    assert "0: Linear -&gt; Tanh" in words_of(html_of(structure))
    assert record[0]["data"]["text/plain"] == "<StepRecord of step 0: 25 layers, 26 parameters, 0 residual additions>"
    assert "Initialisation of" in words_of(html_of(plan))
    assert "before and after" in words_of(html_of(comparison))
    assert max(map(len, eval(reprs[0]["data"]["text/plain"]))) < 200  # noqa: S307 - a tuple of strings of our own
