"""Fingerprints: what an artefact was made from, as one short hash."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path, PurePath
from typing import Any

THREADS = ", threads: "


@dataclass(frozen=True)
class Provenance:
    """How an artefact was made. The fingerprint covers the first four fields."""

    stage: str
    stage_version: int  # increased whenever the code of a stage changes what it writes
    parameters: Mapping[str, Any]
    parents: Mapping[str, str] = field(default_factory=dict)  # name -> fingerprint
    made_by: str = field(default_factory=lambda: f"mmgenre {version('mmgenre')}")

    @property
    def fingerprint(self) -> str:
        """16 hex digits; equal if and only if stage, version, parameters and parents are equal."""
        parts = [self.stage, self.stage_version, self.parameters, self.parents]
        text = json.dumps(parts, sort_keys=True, default=_plain)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, fingerprint included.

        `made_by` also names the number of threads, on which the last digits of sums may depend.
        """
        plain = json.loads(json.dumps(asdict(self), default=_plain))
        torch = sys.modules.get("torch")  # what is made before it is imported sums in one thread
        if torch is not None and THREADS not in self.made_by:
            plain["made_by"] += f"{THREADS}{torch.get_num_threads()}"
        return {**plain, "fingerprint": self.fingerprint}


def _plain(value: object) -> object:
    if isinstance(value, PurePath):
        return value.as_posix()
    raise TypeError(f"{value!r} cannot be part of a fingerprint")


def sha256_file(path: Path) -> str:
    """Hash of a file's bytes, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_folder(folder: Path) -> str:
    """One hash over the names and bytes of a folder's files, as 64 hex digits.

    Hidden files do not count: downloaders and file managers keep their own notes there.
    """
    found = sorted(p for p in folder.rglob("*") if p.is_file())
    hidden = (any(part.startswith(".") for part in p.relative_to(folder).parts) for p in found)
    return sha256_files(
        folder, [p for p, is_hidden in zip(found, hidden, strict=True) if not is_hidden]
    )


def sha256_files(folder: Path, files: Iterable[Path]) -> str:
    """One hash over the names below a folder and the bytes of files in it, as 64 hex digits."""
    digest = hashlib.sha256()
    for path in files:
        name = path.relative_to(folder)
        digest.update(f"{name.as_posix()}\0{sha256_file(path)}\n".encode())
    return digest.hexdigest()
