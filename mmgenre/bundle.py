"""Model folders: config.json, model.safetensors, further JSON files, and a sha256 list over all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mmgenre.errors import BundleError
from mmgenre.provenance import Provenance, sha256_file
from mmgenre.store import sync

CONFIG, WEIGHTS, SUMS = "config.json", "model.safetensors", "sha256.json"


@dataclass(frozen=True)
class Bundle:
    """A model folder in memory."""

    kind: str
    config: dict[str, Any]
    weights: dict[str, torch.Tensor]
    files: dict[str, Any]  # further JSON files by name, vocabulary for instance
    fingerprint: str


def write_bundle(
    folder: Path,
    kind: str,
    config: Mapping[str, Any],
    weights: Mapping[str, torch.Tensor],
    provenance: Provenance,
    *,
    files: Mapping[str, Any] | None = None,
) -> Path:
    """Writes a model folder whole or not at all, replacing an older one; returns it."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    described = {"kind": kind, "config": dict(config), "provenance": provenance.as_dict()}
    _write_json(temporary / CONFIG, described)
    plain = {name: t.detach().cpu().contiguous().clone() for name, t in weights.items()}
    save_file(plain, temporary / WEIGHTS)
    for name, content in (files or {}).items():
        _write_json(temporary / name, content)
    sums = {path.name: sha256_file(path) for path in sorted(temporary.iterdir())}
    _write_json(temporary / SUMS, sums)
    for path in temporary.iterdir():
        sync(path)
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.replace(old)
    temporary.replace(folder)
    sync(folder.parent)
    shutil.rmtree(old, ignore_errors=True)
    return folder


def read_bundle(folder: Path, kind: str) -> Bundle:
    """Reads a model folder after checking every file against the list.

    Raises:
        BundleError: the folder is missing, of another kind, unfinished or damaged.
    """
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such model folder")
    try:
        sums = json.loads((folder / SUMS).read_text(encoding="utf-8"))
        for name, expected in sums.items():
            if Path(name).name != name or sha256_file(folder / name) != expected:
                raise BundleError(f"{folder / name}: not the file that was written (sha256)")
        described = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if described["kind"] != kind:
            raise BundleError(f"{folder}: holds a {described['kind']!r}, not a {kind!r}")
        weights = load_file(folder / WEIGHTS)
        files = {
            name: json.loads((folder / name).read_text(encoding="utf-8"))
            for name in sums
            if name not in (CONFIG, WEIGHTS)
        }
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise BundleError(f"{folder}: damaged or unfinished model folder: {error}") from None
    fingerprint = described["provenance"]["fingerprint"]
    return Bundle(kind, described["config"], weights, files, fingerprint)


def bundle_fingerprint(folder: Path) -> str | None:
    """Fingerprint of a complete model folder; None if there is none."""
    if not (folder / SUMS).is_file():
        return None
    described = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    return str(described["provenance"]["fingerprint"])


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
