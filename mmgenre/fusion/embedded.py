"""Media of items -> one vector an item from each encoder, as prediction and search need them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmgenre.config import Settings
from mmgenre.disk.store import FeatureStore
from mmgenre.errors import Refusal
from mmgenre.fusion.by_onnx import OnnxEncoder
from mmgenre.items.manifest import Manifest
from mmgenre.items.modalities import modality_of
from mmgenre.learning.rows import known_rows, mean_by_item
from mmgenre.progress import Progress
from mmgenre.reading.extraction import extract_inputs

if TYPE_CHECKING:  # torch takes seconds to import, and models of ONNX need none
    from mmgenre.learning.encoder import Encoder

Vectors = dict[str, NDArray[np.float32]]  # item -> (width,)


def embed_items(
    manifest: Manifest,
    reads: Mapping[str, Settings],
    encoder_of: Callable[[str], Encoder | OnnxEncoder],
    *,
    workers: int | None,
    progress: Progress,
) -> tuple[dict[str, Vectors], list[Refusal]]:
    """View -> item -> vector, {} of a modality that no item has; and media that cannot be used.

    `reads`: of the inputs of each view's encoder; views that read the same share what is read.
    """
    vectors: dict[str, Vectors] = {}
    refused: list[Refusal] = []
    with TemporaryDirectory(prefix="mmgenre-") as folder:
        read: dict[tuple[str, str], Path] = {}
        for view, settings in reads.items():
            modality, vectors[view] = modality_of(view), {}
            if not manifest.count(having=[modality]):
                continue
            key = modality, settings.model_dump_json()
            if is_new := key not in read:
                target = Path(folder) / f"{view}.h5"
                read[key] = extract_inputs(
                    manifest, modality, settings, target, workers=workers, progress=progress
                )
            with FeatureStore(read[key], modality) as store:
                refused += store.refused if is_new else ()
                vectors[view], unknown = _embedded(view, encoder_of(view), store, progress)
                refused += unknown
    return vectors, refused


def _embedded(
    view: str, encoder: Encoder | OnnxEncoder, store: FeatureStore, progress: Progress
) -> tuple[Vectors, list[Refusal]]:
    """Item -> vector, of the rows of which the encoder knows something; refusals of others."""
    source, task = encoder.source(store), f"embedding {view}"
    known, unknown = known_rows(source, store.ids, modality_of(view), view)
    if not known:
        return {}, unknown
    if isinstance(encoder, OnnxEncoder):
        rows = encoder.embed(source, known, task=task, progress=progress)
    else:
        from mmgenre.learning.encoder import embed

        rows = embed(encoder, source, known, task=task, progress=progress)
    ids, means = mean_by_item(known, rows)
    return dict(zip(ids, means, strict=True)), unknown
