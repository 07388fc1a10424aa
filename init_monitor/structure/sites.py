"""What the probe finds, by name: residual additions, and activations and layers that are called as functions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from init_monitor.records import Residual

if TYPE_CHECKING:
    from init_monitor.structure.fans import Fans


class ResidualSite(NamedTuple):
    """One residual addition of the forward that was probed.

    Attributes:
        name: ``owner#k``; ``owner@c#k`` in the c-th call (c ≥ 2) of a module that is called several times.
        owner: qualified name of the innermost module whose forward adds; empty for the model itself.
        ordinal: k, from 1, within that call.
        kind: ``"identity"``, or ``"projection"`` if the skip goes through a light affine map.
        skip: where that term was made: a module, an earlier residual addition, ``"input"`` or ``"parameter"``.
        branch: the same for the other term.
        skip_scale: α of ``αx + βF``, the number x was multiplied by; ``None`` if it was a tensor.
        branch_scale: β, likewise.
        sum_scale: number by which the sum is multiplied before the next addition of the stream; NaN if a tensor.
        follows: name of the addition whose sum the skip is, but for views, factors, a normalisation or an activation.
        normalised: True if a normalisation lies on the stream between this addition and the next.
        nested: True if it lies inside the branch of another residual addition. This can be known only later: what the
            probe lists after the forward is final.
        long: True if the skip passes over other residual additions of its stream (a global skip, a U-Net's).
        again: True if a skip that the sum holds was added to it once more: ``x + (x + F(x))``.
        query: True if the skip is only a part of what the branch looks at, or a learned token.
        operation: bare name of the function that added, for instance ``"add"``.
        skip_maker: what stands for the layer call whose output the skip is, before any factor; ``None`` if no layer made it.
    """

    name: str
    owner: str
    ordinal: int
    kind: str
    skip: str
    branch: str
    skip_scale: float | None = 1.0
    branch_scale: float | None = 1.0
    sum_scale: float = 1.0
    follows: str = ""
    normalised: bool = False
    nested: bool = False
    long: bool = False
    again: bool = False
    query: bool = False
    operation: str = "add"
    skip_maker: object = None

    @property
    def residual(self) -> Residual:
        """The same in the words of :mod:`init_monitor.records`."""
        return Residual(
            name=self.name,
            owner=self.owner,
            kind=self.kind,
            skip=self.skip,
            branch=self.branch,
            skip_scale=math.nan if self.skip_scale is None else self.skip_scale,
            branch_scale=math.nan if self.branch_scale is None else self.branch_scale,
            sum_scale=self.sum_scale,
            follows=self.follows,
            nested=self.nested,
            long=self.long,
            normalised=self.normalised,
            again=self.again,
        )


@dataclass(frozen=True, slots=True)
class ActivationSite:
    """One call of an activation as a function.

    Attributes:
        name: ``owner/kind#k``, for instance ``"layer1.0/relu#2"``; ``owner@c/kind#k`` in the owner's c-th call.
        owner: qualified name of the module whose forward called it; empty for the model itself.
        kind: name of the function as in torch.nn.functional; ``clamp_min(0)`` is a ``"relu"``.
        in_place: True if it overwrote its input, which then can no longer be read.
        outside: True if no module was running: a training step or the like called it.
    """

    name: str
    owner: str
    kind: str
    in_place: bool
    outside: bool = False


@dataclass(frozen=True, slots=True)
class MixingSite:
    """One function call that mixes an input with a weight of the model: a layer that is not a module call.

    Attributes:
        name: of the module that holds the weight, of the weight itself if that module holds several, or
            ``caller/function#k`` if the module was called as well.
        owner: path of the module that holds the weight.
        caller: path of the module whose forward called the function.
        kind: class name of the owner.
        weight: qualified name of the weight; empty if what was used was computed from it.
        bias: qualified name of the bias, empty if there is none.
        parameters: qualified names of all parameters that belong to it.
        fans: terms that are summed.
        channels_first: the units of its output are its second dimension.
    """

    name: str
    owner: str
    caller: str
    kind: str
    weight: str
    bias: str
    parameters: tuple[str, ...]
    fans: Fans
    channels_first: bool
