"""Covers on a page: where they speak for a genre, which are alike to the network, and a map."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np

from mmgenre.disk.store import FeatureStore, check_store
from mmgenre.errors import MmgenreError
from mmgenre.explain import results
from mmgenre.explain.heat import explain_covers
from mmgenre.explain.overlay import jpeg_base64, overlay
from mmgenre.explain.similarity import broadest, nearest, point_map, shared_genre, unit_length
from mmgenre.image.encoder import ImageEncoder
from mmgenre.items.labels import closure
from mmgenre.kinds import kind_of
from mmgenre.learning.encoder import load_encoder, load_task_head
from mmgenre.learning.rows import item_of
from mmgenre.pipeline.run import Run

# Covers with heat: test items, the first in alphabetical order of their ids, so that nobody can
# choose them by their results.
N_ITEMS = 12
PICTURE_PX = 160  # side of a cover with heat in the page
N_QUERIES = 8  # covers whose neighbours are shown
N_NEAREST = 5
SMALL_PX = 112  # side of a neighbour in the page
NO_COVER = "No test item has a cover that could be read."


def heat_of_covers(run: Run) -> results.HeatResult:
    """Where the covers of the first test items by id speak for the genre that is scored highest."""
    folder = run.encoder("image")
    encoder = cast(ImageEncoder, load_encoder(folder, "image", kind_of("image"), run.names)[0])
    head = load_task_head(folder, "image")
    with opened(run.inputs("image"), "image") as store:
        rows = _first_covers(store)
        having = [i for i in run.manifest.ids("test") if i in rows]
        ids = sorted(having)[:N_ITEMS]
        if not ids:
            raise MmgenreError(NO_COVER)
        crops = encoder.source(store).views([rows[i] for i in ids], None)[:, 0]
    maps = explain_covers(encoder, head, crops)
    attended: list[str | None] = [None] * len(ids)
    if maps.method == "gradient rollout":
        everywhere = explain_covers(encoder, head, crops, method="attention rollout").heat
        attended = [
            jpeg_base64(overlay(crop, heat), PICTURE_PX)
            for crop, heat in zip(crops, everywhere, strict=True)
        ]
    names = run.labels().names
    truth = [[names[j] for j in np.flatnonzero(row)] for row in run.truth(ids)]
    return {
        "method": maps.method,
        "network": encoder.config.network,
        "score": "probability" if head.target.state()["name"] == "logistic" else "cosine",
        "block": maps.block,
        "is_last": maps.is_last,
        "grid": maps.grid,
        "crop_px": crops.shape[1],
        "n_with_cover": len(having),
        "items": [
            {
                "id": item_id,
                "genre": head.labels[maps.genres[k]],
                "score": float(maps.scores[k]),
                "right": head.labels[maps.genres[k]] in truth[k],
                "truth": truth[k],
                "cover": jpeg_base64(crops[k], PICTURE_PX),
                "overlay": jpeg_base64(overlay(crops[k], maps.heat[k]), PICTURE_PX),
                "attention": attended[k],
                "blank": not maps.heat[k].any(),
            }
            for k, item_id in enumerate(ids)
        ],
    }


def neighbours_of_covers(run: Run) -> results.NeighbourResult:
    """The covers nearest to those of the first test items by id, by their image embeddings.

    The share of neighbours with their query's broadest genre is computed over all test items.
    """
    with opened(run.embeddings("image"), "image") as store:
        ids = [i for i, split in run.manifest.splits.items() if split and i in store]
        vectors = store.take(ids).astype(np.float32, copy=False)
    items = [run.manifest[i] for i in ids]
    tests = [k for k, item in enumerate(items) if item.split == "test"]
    queries = np.array(sorted(tests, key=lambda k: ids[k]), dtype=np.intp)
    if not len(queries):
        raise MmgenreError(NO_COVER)
    if len(ids) <= N_NEAREST:
        raise MmgenreError(f"{len(ids)} items have a cover: too few for {N_NEAREST} neighbours.")
    near, cosines = nearest(vectors, queries, N_NEAREST)
    shared, chance = shared_genre([item.labels for item in items], queries, near)
    artists = np.array([item.artist for item in items])
    # An empty name is an unknown artist, and nobody's own.
    same_artist = (artists[near] == artists[queries, None]) & (artists[near] != "")
    shown = range(min(N_QUERIES, len(queries)))
    pictured = sorted({ids[j] for k in shown for j in (queries[k], *near[k])})
    with opened(run.inputs("image"), "image") as store:
        first = _first_covers(store)
        covers = store.take([first.get(i, i) for i in pictured])  # names an id that is missing
    pictures = {i: jpeg_base64(c, SMALL_PX) for i, c in zip(pictured, covers, strict=True)}
    return {
        "k": N_NEAREST,
        "width": vectors.shape[1],
        "n_covers": len(ids),
        "n_queries": len(queries),
        "share": float(shared.mean()),
        "chance": chance,
        "same_artist": float(same_artist.mean()),
        "queries": [
            {
                "id": ids[queries[k]],
                "genre": broadest(items[queries[k]].labels),
                "genres": sorted(closure(items[queries[k]].labels)),
                "cover": pictures[ids[queries[k]]],
                "nearest": [
                    {
                        "id": ids[row],
                        "split": str(items[row].split),
                        "genres": sorted(closure(items[row].labels)),
                        "cosine": float(cosines[k, j]),
                        "shares": bool(shared[k, j]),
                        "same_artist": bool(same_artist[k, j]),
                        "cover": pictures[ids[row]],
                    }
                    for j, row in enumerate(near[k])
                ],
            }
            for k in shown
        ],
    }


def map_of_covers(run: Run, *, seed: int) -> results.PointMap:
    """Image embeddings of the items that the image encoder was not trained on."""
    with opened(run.embeddings("image"), "image") as store:
        ids = [i for s in ("val", "test") for i in run.manifest.ids(s) if i in store]
        unit = unit_length(store.take(ids).astype(np.float32, copy=False))  # as fusion takes them
    detail = "image embeddings of length 1, validation and test split: unseen in training"
    items = [run.manifest[i] for i in ids]
    return point_map("Albums by their covers", detail, unit, items, seed=seed)


def opened(path: Path, group: str) -> FeatureStore:
    """A store whose rows are those that were written, or StoreError."""
    check_store(path, group)
    return FeatureStore(path, group)


def _first_covers(store: FeatureStore) -> dict[str, str]:
    """The row of each item's first cover."""
    return {item_of(row): row for row in sorted(store.ids, reverse=True)}
