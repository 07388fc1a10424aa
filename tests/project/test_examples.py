"""The examples run, agree with theory in a small setting, and leave a figure and a TensorBoard log."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[2] / "examples"
# Those of a framework (fabric, huggingface) train; they claim nothing and have tests of their own.
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py") if "from setting import" in path.read_text(encoding="utf-8"))

pytestmark = [
    pytest.mark.slow,
    # Drawing and logging libraries, on their way to newer versions of others.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning"),
]


@pytest.fixture(autouse=True)
def on_the_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    threads, known = torch.get_num_threads(), set(sys.modules)
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    for name in set(sys.modules) - known:
        if name in {"setting", *NAMES}:
            del sys.modules[name]


def test_there_are_nine_examples_of_fewer_than_a_hundred_lines() -> None:
    assert len(NAMES) == 9
    assert [name for name in NAMES if len((EXAMPLES / f"{name}.py").read_text().splitlines()) >= 100] == []


@pytest.mark.parametrize("name", NAMES)
def test_theory_and_measurement_agree(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example: Any = importlib.import_module(name)
    claims = example.main(["--small", "--out", str(tmp_path)])
    assert claims
    assert [claim for claim in claims if not claim.holds] == []
    printed = capsys.readouterr().out
    assert all(claim.what in printed for claim in claims)
    figure = tmp_path / name / "figure.png"
    assert figure.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert list((tmp_path / name).glob("events.out.tfevents.*"))


@pytest.mark.parametrize(
    ("theory", "measured", "holds"), [(2.0, 2.3, True), (2.0, 2.5, False), (2.0, -2.0, False), (0.0, 0.1, True), (0.0, 0.3, False)]
)  # fmt: skip
def test_a_claim_holds_within_its_factor(theory: float, measured: float, holds: bool) -> None:  # noqa: FBT001
    setting: Any = importlib.import_module("setting")
    assert setting.Claim("a", theory, measured, 1.2).holds is holds
