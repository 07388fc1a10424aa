"""What a user's own mode sees, and what outputs no hook can read: neither an error nor another training comes of it."""

from __future__ import annotations

import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import init_monitor

if TYPE_CHECKING:
    from collections.abc import Callable


class Counting(TorchFunctionMode):
    """Counts every call of a torch function."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_function__(
        self, func: Callable[..., object], types: object, args: tuple[object, ...] = (), kwargs: Any = None
    ) -> object:
        self.calls[getattr(func, "__name__", str(func))] += 1
        return func(*args, **(kwargs or {}))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = x + self.linear(x).relu()
        return output


def test_a_function_mode_of_the_user_sees_the_same_calls_with_and_without_the_monitor() -> None:
    def trained(*, watched: bool) -> Counter[str]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), Residual(), nn.Linear(8, 1))
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)

        def step() -> None:
            loss = model(torch.ones(4, 8)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        mode = Counting()
        with mode:
            if not watched:
                for _ in range(3):
                    step()
            else:
                with init_monitor.watch(model, optimizer, sinks=(), strict=True) as monitor:
                    for _ in range(3):
                        with monitor.step():
                            step()
                assert len(monitor.records) == 3
                assert len(monitor.structure.residuals) == 1
        return mode.calls

    assert trained(watched=True) == trained(watched=False)


class Listing(nn.ReLU):
    """An activation that returns its output in a list, which may contain itself or go 3,000 levels down."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form

    def forward(self, x: Tensor) -> Any:
        made: list[Any] = [super().forward(x)]
        if self.form == "in itself":
            made.append(made)
        for _ in range(3000 if self.form == "deep" else 0):
            made = [made]
        return made


class Unpacking(nn.Module):
    def __init__(self, form: str) -> None:
        super().__init__()
        self.stem, self.listing, self.head = nn.Linear(4, 4), Listing(form), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        found = self.listing(self.stem(x))
        while isinstance(found, list):
            found = found[0]
        output: Tensor = self.head(found)
        return output


def seen(model: nn.Module, *, strict: bool = True) -> Any:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", init_monitor.InitMonitorWarning)
        warnings.filterwarnings("ignore", message="The PyTorch API of nested tensors")
        with init_monitor.watch(model, optimizer, sinks=(), strict=strict) as monitor:
            for _ in range(2):
                with monitor.step():
                    model(torch.ones(2, 4)).square().mean().backward()
                    optimizer.step()
    assert len(monitor.records) == 2
    return monitor


def test_a_list_that_contains_itself_is_looked_into_once() -> None:
    monitor = seen(Unpacking("in itself"))
    assert monitor.records[-1].names == ("stem", "listing[0]", "head")
    assert monitor.notices == []


def test_a_list_three_thousand_levels_deep_is_told_of_and_nothing_is_switched_off() -> None:
    monitor = seen(Unpacking("deep"))
    assert monitor.records[-1].names == ("stem", "head")
    assert monitor.notices == [
        "The output of 'listing' is nested more than 4 levels deep. What lies deeper is not measured."
    ]


class Nested(nn.Module):
    """Works on strided nested tensors, with an addition of two of them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.act, self.head = nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        nested = self.act(self.stem(torch.nested.nested_tensor([x, x[:1]])))
        output: Tensor = self.head((nested + self.stem(nested)).to_padded_tensor(0.0))
        return output


def test_strided_nested_tensors_are_left_out_with_a_notice() -> None:
    monitor = seen(Nested())
    assert monitor.records[-1].names == ("head",)
    assert monitor.notices == [
        "The output of 'stem' is a nested tensor. Tensors of that kind are not measured; all others are."
    ]


def test_an_exported_program_is_said_to_have_no_layers_to_see() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
    exported = torch.export.export(model, (torch.ones(2, 4),)).module()
    monitor = seen(exported)
    (notice,) = monitor.notices
    assert "no layer of this" in notice
    assert "torch.export" in notice


@pytest.mark.parametrize("form", ["in itself", "deep"])
def test_such_a_list_as_an_input_is_no_harm_either(form: str) -> None:
    class Taking(nn.Linear):
        def forward(self, x: Any) -> Tensor:
            while isinstance(x, list):
                x = x[0]
            return super().forward(x)

    class Giving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.taking = nn.Linear(4, 4), Taking(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            given: list[Any] = [self.stem(x)]
            if form == "in itself":
                given.append(given)
            for _ in range(3000 if form == "deep" else 0):
                given = [given]
            output: Tensor = self.taking(given)
            return output

    monitor = seen(Giving())
    assert monitor.records[-1].names == ("stem", "taking")
    assert monitor.notices == []
