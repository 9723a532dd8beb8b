"""A measured run -> its qualitative.json, what the models learned -> its report.

Oramas 2018, sec. 6. A part whose artefacts are missing is left out, and `missing` holds the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from mmgenre.disk.bundle import bundle_fingerprint
from mmgenre.disk.provenance import Provenance, sha256_file
from mmgenre.disk.records import read_or_set_aside, write_record
from mmgenre.disk.store import FeatureStore, check_store, fingerprint_of
from mmgenre.errors import BundleError, MmgenreError
from mmgenre.explain import results
from mmgenre.explain.agreement import compare, read_human
from mmgenre.explain.heat import explain_covers
from mmgenre.explain.overlay import jpeg_base64, overlay
from mmgenre.explain.similarity import broadest, nearest, point_map, shared_genre, unit_length
from mmgenre.explain.words import chance_gain, information_gain, speaks_for, top_words
from mmgenre.fusion.whole import model_of
from mmgenre.image.encoder import ImageEncoder
from mmgenre.items.labels import LabelSpace, closure
from mmgenre.items.modalities import JOINT
from mmgenre.kinds import kind_of
from mmgenre.learning.encoder import load_encoder, load_task_head
from mmgenre.learning.rows import item_of
from mmgenre.learning.targets import CosineTarget
from mmgenre.measuring.results import RESULT, TABLE_RESULT, FusionResult, Row
from mmgenre.pipeline.examples import examples_of
from mmgenre.pipeline.judged import audit_of, judged_test, lacking_of, reliability_of
from mmgenre.pipeline.measure import evaluate
from mmgenre.pipeline.run import MANIFEST, SYNTHETIC, Run, digest_of, open_run
from mmgenre.pipeline.scores import read_scores
from mmgenre.pipeline.twins import FILE as TWINS
from mmgenre.progress import Progress, silent
from mmgenre.report import tables, write_report
from mmgenre.report.experiment import write_experiment
from mmgenre.text.encoder import fit_vocabulary, vectorizer

# Increase when code here or in `explain` changes the file.
QUALITATIVE_VERSION = 4

# Covers with heat, and rows of a table of guesses: test items, the first in alphabetical order of
# their ids, so that nobody can choose them by their results.
N_ITEMS = 12
PICTURE_PX = 160  # side of a cover with heat in the page
N_QUERIES = 8  # covers whose neighbours are shown
N_NEAREST = 5
SMALL_PX = 112  # side of a neighbour in the page
N_GUESSES = 3
N_WORDS = 10  # of each genre
N_GENRES = 20  # with words; the most frequent
N_SHUFFLES = 20
NO_COVER = "No test item has a cover that could be read."


def make_report(
    run: Run | Path | str,
    *,
    human: Path | None = None,
    media: bool = False,
    seed: int = 0,
    progress: Progress = silent,
) -> Path:
    """Writes the page of a run, with a qualitative part where the run's folder is complete enough.

    The page of an experiment if the folder is one: that page is made from table.json alone.
    `human`, `media` and `seed`: as `write_qualitative` takes them. Raises MmgenreError if nothing
    has been measured yet, or the annotator's file cannot be used.
    """
    folder = run.folder if isinstance(run, Run) else Path(run)
    if (folder / TABLE_RESULT).is_file():
        if media:
            raise MmgenreError(
                f"{folder}: is an experiment, whose page shows no media; give the folder of a run, "
                "or leave --media out"
            )
        if human:
            raise MmgenreError(
                f"{human}: an annotator is compared with a run, but {folder} is an experiment; "
                "give the folder of a run, or leave --human out"
            )
        return write_experiment(folder)[1]
    if human or media or all((folder / name).is_file() for name in ("run.json", RESULT)):
        opened = run if isinstance(run, Run) else open_run(folder)
        write_qualitative(opened, human=human, media=media, seed=seed, progress=progress)
    return write_report(folder)


def write_qualitative(
    run: Run,
    *,
    human: Path | None = None,
    media: bool = False,
    seed: int = 0,
    progress: Progress = silent,
) -> Path:
    """Computes whatever can be shown of a measured run; returns the path of its qualitative.json.

    Words and label factors are fitted on training items only. A file that was made from the same
    artefacts and settings is kept. `human`: an annotator's F1 by genre, as
    `explain.agreement.read_human` reads it. `media`: the page holds excerpts of tracks and texts,
    as it always does of the built-in catalogue: whoever gets the page gets them, too. `seed`: of
    maps, shuffles and samples. Raises MmgenreError if
    the run has not been measured, or the annotator's file cannot be used.
    """
    if not run.metrics.is_file():
        raise MmgenreError(
            f"{run.metrics}: not there, so there is nothing to explain yet. "
            f"Run first: mmgenre fuse --run {run.folder}"
        )
    measured = evaluate(run)  # anew, if the code that measures has changed
    media = media or run.dataset == SYNTHETIC
    target, provenance = run.folder / results.QUALITATIVE, _provenance(run, human, media, seed)
    kept = read_or_set_aside(target, "made anew")
    if kept is not None and kept.get("fingerprint") == provenance.fingerprint:
        return target
    # The annotator's file first: its faults are the caller's, and must be reported at once.
    found: dict[str, Any] = {"fingerprint": provenance.fingerprint}
    found |= {"metrics_sha256": provenance.parents["metrics"]}
    found |= {"human": human and agreements(measured["fusions"], human)}
    none_given = {"human": "No annotator's figures were given (--human CSV)."}
    missing = {} if found["human"] else none_given
    judged = cache(lambda: judged_test(run, seed=seed))
    parts: dict[str, Callable[[], Any]] = {
        "words": lambda: words_of(run, seed=seed),
        "heat": lambda: heat_of_covers(run),
        "neighbours": lambda: neighbours_of_covers(run),
        "factors": lambda: map_of_factors(run, seed=seed),
        "covers": lambda: map_of_covers(run, seed=seed),
        "guesses": lambda: guess_tables(run, measured["fusions"]),
        "examples": lambda: examples_of(run, judged(), with_media=media),
        "reliability": lambda: reliability_of(judged()),
        "lacking": lambda: lacking_of(judged(), seed=seed),
        "audit": lambda: audit_of(run),
    }
    for k, (name, part) in enumerate(parts.items()):
        progress("explaining", k, len(parts))
        try:
            found[name] = part()
        except MmgenreError as error:  # the report is written without this part
            found[name], missing[name] = None, str(error)
    progress("explaining", len(parts), len(parts))
    return write_record(target, {**found, "missing": missing})


def agreements(fusions: Sequence[FusionResult], human: Path) -> list[results.Agreement]:
    """A human annotator beside every single-label fusion, F1 by genre, first seed.

    Raises MmgenreError if the run has no single-label fusion, or the file cannot be used.
    """
    single = [fusion for fusion in fusions if fusion["exclusive"] and fusion["rows"]]
    if not single:
        raise MmgenreError(
            f"{human}: an annotator's F1 is compared with that of a single-label fusion, and the "
            "run has none. Run first: mmgenre fuse --task single"
        )
    found: list[results.Agreement] = []
    for fusion in single:
        rows = {row["name"]: row for row in fusion["rows"]}
        items = tables.headline_items(fusion)
        for name, given in read_human(human, fusion["labels"], list(rows)).items():
            result = tables.on(rows[name], items)
            assert result is not None  # headline_items: every row has it
            per_label = result["per_seed"][0]["per_label"]
            model = {genre: per_label[genre]["f1"] for genre in given}
            found.append(
                {
                    "fusion": fusion["name"],
                    "row": name,
                    "items": tables.ITEM_SETS[items],
                    "n_items": result["n_items"],
                    **compare(given, model),
                }
            )
    return found


def _provenance(run: Run, human: Path | None, media: bool, seed: int) -> Provenance:
    parameters = {
        "seed": seed,
        "media": media,
        "text": run.recipe.of("text").model_dump(),
        "dim": run.recipe.target.dim,
        "task": run.recipe.labels.task,
        "human": sha256_file(human) if human else None,
    }
    parents = {
        "metrics": sha256_file(run.metrics),
        "labels": run.manifest.task_digest,
        "manifest": digest_of(run.folder / MANIFEST) or "",
        "twins": digest_of(run.folder / TWINS) or "",
        "fusion": _own_model(run) or "",
        "inputs.text": fingerprint_of(run.inputs("text"), "text") or "",
        "inputs.image": fingerprint_of(run.inputs("image"), "image") or "",
        "encoder.image": bundle_fingerprint(run.encoder("image")) or "",
        "image": fingerprint_of(run.embeddings("image"), "image") or "",
    }
    return Provenance("qualitative", QUALITATIVE_VERSION, parameters, parents)


def _own_model(run: Run) -> str | None:
    try:
        return bundle_fingerprint(model_of(run.folder, None)[0])
    except BundleError:  # the parts that need it say so
        return None


def words_of(run: Run, *, seed: int) -> results.WordsResult:
    """Which words tell a genre, on the training texts, in the vocabulary of the recipe's VSM."""
    config = run.recipe.of("text")
    with _opened(run.inputs("text"), "text") as store:
        ids = [i for i in run.manifest.ids("train", having=["text"]) if i in store]
        vocabulary = fit_vocabulary(config, store, ids)
        texts = vectorizer(config, vocabulary).transform([store.read_text(i) for i in ids])
    words = csr_array(texts > 0)  # (n_texts, n_words)
    names, labels = run.labels().names, run.truth(ids)
    counts = labels.sum(axis=0)
    shown = sorted(np.flatnonzero(counts), key=lambda j: (-counts[j], names[j]))[:N_GENRES]
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
                "genre": names[j],
                "n_texts": int(counts[j]),
                "chance_bits": float(chance[k]),
                "words": top_words(gain[:, k], is_for[:, k], having, vocabulary["words"], N_WORDS),
            }
            for k, j in enumerate(shown)
        ],
    }


