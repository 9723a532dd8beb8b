"""Media of items -> one vector an item from each encoder, as prediction and search need them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmgenre.config import Settings
from mmgenre.disk.store import FeatureStore
from mmgenre.errors import Refusal
from mmgenre.fusion.by_onnx import OnnxEncoder
from mmgenre.items.manifest import Manifest
from mmgenre.items.modalities import modality_of
from mmgenre.learning.rows import Note, item_of, known_rows, mean_by_item
from mmgenre.progress import Progress
from mmgenre.reading.extraction import extract_inputs

if TYPE_CHECKING:  # torch takes seconds to import, and models of ONNX need none
    from mmgenre.learning.encoder import Encoder

Vectors = dict[str, NDArray[np.float32]]  # item -> (width,)


class Embedded(NamedTuple):
    """What items' media give."""

    vectors: dict[str, Vectors]  # by view; {} of a modality that no item has
    refused: list[Refusal]  # media that cannot be used
    notes: dict[str, dict[str, Note]]  # item -> modality -> what is said of its first row
    inputs: dict[str, Path]  # by view: the store of what its encoder read


def embed_items(
    manifest: Manifest,
    reads: Mapping[str, Settings],
    encoder_of: Callable[[str], Encoder | OnnxEncoder],
    folder: Path,
    *,
    workers: int | None,
    limit_s: float | None = None,
    progress: Progress,
) -> Embedded:
    """A vector of each item from each encoder.

    `reads`: of the inputs of each view's encoder; views that read the same share what is read,
    which lies in `folder`.
    """
    found = Embedded({}, [], {}, {})
    read: dict[tuple[str, str], Path] = {}
    for view, settings in reads.items():
        modality, found.vectors[view] = modality_of(view), {}
        if not manifest.count(having=[modality]):
            continue
        key = modality, settings.model_dump_json()
        if is_new := key not in read:
            read[key] = extract_inputs(
                manifest, modality, settings, folder / f"{view}.h5", workers=workers,
                limit_s=limit_s, progress=progress,
            )  # fmt: skip
        found.inputs[view] = read[key]
        with FeatureStore(read[key], modality) as store:
            found.refused.extend(store.refused if is_new else ())
            own = embedded(view, encoder_of(view), store, progress)
        found.vectors[view] = own.vectors[view]
        found.refused.extend(own.refused)
        for item_id, notes in own.notes.items():
            found.notes.setdefault(item_id, {}).setdefault(modality, notes[modality])
    return found


def embedded(
    view: str, encoder: Encoder | OnnxEncoder, store: FeatureStore, progress: Progress
) -> Embedded:
    """Vectors of the rows of which the encoder knows something; refusals of others."""
    source, task = encoder.source(store), f"embedding {view}"
    modality = modality_of(view)
    known, unknown = known_rows(source, store.ids, modality, view)
    if not known:
        return Embedded({view: {}}, unknown, {}, {})
    if isinstance(encoder, OnnxEncoder):
        rows = encoder.embed(source, known, task=task, progress=progress)
    else:
        from mmgenre.learning.embedding import embed

        rows = embed(encoder, source, known, task=task, progress=progress)
    ids, means = mean_by_item(known, rows)
    notes: dict[str, dict[str, Note]] = {}
    if hasattr(source, "notes"):
        for row_id, note in zip(known, source.notes(known), strict=True):
            if note is not None:
                notes.setdefault(item_of(row_id), {}).setdefault(modality, note)
    return Embedded({view: dict(zip(ids, means, strict=True))}, unknown, notes, {})


def given_rows(ids: Sequence[str], given: Mapping[str, FeatureStore]) -> dict[str, Vectors]:
    """Input -> item -> vector, of those of some items that have one in a store of such."""
    vectors: dict[str, Vectors] = {}
    for name, store in given.items():
        rows = store.positions(ids)
        here = np.flatnonzero(rows >= 0)
        values = np.asarray(store.rows_at(rows[here]), np.float32)
        vectors[name] = dict(zip((ids[k] for k in here.tolist()), values, strict=True))
    return vectors
