"""Tiny models of the real classes, with random weights, saved as the hub's are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as untyped
from safetensors.torch import save_file

of: Any = untyped
SMALL = {"hidden_size": 16, "num_attention_heads": 2}
TEXT = {**SMALL, "vocab_size": 300, "num_hidden_layers": 1}


def hubert(folder: Path, **more: object) -> Path:
    """A HuBERT of two layers of width 16, at 16 kHz."""
    config = of.HubertConfig(
        **SMALL, num_hidden_layers=2, intermediate_size=32, conv_dim=(8, 8), conv_stride=(10, 8),
        conv_kernel=(20, 16), num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2, **more,
    )  # fmt: skip
    of.Wav2Vec2FeatureExtractor(sampling_rate=16_000, do_normalize=True).save_pretrained(folder)
    return _saved(of.HubertModel, config, folder)


def clap(folder: Path) -> Path:
    """A CLAP with projections of width 16, at 48 kHz."""
    config = of.ClapConfig(
        text_config={**TEXT, "intermediate_size": 16, "projection_dim": 16},
        audio_config={
            "patch_embeds_hidden_size": 8, "depths": [1, 1], "num_attention_heads": [1, 2],
            "hidden_size": 16, "num_mel_bins": 64, "spec_size": 256, "projection_dim": 16,
            "window_size": 4, "num_hidden_layers": 2, "aff_block_r": 2,
        },
        projection_dim=16,
    )  # fmt: skip
    of.ClapFeatureExtractor(truncation="rand_trunc").save_pretrained(folder)
    _tokenizer(folder)
    return _saved(of.ClapModel, config, folder)


def dinov2(folder: Path) -> Path:
    """A DINOv2 of two layers of width 16, for 28 pixels."""
    config = of.Dinov2Config(
        **SMALL, num_hidden_layers=2, mlp_ratio=2, image_size=28, patch_size=14
    )
    _image_processor(folder, 28)
    return _saved(of.Dinov2Model, config, folder)


def clip(folder: Path) -> Path:
    """A CLIP with projections of width 16, for 32 pixels."""
    shared = {**SMALL, "num_hidden_layers": 1, "intermediate_size": 16}
    config = of.CLIPConfig(
        text_config={**shared, "vocab_size": 300},
        vision_config={**shared, "image_size": 32, "patch_size": 16},
        projection_dim=16,
    )
    _image_processor(folder, 32)
    _tokenizer(folder)
    return _saved(of.CLIPModel, config, folder)


def siglip(folder: Path) -> Path:
    """A SigLIP of width 16, for 32 pixels."""
    shared = {**SMALL, "num_hidden_layers": 1, "intermediate_size": 16}
    config = of.SiglipConfig(
        text_config={**shared, "vocab_size": 300, "max_position_embeddings": 64},
        vision_config={**shared, "image_size": 32, "patch_size": 16},
    )
    _image_processor(folder, 32)
    _tokenizer(folder)
    return _saved(of.SiglipModel, config, folder)


def bert(folder: Path) -> Path:
    """A BERT of one layer of width 16, without a sentence-transformers' list of modules."""
    config = of.BertConfig(**TEXT, intermediate_size=32, max_position_embeddings=64)
    _tokenizer(folder)
    return _saved(of.BertModel, config, folder)


def timm_network(folder: Path) -> Path:
    """The smallest network of timm, as `save_for_hf` writes it."""
    import timm

    torch.manual_seed(0)
    network: Any = timm.create_model("test_resnet", pretrained=False)
    folder.mkdir(parents=True)
    save_file(network.state_dict(), folder / "model.safetensors")
    about = {
        "architecture": "test_resnet",
        "num_classes": 1000,
        "pretrained_cfg": {
            "input_size": [3, 64, 64], "mean": [0.5] * 3, "std": [0.25] * 3,
            "classifier": network.pretrained_cfg["classifier"],
        },
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(about), encoding="utf-8")
    return folder


def _saved(model: Any, config: Any, folder: Path) -> Path:
    torch.manual_seed(0)
    model(config).save_pretrained(folder)
    return folder


def _image_processor(folder: Path, size: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "size": {"height": size, "width": size}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(about), encoding="utf-8")


def _tokenizer(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)]
    vocabulary = {word: k for k, word in enumerate(words)}
    of.BertTokenizerFast(vocab=vocabulary, model_max_length=64).save_pretrained(folder)


MODELS: dict[str, Callable[[Path], Path]] = {
    make.__name__: make for make in (hubert, clap, dinov2, clip, siglip, bert, timm_network)
}