def map_of_factors(run: Run, *, seed: int) -> results.PointMap:
    """Item factors of all items, from label factors that were fitted on the training items."""
    manifest, ids = run.manifest, [i for i, split in run.manifest.splits.items() if split]
    space = run.space(exclusive=False)
    target = CosineTarget(len(space), run.recipe.target.dim)
    target.fit(run.truth(manifest.ids("train"), space=space))
    factors = target.targets(run.truth(ids, space=space))  # (n_items, dim)
    known = np.asarray(factors.any(axis=1))
    detail = "album factors of COSINE, all splits; label factors fitted on the training split"
    if not known.all():
        detail += f"; {int((~known).sum())} items without a factor are left out"
    shown = [manifest[item_id] for item_id, k in zip(ids, known, strict=True) if k]
    return point_map("Albums by their genres", detail, factors[known], shown, seed=seed)


def guess_tables(run: Run, fusions: Sequence[FusionResult]) -> list[results.GuessTable]:
    """LOGISTIC beside COSINE, for every pair of fusions that differ in nothing else."""
    found = []
    for one, other in product(fusions, fusions):
        alike = all(one[k] == other[k] for k in ("exclusive", "labels"))
        alike &= [r["inputs"] for r in one["rows"]] == [r["inputs"] for r in other["rows"]]
        if (one["head"], other["head"]) != ("logistic", "cosine") or not alike:
            continue
        _, row = tables.compared(one)
        if row is not None and one["seeds"][0] == other["seeds"][0]:
            found.append(_guess_table(run, one, other, row))
    if not found:
        raise MmgenreError(
            "No two fusions differ in their head alone. "
            "Run: mmgenre fuse --head logistic, and --head cosine"
        )
    return found


