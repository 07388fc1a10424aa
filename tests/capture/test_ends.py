"""log Z of the logits and the rows of a table that were looked up, against plain torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import init_monitor
from init_monitor.records.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Callable

    from init_monitor.records import StepRecord

ROWS, CLASSES, WIDTH = 24, 11, 8


class Texts(nn.Module):
    """A table, a layer and a head; the head's weight may be the table's."""

    def __init__(self, *, tied: bool = False) -> None:
        super().__init__()
        self.table, self.hidden = nn.Embedding(ROWS, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, ROWS if tied else CLASSES, bias=False)
        if tied:
            self.head.weight = self.table.weight

    def forward(self, texts: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.tanh(self.hidden(self.table(texts))))
        return logits


class Whole(nn.Module):
    """A network with its loss, as a LightningModule's training step or a model of transformers computes it."""

    def __init__(self, net: nn.Module, loss: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.loss = net, loss

    def forward(self, x: Tensor) -> Tensor:
        return self.loss(self.net(x))


def watched(model: nn.Module, steps: list[list[Tensor]], loss: Callable[[Tensor], Tensor]) -> list[StepRecord]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    whole = Whole(model, loss)
    with init_monitor.watch(whole, optimizer, sinks=(), strict=True, dense_steps=100) as monitor:
        for batches in steps:
            with monitor.step():
                optimizer.zero_grad()
                for batch in batches:
                    whole(batch).backward()
                optimizer.step()
    return list(monitor.records)


def texts(*numbers: int) -> Tensor:
    return torch.tensor(numbers).reshape(1, -1)


LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "flattened": lambda x: functional.cross_entropy(x.flatten(0, 1), torch.zeros(x.shape[0] * x.shape[1]).long()),
    "classes second": lambda x: functional.cross_entropy(x.transpose(1, 2), torch.zeros(x.shape[:2]).long()),
    "module": lambda x: nn.CrossEntropyLoss()(x.view(-1, x.shape[-1]), torch.zeros(x.shape[0] * x.shape[1]).long()),
    "log_softmax": lambda x: -functional.log_softmax(x, dim=-1)[..., 0].mean(),
    "method": lambda x: -x.log_softmax(-1)[..., 0].mean(),
    "shifted": lambda x: functional.cross_entropy(x[:, 1:].reshape(-1, x.shape[-1]), torch.zeros(5).long()),
}


@pytest.mark.parametrize("name", LOSSES)
def test_log_z_is_that_of_the_logits(name: str) -> None:
    torch.manual_seed(0)
    model, x = Texts(), texts(1, 2, 3, 4, 5, 6)
    (record,) = watched(model, [[x]], LOSSES[name])
    logits = model(x).double()
    wanted = torch.logsumexp(logits[:, 1:] if name == "shifted" else logits, -1).mean()
    assert record.layer_table.at("net.head", Quantity.LOG_PARTITION) == pytest.approx(float(wanted.detach()), rel=1e-6)
    assert math.isnan(record.layer_table.at("net.hidden", Quantity.LOG_PARTITION))


@pytest.mark.parametrize("name", LOSSES)
def test_log_z_is_seen_where_the_loop_computes_the_loss_outside_of_the_model(name: str) -> None:
    torch.manual_seed(0)
    model, x = Texts(), texts(1, 2, 3, 4, 5, 6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wanted = []
    with init_monitor.watch(model, optimizer, sinks=(), strict=True) as monitor:
        for _ in range(2):
            with torch.no_grad():
                logits = model(x).double()
                wanted.append(float(torch.logsumexp(logits[:, 1:] if name == "shifted" else logits, -1).mean()))
            with monitor.step() as step:
                loss = LOSSES[name](model(x))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                step.loss = loss
    found = [record.layer_table.at("head", Quantity.LOG_PARTITION) for record in monitor.records]
    assert found == pytest.approx(wanted, rel=1e-5)


def test_scaled_and_converted_logits_are_followed_and_others_are_not() -> None:
    torch.manual_seed(0)
    model, other, x = Texts(), torch.randn(6, CLASSES, requires_grad=True), texts(1, 2, 3, 4, 5, 6)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    target = torch.zeros(6).long()

    def followed(loss: Callable[[Tensor], Tensor]) -> float:
        with init_monitor.watch(model, optimizer, sinks=(), strict=True) as monitor, monitor.step():
            loss(model(x)[0]).backward()
            optimizer.step()
        return monitor.records[0].layer_table.at("head", Quantity.LOG_PARTITION)

    logits = model(x)[0].double()
    scaled = float(torch.logsumexp(3 * logits, -1).mean().detach())
    assert followed(lambda z: functional.cross_entropy((z * 3).double(), target)) == pytest.approx(scaled, rel=1e-5)
    assert math.isnan(followed(lambda z: functional.cross_entropy(other, target) + z.square().mean()))
    assert math.isnan(followed(lambda z: functional.cross_entropy(torch.tanh(z), target)))


def test_a_loop_keeps_no_output_of_the_model_alive() -> None:
    import gc
    import weakref

    model = Texts()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with init_monitor.watch(model, optimizer, sinks=(), strict=True) as monitor, monitor.step():
        output = model(texts(1, 2, 3))
        kept = weakref.ref(output)
        functional.cross_entropy(output[0], torch.zeros(3).long()).backward()
        del output
        gc.collect()
        assert kept() is None
        optimizer.step()


def test_lightning_computes_its_loss_in_sight() -> None:
    import pytorch_lightning as pl
    from torch.utils.data import DataLoader, TensorDataset

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, CLASSES))

        def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
            return functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    torch.manual_seed(0)
    module, x = Module(), torch.randn(16, 8)
    wanted = float(torch.logsumexp(module.net(x).double(), -1).mean().detach())
    monitor = init_monitor.InitMonitor(sinks=(), strict=True)
    trainer = pl.Trainer(
        max_steps=1, callbacks=[monitor], logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu",
    )  # fmt: skip
    trainer.fit(module, DataLoader(TensorDataset(x, torch.zeros(16).long()), batch_size=16))
    found = monitor.records[0].layer_table.at("net.2", Quantity.LOG_PARTITION)
    assert found == pytest.approx(wanted, rel=1e-5)


