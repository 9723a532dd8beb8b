"""Genres that are only named: a frozen model of audio or covers and of words, without training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mmgenre.disk.store import FeatureStore
from mmgenre.errors import LabelError, Refusal, WeightsError
from mmgenre.frozen.places import fetch
from mmgenre.frozen.settings import ModelName
from mmgenre.frozen.zero_shot import medium_of, similarities, words_of
from mmgenre.fusion.prediction import Genre, Prediction
from mmgenre.items.manifest import Manifest
from mmgenre.kinds import KINDS
from mmgenre.learning.rows import item_of, mean_by_item
from mmgenre.progress import Progress, silent
from mmgenre.reading.extraction import extract_inputs


def predict_zero_shot(
    model: str,
    genres: Sequence[str],
    manifest: Manifest,
    *,
    workers: int | None = None,
    progress: Progress = silent,
) -> tuple[list[Prediction], list[Refusal]]:
    """Ranks genres by how near their names are to an item, likeliest first; the first is named.

    The model is fetched if it is not on this machine.

    Args:
        model: `hf:OWNER/NAME` or `dir:PATH` of a CLAP (audio) or a CLIP or SigLIP (covers).
        genres: their names, two or more; those of sub-genres may be paths (`Jazz/Vocal Jazz`).
        manifest: the items; those that lack the medium get no prediction.
        workers: processes that read media; None: one per core.
        progress: progress callback.

    Raises:
        LabelError: fewer than two genres, or one twice.
        WeightsError: the model cannot be had, or does not know words.
    """
    if len(genres) < 2 or len(set(genres)) < len(genres) or not all(g.strip() for g in genres):
        raise LabelError(f"genres {', '.join(genres)!r}: name two or more, each once")
    medium = medium_of(fetch(ModelName.parse(model)).name)
    if medium is None:
        raise WeightsError(
            f"{model}: knows no words; take a CLAP (hf:laion/larger_clap_music), or for covers a "
            "CLIP or SigLIP (hf:google/siglip2-base-patch16-224)"
        )
    kind = KINDS[medium]
    reads = kind.encoder(model).reads(kind.settings())
    words = words_of(reads.frozen, medium, genres)  # type: ignore[attr-defined]
    with TemporaryDirectory(prefix="mmgenre-") as folder:
        path = extract_inputs(
            manifest, medium, reads, Path(folder) / "inputs.h5", workers=workers, progress=progress
        )
        with FeatureStore(path, medium) as store:
            refused = list(store.refused)
            found = (
                mean_by_item(store.ids, store.take(store.ids)) if len(store) else ((), words[:0])
            )
    predictions = []
    for item_id, scores in zip(found[0], similarities(found[1], words), strict=True):
        order = np.argsort(-scores, kind="stable")
        ranked = tuple(Genre(genres[j], float(scores[j])) for j in order)
        predictions.append(Prediction(item_id, "cosine", ranked, (ranked[0].name,), (medium,)))
    here = {p.id for p in predictions} | {item_of(r.id) for r in refused}
    refused += [
        Refusal(i, medium, "missing", f"{i}: has no {medium}, which {model} reads")
        for i in manifest.ids()
        if i not in here
    ]
    return predictions, refused
