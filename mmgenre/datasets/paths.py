"""Whatever people point at (files, folders of music, manifests) as items to name genres of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mmgenre.datasets.layouts import By
from mmgenre.datasets.sources import Fault, id_of_path
from mmgenre.errors import ManifestError
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.items.modalities import SUFFIXES, Modality
from mmgenre.progress import Progress, silent

TEXTS = frozenset({".txt", ".md", ".lrc"})
MANIFEST = ".csv"


def items_at(
    paths: Sequence[str],
    *,
    covers: Path,
    by: By = "track",
    media_roots: Sequence[Path] = (),
    progress: Progress = silent,
) -> tuple[Manifest, list[Fault]]:
    """The items that paths stand for, and files that were left out.

    An audio file, a cover or a text is an item of its own, its id the path as given; a folder is
    read as tagged music (`read_library`: `covers`, `by`), so that its tracks have their covers and
    lyrics, and ids are paths, too; a CSV is a manifest.

    Raises:
        ManifestError: a path is not there, or of no kind that is known; all of them are named.
    """
    of_suffix: dict[str, Modality] = {s: m for m, own in SUFFIXES.items() for s in own}
    of_suffix |= dict.fromkeys(TEXTS, "text")
    items: dict[str, Item] = {}
    faults: list[Fault] = []
    wrong: list[str] = []
    for text in dict.fromkeys(paths):
        path = Path(text)
        if path.is_dir():
            from mmgenre.datasets.library import read_library  # mutagen, for folders alone

            found = read_library(path, covers=covers, by=by, progress=progress)
            faults += found.faults
            own = [replace(i, id=f"{id_of_path(str(path))}/{i.id}") for i in found.items]
        elif not path.is_file():
            wrong.append(f"{text}: no such file or folder")
            continue
        elif path.suffix.lower() == MANIFEST:
            own = list(Manifest.read(path, media_roots=media_roots))
        elif (modality := of_suffix.get(path.suffix.lower())) is not None:
            own = [Item(id_of_path(text), media={modality: (path,)})]
        else:
            known = ", ".join(sorted(of_suffix))
            wrong.append(f"{text}: neither audio, cover, text nor manifest; suffixes are {known}")
            continue
        for item in own:
            if item.id in items and items[item.id] != item:
                wrong.append(f"{text}: its item {item.id!r} has the id of another one")
            items[item.id] = item
    if wrong:
        raise ManifestError("what is to be named", wrong)
    return Manifest(list(items.values())), faults
