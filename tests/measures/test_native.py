"""Both ways to read the CPU, against float64 numpy: any shape, order in memory, format and element."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from init_monitor.measures import (
    COUNT,
    HIGH,
    LOW,
    M2,
    MEAN,
    NONFINITE,
    SATURATED,
    ZEROS,
    Knee,
    Layout,
    Partials,
    Reduction,
    compiling,
    native,
    reduce,
)

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    from numpy.typing import NDArray

pytestmark = pytest.mark.usefixtures("kernel")

FORMATS = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
KNEE = Knee(0.5, 0.25)
LAYOUTS = {2: (0, 1), 3: (0, 2), 4: (0, 1), 5: (0, 1)}
"""Samples and units by the number of dimensions: [N, C], [N, T, C], [N, C, H, W], [N, C, T, H, W]."""


def elements(shape: tuple[int, ...], dtype: torch.dtype, seed: int, kind: str) -> torch.Tensor:
    """Elements of a kind, no more than a format can hold."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    largest = 1e3 if dtype == torch.float16 else 1e30
    x = {"ordinary": x, "rectified": x.relu(), "far": 1e4 + 0.1 * x, "huge": x * largest, "tiny": x / largest}.get(
        kind, x
    )
    x = x.to(dtype)
    if kind == "odd":
        odd = torch.tensor([math.nan, math.inf, -math.inf, 0.0, -0.0], dtype=dtype)
        places = torch.rand(shape, generator=generator) < 0.2
        return torch.where(places, odd[torch.randint(5, shape, generator=generator)], x)
    return x.fill_(math.nan) if kind == "nothing" else x


def assert_rows_agree(found: torch.Tensor, x: torch.Tensor, tolerance: float = 1e-5) -> None:
    """Compare one row with the oracle."""
    wide = x.double().reshape(-1).numpy()
    finite = wide[np.isfinite(wide)]
    assert found[COUNT] == finite.size
    assert found[NONFINITE] == wide.size - finite.size
    assert found[ZEROS] == (wide == 0).sum()
    working = x.double() if x.dtype == torch.float64 else x.float()
    assert found[SATURATED] == ((working - KNEE.centre).abs() >= KNEE.reach).sum()
    if not finite.size:
        assert found[LOW] == math.inf
        assert found[HIGH] == -math.inf
        return
    spread = finite.std()
    assert float(found[M2]) == pytest.approx(
        finite.var() * finite.size, rel=tolerance, abs=finite.size * (1e-7 * np.abs(finite).max()) ** 2
    )
    assert float(found[MEAN]) == pytest.approx(finite.mean(), rel=1e-7, abs=1e-6 * spread)
    # The eager way adds the pivot again in float32.
    assert float(found[LOW]) == pytest.approx(finite.min(), rel=1e-6, abs=1e-6 * np.abs(finite).max())
    assert float(found[HIGH]) == pytest.approx(finite.max(), rel=1e-6, abs=1e-6 * np.abs(finite).max())


def assert_units_agree(found: Partials, which: int, x: torch.Tensor, layout: Layout) -> None:
    """Compare the units of one tensor with the oracle."""
    units = found.units
    assert units is not None
    assert units.highs is not None
    assert units.lows is not None
    ordered = x.double().movedim((layout.sample, layout.unit), (0, 1)).flatten(2).numpy() if x.dim() > 2 else None
    by_unit: NDArray[np.float64] = x.double().numpy()[..., None] if ordered is None else ordered
    with np.errstate(all="ignore"):
        signal = by_unit.mean(2)
        sums, squares = signal.sum(0), (signal**2).sum()
        highs, lows = by_unit.max((0, 2)), by_unit.min((0, 2))
    scale = np.abs(by_unit[np.isfinite(by_unit)]).max(initial=0.0)
    np.testing.assert_allclose(units.sums[which].numpy(), sums, rtol=1e-5, atol=1e-6 * scale * x.shape[layout.sample])
    np.testing.assert_array_equal(units.highs[which].double().numpy(), highs)
    np.testing.assert_array_equal(units.lows[which].double().numpy(), lows)
    if x.dim() == 2:
        assert math.isnan(units.squares[which])
    elif not (math.isnan(squares) and not math.isfinite(units.squares[which])):
        atol = 1e-6 * scale**2 * by_unit.shape[0] * by_unit.shape[1]
        np.testing.assert_allclose(float(units.squares[which]), squares, rtol=1e-5, atol=atol)


