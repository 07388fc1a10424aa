"""A network of one's own in the explorer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
from browser import looked_at, watched
from test_explorer import opened
from torch import nn

import init_monitor
from init_monitor import cli

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OWN = """
import torch
from torch import nn


def chain():
    net = nn.Sequential(*[part for _ in range(8) for part in (nn.Linear(256, 256, bias=False), nn.ReLU())], nn.Linear(256, 10))
    return net, torch.randn(64, 256)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        return x + self.second(torch.relu(self.first(x)))


def residual():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), *[Block() for _ in range(3)], nn.Flatten(), nn.Linear(8 * 36, 4))
    return net, (torch.randn(8, 3, 8, 8), torch.randint(4, (8,))), nn.functional.cross_entropy


def biased():
    net = nn.Sequential(*[part for _ in range(8) for part in (nn.Linear(256, 256), nn.ReLU())], nn.Linear(256, 64))
    return net, torch.randn(64, 256)


def bent():
    net = nn.Sequential(*[part for _ in range(8) for part in (nn.Linear(256, 256), nn.Tanh())], nn.Linear(256, 64))
    for layer in net[::2]:
        nn.init.normal_(layer.weight, std=0.2)
    return net, torch.randn(64, 256)


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.first, self.second = nn.LayerNorm(256), nn.Linear(256, 256), nn.Linear(256, 256)

    def forward(self, x):
        return x + self.second(nn.functional.gelu(self.first(self.norm(x))))


def stream():
    net = nn.Sequential(nn.Linear(256, 256), *[Normed() for _ in range(4)], nn.LayerNorm(256), nn.Linear(256, 64))
    return net, torch.randn(64, 256)


def silent():
    net, batch = chain()
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    return net, batch
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "own_networks.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("own_networks", None)


def own_page(factory: str, directory: Path) -> str:
    path = directory / f"{factory}.html"
    assert cli.main(["explore", f"own_networks:{factory}", "--html", str(path)]) == 0
    return path.as_uri()


def subject(factory: str) -> Any:
    from init_monitor.factories import subject_of

    return subject_of(f"own_networks:{factory}", "explore")


def after(made: Any, plans: Any) -> list[Any]:
    """The layers as init_monitor measures them with some plans carried out."""
    from init_monitor.measured_plan import carried_out

    with carried_out(plans, made.model):
        return list(init_monitor.check(made.model, made.batch, made.loss_fn, rules=()).records[0])


