"""Input stores through encoders -> one vector per item and view.

Vectors that are there, of the same media and encoder, are taken over.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import Any

import loky
import numpy as np

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import Block, FeatureStore, renew_store
from mmgenre.errors import Refusal, StoreError
from mmgenre.items.item import TRACK_SEPARATOR
from mmgenre.learning.rows import item_of
from mmgenre.pipeline.artefact import Artefact, in_store, rows_of
from mmgenre.pipeline.embed_parts import Work, all_blocks, embed_shard, remove_parts
from mmgenre.pipeline.recipe import View
from mmgenre.pipeline.run import Run
from mmgenre.progress import Progress
from mmgenre.reading.extraction import Shard
from mmgenre.reading.marks import MARK

EMBED_VERSION = 1  # rises when the code of the step changes what it writes


def embeddings_of(
    run: Run,
    view: View,
    inputs: Artefact,
    encoder: Artefact,
    *,
    dask: str | None = None,
    workers: int | None = None,
) -> Artefact:
    """A vector for every item that has the modality: for audio the mean over its tracks.

    `dask`: the workers of this cluster embed; "local": so many `workers` on this machine.
    """
    work = work_of(run, view, inputs, encoder)
    path, provenance = work.target, work.provenance

    def make(progress: Progress) -> None:
        with FeatureStore(inputs.path, view.modality) as store:
            made_from = made_by(encoder, provenance.parameters, store)
            order = sorted({item_of(row) for row in store.ids})
        taken, refused = unchanged(path, view.name, made_from), list[Refusal]()
        parts, n = work.parts(taken), workers or loky.cpu_count()
        blocks = all_blocks(work, parts, refused, dask=dask, workers=n, progress=progress)
        how: dict[str, Any] = {"taken": taken, "order": order, "refused": refused}
        renew_store(path, view.name, blocks, provenance, **how, made_from=made_from)
        remove_parts(work)

    stored, verify = in_store(path, view.name), rows_of(path, view.name)
    made_from = (inputs, encoder)
    return Artefact("embed", view.name, path, provenance, made_from, stored, make, verify=verify)


def work_of(run: Run, view: View, inputs: Artefact, encoder: Artefact) -> Work:
    """How the rows of a view are embedded."""
    section = run.recipe.of(view.modality)
    precision, dtype = getattr(section, "embedding_precision", "float32"), section.embedding_dtype
    how = {"precision": precision, "dtype": dtype}
    parameters = {"modality": view.modality} | {k: v for k, v in how.items() if v != "float32"}
    parents = {"inputs": inputs.fingerprint, "encoder": encoder.fingerprint}
    provenance = Provenance("embeddings", EMBED_VERSION, parameters, parents)
    path = run.folder / "embeddings.h5"
    if run.pool is not None:
        path = run.place("embeddings", view.name, f"{provenance.fingerprint}.h5")
    read, by = inputs.path.absolute(), encoder.path.absolute()
    return Work(view.name, view.modality, read, by, run.names, precision, dtype, provenance, path)


def shard_of_embeddings(
    run: Run, view: View, vectors: Artefact, shard: Shard, progress: Progress
) -> tuple[int, int] | None:
    """Embeds one of n shares of a view's items, as `embed_shard`; None: there is no encoder yet.

    `vectors` is what `embeddings_of` gives.
    """
    inputs, encoder = vectors.parents
    if not (inputs.is_current() and encoder.is_current()):
        return None
    work = work_of(run, view, inputs, encoder)
    if vectors.is_current():
        n = len(work.parts())
        return n, n
    if inputs.verify is not None:
        inputs.verify(progress)
    with FeatureStore(inputs.path, view.modality) as store:
        made_from = made_by(encoder, work.provenance.parameters, store)
    return embed_shard(work, unchanged(work.target, view.name, made_from), shard, progress=progress)


def made_by(
    encoder: Artefact,
    parameters: Mapping[str, Any],
    inputs: FeatureStore,
    items: Collection[str] | None = None,
) -> dict[str, bytes]:
    """Item -> hash of the encoder, of how it is used, and of the media of the item's rows.

    Of all items that have rows, or some of them. {} if the inputs say nothing of their media.
    """
    marks = inputs.made_from()
    how = json.dumps([EMBED_VERSION, encoder.fingerprint, parameters], sort_keys=True).encode()
    digests: dict[str, hashlib._Hash | hashlib.blake2b] = {}
    for row_id in inputs.ids if marks else ():
        item_id = row_id.partition(TRACK_SEPARATOR)[0]
        if items is None or item_id in items:
            if item_id not in digests:
                digests[item_id] = hashlib.blake2b(how, digest_size=MARK)
            digests[item_id].update(row_id.encode() + marks[row_id][:MARK])
    return {item_id: digest.digest() for item_id, digest in digests.items()}


def unchanged(path: Path, name: str, made_from: Mapping[str, bytes]) -> Set[str]:
    """The items whose vectors, or refusals, in a group were made from the same."""
    with suppress(StoreError), FeatureStore(path, name) as store:
        return {i for i, made in store.made_from().items() if made_from.get(i) == made}
    return frozenset()


def write_items(
    path: Path,
    name: str,
    blocks: Sequence[Block],
    provenance: Provenance,
    *,
    taken: Set[str],
    made_from: Mapping[str, bytes],
    refused: Sequence[Refusal] = (),
) -> None:
    """Writes a group of items, sorted by id, some of which are taken over from the present one."""
    ids = [item_id for own, _ in blocks for item_id in own]
    order = sorted({*ids, *taken, *(refusal.id for refusal in refused)})
    if len(blocks) > 1:
        rows = np.concatenate([np.asarray(own) for _, own in blocks])
        place = np.argsort(np.array(ids))
        blocks = [([ids[k] for k in place], rows[place])]
    how: dict[str, Any] = {"taken": taken, "order": order, "refused": refused}
    renew_store(path, name, blocks, provenance, **how, made_from=made_from)