@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=5),
    tensors=st.integers(1, 3),
    dtype=st.sampled_from(FORMATS),
    kind=st.sampled_from(["ordinary", "rectified", "far", "huge", "tiny", "odd", "nothing"]),
    random=st.randoms(use_true_random=False),
)
def test_any_tensor_agrees_with_the_oracle(
    sizes: list[int], tensors: int, dtype: torch.dtype, kind: str, random: Random
) -> None:
    layout = Layout(*LAYOUTS[len(sizes)])
    block = elements((tensors, *sizes), dtype, random.randrange(2**31), kind)
    # The same tensor in another order in memory, as channels_last and transposed tensors have it.
    dims = list(range(1, block.dim()))
    random.shuffle(dims)
    there = [0, *dims]
    back = [there.index(d) for d in range(block.dim())]
    laid = block.permute(there).contiguous().permute(back)
    found = reduce(laid, Reduction(layout, rectifier=True, knee=KNEE))
    for which in range(tensors):
        assert_rows_agree(found.rows[which], block[which])
        assert_units_agree(found, which, block[which], layout)


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((40, 300), Layout(0, 1)),
        ((3, 5, 70, 41), Layout(0, 1)),
        ((2, 3, 64, 65), Layout(0, 1)),
        ((4, 33, 130), Layout(0, 2)),
        ((33, 4, 130), Layout(1, 2)),
        ((5, 1, 70, 41), Layout(0, 1)),
        ((1, 6, 70, 41), Layout(0, 1)),
        ((1, 6000), Layout(0, 1)),
        ((6000, 1), Layout(0, 1)),
        ((3, 10, 1, 1), Layout(0, 1)),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["ordinary", "odd"])
def test_units_whose_parts_lie_across_pieces_agree(
    dtype: torch.dtype, shape: tuple[int, ...], layout: Layout, kind: str
) -> None:
    x = elements(shape, dtype, 5, kind)
    plan = Reduction(layout, rectifier=True, knee=KNEE)
    for laid in (x, x.contiguous(memory_format=torch.channels_last)) if x.dim() == 4 else (x,):
        found = reduce(laid.unsqueeze(0), plan)
        assert_rows_agree(found.rows[0], x)
        assert_units_agree(found, 0, x, layout)


def test_a_tensor_with_gaps_and_an_expanded_one_agree() -> None:
    x = torch.randn(40, 60, generator=torch.Generator().manual_seed(1))
    for laid in (x[::3, 1::7], x[:1].expand(30, 60), x[5], x[:, 3], x.flip(0)):
        assert_rows_agree(reduce(laid.unsqueeze(0), Reduction(knee=KNEE)).rows[0], laid)


@pytest.mark.parametrize("n", [1, 15, 16, 17, 4095, 4096, 4097, 100_003])
def test_lengths_around_a_lane_and_a_piece_agree(n: int) -> None:
    for dtype in FORMATS:
        x = elements((n,), dtype, n, "odd")
        assert_rows_agree(reduce(x.unsqueeze(0), Reduction(knee=KNEE)).rows[0], x)


def test_every_half_precision_number_is_widened_exactly(kernel: str) -> None:
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    for dtype in (torch.float16, torch.bfloat16):
        numbers = bits.view(dtype)
        rows = reduce(numbers.unsqueeze(1)).rows
        finite = numbers.isfinite()
        assert torch.equal(rows[:, COUNT] == 1, finite)
        assert torch.equal(rows[finite, MEAN], numbers[finite].double())
        assert torch.equal(rows[:, ZEROS] == 1, numbers == 0)


