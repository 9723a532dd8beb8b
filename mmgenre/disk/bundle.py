"""Model folders: config.json, model.safetensors, further JSON files, and a sha256 list over all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from mmgenre.disk.files import (
    is_machine_fault,
    read_json,
    swap,
    sync,
    temporary_name,
    unreachable,
    without_links,
    write_json,
)
from mmgenre.disk.locks import claimed, tidy
from mmgenre.disk.provenance import Provenance, sha256_file
from mmgenre.errors import BundleError, RecipeError

if TYPE_CHECKING:  # torch takes seconds to import, and whether a folder is there needs none
    import torch

ODD = (LookupError, ValueError, TypeError, AttributeError, RuntimeError)
CONFIG, WEIGHTS, SUMS = "config.json", "model.safetensors", "sha256.json"


@dataclass(frozen=True)
class Bundle:
    """A model folder in memory."""

    folder: Path
    kind: str
    config: dict[str, Any]
    weights: dict[str, Any]  # tensors; arrays, if these were asked for
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
    """Writes a model folder whole or not at all, replacing an older one in one step; returns it.

    BundleError if the folder holds something else, or a further file has no name of its own;
    ClaimedError if another process writes the same folder now.
    """
    for name in files or {}:
        if Path(name).name != name or not name.endswith(".json") or name in (CONFIG, SUMS):
            raise BundleError(f"{folder}: {name!r} is no name for a further JSON file")
    holds = any(folder.iterdir()) if folder.is_dir() else folder.exists()
    if holds and not (folder / SUMS).is_file():
        raise BundleError(f"{folder}: not a model folder, so it is not replaced; move it away")
    temporary = temporary_name(folder)
    with claimed(folder):
        temporary.mkdir()
        try:
            described = {"kind": kind, "config": dict(config), "provenance": provenance.as_dict()}
            for name, content in {CONFIG: described, **(files or {})}.items():
                write_json(temporary / name, content)
            plain = {name: t.detach().cpu().contiguous().clone() for name, t in weights.items()}
            save_tensors(plain, temporary / WEIGHTS, folder / WEIGHTS)
            sums = {path.name: sha256_file(path) for path in sorted(temporary.iterdir())}
            write_json(temporary / SUMS, sums)
            for path in (*temporary.iterdir(), temporary):
                sync(path)
            swap(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def link_bundle(source: Path, target: Path) -> None:
    """Gives a model folder a second name, `target`: hard links, or copies where there are none.

    The files of model folders are replaced and never altered: `target` stays as it is whatever
    becomes of `source`. Whether they are damaged shows when `target` is read. BundleError if they
    are not all there.
    """
    with _damage_as_error(source):
        names = [*read_json(source / SUMS), SUMS]
    files = {name: without_links(source / name) for name in names}
    for name, file in files.items():
        if Path(name).name != name or not file.is_file():
            raise BundleError(f"{source / name}: not a file of this model folder, or gone")
    target.mkdir(parents=True)
    for name, file in files.items():
        try:
            os.link(file, target / name)
        except OSError:  # no links here, or none to another disk or to files of another user
            shutil.copyfile(file, target / name)
            sync(target / name)
    sync(target)


def save_tensors(
    tensors: Mapping[str, torch.Tensor],
    temporary: Path,
    target: Path,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes a safetensors file under the name `temporary`; an OSError calls it `target`."""
    from safetensors.torch import save_file

    try:
        # Weights of networks of images may be channels last, which the format does not know.
        plain = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(plain, temporary, metadata=dict(metadata) if metadata else None)
    except SafetensorError as error:  # no OSError, whatever the disk says
        raise OSError(
            f"{target}: cannot be written: {error}; make room, then run this again"
        ) from None


def read_bundle(folder: Path, kind: str, *, arrays: bool = False) -> Bundle:
    """Reads a model folder after checking every file against the list.

    `arrays`: the weights as arrays, for which no torch is imported.

    While another process replaces it, the old one is read or the new one, and never half of each.
    BundleError if the folder is missing, of another kind, unfinished or damaged; UnreachableError
    if it cannot be read now.
    """
    if not folder.is_dir():
        tidy(folder)  # between two renames of a writer that was killed there
    while True:
        before = bundle_state(folder)
        try:
            bundle = _read(folder, kind, arrays=arrays)
        except BundleError:
            if bundle_state(folder) == before:
                raise
        else:
            if bundle_state(folder) == before:  # else some of its files may be of another model
                return bundle