@pytest.mark.parametrize("factory", ["chain", "residual"])
def test_what_is_switched_is_what_was_measured(context: Any, own: Path, factory: str) -> None:
    made = subject(factory)
    plan = init_monitor.recommend(made.model, made.batch, made.loss_fn, style="theory")
    planned = [one for one in plan.layers if one.recipe]
    before = {name: value.clone() for name, value in made.model.state_dict().items()}
    with looked_at(context) as page:
        shown = opened(page, own_page(factory, own))
        assert shown.inner_text(".tab[aria-selected=true]") == "Your network"
        for link, plans in (("", []), ("all", planned), ("2", planned[2:3]), ("0.1.2", planned[:3])):
            shown.evaluate("(on) => initMonitorExplorer.set({ on })", link)
            numbers = shown.evaluate("initMonitorExplorer.numbers()")
            assert numbers["measured"]
            layers = after(made, plans)
            assert numbers["names"] == [layer.name for layer in layers]
            for row, layer in zip(numbers["rows"], layers, strict=True):
                assert row["std"] == pytest.approx(layer.forward.std, rel=2e-3)
                assert row["mean"] == pytest.approx(layer.forward.mean, rel=2e-3, abs=1e-9)
                assert row["gradient"] == pytest.approx(layer.backward.std, rel=2e-3, abs=1e-12)
        for name, value in made.model.state_dict().items():
            torch.testing.assert_close(value, before[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("factory", "on"),
    [
        ("chain", [1, 4, 6]),
        ("biased", [1, 4, 6]),
        ("bent", [2, 3, 5, 7]),
        ("stream", [1, 4, 8, 10]),
        ("biased", [0, 1, 5]),
    ],
)
def test_other_sets_are_estimated_by_the_recursion_of_the_variances(
    context: Any, own: Path, factory: str, on: list[int]
) -> None:
    torch.manual_seed(0)
    made = subject(factory)
    planned = [one for one in init_monitor.recommend(made.model, made.batch, style="theory").layers if one.recipe]
    with looked_at(context) as page:
        shown = opened(page, own_page(factory, own), f"on={'.'.join(map(str, on))}")
        numbers = shown.evaluate("initMonitorExplorer.numbers()")
        assert not numbers["measured"]
        assert f"{len(on)} of {len(planned)} recipes are on: estimated" in shown.inner_text(".sentence")
        layers = after(made, [planned[k] for k in on])
        for row, layer in zip(numbers["rows"], layers, strict=True):
            assert row["std"] == pytest.approx(layer.forward.std, rel=0.25, abs=1e-12), layer.name
            assert row["gradient"] == pytest.approx(layer.backward.std, rel=0.3, abs=1e-12), layer.name


def test_switches_are_ticked_and_given_as_code(context: Any, own: Path) -> None:
    made = subject("chain")
    with looked_at(context) as page:
        shown = opened(page, own_page("chain", own))
        boxes = shown.query_selector_all("input[type=checkbox]")
        assert len(boxes) == 9
        assert boxes[0].get_attribute("aria-label") == "he_normal for 0"
        boxes[0].focus()
        shown.keyboard.press("Space")
        assert shown.evaluate("document.activeElement.dataset.switch") == "0"
        shown.wait_for_function("location.hash.includes('on=0')")
        space: dict[str, Any] = {}
        exec(shown.inner_text(".as-code code"), space)  # noqa: S102 - what the page gives to paste
        last = made.model[16].weight.detach().clone()
        space["initialise"](made.model)
        assert float(made.model[0].weight.detach().var()) == pytest.approx(2 / 256, rel=0.05)
        torch.testing.assert_close(made.model[16].weight.detach(), last, rtol=0, atol=0)
        shown.click("text=All recipes on")
        assert shown.inner_text(".as-code code").count("get_submodule") == 2
        assert shown.evaluate("document.querySelectorAll('input:checked').length") == 9
        shown.click("text=Play")
        shown.wait_for_function("document.querySelectorAll('.own tbody tr').length === 17")
        page.shot("explorer-own-light-1440")


@pytest.mark.parametrize("width", [900, 1600])
def test_a_silent_network_wakes_when_it_is_initialised(running: Any, own: Path, width: int) -> None:
    with watched(running, color_scheme="dark") as page:
        page.page.set_viewport_size({"width": width, "height": 1000})
        shown = opened(page, own_page("silent", own))
        states = ".own tbody td:last-child"
        assert "no signal" in {cell.inner_text() for cell in shown.query_selector_all(states)}
        shown.click("text=All recipes on")
        assert {cell.inner_text() for cell in shown.query_selector_all(states)} == {"healthy"}
        assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.shot(f"explorer-own-dark-{width}")


@pytest.mark.untraced
def test_many_layers_share_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    from init_monitor import explored_network

    assert (explored_network.MOST_SWITCHES, explored_network.MOST_ROWS) == (32, 400)
    # A tenth of the rows, which takes a twentieth of the time.
    monkeypatch.setattr(explored_network, "MOST_SWITCHES", 8)
    monkeypatch.setattr(explored_network, "MOST_ROWS", 40)
    net = nn.Sequential(*[part for _ in range(21) for part in (nn.Linear(8, 8), nn.ReLU())])
    found = explored_network.explored_network(net, torch.randn(4, 8))
    assert 1 < len(found["switches"]) <= 8
    assert sum(len(switch["layers"]) for switch in found["switches"]) == 21
    assert len(found["layers"]) == 40
    assert all(len(rows) == 40 for rows in (found["moments"]["base"], *found["moments"]["single"]))


@pytest.mark.parametrize(
    ("factory", "words"),
    [("own_networks", "explore needs MODULE:FACTORY"), ("own_networks:nothing", "has no 'nothing'")],
)
def test_a_factory_that_is_not_there_is_told(
    own: Path, factory: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["explore", factory]) == 2
    assert words in capsys.readouterr().err
