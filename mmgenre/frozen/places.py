"""Where frozen models lie: a folder, or the hub's cache, which is filled by name and on request."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from mmgenre.disk.files import without_links
from mmgenre.disk.provenance import sha256_files
from mmgenre.errors import WeightsError
from mmgenre.frozen.settings import FrozenInput, ModelName

CONFIG = "config.json"
MODULES = "modules.json"  # lists the parts of a sentence-transformers model
READ = (".json", ".txt", ".model", ".safetensors")  # the suffixes of what is loaded
PICKLES = ".bin"  # only where there are no safetensors, and only their tensors
OTHERS = ("onnx", "openvino", "coreml", "gguf")  # folders with the same model for other programs
LICENCE = re.compile(r"^license:\s*[\"']?([\w.-]+)", re.MULTILINE)
LICENCE_NAME = re.compile(r"^license_name:\s*[\"']?([\w.-]+)", re.MULTILINE)


@dataclass(frozen=True)
class Place:
    """A model's folder on this machine."""

    name: ModelName
    folder: Path
    revision: str | None  # of the hub: the commit
    licence: str | None  # as its card says; None: it says nothing

    @property
    def sha256(self) -> str:
        """Of the names and bytes of all files that are read."""
        files = tuple(files_of(self.folder))
        stats = tuple((s.st_size, s.st_mtime_ns) for s in (f.stat() for f in files))
        return _sha256(self.folder, files, stats)

    def config(self, file: str = CONFIG) -> dict[str, Any]:
        """A JSON file of the model; {} if it has none of that name.

        Raises:
            WeightsError: it is no JSON object.
        """
        path = self.folder / file
        if not path.is_file():
            return {}
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise WeightsError(f"{path}: not JSON: {error!s:.200}") from None
        if not isinstance(found, dict):
            raise WeightsError(f"{path}: no JSON object")
        return found

    def about(self) -> dict[str, Any]:
        """What is recorded of it wherever its vectors are used."""
        return {
            "model": str(self.name),
            "revision": self.revision,
            "sha256": self.sha256,
            "licence": self.licence,
        }


def files_of(folder: Path) -> Iterator[Path]:
    """The files of a model that are loaded, sorted; not its card, nor other programs' copies."""
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") or part in OTHERS for part in _parts(path, folder))
    ]
    has_safetensors = any(path.suffix == ".safetensors" for path in found)
    for path in found:
        if path.suffix in READ or (path.suffix == PICKLES and not has_safetensors):
            yield path


def find(name: ModelName) -> Place:
    """A model that is on this machine. No network is used.

    Raises:
        WeightsError: it is not here.
    """
    if name.source == "dir":
        folder = without_links(Path(name.name).expanduser())
        if not _is_model(folder):
            what = f"has no {CONFIG}" if folder.is_dir() else "no such folder"
            raise WeightsError(
                f"{folder}: {what}, so no model; copy one here, as save_pretrained writes it or "
                "hf download OWNER/NAME --local-dir PATH fetches it"
            )
        return Place(name, folder, None, licence_in(folder))
    found = _snapshot(name, only_local=True)
    if found is None:
        raise WeightsError(
            f"{name}: is not on this machine. Where there is a network: mmgenre encoders --get "
            f"{name}; or elsewhere: hf download {repository(name)} --local-dir FOLDER, copy the "
            "folder here, and name it dir:FOLDER"
        )
    return found


def place_of(reads: FrozenInput) -> Place:
    """The model that settings of inputs name, where it was carried along or as its name says.

    Raises:
        WeightsError: it is not here.
    """
    if reads.carried is None:
        return find(reads.name)
    folder = Path(reads.carried)
    return Place(reads.name, folder, None, licence_in(folder))


def fetch(name: ModelName) -> Place:
    """A model, downloaded into the hub's cache if it is not on this machine.

    Raises:
        WeightsError: it cannot be had: no network, no such model, or HF_HUB_OFFLINE forbids it.
    """
    try:
        return find(name)
    except WeightsError as error:
        if name.source == "dir" or os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
            raise
        missing = error
    try:
        found = _snapshot(name, only_local=False)
    except Exception as error:  # of several libraries: no network, no such model, no permission
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        raise WeightsError(f"{missing} (it was tried now: {why:.300})") from None
    if found is None:
        raise WeightsError(f"{name}: its repository has no {CONFIG}, so no model")
    return found


def _is_model(folder: Path) -> bool:
    """Whether one lies in a folder, also one that consists of sentence-transformers' parts."""
    return any((folder / name).is_file() for name in (CONFIG, MODULES))


def repository(name: ModelName) -> str:
    """Its repository on the hub: `timm:NAME` is that of timm."""
    return f"timm/{name.name}" if name.source == "timm" else name.name


def _snapshot(name: ModelName, *, only_local: bool) -> Place | None:
    from huggingface_hub import snapshot_download  # takes its time to import
    from huggingface_hub.errors import LocalEntryNotFoundError

    def get(*patterns: str) -> Path:
        return Path(
            snapshot_download(
                repository(name),
                revision=name.revision,
                local_files_only=only_local,
                allow_patterns=list(patterns),
                ignore_patterns=[f"{folder}/*" for folder in OTHERS],
            )
        )

    try:
        folder = get("README.md", *(f"*{suffix}" for suffix in READ))
        if not only_local and not any(f.suffix == ".safetensors" for f in files_of(folder)):
            folder = get("README.md", *(f"*{suffix}" for suffix in (*READ, PICKLES)))
    except LocalEntryNotFoundError:
        if only_local:
            return None
        raise
    has_weights = any(f.suffix in (".safetensors", PICKLES) for f in files_of(folder))
    if not _is_model(folder) or not has_weights:
        return None
    return Place(name, folder, folder.name, licence_in(folder))


def licence_in(folder: Path) -> str | None:
    """The licence that the card in a model's folder states; None: it states none."""
    card = folder / "README.md"
    if not card.is_file():
        return None
    head = card.read_text(encoding="utf-8", errors="replace")[:20_000].partition("\n---")[0]
    found = LICENCE.search(head)
    if found is None:
        return None
    name = LICENCE_NAME.search(head)
    return name[1] if found[1] == "other" and name else found[1]


def _parts(path: Path, folder: Path) -> tuple[str, ...]:
    return path.relative_to(folder).parts


@lru_cache(maxsize=16)
def _sha256(folder: Path, files: tuple[Path, ...], stats: tuple[tuple[int, int], ...]) -> str:
    del stats  # part of the cache's key
    return sha256_files(folder, files)
