"""What to say and do about attention whose logits are out of range: the words of IM304."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from init_monitor.analysis.attention_heads import IN_MODULE, initialised, made_by_weights
from init_monitor.analysis.optimizers import optimizer_code
from init_monitor.records import Role
from init_monitor.records.quantities import Quantity
from init_monitor.remedies import affected_layers, attention_hooks, learning_rate, phrases, snippets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from init_monitor.analysis.attention_heads import Heads
    from init_monitor.records import History, Layer, Structure

TWICE = 2.0
"""Factor from which a scale is not the usual one."""

BOUNDED = """# in the forward of the attention, before the product of queries and keys (QK-norm):
# q, k = F.rms_norm(q, q.shape[-1:]), F.rms_norm(k, k.shape[-1:])
# or before the mask and the softmax (a softcap):
# scores = 50.0 * torch.tanh(scores / 50.0)"""
DIVIDED = """# in the forward of the attention:
# scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])"""
FUSED = """# in the forward of the attention, without scale=:
# y = F.scaled_dot_product_attention(q, k, v)"""
HOOKED = " The code does the same from outside the forward, on the layers that make {}."


def excess(heads: Heads, history: History) -> float:
    """Return how much larger the logits are than their queries and keys make them with a scale of 1/√d; NaN if not known."""
    attention = heads.attention
    if math.isfinite(attention.scale) and attention.head_dim:
        return attention.scale * math.sqrt(attention.head_dim)
    made = made_by_weights(attention, history.records[0], history.structure)
    return heads.rms / made if made > 0 else math.nan


def cause(heads: Heads, history: History) -> str:
    """Return the sentence that says what made the logits so large from the start."""
    attention, factor = heads.attention, excess(heads, history)
    root = math.sqrt(attention.head_dim)
    if factor >= TWICE:
        given = f"They are q·k times {phrases.number(attention.scale)}" if math.isfinite(attention.scale) else ""
        lacks = root / TWICE <= factor <= root * TWICE
        if given and lacks:
            return f" {given}, where 1/√{attention.head_dim} = {phrases.number(1 / root)} keeps them at 1: the scale 1/√d is missing."
        begin = given or f"They are {phrases.times(factor)} what these queries and keys give with a scale of 1/√d"
        return f" {begin}: the factor of the logits is too large" + (
            f", by about the √{attention.head_dim} that 1/√d takes away." if lacks else "."
        )
    if loud := _received(heads, history):
        maker, square = loud
        rms = phrases.number(math.sqrt(square))
        by = _added(maker, square, history)
        return f" What {maker.shown} receives has an rms of {rms}, where 1 is usual{by and f': {by}'}."
    made = made_by_weights(attention, history.records[0], history.structure)
    if attention.function == IN_MODULE or made >= TWICE:
        names = phrases.names([layer.name for layer in initialised(attention, history.structure)])
        return f" The weights of {names} make them so large." if names else ""
    return ""


def _received(heads: Heads, history: History) -> tuple[Layer, float] | None:
    """Return the layer that makes queries and keys of what is too large, and its mean square; ``None`` if that does not explain the logits.

    Both come of what is received, so logits grow with its mean square.
    """
    table = history.records[0].layer_table
    for maker in initialised(heads.attention, history.structure):
        square = table.at(maker.name, Quantity.INPUT_MEAN_SQUARE)
        if square >= TWICE**2 and heads.rms < TWICE * square:
            return maker, square
    return None


def _added(maker: Layer, square: float, history: History) -> str:
    """Return what layers give of what is received, if that is so little that something else makes its size; empty if it is not."""
    table = history.records[0].layer_table
    given = sum(table.at(name, Quantity.MEAN_SQUARE) for name in maker.inputs)
    if not maker.inputs or not given * TWICE**2 < square:
        return ""
    return (
        f"{phrases.names(maker.inputs)} gives an rms of {phrases.number(math.sqrt(given))}, so what is added to it (positions, another"
        " embedding) or multiplies it is too large"
    )


