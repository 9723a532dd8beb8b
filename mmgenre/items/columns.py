"""The rows of a manifest as columns, a list each: of a million rows, few objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmgenre.errors import ManifestError
from mmgenre.items.item import LIST_SEPARATOR, Item, Media, Split
from mmgenre.items.modalities import MODALITIES, Modality


@dataclass(frozen=True)
class Columns:
    """The rows of a manifest in the order of their ids; each list has one entry per item."""

    ids: list[str]
    artists: list[str]
    albums: list[str]
    splits: list[Split | None]
    labels: list[tuple[str, ...]]
    # A cell of the CSV, file names relative to `folder` joined by `;`, or the media of an `Item`.
    files: Mapping[Modality, Sequence[str | Media]]
    texts: Mapping[Modality, Sequence[str]]  # the inline texts of a CSV
    extra: Mapping[str, Sequence[str | None]]  # None: the item has no such name
    folder: Path = Path()
    # Where media may lie, at any depth; None: anywhere, as the items were made in Python.
    roots: tuple[Path, ...] | None = None

    def having(self, modality: Modality) -> NDArray[np.bool_]:
        """Which items have a modality, (n,)."""
        found = np.zeros(len(self.ids), dtype=bool)
        for columns in (self.files, self.texts):
            if modality in columns:
                found |= np.fromiter(map(bool, columns[modality]), bool, len(found))
        return found

    def with_files(self, modality: Modality) -> NDArray[np.bool_]:
        """Which items have something else than one inline text of a CSV, (n,)."""
        cells = self.files.get(modality, [()] * len(self.ids))
        return np.fromiter(map(bool, cells), bool, len(self.ids))

    def media(self, modality: Modality, row: int) -> Media:
        """The files of an item, then its inline text; () if it lacks the modality."""
        files = self.files[modality][row] if modality in self.files else ()
        text = self.texts[modality][row] if modality in self.texts else ""
        if isinstance(files, str):
            files = tuple(self.folder / name for name in split_list(files))
        return (*files, text) if text else files


def columns_of(items: Iterable[Item], where: str) -> Columns:
    """Items made in Python, sorted; ManifestError if an id is there twice or a medium unknown."""
    rows = sorted(items, key=lambda item: item.id)
    ids = [item.id for item in rows]
    faults = [f"id {i!r} appears more than once" for i, n in Counter(ids).items() if n > 1]
    unknown = [(item.id, m) for item in rows for m in item.media if m not in MODALITIES]
    known = ", ".join(MODALITIES)
    faults += [f"id {i!r}: {m!r} is no modality; those are {known}" for i, m in unknown]
    if faults:
        raise ManifestError(where, faults)
    names = {name for item in rows for name in item.extra}
    return Columns(
        ids,
        [item.artist for item in rows],
        [item.album for item in rows],
        [item.split for item in rows],
        [item.labels for item in rows],
        {m: [item.media.get(m, ()) for item in rows] for m in MODALITIES},
        {},
        {name: [item.extra.get(name) for item in rows] for name in sorted(names)},
    )


def column_names() -> tuple[str, ...]:
    """The columns of a manifest: files of audio and images, then files and texts of text.

    >>> column_names()
    ('id', 'artist', 'album', 'split', 'labels', 'audio', 'image', 'text_file', 'text')
    """
    ordered = sorted(MODALITIES.values(), key=lambda info: info.medium == "text")
    media = [name for m in ordered for name in (m.files_column, m.text_column) if name]
    return ("id", "artist", "album", "split", "labels", *media)


def split_list(cell: str) -> tuple[str, ...]:
    """`a; b` -> ("a", "b"); an empty cell is an empty list."""
    return tuple(part.strip() for part in cell.split(LIST_SEPARATOR)) if cell.strip() else ()


def inline_text(media: Media) -> str:
    """The texts among media that are not files, an empty line between them."""
    return "\n\n".join(text for text in media if isinstance(text, str))
