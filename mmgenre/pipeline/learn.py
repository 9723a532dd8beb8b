"""Input stores -> encoders trained on the genre task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.bundle import (
    CONFIG,
    bundle_file,
    bundle_provenance,
    odd_as_error,
    read_bundle,
    write_bundle,
)
from mmgenre.disk.files import without_links
from mmgenre.disk.provenance import Provenance, sha256_file, sha256_folder
from mmgenre.disk.store import FeatureStore
from mmgenre.errors import MmgenreError, RecipeError
from mmgenre.items.item import Split
from mmgenre.kinds import kind_of
from mmgenre.learning.kind import resolve
from mmgenre.learning.processes import is_main
from mmgenre.pipeline.artefact import Artefact, in_bundle
from mmgenre.pipeline.earlier import earlier_ids, learned_digest
from mmgenre.pipeline.read import media_of
from mmgenre.pipeline.recipe import View
from mmgenre.pipeline.run import Folds, Run
from mmgenre.progress import Progress
from mmgenre.reading.extraction import inputs_provenance

ENCODER_VERSION = 5  # rises when the code of the step changes what it writes
ADOPTED = "adopted encoder"  # stage in the provenance of a copy of a trained encoder


@dataclass(frozen=True)
class Fold:
    """One of the folds of the training items."""

    folds: Folds
    number: int


def learning_run(run: Run, view: View, inputs: Artefact) -> Run:
    """The run with the items that a view's encoder is of.

    All items of today, unless the encoder that is there has learned on some of them, of which
    nothing has changed.
    """
    if run.retrain or encoder_of(run, view, inputs).is_current():
        return run
    earlier = _earlier(run, learned_digest(run.encoder(view.name)))
    if earlier is not None and encoder_of(earlier, view, inputs).is_current():
        return earlier
    return run


def _earlier(run: Run, digest: str | None) -> Run | None:
    """The run with the items of an earlier manifest; None if one of them is gone or has changed."""
    if digest is None or run.pool is not None:
        return None
    if digest not in run.earlier:
        ids, found = earlier_ids(run.folder, digest), None
        if ids is not None and (manifest := run.manifest.only(ids)).task_digest == digest:
            own: dict[str, Any] = {"media": {}, "spaces": {}, "divided": {}, "earlier": {}}
            found = replace(run, manifest=manifest, whole=run, **own)
        run.earlier[digest] = found
    return run.earlier[digest]


def encoder_of(
    run: Run, view: View, inputs: Artefact, *, keeping: bool = False, fold: Fold | None = None
) -> Artefact:
    """The encoder of a view; with `keeping`, an adopted encoder that is there is the one.

    It is of all items of the run, though `inputs` may have more (`learning_run`). `fold`: instead
    of it, one that is trained without that fold of the training items.
    """
    recipe = run.recipe
    section, kind = recipe.of(view.modality), kind_of(view.modality)
    encoder_type = kind.encoder(view.encoder)
    settings = section.model_dump(mode="json", include=set(encoder_type.uses))
    contents = {
        setting: _content(path.expanduser())
        for setting, path in kind.content(section).items()
        if setting in encoder_type.uses
    }
    parameters = {
        "encoder": view.encoder,
        # A path is not what lies there.
        "settings": {**settings, **contents},
        "options": section.options.get(view.encoder, {}),
        "labels": run.manifest.task_digest,
        **encoder_type.content(section),
    }
    if not view.fixed:
        target, task = recipe.target.used(), recipe.labels.task
        parameters |= {"target": target, "task": task, "seed": recipe.seed}
        parameters |= run.genres_of(recipe)
    if fold is not None:
        parameters["without"] = {"fold": fold.number, "folds": fold.folds.digest}
    parents = {"inputs": inputs.fingerprint}
    if run.whole is not None:
        media = media_of(run, view).digest
        own = inputs_provenance(run.manifest, view.modality, view.reads, media)
        parents = {"inputs": own.fingerprint}
    provenance = Provenance("encoder", ENCODER_VERSION, parameters, parents)
    name = view.name if fold is None else without_fold(view.name, fold.number)
    if run.pool is not None:
        folder = run.place("encoders", name, provenance.fingerprint)
    else:
        folder = run.encoder(name)
        there = bundle_provenance(folder) if keeping else None
        if there is not None and there["stage"] == ADOPTED:
            provenance = _adopted(view, there["parents"]["encoder"])

    def check() -> None:
        if encoder_type.check is not None:
            resolve(encoder_type.check)(section)
        for setting, path in kind.content(section).items():
            if not path.expanduser().exists():
                raise RecipeError(f"{view.modality}.{setting}: {path}: no such file or folder")

    make = partial(_make_encoder, run, view, inputs, folder, provenance, fold)
    stored, trains = in_bundle(folder), not view.fixed
    return Artefact(
        "learn", name, folder, provenance, (inputs,), stored, make, trains=trains, check=check
    )


def without_fold(name: str, number: int) -> str:
    """The name of a view's encoder that has not seen a fold of the training items."""
    return f"{name}.without-{number}"


