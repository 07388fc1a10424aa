"""Both ends of a network: rows of tables that are looked up, and logits that a cross entropy gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from init_monitor.structure.derivation import argument
from init_monitor.structure.nodes import Kind, Node
from init_monitor.structure.score_rows import Scores, choice_for
from init_monitor.torch_compat import unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from init_monitor.structure.operations import Operation

_TABLES = frozenset({"embedding", "embedding_bag"})
_MOVED = frozenset({Kind.CARRY, Kind.SLICE, Kind.SCALE, Kind.BIAS})

_FARTHEST = 32
"""Values looked at between a layer's output and the cross entropy of it."""


class EndListener(Protocol):
    """Whom to tell."""

    def is_watched(self) -> bool:
        """Say whether it is wanted now."""

    def looked_up(self, table: Tensor, rows: Tensor, padding: int | None) -> None:
        """Hear that rows of a table, given by their numbers, were looked up, and which of them is padding."""

    def log_odds(self, maker: object, rows: Tensor) -> None:
        """Get a few rows, ``[n, classes]``, of the logits that a layer made."""

    def failed(self, error: Exception) -> None:
        """Hear that looking failed; nothing more is looked at."""


class Ends:
    """Looks at the ends of a network in one forward.

    Args:
        tell: whom.
        node_of: the node of a tensor.
    """

    def __init__(self, tell: EndListener, node_of: Callable[[Tensor], Node]) -> None:
        self._tell = tell
        self._node_of = node_of
        self._off = False

    def after(self, operation: Operation, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
        """Look at a call of a function that looks rows up, or that gets logits."""
        try:
            if self._off or not self._tell.is_watched():
                return
            with unseen():
                if operation.name in _TABLES:
                    self._lookup(args, kwargs)
                else:
                    self._logits(operation.name, args, kwargs)
        except Exception as error:  # noqa: BLE001 - must not reach the user's forward, nor end the probe
            self._off = True
            self._tell.failed(error)

    def _lookup(self, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
        # torch.embedding takes the table first, torch.nn.functional.embedding second.
        given = [argument(args, kwargs, 0, "input"), argument(args, kwargs, 1, "weight")]
        tables = [one for one in given if isinstance(one, Tensor) and one.is_floating_point() and one.dim() == 2]  # noqa: PLR2004 - rows of a table
        numbers = [one for one in given if isinstance(one, Tensor) and not one.is_floating_point()]
        if tables and numbers:
            padding = argument(args, kwargs, 2, "padding_idx")
            # torch.embedding says -1 where there is none.
            known = isinstance(padding, int) and padding >= 0
            self._tell.looked_up(tables[0], numbers[0], padding if known else None)  # type: ignore[arg-type]

    def _logits(self, function: str, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
        found = logit_rows(function, args, kwargs)
        if found is not None and (maker := maker_behind(self._node_of(found[0]))) is not None:
            self._tell.log_odds(maker, found[1])


def maker_behind(node: Node) -> object:
    """Return what stands for the layer that made a value, moved or scaled since at most; ``None`` if none did."""
    at: Node | None = node
    for _ in range(_FARTHEST):
        if at is None or at.maker is not None:
            return None if at is None else at.maker
        at = at.main if at.kind in _MOVED else None
    return None


def logit_rows(function: str, args: Sequence[object], kwargs: Mapping[str, object]) -> tuple[Tensor, Tensor] | None:
    """Return the logits that a cross entropy, or the logarithm of a softmax, was called with, and a few rows of them.

    Args:
        function: ``"cross_entropy"`` or ``"log_softmax"``.
        args: of the call.
        kwargs: likewise.

    Returns:
        The tensor itself and ``[rows, classes]``; ``None`` if it was called with something else.
    """
    logits, dim = argument(args, kwargs, 0, "input"), argument(args, kwargs, 1, "dim")
    if not isinstance(logits, Tensor) or not logits.is_floating_point() or not logits.numel():
        return None
    if function == "cross_entropy" or not isinstance(dim, int):
        dim = 1 if logits.dim() > 1 else 0
    rows = logits.unsqueeze(0) if logits.dim() == 1 else logits.movedim(dim, -1)
    scores = Scores(None, rows.dim() - 2, rows.dim() - 1)
    return logits, rows[choice_for(rows.shape, scores).of(rows.shape, scores)].flatten(0, -2)
