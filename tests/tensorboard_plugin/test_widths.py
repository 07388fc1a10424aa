"""A coordinate check in the tab: its lines, its slopes and its verdicts, from the event file that it wrote."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
import tab_runs
import torch
from browser import COLOURS, Watched, hover, looked_at, number, settled, tensorboard
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

import init_monitor
from init_monitor import InitMonitorError
from init_monitor.records.tags import WIDTHS_TAG
from init_monitor.sinks.width_events import write_widths
from init_monitor.store.schema import MalformedError
from init_monitor.tensorboard_plugin.parts import document_of
from init_monitor.tensorboard_plugin.width_checks import width_check

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from init_monitor import CoordinateCheck

WIDTHS = (32, 64, 128)


def make(width: int) -> nn.Module:
    layers = (nn.Linear(16, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4))
    return nn.Sequential(*layers)


def make_for_any_width(width: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Yang et al. 2022, table 3, for Adam."""
    net = make(width)
    nn.init.zeros_(net.get_parameter("4.weight"))
    groups = [
        {"params": [one], "lr": 1e-3 * 32 / width if name in {"2.weight", "4.weight"} else 1e-3}
        for name, one in net.named_parameters()
    ]
    return net, torch.optim.Adam(groups)


def checked(made: Any) -> CoordinateCheck:
    torch.manual_seed(0)
    batch = torch.randn(64, 16), torch.randint(4, (64,))
    return init_monitor.coordinate_check(
        made, WIDTHS, batch=batch, loss_fn=nn.functional.cross_entropy, steps=3, seeds=3
    )


@dataclasses.dataclass
class Board:
    address: str
    checks: dict[str, CoordinateCheck]


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    logs = tmp_path_factory.mktemp("logs")
    checks = {"standard": checked(make), "he": checked(make_for_any_width)}
    tab_runs.fit(logs / "he", tab_runs.deep, 2.0, steps=4)
    # One has a folder of its own, one lies beside a run.
    for name, one in checks.items():
        one.save(logs / name)
    with tensorboard(logs) as address:
        yield Board(address, checks)


def cells(frame: Any) -> dict[str, list[str]]:
    rows = frame.evaluate(
        "[...document.querySelectorAll('.widths tbody tr')].map((row) => [...row.cells].map((cell) => cell.textContent))"
    )
    return {row[0]: row for row in rows}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["standard", "he"])
def test_the_table_says_what_the_check_says(name: str, page: Watched, board: Board) -> None:
    frame = page.open_tab(board.address, view="widths", check=name)
    frame.wait_for_selector(".widths tbody tr")
    check, rows = board.checks[name], cells(frame)
    assert check.verdict in frame.inner_text(".sentence")
    assert "Widths 32, 64, 128; 3 steps of Adam, 3 seeds." in frame.inner_text(".sentence")
    assert list(rows) == [layer.layer for layer in check.layers]
    off = {layer.layer for layer in check.off}
    assert bool(off) is (name == "standard")
    for layer in check.layers:
        row = rows[layer.layer]
        assert row[1] == layer.kind
        for text, size in zip(row[2:5], (layer.start, layer.change, layer.own), strict=True):
            if text not in {"", "0"}:
                slope, error = map(float, text.split(" ± "))
                assert (slope, error) == pytest.approx((size.slope, size.error), abs=0.006)
        assert row[5] == ("depends" if layer.layer in off else "does not")
        assert row[6] == check.verdict_of(layer)
    for canvas in frame.locator("canvas.plot").all():
        assert canvas.evaluate(COLOURS) > 20


@pytest.mark.slow
def test_the_box_at_the_pointer_says_the_size_at_a_width(page: Watched, board: Board) -> None:
    frame = page.open_tab(board.address, view="widths", check="standard")
    frame.wait_for_selector(".widths tbody tr")
    check = board.checks["standard"]
    plot = "section[aria-label='What a step changes of it'] .surface"
    found = set()
    for y in range(2, 19):
        frame.locator(plot).scroll_into_view_if_needed()
        box = frame.locator(plot).bounding_box()
        # The left and the right end of the lines: 54 and 18 pixels of margin, 14 within.
        for x in (68, box["width"] - 32):
            page.page.mouse.move(box["x"] + x, box["y"] + 15 * y)
            if frame.locator(".tooltip:not([hidden])").count():
                said = hover(page, frame, plot, x / box["width"], 15 * y / box["height"])
                width = int(said["width"])
                assert width == WIDTHS[0 if x == 68 else -1]
                expected = check[said["title"]].change.values[WIDTHS.index(width)]
                assert number(said["size"]) == pytest.approx(expected, rel=5e-3)
                found.add((said["title"], width))
                assert frame.locator(f"tr.pointed[data-layer='{said['title']}']").count() == 1
    assert len(found) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [900, 1440])