def _make_encoder(
    run: Run,
    view: View,
    inputs: Artefact,
    folder: Path,
    provenance: Provenance,
    fold: Fold | None,
    progress: Progress,
) -> None:
    """Makes an encoder from the rows of its input store. Several processes train one together."""
    # Here, since torch takes seconds to import, which a no-op saves.
    from mmgenre.learning.encoder import Learned, save_network, train_encoder
    from mmgenre.learning.rows import item_of
    from mmgenre.learning.targets import make_target
    from mmgenre.learning.validation import chance_auc, task_metric

    recipe, modality = run.recipe, view.modality
    section, encoder_type = recipe.of(modality), kind_of(modality).encoder(view.encoder)
    make, target_name = resolve(encoder_type.make), recipe.target.name
    items: dict[Split, Sequence[str]] = {s: run.manifest.ids(s) for s in ("train", "val")}
    if fold is not None:
        items["train"] = fold.folds.without(fold.number)
    with FeatureStore(inputs.path, modality) as store:
        rows: dict[Split, list[str]] = {}
        for split, ids in items.items():
            wanted = set(ids)
            rows[split] = [row for row in store.ids if item_of(row) in wanted]
            if not rows[split]:
                raise MmgenreError(
                    f"{run.dataset}: no {split} item has usable {modality}; "
                    f"leave it out with --modalities, or draw other splits with --set seed=N"
                )
        save = partial(save_network, folder, modality, view.encoder, view.reads)
        if view.fixed:
            progress(f"making {view.name}", 0, 1)
            save(make(section, target_name, store, rows["train"]), provenance, None)
            progress(f"making {view.name}", 1, 1)
            return
        space = run.labels()
        target = make_target(recipe.target, len(space), exclusive=recipe.exclusive)
        target.fit(run.truth(items["train"]))
        checkpoint = folder.with_name(f"{view.name}-{provenance.fingerprint}.checkpoint")
        targets: dict[str, dict[str, NDArray[np.float32]]] = {}
        for split, own in rows.items():
            vectors = target.targets(run.truth([item_of(row) for row in own]))
            targets[split] = dict(zip(own, vectors, strict=True))
        truth = run.truth([item_of(row) for row in rows["val"]])
        chance, training = chance_auc(truth), section.training
        if chance is None:  # no genre has rows both with it and without it: there is no metric
            training = training.model_copy(update={"select": "loss"})
        network, log = train_encoder(
            lambda: make(section, target_name, store, rows["train"]),
            target,
            store,
            targets,
            training,
            seed=recipe.seed,
            metric=task_metric(target, truth, exclusive=recipe.exclusive),
            checkpoint=checkpoint,
            task=f"training {folder.name}",
            progress=progress,
        )
    log.chance_auc = chance
    if is_main():
        save(network.encoder, provenance, Learned(network.output, target, space.names, log))
        checkpoint.unlink(missing_ok=True)


def models_of(encoders: Iterable[Path]) -> list[dict[str, Any]]:
    """What folders of encoders say of the frozen models that they need."""
    configs = [bundle_file(folder, CONFIG)["config"] for folder in encoders if folder.is_dir()]
    return [config["frozen"] for config in configs if "frozen" in config]


def adopted_encoder(run: Run, view: View, source: Path) -> Artefact:
    """A copy of a trained encoder, so that whoever loads the run finds what it used.

    Raises:
        BundleError: no encoder of that modality is there.
        WeightsError: the model folder that it reads sentences with is gone or another.
        MmgenreError: it was trained on inputs unlike those of the run.
    """
    from mmgenre.learning.encoder import load_encoder

    with odd_as_error(source):
        kind = kind_of(view.modality)
        _, bundle = load_encoder(source, view.modality, kind, run.names)
        was, now = dict(bundle.config["reads"]), view.reads.model_dump(mode="json")
        differing = [key for key in now if was[key] != now[key]]
    if was != now:
        raise MmgenreError(
            f"{source}: was trained on {view.modality} read with "
            f"{', '.join(f'{key}={was[key]}' for key in differing)}, but this run reads it with "
            f"{', '.join(f'{key}={now[key]}' for key in differing)}; change that with "
            f"--set {view.modality}.input.KEY=VALUE"
        )
    folder = run.encoder(view.name)
    there = bundle_provenance(folder)
    origin = bundle.fingerprint
    if (
        there is not None
        and there["stage"] == ADOPTED
        and without_links(source) == without_links(folder)
    ):
        origin = there["parents"]["encoder"]
    provenance = _adopted(view, origin)

    def make(progress: Progress) -> None:
        del progress
        whole = read_bundle(source, bundle.kind)
        write_bundle(folder, whole.kind, whole.config, whole.weights, provenance, files=whole.files)

    return Artefact("learn", view.name, folder, provenance, (), in_bundle(folder), make)


def _adopted(view: View, fingerprint: str) -> Provenance:
    parameters = {"modality": view.modality}
    return Provenance(ADOPTED, ENCODER_VERSION, parameters, {"encoder": fingerprint})


def _content(path: Path) -> str:
    """Hash of a file or folder; "missing" if there is none."""
    if not path.exists():
        return "missing"
    newest = max((p.stat().st_mtime_ns for p in [path, *path.rglob("*")]), default=0)
    return _sha256(path, newest)


@lru_cache(maxsize=16)
def _sha256(path: Path, newest: int) -> str:
    del newest  # part of the cache's key: a plan asks for the same weights in every cell
    return sha256_folder(path) if path.is_dir() else sha256_file(path)
