"""Recurrent layers whose biases hold their gates from the start (IM303)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from init_monitor import Finding, Severity, check

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH = 24
KINDS = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}


class Reader(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        make: Callable[..., nn.RNNBase] = KINDS[kind]
        self.rnn, self.head = make(8, WIDTH, batch_first=True), nn.Linear(WIDTH, 5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.rnn(x)[0][:, -1])
        return out


def biased(kind: str, *gates: float) -> Reader:
    """Return a network whose biases are these, gate by gate in the order of torch."""
    net = Reader(kind)
    for name in ("bias_ih_l0", "bias_hh_l0"):
        nn.init.zeros_(net.rnn.get_parameter(name))
    for part, value in zip(net.rnn.get_parameter("bias_hh_l0").data.chunk(len(gates)), gates, strict=True):
        part.fill_(value)
    return net


def told(net: nn.Module) -> list[Finding]:
    torch.manual_seed(1)
    found = check(net, torch.randn(32, 6, 8)).findings
    return [one for one in found if one.code == "IM303" and one.severity > Severity.INFO]


@pytest.mark.parametrize(
    ("kind", "gates", "words"),
    [
        ("LSTM", (-10, 0, 0, 0), "gates shut"),
        ("LSTM", (0, -10, 0, 0), "gates shut"),
        ("LSTM", (0, 0, 0, -10), "gates shut"),
        ("LSTM", (-10, -10, -10, -10), "gates shut"),
        ("LSTM", (10, 10, 10, 10), "all its gates open"),
        ("GRU", (0, 10, 0), "gates shut"),  # what it holds is never changed
        ("GRU", (0, -10, 0), "gates shut"),
        ("RNN", (10,), "all its gates open"),
    ],
)
def test_biases_that_hold_gates_are_named_and_their_code_frees_them(
    kind: str, gates: tuple[float, ...], words: str
) -> None:
    net = biased(kind, *gates)
    (finding,) = told(net)
    assert finding.layers == ("rnn[0]",)
    assert words in finding.message
    weight = net.rnn.get_parameter("weight_hh_l0").clone()
    exec(finding.remedy_code, {"model": net})  # noqa: S102 - what is printed is what is run
    assert told(net) == []
    assert torch.equal(net.rnn.get_parameter("weight_hh_l0"), weight)
    assert float(net.rnn.get_parameter("bias_ih_l0").detach().sum()) == (WIDTH if kind == "LSTM" else 0)


@pytest.mark.parametrize(
    ("kind", "gates"),
    [
        ("LSTM", (0, 1, 0, 0)),
        ("LSTM", (0, 10, 0, 0)),  # remembers everything
        ("LSTM", (-6, 6, 0, 0)),  # takes in as little as it forgets
        ("LSTM", (-2, -2, -2, -2)),
        ("GRU", (0, 3, 0)),
        ("RNN", (1,)),
    ],
)
def test_gates_that_start_open_or_in_balance_are_not(kind: str, gates: tuple[float, ...]) -> None:
    assert told(biased(kind, *gates)) == []
    assert told(Reader(kind)) == []
