"""The kernel in Triton, read by Triton's interpreter on the CPU: tests/measures/test_triton.py runs this with pytest.

The interpreter has to be chosen before Triton is imported, so it is another process.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import Phase, given, settings, strategies as st
from test_native import FORMATS, KNEE, LAYOUTS, assert_rows_agree, assert_units_agree, elements
from torch.utils._python_dispatch import TorchDispatchMode

from init_monitor.measures import COUNT, HIGH, M2, MEAN, SATURATED, ZEROS, Layout, Reduction, cuda
from init_monitor.measures.triton import one_read

if TYPE_CHECKING:
    from random import Random

FOUND = (Phase.explicit, Phase.reuse, Phase.generate)
"""Without making a failing example smaller: the interpreter is slow."""

KINDS = ["ordinary", "rectified", "far", "huge", "tiny", "odd", "nothing"]


# numpy, which does what the device would, says aloud what a device does in silence.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

MOMENTS = Reduction(knee=KNEE)


def merged(block: torch.Tensor, plan: Reduction = MOMENTS) -> torch.Tensor:
    return cuda.one_read(block, plan).rows


@settings(max_examples=20, phases=FOUND)
@given(
    sizes=st.lists(st.integers(1, 5), min_size=2, max_size=5),
    tensors=st.integers(1, 2),
    dtype=st.sampled_from(FORMATS),
    kind=st.sampled_from(KINDS),
    gaps=st.booleans(),
    random=st.randoms(use_true_random=False),
)
def test_any_tensor_agrees_with_the_oracle(
    sizes: list[int], tensors: int, dtype: torch.dtype, kind: str, random: Random, *, gaps: bool
) -> None:
    layout = Layout(*LAYOUTS[len(sizes)])
    block = elements((tensors, *sizes), dtype, random.randrange(2**31), kind)
    # The same numbers in another order in memory, and with others between them.
    dims = list(range(1, block.dim()))
    random.shuffle(dims)
    there = [0, *dims]
    laid = block.permute(there).contiguous()
    if gaps:
        wider = torch.full([2 * size for size in laid.shape], 7.0, dtype=dtype)
        every_second = tuple(slice(None, None, 2) for _ in laid.shape)
        wider[every_second] = laid
        laid = wider[every_second]
    laid = laid.permute([there.index(d) for d in range(block.dim())])
    found = cuda.one_read(laid, Reduction(layout, rectifier=True, knee=KNEE))
    for which in range(tensors):
        assert_rows_agree(found.rows[which], block[which])
        assert_units_agree(found, which, block[which], layout)


@settings(max_examples=20, phases=FOUND)
@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=5),
    dtype=st.sampled_from(FORMATS),
    kind=st.sampled_from(KINDS),
    random=st.randoms(use_true_random=False),
)
def test_a_tensor_without_units_agrees_however_it_lies_in_memory(
    sizes: list[int], dtype: torch.dtype, kind: str, random: Random
) -> None:
    x = elements((2, *sizes), dtype, random.randrange(2**31), kind)
    order = list(range(x.dim()))
    random.shuffle(order)
    laid = x.permute(order)[..., :: random.choice([1, 2])]
    found = merged(laid.unsqueeze(0))
    assert_rows_agree(found[0], laid)


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((40, 300), Layout(0, 1)),
        ((2, 3, 50, 41), Layout(0, 1)),
        ((2, 33, 130), Layout(0, 2)),
        ((33, 2, 130), Layout(1, 2)),
        ((600, 1), Layout(0, 1)),
        ((2, 70, 3, 3), Layout(0, 1)),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["ordinary", "odd"])
def test_units_and_positions_beyond_a_tile_agree(shape: tuple[int, ...], layout: Layout, kind: str) -> None:
    x = elements(shape, torch.bfloat16, 5, kind)
    for laid in (x, x.contiguous(memory_format=torch.channels_last)) if x.dim() == 4 else (x,):
        found = cuda.one_read(laid.unsqueeze(0), Reduction(layout, rectifier=True, knee=KNEE))
        assert_rows_agree(found.rows[0], x)
        assert_units_agree(found, 0, x, layout)


def test_a_long_tensor_is_merged_from_stretches() -> None:
    x = 1e4 + 0.1 * elements((3 * 32 * cuda.TILE + 17,), torch.float32, 1, "ordinary")
    # An element far out where the pivot is looked for costs nothing.
    for first in (1e4, 1e6, math.nan):
        x[0] = first
        assert_rows_agree(merged(x.unsqueeze(0))[0], x, tolerance=1e-5)


def test_an_expanded_tensor_and_a_single_number_agree() -> None:
    x = elements((4, 6), torch.float32, 2, "ordinary")
    for laid in (x[:1].expand(30, 6), x[1:2, 1:2].expand(9, 9), x[0, 0], x[:, 3]):
        assert_rows_agree(merged(laid.unsqueeze(0))[0], laid)


@pytest.mark.parametrize("scale", [1e-300, 1e200])
def test_float64_whose_squares_leave_it_keeps_its_mean_and_extremes(scale: float) -> None:
    x = scale * elements((100,), torch.float64, 3, "ordinary")
    row = merged(x.unsqueeze(0))[0]
    assert float(row[HIGH]) == float(x.max())
    assert float(row[MEAN]) == pytest.approx(float(x.mean()), rel=1e-9)
    assert not row[M2].isnan()


def test_nothing_is_counted_that_nobody_asked_for() -> None:
    x = torch.tensor([[0.0, math.inf, 1.0]])
    row = merged(x, Reduction(zeros=False))[0]
    assert row[[ZEROS, SATURATED, COUNT]].tolist() == [0, 0, 2]
    found = cuda.one_read(torch.zeros(1, 3, 4), Reduction(Layout(0, 1)))
    assert found.units is not None
    assert found.units.highs is None


class Operations(TorchDispatchMode):
    """Notes every operation of torch."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


class Counted:
    """Counts the launches of a kernel, and runs none."""

    def __init__(self, launched: list[str]) -> None:
        self.launched = launched

    def __getitem__(self, grid: Any) -> Any:
        return lambda *_, **__: self.launched.append(str(grid))


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (0, 4, 2, 1, 3)], ids=str)
@pytest.mark.parametrize("layout", [None, Layout(0, 1)], ids=str)
def test_two_launches_and_nothing_of_torch_but_memory(
    order: tuple[int, ...], layout: Layout | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = elements((1, 2, 3, 4, 5), torch.float32, 4, "ordinary").permute(order)
    launched: list[str] = []
    for name in ("read", "combine"):
        monkeypatch.setattr(one_read, name, Counted(launched))
    with Operations() as seen:
        cuda.one_read(block, Reduction(layout, rectifier=layout is not None))
    assert len(launched) == 2
    assert set(seen.names) == {"empty"}


def test_the_kernel_says_no_where_it_cannot_be() -> None:
    kernel = cuda.OneRead()
    assert cuda.source() is one_read
    assert not kernel.applies(torch.ones(1, 3), Reduction()), "it is on the CPU"