def test_scaled_logits_count_as_they_enter_the_loss_and_batches_are_averaged() -> None:
    torch.manual_seed(0)
    model, batches = Texts(), [texts(1, 2, 3), texts(4, 5, 6)]
    (record,) = watched(model, [batches], lambda x: LOSSES["flattened"](4 * x))
    wanted = torch.stack([torch.logsumexp(4 * model(x).double(), -1).mean() for x in batches]).mean()
    assert record.layer_table.at("net.head", Quantity.LOG_PARTITION) == pytest.approx(float(wanted.detach()), rel=1e-6)


def test_logits_of_zero_have_the_logarithm_of_the_number_of_classes() -> None:
    model = Texts()
    nn.init.zeros_(model.head.weight)
    (record,) = watched(model, [[texts(1, 2, 3)]], LOSSES["flattened"])
    assert record.layer_table.at("net.head", Quantity.LOG_PARTITION) == pytest.approx(math.log(CLASSES), rel=1e-6)


def test_a_loss_of_another_kind_has_no_log_z() -> None:
    (record,) = watched(Texts(), [[texts(1, 2, 3)]], lambda x: x.square().mean())
    assert torch.tensor(record.column(Quantity.LOG_PARTITION)).isnan().all()


@pytest.mark.parametrize("tied", [False, True])
def test_rows_are_counted_over_all_sampled_steps(*, tied: bool) -> None:
    steps = [[texts(0, 1, 2, 2)], [texts(2, 3), texts(4, 5)], [texts(0, 0)]]
    records = watched(Texts(tied=tied), steps, lambda x: x.square().mean())
    shares = [record.parameter_table.at("net.table.weight", Quantity.WEIGHT_ROWS_USED) for record in records]
    assert shares == pytest.approx([3 / ROWS, 6 / ROWS, 6 / ROWS])
    assert math.isnan(records[0].parameter_table.at("net.hidden.weight", Quantity.WEIGHT_ROWS_USED))


def test_how_a_table_is_gone_through_is_what_plain_torch_counts() -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(ROWS, WIDTH, padding_idx=3)

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.table(x)
            return output

    steps = [[texts(5, 6, 6, 9)], [texts(4, 3, 7, 3, 3), texts(8, 3, 2, 20)], [texts(11)]]
    records = watched(Padded(), steps, lambda x: x.square().mean())
    wanted = {
        Quantity.WEIGHT_ROWS: [ROWS, ROWS, ROWS],
        Quantity.WEIGHT_ROW_FIRST: [5, 2, 2],
        Quantity.WEIGHT_ROW_LAST: [9, 20, 20],
        # Of two batches the mean: 5 6 6 has two steps of at most 1 among three; 4 3, 3 3 two of four, 3 2 one of three.
        Quantity.WEIGHT_ROWS_IN_ORDER: [2 / 3, (2 / 4 + 1 / 3) / 2, 0],
        # One of three stands between two others, then the only one does.
        Quantity.WEIGHT_PADDING_ALONE: [math.nan, (1 / 3 + 1) / 2, math.nan],
    }
    for quantity, expected in wanted.items():
        found = [record.parameter_table.at("net.table.weight", quantity) for record in records]
        assert found == pytest.approx(expected, nan_ok=True), quantity


def test_a_table_that_is_looked_up_by_a_function_counts_too() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rows = nn.Parameter(torch.randn(10, WIDTH))

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = functional.embedding(x, self.rows) + torch.embedding(self.rows, x)
            return output

    (record,) = watched(Own(), [[texts(1, 2, 3)]], lambda x: x.square().mean())
    assert record.parameter_table.at("net.rows", Quantity.WEIGHT_ROWS_USED) == pytest.approx(0.3)


def test_looking_at_the_ends_changes_no_bit() -> None:
    def train(*, watch: bool) -> tuple[list[float], Any]:
        torch.manual_seed(0)
        model = Texts(tied=True)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        losses = []

        def step() -> None:
            x = torch.randint(0, ROWS, (4, 6))
            loss = functional.cross_entropy(model(x).flatten(0, 1), x.flatten())
            losses.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        if not watch:
            for _ in range(4):
                step()
            return losses, torch.get_rng_state()
        with init_monitor.watch(model, optimizer, sinks=(), strict=True) as monitor:
            for _ in range(4):
                with monitor.step():
                    step()
        return losses, torch.get_rng_state()

    plain, watched_run = train(watch=False), train(watch=True)
    assert plain[0] == watched_run[0]
    assert torch.equal(plain[1], watched_run[1])
