"""A measured run -> its qualitative.json: what the models learned, to be looked at in the report.

Oramas 2018, sec. 6. A part whose artefacts are not there is left out, and `missing` says why.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from mmgenre.disk.bundle import bundle_fingerprint
from mmgenre.disk.files import write_json
from mmgenre.disk.provenance import Provenance, sha256_file
from mmgenre.disk.store import fingerprint_of
from mmgenre.errors import MmgenreError
from mmgenre.explain.agreement import both, pearson, read_human
from mmgenre.explain.description import QUALITATIVE, Agreement
from mmgenre.measuring.results import TABLE_RESULT, FusionResult, RunResult
from mmgenre.pipeline.depicting import guess_tables, map_of_covers, map_of_factors, words_of
from mmgenre.pipeline.picturing import heat_of_covers, neighbours_of_covers
from mmgenre.pipeline.run import Run, open_run
from mmgenre.progress import Progress, silent
from mmgenre.report import tables, write_report
from mmgenre.report.experiment import write_experiment

# Rises when the code here, in `depicting`, in `picturing` or in `explain` changes the file.
DESCRIBE_VERSION = 2


def make_report(
    run: Path | str, *, human: Path | None = None, seed: int = 0, progress: Progress = silent
) -> Path:
    """The page of a run, with its qualitative part where the run's folder is whole enough.

    The page of an experiment if that is what the folder is of: it is made from table.json alone.

    Args:
        run: the run's folder, or an experiment's.
        human: a human annotator's F1 by genre; see `explain.agreement.read_human`.
        seed: of maps and shuffles.
        progress: told what moves.

    Raises:
        MmgenreError: nothing has been measured yet, or the annotator's file cannot be used.
    """
    folder = Path(run)
    if (folder / TABLE_RESULT).is_file():
        if human is not None:
            raise MmgenreError(
                f"{human}: an annotator stands beside a run, and {folder} is an experiment's; "
                "give the folder of a run, or leave --human out"
            )
        return write_experiment(folder)[1]
    if human is not None or (
        (folder / "run.json").is_file() and open_run(folder).metrics.is_file()
    ):
        describe(folder, human=human, seed=seed, progress=progress)
    return write_report(folder)


def describe(
    run: Path | str, *, human: Path | None = None, seed: int = 0, progress: Progress = silent
) -> Path:
    """Computes whatever can be shown of a measured run; returns the path of its qualitative.json.

    Words and label factors are fitted on training items only. Nothing is computed where the file
    is there and was made from the same.

    Args:
        run: the run's folder.
        human: a human annotator's F1 by genre; see `explain.agreement.read_human`.
        seed: of maps and shuffles.
        progress: told what moves.

    Raises:
        MmgenreError: the run has not been measured, or the annotator's file cannot be used.
    """
    state = open_run(Path(run))
    if not state.metrics.is_file():
        raise MmgenreError(
            f"{state.metrics}: not there, so there is nothing to describe yet. "
            f"Run first: mmgenre fuse --run {state.folder}"
        )
    measured: RunResult = json.loads(state.metrics.read_text(encoding="utf-8"))
    target = state.folder / QUALITATIVE
    provenance = _provenance(state, human, seed)
    if target.is_file() and _fingerprint(target) == provenance.fingerprint:
        return target
    # First the annotator's file: its faults are the caller's, and must show at once.
    human_side = agreements(measured["fusions"], human) if human is not None else None
    found: dict[str, Any] = {"human": human_side}
    missing = {} if human_side else {"human": "No annotator's figures were given (--human CSV)."}
    parts: dict[str, Callable[[], Any]] = {
        "words": lambda: words_of(state, seed=seed),
        "heat": lambda: heat_of_covers(state),
        "neighbours": lambda: neighbours_of_covers(state),
        "factors": lambda: map_of_factors(state, seed=seed),
        "covers": lambda: map_of_covers(state, seed=seed),
        "guesses": lambda: guess_tables(state, measured["fusions"]),
    }
    for k, (name, part) in enumerate(parts.items()):
        progress("describing", k, len(parts))
        try:
            found[name] = part()
        except MmgenreError as error:  # the report must come all the same
            found[name], missing[name] = None, str(error)
    progress("describing", len(parts), len(parts))
    content = {
        "fingerprint": provenance.fingerprint,
        "metrics_sha256": provenance.parents["metrics"],
        **found,
        "missing": missing,
    }
    return write_json(target, content)


def agreements(fusions: Sequence[FusionResult], human: Path) -> list[Agreement]:
    """A human annotator beside every single-label fusion, F1 by genre, first seed.

    Raises:
        MmgenreError: the run has no single-label fusion, or the file cannot be used.
    """
    single = [fusion for fusion in fusions if fusion["exclusive"] and fusion["rows"]]
    if not single:
        raise MmgenreError(
            f"{human}: an annotator's F1 stands beside that of a single-label fusion, and the run "
            "has none. Run first: mmgenre fuse --task single"
        )
    found: list[Agreement] = []
    for fusion in single:
        rows = {row["name"]: row for row in fusion["rows"]}
        items = tables.headline_items(fusion)
        for name, given in read_human(human, fusion["labels"], list(rows)).items():
            result = tables.on(rows[name], items)
            assert result is not None  # headline_items: every row has it
            per_label = result["per_seed"][0]["per_label"]
            genres, theirs, ours, left_out = both(given, {g: per_label[g]["f1"] for g in given})
            r, undefined = pearson(theirs, ours)
            found.append(
                {
                    "fusion": fusion["name"],
                    "row": name,
                    "items": tables.ITEM_SETS[items],
                    "n_items": result["n_items"],
                    "genres": genres,
                    "human": theirs,
                    "model": ours,
                    "left_out": left_out,
                    "pearson": r,
                    "undefined": undefined,
                }
            )
    return found


def _parents(run: Run) -> Iterator[tuple[str, str]]:
    """Fingerprints of what is there of what a description reads."""
    yield "metrics", sha256_file(run.metrics)
    yield "labels", run.task_digest
    for modality in ("text", "image"):
        yield f"inputs.{modality}", fingerprint_of(run.inputs(modality), modality) or ""
    yield "encoder.image", bundle_fingerprint(run.encoder("image")) or ""
    yield "image", fingerprint_of(run.embeddings("image"), "image") or ""


def _provenance(run: Run, human: Path | None, seed: int) -> Provenance:
    parameters = {
        "seed": seed,
        "text": run.recipe.text.model_dump(),
        "dim": run.recipe.target.dim,
        "task": run.recipe.labels.task,
        "human": sha256_file(human) if human is not None else None,
    }
    return Provenance("qualitative", DESCRIBE_VERSION, parameters, dict(_parents(run)))


def _fingerprint(path: Path) -> str | None:
    """Of a description that is there; None if it is damaged."""
    try:
        return cast(str, json.loads(path.read_text(encoding="utf-8"))["fingerprint"])
    except (ValueError, LookupError, TypeError):
        return None
