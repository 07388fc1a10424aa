"""Names that libraries expect in torch and the installed version lacks; none of them computes anything."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch.utils.data import dataloader

_DEFINED: list[object] = []
"""Definitions of operators live as long as the library object that made them."""


def supply() -> None:
    """Define the missing names; call it before a library is imported."""
    if not hasattr(dataloader, "T_co"):  # schnetpack 2.0 imports the type variable
        dataloader.T_co = TypeVar("T_co", covariant=True)  # type: ignore[attr-defined]
    if torch.version.cuda is None:
        # torchvision's wheel is built for a torch with CUDA: its operators cannot be loaded, their schemas suffice.
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            if not hasattr(torch.ops.torchvision, operator):
                library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _DEFINED.append(library)
