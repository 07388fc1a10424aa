"""A structure as it is printed."""

from __future__ import annotations

import io
import math

from builders import blocks, linear, linears, rectifier
from hypothesis import given, strategies as st
from rich.console import Console
from test_residual_display import rendered

from init_monitor.display.structure_tree import structure_tree
from init_monitor.records import Residual, Structure
from init_monitor.records.outline import Part, outline_lines

SMALL = Structure(
    (
        linear(0, "stem", normalised=True, activation="ReLU"),
        linear(1, "trunk.blocks.0.fc", activation="relu"),
        rectifier(2, "trunk.blocks.0", kind="relu", name="trunk.blocks.0/relu#1"),
        linear(3, "trunk.blocks.1.fc", name="trunk.blocks.1.fc#2"),
        linear(4, "head"),
    ),
    (
        Residual("trunk.blocks.0#1", "trunk.blocks.0", "identity", "stem", "trunk.blocks.0/relu#1", depth=3),
        Residual(
            "trunk.blocks.1#1",
            "trunk.blocks.1",
            "projection",
            "trunk.blocks.0#1",
            "fc#2",
            skip_scale=0.5,
            branch_scale=math.nan,
            sum_scale=math.sqrt(0.5),
            nested=True,
            normalised=True,
            depth=4,
        ),
        Residual("#1", "", "identity", "input", "head", long=True, depth=5),
    ),
)


def test_a_structure_prints_as_an_indented_outline_in_ascii() -> None:
    assert str(SMALL).splitlines() == [
        "network: 5 layers, 3 residual additions",
        "  stem: Linear -> normalised -> ReLU",
        "  trunk.blocks",
        "    0",
        "      fc: Linear -> relu",
        "      relu#1: relu",
        "      + trunk.blocks.0#1: identity: skip <- stem, branch <- trunk.blocks.0/relu#1",
        "    1",
        "      fc#2: Linear",
        "      + trunk.blocks.1#1: projection: skip <- trunk.blocks.0#1 x 0.5, branch <- fc#2 x a tensor, sum x 0.707, nested, then normalised",
        "  head: Linear",
        "  + #1: identity: skip <- input, branch <- head, long",
    ]


def test_rich_prints_a_structure_as_the_tree_it_is() -> None:
    printed = rendered(SMALL, 200)
    assert printed == rendered(structure_tree(SMALL), 200)
    assert printed[1:5] == [
        "├── stem  Linear → normalised → ReLU",
        "├── trunk.blocks",
        "│   ├── 0",
        "│   │   ├── fc  Linear → relu",
    ]
    assert printed[-1] == "└── ⊕ #1  identity: skip ← input, branch ← head, long"


def test_where_there_is_no_unicode_rich_prints_ascii() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Console(file=out, width=200, color_system=None).print(SMALL)
    out.seek(0)
    assert "  + #1  identity: skip <- input, branch <- head, long" in out.read().splitlines()


def test_an_empty_structure_and_one_layer_say_so() -> None:
    assert str(Structure()) == "network: nothing was measured yet"
    assert str(linears(1)) == "network: 1 layer\n  net\n    0: Linear"
    assert str(blocks(1)).startswith("network: 4 layers, 1 residual addition\n")
    assert "1 layer, 1 " not in str(blocks(1))


def test_names_are_shown_as_they_are_and_obeyed_by_no_terminal() -> None:
    odd = Structure((linear(0, "[bold]a[/bold]"), linear(1, ":smile:"), linear(2, "b\x1b[31m\n")))
    for lines in (str(odd).splitlines(), rendered(odd), rendered(structure_tree(odd))):
        assert len(lines) == 4
        for line, name in zip(lines[1:], ("[bold]a[/bold]", ":smile:", "b\\x1b[31m\\n"), strict=True):
            assert name in line
    assert "[bold]a[/bold]" in rendered(odd)[1]


paths = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4).map(".".join)


@given(
    st.lists(st.tuples(paths, st.booleans()), max_size=12), st.lists(st.tuples(paths | st.just(""), st.integers(0, 12)))
)
def test_every_layer_and_residual_has_one_line_and_residuals_come_at_their_depth(
    layers: list[tuple[str, bool]], additions: list[tuple[str, int]]
) -> None:
    structure = Structure(
        tuple(
            linear(i, path, name=f"{path}/relu#{i}" if functional else f"{path}#{i}")
            for i, (path, functional) in enumerate(layers)
        ),
        tuple(Residual(f"{owner}#{i}", owner, "identity", "x", "F", depth=d) for i, (owner, d) in enumerate(additions)),
    )
    lines = list(outline_lines(structure.layers, structure.residuals, plain=True))
    seen = [line.name.rpartition("#")[2] for line in lines if line.part is Part.LAYER]
    assert sorted(seen) == sorted(str(i) for i in range(len(layers)))
    shown = [line.name for line in lines if line.part is Part.RESIDUAL]
    assert sorted(shown) == sorted(f"+ {residual.name}" for residual in structure.residuals)
    # Below one module, execution order is kept.
    of_network = [line for line in lines if line.guide == "  " and line.part is not Part.MODULE]
    places = [
        int(line.name.rpartition("#")[2]) + 0.5
        if line.part is Part.LAYER
        else structure.residuals[int(line.name.rpartition("#")[2])].depth
        for line in of_network
    ]
    assert places == sorted(places)