def test_the_view_is_reached_by_key_and_fits(width: int, dark: bool, context: Any, board: Board) -> None:  # noqa: FBT001
    with looked_at(context) as page:
        page.page.set_viewport_size({"width": width, "height": 900})
        frame = page.open_tab(board.address, dark=dark)
        assert "Coordinate check" in frame.inner_text(".tabs")
        # The run beside which a check lies is a run as before; the check alone is none.
        assert frame.locator(".run-name").all_inner_texts()[0].endswith("he")
        assert frame.locator(".run-name").count() == 1
        frame.locator(".main").press("9")
        frame.wait_for_selector(".widths tbody tr")
        frame.select_option("select[aria-label='Coordinate check']", "standard")
        page.page.wait_for_function("location.hash.includes('check=standard')")
        settled(frame)
        assert frame.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.shot(f"widths-{'dark' if dark else 'light'}-{width}")


@pytest.mark.slow
def test_a_directory_with_nothing_but_a_check_shows_it(tmp_path: Path, page: Watched, board: Board) -> None:
    board.checks["standard"].save(tmp_path / "logs" / "check")
    with tensorboard(tmp_path / "logs") as address:
        frame = page.open_tab(address)
        frame.wait_for_selector(".widths tbody tr")
        assert frame.inner_text(".tab[aria-selected=true]") == "Coordinate check"


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    check = checked(make)
    check.save(tmp_path / "check")
    accumulator = EventAccumulator(str(tmp_path / "check")).Reload()
    (event,) = accumulator.Tensors(WIDTHS_TAG)
    read = width_check(document_of(tensor_of(event)))
    assert read["verdict"] == check.verdict
    assert read["widths"] == list(WIDTHS)
    for row, layer in zip(read["layers"], check.layers, strict=True):
        assert row["layer"] == layer.layer
        assert row["off"] is (layer in check.off)
        assert row["change"]["values"] == pytest.approx(list(layer.change.values), rel=1e-6)
        assert row["change"]["slope"] == pytest.approx(layer.change.slope, rel=1e-6)
        assert row["change"]["off"] == layer.change.is_off(check.tolerance)


def tensor_of(event: Any) -> Any:
    from tensorboard.util import tensor_util

    return tensor_util.make_ndarray(event.tensor_proto)


SIZE = {"slope": 0.5, "error": "NaN", "values": [1, 2]}
CONTENT = {
    "verdict": "v",
    "optimizer": "SGD",
    "tolerance": 0.1,
    "widths": [1, 2],
    "steps": 1,
    "seeds": 1,
    "layers": [
        {"layer": "a", "kind": "", "verdict": "", "off": True, "start": SIZE, "change": SIZE, "own": SIZE},
    ],
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"widths": 3}, "widths is 3, expected a list"),
        ({"widths": [1, 2, 4]}, "a layer has 2 values, expected one for each of 3 widths"),
        ({"layers": [5]}, "a layer is 5, expected an object"),
        ({"verdict": None}, "verdict is null, expected a string"),
        ({"steps": "many"}, "steps is 'many', expected a whole number"),
    ],
)
def test_what_is_no_check_is_refused_in_a_sentence(change: dict[str, Any], words: str) -> None:
    assert width_check(CONTENT)["layers"][0]["start"] == {"slope": 0.5, "error": None, "values": [1, 2], "off": True}
    with pytest.raises(MalformedError, match=words):
        width_check(CONTENT | change)


def test_without_tensorboard_a_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.event_file_writer", None)
    with pytest.raises(InitMonitorError, match="which is not installed: pip install tensorboard"):
        write_widths(tmp_path / "check", CONTENT)
