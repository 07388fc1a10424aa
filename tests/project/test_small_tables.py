"""The benchmark of plans on small tables: every pair is there, and what the page counts is what was trained."""

from __future__ import annotations

from benchmarks.plans.small_tables import NETWORKS, Pair, Row, measure, page, pairs, tables


def test_every_table_meets_every_network() -> None:
    assert {(pair.table, pair.network) for pair in pairs()} == {(t, n) for t in tables() for n in NETWORKS}
    assert sum(targets.is_floating_point() for _, targets in tables().values()) * 2 == len(tables())


def test_a_pair_is_trained_from_both_starts_and_counted() -> None:
    row = measure(Pair("irises", "ReLU x 3", "AdamW"))
    assert 0 < row.plan < row.default < 0.2
    worse = Row(Pair("waves", "SiLU x 3", "AdamW"), 0.01, 1.0, 1.1)
    text = page([row, worse])
    assert "| numbers | 1 | 1.10× | 1 | 0 |" in text
    assert f"| classes | 1 | {row.ratio:.2f}× | 0 | 0 |" in text
