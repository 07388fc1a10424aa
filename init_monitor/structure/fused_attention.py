"""A few rows of an attention that a fused kernel computes: its logits are made again from queries and keys."""

from __future__ import annotations

import inspect
import math
import sys
from contextlib import nullcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from init_monitor.measures.attention import Looks
from init_monitor.structure.derivation import argument
from init_monitor.structure.score_rows import Choice, Scores, choice_for, heads_first, scores_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

_FOUR = Scores(head=1, query=2, key=3)
"""Scores of ``[N, H, L, S]``."""


def looks_of_product_attention(args: Sequence[object], kwargs: Mapping[str, object]) -> Looks | None:
    """Return rows of a ``scaled_dot_product_attention``, ``None`` where its tensors are of a kind that cannot be cut."""
    query, key = argument(args, kwargs, 0, "query"), argument(args, kwargs, 1, "key")
    mask = argument(args, kwargs, 3, "attn_mask")
    if not isinstance(query, Tensor) or not isinstance(key, Tensor) or query.is_nested or query.dim() < 2:  # noqa: PLR2004
        return None
    scores, shape = scores_of(query.dim()), (*query.shape[:-1], key.shape[-2])
    choice = choice_for(shape, scores)
    scale = kwargs.get("scale")
    of_rows = query[choice.of(shape, scores)]
    logits = _products(of_rows, _chosen_keys(key, choice, shape, scores), scale)
    aligned = _causal(mask, shape, is_causal=bool(argument(args, kwargs, 5, "is_causal")))
    if aligned is not None:
        rows = torch.arange(choice.first, shape[-2], choice.step, device=query.device)
        hidden = torch.arange(shape[-1], device=query.device) > (rows + aligned).unsqueeze(-1)
        return _looks(logits, [_as_bias(~hidden, logits)], scores)
    added = [_as_bias(_cut(mask, shape, scores, choice), logits)] if isinstance(mask, Tensor) else []
    return _looks(logits, added, scores)


def looks_of_module_attention(args: Sequence[object], kwargs: Mapping[str, object]) -> Looks | None:
    """Return rows of a ``multi_head_attention_forward``, from its inputs and weights."""
    given = _signature().bind(*args, **kwargs).arguments
    query, key, heads = given["query"], given["key"], given["num_heads"]
    if query.dim() == 2:  # noqa: PLR2004 - without a batch
        query, key = query.unsqueeze(1), key.unsqueeze(1)
    if given.get("static_k") is not None or query.is_nested:
        return None
    (length, samples, width), keys = query.shape, key.shape[0]
    extra = (given.get("bias_k") is not None) + bool(given.get("add_zero_attn"))
    shape = (samples, heads, length, keys + extra)
    choice = choice_for(shape, _FOUR)
    weights, biases = _projections(given, width)
    batch = slice(None, None, choice.batch[0])
    of_rows = _split(_linear(query[choice.first :: choice.step, batch], weights[0], biases[0]), heads)
    of_keys = _linear(key[:, batch], weights[1], biases[1])
    if given.get("bias_k") is not None:
        of_keys = torch.cat((of_keys, given["bias_k"].to(of_keys.dtype).expand(1, *of_keys.shape[1:])))
    if given.get("add_zero_attn"):
        of_keys = torch.cat((of_keys, of_keys.new_zeros(1, *of_keys.shape[1:])))
    logits = _products(of_rows, _split(of_keys, heads), None)
    added = []
    attention, padding = given.get("attn_mask"), given.get("key_padding_mask")
    if attention is not None:
        each = attention.view(samples, heads, length, keys) if attention.dim() == 3 else attention  # noqa: PLR2004
        added.append(_padded(_cut(each, (samples, heads, length, keys), _FOUR, choice), extra, logits))
    if padding is not None:
        cut_padding = padding.reshape(samples, 1, 1, keys)[batch]
        added.append(_padded(cut_padding, extra, logits))
    return _looks(logits, added, _FOUR)


