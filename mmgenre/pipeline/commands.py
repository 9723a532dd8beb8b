"""What extract-features, fuse and quickstart do: plans of different size for one engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from mmgenre.datasets.layouts import By
from mmgenre.disk.store import FeatureStore, content_hash
from mmgenre.disk.tables import write_table
from mmgenre.errors import MmgenreError, RecipeError, Refusal
from mmgenre.frozen.carried import carry
from mmgenre.items.modalities import MODALITIES, Modality
from mmgenre.learning.processes import from_main, is_main
from mmgenre.learning.tracking import check_tracking
from mmgenre.measuring.results import FusionResult, StepResult
from mmgenre.pipeline.alone import alone_in_run, prepared
from mmgenre.pipeline.artefact import Artefact, carry_out
from mmgenre.pipeline.as_settings import SettingsLike, as_settings
from mmgenre.pipeline.budget import seconds_of, within_budget
from mmgenre.pipeline.cross_validation import cross_validate
from mmgenre.pipeline.fused import fused
from mmgenre.pipeline.learn import models_of
from mmgenre.pipeline.measure import evaluate, measured
from mmgenre.pipeline.music import FolderChoice
from mmgenre.pipeline.notes import run_notes
from mmgenre.pipeline.read import check_limit
from mmgenre.pipeline.rows import fusion_recipe
from mmgenre.pipeline.run import (
    DEFAULT_RUN,
    REFUSED,
    STATE,
    Run,
    open_run,
)
from mmgenre.pipeline.steps import steps_of
from mmgenre.pipeline.subsets import fusion_of
from mmgenre.pipeline.twins import look_for_twins
from mmgenre.pipeline.vectors import (
    give_features,
    present_modalities,
    vectors_of,
)
from mmgenre.progress import Progress, silent


@dataclass(frozen=True)
class Extraction:
    """What `extract_features` did: the embeddings, how many items have each, who was refused."""

    run: Path
    embeddings: Path
    counts: Mapping[Modality, int]
    refused: tuple[Refusal, ...]
    notes: tuple[str, ...] = ()  # what a person should know
    steps: tuple[StepResult, ...] = ()  # what each took

    def __repr__(self) -> str:
        """`Extraction('runs/mine', audio of 155 items, text of 120 items; 1 inputs refused)`."""
        return f"{type(self).__name__}({str(self.run)!r}, {self._told()})"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notes)
        return f"<p>{escape(str(self.run))}: {escape(self._told())}</p><ul>{notes}</ul>"

    def _told(self) -> str:
        counts = ", ".join(f"{name} of {n:,} items" for name, n in self.counts.items())
        return counts + (f"; {len(self.refused):,} inputs refused" if self.refused else "")

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "run": str(self.run),
            "embeddings": str(self.embeddings),
            "content_sha256": content_hash(self.embeddings) if self.counts else None,
            "counts": dict(self.counts),
            "refused": [vars(r) for r in self.refused],
            "notes": list(self.notes),
            "steps": list(self.steps),
        }


@alone_in_run
def extract_features(
    manifest: Path | str | None = None,
    *,
    media_roots: Sequence[Path] = (),
    run: Path | str = DEFAULT_RUN,
    modalities: Sequence[Modality] = tuple(MODALITIES),
    recipe: str | None = None,
    settings: SettingsLike = (),
    encoders: Mapping[Modality, Path] | None = None,
    workers: int | None = None,
    dask: str | None = None,
    item_limit_s: float | None = None,
    budget: str | None = None,
    accept_missing: bool = False,
    check_content: bool = False,
    retrain: bool = False,
    embed: bool = True,
    merge: bool = True,
    by: By | None = None,
    genre_map: Path | None = None,
    min_items: int | None = None,
    sample: int | None = None,
    track: bool = False,
    progress: Progress = silent,
) -> Extraction:
    """Media -> inputs -> encoders trained on the genre task -> embeddings.h5.

    Args:
        manifest: CSV, or a folder of tagged music, whose manifest is built into the run; None: the
            run's own, or the built-in catalogue for a new run.
        media_roots: folders beside the manifest's own that its media may lie in, at any depth.
        run: the folder for everything made.
        modalities: a modality that no item has is left out.
        recipe: name or TOML file; None: the run's own, else `quick` for the built-in catalogue and
            `default` for a manifest.
        settings: changes to the recipe, as `section.key=value` or as a dict.
        encoders: folders of encoders to use instead of training; the run gets copies.
        workers: processes that read media; 1: this one alone; None: one per core.
        dask: address of a Dask scheduler whose workers read media and embed, or "local".
        item_limit_s: how long the media of one row may be read before it is refused; None: 300 s,
            and a second more for each MB. Not with one worker, nor on Dask.
        budget: a time for the training of encoders, such as "3m", cross-fitted ones included; it
            is turned into steps once the media are read, and these become settings of the run.
        accept_missing: whether rows of the run may be lost whose files have gone since.
        check_content: whether all files are compared with those that were read by their bytes, and
            not only those whose path, size, times or inode differ.
        retrain: whether encoders learn anew that have not learned on all items, since some were
            added.
        embed: whether items are embedded once encoders have learned; if not, `read_shard` may do so
            in many jobs, and `counts` is {}.
        merge: whether parts of inputs are merged into one file each; if not, they stay where they
            were written, which takes half the disk while the last one is finished.
        by: of a folder of music: whether an item is a track (default) or an album.
        genre_map: likewise, as the next: a table of genres to rename or drop.
        min_items: genres that fewer items have are left out, their items stay.
        sample: so many items, drawn at random.
        track: whether learning curves are also written for TensorBoard, into RUN/tensorboard.
        progress: progress callback.

    Raises:
        MmgenreError: something that concerns the whole run; damaged items are only listed.
    """
    folder = Path(run)
    check_limit(item_limit_s)
    if budget is not None:
        seconds_of(budget)  # a mistake shows before media are read
    if track:
        check_tracking()  # likewise
    given: dict[str, Any] = {"media_roots": media_roots, "recipe": recipe}
    given["settings"] = as_settings(settings)
    given["choice"] = FolderChoice(by, genre_map, min_items, sample)
    state = replace(prepared(folder, manifest, **given, progress=progress), retrain=retrain)
    present = present_modalities(state, modalities)
    encoders = encoders or {}
    if unused := [m for m in encoders if m not in present]:
        raise MmgenreError(
            f"an encoder of {', '.join(unused)} is given, but this run extracts "
            f"{', '.join(present)} only"
        )

    def planned() -> list[Artefact]:
        how: dict[str, Any] = {"workers": workers, "dask": dask, "accept_missing": accept_missing}
        how |= {"check_content": check_content, "limit_s": item_limit_s, "progress": progress}
        how["merge"] = merge
        made = (vectors_of(state, m, adopt=encoders.get(m), **how) for m in present)
        return [artefact for found in made for artefact in found.values()]

    plan = planned()
    # All media first: whatever is wrong with them shows before hours of training.
    reads = [a for made in plan for a in made.parents if a.stage == "read"]
    if budget is not None:
        carry_out(reads, folder, progress=progress)
        from_main(partial(within_budget, state, present, budget))
        state = replace(state, recipe=open_run(folder, is_checked=True).recipe, earlier={})
        plan = planned()
    learned = [a for made in plan for a in made.parents if a.stage == "learn"]
    carry_out([*reads, *(plan if embed else learned)], folder, track=track, progress=progress)
    if not embed:
        from_main(partial(_list_refused, state))
        steps = tuple(from_main(lambda: steps_of(state)))
        return Extraction(folder, folder / "embeddings.h5", {}, state.refused, steps=steps)

    def count() -> dict[str, int]:
        counts = {}
        for modality in present:
            name = state.views(modality)[0].name
            with FeatureStore(state.embeddings(name), name) as store:
                counts[modality] = len(store)
        return counts

    from_main(partial(look_for_twins, state, progress))
    from_main(partial(_list_refused, state))
    notes = tuple(from_main(lambda: run_notes(state)))
    steps = tuple(from_main(lambda: steps_of(state)))
    embeddings, counts = folder / "embeddings.h5", from_main(count)
    return Extraction(folder, embeddings, counts, state.refused, notes, steps)


def _list_refused(run: Run) -> None:
    rows = ((r.id, r.modality, r.code, r.detail) for r in run.refused)
    write_table(run.folder / REFUSED, ("id", "modality", "code", "detail"), rows)


@alone_in_run
def fuse(
    modalities: Sequence[Modality] | None = None,
    *,
    run: Path | str = DEFAULT_RUN,
    manifest: Path | str | None = None,
    media_roots: Sequence[Path] = (),
    features: Mapping[str, Path] | None = None,
    inputs: Sequence[str] | None = None,
    head: str | None = None,
    joint: bool | None = None,
    task: str | None = None,
    seeds: int | None = None,
    with_frozen: bool = False,
    cv: int | None = None,
    settings: SettingsLike = (),
    track: bool = False,
    progress: Progress = silent,
) -> FusionResult:
    """Joint space, late fusion and evaluation of every subset of the modalities.

    Embeddings that are not there yet, or were made for another manifest or recipe than the run
    now has, are extracted first. Vectors given to the run stand beside the modalities. A fusion
    that differs from those of the run in any setting gets a folder of its own.

    Args:
        modalities: the whole; every subset of it becomes a row of the table, and so does every
            encoder of a modality that has several. None: all; in a run to which vectors were given,
            those that it has vectors of, so that given vectors alone have no media read.
        run: its folder.
        manifest: CSV; to begin a run with vectors made elsewhere.
        media_roots: as in `extract_features`.
        features: vectors made elsewhere, name -> file: further inputs, or, under a modality's
            name, instead of its encoder; the run keeps them. See `give_features`.
        inputs: instead of all subsets this one row, as ["joint.audio"] for MM_AUDIO: its joint
            space is of all modalities, but to predict it needs audio alone.
        head: "logistic" or "cosine"; None, as for `joint` and `task`: the recipe's.
        joint: whether joint vectors stand beside the embeddings.
        task: "single" or "multi". Encoders stay as they are.
        seeds: how many heads are trained for each row, by default 3; solved heads are the same from
            every seed, and there is one.
        with_frozen: whether the frozen models that the encoders need are copied into the run, so
            that it predicts where they are not.
        cv: so many folds of all items instead of the run's splits, for catalogues with few test
            artists: each is tested once, by a model that has not seen its artists. No model stays.
        settings: changes to the recipe's sections labels, target, joint and fusion, likewise.
        track: whether learning curves of encoders, joint space and trained heads are also written
            for TensorBoard, into RUN/tensorboard. Solved heads have none.
        progress: progress callback.
    """
    folder, settings = Path(run), as_settings(settings)
    if track:
        check_tracking()
    if seeds is not None and seeds < 1:
        raise RecipeError(f"seeds {seeds}: at least 1")
    # Only the default run, or one that is given a manifest, may begin here: a misspelt folder must
    # not start hours of work.
    if manifest is None and folder != DEFAULT_RUN and not (folder / STATE).is_file():
        open_run(folder)
    state = prepared(folder, manifest, media_roots=media_roots, progress=progress)
    if features:
        from_main(lambda: give_features(state, features))
        state = replace(state)  # what was given is read anew
    recipe = fusion_recipe(state.recipe, head, joint, task, settings)
    how: dict[str, Any] = {"inputs": inputs, "seeds": seeds, "settings": settings}

    def plan(of: Run) -> Artefact:
        return fusion_of(of, recipe, modalities, **how)

    if cv is not None:
        result = cross_validate(state, cv, plan, track=track, progress=progress)
        from_main(partial(evaluate, state))
        return fused(result)
    fusion = plan(state)
    carry_out([fusion], folder, track=track, progress=progress)

    if with_frozen:
        encoders = [a.path for a in fusion.parents if a.stage == "learn"]
        from_main(lambda: carry(models_of(encoders), folder))

    def measure() -> FusionResult:
        look_for_twins(state, progress)
        evaluate(state)
        return measured(state, fusion.path)

    return fused(from_main(measure))


def quickstart(
    run: Path | str = DEFAULT_RUN, *, seeds: int | None = None, progress: Progress = silent
) -> tuple[list[FusionResult], Path]:
    """Everything once, on the built-in catalogue: embeddings, three fusions of them, a report.

    The fusions are the many-genre task with both heads, and the one-genre task.

    Returns:
        The fusions' results, and the path of the report.
    """
    from mmgenre.pipeline.qualitative import make_report
    from mmgenre.report.page import REPORT

    extract_features(run=run, recipe="quick", progress=progress)
    results = [
        fuse(run=run, task=task, head=head, seeds=seeds, progress=progress)
        for task, head in (("single", "logistic"), ("multi", "logistic"), ("multi", "cosine"))
    ]
    if is_main():
        make_report(run, progress=progress)
    return results, Path(run) / REPORT
