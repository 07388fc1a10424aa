"""Every reduction against a naive float64 computation over the concatenated elements."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from init_monitor.measures import (
    COUNT,
    HIGH,
    LOW,
    M2,
    NONFINITE,
    SATURATED,
    WIDTH,
    ZEROS,
    Knee,
    Layout,
    Reduction,
    Scratch,
    Sizes,
    between_sample_share,
    finalise,
    merge,
    moments,
    reduce,
    rescale,
)
from init_monitor.measures.cpu import fill_ordinary
from init_monitor.measures.eager import fill_any
from init_monitor.measures.units import sample_signal, unit_extremes

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = pytest.mark.usefixtures("kernel")

RELATIVE = 1e-6


def naive(x: torch.Tensor) -> dict[str, float]:
    """The oracle: float64 numpy over the finite elements."""
    flat = x.detach().double().reshape(-1).numpy()
    finite = flat[np.isfinite(flat)]
    if not finite.size:
        return {"count": 0, "nonfinite_count": flat.size}
    return {
        "count": finite.size,
        "mean": float(finite.mean()),
        "variance": float(finite.var()),
        "mean_square": float((finite**2).mean()),
        "abs_max": float(np.abs(finite).max()),
        "zero_fraction": float((finite == 0).mean()),
        "nonfinite_count": flat.size - finite.size,
    }


def assert_agrees(x: torch.Tensor, tolerance: float = RELATIVE) -> None:
    """Compare the pipeline with the oracle; the mean is judged on the scale of the data's spread and float32."""
    measured, expected = moments(x), naive(x)
    assert measured.count == expected["count"]
    assert measured.nonfinite_count == expected["nonfinite_count"]
    if not measured.count:
        assert math.isnan(measured.variance)
        assert math.isnan(measured.mean)
        return
    spread = math.sqrt(expected["variance"]) + 2**-23 * expected["abs_max"]
    assert measured.mean == pytest.approx(expected["mean"], abs=1e-5 * spread, rel=1e-7)
    assert measured.variance == pytest.approx(expected["variance"], rel=1e-5, abs=(2**-23 * expected["abs_max"]) ** 2)
    for name in ("mean_square", "abs_max", "zero_fraction"):
        assert getattr(measured, name) == pytest.approx(expected[name], rel=tolerance), name


def rows_of(x: torch.Tensor) -> torch.Tensor:
    return reduce(x.unsqueeze(0)).rows


def final(rows: torch.Tensor) -> dict[str, NDArray[np.float64]]:
    return dict(finalise(rows.numpy()))


@pytest.mark.parametrize(
    "make",
    [
        lambda g: torch.randn(1000, generator=g),
        lambda g: torch.randn(3, 5, 7, 11, generator=g),
        lambda g: torch.randn(100_003, generator=g) * 1e-20,
        lambda g: torch.randn(1000, generator=g) * 1e30,
        lambda g: torch.randn(1000, generator=g).relu(),
        lambda g: torch.randn(1000, generator=g, dtype=torch.float64) * 1e-150,
        lambda _: torch.full((777,), 3.3),
        lambda _: torch.zeros(12),
        lambda _: torch.tensor(2.5),
    ],
    ids=["normal", "4d", "tiny", "huge", "relu", "float64", "constant", "zeros", "0-d"],
)
def test_moments_agree_with_naive_float64(make: object) -> None:
    assert_agrees(make(torch.Generator().manual_seed(0)))  # type: ignore[operator]


def test_a_huge_mean_with_a_small_variance_keeps_its_variance() -> None:
    x = 1e4 + 0.1 * torch.randn(200_000, generator=torch.Generator().manual_seed(1))
    assert moments(x).variance == pytest.approx(float(x.double().var(correction=0)), rel=1e-5)
    assert moments(x).variance == pytest.approx(0.01, rel=0.02)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1.0, 1e18, 1e30])
