"""What extract-features, fuse and quickstart do: plans of different size for one engine."""

from __future__ import annotations

import errno
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from mmgenre.datasets.layouts import By
from mmgenre.disk.locks import claimed, locked
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import (
    FeatureStore,
    check_store,
    content_hash,
    group_names,
    provenance_of,
)
from mmgenre.disk.tables import write_table
from mmgenre.errors import MmgenreError, RecipeError, Refusal, WaitingWarning
from mmgenre.frozen.carried import carry
from mmgenre.items.modalities import MODALITIES, Modality
from mmgenre.learning.processes import from_main, is_main
from mmgenre.measuring.results import FusionResult
from mmgenre.pipeline.artefact import Artefact, carry_out
from mmgenre.pipeline.budget import seconds_of, within_budget
from mmgenre.pipeline.crossfit import crossfit_of
from mmgenre.pipeline.embed import embeddings_of
from mmgenre.pipeline.fuse import plan_fusion
from mmgenre.pipeline.learn import adopted_encoder, encoder_of, learning_run, models_of
from mmgenre.pipeline.measure import evaluate, measured
from mmgenre.pipeline.music import manifest_of_folder
from mmgenre.pipeline.notes import run_notes
from mmgenre.pipeline.read import inputs_of, media_of
from mmgenre.pipeline.recipe import Recipe, merge, parse_setting, validate
from mmgenre.pipeline.rows import fusion_name, joined_names, table_rows
from mmgenre.pipeline.run import (
    DEFAULT_RUN,
    REFUSED,
    STATE,
    Run,
    check_address,
    check_files,
    open_run,
    prepare_run,
)
from mmgenre.pipeline.twins import look_for_twins
from mmgenre.progress import Progress, silent
from mmgenre.reading.extraction import Shard, check_sources, extract_shard

LOCKS = ".locks"
SEEDS = 3  # heads trained for each row, unless they are solved

P = ParamSpec("P")
T = TypeVar("T")


def alone_in_run(command: Callable[P, T], *, shared: bool = False) -> Callable[P, T]:
    """A command that works in its run's folder, the argument `run`, while no other one does.

    Two commands at once would take each other's artefacts for their own, as both find the same
    names free. The second one waits, and warns which process it waits for. Commands that are
    `shared` work beside each other.
    """

    @wraps(command)
    def alone(*args: P.args, **kwargs: P.kwargs) -> T:
        folder = Path(cast(str, kwargs.get("run", DEFAULT_RUN)))

        def waiting(who: str) -> None:
            warnings.warn(f"{folder}: waiting for {who}", WaitingWarning, stacklevel=2)

        with ExitStack() as held:
            held.callback(_remove_unless_run, folder)

            def begin() -> None:
                while True:
                    with suppress(FileNotFoundError):  # another command has just removed the folder
                        try:
                            held.enter_context(claimed(folder / LOCKS / "run", shared, waiting))
                        except OSError as error:
                            no_right = error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)
                            if not no_right or os.access(folder, os.W_OK):
                                raise
                            # Where nothing can be written, only a finished run can be asked for.
                        return

            from_main(begin)
            return command(*args, **kwargs)

    return alone


def _remove_unless_run(folder: Path) -> None:
    """Removes what a lock has left of a folder in which no run was made."""
    if is_main() and not (folder / STATE).exists():
        with suppress(OSError):
            (folder / LOCKS).rmdir()
            folder.rmdir()


@dataclass(frozen=True)
class Extraction:
    """What `extract_features` did: the embeddings, how many items have each, who was refused."""

    run: Path
    embeddings: Path
    counts: Mapping[Modality, int]
    refused: tuple[Refusal, ...]
    notes: tuple[str, ...] = ()  # what a person should know

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "run": str(self.run),
            "embeddings": str(self.embeddings),
            "content_sha256": content_hash(self.embeddings),
            "counts": dict(self.counts),
            "refused": [vars(r) for r in self.refused],
            "notes": list(self.notes),
        }


