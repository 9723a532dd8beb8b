"""A measured run -> its qualitative.json, what the models learned -> its report.

Oramas 2018, sec. 6. A part whose artefacts are missing is left out, and `missing` holds the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from mmgenre.disk.bundle import bundle_fingerprint
from mmgenre.disk.provenance import Provenance, sha256_file
from mmgenre.disk.records import read_or_set_aside, write_record
from mmgenre.disk.store import fingerprint_of
from mmgenre.errors import BundleError, MmgenreError
from mmgenre.explain import results
from mmgenre.explain.agreement import compare, read_human
from mmgenre.explain.similarity import point_map
from mmgenre.explain.words import chance_gain, information_gain, speaks_for, top_words
from mmgenre.fusion.whole import model_of
from mmgenre.learning.targets import CosineTarget
from mmgenre.measuring.results import RESULT, FusionResult
from mmgenre.measuring.table_results import TABLE_RESULT
from mmgenre.pipeline.examples import examples_of
from mmgenre.pipeline.guesses import guess_tables
from mmgenre.pipeline.judged import audit_of, judged_test, lacking_of, reliability_of
from mmgenre.pipeline.measure import current_fusions, evaluate
from mmgenre.pipeline.run import MANIFEST, SYNTHETIC, Run, digest_of, open_run
from mmgenre.pipeline.shown_covers import (
    heat_of_covers,
    map_of_covers,
    neighbours_of_covers,
    opened,
)
from mmgenre.pipeline.steps import steps_of
from mmgenre.pipeline.twins import FILE as TWINS
from mmgenre.progress import Progress, silent
from mmgenre.report import tables, write_report
from mmgenre.report.experiment import write_experiment
from mmgenre.text.encoder import fit_vocabulary, vectorizer

# Increase when code here or in `explain` changes the file.
QUALITATIVE_VERSION = 4

N_WORDS = 10  # of each genre
N_GENRES = 20  # with words; the most frequent
N_SHUFFLES = 20


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
        found = run if isinstance(run, Run) else open_run(folder)
        write_qualitative(found, human=human, media=media, seed=seed, progress=progress)
        return write_report(folder, steps_of(found, current_fusions(found)))
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
    with opened(run.inputs("text"), "text") as store:
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
