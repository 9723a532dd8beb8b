"""Model folders: config.json, model.safetensors, further JSON files, and a sha256 list over all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mmgenre.disk.files import sync, temporary_name
from mmgenre.disk.provenance import Provenance, sha256_file
from mmgenre.errors import BundleError

CONFIG, WEIGHTS, SUMS = "config.json", "model.safetensors", "sha256.json"
# What a file raises that is not what it claims to be.
DAMAGE = (OSError, LookupError, ValueError, TypeError, AttributeError, SafetensorError)


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
    """Writes a model folder whole or not at all, replacing an older one; returns it.

    Raises:
        BundleError: the folder holds something else, or a further file has no name of its own.
        OSError: the disk is full, or may not be written.
    """
    for name in files or {}:
        if Path(name).name != name or not name.endswith(".json") or name in (CONFIG, SUMS):
            raise BundleError(f"{folder}: {name!r} is no name for a further JSON file")
    if folder.exists() and not (folder.is_dir() and ((folder / SUMS).is_file() or _empty(folder))):
        raise BundleError(f"{folder}: not a model folder, so it is not replaced; move it away")
    temporary = temporary_name(folder)
    old = folder.with_name(f".{folder.name}.old")
    temporary.mkdir(parents=True)
    try:
        described = {"kind": kind, "config": dict(config), "provenance": provenance.as_dict()}
        _write_json(temporary / CONFIG, described)
        plain = {name: t.detach().cpu().contiguous().clone() for name, t in weights.items()}
        save_tensors(plain, temporary / WEIGHTS, folder / WEIGHTS)
        for name, content in (files or {}).items():
            _write_json(temporary / name, content)
        sums = {path.name: sha256_file(path) for path in sorted(temporary.iterdir())}
        _write_json(temporary / SUMS, sums)
        for path in (*temporary.iterdir(), temporary):
            sync(path)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
            folder.replace(old)
        temporary.replace(folder)
        sync(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if old.exists() and not folder.exists():
            old.replace(folder)
    return folder


def save_tensors(
    tensors: Mapping[str, torch.Tensor],
    temporary: Path,
    target: Path,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes a safetensors file under the name `temporary`; errors call it `target`.

    Raises:
        OSError: the disk is full, or may not be written.
    """
    try:
        save_file(dict(tensors), temporary, metadata=dict(metadata) if metadata else None)
    except SafetensorError as error:  # no OSError, whatever the disk says
        raise OSError(
            f"{target}: cannot be written: {error}; make room, then run this again"
        ) from None


def read_bundle(folder: Path, kind: str) -> Bundle:
    """Reads a model folder after checking every file against the list.

    Raises:
        BundleError: the folder is missing, of another kind, unfinished or damaged.
    """
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such model folder")
    try:
        sums = _read_json(folder / SUMS)
        for name in (CONFIG, WEIGHTS):
            if name not in sums:
                raise BundleError(f"{folder}: {name} is not in the list of files, {SUMS}")
        for name, expected in sums.items():
            if Path(name).name != name or sha256_file(folder / name) != expected:
                raise BundleError(f"{folder / name}: not the file that was written (sha256)")
        described = _read_json(folder / CONFIG)
        if described["kind"] != kind:
            raise BundleError(f"{folder}: holds a {described['kind']!r}, not a {kind!r}")
        weights = load_file(folder / WEIGHTS)
        files = {n: _read_json(folder / n) for n in sums if n not in (CONFIG, WEIGHTS)}
        fingerprint = str(described["provenance"]["fingerprint"])
        return Bundle(kind, described["config"], weights, files, fingerprint)
    except DAMAGE as error:
        raise BundleError(
            f"{folder}: damaged or unfinished model folder: {type(error).__name__}: {error}"
        ) from None


def bundle_fingerprint(folder: Path) -> str | None:
    """Fingerprint of a complete model folder; None if there is none."""
    if not (folder / SUMS).is_file():
        return None
    try:
        return str(_read_json(folder / CONFIG)["provenance"]["fingerprint"])
    except DAMAGE as error:
        raise BundleError(
            f"{folder}: damaged or unfinished model folder: {type(error).__name__}: {error}"
        ) from None


def _empty(folder: Path) -> bool:
    return next(folder.iterdir(), None) is None


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
