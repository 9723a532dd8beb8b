"""A music folder given instead of a manifest: its manifest is built into the run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from mmgenre.datasets.layouts import By
from mmgenre.disk.files import without_links
from mmgenre.disk.provenance import sha256_file
from mmgenre.disk.records import read_or_set_aside, write_record
from mmgenre.errors import MmgenreError
from mmgenre.progress import Progress, silent

FOLDER = "library"  # of a run
MANIFEST, RECORD = "manifest.csv", "built-from.json"


def manifest_of_folder(
    music: Path, run: Path, by: By | None = None, progress: Progress = silent
) -> Path:
    """The manifest of a music folder in a run; nothing is opened if no file of it has changed.

    `by`: what an item is; None: as in the run, or a track.

    Raises:
        ManifestError: the folder has no audio file.
        MmgenreError: the manifest was edited since it was built, and would be overwritten.
    """
    from mmgenre.datasets.build import build_manifest  # mutagen, which a no-op does without
    from mmgenre.datasets.music_folder import folder_digest

    out, record = run / FOLDER / MANIFEST, run / FOLDER / RECORD
    known = read_or_set_aside(record, "the manifest is built anew") or {}
    source = {
        "music": str(without_links(music)),
        "by": by or known.get("by", "track"),
        "files": folder_digest(music),
    }
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
    unit: By = "album" if source["by"] == "album" else "track"
    built = build_manifest("library", music, out, by=unit, progress=progress)
    _, *notes = built.summary()
    content = {**source, "manifest": sha256_file(out), "notes": notes}
    write_record(record, content)
    return out


def library_notes(run: Path, dataset: str) -> Iterator[str]:
    """What was found when the manifest of a run was built from a music folder."""
    if dataset == str(without_links(run / FOLDER / MANIFEST)):
        known = read_or_set_aside(run / FOLDER / RECORD, "built again with the folder") or {}
        yield from (str(note).removeprefix("note: ") for note in known.get("notes", ()))
