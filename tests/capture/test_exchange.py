"""Simulated processes: what they put together is what one would have measured, and no two ever wait for different things."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from simulated_ranks import SimulatedRanks

from init_monitor.capture import exchange as protocol
from init_monitor.capture.catalogue import Catalogue, Slot
from init_monitor.capture.directory import one_copy
from init_monitor.capture.drained import UnitReading
from init_monitor.capture.exchange import How, exchange, verdict
from init_monitor.capture.share import Share, packed
from init_monitor.capture.taps import TapKey
from init_monitor.measures import HIGH, LOW, WIDTH, Layout, Reduction, finalise, merge, reduce
from init_monitor.records import LossStretch

if TYPE_CHECKING:
    from init_monitor.capture.catalogue import Key
    from init_monitor.capture.exchange import Outcome

UNITS = 5
NAMES = ("first", "second", "third", "fourth")


def key_of(name: str, what: str = "") -> Key:
    return ("layer", name, 0, "", what)


def share_of(tensors: dict[str, torch.Tensor], known: tuple[str, ...] = ()) -> Share:
    """Return the share of a process that measured these ``[samples, positions, units]``, in this order, and knows of others."""
    names = (*tensors, *(name for name in known if name not in tensors))
    rows = np.zeros((len(names), WIDTH))
    rows[:, LOW], rows[:, HIGH] = np.inf, -np.inf
    units: dict[Slot, UnitReading] = {}
    seen = {}
    for place, (name, x) in enumerate(tensors.items()):
        partials = reduce(x.unsqueeze(0), Reduction(Layout(0, 2), rectifier=True))
        rows[place] = merge(partials.rows, torch.zeros(len(partials.rows), dtype=torch.int64), 1)[0].numpy()
        if partials.units is not None and partials.units.highs is not None and partials.units.lows is not None:
            highs, lows = partials.units.highs[0].numpy(), partials.units.lows[0].numpy()
            sums, squares = partials.units.sums[0].numpy(), float(partials.units.squares[0])
            units[Slot(key_of(name), x.shape[2], signs=True)] = UnitReading(sums, squares, ~(highs <= 0), ~(lows > 0))
            seen[key_of(name)] = x.shape[0], x.shape[0] * x.shape[1]
    slots = [Slot(key_of(name), UNITS, signs=True) for name in names]
    return Share(Catalogue(map(key_of, names), slots), rows, tuple(TapKey(n, 0, "") for n in tensors), units, seen)


def put_together(shares: list[Share | None], losses: list[LossStretch] | None = None) -> list[Outcome]:
    stretches = losses or [LossStretch()] * len(shares)
    ranks = enumerate(zip(shares, stretches, strict=True))
    return SimulatedRanks().run([exchange(rank, None, share, stretch) for rank, (share, stretch) in ranks])


@settings(max_examples=60)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=5),
    mean=st.floats(-1e3, 1e3),
    seed=st.integers(0, 2**31),
)
def test_the_moments_are_those_of_everything_together(sizes: list[int], mean: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    parts = [mean + torch.randn(size, 3, UNITS, generator=generator, dtype=torch.float64) for size in sizes]
    first, *others = put_together([share_of({"fc": part}) for part in parts])
    together, whole = first.together(), torch.cat(parts)
    numbers = {name: column[0] for name, column in finalise(together.rows).items()}
    for other in others:
        np.testing.assert_array_equal(other.together().rows, together.rows)
    assert numbers["count"] == whole.numel()
    if not whole.numel():
        assert not together.units
        return
    assert (together.samples[0], together.positions[0]) == (sum(sizes), 3 * sum(sizes))
    assert numbers["mean"] == pytest.approx(float(whole.mean()), rel=1e-12, abs=1e-12)
    assert numbers["variance"] == pytest.approx(float(whole.var(correction=0)), rel=1e-9, abs=1e-18)
    assert numbers["abs_max"] == float(whole.abs().max())
    assert numbers["zero_fraction"] == float((whole == 0).double().mean())
    (units,) = together.units[0]
    signal = whole.mean(1)
    np.testing.assert_allclose(units.sums, signal.sum(0), rtol=1e-12, atol=1e-9)
    assert units.squares == pytest.approx(float(signal.square().sum()), rel=1e-9)
    np.testing.assert_array_equal(units.positive, (whole > 0).any(0).any(0))
    np.testing.assert_array_equal(units.nonpositive, (whole <= 0).any(0).any(0))


def test_numbers_that_are_not_finite_and_huge_ones_come_through() -> None:
    x = torch.tensor([1e150, -1e150, torch.nan, torch.inf, 0.0], dtype=torch.float64).reshape(1, 1, 5)
    y = torch.full((2, 1, 5), 2e150, dtype=torch.float64)
    first, second = put_together([share_of({"fc": x}), share_of({"fc": y})])
    numbers = {name: column[0] for name, column in finalise(first.together().rows).items()}
    assert (numbers["count"], numbers["nonfinite_count"], numbers["abs_max"]) == (13, 2, 2e150)
    assert numbers["mean"] == pytest.approx(20e150 / 13)
    np.testing.assert_array_equal(first.together().rows, second.together().rows)


@settings(max_examples=60)
@given(data=st.data())
def test_no_rank_ever_waits_for_what_another_does_not_do(data: Any) -> None:
    # Any layers in any order on any rank, ranks that have nothing to tell, for some steps.
    count = data.draw(st.integers(1, 4), "ranks")
    catalogues: list[Catalogue | None] = [None] * count
    ever: list[dict[str, None]] = [{} for _ in range(count)]
    for step in range(data.draw(st.integers(1, 4), "steps")):
        shares: list[Share | None] = []
        tensors: list[dict[str, torch.Tensor]] = []
        for rank in range(count):
            names = data.draw(st.lists(st.sampled_from(NAMES), unique=True), f"layers of rank {rank} at step {step}")
            generator = torch.Generator().manual_seed(10 * step + rank)
            mine = {name: torch.randn(2, 1, UNITS, generator=generator, dtype=torch.float64) for name in names}
            fails = data.draw(st.booleans(), f"rank {rank} fails")
            ever[rank].update({} if fails else dict.fromkeys(names))
            tensors.append({} if fails else mine)
            shares.append(None if fails else share_of(mine, tuple(ever[rank])))
        group = SimulatedRanks()
        outcomes = group.run([exchange(rank, catalogues[rank], shares[rank], LossStretch()) for rank in range(count)])
        able = [rank for rank in range(count) if shares[rank] is not None]
        assert {outcome.judge for outcome in outcomes} == {able[0] if able else None}
        known = [rank for rank in able if outcomes[rank].catalogue is not None]
        assert known == able
        for rank in able:
            together = outcomes[rank].together()
            ran = dict.fromkeys(name for each in tensors for name in each)
            assert [key.layer for key in together.order] == list(ran)
            for name in ran:
                whole = torch.cat([each[name] for each in tensors if name in each])
                row = together.rows[together.catalogue.places[key_of(name)]]
                assert finalise(row[None])["variance"][0] == pytest.approx(float(whole.var(correction=0)), rel=1e-12)
            np.testing.assert_array_equal(together.rows, outcomes[able[0]].together().rows)
        catalogues = [outcome.catalogue for outcome in outcomes]
    # What has been seen by all is known by all: from then on nothing is gathered, whoever runs what.
    settled = [share_of({}, tuple(ever[rank])) for rank in range(count)]
    first = [exchange(rank, None, settled[rank], LossStretch()) for rank in range(count)]
    catalogues = [outcome.catalogue for outcome in SimulatedRanks().run(first)]
    group = SimulatedRanks()
    group.run([exchange(rank, catalogues[rank], settled[rank], LossStretch()) for rank in range(count)])
    assert group.given[How.ALL] == 0
    assert group.rounds == 3


def test_losses_count_in_equal_shares_where_they_are_known() -> None:
    share = share_of({"fc": torch.zeros(1, 1, UNITS)})
    stretches = [
        LossStretch.of([(7, 1.0), (8, 2.0), (10, 5.0)]),
        LossStretch.of([(8, 4.0), (9, float("nan"))]),
        LossStretch(),
    ]
    for outcome in put_together([share, share, None], stretches):
        losses = outcome.losses()
        assert losses.steps.tolist() == [7, 8, 9, 10]
        np.testing.assert_array_equal(losses.values, [1.0, 3.0, np.nan, 5.0])
    assert len(put_together([share] * 2)[0].losses()) == 0


def test_a_process_that_fails_while_packing_takes_part_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(share: Share, catalogue: Catalogue, rank: int) -> Any:
        if rank == 1:
            message = "no space"
            raise MemoryError(message)
        return packed(share, catalogue, rank)

    monkeypatch.setattr(protocol, "packed", fails)
    x = torch.randn(4, 2, UNITS, dtype=torch.float64)
    first, second = put_together([share_of({"fc": x})] * 2)
    assert finalise(first.together().rows)["count"][0] == x.numel()
    with pytest.raises(MemoryError, match="no space"):
        second.together()


def test_what_is_given_does_not_depend_on_how_many_there_are() -> None:
    x = {name: torch.randn(4, 3, UNITS) for name in NAMES}
    counted = []
    for size in (2, 8, 64, 1024):
        group = SimulatedRanks()
        outcome = group.run([exchange(rank, None, share_of(x), LossStretch()) for rank in range(size)])[-1]
        assert finalise(outcome.together().rows)["count"].tolist() == [size * 4 * 3 * UNITS] * len(NAMES)
        counted.append((dict(group.given), group.rounds))
    assert counted.count(counted[0]) == len(counted)
    assert counted[0][0][How.ALL] == 0, "all have the same layers: no list of them travels"


def test_a_verdict_is_heard_by_all() -> None:
    for said in (b"", b"exploding"):
        heard = SimulatedRanks().run([verdict(1, said if rank == 1 else b"mine") for rank in range(3)])
        assert heard == [said] * 3


def test_a_catalogue_travels_as_it_is() -> None:
    one = Catalogue([key_of("a"), ("parameter", "a.weight", "weight")], [Slot(key_of("a"), 3, signs=False)])
    other = Catalogue.decoded(one.encoded + b"\0" * 9)
    assert (other.keys, other.slots, other.digest) == (one.keys, one.slots, one.digest)
    assert one.taps == (TapKey("a", 0, ""),)
    assert one.digest != Catalogue(one.keys).digest


def test_copies_of_one_tensor_count_once() -> None:
    x = torch.randn(5, 2, UNITS, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    alone, twice = (put_together([share_of({"fc": x})] * count)[0].together().rows for count in (1, 2))
    np.testing.assert_allclose(one_copy(twice, np.array([float(x.numel())])), alone, rtol=1e-12)
    np.testing.assert_array_equal(one_copy(twice, np.zeros(1)), twice)


def test_a_row_of_no_elements_stays_one() -> None:
    nothing = finalise(one_copy(np.zeros((1, WIDTH)), np.array([10.0])))
    assert nothing["count"][0] == 0
    assert np.isnan(nothing["variance"][0])
