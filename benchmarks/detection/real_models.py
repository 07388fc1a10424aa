"""Makes torchvision, timm and transformers importable with a CPU torch, wherever the Makefile put them."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

MODELS = Path(sys.prefix) / "models"
"""Where the Makefile puts torchvision and timm, out of the way of Lightning, which imports torchvision where it can."""

_operators: list[torch.library.Library] = []
"""Kept, because a schema lives as long as the library object that defined it."""


def declare_operators() -> None:
    """Describe torchvision's compiled operators to a CPU torch, so that ``import torchvision`` succeeds.

    torchvision's wheel is built for a torch with CUDA. With a CPU torch its operators cannot be loaded, and the import
    fails where it registers `nms`, which no model here calls. Call it before anything imports torchvision, which
    Lightning (through torchmetrics) does wherever torchvision is installed. May be called again.
    """
    if torch.version.cuda is not None or _operators:
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    _operators.append(library)
    for operator in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, operator):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def reach_models() -> None:
    """Let ``import timm`` and ``import torchvision`` find what lies apart. May be called again."""
    declare_operators()
    if MODELS.is_dir() and str(MODELS) not in sys.path:
        sys.path.append(str(MODELS))
