"""IM704: rows of a table that no index reaches; a rare token that has not come yet, positions and flags are no fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from builders import only
from models import Classifier, fit, loader
from torch import Tensor, nn

import init_monitor
from init_monitor import InitMonitor, Severity

if TYPE_CHECKING:
    from collections.abc import Callable

    from init_monitor.records import Finding

STEPS = 48


class Reader(nn.Module):
    """Tokens, their positions and their types, and a head that may share the table of tokens."""

    def __init__(self, rows: int, *, tied: bool = False, padding: int | None = None) -> None:
        super().__init__()
        self.tokens = nn.Embedding(rows, 16, padding_idx=padding)
        self.positions, self.types = nn.Embedding(256, 16), nn.Embedding(2, 16)
        self.head = nn.Linear(16, rows, bias=False)
        if tied:
            self.head.weight = self.tokens.weight

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1]).expand_as(x)
        hidden = self.tokens(x) + self.positions(places) + self.types(torch.zeros_like(x))
        logits: Tensor = self.head(hidden)
        return logits


def found(draw: Callable[[torch.Generator], Tensor], rows: int = 512, **made: Any) -> list[Finding]:
    """Train on what is drawn, every step measured, and return what this rule says."""
    torch.manual_seed(0)
    model = Reader(rows, **made)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(0)
    with init_monitor.watch(model, optimizer, sinks=(), strict=True, dense_steps=STEPS) as monitor:
        for _ in range(STEPS):
            with monitor.step():
                x = draw(generator)
                loss = nn.functional.cross_entropy(model(x).flatten(0, 1), x.flatten())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return [one for one in monitor.findings if one.code == "IM704"]


def among(low: int, high: int) -> Callable[[torch.Generator], Tensor]:
    return lambda generator: torch.randint(low, high, (8, 12), generator=generator)


def zipf(generator: torch.Generator) -> Tensor:
    """Tokens as frequent as words are: of 50,000, a new one comes in nearly every batch."""
    weights = 1 / torch.arange(1, 50_001, dtype=torch.float64)
    return torch.multinomial(weights, 96, replacement=True, generator=generator).reshape(8, 12)


def test_one_row_alone_is_a_warning() -> None:
    finding = only(found(lambda generator: torch.rand(8, 12, generator=generator).long()))
    assert (finding.code, finding.rule, finding.severity) == ("IM704", "unused-rows", Severity.WARNING)
    assert finding.layers == ("tokens",)
    assert "Every lookup in tokens was row 0 of 512" in finding.message
    assert "cast to integers" in finding.remedy


def test_a_vocabulary_that_is_larger_than_the_data_is_information() -> None:
    finding = only(found(among(0, 100)))
    assert finding.severity is Severity.INFO
    assert finding.layers == ("tokens",)
    assert "Of the 512 rows of tokens 100 have been looked up, from row 0 to row 99" in finding.message
    assert "They keep their initial values" in finding.message
    assert finding.remedy.startswith("Give it 100 rows")
    assert float(finding.evidence["rows_looked_up"]) == 100


def test_indices_that_are_shifted_are_told_with_the_shift() -> None:
    finding = only(found(among(400, 500)))
    assert "from row 400 to row 499" in finding.message
    assert finding.remedy.startswith("Subtract 400 from the indices")


def test_of_a_shared_weight_the_other_rows_are_classes_still() -> None:
    assert (
        "As classes of head, which shares the weight, the others are only pushed away."
        in only(found(among(0, 100), tied=True)).message
    )


@pytest.mark.untraced
@pytest.mark.parametrize(
    ("name", "draw", "rows"),
    [
        ("rare words", zipf, 50_000),
        ("every row", among(0, 512), 512),
        ("more than half", among(0, 300), 512),
        ("one batch again and again", lambda _: torch.arange(96).reshape(8, 12) * 5, 512),
        ("flags", lambda generator: torch.zeros(8, 12).long(), 8),
    ],
)
def test_healthy_tables_are_silent(name: str, draw: Callable[[torch.Generator], Tensor], rows: int) -> None:
    """Tables of positions and of types, of which a part is used, are in each of these networks, too."""
    assert found(draw, rows) == [], name


def test_positions_of_texts_that_become_longer_are_no_finding() -> None:
    def draw(generator: torch.Generator) -> Tensor:
        length = int(torch.randint(4, 30, (1,), generator=generator))
        return torch.randint(0, 64, (8, length), generator=generator)

    assert found(draw, 64) == []


def test_padding_between_tokens_is_a_token() -> None:
    finding = only(found(among(0, 16), rows=16, padding=3))
    assert finding.severity is Severity.INFO
    # Of 12 places 10 lie between two others, of which each is another token with probability 15/16.
    assert finding.evidence["padding_between_tokens"] == pytest.approx(10 / 12 * (15 / 16) ** 2, rel=0.1)
    assert "The padding index of tokens stands between two other tokens" in finding.message
    assert "model.tokens.padding_idx" in finding.remedy


def test_padding_at_the_end_is_padding() -> None:
    def draw(generator: torch.Generator) -> Tensor:
        x = torch.randint(1, 16, (8, 12), generator=generator)
        return x.where(torch.arange(12) < torch.randint(4, 12, (8, 1), generator=generator), 0)

    assert found(draw, rows=16, padding=0) == []


def test_one_row_beside_the_padding_is_a_warning_and_two_are_not() -> None:
    def padded(*tokens: int) -> Callable[[torch.Generator], Tensor]:
        def draw(generator: torch.Generator) -> Tensor:
            x = torch.tensor(tokens)[torch.randint(len(tokens), (8, 12), generator=generator)]
            return torch.where(torch.arange(12) < torch.randint(4, 12, (8, 1), generator=generator), x, 3)

        return draw

    finding = only(found(padded(400), padding=3))
    assert finding.severity is Severity.WARNING
    assert "but those of the padding was one and the same row: of 512 rows only 3 and 400 came" in finding.message
    assert [one.severity for one in found(padded(400, 401), padding=3)] == []
    assert [one.severity for one in found(padded(400), padding=None)] == []


def test_a_window_that_is_too_short_says_nothing() -> None:
    from init_monitor.records import History, Structure
    from init_monitor.rules import UnusedRows

    assert list(UnusedRows().judge(History([], Structure()))) == []


def test_samples_that_are_the_same_by_such_a_table_are_no_second_warning() -> None:
    class Cast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(64, 8), nn.Linear(64 * 8, 10)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.head(self.table(x.sigmoid().long()).flatten(1))
            return result

    torch.manual_seed(0)
    monitor = InitMonitor(sinks=())
    fit(Classifier(Cast(), lr=0.05), loader(64), monitor, steps=120)
    told = {finding.code: finding.severity for finding in monitor.findings}
    assert told["IM704"] is Severity.WARNING
    assert told.get("IM702", Severity.INFO) is Severity.INFO
