"""Parts of a run's description that show covers: heat over them, and which of them are alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.store import FeatureStore
from mmgenre.errors import MmgenreError
from mmgenre.explain.description import HeatResult, NeighbourResult
from mmgenre.explain.guesses import first_ids
from mmgenre.explain.heat import explain_covers
from mmgenre.explain.neighbours import broadest, nearest, shared_genre
from mmgenre.explain.overlay import jpeg_base64, overlay
from mmgenre.image.encoder import ImageEncoder
from mmgenre.items.labels import closure
from mmgenre.items.manifest import Item
from mmgenre.pipeline.run import Run
from mmgenre.reading.network import item_of, load_encoder, load_task_head

N_ITEMS = 12  # covers with heat
PICTURE_PX = 160  # side of one of them in the page
N_QUERIES = 8  # covers whose neighbours are shown
N_NEAREST = 5
SMALL_PX = 112  # side of a neighbour in the page
NO_COVER = "No test item has a cover that could be read."


def heat_of_covers(run: Run) -> HeatResult:
    """Where the covers of the first test items by id speak for the genre that is named first."""
    folder = run.encoder("image")
    encoder = cast(ImageEncoder, load_encoder(folder, "image")[0])
    head = load_task_head(folder, "image")
    with FeatureStore(run.inputs("image"), "image") as store:
        rows = _first_covers(store)
        having = [i for i in run.manifest.ids("test") if i in rows]
        ids = first_ids(having, N_ITEMS)
        if not ids:
            raise MmgenreError(NO_COVER)
        crops = encoder.source(store).views([rows[i] for i in ids], None)[:, 0]
    maps = explain_covers(encoder, head, crops)
    attended: list[str | None] = [None] * len(ids)
    if maps.method == "gradient rollout":
        looked = explain_covers(encoder, head, crops, method="attention rollout").heat
        attended = [_picture(crop, heat) for crop, heat in zip(crops, looked, strict=True)]
    space = run.labels()
    truth = space.encode([run.manifest[i].labels for i in ids])
    names = [[n for n, has in zip(space.names, row, strict=True) if has] for row in truth]
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
                "right": head.labels[maps.genres[k]] in names[k],
                "truth": names[k],
                "cover": jpeg_base64(crops[k], PICTURE_PX),
                "overlay": _picture(crops[k], maps.heat[k]),
                "attention": attended[k],
                "blank": not maps.heat[k].any(),
            }
            for k, item_id in enumerate(ids)
        ],
    }


def neighbours_of_covers(run: Run) -> NeighbourResult:
    """The covers nearest to those of the first test items by id, by their image embeddings.

    The share of neighbours that have their query's broadest genre is that of all test items.
    """
    with FeatureStore(run.embeddings("image"), "image") as store:
        ids = [i for i in run.manifest.ids() if i in store]
        vectors = store.take(ids)
    items = [run.manifest[i] for i in ids]
    queries = np.array(
        sorted((k for k, item in enumerate(items) if item.split == "test"), key=lambda k: ids[k]),
        dtype=np.intp,
    )
    if not len(queries):
        raise MmgenreError(NO_COVER)
    if len(ids) <= N_NEAREST:
        raise MmgenreError(f"{len(ids)} items have a cover: too few for {N_NEAREST} neighbours.")
    near, cosines = nearest(vectors, queries, N_NEAREST)
    shared, chance = shared_genre([item.labels for item in items], queries, near)
    akin = np.array(
        [
            [_same_artist(items[q], items[j]) for j in row]
            for q, row in zip(queries, near, strict=True)
        ]
    )
    shown = range(min(N_QUERIES, len(queries)))
    wanted = [ids[j] for k in shown for j in (queries[k], *near[k])]
    pictures = _pictures(run, wanted)
    return {
        "k": N_NEAREST,
        "width": vectors.shape[1],
        "n_covers": len(ids),
        "n_queries": len(queries),
        "share": float(shared.mean()),
        "chance": chance,
        "same_artist": float(akin.mean()),
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
                        "same_artist": bool(akin[k, j]),
                        "cover": pictures[ids[row]],
                    }
                    for j, row in enumerate(near[k])
                ],
            }
            for k in shown
        ],
    }


def _first_covers(store: FeatureStore) -> dict[str, str]:
    """The row of each item's first cover."""
    return {item_of(row): row for row in sorted(store.ids, reverse=True)}


def _pictures(run: Run, ids: Sequence[str]) -> dict[str, str]:
    """Whole stored covers of items, by id, as the page holds them."""
    distinct = sorted(set(ids))
    with FeatureStore(run.inputs("image"), "image") as store:
        rows = _first_covers(store)
        covers = store.take([rows.get(i, i) for i in distinct])  # one that is missing is named
    return {i: jpeg_base64(c, SMALL_PX) for i, c in zip(distinct, covers, strict=True)}


def _picture(crop: NDArray[np.uint8], heat: NDArray[np.float32]) -> str:
    return jpeg_base64(overlay(crop, heat), PICTURE_PX)


def _same_artist(one: Item, other: Item) -> bool:
    """Whether both are known to be by the same; an empty name is nobody's."""
    return bool(one.artist) and one.artist == other.artist
