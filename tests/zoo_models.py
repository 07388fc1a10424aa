"""Real networks with random weights, small enough to train a few steps of each: what `make zoo` and the tests fit.

The 90 networks of ``residual_zoo.json``, more of torchvision and timm, and small configurations of transformers. Nothing
is downloaded. ``zoo()`` lists them all; ``QUICK`` names those that a test can afford.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from zoo import RESIZABLE, Expectation, build

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

SAMPLES = 4
"""Items of a batch: with two, batch norm after the last downsampling would see hardly anything but the difference."""

TOKENS, VOCABULARY, CLASSES = 12, 100, 10
PICTURE = (3, 64, 64)

SMALLER = {14: (3, 98, 98), 16: (3, 96, 96)}
"""Pictures for the networks of one size that can be built for a smaller one, by the size of their patches."""

MORE_TORCHVISION = ("resnext50_32x4d", "wide_resnet50_2", "vgg11", "mnasnet0_5", "shufflenet_v2_x0_5", "mc3_18")

MORE_TIMM = (
    "resnet18",
    "resnetaa50d",
    "legacy_seresnet18",
    "densenetblur121d",
    "dla46x_c",
    "mobilenetv3_small_075",
    "mixnet_m",
    "lcnetv2_small",
    "hgnetv2_b0",
    "repvit_m0_9",
    "repghostnet_050",
    "starnet_s050",
    "fasternet_t0",
    "xception41p",
    "rdnet_tiny",
    "regnety_006",
    "darknet21",
    "gernet_s",
    "hardcorenas_a",
    "efficientnet_lite1",
)

QUICK = (
    "tv.resnet18",
    "tv.mobilenet_v2",
    "tv.alexnet",
    "tv.squeezenet1_1",
    "tv.shufflenet_v2_x0_5",
    "timm.convnextv2_atto",
    "timm.repvgg_a0",
    "timm.poolformer_s12",
    "timm.starnet_s050",
    "timm.legacy_seresnet18",
    "hf.bert",
    "hf.gpt2",
    "hf.llama",
    "hf.mixtral",
    "hf.t5",
    "hf.bart",
    "hf.mamba",
    "hf.vit",
    "hf.resnet",
    "hf.swin",
    "hf.wav2vec2",
    "hf.whisper",
    "hf.clip",
    "hf.fnet",
)
"""Every kind at least once, each in about a second: convolutions with and without shortcuts, attention, experts, state
space, encoder and decoder, sound and two towers."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One network.

    Attributes:
        name: ``tv.`` is torchvision.models, ``timm.`` is timm, ``hf.`` is transformers.
        build: makes it, in training mode.
        batch: makes a random batch: the arguments of its forward by name; ``""`` is the only positional one.
        adaptive: trained by AdamW, as networks with attention are, not by SGD.
    """

    name: str
    build: Callable[[], nn.Module]
    batch: Callable[[], dict[str, torch.Tensor]]
    adaptive: bool


def zoo() -> dict[str, Entry]:
    """Return every network by name, the residual zoo's first."""
    known = json.loads(Path(__file__).with_name("residual_zoo.json").read_text(encoding="utf-8"))["models"]
    shapes = {entry["model"]: tuple(entry["input_shapes"][0][1:]) for entry in known}
    resized = {name for name in shapes if name.removeprefix("timm.").startswith(RESIZABLE) and shapes[name][-1] == 224}
    shapes |= {name: SMALLER[14 if "patch14" in name else 16] for name in resized}
    shapes |= {f"tv.{name}": (3, 8, 32, 32) if name == "mc3_18" else PICTURE for name in MORE_TORCHVISION}
    shapes |= {f"timm.{name}": PICTURE for name in MORE_TIMM}
    entries = [_of_pictures(name, shape) for name, shape in shapes.items()]
    return {entry.name: entry for entry in (*entries, *_of_transformers())}


def _of_pictures(name: str, shape: tuple[int, ...]) -> Entry:
    expected = Expectation(name, ((SAMPLES, *shape),), {}, frozenset())
    attends = any(word in name for word in ("vit", "swin", "former", "former", "beit", "eva", "mixer", "mlp", "coat"))
    return Entry(name, partial(build, expected), lambda: {"": torch.randn(SAMPLES, *shape)}, adaptive=attends)


