"""Pretrained weights by torchvision's name or by path, checked before they are used.

Raises WeightsError for a file that is not there and cannot be downloaded, that has another hash, is
no plain state dict, or has other keys or shapes than the network.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mmgenre.disk.provenance import sha256_file
from mmgenre.errors import WeightsError

# torchvision's published DenseNet files have keys norm.1 where its networks have norm1.
_DENSE_LAYER = re.compile(r"(\bdenselayer\d+\.(?:norm|conv))\.([12]\.)")


def load_published(network: nn.Module, weights: Any) -> dict[str, str]:
    """Loads a torchvision weights entry into its network; returns its name and sha256.

    The file is downloaded unless torch's hub cache has it under its published name. The name ends
    in the first digits of its sha256; it is hashed here, because torch does not check cached files.
    """
    name = str(weights.url).rsplit("/", 1)[-1]
    file = Path(torch.hub.get_dir()) / "checkpoints" / name
    advice = (
        f"Download {weights.url} on another machine and copy it to {file}, "
        "or give a file with --set image.weights=PATH, "
        "or train from scratch with --set image.weights=none"
    )
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(weights.url, str(file), progress=False)
        except OSError as error:
            raise WeightsError(f"{weights}: cannot be downloaded ({error}). {advice}") from None
    prefix = file.stem.rsplit("-", 1)[-1]
    found = sha256_file(file)
    if not found.startswith(prefix):
        raise WeightsError(f"{file}: sha256 {found[:16]}... should begin {prefix}. {advice}")
    load_file_into(network, file)
    return {"name": str(weights), "sha256": found}


def load_path(network: nn.Module, path: Path, sha256: str | None) -> dict[str, str]:
    """Loads a .pth/.pt state dict or a .safetensors file; returns its path and sha256."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    found = sha256_file(path)
    if sha256 is not None and found != sha256.lower():
        raise WeightsError(f"{path}: sha256 is {found}, the recipe says {sha256}")
    load_file_into(network, path)
    return {"name": str(path), "sha256": found}


def load_file_into(network: nn.Module, path: Path) -> None:
    """Loads a state dict strictly, without running code from the file."""
    try:
        if path.suffix == ".safetensors":
            state: dict[str, Tensor] = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, EOFError, RuntimeError, ValueError, KeyError) as error:
        raise WeightsError(f"{path}: not a readable weights file: {error}") from None
    except Exception as error:
        # A file that holds more than tensors raises the unpickler's own error.
        raise WeightsError(
            f"{path}: refused, it holds more than tensors "
            f"({str(error).splitlines()[0]}); save a plain state dict"
        ) from None
    if not isinstance(state, dict):
        raise WeightsError(f"{path}: holds a {type(state).__name__}, not a state dict")
    for key in state:
        if not isinstance(key, str):
            raise WeightsError(f"{path}: not a state dict: the key {key!r} is not a string")
    state = {_DENSE_LAYER.sub(r"\1\2", key): tensor for key, tensor in state.items()}
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise WeightsError(f"{path}: does not fit the network: {error}") from None