def _smaller_input(maker: Layer, square: float, history: History) -> str:
    """Return what to do about what is received: make smaller what gives it, or normalise it."""
    normalise = f"normalise what {maker.shown} receives (a LayerNorm before the attention). Its own weights are fine."
    if _added(maker, square, history):
        return (
            "Make what is added there smaller (learned positions start with a standard deviation of 0.02, sines and cosines have an"
            f" rms of 0.7), or {normalise}"
        )
    known = history.structure.by_name()
    giving = [known[x] for x in maker.inputs if x in known and known[x].weight and known[x].role is Role.WEIGHT]
    if not giving:
        return normalise[0].upper() + normalise[1:]
    return snippets.advice(
        f"Initialise {phrases.names([layer.name for layer in giving])} smaller, or {normalise}",
        snippets.initialise(giving, among=history.structure),
    )


def of_the_start(found: Sequence[Heads], history: History) -> str:
    """Return what to do about logits that are too large from the start."""
    worst, structure = found[0], history.structure
    factor = excess(worst, history)
    if factor >= TWICE:
        attention = worst.attention
        if not math.isfinite(attention.scale):
            return snippets.advice(
                "Let what multiplies the logits (a temperature, a learned factor) start at 1/√d, or at 1 where queries and keys"
                " are normalised; keep it below a bound while it is learned.",
            )
        alike = [one for one in found if math.isclose(excess(one, history), factor, rel_tol=0.01)]
        code = attention_hooks.dividing(alike, factor, structure)
        written = attention.function == "softmax"
        sentence = (
            "Divide the logits by the square root of the dimension they sum over, where they are made:"
            " scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])."
            if written
            else "Leave the scale of the logits at 1/√d, which scaled_dot_product_attention takes by itself, without scale=."
        )
        if code:
            return snippets.advice(sentence + HOOKED.format("the queries"), code)
        return snippets.advice(sentence, DIVIDED if written else FUSED)
    if loud := _received(worst, history):
        return _smaller_input(*loud, history)
    layers = list({layer.name: layer for one in found for layer in initialised(one.attention, structure)}.values())
    every = affected_layers.off_too(layers, history, direction=1)
    also = [layer.name for layer in every if layer not in layers]
    return snippets.advice(
        "Initialise what makes queries and keys so that they start with an rms of 1 (Xavier behind a normalisation), or"
        " normalise them before their product (QK-norm)."
        + (f" The weights of {phrases.names(list(dict.fromkeys(also)))} are too large as well." if also else ""),
        snippets.initialise(every, among=structure),
    )


def of_training(found: Sequence[Heads], history: History) -> str:
    """Return what to do about logits that grew."""
    capped = all(one.attention.normalised for one in found)
    if capped:
        return (
            "Queries are normalised, so what grew is the factor behind that (a learned scale, a temperature): bound it, leave it"
            " out of weight decay's reach only where it needs to grow, and lower its learning rate."
        )
    sentence = (
        "Normalise queries and keys before their product (QK-norm), which bounds the logits whatever the weights become. Where the"
        " network has to stay as it is: a lower learning rate with a longer warm-up, or a softcap on the logits."
    )
    code = attention_hooks.normalising(found, history.structure)
    if not code:
        return snippets.advice(sentence, BOUNDED)
    sentence += HOOKED.format("queries and keys")
    rate = learning_rate.rate_of_the_start(history)
    if rate.value * learning_rate.CLEAR <= history.last.learning_rate:
        sentence += f" The steps are too large as well: lower the learning rate to about {rate.value:g}.{rate.reason}"
        slower = optimizer_code(history.last.optimizer, rate.value)
        code = "\n\n".join([code, slower.removeprefix("import torch\n\n") if "import torch\n" in code else slower])
    return snippets.advice(sentence, code.rstrip())


def names_of(found: Sequence[Heads], structure: Structure) -> tuple[str, ...]:
    """Return what a finding names, in execution order: the layers that made queries and keys, or the module where these are not known."""
    known = structure.by_name()
    names: dict[str, None] = {}
    order = {attention.name: place for place, attention in enumerate(structure.attentions)}
    for one in sorted(found, key=lambda one: order[one.attention.name]):
        made = [name for name in one.attention.inputs if name in known]
        names.update(dict.fromkeys(made or [one.attention.owner or one.attention.name]))
    return tuple(names)