def _ids(length: int = TOKENS) -> torch.Tensor:
    return torch.randint(3, VOCABULARY - 10, (SAMPLES, length))


def _text() -> dict[str, torch.Tensor]:
    ids = _ids()
    return {"input_ids": ids, "labels": ids}


def _hidden_text() -> dict[str, torch.Tensor]:
    return {"input_ids": _ids()}


def _pair() -> dict[str, torch.Tensor]:
    return {"input_ids": _ids(), "labels": _ids(7)}


def _picture() -> dict[str, torch.Tensor]:
    return {"pixel_values": torch.randn(SAMPLES, *PICTURE)}


def _sound() -> dict[str, torch.Tensor]:
    return {"input_values": torch.randn(SAMPLES, 2000)}


def _of_transformers() -> list[Entry]:
    import transformers

    def entry(name: str, model: str, batch: Callable[[], dict[str, torch.Tensor]], **config: Any) -> Entry:
        def make() -> nn.Module:
            torch.manual_seed(0)
            kind = getattr(transformers, model)
            made: nn.Module = kind(kind.config_class(**config)).train()
            return made

        return Entry(f"hf.{name}", make, batch, adaptive=True)

    text: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "vocab_size": VOCABULARY,
        "pad_token_id": 0,
    }
    grouped = text | {"num_key_value_heads": 2}
    older: dict[str, Any] = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4}
    both: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 1,
        "forced_eos_token_id": None,
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
    }
    t5: dict[str, Any] = {"vocab_size": VOCABULARY, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2} | {
        "num_heads": 4,
        "decoder_start_token_id": 0,
    }
    seeing: dict[str, Any] = {key: text[key] for key in tuple(text)[:4]} | {"image_size": 64, "patch_size": 16}
    hearing = text | {
        "vocab_size": 32,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4,
        "conv_dim": (16, 16),
        "conv_stride": (5, 2),
        "conv_kernel": (10, 3),
        "mask_time_prob": 0.0,
    }
    configuration: Any = transformers.ResNetConfig  # takes more than it says
    trunk = configuration(
        embedding_size=8, hidden_sizes=[8, 16, 16, 32], depths=[1] * 4, layer_type="basic", out_features=["stage4"]
    )
    trunk_of_three = configuration(
        embedding_size=8,
        hidden_sizes=[8, 16, 16, 32],
        depths=[1] * 4,
        layer_type="basic",
        out_features=["stage2", "stage3", "stage4"],
    )
    detection = {key: both[key] for key in tuple(both)[6:]} | {"num_queries": 5, "backbone": None}
    detection |= {"use_timm_backbone": False, "use_pretrained_backbone": False}
    two_stages: dict[str, Any] = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [2, 2]}
    whisper = both | {"max_source_positions": 50, "num_mel_bins": 8}
    return [
        entry("bert", "BertForMaskedLM", _text, **text),
        entry("roberta", "RobertaForMaskedLM", _text, **text),
        entry("albert", "AlbertForMaskedLM", _text, embedding_size=16, **text),
        entry("electra", "ElectraForMaskedLM", _text, embedding_size=16, **text),
        entry(
            "distilbert",
            "DistilBertForMaskedLM",
            _text,
            vocab_size=VOCABULARY,
            dim=32,
            hidden_dim=64,
            n_layers=2,
            n_heads=4,
        ),
        entry(
            "deberta-v2",
            "DebertaV2ForMaskedLM",
            _text,
            relative_attention=True,
            pos_att_type=["c2p", "p2c"],
            **text,
        ),
        entry("fnet", "FNetForMaskedLM", _text, **{k: v for k, v in text.items() if k != "num_attention_heads"}),
        entry("gpt2", "GPT2LMHeadModel", _text, **older),
        entry("gptj", "GPTJForCausalLM", _text, rotary_dim=4, **older),
        entry(
            "gpt-neo",
            "GPTNeoForCausalLM",
            _text,
            vocab_size=VOCABULARY,
            hidden_size=32,
            num_layers=2,
            num_heads=4,
            attention_types=[[["global", "local"], 1]],
        ),
        entry("gpt-neox", "GPTNeoXForCausalLM", _text, **text),
        entry("llama", "LlamaForCausalLM", _text, **grouped),
        entry("mistral", "MistralForCausalLM", _text, **grouped),
        entry("qwen2", "Qwen2ForCausalLM", _text, **grouped),
        entry("gemma2", "Gemma2ForCausalLM", _text, head_dim=8, **grouped),
        entry("mixtral", "MixtralForCausalLM", _text, num_local_experts=2, **grouped),
        entry("phi", "PhiForCausalLM", _text, **text),
        entry("falcon", "FalconForCausalLM", _text, **text),
        entry("bloom", "BloomForCausalLM", _text, vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4),
        entry(
            "opt",
            "OPTForCausalLM",
            _text,
            vocab_size=VOCABULARY,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            ffn_dim=64,
            word_embed_proj_dim=32,
        ),
        entry(
            "mamba",
            "MambaForCausalLM",
            _text,
            vocab_size=VOCABULARY,
            hidden_size=32,
            num_hidden_layers=2,
            state_size=4,
        ),
        entry("rwkv", "RwkvForCausalLM", _text, vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2),
        entry("xlnet", "XLNetLMHeadModel", _text, vocab_size=VOCABULARY, d_model=32, n_layer=2, n_head=4, d_inner=64),
        entry(
            "funnel",
            "FunnelModel",
            _hidden_text,
            vocab_size=VOCABULARY,
            block_sizes=[1, 1],
            d_model=32,
            n_head=4,
            d_head=8,
            d_inner=64,
        ),
        entry("t5", "T5ForConditionalGeneration", _pair, **t5),
        entry("bart", "BartForConditionalGeneration", _pair, **both),
        entry("marian", "MarianMTModel", _pair, **both),
        entry(
            "whisper",
            "WhisperForConditionalGeneration",
            lambda: {"input_features": torch.randn(SAMPLES, 8, 100), "labels": _ids(7)},
            **whisper,
        ),
        entry("wav2vec2", "Wav2Vec2Model", _sound, **hearing),
        entry("conformer", "Wav2Vec2ConformerModel", _sound, **hearing),
        entry("vit", "ViTModel", _picture, **seeing),
        entry("dinov2", "Dinov2Model", _picture, **seeing),
        entry("beit", "BeitModel", _picture, **seeing),
        entry("siglip", "SiglipVisionModel", _picture, **seeing),
        entry(
            "vitmae",
            "ViTMAEForPreTraining",
            _picture,
            decoder_num_attention_heads=4,
            decoder_hidden_size=16,
            decoder_num_hidden_layers=1,
            decoder_intermediate_size=32,
            **seeing,
        ),
        entry(
            "timesformer",
            "TimesformerModel",
            lambda: {"pixel_values": torch.randn(SAMPLES, 2, *PICTURE)},
            num_frames=2,
            **seeing,
        ),
        entry(
            "segformer",
            "SegformerModel",
            _picture,
            depths=[1] * 4,
            hidden_sizes=[8, 16, 24, 32],
            num_attention_heads=[1, 2, 3, 4],
        ),
        entry(
            "swin",
            "SwinModel",
            _picture,
            image_size=64,
            embed_dim=16,
            depths=[2, 2],
            num_heads=[2, 4],
            window_size=4,
        ),
        entry("resnet", "ResNetModel", _picture, layer_type="basic", **two_stages),
        entry("regnet", "RegNetModel", _picture, groups_width=8, **two_stages),
        entry("convnext", "ConvNextModel", _picture, hidden_sizes=[8, 16], depths=[2, 2], num_stages=2),
        entry("bit", "BitModel", _picture, embedding_size=32, hidden_sizes=[64, 128], depths=[2, 2], num_groups=8),
        entry(
            "clip",
            "CLIPModel",
            lambda: _hidden_text() | _picture(),
            text_config=text | {"max_position_embeddings": 16, "eos_token_id": 2},
            vision_config=seeing,
        ),
        entry("detr", "DetrModel", _picture, backbone_config=trunk, **detection),
        entry("deformable-detr", "DeformableDetrModel", _picture, backbone_config=trunk_of_three, **detection),
        entry(
            "perceiver",
            "PerceiverModel",
            lambda: {"inputs": torch.randn(SAMPLES, 10, 8)},
            num_latents=4,
            d_latents=16,
            d_model=8,
            num_blocks=1,
            num_self_attends_per_block=2,
            num_self_attention_heads=2,
            num_cross_attention_heads=2,
        ),
    ]