def _guess_table(run: Run, one: FusionResult, other: FusionResult, row: Row) -> results.GuessTable:
    space = LabelSpace(tuple(one["labels"]), one["exclusive"])
    inputs = {name.removeprefix(JOINT) for name in row["inputs"]}
    complete = set(run.manifest.ids("test"))
    for name in inputs:
        with _opened(run.embeddings(name), name) as store:
            complete &= set(store.ids)
    if not complete:
        raise MmgenreError(f"No test item has all of {', '.join(sorted(inputs))}.")
    ids = sorted(complete)[:N_ITEMS]
    truth = run.truth(ids, space=space)
    logistic, cosine = (  # first seed, (n, n_labels)
        read_scores(run.fusions / fusion["name"]).of(row["name"], fusion["seeds"][0], ids)
        for fusion in (one, other)
    )
    return {
        "logistic": one["name"],
        "cosine": other["name"],
        "row": row["name"],
        "seed": one["seeds"][0],
        "n_complete": len(complete),
        "items": [
            {
                "id": item_id,
                "truth": [space.names[j] for j in np.flatnonzero(truth[k])],
                "logistic": best_guesses(logistic[k], truth[k], space.names),
                "cosine": best_guesses(cosine[k], truth[k], space.names),
            }
            for k, item_id in enumerate(ids)
        ],
    }


def best_guesses(
    scores: NDArray[np.floating], truth: NDArray[np.bool_], names: Sequence[str]
) -> list[results.Guess]:
    """The best-scored genres of one item, best first, ties in the order of the names."""
    return [
        {"genre": names[j], "score": float(scores[j]), "right": bool(truth[j])}
        for j in np.argsort(-scores, kind="stable")[:N_GUESSES]
    ]


def heat_of_covers(run: Run) -> results.HeatResult:
    """Where the covers of the first test items by id speak for the genre that is scored highest."""
    folder = run.encoder("image")
    encoder = cast(ImageEncoder, load_encoder(folder, "image", kind_of("image"), run.names)[0])
    head = load_task_head(folder, "image")
    with _opened(run.inputs("image"), "image") as store:
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
    with _opened(run.embeddings("image"), "image") as store:
        ids = [i for i, split in run.manifest.splits.items() if split and i in store]
        vectors = store.take(ids)
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
    with _opened(run.inputs("image"), "image") as store:
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
    with _opened(run.embeddings("image"), "image") as store:
        ids = [i for s in ("val", "test") for i in run.manifest.ids(s) if i in store]
        unit = unit_length(store.take(ids))  # as fusion takes them
    detail = "image embeddings of length 1, validation and test split: unseen in training"
    items = [run.manifest[i] for i in ids]
    return point_map("Albums by their covers", detail, unit, items, seed=seed)


def _opened(path: Path, group: str) -> FeatureStore:
    """A store whose rows are those that were written, or StoreError."""
    check_store(path, group)
    return FeatureStore(path, group)


def _first_covers(store: FeatureStore) -> dict[str, str]:
    """The row of each item's first cover."""
    return {item_of(row): row for row in sorted(store.ids, reverse=True)}