def test_an_element_far_out_at_the_start_does_not_swallow_the_others(kernel: str) -> None:
    x = 1e4 + 0.1 * torch.randn(100_000, generator=torch.Generator().manual_seed(2))
    # The eager way sums in float32: PIVOT_SAMPLE says what an outlier may cost it.
    tolerance = 1e-9 if kernel == "native" else 1e-4
    for first in (0.0, 1e6, math.nan, math.inf):
        x[0] = first
        assert_rows_agree(reduce(x.unsqueeze(0), Reduction(knee=KNEE)).rows[0], x, tolerance)


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e150, 1e200])
def test_float64_whose_squares_leave_it_is_read_in_another_way(scale: float) -> None:
    x = scale * torch.randn(1000, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    row = reduce(x.unsqueeze(0)).rows[0]
    assert float(row[HIGH]) == pytest.approx(float(x.max()))
    assert float(row[MEAN]) == pytest.approx(float(x.mean()), rel=1e-6)


def test_nothing_is_counted_that_nobody_asked_for(kernel: str) -> None:
    row = reduce(torch.zeros(1, 9), Reduction(zeros=False)).rows[0]
    assert row[ZEROS] == 0
    assert row[SATURATED] == 0


def test_a_negated_view_is_read_and_a_subclass_is_left_to_torch() -> None:
    class Marked(torch.Tensor):
        pass

    pure = torch.randn(5, dtype=torch.complex64).conj().imag
    assert pure.is_neg()
    assert float(reduce(pure.unsqueeze(0)).rows[0, MEAN]) == pytest.approx(float(pure.mean()), abs=1e-6)
    marked = torch.randn(1, 5).as_subclass(Marked)
    assert not native.Native().applies(marked, Reduction())


def test_the_environment_chooses_the_kernel(kernel: str) -> None:
    assert native.in_use() == kernel
    assert native.Native().applies(torch.ones(1, 2), Reduction()) == (kernel == "native")


def test_an_unknown_kernel_is_an_error_that_says_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    native.library.cache_clear()
    with monkeypatch.context() as patch:
        patch.setenv(native.CHOICE, "fast")
        with pytest.raises(RuntimeError, match="'fast'; it can be 'eager' or 'native'"):
            native.in_use()


def test_without_a_compiler_torch_is_used_and_nothing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "one_read.so"
    with monkeypatch.context() as patch:
        patch.setenv("CC", "no-such-compiler")
        assert not compiling.compiled(library)
        patch.setenv("CC", sys.executable)  # it fails on these arguments
        assert not compiling.compiled(library)
        patch.delenv("CC")
        patch.setenv(compiling.OFF, "1")
        assert not compiling.compiled(library)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    assert not compiling.compiled(tmp_path / "file" / "one_read.so")
    monkeypatch.setattr(compiling, "in_checkout", lambda: None)
    monkeypatch.setattr(compiling, "SOURCE", tmp_path / "one_read.c")
    monkeypatch.delenv(native.CHOICE, raising=False)
    native.library.cache_clear()
    assert native.in_use() == "eager"
    assert moment_of_three() == (3, 2.0)
    library.write_bytes(b"made for another system")
    native.library.cache_clear()
    assert native.in_use() == "eager"
    monkeypatch.setenv(native.CHOICE, "native")
    native.library.cache_clear()
    with pytest.raises(RuntimeError, match="install a C compiler"):
        native.in_use()
    native.library.cache_clear()


def moment_of_three() -> tuple[int, float]:
    row = reduce(torch.tensor([[1.0, 2.0, 3.0]])).rows[0]
    return int(row[COUNT]), float(row[MEAN])


def test_the_functions_for_other_processors_give_the_same_bits(kernel: str, tmp_path: Path) -> None:
    if kernel == "eager":
        return
    command = ["cc", *compiling.FLAGS, str(compiling.SOURCE), "-lm", "-o", str(tmp_path / "plain.so")]
    subprocess.run(command, check=True)
    plain = native._loaded(tmp_path / "plain.so")
    assert plain is not None
    plan = Reduction(Layout(0, 1), rectifier=True, knee=KNEE)
    for shape in ((2, 3, 5, 33, 41), (1, 40, 20, 33, 41)):
        block = elements(shape, torch.float32, 4, "odd")
        chosen = reduce(block, plan)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(native, "library", lambda: plain)  # without threads, too
            assert_same_bits(reduce(block, plan), chosen)


def assert_same_bits(found: Partials, expected: Partials) -> None:
    assert torch.equal(found.rows, expected.rows)
    if expected.units is not None:
        assert found.units is not None
        for one, other in zip(found.units, expected.units, strict=True):
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                assert torch.equal(one.isnan(), other.isnan())
                assert torch.equal(one.nan_to_num(), other.nan_to_num())


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((900_001,), None),
        ((1200, 700), Layout(0, 1)),
        ((9, 40, 50, 51), Layout(0, 1)),
        ((300, 40, 70), Layout(0, 2)),
        ((1, 4, 500, 501), Layout(0, 1)),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["ordinary", "odd"])
def test_a_large_tensor_is_read_in_parts_whose_sum_does_not_depend_on_the_number_of_threads(
    dtype: torch.dtype, shape: tuple[int, ...], layout: Layout | None, kind: str, kernel: str
) -> None:
    x = elements(shape, dtype, 6, kind)
    plan = Reduction(layout, rectifier=layout is not None, knee=KNEE)
    before = torch.get_num_threads()
    for laid in (x, x.contiguous(memory_format=torch.channels_last)) if x.dim() == 4 else (x,):
        found = reduce(laid.unsqueeze(0), plan)
        if len(found.rows) == 1:  # torch's operations give the parts themselves
            assert_rows_agree(found.rows[0], x, 1e-5 if kernel == "native" else 1e-4)
        if layout is not None:
            assert_units_agree(found, 0, x, layout)
        for threads in (1, 2, 5) if kernel == "native" else ():
            torch.set_num_threads(threads)
            try:
                assert_same_bits(reduce(laid.unsqueeze(0), plan), found)
            finally:
                torch.set_num_threads(before)
