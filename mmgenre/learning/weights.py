"""Pretrained weights: by torchvision's name or by path, checked before they are trusted."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mmgenre.disk.provenance import sha256_file
from mmgenre.errors import WeightsError

# torchvision's published DenseNet files still say norm.1 for what its networks call norm1.
_DENSE_LAYER = re.compile(r"(\bdenselayer\d+\.(?:norm|conv))\.([12]\.)")


def load_published(network: nn.Module, weights: Any) -> dict[str, str]:
    """Loads a torchvision weights entry into the network it is for; returns its name and sha256.

    The file lies in torch's hub cache under its published name, and is downloaded if it does not.
    The name ends in the first digits of its sha256; torch does not check a file that is already
    there, so it is hashed here.

    Raises:
        WeightsError: it can be neither found nor downloaded, or is another file.
    """
    name = str(weights.url).rsplit("/", 1)[-1]
    file = Path(torch.hub.get_dir()) / "checkpoints" / name
    advice = (
        f"Download {weights.url} elsewhere and put it at {file}, "
        "or give a file with --set image.weights=PATH, "
        "or train from scratch with --set image.weights=none"
    )
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(weights.url, str(file), progress=False)
        except (URLError, OSError) as error:
            raise WeightsError(f"{weights}: cannot be downloaded ({error}). {advice}") from None
    prefix = file.stem.rsplit("-", 1)[-1]
    found = sha256_file(file)
    if not found.startswith(prefix):
        raise WeightsError(f"{file}: sha256 {found[:16]}... should begin {prefix}. {advice}")
    load_file_into(network, file)
    return {"name": str(weights), "sha256": found}


def load_path(network: nn.Module, path: Path, sha256: str | None) -> dict[str, str]:
    """Loads a .pth/.pt state dict or a .safetensors file; returns its path and sha256.

    Every key must fit.

    Raises:
        WeightsError: no such file, another hash, not a plain state dict, or other keys or shapes.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    found = sha256_file(path)
    if sha256 is not None and found != sha256.lower():
        raise WeightsError(f"{path}: sha256 is {found}, the recipe says {sha256}")
    load_file_into(network, path)
    return {"name": str(path), "sha256": found}


def sha256_folder(folder: Path) -> str:
    """One hash over the names and bytes of a folder's files, as 64 hex digits.

    Hidden files do not count: downloaders and file managers keep their own notes there.
    """
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder)
        if not any(part.startswith(".") for part in name.parts):
            digest.update(f"{name.as_posix()}\0{sha256_file(path)}\n".encode())
    return digest.hexdigest()


def load_file_into(network: nn.Module, path: Path) -> None:
    """Reads tensors without running any code of the file, and loads them strictly."""
    try:
        if path.suffix == ".safetensors":
            state: dict[str, Tensor] = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, EOFError, RuntimeError, ValueError, KeyError) as error:
        raise WeightsError(f"{path}: not a readable weights file: {error}") from None
    except Exception as error:
        # torch raises its unpickler's own error where a file holds more than tensors.
        raise WeightsError(
            f"{path}: refused, it holds more than tensors "
            f"({str(error).splitlines()[0]}); save a plain state dict"
        ) from None
    if not isinstance(state, dict):
        raise WeightsError(f"{path}: holds a {type(state).__name__}, not a state dict")
    unnamed = [key for key in state if not isinstance(key, str)]
    if unnamed:
        raise WeightsError(f"{path}: not a state dict: {unnamed[0]!r} is no name of a weight")
    if any(_DENSE_LAYER.search(key) for key in state):
        state = {_DENSE_LAYER.sub(r"\1\2", key): tensor for key, tensor in state.items()}
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise WeightsError(f"{path}: does not fit the network: {error}") from None
