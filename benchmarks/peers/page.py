"""Writes what was measured as a page of benchmarks/results, whose tables also stand in the documentation."""

from __future__ import annotations

import datetime as dt
import os
import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.peers.networks import NETWORKS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.peers.peer import Peer

TITLE = "# Monitors of activations and gradients side by side"

COST = """\
Every step measured: CPU time of a step (one thread) as a ratio to the same step without the monitor, in the loop that the
monitor is made for. Medians of {rounds} interleaved rounds of {steps} steps, the lowest and the highest round in brackets (without
brackets: one short round only); the cheapest first, by the mean over the networks. *Waits*: how often a measured step of ResNet-18 reads a number out of a tensor, or
copies one to the host; on a GPU each of them makes the host wait."""

SCENE = """\
{date}, torch {torch}, {cores} CPU cores **shared with other work**, an environment per monitor. ResNet-18 with 16 pictures of
64 × 64, ViT-tiny with 16 pictures of 96 × 96, GPT of 12 blocks of width 384 with 4 × 64 words (`benchmarks/peers/networks.py`),
AdamW."""

READ = "What each reads in such a step, from its source:"


def page(
    peers: Sequence[Peer], results: Mapping[str, Mapping[str, Any]], failed: Mapping[str, str], steps: int, rounds: int
) -> str:
    """Return the page: what a step costs, what is measured for it, and what could not be run and why.

    Args:
        peers: all that were tried.
        results: what :mod:`~benchmarks.peers.measuring` wrote, by name.
        failed: why others did not run, by name.
        steps: of each training.
        rounds: trainings of each kind.
    """
    shown = sorted(
        (peer for peer in peers if peer.name in results), key=lambda peer: mean(results[peer.name]["ratios"])
    )
    torches = sorted({result["torch"] for result in results.values()})
    today = dt.datetime.now(dt.timezone.utc).date()
    lines = [
        TITLE,
        "",
        SCENE.format(date=today, torch=" and ".join(torches), cores=os.cpu_count()),
        "",
        COST.format(steps=steps, rounds=rounds),
        "",
        f"| monitor | version | loop | {' | '.join(NETWORKS)} | waits |",
        "|:--|:--|:--|" + "--:|" * (len(NETWORKS) + 1),
        *(_cost(peer, results[peer.name]) for peer in shown),
        "",
        READ,
        "",
        "| monitor | activations | gradients | single units | residual additions | judges |",
        "|:--|:--|:--|:--|:--|:--|",
        *(_reads(peer) for peer in shown),
        "",
        *(f"- {peer.name}: {peer.note}." for peer in shown if peer.note),
        *(f"- {name} did not run: {why}" for name, why in failed.items()),
    ]
    return "\n".join(lines).rstrip() + "\n"


def mean(ratios: Mapping[str, Sequence[float]]) -> float:
    """Return the geometric mean over the networks of the median over the rounds."""
    return statistics.geometric_mean(statistics.median(rounds) for rounds in ratios.values())


def _cost(peer: Peer, result: Mapping[str, Any]) -> str:
    version = f"{result['version']}" if peer.program != "init_monitor" else "this one"
    cells = (
        f"{statistics.median(rounds):.2f}" + (f" ({min(rounds):.2f}–{max(rounds):.2f})" if len(rounds) > 1 else "")
        for rounds in result["ratios"].values()
    )
    return f"| {peer.name} | {version} | {peer.loop} | {' | '.join(cells)} | {result['waits']} |"


def _reads(peer: Peer) -> str:
    words = {True: "yes", False: "no"}
    cells = (peer.name, peer.activations, peer.gradients, words[peer.units], words[peer.residuals], peer.judges)
    return f"| {' | '.join(cells)} |"
