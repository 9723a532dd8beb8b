"""A music folder given instead of a manifest: its manifest is built into the run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmgenre.datasets.layouts import By
from mmgenre.disk.files import without_links
from mmgenre.disk.provenance import sha256_file
from mmgenre.disk.records import read_or_set_aside, write_record
from mmgenre.errors import MmgenreError
from mmgenre.progress import Progress, silent

FOLDER = "library"  # of a run
MANIFEST, RECORD = "manifest.csv", "built-from.json"


@dataclass(frozen=True)
class FolderChoice:
    """What `build_manifest` makes of a music folder; None: as in the run, or as there."""

    by: By | None = None  # what an item is; a track unless a run says otherwise
    genre_map: Path | None = None
    min_items: int | None = None
    sample: int | None = None

    def given(self) -> dict[str, Any]:
        """What is not None, as plain data."""
        found: dict[str, Any] = {k: v for k, v in vars(self).items() if v is not None}
        if self.genre_map is not None:
            found["genre_map"] = str(without_links(self.genre_map))
        return found


AS_THERE = FolderChoice()


def manifest_of_folder(
    music: Path, run: Path, choice: FolderChoice = AS_THERE, progress: Progress = silent
) -> Path:
    """The manifest of a music folder in a run; nothing is opened if no file of it has changed.

    Raises:
        ManifestError: the folder has no audio file, or the table of genres has faults.
        MmgenreError: the manifest was edited since it was built, and would be overwritten.
    """
    from mmgenre.datasets.build import build_manifest  # mutagen, which a no-op does without
    from mmgenre.datasets.music_folder import folder_digest

    out, record = run / FOLDER / MANIFEST, run / FOLDER / RECORD
    known = read_or_set_aside(record, "the manifest is built anew") or {}
    chosen = {name: known[name] for name in vars(choice) if name in known}
    chosen = {"by": "track", **chosen, **choice.given()}
    source = {"music": str(without_links(music)), "files": folder_digest(music), **chosen}
    if "genre_map" in chosen:
        source["genre_map_sha256"] = _hash_of_map(Path(chosen["genre_map"]))
    if out.is_file():
        is_as_built = known.get("manifest") == sha256_file(out)
        if is_as_built and all(known.get(key) == value for key, value in source.items()):
            return out
        if known and not is_as_built:
            raise MmgenreError(
                f"{out}: edited since it was built from {known['music']}, which would be lost. To "
                f"use it as it is: --manifest {shlex.quote(str(out))}; to have it built anew, "
                "delete it"
            )
    if "genre_map" in chosen:
        chosen["genre_map"] = Path(chosen["genre_map"])
    built = build_manifest("library", music, out, **chosen, progress=progress)
    _, *notes = built.summary()
    content = {**source, "manifest": sha256_file(out), "notes": notes}
    write_record(record, content)
    return out


def _hash_of_map(path: Path) -> str:
    if not path.is_file():
        raise MmgenreError(
            f"{path}: the table of genres for this folder of music is no file; give it by --map"
        )
    return sha256_file(path)


def library_notes(run: Path, dataset: str) -> Iterator[str]:
    """What was found when the manifest of a run was built from a music folder."""
    if dataset == str(without_links(run / FOLDER / MANIFEST)):
        known = read_or_set_aside(run / FOLDER / RECORD, "built again with the folder") or {}
        yield from (str(note).removeprefix("note: ") for note in known.get("notes", ()))
