"""What is recommended: how each layer should be initialised, how it is now, and why."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

FITS_WITHIN = 1.5
"""A variance within this factor of its target counts as right: a draw of 100 weights scatters by sqrt(2/100), 14 %, and a
factor of 1.5 becomes 10-fold only over six layers that all err on the same side."""


class Place(str, Enum):
    """Where a layer stands in the network, as far as its initialisation depends on it."""

    HIDDEN = "hidden"
    OUTPUT = "output"
    RESIDUAL_END = "residual end"
    EMBEDDING = "embedding"
    RECURRENT = "recurrent"
    NORMALISATION = "normalisation"

    def __str__(self) -> str:
        """Return the word itself."""
        return self.value


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """How one layer should be initialised.

    Attributes:
        layer: path of the module.
        kind: class name of the module.
        place: where it stands in the network.
        parameter: qualified name of the weight that the variances are about.
        current_variance: Var(W) now; NaN where it has no meaning (a normalisation).
        target_variance: Var(W) that the recipe gives; 0 for zeros, NaN where it has no meaning.
        recipe: name of the recipe in ``init_monitor.recipes``; empty if the layer is left as it is.
        options: its arguments.
        reason: why this recipe, or why none, in a sentence.
        source: paper and equation.
        scale_free: True if a normalisation follows, which takes out whatever scale the weights have.
        bias: the biases are drawn from U(-bias, bias); 0 where the recipe sets them.
    """

    layer: str
    kind: str
    place: Place
    parameter: str
    current_variance: float = math.nan
    target_variance: float = math.nan
    recipe: str = ""
    options: Mapping[str, object] = field(default_factory=dict)
    reason: str = ""
    source: str = ""
    scale_free: bool = False
    bias: float = 0.0

    @property
    def kept(self) -> bool:
        """Whether a recipe would know the layer, and it is left as it is all the same."""
        return not self.recipe and self.reason.startswith("Kept")

    @property
    def fits(self) -> bool:
        """Whether the variance is what it should be, within a factor of 1.5; True where it does not matter."""
        now, target = self.current_variance, self.target_variance
        if not self.recipe or self.scale_free or math.isnan(target) or math.isnan(now):
            return True
        return now == target or (target > 0 and 1 / FITS_WITHIN <= now / target <= FITS_WITHIN)
