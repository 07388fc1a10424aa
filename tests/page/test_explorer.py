"""The explorer: a file that computes networks in the page; its numbers against those that init_monitor measures of the same networks."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from browser import COLOURS, Watched, looked_at, watched
from torch import nn

import init_monitor
from init_monitor import cli
from init_monitor.page import bundle
from init_monitor.page.explorer_page import explorer_page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODULES = ("network", "recipes", "random", "residual", "theory", "race", "choices", "code")
ACTS: dict[str, Any] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.1),
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "identity": nn.Identity,
}
CHOICES: dict[str, Any] = {
    "depth": 6,
    "width": 32,
    "shape": "even",
    "samples": 64,
    "act": "relu",
    "init": "he",
    "dist": "normal",
    "mode": "fan_in",
    "sigma": 1.0,
    "res": "none",
    "seed": 3,
}
FORMS = ("sum", "half", "zero", "rescale", "fixed", "norm")
COMPUTE = """(choices) => {
  const set = { ...choices, fans: network.fansOf(choices.width, choices.shape) };
  const measured = { input: null, taps: [], gradients: [] };
  for (const _ of network.computed(set, measured));
  const random_ = random.randomOf(set.seed);
  const normals = (count) => Array.from({ length: count }, () => random_.normal());
  const drained = (work) => { let piece = work.next(); while (!piece.done) piece = work.next(); return Array.from(piece.value); };
  const [inner, hidden] = set.fans(1);
  const x = normals(set.samples * inner);
  const form = residual.FORMS[set.res];
  const weights = [];
  for (let k = 1; k <= set.depth; k += 1) {
    const factor = form ? form.branch(k, set.depth) : 1;
    const wanted = form
      ? [[hidden, inner, factor], [inner, hidden, form.zeroEnds ? 0 : factor]]
      : [[...set.fans(k)].reverse().concat(1)];
    weights.push(wanted.map(([out, into, by]) => ({ shape: [out, into], values: drained(recipes.drawn(set, out, into, random_, by)) })));
  }
  const factors = form ? Array.from({ length: set.depth }, (_, k) => form.factors(k + 1, set.depth)) : [];
  const last = form ? inner : set.fans(set.depth)[1];
  return { measured, x, weights, factors, noise: normals(set.samples * last), theory: theory.expected(set) };
}"""
"""Computes a network as the page does, and draws its inputs, weights and gradients once more, in the same order."""


@pytest.fixture(scope="module")
def modules(running: Any) -> Iterator[Any]:
    """A page with the modules by their names."""
    page = running.new_page()
    for name in MODULES:
        page.add_script_tag(content=bundle.script(f"{name}.js").replace("const initMonitorPage", f"const {name}"))
    yield page
    page.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("explorer") / "explorer.html"
    path.write_text(explorer_page(), encoding="utf-8")
    return path.as_uri()


def opened(page: Watched, file: str, link: str = "") -> Any:
    page.page.goto("about:blank")
    page.page.goto(f"{file}#{link}")
    page.page.wait_for_selector(".explorer[data-state=ready]")
    return page.page


# --- the file -------------------------------------------------------------------------------------------------------


def test_every_module_of_the_explorer_is_in_its_file_and_none_has_the_name_of_another() -> None:
    own = {path.name for path in bundle.EXPLORER.glob("*.js")}
    assert own & {path.name for path in bundle.STATIC.glob("*.js")} == set()
    text = explorer_page()
    inside = set(re.findall(r'^modules\["([\w-]+\.js)"\] =', text, flags=re.MULTILINE))
    assert own <= inside
    assert text.count("</script>") == 2
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    lengths = {path.name: len(path.read_text().splitlines()) for path in bundle.EXPLORER.glob("*.js")}
    assert {name: count for name, count in lengths.items() if count > 340} == {}


def test_the_digits_are_those_of_scikit_learn(modules: Any) -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    known = datasets.load_digits()
    rows = {(int(label), *map(int, picture)) for label, picture in zip(known.target, known.data, strict=True)}
    lines = (bundle.EXPLORER / "digits.txt").read_text("ascii").split()
    ours = [(int(line[0]), *(ord(one) - 97 for one in line[1:])) for line in lines]
    assert len(ours) == 1200
    assert set(ours) <= rows
    read = modules.evaluate(
        "(text) => { const d = race.digitsOf(text); return [Array.from(d.pixels.slice(0, 64)), d.labels[0]]; }",
        lines[0],
    )
    np.testing.assert_allclose(read[0], (np.array(ours[0][1:]) - 4.88) / 6.02, rtol=1e-6)
    assert read[1] == ours[0][0]


def test_the_command_writes_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["explore"]) == 0
    assert "open it in a browser" in capsys.readouterr().out
    assert (tmp_path / "init_monitor_explorer.html").read_text("utf-8") == explorer_page()
    assert cli.main(["explore", "--html", str(tmp_path / "missing" / "x.html")]) == 2
    assert "cannot write" in capsys.readouterr().err


# --- its numbers ----------------------------------------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self, made: dict[str, Any], weights: list[Any], act: nn.Module, *, normed: bool) -> None:
        super().__init__()
        self.alpha, self.beta = made["alpha"], made["beta"]
        self.norm = nn.LayerNorm(weights[1]["shape"][0], elementwise_affine=False) if normed else nn.Identity()
        self.first, self.second = (linear(one) for one in weights)
        self.act = act

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        branch = self.second(self.act(self.first(self.act(self.norm(x)))))
        summed: torch.Tensor = self.alpha * x + self.beta * branch
        return summed


def linear(weight: dict[str, Any]) -> nn.Linear:
    out, into = weight["shape"]
    layer = nn.Linear(into, out, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight["values"]).reshape(out, into))
    return layer


def both(modules: Any, **other: Any) -> tuple[dict[str, Any], list[Any]]:
    """What the page computed, and the layers as init_monitor measures them in PyTorch."""
    choices = CHOICES | other
    made = modules.evaluate(COMPUTE, choices)
    act = ACTS[choices["act"]]()
    x = torch.tensor(made["x"]).reshape(choices["samples"], -1)
    noise = torch.tensor(made["noise"]).reshape(choices["samples"], -1)
    if choices["res"] == "none":
        parts: list[nn.Module] = []
        for (weight,) in made["weights"]:
            parts += [linear(weight), ACTS[choices["act"]]()]
        net, names = nn.Sequential(*parts[:-1]), [str(2 * k) for k in range(choices["depth"])]
    else:
        blocks = zip(made["factors"], made["weights"], strict=True)
        net = nn.Sequential(*(Block(one, weights, act, normed=choices["res"] == "norm") for one, weights in blocks))
        names = [str(k) for k in range(choices["depth"])]
    report = init_monitor.check(net, x, loss_fn=lambda out: (out * noise).sum(), rules=(), include=names)
    return made, [report.records[0].layers[name] for name in names]


@pytest.mark.parametrize(
    "other",
    [
        *(
            {"init": init, "dist": dist}
            for init in ("he", "xavier", "lecun", "torch")
            for dist in ("normal", "uniform")
        ),
        {"init": "orthogonal"},
        {"init": "normal", "sigma": 0.3},
        *({"act": act} for act in ACTS),
        {"shape": "alternate", "mode": "fan_out"},
        {"shape": "alternate", "init": "orthogonal", "act": "tanh"},
        *({"res": res} for res in FORMS),
        {"res": "sum", "act": "gelu", "shape": "alternate"},
        {"res": "norm", "act": "tanh", "init": "lecun"},
    ],
    ids=lambda other: ",".join(map(str, other.values())),
)
def test_the_page_computes_what_init_monitor_measures_of_the_same_weights(modules: Any, other: dict[str, Any]) -> None:
    made, layers = both(modules, **other)
    for tap, gradient, layer in zip(made["measured"]["taps"], made["measured"]["gradients"], layers, strict=True):
        assert tap["pre"]["variance"] == pytest.approx(layer.forward.variance, rel=1e-4)
        assert tap["pre"]["mean"] == pytest.approx(layer.forward.mean, rel=1e-3, abs=1e-5)
        assert tap["pre"]["largest"] == pytest.approx(layer.forward.abs_max, rel=1e-4)
        assert gradient["variance"] == pytest.approx(layer.backward.variance, rel=1e-4)


def test_dead_and_linear_units_are_those_of_init_monitor(modules: Any) -> None:
    made = modules.evaluate(COMPUTE, CHOICES | {"depth": 12})
    net = nn.Sequential(*(part for (weight,) in made["weights"] for part in (linear(weight), nn.ReLU())))
    x = torch.tensor(made["x"]).reshape(64, -1)
    record = init_monitor.check(net, x, rules=()).records[0]
    shares = [(layer.units.dead_fraction, layer.units.linear_fraction) for layer in list(record)[1::2] if layer.units]
    computed = [(tap["dead"], tap["linear"]) for tap in made["measured"]["taps"]]
    np.testing.assert_allclose(computed, shares, atol=1e-6)
    assert computed[-1][1] > 0


@pytest.mark.parametrize(
    ("other", "forward", "backward"),
    [
        ({}, lambda k: 2.0, lambda k: 1.0),
        ({"init": "xavier"}, lambda k: 0.5 ** (k - 1), lambda k: 0.5 ** (6 - k)),
        ({"init": "normal", "sigma": 1.0, "act": "identity"}, lambda k: 32.0**k, lambda k: 32.0 ** (6 - k)),
        # fan_in keeps the forward pass; backward a layer multiplies by fan_out/fan_in.
        ({"shape": "alternate"}, lambda k: 2.0, lambda k: 0.5 if k % 2 else 1.0),
        ({"res": "sum"}, lambda k: 2.0**k, lambda k: 2.0 ** (6 - k)),
        ({"res": "half"}, lambda k: 1.0, lambda k: 1.0),
        ({"res": "zero"}, lambda k: 1.0, lambda k: 1.0),
        ({"res": "rescale"}, lambda k: 1.0, lambda k: 1.0),
        ({"res": "fixed"}, lambda k: 1.0, None),
        ({"res": "norm"}, lambda k: 1.0 + k, None),
    ],
)
def test_theory_is_the_published_formula(modules: Any, other: dict[str, Any], forward: Any, backward: Any) -> None:
    theory = modules.evaluate(COMPUTE, CHOICES | other)["theory"]
    np.testing.assert_allclose(theory["forward"], [forward(k) for k in range(1, 7)], rtol=1e-9)
    if backward:
        np.testing.assert_allclose(theory["backward"], [backward(k) for k in range(1, 7)], rtol=1e-9)


@pytest.mark.parametrize("act", ["tanh", "sigmoid", "gelu"])
def test_theory_is_met_by_wide_networks(modules: Any, act: str) -> None:
    # Without the drawn weights, which are megabytes.
    compute = (
        f"(choices) => {{ const all = ({COMPUTE})(choices); return {{ measured: all.measured, theory: all.theory }}; }}"
    )
    made = modules.evaluate(compute, CHOICES | {"act": act, "init": "lecun", "width": 256, "depth": 4})
    computed = [tap["pre"]["variance"] for tap in made["measured"]["taps"]]
    # A sigmoid's outputs are all positive, so that each unit has a mean of its own, over which the variance does not go.
    if act != "sigmoid":
        np.testing.assert_allclose(computed, made["theory"]["forward"], rtol=0.2)
    last = made["measured"]["gradients"][-1]["variance"]
    np.testing.assert_allclose(
        [one["variance"] / last for one in made["measured"]["gradients"]], made["theory"]["backward"], rtol=0.3
    )


@pytest.mark.parametrize("init", ["normal", "xavier", "he", "lecun", "orthogonal", "torch", "zeros"])
@pytest.mark.parametrize("dist", ["normal", "uniform"])
@pytest.mark.parametrize("act", ["relu", "leaky_relu", "tanh"])
def test_the_code_draws_weights_of_the_variance_that_is_said(modules: Any, init: str, dist: str, act: str) -> None:
    for mode in ("fan_in", "fan_out"):
        choices = CHOICES | {"init": init, "dist": dist, "mode": mode, "act": act, "sigma": 0.05}
        code, variance, bound = modules.evaluate(
            "(set) => [code.codeOf(set), recipes.RECIPES[set.init].variance(set, 384, 256), recipes.boundOf(set, 384, 256)]",
            choices,
        )
        torch.manual_seed(0)
        model = nn.Linear(384, 256)
        exec(code, {"model": model})  # noqa: S102 - what the page gives to paste
        assert float(model.weight.detach().var()) == pytest.approx(variance, rel=0.02), code
        assert not model.bias.any()
        if bound is not None and math.isfinite(bound):
            assert float(model.weight.detach().abs().max()) == pytest.approx(bound, rel=1e-3)
            assert float(model.weight.detach().abs().max()) <= bound * (1 + 1e-6)


def test_the_race_is_that_of_pytorch(modules: Any) -> None:
    text = (bundle.EXPLORER / "digits.txt").read_text("ascii").replace("\n", "")
    script = """([text, hidden, steps]) => {
      const digits = race.digitsOf(text);
      const runner = { title: "", recipe: { init: "he", dist: "normal", mode: "fan_in", sigma: 1, act: "relu" }, losses: [], accuracy: NaN };
      for (const _ of race.race([runner], digits, { hidden, rate: 0.1, steps, seed: 5 }));
      const random_ = random.randomOf(5);
      const drained = (work) => { let piece = work.next(); while (!piece.done) piece = work.next(); return Array.from(piece.value); };
      const sizes = [64, ...new Array(hidden).fill(64), 10];
      const weights = sizes.slice(1).map((size, l) => ({ shape: [size, sizes[l]], values: drained(recipes.drawn(runner.recipe, size, sizes[l], random_)) }));
      const order = random.randomOf(5);
      const batches = Array.from({ length: steps }, () => Array.from({ length: 64 }, () => Math.floor(order.uniform() * 1000)));
      return { losses: runner.losses, weights, batches, accuracy: runner.accuracy };
    }"""
    made = modules.evaluate(script, [text, 3, 20])
    lines = (bundle.EXPLORER / "digits.txt").read_text("ascii").split()
    pixels = torch.tensor([[(ord(one) - 97 - 4.88) / 6.02 for one in line[1:]] for line in lines])
    labels = torch.tensor([int(line[0]) for line in lines])
    layers = [linear(weight) for weight in made["weights"]]
    for layer in layers:
        layer.bias = nn.Parameter(torch.zeros(layer.out_features))
    net = nn.Sequential(*[part for layer in layers for part in (layer, nn.ReLU())][:-1])
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    losses = []
    for batch in made["batches"]:
        loss = nn.functional.cross_entropy(net(pixels[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    np.testing.assert_allclose(made["losses"], losses, rtol=1e-3)
    accuracy = float((net(pixels[1000:]).argmax(1) == labels[1000:]).float().mean())
    assert made["accuracy"] == pytest.approx(accuracy, abs=0.006)


# --- the page -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [900, 1600])
def test_every_view_is_drawn(running: Any, file: str, scheme: str, width: int) -> None:
    with watched(running, color_scheme=scheme) as page:
        page.page.set_viewport_size({"width": width, "height": 1000})
        for view in ("variance", "weights", "signal", "race"):
            shown = opened(page, file, f"view={view}&depth=12&width=64")
            assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert (shown.query_selector(".explorer.dark") is not None) == (scheme == "dark")
            shown.wait_for_timeout(1500 if view == "signal" else 100)
            for canvas in shown.query_selector_all("canvas.plot"):
                assert canvas.evaluate(COLOURS) > 20
            page.shot(f"explorer-{view}-{scheme}-{width}")


def test_a_link_opens_what_was_set_and_nonsense_is_left_out(context: Any, file: str) -> None:
    with looked_at(context) as page:
        shown = opened(page, file, "init=he&res=half&depth=20&width=64&act=tanh&sigma=banana&nothing=1&view=variance")
        choices = shown.evaluate("initMonitorExplorer.page.choices")
        assert (choices["init"], choices["res"], choices["depth"], choices["sigma"]) == ("he", "half", 20, 1)
        assert shown.input_value("select[name=res]") == "half"
        shown.select_option("select[name=act]", "relu")
        shown.wait_for_function("location.hash.includes('init=he') && !location.hash.includes('act=')")
        shown.evaluate("location.hash = '#view=weights'")
        shown.wait_for_selector("[data-view=weights]")


def test_it_is_used_without_a_mouse(context: Any, file: str) -> None:
    with looked_at(context) as page:
        shown = opened(page, file, "depth=10&width=32")
        keys = shown.keyboard
        keys.press("ArrowRight")
        keys.press("Shift+ArrowRight")
        assert shown.evaluate("initMonitorExplorer.page.choices.depth") == 21
        keys.press("n")
        assert shown.evaluate("initMonitorExplorer.page.choices.seed") == 1
        for number, view in enumerate(("variance", "weights", "signal", "race"), start=1):
            keys.press(str(number))
            shown.wait_for_selector(f"[data-view={view}]")
        keys.press("?")
        assert "the next seed" in shown.inner_text(".keys-box")
        keys.press("Escape")
        assert shown.query_selector(".keys-box") is None
        keys.press("2")
        shown.focus("input[name=fanIn]")
        before = shown.evaluate("initMonitorExplorer.page.choices.fanIn")
        keys.press("ArrowRight")
        assert shown.evaluate("initMonitorExplorer.page.choices.fanIn") > before
        assert all(control.get_attribute("aria-label") for control in shown.query_selector_all("input, select"))


def test_the_table_fills_layer_by_layer_and_says_what_is_wrong(context: Any, file: str) -> None:
    with looked_at(context) as page:
        shown = opened(page, file, "view=signal&init=normal&sigma=1&depth=60&width=64")
        early = len(shown.query_selector_all("table.signal tbody tr"))
        shown.wait_for_function("document.querySelectorAll('table.signal tbody tr').length === 61")
        assert early < 61
        states = [cell.inner_text() for cell in shown.query_selector_all("table.signal tbody td:last-child")]
        assert states[0] == "healthy"
        assert "exploding" in states
        assert states[-1] == "not finite"
        rows = shown.evaluate("initMonitorExplorer.numbers()")
        assert rows[1]["std"] == pytest.approx(
            float(shown.inner_text("table.signal tbody tr:nth-child(2) td:nth-child(3)")), rel=0.01
        )
        shown.select_option("select[name=init]", "zeros")
        shown.wait_for_function("document.querySelectorAll('table.signal tbody tr').length > 2")
        assert "no signal" in shown.inner_text("table.signal tbody tr:nth-child(2)")


def test_fans_move_the_variances(context: Any, file: str) -> None:
    with looked_at(context) as page:
        shown = opened(page, file, "view=weights&init=he&dist=uniform&fanIn=1024&fanOut=512")
        rows = {row["title"]: row for row in shown.evaluate("initMonitorExplorer.numbers()")}
        xavier = rows["Xavier (Glorot), uniform"]
        assert xavier["bound"] == pytest.approx(0.0625)
        assert xavier["variance"] == pytest.approx(2 / 1536)
        assert rows["He (Kaiming), uniform, fan_in"]["bound"] == pytest.approx(math.sqrt(6 / 1024))
        for row in rows.values():
            assert row["drawn"] == pytest.approx(row["variance"], rel=0.03)


def test_in_the_race_only_xavier_and_he_learn(context: Any, file: str) -> None:
    with looked_at(context) as page:
        shown = opened(page, file, "view=race&hidden=4")
        runs = {run["title"]: run for run in shown.evaluate("initMonitorExplorer.numbers()")}
        assert set(runs) == {"zeros", "N(0, 1)", "Xavier", "He"}
        assert runs["zeros"]["losses"][0] == pytest.approx(math.log(10), rel=1e-6)
        assert min(runs["zeros"]["losses"][-20:]) > 2.2
        assert runs["N(0, 1)"]["losses"][0] > 100
        for learner in ("Xavier", "He"):
            assert runs[learner]["losses"][-1] < 0.5
            assert runs[learner]["accuracy"] > 0.85


def test_the_page_answers_while_it_computes(context: Any, file: str) -> None:
    with looked_at(context) as page:
        shown = opened(page, file, "init=he&width=256&depth=40&samples=256")
        pieces = sorted(shown.evaluate("initMonitorExplorer.pieces()"))
        assert len(pieces) > 20
        # Machines are shared: a piece that was put aside by the system is not the page's.
        assert pieces[int(0.9 * len(pieces))] <= 50


def test_without_a_network_of_ones_own_there_is_no_such_view(context: Any, file: str) -> None:
    with looked_at(context) as page:
        shown = opened(page, file, "view=own&depth=5&width=16")
        assert shown.get_attribute(".explorer", "data-view") == "variance"
        shown.keyboard.press("5")
        assert shown.get_attribute(".explorer", "data-view") == "variance"
        assert "Your network" not in shown.inner_text(".tabs")
