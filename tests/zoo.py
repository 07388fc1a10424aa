"""Real models with known residual additions: built from a JSON file, probed, and compared.

``python tests/zoo.py FILE.json`` prints precision and recall over every model of a file of the form of
``tests/residual_zoo_small.json``: per model its name, input shapes, residual additions by owning module, and classes
in which additions count neither way. Weights are random; nothing is downloaded.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from init_monitor.structure.probe import Probe

RESIZABLE = ("vit_", "deit", "beit", "eva02", "mixer", "resmlp", "gmlp", "cait", "convit")
"""Families of timm that are built for one size of pictures, and can be built for another than 224."""

SMALL = Path(__file__).with_name("residual_zoo_small.json")


@dataclass(frozen=True, slots=True)
class Expectation:
    """What one model of the zoo is known to hold."""

    model: str
    input_shapes: tuple[tuple[int, ...], ...]
    residuals: dict[str, int]
    ambiguous_classes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Found against expected, by owning module: how many are right, missed and false."""

    right: int
    missed: dict[str, int]
    false: dict[str, int]
    causes: tuple[str, ...]


def load(path: Path = SMALL) -> list[Expectation]:
    return [
        Expectation(
            entry["model"],
            tuple(tuple(shape) for shape in entry["input_shapes"]),
            entry["residuals"],
            frozenset(entry["ambiguous_classes"]),
        )
        for entry in json.loads(path.read_text(encoding="utf-8"))["models"]
    ]


def build(expected: Expectation) -> nn.Module:
    """Make a model by its name in the zoo: ``tv.`` is torchvision.models, ``timm.`` is timm."""
    library, _, name = expected.model.partition(".")
    size = expected.input_shapes[0][-1]
    torch.manual_seed(0)
    if library == "timm":
        return _timm(name, size)
    if library == "tv":
        return _torchvision(name, size)
    message = f"The zoo knows models that begin with 'tv.' or 'timm.', not {expected.model!r}."
    raise ValueError(message)


def _timm(name: str, size: int) -> nn.Module:
    import timm

    options: dict[str, Any] = {}
    if name == "vit_small(drop_path)":
        name, options = "vit_small_patch16_224", {"drop_path_rate": 0.1}
    if name.startswith(RESIZABLE) and size != 224:
        options["img_size"] = size
    model: nn.Module = timm.create_model(name, pretrained=False, **options)
    return model


def _torchvision(name: str, size: int) -> nn.Module:
    from torchvision import models
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

    model: nn.Module
    if name == "q_resnet18(FloatFunctional)":
        model = models.quantization.resnet18(weights=None, quantize=False)
    elif name == "resnet18_fpn":
        model = resnet_fpn_backbone(backbone_name="resnet18", weights=None, trainable_layers=5)
    elif hasattr(models.segmentation, name):
        model = getattr(models.segmentation, name)(weights=None, weights_backbone=None)
    elif hasattr(models.video, name):
        model = getattr(models.video, name)(weights=None)
    else:
        options: dict[str, Any] = {"image_size": size} if name.startswith("vit_") else {}
        if name in {"googlenet", "inception_v3"}:
            options["init_weights"] = False  # theirs is slow, and warns
        model = getattr(models, name)(weights=None, **options)
    return model


def compare(expected: Expectation) -> Comparison:
    """Probe one forward of a model in training mode, and count."""
    model = build(expected).train()
    with Probe(model) as probe:
        model(*(torch.randn(shape) for shape in expected.input_shapes))
    classes = {name: type(module).__name__ for name, module in model.named_modules()}
    found = Counter(site.owner for site in probe.sites)
    wanted = Counter(expected.residuals)
    surplus = {
        owner: count
        for owner, count in (found - wanted).items()
        if classes.get(owner) not in expected.ambiguous_classes
    }
    return Comparison((found & wanted).total(), dict(wanted - found), surplus, tuple(probe.causes))


def main(path: Path) -> int:
    """Print every model and the totals; return 1 if precision or recall is below 99 %."""
    right = missed = false = 0
    for expected in load(path):
        begin = time.perf_counter()
        result = compare(expected)
        right += result.right
        missed += sum(result.missed.values())
        false += sum(result.false.values())
        remarks = [f"missed {result.missed}"] if result.missed else []
        remarks += [f"false {result.false}"] if result.false else []
        remarks += result.causes
        seconds = time.perf_counter() - begin
        print(f"{expected.model:42} {result.right:4} right  {seconds:5.1f} s  {' '.join(remarks)}", flush=True)  # noqa: T201
    recall = right / max(1, right + missed)
    precision = right / max(1, right + false)
    print(f"{right} right, {missed} missed, {false} false: recall {recall:.2%}, precision {precision:.2%}")  # noqa: T201
    return int(min(recall, precision) < 0.99)


if __name__ == "__main__":
    import conftest  # noqa: F401 - makes torchvision importable beside a CPU torch

    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else SMALL))
