"""Which rate a plan can be trained with: tried from the new start with the optimizer that was given, and undone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits
from sklearn.neighbors import kneighbors_graph
from torch import Tensor, nn

import init_monitor
from init_monitor import InitMonitorWarning, OptionError
from init_monitor.rate_trial import MARGIN, STEPS, _Trial

BATCH = 32


def table() -> tuple[Tensor, Tensor]:
    columns, target = (torch.as_tensor(values, dtype=torch.float32) for values in load_diabetes(return_X_y=True))
    return (columns - columns.mean(0)) / columns.std(0), ((target - target.mean()) / target.std())[:, None]


def starving(seed: int = 0) -> nn.Sequential:
    """Six ReLU layers as torch draws them: the signal arrives with a ten-thousandth of its variance."""
    torch.manual_seed(seed)
    hidden = [layer for width in (10, *[64] * 5) for layer in (nn.Linear(width, 64), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(64, 1))


def sgd(net: nn.Module, rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), rate, momentum=0.9)


def ends(net: nn.Module, rate: float, steps: int = 200) -> float:
    inputs, targets = table()
    generator, optimizer = torch.Generator().manual_seed(5), sgd(net, rate)
    for _ in range(steps):
        rows = torch.randint(len(inputs), (BATCH,), generator=generator)
        loss = nn.functional.mse_loss(net(inputs[rows]), targets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return float(nn.functional.mse_loss(net(inputs), targets))


def asked(net: nn.Module, optimizer: Any) -> init_monitor.InitPlan:
    inputs, targets = table()
    return init_monitor.recommend(net, (inputs[:BATCH], targets[:BATCH]), nn.functional.mse_loss, optimizer=optimizer)


def test_a_rate_that_only_a_starving_network_bears_is_lowered_and_the_plan_then_learns_more() -> None:
    net = starving()
    plan = asked(net, sgd(net, 0.1))
    assert plan.rate is not None
    assert plan.rate.given == 0.1
    assert plan.rate.fits == pytest.approx(0.1 / 3)
    assert "a learning rate of 0.1, which the network as it is bears, is too large or nearly so" in plan.verdict
    assert f"train it with 0.033 ({STEPS} steps of this batch were tried)." in str(plan).replace("\n", " ")
    alone = ends(starving(), 0.1)
    plan.apply_(generator=torch.Generator().manual_seed(1))
    planned = copy.deepcopy(net)
    assert ends(net, plan.rate.fits) < alone < ends(planned, 0.1)


@pytest.mark.parametrize("rate", [0.01, 0.003])
def test_a_rate_that_the_new_start_bears_stays(rate: float) -> None:
    net = starving()
    plan = asked(net, sgd(net, rate))
    assert any(layer.recipe for layer in plan.layers)
    assert plan.rate is None
    assert "learning rate" not in plan.verdict


def test_a_rate_with_no_margin_is_lowered_although_its_own_trial_holds() -> None:
    net = starving()
    plan = asked(net, sgd(net, 0.05))
    own = _Trial(net, tuple(part[:BATCH] for part in table()), nn.functional.mse_loss, sgd(net, 0.05))
    planned = [layer for layer in plan.layers if layer.recipe]
    assert own.ended(planned, 1.0).bears
    assert not own.ended(planned, MARGIN).stays
    assert plan.rate is not None
    assert plan.rate.fits == pytest.approx(0.05 / 3)


class Graph(nn.Module):
    """Six layers that mix each digit with its eight nearest."""

    def __init__(self, joined: Tensor) -> None:
        super().__init__()
        self.joined = joined
        self.layers = nn.ModuleList(nn.Linear(64 if n == 0 else 48, 48) for n in range(6))
        self.head = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.relu(self.joined @ layer(x))
        output: Tensor = self.head(x)
        return output


def digits() -> tuple[Tensor, Tensor, Tensor]:
    columns, target = load_digits(return_X_y=True)
    x = torch.as_tensor(columns[:400], dtype=torch.float32)
    x = (x - x.mean()) / x.std()
    joined = torch.tensor(kneighbors_graph(x.numpy(), 8).toarray(), dtype=torch.float32)
    joined = ((joined + joined.T) > 0).float() + torch.eye(len(joined))
    degree = joined.sum(1).rsqrt()
    return x, torch.as_tensor(target[:400]), degree[:, None] * joined * degree


def test_a_rate_from_which_the_loss_rises_again_is_lowered_although_it_stays_a_number() -> None:
    x, y, joined = digits()

    def trained(rate: float, *, plan: bool) -> tuple[float, init_monitor.InitPlan | None]:
        torch.manual_seed(1)
        net = Graph(joined)
        advice = None
        if plan:
            advice = init_monitor.recommend(net, (x, y), nn.functional.cross_entropy, optimizer=sgd(net, rate))
            advice.apply_(generator=torch.Generator().manual_seed(1))
            rate = advice.rate.fits if advice.rate else rate
        optimizer = sgd(net, rate)
        for _ in range(200):
            loss = nn.functional.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return float(loss.detach()), advice

    ended, plan = trained(0.1, plan=True)
    assert plan is not None
    assert plan.rate is not None
    assert plan.rate.fits < 0.1
    assert ended < 0.1 < trained(0.1, plan=False)[0]


def test_adam_at_a_usual_rate_stays() -> None:
    net = starving()
    assert asked(net, torch.optim.AdamW(net.parameters(), 0.003)).rate is None


def test_a_rate_that_the_network_does_not_bear_as_it_is_either_is_no_matter_of_the_plan() -> None:
    net = starving()
    assert asked(net, sgd(net, 1e4)).rate is None


def test_nothing_is_tried_where_the_plan_changes_nothing() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(10, 64), nn.LayerNorm(64), nn.ReLU(), nn.Linear(64, 1))
    plan = asked(net, sgd(net, 1e4))
    assert not any(layer.recipe for layer in plan.layers)
    assert plan.rate is None


def test_weights_gradients_buffers_randomness_and_the_optimizer_are_what_they_were() -> None:
    torch.manual_seed(3)
    net = starving()
    net.insert(3, nn.BatchNorm1d(64))
    net.insert(4, nn.Dropout(0.1))
    optimizer = sgd(net, 0.03)
    inputs, targets = table()
    nn.functional.mse_loss(net(inputs), targets).backward()
    optimizer.step()
    before = copy.deepcopy((net.state_dict(), optimizer.state_dict(), [p.grad for p in net.parameters()]))
    state = torch.get_rng_state()
    net.eval()
    asked(net, optimizer)
    assert not net.training
    assert torch.equal(torch.get_rng_state(), state)
    weights, told, gradients = before
    assert all(torch.equal(value, weights[name]) for name, value in net.state_dict().items())
    assert all(
        torch.equal(p.grad, g)
        for p, g in zip(net.parameters(), gradients, strict=True)
        if p.grad is not None and g is not None
    )
    now = optimizer.state_dict()
    assert now["param_groups"] == told["param_groups"]
    assert all(
        torch.equal(now["state"][k]["momentum_buffer"], told["state"][k]["momentum_buffer"]) for k in told["state"]
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda _: 0.1, "takes a torch.optim.Optimizer, got float"),
        (lambda _: sgd(nn.Linear(2, 2), 0.1), "holds no parameter of the model"),
    ],
)
def test_what_is_no_optimizer_of_the_model_is_refused(make: Any, message: str) -> None:
    net = starving()
    with pytest.raises(OptionError, match=message):
        asked(net, make(net))


class Strange(torch.optim.SGD):
    def __init__(self, net: nn.Module) -> None:
        self.checked = net.training
        super().__init__(net.parameters(), 0.03)


def test_an_optimizer_that_cannot_be_made_anew_is_told_and_the_plan_stands() -> None:
    net = starving()
    with pytest.warns(InitMonitorWarning, match="no learning rate was tried, Strange cannot be made anew"):
        plan = asked(net, Strange(net))
    assert plan.rate is None
    assert any(layer.recipe for layer in plan.layers)


def test_a_step_that_overshoots_and_comes_back_keeps_its_rate() -> None:
    torch.manual_seed(0)
    each = nn.Sequential(nn.Linear(2, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 48))
    together = nn.Sequential(nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1))

    class Sets(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.each, self.together = each, together

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.together(self.each(x).sum(1))
            return output

    generator = torch.Generator().manual_seed(2)
    x = torch.rand(BATCH, 12, 2, generator=generator)
    y = (x[..., 0] * (x[..., 1] > 0.8)).sum(1, keepdim=True)
    net = Sets()
    optimizer = torch.optim.AdamW(net.parameters(), 0.01)
    plan = init_monitor.recommend(net, (x, y), nn.functional.mse_loss, style="theory", optimizer=optimizer)
    plan.apply_(generator=torch.Generator().manual_seed(0))
    losses = []
    for _ in range(STEPS):
        loss = nn.functional.mse_loss(net(x), y)
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert max(losses) > 2 * losses[0], "it overshoots"
    assert losses[-1] < losses[0]
    assert plan.rate is None
