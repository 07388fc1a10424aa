"""What the documentation says watching costs is what was measured."""

from __future__ import annotations

import math
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"


def rows(page: str) -> dict[str, list[str]]:
    """The cells of each row of a page's table, by the first one."""
    lines = (RESULTS / page).read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines if line.startswith("| ")]
    return {first: rest for first, *rest in cells}


def text(path: str) -> str:
    return " ".join((ROOT / path).read_text(encoding="utf-8").split())


def test_the_readme_states_the_measured_ratios() -> None:
    found = rows("overhead-cpu.md")
    exact = {name: found[name][0] for name in ("mlp", "resnet", "transformer")}
    assert (
        f"a measured step takes {exact['mlp']} times as long as an unwatched one for an MLP of 60 layers,"
        f" {exact['resnet']} for a ResNet, {exact['transformer']} for a transformer."
    ) in text("README.md")
    assert f"took {found['mlp'][2]} times as long" in text("README.md")


def test_the_page_about_cost_states_the_measured_ratios_and_the_time_per_layer() -> None:
    found, host, page = rows("overhead-cpu.md"), rows("host-cpu.md"), text("docs/how-to/cost.md")
    for network, title in (("mlp", "MLP"), ("resnet", "ResNet"), ("transformer", "transformer")):
        exact, staged, _ = found[network]
        assert re.search(rf"\| {title},[^|]* \| {exact} \| {staged} \|", page)
    assert f"took {found['mlp'][2]} times as long" in page
    few, *some, most = map(float, host["all"])
    between = " to ".join(dict.fromkeys(f"{one:.2f}" for one in (min(some), max(some))))
    assert (
        f"{few:.2f} ms per layer and measured step in a network of 40 layers, {between} ms with 160"
        f" to 2,000, and {most:.2f} ms with 5,000 layers"
    ) in page


def test_the_option_text_gives_the_range_of_the_measured_ratios() -> None:
    exact = [float(found[0]) for name, found in rows("overhead-cpu.md").items() if name != "network"]
    low, high = math.floor(10 * min(exact)) / 10, math.ceil(10 * max(exact)) / 10
    assert f"A sampled step takes {low} to {high} times as long on a CPU" in text("init_monitor/options.py")