def bundle_state(folder: Path) -> tuple[int, int] | None:
    """Changes when another model folder takes this one's place."""
    with suppress(OSError):
        state = (folder / SUMS).stat()
        return state.st_ino, state.st_mtime_ns
    return None


def _read(folder: Path, kind: str, *, arrays: bool) -> Bundle:
    if arrays:
        from safetensors.numpy import load_file
    else:
        from safetensors.torch import load_file  # type: ignore[assignment]

    if not folder.is_dir():
        raise BundleError(f"{folder}: no such model folder")
    with _damage_as_error(folder):
        sums = read_json(folder / SUMS)
        if lacking := {CONFIG, WEIGHTS} - sums.keys():
            raise BundleError(f"{folder}: {min(lacking)} is not in the list of files, {SUMS}")
        for name, expected in sums.items():
            if Path(name).name != name or sha256_file(folder / name) != expected:
                raise BundleError(f"{folder / name}: not the file that was written (sha256)")
        described = read_json(folder / CONFIG)
        if described["kind"] != kind:
            raise BundleError(f"{folder}: holds a {described['kind']!r}, not a {kind!r}")
        further = [name for name in sums if name not in (CONFIG, WEIGHTS)]
        files = {name: read_json(folder / name) for name in further}
        fingerprint = str(described["provenance"]["fingerprint"])
        weights = load_file(folder / WEIGHTS)
        return Bundle(folder, kind, described["config"], weights, files, fingerprint)


def bundle_provenance(folder: Path) -> dict[str, Any] | None:
    """How a model folder was made, as `Provenance.as_dict` gives it; None if there is no folder.

    Raises BundleError if it is damaged where it describes itself; weights are not read.
    """
    if not (folder / SUMS).is_file():
        return None
    with _damage_as_error(folder):
        provenance: dict[str, Any] = bundle_file(folder, CONFIG)["provenance"]
        provenance["fingerprint"]  # every provenance has one
        return provenance


def bundle_kind(folder: Path) -> str:
    """What a model folder holds, as `write_bundle` was told; BundleError as `bundle_provenance`."""
    with _damage_as_error(folder):
        return str(bundle_file(folder, CONFIG)["kind"])


def bundle_file(folder: Path, name: str) -> Any:
    """One of the JSON files of a model folder; BundleError if it is not what was written."""
    with _damage_as_error(folder):
        content = (folder / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != read_json(folder / SUMS)[name]:
            raise BundleError(f"{folder / name}: not the file that was written (sha256)")
        return json.loads(content)


def bundle_fingerprint(folder: Path) -> str | None:
    """Fingerprint of a complete model folder; None if there is none."""
    provenance = bundle_provenance(folder)
    return None if provenance is None else str(provenance["fingerprint"])


@contextmanager
def odd_as_error(folder: Path) -> Iterator[None]:
    """Around the use of what a model folder holds, which may be whole and yet no model of ours."""
    try:
        yield
    except OSError:
        raise
    except (*ODD, RecipeError) as error:  # RecipeError: an encoder or a setting that is not known
        raise BundleError(
            f"{folder}: not a model that this version can use: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:400]}"
        ) from None


@contextmanager
def _damage_as_error(folder: Path) -> Iterator[None]:
    """For what JSON and safetensors raise for files that are not what they claim to be."""
    try:
        yield
    except OSError as error:
        if is_machine_fault(error):
            raise unreachable(folder, error) from None
        raise BundleError(f"{folder}: damaged or unfinished model folder: {error}") from None
    except (LookupError, ValueError, TypeError, AttributeError, SafetensorError) as error:
        raise BundleError(
            f"{folder}: damaged or unfinished model folder: {type(error).__name__}: {error}"
        ) from None
