"""Parts of a run's description: words, maps of albums, guesses; `picturing` has the covers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.store import FeatureStore
from mmgenre.errors import MmgenreError
from mmgenre.explain.description import GuessTable, PointMap, WordsResult
from mmgenre.explain.guesses import best_guesses, first_ids
from mmgenre.explain.neighbours import broadest
from mmgenre.explain.points import PERPLEXITY, clipped_perplexity, distinct, two_dimensions
from mmgenre.explain.words import chance_gain, information_gain, speaks_for, top_words
from mmgenre.items.labels import LabelSpace
from mmgenre.learning.targets import CosineTarget
from mmgenre.measuring.results import FusionResult, Row
from mmgenre.pipeline.run import Run
from mmgenre.report import tables
from mmgenre.text.encoder import fit_vocabulary, vectorizer

N_ITEMS = 12  # rows of a table of guesses
N_GUESSES = 3
N_WORDS = 10  # of each genre
N_GENRES = 20  # with words; the most frequent
N_SHUFFLES = 20
MOST_POINTS = 1500  # of a map; a draw of more


def words_of(run: Run, *, seed: int) -> WordsResult:
    """Which words tell a genre, on the training texts, in the vocabulary of the recipe's VSM."""
    config = run.recipe.text
    with FeatureStore(run.inputs("text"), "text") as store:
        ids = [i for i in run.manifest.ids("train", having=["text"]) if i in store]
        vocabulary = fit_vocabulary(config, store, ids)
        texts = vectorizer(config, vocabulary).transform([store.read_text(i) for i in ids])
    words = np.asarray(texts.toarray() > 0)  # (n_texts, n_words)
    space = run.labels()
    labels = space.encode([run.manifest[i].labels for i in ids])
    counts = labels.sum(axis=0)
    shown = sorted(np.flatnonzero(counts), key=lambda j: (-counts[j], space.names[j]))[:N_GENRES]
    labels = labels[:, shown]
    gain, is_for = information_gain(words, labels), speaks_for(words, labels)
    chance = chance_gain(words, labels, np.random.default_rng(seed), n_shuffles=N_SHUFFLES)
    having = words.sum(axis=0)
    return {
        "n_texts": len(ids),
        "n_words": words.shape[1],
        "n_genres": int((counts > 0).sum()),
        "n_shuffles": N_SHUFFLES,
        "genres": [
            {
                "genre": space.names[j],
                "n_texts": int(counts[j]),
                "chance_bits": float(chance[k]),
                "words": top_words(gain[:, k], is_for[:, k], having, vocabulary["words"], N_WORDS),
            }
            for k, j in enumerate(shown)
        ],
    }


def map_of_factors(run: Run, *, seed: int) -> PointMap:
    """Item factors of all items, from label factors that were fitted on the training items."""
    manifest = run.manifest
    space = LabelSpace.of([item.labels for item in manifest], exclusive=False)
    y = {s: space.encode([manifest[i].labels for i in manifest.ids(s)]) for s in ("train", None)}
    target = CosineTarget(len(space), run.recipe.target.dim)
    target.fit(y["train"])
    factors = target.targets(y[None])  # (n_items, dim)
    known = np.asarray(factors.any(axis=1))
    detail = "album factors of COSINE, all splits; label factors fitted on the training split"
    if not known.all():
        detail += f"; {int((~known).sum())} items without a factor are left out"
    ids = [i for i, k in zip(manifest.ids(), known, strict=True) if k]
    return _map(run, "Albums by their genres", detail, ids, factors[known], seed)


def map_of_covers(run: Run, *, seed: int) -> PointMap:
    """Image embeddings of the items that the image encoder was not trained on."""
    with FeatureStore(run.embeddings("image"), "image") as store:
        ids = [i for s in ("val", "test") for i in run.manifest.ids(s) if i in store]
        vectors = store.take(ids)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.maximum(norms, np.finfo(np.float32).tiny)  # as fusion takes them
    detail = "image embeddings of length 1, validation and test split: unseen in training"
    return _map(run, "Albums by their covers", detail, ids, unit, seed)


def guess_tables(run: Run, fusions: Sequence[FusionResult]) -> list[GuessTable]:
    """LOGISTIC beside COSINE, for every pair of fusions that differ in nothing else."""
    found = []
    for one, other in product(fusions, fusions):
        alike = all(one[k] == other[k] for k in ("exclusive", "labels"))
        alike &= [r["inputs"] for r in one["rows"]] == [r["inputs"] for r in other["rows"]]
        if (one["head"], other["head"]) != ("logistic", "cosine") or not alike:
            continue
        _, row = tables.compared(one)
        if row is not None and one["seeds"][0] == other["seeds"][0]:
            found.append(_guesses(run, one, other, row))
    if not found:
        raise MmgenreError(
            "No two fusions differ in their head alone. "
            "Run: mmgenre fuse --head logistic, and --head cosine"
        )
    return found


def _guesses(run: Run, one: FusionResult, other: FusionResult, row: Row) -> GuessTable:
    space = LabelSpace(tuple(one["labels"]), one["exclusive"])
    modalities = {name.rpartition(".")[2] for name in row["inputs"]}
    complete = set(run.manifest.ids("test"))
    for m in modalities:
        with FeatureStore(run.embeddings(m), m) as store:
            complete &= set(store.ids)
    if not complete:
        raise MmgenreError(f"No test item has all of {', '.join(sorted(modalities))}.")
    ids = first_ids(complete, N_ITEMS)
    truth = space.encode([run.manifest[i].labels for i in ids])
    group = f"{row['name']}.seed{one['seeds'][0]}"
    scores = {}
    for fusion in (one, other):
        with FeatureStore(_scores(run, fusion["name"]), group) as store:
            scores[fusion["head"]] = store.take(ids)
    return {
        "logistic": one["name"],
        "cosine": other["name"],
        "row": row["name"],
        "seed": one["seeds"][0],
        "n_complete": len(complete),
        "items": [
            {
                "id": item_id,
                "truth": [n for n, has in zip(space.names, truth[k], strict=True) if has],
                "logistic": best_guesses(scores["logistic"][k], truth[k], space.names, N_GUESSES),
                "cosine": best_guesses(scores["cosine"][k], truth[k], space.names, N_GUESSES),
            }
            for k, item_id in enumerate(ids)
        ],
    }


def _map(
    run: Run, name: str, detail: str, ids: Sequence[str], vectors: NDArray[np.floating], seed: int
) -> PointMap:
    """t-SNE of items, or of a seeded draw where there are very many."""
    drawn = np.arange(len(ids))
    if len(ids) > MOST_POINTS:
        drawn = np.sort(np.random.default_rng(seed).permutation(len(ids))[:MOST_POINTS])
    try:
        points = two_dimensions(vectors[drawn], seed=seed)
    except ValueError as error:
        raise MmgenreError(f"{name}: {error}") from None
    return {
        "name": name,
        "detail": detail,
        "width": vectors.shape[1],
        "n_items": len(ids),
        "n_distinct": distinct(vectors[drawn]),
        "perplexity": clipped_perplexity(len(drawn)),
        "wanted_perplexity": PERPLEXITY,
        "seed": seed,
        "points": [
            {
                "x": round(float(x), 4),
                "y": round(float(y), 4),
                "genre": broadest(run.manifest[ids[k]].labels),
            }
            for k, (x, y) in zip(drawn.tolist(), points, strict=True)
        ],
    }


def _scores(run: Run, fusion: str) -> Path:
    """Test scores of a fusion; a group a row and seed."""
    return run.fusions / fusion / "scores.h5"