@alone_in_run
def extract_features(
    manifest: Path | str | None = None,
    *,
    media_roots: Sequence[Path] = (),
    run: Path | str = DEFAULT_RUN,
    modalities: Sequence[Modality] = tuple(MODALITIES),
    recipe: str | None = None,
    settings: Sequence[str] = (),
    encoders: Mapping[Modality, Path] | None = None,
    workers: int | None = None,
    dask: str | None = None,
    item_limit_s: float | None = None,
    budget: str | None = None,
    accept_missing: bool = False,
    check_content: bool = False,
    retrain: bool = False,
    by: By | None = None,
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
        settings: `section.key=value` changes to the recipe.
        encoders: folders of encoders to use instead of training; the run gets copies.
        workers: processes that read media; 1: this one alone; None: one per core.
        dask: address of a Dask scheduler whose workers read media instead, or "local".
        item_limit_s: how long the media of one row may be read before it is refused; None: 300 s,
            and a second more for each MB. Not with one worker, nor on Dask.
        budget: a time for the training of encoders, such as "3m", cross-fitted ones included; it
            is turned into steps once the media are read, and these become settings of the run.
        accept_missing: whether rows of the run may be lost whose files have gone since.
        check_content: whether all files are compared with those that were read by their bytes, and
            not only those whose path, size, times or inode differ.
        retrain: whether encoders learn anew that have not learned on all items, since some were
            added.
        by: of a folder of music: whether an item is a track (default) or an album.
        progress: progress callback.

    Raises:
        MmgenreError: something that concerns the whole run; damaged items are only listed.
    """
    folder = Path(run)
    _check_limit(item_limit_s)
    if budget is not None:
        seconds_of(budget)  # a mistake shows before media are read
    given: dict[str, Any] = {"media_roots": media_roots, "recipe": recipe, "settings": settings}
    given["by"] = by
    state = replace(_prepared(folder, manifest, **given, progress=progress), retrain=retrain)
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
        made = (vectors_of(state, m, adopt=encoders.get(m), **how) for m in present)
        return [artefact for found in made for artefact in found.values()]

    plan = planned()
    # All media first: whatever is wrong with them shows before hours of training.
    reads = [a for made in plan for a in made.parents if a.stage == "read"]
    if budget is not None:
        carry_out(reads, folder / LOCKS, progress=progress)
        from_main(partial(within_budget, state, present, budget))
        state = replace(state, recipe=open_run(folder, is_checked=True).recipe, earlier={})
        plan = planned()
    carry_out([*reads, *plan], folder / LOCKS, progress=progress)

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
    return Extraction(folder, folder / "embeddings.h5", from_main(count), state.refused, notes)


def _check_limit(limit_s: float | None) -> None:
    if limit_s is not None and not 0 < limit_s < math.inf:
        raise MmgenreError(f"a time limit of {limit_s} s for an item: more than 0 s")


def _list_refused(run: Run) -> None:
    rows = ((r.id, r.modality, r.code, r.detail) for r in run.refused)
    write_table(run.folder / REFUSED, ("id", "modality", "code", "detail"), rows)


def present_modalities(run: Run, modalities: Sequence[Modality]) -> list[Modality]:
    """Those that any item has.

    Raises:
        MmgenreError: there is none, or the run was given vectors for one.
    """
    if given := [m for m in modalities if m in run.given]:
        raise MmgenreError(
            f"{run.features}: holds vectors for {', '.join(given)}, which the run uses instead "
            "of learning its own; delete that file, or leave these out of --modalities"
        )
    if present := [m for m in modalities if run.manifest.count(having=[m])]:
        return present
    raise MmgenreError(f"{run.dataset}: no item has {' or '.join(modalities)}")


def _prepared(
    folder: Path,
    manifest: Path | str | None,
    *,
    one_by_one: bool = False,
    by: By | None = None,
    media_roots: Sequence[Path] = (),
    progress: Progress = silent,
    **how: Any,
) -> Run:
    """The run; rank 0 settles and writes what it is made from, the others read that.

    `one_by_one`: for shards, which begin at the same time.
    """
    made: list[Run] = []
    source = None if manifest is None else Path(manifest)

    def settle() -> None:
        with locked(folder / LOCKS / "prepare") if one_by_one else nullcontext():
            file, roots = source, media_roots
            if source is not None and source.is_dir():
                file, roots = manifest_of_folder(source, folder, by, progress), [*roots, source]
            elif by is not None:
                raise MmgenreError(f"by {by}: is of a folder of music, and none is given")
            given: dict[str, Any] = {"manifest": file, "media_roots": roots, "progress": progress}
            made.append(prepare_run(folder, **given, **how))

    from_main(settle)
    return made[0] if made else open_run(folder, is_checked=True)


def vectors_of(
    run: Run,
    modality: Modality,
    *,
    looking: bool = True,
    adopt: Path | None = None,
    **how: Any,
) -> dict[str, Artefact]:
    """View name -> embeddings of a modality, with all that they need.

    `looking`: whether media are looked at; `adopt`: folder of a trained encoder; `how`: further
    arguments of `inputs_of`.
    """
    views = run.recipe.views(modality)
    if adopt is not None and len(views) > 1:
        raise RecipeError(
            f"{modality} has {len(views)} encoders ({', '.join(v.label for v in views)}), so that "
            "none can be given instead; set one in the recipe"
        )
    found = {}
    for view in views:
        inputs = inputs_of(run, view, looking=looking, **how)
        encoder = (
            encoder_of(learning_run(run, view, inputs), view, inputs, keeping=not looking)
            if adopt is None
            else adopted_encoder(run, view, adopt)
        )
        found[view.name] = embeddings_of(run, view, inputs, encoder)
    return found


def crossfits_of(
    run: Run, recipe: Recipe, modality: str, *, looking: bool = False
) -> dict[str, Artefact]:
    """View name -> cross-fitted outputs of the encoders of a modality that are trained.

    Only where heads are solved and the encoders were trained for their target.
    """
    fusion = recipe.fusion
    same = run.recipe.target.used() == recipe.fusion_target.used()
    same &= recipe.labels == run.recipe.labels
    if not fusion.cross_fit or fusion.solver == "sgd" or not same:
        return {}
    found = {}
    for view in run.views(modality):
        if not view.fixed:
            inputs = inputs_of(run, view, looking=looking)
            found[view.name] = crossfit_of(run, view, inputs, fusion.cross_fit)
    return found


@dataclass(frozen=True)
class ShardResult:
    """What is there after a shard: of each modality (parts read, of all shards; all parts)."""

    run: Path
    shard: Shard
    parts: Mapping[Modality, tuple[int, int]]

    @property
    def is_all_there(self) -> bool:
        """Whether no shard has anything left to read."""
        return all(done == total for done, total in self.parts.values())

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "run": str(self.run),
            "shard": str(self.shard),
            "parts": {m: {"done": done, "of": total} for m, (done, total) in self.parts.items()},
        }


@partial(alone_in_run, shared=True)
def read_shard(
    shard: Shard,
    manifest: Path | str | None = None,
    *,
    media_roots: Sequence[Path] = (),
    run: Path | str = DEFAULT_RUN,
    modalities: Sequence[Modality] = tuple(MODALITIES),
    recipe: str | None = None,
    settings: Sequence[str] = (),
    workers: int | None = None,
    item_limit_s: float | None = None,
    accept_missing: bool = False,
    check_content: bool = False,
    by: By | None = None,
    progress: Progress = silent,
) -> ShardResult:
    """Reads one of n shares of a run's media; `extract_features` then finds them read.

    Each job of an array gets the same arguments and another shard; the run's folder must be one
    that all of them see. Any of them may be run again. Other commands in the run wait for all
    shards that are being read, and shards for these. Arguments as in `extract_features`.

    Raises:
        MmgenreError: something that concerns the whole run, or the shard is being read elsewhere.
    """
    _check_limit(item_limit_s)
    how: dict[str, Any] = {"media_roots": media_roots, "recipe": recipe, "settings": settings}
    state = _prepared(Path(run), manifest, one_by_one=True, by=by, **how, progress=progress)
    parts: dict[str, tuple[int, int]] = {}
    for modality in present_modalities(state, [m for m in modalities if m not in state.given]):
        stores = {view.input_name: view for view in state.recipe.views(modality)}
        for view in stores.values():
            store = state.inputs(view.input_name)
            check_files(state, modality)
            check_address(state, modality)
            if not accept_missing:
                check_sources(state.manifest, modality, store)
            media = media_of(state, view, looking=True, check_content=check_content)
            how = {"media": media, "workers": workers, "progress": progress}
            how["limit_s"] = item_limit_s
            done, n = extract_shard(state.manifest, modality, view.reads, store, shard, **how)
            before = parts.get(modality, (0, 0))
            parts[modality] = before[0] + done, before[1] + n
    return ShardResult(state.folder, shard, parts)


def give_features(run: Run, sources: Mapping[str, Path]) -> None:
    """Takes vectors made elsewhere as inputs of a run's fusions.

    Under a modality's name they stand for that modality, whose media are then not read.
    `sources`: name -> file, as `import_features` takes them.

    Raises:
        StoreError: a file cannot be read.
        MmgenreError: none of its ids is an item of the run.
    """
    from mmgenre.datasets.features import import_features  # scipy: time that a no-op saves

    import_features(sources, run.features)
    for name, counts in replace(run).given_vectors().items():
        if not counts["n_items"]:
            with FeatureStore(run.features, name) as store:
                raise MmgenreError(
                    f"{run.features}: none of the {counts['n_unknown']:,} ids of {name} (first: "
                    f"{store.ids[0]!r}) is an item of {run.dataset} (first: "
                    f"{run.manifest.ids()[0]!r}); are they of another dataset?"
                )


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
    settings: Sequence[str] = (),
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
        settings: changes to the recipe's sections labels, target, joint and fusion.
        progress: progress callback.
    """
    folder = Path(run)
    if seeds is not None and seeds < 1:
        raise RecipeError(f"seeds {seeds}: at least 1")
    # Only the default run, or one that is given a manifest, may begin here: a misspelt folder must
    # not start hours of work.
    if manifest is None and folder != DEFAULT_RUN and not (folder / STATE).is_file():
        open_run(folder)
    state = _prepared(folder, manifest, media_roots=media_roots, progress=progress)
    if features:
        from_main(lambda: give_features(state, features))
        state = replace(state)  # what was given is read anew
    recipe = fusion_recipe(state.recipe, head, joint, task, settings)
    modalities = modalities or with_vectors(state)
    modalities = tuple(m for m in MODALITIES if m in modalities)
    learned = [m for m in modalities if m in state.given or state.manifest.count(having=[m])]
    names = (*learned, *(name for name in state.given if name not in MODALITIES))
    if not names:
        raise MmgenreError(f"{state.dataset}: no item has {' or '.join(modalities)}")
    vectors: dict[str, Artefact] = {}
    for name in names:
        given = name in state.given
        vectors |= (
            {name: given_to(state, name)} if given else vectors_of(state, name, looking=False)
        )
    rows = table_rows(state, recipe, names, inputs)
    joined = joined_names(state, recipe, names, rows)
    base = fusion_name(recipe, names, inputs, joined, settings)
    crossfits = {
        name: artefact
        for m in names
        if m not in state.given
        for name, artefact in crossfits_of(state, recipe, m).items()
    }
    how: dict[str, Any] = {"joined": joined, "crossfits": crossfits}
    is_solved = recipe.fusion.solver == "lbfgs"
    if is_solved and seeds not in (None, 1):
        raise RecipeError(
            f"seeds {seeds}: solved heads are the same from every seed; leave it out, or train "
            "heads with --set fusion.solver=sgd --set fusion.combine=concatenation"
        )
    how["seeds"] = 1 if is_solved else seeds or SEEDS
    fusion = plan_fusion(state, recipe, base, rows, vectors, **how)
    carry_out([fusion], folder / LOCKS, progress=progress)

    if with_frozen:
        encoders = [a.path for a in fusion.parents if a.stage == "learn"]
        from_main(lambda: carry(models_of(encoders), folder))

    def measure() -> FusionResult:
        look_for_twins(state, progress)
        evaluate(state)
        return measured(state, fusion.path)

    return from_main(measure)


def with_vectors(run: Run) -> tuple[Modality, ...]:
    """All modalities; of a run to which vectors were given, those that it has vectors of."""
    if not run.given:
        return tuple(MODALITIES)
    held = {n.partition(".")[0] for n in (*run.given, *group_names(run.folder / "embeddings.h5"))}
    return tuple(m for m in MODALITIES if m in held)


def given_to(run: Run, name: str) -> Artefact:
    """Vectors that were given, which are always current."""
    kept = provenance_of(run.features, name) or {}
    fields = ("stage", "stage_version", "parameters", "parents", "made_by")
    provenance = Provenance(**{key: kept[key] for key in fields})
    fingerprint = provenance.fingerprint

    def make(progress: Progress) -> None:
        del progress
        raise MmgenreError(f"{run.features}: {name} is not there any more; give it again")

    def verify(progress: Progress) -> None:
        remedy = "give the vectors again: mmgenre fuse --features"
        check_store(run.features, name, remedy=remedy, progress=progress)

    path, stored = run.features, lambda: fingerprint
    return Artefact("embed", name, path, provenance, (), stored, make, verify=verify)


def fusion_recipe(
    recipe: Recipe,
    head: str | None,
    joint: bool | None,
    task: str | None,
    settings: Sequence[str],
) -> Recipe:
    """The run's recipe with changes that only fusion needs."""
    changes = merge({}, *map(parse_setting, settings))
    if elsewhere := sorted(set(changes) - {"labels", "target", "joint", "fusion"}):
        raise RecipeError(
            f"{', '.join(elsewhere)}: no setting of fusion; change it where it works: "
            "mmgenre extract-features --set ..."
        )
    own = changes.get("fusion", {})
    if own.get("solver", recipe.fusion.solver) == "lbfgs":
        unused = {"network", "dropout", "modality_dropout", "training"} & set(own)
        if unused:
            raise RecipeError(
                f"fusion.{', fusion.'.join(sorted(unused))}: is of heads that are trained (solver "
                "sgd), and these are solved; leave it out, or give fusion.solver=sgd and "
                "fusion.combine=concatenation"
            )
    named = {"labels": {"task": task}, "fusion": {"head": head}}
    named["fusion"]["joint"] = None if joint is None else "beside" if joint else "none"
    given = {s: {k: v for k, v in own.items() if v is not None} for s, own in named.items()}
    return validate(merge(recipe.model_dump(), changes, given), where="of this fusion")


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
