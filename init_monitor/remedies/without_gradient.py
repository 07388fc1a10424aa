"""Why parameters get no gradient, and what to do about it, in words."""

from __future__ import annotations

from typing import NamedTuple

from init_monitor.analysis.gradient_flow import Why
from init_monitor.remedies import phrases
from init_monitor.remedies.alike_weights import SENTENCE


class Told(NamedTuple):
    """A reason and a remedy, in sentences."""

    reason: str
    remedy: str


TOLD = {
    Why.DETACHED: Told(
        "They ran and what comes after them learns, but no gradient comes back: the graph is cut in between.",
        "Look for what cuts the graph after these layers: detach(), .data, torch.no_grad(), argmax, sample() instead of"
        " rsample(), a conversion to numpy or a new torch.tensor(...), an autograd.Function whose backward returns None for the"
        " weight, a reentrant checkpoint whose input needs no gradient (use_reentrant=False). If they should not train, freeze them with requires_grad_(False).",
    ),
    Why.CUT: Told(
        "The gradient is exactly 0: the output is multiplied by 0, or goes where nothing depends on it, as in a softmax over a"
        " single element, which is always 1, or cancels.",
        "Look at what their output is multiplied by: a factor, a mask or a weight of 0, an activation that is off, a"
        " clamp; at the dimension of a softmax behind them (topk(1) or an index leaves one element: take the softmax"
        " over all alternatives first, then choose); at the log_prob of what rsample() gave, in which the mean cancels (take sample(), or"
        f" detach it). {phrases.STEPWISE} If the branch is not needed, remove it.",
    ),
    Why.LOOSE: Told(
        "Their modules ran, but the loss does not use their output.",
        "Use the output of these layers in the loss, or remove them, or freeze them with requires_grad_(False).",
    ),
    Why.UNUSED: Told(
        "Their modules were not seen to run, or ran under torch.no_grad().",
        "Call these modules in the forward, outside torch.no_grad(); or remove them, or freeze them with"
        " requires_grad_(False).",
    ),
    Why.NEVER_CHOSEN: Told(
        "Others of their list ran, now these, now those, and so many that were never chosen are not so by chance: what chooses sends"
        " every sample to the same few.",
        "Let the router tell the samples apart: normalise what it receives (LayerNorm), and add a loss term that balances how often"
        " each module is chosen (8 · Σ share · probability for 8 of them), or noise to its logits at first.",
    ),
}

COPY = Told(
    "They look like a copy of a part that learns, such as a target network, and their output is detached.",
    "Nothing has to change if that is intended; requires_grad_(False) makes it explicit and keeps them out of the optimizer.",
)
"""Of a part that a learning one is copied to."""

LEFT_OUT = Told(
    "",
    "Pass all parameters to the optimizer, and build it after the whole model is built; freeze what should not train with"
    " requires_grad_(False).",
)
"""Of what no optimizer holds."""

ANEW = Told(
    " At step {} an optimizer held what had the same name: training replaces it, and the new one is another parameter.",
    "Look for what makes a parameter anew while training runs, as self.weight = nn.Parameter(self.weight * mask) in a forward, or a layer"
    " that is replaced. Use the product itself, F.linear(x, self.weight * mask), or change the numbers in place (with torch.no_grad():"
    " self.weight.mul_(mask)), so that the optimizer keeps what it holds; what has to be new goes to optimizer.add_param_group.",
)
"""Of what an optimizer held before."""

ALIKE = Told(
    "The gradient is exactly 0: their weights, or those of what reads them, began as zeros or one number throughout, one layer behind"
    " the other, and hand each other no gradient.",
    SENTENCE,
)
"""Of layers that began alike."""