def _chosen_keys(key: Tensor, choice: Choice, shape: Sequence[int], scores: Scores) -> Tensor:
    """Return the keys of the chosen samples, one set for each head: heads that share theirs get a copy each."""
    if key.dim() < len(shape):
        key = key.expand(*shape[: len(shape) - key.dim()], *key.shape)
    cut = list(choice.of(shape, scores))
    cut[scores.query] = slice(None)
    chosen = key[tuple(slice(None) if size == 1 else one for one, size in zip(cut, key.shape, strict=True))]
    if scores.head is not None and 1 < chosen.shape[scores.head] < shape[scores.head]:
        chosen = chosen.repeat_interleave(shape[scores.head] // chosen.shape[scores.head], dim=scores.head)
    return chosen


def _products(rows: Tensor, keys: Tensor, scale: object) -> Tensor:
    """Return q·k times the scale, in float32 at least, whatever autocast would make of it."""
    wide = torch.float64 if rows.dtype == torch.float64 else torch.float32
    factor = float(scale) if isinstance(scale, (int, float)) else 1 / math.sqrt(max(1, rows.shape[-1]))
    with _full_precision(rows.device.type):
        return (rows.to(wide) * factor) @ keys.to(wide).mT


def _looks(logits: Tensor, added: Sequence[Tensor], scores: Scores) -> Looks:
    if not added:
        return Looks(heads_first(logits, scores))
    total = added[0] if len(added) == 1 else sum(added[1:], added[0])
    total = total[(None,) * (logits.dim() - total.dim())]
    return Looks(
        heads_first(logits, scores), heads_first(total.expand(_for_all_heads(logits.shape, total, scores)), scores)
    )


def _for_all_heads(shape: Sequence[int], mask: Tensor, scores: Scores) -> list[int]:
    """Return a shape with one head where a mask does not tell heads apart: what is the same for all is computed once."""
    wanted = list(shape)
    if scores.head is not None and (mask.shape[scores.head] == 1 or not mask.stride(scores.head)):
        wanted[scores.head] = 1
    return wanted


def _cut(mask: Tensor, shape: Sequence[int], scores: Scores, choice: Choice) -> Tensor:
    """Return the chosen rows of a mask, for one head where it is the same for all."""
    whole = mask[(None,) * (len(shape) - mask.dim())]
    wanted = _for_all_heads(shape, whole, scores)
    if scores.head is not None and wanted[scores.head] == 1:
        whole = whole.narrow(scores.head, 0, 1)
    return whole.expand(wanted)[choice.of(wanted, scores)]


def _causal(mask: object, shape: Sequence[int], *, is_causal: bool) -> int | None:
    """Return how many keys beyond its own number a row sees under a causal mask, ``None`` without one."""
    if _is_causal_bias(mask):
        return int(shape[-1] - shape[-2]) if "LOWER" in str(mask.variant) else 0  # type: ignore[attr-defined]
    return 0 if is_causal else None


def _is_causal_bias(mask: object) -> bool:
    # Importing that module where nobody has used it costs more than it tells.
    known = sys.modules.get("torch.nn.attention.bias")
    return known is not None and isinstance(mask, known.CausalBias)


def _as_bias(mask: Tensor, like: Tensor) -> Tensor:
    """Return a mask, whose truth says which keys are seen, as what it adds to the logits."""
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros(mask.shape, dtype=like.dtype, device=like.device).masked_fill_(~mask, -torch.inf)


def _padded(mask: Tensor, extra: int, like: Tensor) -> Tensor:
    """Return a mask of ``nn.MultiheadAttention``, whose truth says what is hidden; keys that it adds itself are seen."""
    bias = _as_bias(~mask if mask.dtype == torch.bool else mask, like)
    return torch.nn.functional.pad(bias, (0, extra)) if extra else bias


def _full_precision(device: str) -> AbstractContextManager[object]:
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


@lru_cache(maxsize=1)
def _signature() -> inspect.Signature:
    return inspect.signature(functional.multi_head_attention_forward)


def _projections(given: Mapping[str, Any], width: int) -> tuple[Sequence[Tensor], Sequence[Tensor | None]]:
    """Return the weights and biases that make queries and keys."""
    bias = given.get("in_proj_bias")
    biases = (None, None) if bias is None else (bias[:width], bias[width : 2 * width])
    if given.get("use_separate_proj_weight"):
        return (given["q_proj_weight"], given["k_proj_weight"]), biases
    weight = given["in_proj_weight"]
    return (weight[:width], weight[width : 2 * width]), biases


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    with _full_precision(x.device.type):
        return functional.linear(x.to(wide), weight.to(wide), None if bias is None else bias.to(wide))


def _split(x: Tensor, heads: int) -> Tensor:
    """Return ``[L, N, E]`` as ``[N, H, L, E / H]``."""
    split: Tensor = x.unflatten(-1, (heads, -1))
    return split.permute(1, 2, 0, 3)
