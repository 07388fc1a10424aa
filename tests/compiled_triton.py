"""The kernel in Triton, compiled for a GPU that is not here: tests/measures/test_triton.py runs this with pytest.

What the interpreter lets pass may be no program for the compiler, which needs no device. Triton either interprets or compiles
in one process, so this is another than that of interpreted_triton.py.
"""

from __future__ import annotations

from typing import Any

import pytest
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from init_monitor.measures.triton import one_read

SIZES = "tensor_stride sample_stride a_stride b_stride samples chunks units positions span b_size c_size programs"


def compiled(kernel: Any, types: dict[str, str], constants: dict[str, Any]) -> str:
    """Return the text that the driver's own compiler takes, whichever that will be."""
    signature = {name: "constexpr" if name in constants else types[name] for name in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    text: str = triton.compile(
        source, target=GPUTarget("cuda", 80, 32), options={"enable_fp_fusion": True}
    ).asm["ptx"]  # fmt: skip
    return text


@pytest.mark.parametrize(("units", "dims", "tile"), [(False, 3, (1, 1024)), (True, 1, (128, 8)), (True, 2, (16, 64))])
@pytest.mark.parametrize("format_", ["*bf16", "*fp64"])
def test_what_reads_compiles(format_: str, dims: int, tile: tuple[int, int], *, units: bool) -> None:
    wide = format_ == "*fp64"
    working = "*fp64" if wide else "*fp32"
    types = {"x": format_, "partials": "*fp64", "unit_sums": "*fp64", "unit_highs": working, "unit_lows": working}
    types |= dict.fromkeys(SIZES.split(), "i64") | {"c_stride": "i32", "centre": "fp32", "reach": "fp32"}
    constants = {
        "WIDE": wide, "UNITS": units, "KNEE": wide, "CENTRE": 0.5, "REACH": 0.25, "DIMS": dims, "BU": tile[0],
        "BP": tile[1], "FOLDED": one_read.FOLD, "HUGE": one_read.BEYOND, "TINY": one_read.BELOW, "unit_stride": 1,
    }  # fmt: skip
    assert ".entry read" in compiled(one_read.read, types, constants)


@pytest.mark.parametrize(("units", "squares"), [(True, True), (True, False), (False, False)])
def test_what_combines_compiles(*, units: bool, squares: bool) -> None:
    types = dict.fromkeys(("partials", "unit_sums", "rows", "squares", "sums"), "*fp64")
    types |= dict.fromkeys(("unit_highs", "unit_lows", "highs", "lows"), "*fp32")
    types |= dict.fromkeys(("per_tensor", "programs", "unit_rows", "units", "zeros_wanted"), "i32") | {
        "divisor": "fp32"
    }
    constants = {"UNITS": units, "SQUARES": squares, "BN": 1024, "BR": 8, "BU": 128}
    assert ".entry combine" in compiled(one_read.combine, types, constants)
