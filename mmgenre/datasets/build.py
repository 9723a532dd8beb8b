"""Published datasets -> a manifest, and the vectors published with it -> a feature store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from mmgenre.datasets.cover_table import Field, read_cover_table
from mmgenre.datasets.covers20k import read_covers20k
from mmgenre.datasets.features import write_features
from mmgenre.datasets.folders import read_folders
from mmgenre.datasets.layout import Published
from mmgenre.datasets.media import attach_media
from mmgenre.datasets.msd_genre import read_cls
from mmgenre.datasets.msdi import read_msdi
from mmgenre.datasets.mumu import read_mumu
from mmgenre.datasets.selection import keep_frequent, keep_having
from mmgenre.datasets.tartarus import read_tartarus
from mmgenre.disk.store import group_names
from mmgenre.errors import ManifestError
from mmgenre.items.manifest import Manifest, Modality
from mmgenre.progress import Progress, silent

Layout = Literal["mumu", "msdi", "cls", "tartarus", "folders", "csv", "covers20k"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
FEATURES = "features.h5"  # beside the manifest


@dataclass(frozen=True)
class Built:
    """What was written: the manifest, the feature store if vectors were published, and counts.

    `features` counts rows by group; `notes` say what the dataset or the user's folders lack.
    """

    manifest: Path
    store: Path | None
    info: dict[str, int | dict[str, int]]
    features: dict[str, int]
    notes: tuple[str, ...]

    def summary(self) -> list[str]:
        """Lines for a person: counts of items, splits, modalities and vectors, then the notes."""
        shown = []
        for name, value in self.info.items():
            if isinstance(value, int):
                shown.append(f"{name} {value}")
            elif name == "labels":  # all 250 genres would hide the rest
                shown.append(f"{name} {len(value)}")
            else:
                shown.append(f"{name} " + ", ".join(f"{n} {key}" for key, n in value.items()))
        lines = [f"{self.manifest}: {'; '.join(shown)}"]
        if self.store is not None:
            rows = ", ".join(f"{n} {name}" for name, n in self.features.items())
            lines.append(f"{self.store}: {rows}")
        return [*lines, *(f"note: {note}" for note in self.notes)]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        store = None if self.store is None else str(self.store)
        return {**vars(self), "manifest": str(self.manifest), "store": store}


def build_manifest(
    layout: Layout,
    folder: Path,
    out: Path,
    *,
    audio: Path | None = None,
    images: Path | None = None,
    dataset: str | None = None,
    columns: Mapping[Field, str] | None = None,
    only_with: Sequence[Modality] = (),
    min_share: float | None = None,
    progress: Progress = silent,
) -> Built:
    """Reads a dataset and writes its manifest, with the media that the user has.

    Args:
        layout: mumu, msdi, cls (genres of the Million Song Dataset), tartarus (arrays), folders
            (of covers, one a genre), csv (a table of covers) or covers20k.
        folder: where the published files lie; for cls and csv also the file itself.
        out: the CSV to write. Published vectors go into `features.h5` beside it.
        audio: folder of audio files named by track id.
        images: folder of covers named by item id; for csv, by the table.
        dataset: tartarus only: which of several datasets in the folder.
        columns: csv only: the column of each field.
        only_with: leaves out items that lack one of these.
        min_share: leaves out genres that a smaller share of the items (those left) has.
        progress: told of the records read.

    Raises:
        ManifestError: lists every fault of the files, and for those that are not there where to
            get them and where to put them.
        StoreError: a published vector is not finite.
    """
    readers: dict[Layout, Callable[[], Published]] = {
        "mumu": lambda: read_mumu(folder, progress=progress),
        "msdi": lambda: read_msdi(folder),
        "cls": lambda: read_cls(folder),
        "tartarus": lambda: read_tartarus(folder, dataset),
        "folders": lambda: read_folders(folder),
        "csv": lambda: read_cover_table(folder, columns=columns, images=images),
        "covers20k": lambda: read_covers20k(folder),
    }
    if dataset is not None and layout != "tartarus":
        raise ManifestError(layout, [f"dataset {dataset!r}: only tartarus has several in a folder"])
    if columns is not None and layout != "csv":
        raise ManifestError(layout, [f"columns {dict(columns)}: only csv has columns to choose"])
    if images is not None and layout in ("folders", "covers20k"):
        raise ManifestError(layout, [f"images {images}: the covers lie in {folder} itself"])
    published = readers[layout]()
    covers = None if layout == "csv" else images  # csv has found its own
    published = attach_media(published, audio=audio, images=covers)
    if only_with:
        published = keep_having(published, only_with)
    if min_share is not None:
        published = keep_frequent(published, min_share)
    manifest = Manifest(published.items, where=str(out))
    store = _write_store(published, out.parent / FEATURES)
    manifest.write(out)
    return Built(
        out,
        store,
        manifest.info(),
        {name: sum(len(p.ids) for p in parts) for name, parts in published.features.items()},
        published.notes,
    )


def _write_store(published: Published, target: Path) -> Path | None:
    """Writes the published vectors, if there are any."""
    if not published.features:
        return None
    others = sorted(set(group_names(target)) - published.features.keys())
    if others:
        fault = f"holds {', '.join(others)}, which are not of this dataset; write to another folder"
        raise ManifestError(str(target), [fault])
    return write_features(published.features, target)
