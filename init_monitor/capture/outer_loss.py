"""Logits that leave the watched model before a cross entropy gets them, as in a training loop that computes its loss outside."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, NamedTuple

from init_monitor.capture.tensors import floating_tensors
from init_monitor.structure.ends import logit_rows
from init_monitor.torch_compat import unseen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from init_monitor.structure.ends import EndListener

_FARTHEST = 16
"""Operations looked at between the model's output and the cross entropy of it."""

_CARRIES = (
    "View", "UnsafeView", "ReshapeAlias", "Transpose", "Permute", "T", "Mt", "ToCopy", "Slice", "Select", "Squeeze",
    "Unsqueeze", "Alias", "Clone", "Mul", "Div", "Expand",
)  # fmt: skip
"""Beginnings of names of autograd's nodes that move, convert or scale a tensor."""

CROSS_ENTROPIES = frozenset({"cross_entropy", "log_softmax"})


class _Output(NamedTuple):
    tensor: weakref.ref[Tensor]
    maker: object


class OuterLoss:
    """Hears of torch functions that are called after a forward, and measures log Z of the model's output where one is a loss of it.

    It holds no tensor: what the loop lets go of is gone.

    Args:
        output: what the model returned.
        maker_of: what stands for the layer that made a tensor, ``None`` if none did.
        tell: gets the logits.
    """

    def __init__(self, output: object, maker_of: Callable[[Tensor], object], tell: EndListener) -> None:
        with unseen():
            made = [(tensor, maker_of(tensor)) for _, tensor in floating_tensors(output)]
        self._outputs = [_Output(weakref.ref(tensor), maker) for tensor, maker in made if maker is not None]
        self._tell = tell

    def called(self, function: str, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
        """Hear of a call of ``cross_entropy`` or ``log_softmax``."""
        try:
            if not self._outputs or not self._tell.is_watched():
                return
            with unseen():
                found = logit_rows(function, args, kwargs)
                maker = None if found is None else self._maker(found[0])
                if found is not None and maker is not None:
                    self._tell.log_odds(maker, found[1])
        except Exception as error:  # noqa: BLE001 - must not reach the user's training
            self._outputs = []
            self._tell.failed(error)

    def _maker(self, logits: Tensor) -> object:
        """Return what made a tensor, by way of the operations that autograd has noted since."""
        outputs = [(tensor, maker) for ref, maker in self._outputs if (tensor := ref()) is not None]
        for tensor, maker in outputs:
            if tensor is logits:
                return maker
        node = logits.grad_fn
        for _ in range(_FARTHEST):
            if node is None:
                return None
            for tensor, maker in outputs:
                if tensor.grad_fn is node:
                    return maker
            before = [one for one, _ in node.next_functions if one is not None and one.name() != "AccumulateGrad"]
            kind = node.name().partition("Backward")[0]
            node = before[0] if len(before) == 1 and kind in _CARRIES else None
        return None