def test_variance_survives_where_squares_leave_float32(scale: float) -> None:
    x = torch.randn(5000, generator=torch.Generator().manual_seed(2)) * scale
    assert moments(x).variance == pytest.approx(float(x.double().var(correction=0)), rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_reduced_in_float32(dtype: torch.dtype) -> None:
    x = (1000 + 60 * torch.randn(4096, generator=torch.Generator().manual_seed(3))).to(dtype)
    assert_agrees(x)
    assert math.isfinite(moments(x * 30).variance)


def test_nonfinite_elements_are_counted_and_left_out() -> None:
    x = torch.tensor([1.0, math.nan, 3.0, math.inf, -math.inf, 0.0])
    assert_agrees(x)
    assert moments(x).nonfinite_count == 3
    assert moments(x).zero_fraction == pytest.approx(1 / 3)


def test_nonfinite_elements_do_not_spoil_a_large_mean() -> None:
    x = 1e4 + 0.1 * torch.randn(1000, generator=torch.Generator().manual_seed(4))
    x[::32] = math.nan
    x[1::32] = math.inf
    assert_agrees(x)


def test_a_tensor_without_finite_elements_measures_nothing_rather_than_zero() -> None:
    measured = moments(torch.full((5,), math.nan))
    assert measured.count == 0
    assert measured.nonfinite_count == 5
    assert math.isnan(measured.variance)
    assert math.isnan(measured.abs_max)
    assert math.isnan(measured.zero_fraction)


def test_an_empty_tensor_measures_nothing() -> None:
    assert_agrees(torch.empty(0))
    assert_agrees(torch.empty(4, 0, 3))


finite_lists = st.lists(
    st.floats(-1e6, 1e6, width=32, allow_subnormal=False) | st.sampled_from([0.0, math.nan, math.inf, -math.inf]),
    min_size=0,
    max_size=60,
)


@given(finite_lists)
def test_any_mixture_of_numbers_agrees_with_the_oracle(values: list[float]) -> None:
    assert_agrees(torch.tensor(values, dtype=torch.float32))


@given(st.integers(-40, 40), st.integers(0, 2**31))
def test_scaling_by_a_scales_the_variance_by_a_squared(exponent: int, seed: int) -> None:
    x = torch.randn(257, generator=torch.Generator().manual_seed(seed))
    a = 2.0**exponent
    assert moments(a * x).variance == pytest.approx(a * a * moments(x).variance, rel=1e-6)
    assert moments(a * x).abs_max == pytest.approx(a * moments(x).abs_max, rel=1e-6)


def test_rescaled_rows_are_the_rows_of_the_rescaled_tensor() -> None:
    x = torch.randn(300, generator=torch.Generator().manual_seed(5)) + 3
    scaled = final(rescale(rows_of(x), torch.tensor([0.125], dtype=torch.float64)))
    expected = final(rows_of(x * 0.125))
    for name, column in expected.items():
        np.testing.assert_allclose(scaled[name], column, rtol=1e-6, err_msg=name)


@given(st.lists(st.integers(0, 400), min_size=1, max_size=6), st.integers(0, 2**31))
@settings(deadline=None)
def test_splitting_a_batch_changes_nothing(sizes: list[int], seed: int) -> None:
    parts = [1e3 + torch.randn(size, generator=torch.Generator().manual_seed(seed + i)) for i, size in enumerate(sizes)]
    merged = final(merge(torch.cat([rows_of(p) for p in parts]), torch.zeros(len(parts), dtype=torch.int64), 1))
    whole = torch.cat(parts)
    if not whole.numel():
        assert merged["count"][0] == 0
        return
    expected = naive(whole)
    assert merged["count"][0] == expected["count"]
    assert merged["mean"][0] == pytest.approx(expected["mean"], rel=1e-6)
    assert merged["variance"][0] == pytest.approx(expected["variance"], rel=1e-4, abs=1e-7)
    assert merged["abs_max"][0] == pytest.approx(expected["abs_max"], rel=1e-6)


@given(st.integers(0, 2**31), st.lists(st.integers(1, 50), min_size=3, max_size=3))
@settings(deadline=None)
def test_merging_is_associative(seed: int, sizes: list[int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b, c = (rows_of(100 * torch.randn(1, generator=generator) + torch.randn(n, generator=generator)) for n in sizes)

    def join(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return merge(torch.cat((x, y)), torch.zeros(2, dtype=torch.int64), 1)

    left, right = join(join(a, b), c), join(a, join(b, c))
    torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-12)


def test_an_empty_row_is_the_neutral_element_of_merging() -> None:
    row, nothing = rows_of(torch.randn(50)), rows_of(torch.empty(0))
    index = torch.zeros(2, dtype=torch.int64)
    torch.testing.assert_close(merge(torch.cat((row, nothing)), index, 1), row)
    torch.testing.assert_close(merge(torch.cat((nothing, row)), index, 1), row)


def test_rows_merge_into_the_row_their_index_names() -> None:
    x, y = torch.ones(4), 3 * torch.ones(2)
    merged = merge(torch.cat((rows_of(x), rows_of(y), rows_of(x))), torch.tensor([2, 0, 2]), 4)
    assert merged[:, COUNT].tolist() == [2, 0, 8, 0]
    assert merged[1, LOW] == math.inf
    assert merged[3, HIGH] == -math.inf
    assert merged.shape == (4, WIDTH)


def test_a_block_reduces_each_of_its_tensors_separately() -> None:
    block = torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(6))
    block[1] *= 100
    block[2, 0, 0] = math.nan
    block[3] = 0
    together = reduce(block).rows
    alone = torch.cat([rows_of(tensor) for tensor in block])
    torch.testing.assert_close(together, alone, rtol=1e-6, atol=1e-9)
    assert together[2, NONFINITE] == 1
    assert together[3, ZEROS] == 30


@pytest.mark.parametrize("mean", [0.0, 1.0, 2.9, 3.1, 100.0])
@pytest.mark.parametrize("rows", [1, 4, 40])
def test_the_quick_way_for_ordinary_elements_agrees_with_the_way_for_any(mean: float, rows: int) -> None:
    block = mean + torch.randn(rows, 4096, generator=torch.Generator().manual_seed(9))
    quick, careful = torch.zeros(rows, WIDTH, dtype=torch.float64), torch.zeros(rows, WIDTH, dtype=torch.float64)
    assert fill_ordinary(block, quick, Scratch(block.device, Sizes(0, 0, 0, rows * 4096))) == (mean < 3)
    fill_any(block, careful, Scratch(block.device))
    if mean < 3:
        torch.testing.assert_close(quick, careful, rtol=1e-5, atol=1e-5)
    else:
        assert not quick.any()
    for row, tensor in zip(reduce(block).rows, block, strict=True):
        expected = naive(tensor)
        assert float(row[M2] / row[COUNT]) == pytest.approx(expected["variance"], rel=1e-5)


@pytest.mark.parametrize("odd", [math.nan, math.inf, 1e30])
def test_one_odd_element_sends_the_whole_block_the_careful_way(odd: float) -> None:
    block = torch.randn(3, 500, generator=torch.Generator().manual_seed(10))
    block[1, 7] = odd
    assert not fill_ordinary(block, torch.zeros(3, WIDTH, dtype=torch.float64), Scratch(block.device))
    for row, tensor in zip(reduce(block).rows, block, strict=True):
        assert float(row[M2] / row[COUNT]) == pytest.approx(naive(tensor)["variance"], rel=1e-5)


def test_elements_beyond_the_knee_are_counted() -> None:
    y = torch.tensor([[0.01, 0.5, 0.99, 0.3, math.nan]])
    rows = reduce(y, Reduction(knee=Knee(0.5, 0.48))).rows
    assert rows[0, SATURATED] == 2
    assert final(rows)["saturated_fraction"][0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("shape", "layout"),
    [((16, 5), Layout(0, 1)), ((16, 3, 5), Layout(0, 2)), ((16, 5, 4, 3), Layout(0, 1)), ((7, 16, 5), Layout(1, 2))],
    ids=["NC", "NTC", "NCHW", "TNC"],
)
def test_units_and_samples_agree_with_naive_float64(shape: tuple[int, ...], layout: Layout) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(7)) + torch.linspace(-2, 2, 5).reshape(
        [5 if d == layout.unit else 1 for d in range(len(shape))]
    )
    by_unit = x.movedim(layout.unit, -1).reshape(-1, 5)
    high, low = unit_extremes(x.unsqueeze(0), layout)
    torch.testing.assert_close(high[0], by_unit.max(0).values)
    torch.testing.assert_close(low[0], by_unit.min(0).values)

    signal = x.double().movedim((layout.sample, layout.unit), (0, 1)).reshape(16, 5, -1).mean(2)
    sums, squares = sample_signal(x.unsqueeze(0), layout)
    variance = float(x.double().var(correction=0))
    energy = float(x.double().square().sum()) if len(shape) == 2 else float(squares[0])
    assert math.isnan(float(squares[0])) == (len(shape) == 2)
    share = between_sample_share(sums[0].numpy(), energy, 16, variance)
    assert share == pytest.approx(float(signal.var(0, correction=0).mean()) / variance, rel=1e-5)


def test_samples_that_are_all_alike_have_no_share_between_them() -> None:
    x = torch.randn(1, 64, generator=torch.Generator().manual_seed(8)).expand(32, 64).contiguous()
    sums, _ = sample_signal(x.unsqueeze(0), Layout(0, 1))
    energy = float(x.double().square().sum())
    share = between_sample_share(sums[0].numpy(), energy, 32, moments(x).variance)
    assert share == pytest.approx(0, abs=1e-5)


def test_one_sample_or_no_variance_says_nothing_about_collapse() -> None:
    assert math.isnan(between_sample_share(np.ones(3), 3.0, 1, 1.0))
    assert math.isnan(between_sample_share(np.ones(3), 3.0, 8, 0.0))
    assert math.isnan(between_sample_share(np.full(3, np.inf), 3.0, 8, 1.0))
