"""The kernel for CUDA: against the oracle in Triton's interpreter, and what happens where there is no Triton."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from init_monitor.measures import Layout, Reduction, Scratch, cuda, reduce

TRITON = Path(sys.prefix) / "triton"
"""Where the Makefile puts Triton: beside a CPU torch nothing but these tests is to find it."""

TESTS = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "interprets", "tests"), [("interpreted_triton.py", "1", 24), ("compiled_triton.py", "0", 9)]
)
def test_the_kernel_agrees_with_the_oracle_in_the_interpreter_and_compiles(
    tmp_path: Path, file: str, interprets: str, tests: int
) -> None:
    if not TRITON.is_dir() and not os.environ.get("CI"):
        pytest.skip("Triton is not installed (it is for Linux alone): see the Makefile")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (TESTS.parent, TESTS, TESTS / "measures", TRITON))),
        "TRITON_INTERPRET": interprets,
        "TRITON_CACHE_DIR": str(tmp_path),
        "OMP_NUM_THREADS": "1",
    }
    environment.pop("PYTEST_XDIST_WORKER", None)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-cov",
         str(TESTS / file)],
        capture_output=True, text=True, check=False, cwd=TESTS.parent, env=environment, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    counted = re.search(r"(\d+) passed", done.stdout)
    assert counted is not None
    assert int(counted[1]) == tests
    assert "skipped" not in done.stdout


def test_without_triton_a_tensor_is_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda.source.cache_clear()
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "init_monitor.measures.triton.one_read", raising=False)
    assert cuda.source() is None
    cuda.source.cache_clear()


def test_where_triton_fails_torch_reads_and_it_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def fails(block: torch.Tensor, plan: Reduction) -> None:
        tried.append(1)
        message = "no compiler"
        raise RuntimeError(message)

    kernel = cuda.OneRead()
    monkeypatch.setattr(cuda, "one_read", fails)
    monkeypatch.setattr(torch.cuda, "device", torch.device)
    x = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0))
    plan = Reduction(Layout(0, 1), rectifier=True)
    room = Scratch(x.device)
    found = kernel.reduce(x, plan, room)
    torch.testing.assert_close(found.rows, reduce(x, plan).rows, rtol=1e-5, atol=1e-6)
    assert tried == [1]
    assert not kernel._works


@pytest.mark.parametrize(
    ("shape", "layout", "expected"),
    [
        # [N, C, H, W]: positions lie side by side; a program reads one unit of one sample.
        ((1, 64, 32, 56, 56), Layout(0, 1), (64, 32, 3136, 1, (1, 1024))),
        # 7 x 7 positions: sixteen units at once.
        ((1, 64, 512, 7, 7), Layout(0, 1), (64, 512, 49, 1, (16, 64))),
        # [N, T, C]: units lie side by side.
        ((1, 64, 197, 768), Layout(0, 2), (64, 768, 197, 1, (128, 8))),
        # [N, C]: samples are what is summed over, in stretches of 32 tiles.
        ((3, 1000, 300), Layout(0, 1), (1, 300, 1000, 4, (128, 8))),
        # A weight: nothing is told apart.
        ((1, 1000, 1000), None, (1, 1, 10**6, 31, (1, 1024))),
    ],
    ids=str,
)
def test_how_a_tensor_is_shared_out(shape: tuple[int, ...], layout: Layout | None, expected: object) -> None:
    x = torch.empty(shape, device="meta")
    found = cuda.geometry_of(shape, x.stride(), layout)
    assert found is not None
    assert (found.samples, found.units, found.positions, found.chunks, found.tile) == expected
