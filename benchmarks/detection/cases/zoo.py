"""Real models as their libraries initialise them, in the first steps of a training at a usual rate: all healthy.

Weights are random and nothing is downloaded. A model whose library is not installed breaks when it is made; it is then
dropped, and counted.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from benchmarks.detection import material, pathologies, seeding
from benchmarks.detection.case import Case, Training
from benchmarks.detection.lightning import Learner
from benchmarks.detection.real_models import reach_models

if TYPE_CHECKING:
    from benchmarks.detection.lightning import MakeOptimizer

STEPS = 4
"""Initialisation shows in the first steps; the monitor looks at all of them."""

BATCH = 8
SAMPLES = 64
"""Pictures that are cycled through: no batch of a run comes twice."""

LETTERS = 32
LENGTH = 24

SGD: MakeOptimizer = partial(torch.optim.SGD, lr=0.003, momentum=0.9, weight_decay=1e-4)
"""The 0.1 for a batch of 256 (Goyal et al. 2017) in proportion to a batch of eight."""

ADAMW: MakeOptimizer = partial(torch.optim.AdamW, lr=3e-4, weight_decay=0.05)
"""As transformers are trained (Touvron et al. 2021 take 5e-4)."""

TRANSFORMER: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 128,
}


class Answering(nn.Module):
    """A model that returns an object, so that it returns logits.

    Args:
        model: of transformers.
        twice: it has a decoder, which is given the same text.
    """

    def __init__(self, model: nn.Module, *, twice: bool = False) -> None:
        super().__init__()
        self.model = model
        self.twice = twice

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        more = {"decoder_input_ids": x} if self.twice else {}
        logits: Tensor = self.model(x, **more).logits
        return logits


def pictures(model: nn.Module, optimizer: MakeOptimizer, size: int) -> Training:
    """Digits as pictures in three colours."""
    loader = material.digit_images(size=size, channels=3, samples=SAMPLES, batch=BATCH)
    return Training(Learner(model, F.cross_entropy, optimizer), loader)


def torchvision_model(name: str, optimizer: MakeOptimizer, size: int, options: dict[str, Any]) -> Training:
    """A model of torchvision by its name."""
    reach_models()
    seeding.seed(0)
    return pictures(getattr(import_module("torchvision.models"), name)(**options), optimizer, size)


def timm_model(name: str, optimizer: MakeOptimizer, size: int, options: dict[str, Any]) -> Training:
    """A model of timm by its name."""
    reach_models()
    seeding.seed(0)
    return pictures(import_module("timm").create_model(name, pretrained=False, **options), optimizer, size)


def transformers_model(name: str, config: str, options: dict[str, Any], *, twice: bool = False) -> Training:
    """A small model of transformers by the names of its class and its configuration, on texts."""
    reach_models()
    library = import_module("transformers")
    library.logging.set_verbosity_error()  # its advice on token numbers and on faster kernels
    seeding.seed(0)
    made = getattr(library, config)(vocab_size=LETTERS, **options)
    model = Answering(getattr(library, name)(made), twice=twice)

    def loss(logits: Tensor, following: Tensor) -> Tensor:
        return F.cross_entropy(logits.flatten(0, 1), following.flatten())

    return Training(Learner(model, loss, ADAMW), material.text(length=LENGTH, samples=SAMPLES, batch=BATCH))


def _healthy(library: str, name: str, make: partial[Training]) -> Case:
    return Case(f"{library}-{name}/healthy", f"{library}-{name}", make, steps=STEPS, pathology=pathologies.sound)


def _torchvision(name: str, optimizer: MakeOptimizer = SGD, size: int = 64, **options: Any) -> Case:  # noqa: ANN401 - the model's
    return _healthy("torchvision", name, partial(torchvision_model, name, optimizer, size, options))


def _timm(name: str, optimizer: MakeOptimizer = SGD, size: int = 64, **options: Any) -> Case:  # noqa: ANN401 - the model's
    return _healthy("timm", name, partial(timm_model, name, optimizer, size, options))


def _transformers(kind: str, name: str, config: str, *, twice: bool = False, **options: Any) -> Case:  # noqa: ANN401 - the model's
    return _healthy("transformers", kind, partial(transformers_model, name, config, options, twice=twice))


CASES: tuple[Case, ...] = (
    _torchvision("resnet18"),
    _torchvision("resnet50", size=32),
    _torchvision("alexnet"),
    _torchvision("squeezenet1_1"),
    _torchvision("mobilenet_v2"),
    _torchvision("mobilenet_v3_small"),
    _torchvision("shufflenet_v2_x0_5"),
    _torchvision("mnasnet0_5"),
    _torchvision("densenet121", size=32),
    _torchvision("efficientnet_b0", size=32),
    _torchvision("regnet_x_400mf"),
    _torchvision("regnet_y_400mf"),
    _torchvision("googlenet", aux_logits=False, init_weights=True),
    _torchvision(
        "VisionTransformer",
        ADAMW,
        32,
        image_size=32,
        patch_size=8,
        num_layers=6,
        num_heads=4,
        hidden_dim=64,
        mlp_dim=128,
    ),
    _torchvision(
        "SwinTransformer",
        ADAMW,
        32,
        patch_size=[2, 2],
        embed_dim=32,
        depths=[2, 2, 2],
        num_heads=[2, 4, 8],
        window_size=[4, 4],
    ),
    _timm("vit_tiny_patch16_224", ADAMW, img_size=64),
    _timm("cait_xxs24_224", ADAMW, 32, img_size=32),
    _timm("xcit_nano_12_p16_224", ADAMW, img_size=64),
    _timm("resnet10t"),
    _timm("skresnet18", size=32),
    _timm("repvgg_a0", size=32),
    _timm("dla46_c"),
    _timm("regnetx_002"),
    _timm("nf_regnet_b0", size=32),
    _timm("test_nfnet"),
    _timm("ese_vovnet19b_dw"),
    _timm("ghostnet_050"),
    _timm("lcnet_050"),
    _timm("tinynet_e"),
    _timm("hardcorenas_a"),
    _timm("mobilevit_xxs"),
    _timm("edgenext_xx_small", ADAMW),
    _timm("convnextv2_atto", ADAMW),
    _timm("inception_next_atto", ADAMW),
    _timm("starnet_s1", ADAMW, 32),
    _timm("poolformer_s12", ADAMW, 32),
    _timm("pvt_v2_b0", ADAMW),
    _timm("levit_128s", ADAMW, img_size=64),
    _transformers("gpt2", "GPT2LMHeadModel", "GPT2Config", n_embd=64, n_layer=3, n_head=4, n_positions=LENGTH),
    _transformers("bert", "BertForMaskedLM", "BertConfig", **TRANSFORMER),
    _transformers("roberta", "RobertaForMaskedLM", "RobertaConfig", **TRANSFORMER),
    _transformers("albert", "AlbertForMaskedLM", "AlbertConfig", embedding_size=32, **TRANSFORMER),
    _transformers(
        "distilbert", "DistilBertForMaskedLM", "DistilBertConfig", dim=64, n_layers=3, n_heads=4, hidden_dim=128
    ),
    _transformers("llama", "LlamaForCausalLM", "LlamaConfig", **TRANSFORMER),
    _transformers("gpt-neox", "GPTNeoXForCausalLM", "GPTNeoXConfig", **TRANSFORMER),
    _transformers(
        "opt",
        "OPTForCausalLM",
        "OPTConfig",
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        ffn_dim=128,
        word_embed_proj_dim=64,
    ),
    _transformers(
        "t5",
        "T5ForConditionalGeneration",
        "T5Config",
        twice=True,
        d_model=64,
        d_kv=16,
        d_ff=128,
        num_layers=2,
        num_heads=4,
    ),
    _transformers(
        "bart",
        "BartForConditionalGeneration",
        "BartConfig",
        twice=True,
        d_model=64,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
    ),
    _transformers("mamba", "MambaForCausalLM", "MambaConfig", hidden_size=64, num_hidden_layers=3, state_size=8),
)
