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


def hubert(folder: Path, **more: object) -> Path:
    """A HuBERT of two layers of width 16, at 16 kHz."""
    torch.manual_seed(0)
    config = of.HubertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        conv_dim=(8, 8), conv_stride=(10, 8), conv_kernel=(20, 16), num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2, **more,
    )  # fmt: skip
    of.HubertModel(config).save_pretrained(folder)
    of.Wav2Vec2FeatureExtractor(sampling_rate=16_000, do_normalize=True).save_pretrained(folder)
    return folder


def clap(folder: Path) -> Path:
    """A CLAP with projections of width 16, at 48 kHz."""
    torch.manual_seed(0)
    config = of.ClapConfig(
        text_config={
            "vocab_size": 300, "hidden_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": 16, "projection_dim": 16,
        },
        audio_config={
            "patch_embeds_hidden_size": 8, "depths": [1, 1], "num_attention_heads": [1, 2],
            "hidden_size": 16, "num_mel_bins": 64, "spec_size": 256, "projection_dim": 16,
            "window_size": 4, "num_hidden_layers": 2, "aff_block_r": 2,
        },
        projection_dim=16,
    )  # fmt: skip
    of.ClapModel(config).save_pretrained(folder)
    of.ClapFeatureExtractor(truncation="rand_trunc").save_pretrained(folder)
    _tokenizer(folder)
    return folder


def dinov2(folder: Path) -> Path:
    """A DINOv2 of two layers of width 16, for 28 pixels."""
    torch.manual_seed(0)
    config = of.Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, image_size=28,
        patch_size=14,
    )  # fmt: skip
    of.Dinov2Model(config).save_pretrained(folder)
    _image_processor(folder, 28)
    return folder


def clip(folder: Path) -> Path:
    """A CLIP with projections of width 16, for 32 pixels."""
    torch.manual_seed(0)
    config = of.CLIPConfig(
        text_config={
            "vocab_size": 300, "hidden_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": 16,
        },
        vision_config={
            "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 16, "image_size": 32, "patch_size": 16,
        },
        projection_dim=16,
    )  # fmt: skip
    of.CLIPModel(config).save_pretrained(folder)
    _image_processor(folder, 32)
    _tokenizer(folder)
    return folder


def siglip(folder: Path) -> Path:
    """A SigLIP of width 16, for 32 pixels."""
    torch.manual_seed(0)
    tower = {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 16,
    }  # fmt: skip
    config = of.SiglipConfig(
        text_config={**tower, "vocab_size": 300, "max_position_embeddings": 64},
        vision_config={**tower, "image_size": 32, "patch_size": 16},
    )
    of.SiglipModel(config).save_pretrained(folder)
    _image_processor(folder, 32)
    _tokenizer(folder)
    return folder


def bert(folder: Path) -> Path:
    """A BERT of one layer of width 16, without a sentence-transformers' list of modules."""
    torch.manual_seed(0)
    config = of.BertConfig(
        vocab_size=300, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=64,
    )  # fmt: skip
    of.BertModel(config).save_pretrained(folder)
    _tokenizer(folder)
    return folder


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


def _image_processor(folder: Path, size: int) -> None:
    about = {
        "size": {"height": size, "width": size}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(about), encoding="utf-8")


def _tokenizer(folder: Path) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)]
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(words), encoding="utf-8")
    of.BertTokenizerFast(str(vocabulary), model_max_length=64).save_pretrained(folder)


MODELS: dict[str, Callable[[Path], Path]] = {
    make.__name__: make for make in (hubert, clap, dinov2, clip, siglip, bert, timm_network)
}
