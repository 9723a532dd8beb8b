"""The vectors of a run's inputs, with all that they are made from, or as they were given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, check_store, group_names, provenance_of
from mmgenre.errors import MmgenreError, RecipeError
from mmgenre.items.modalities import MODALITIES, Modality
from mmgenre.pipeline.artefact import Artefact
from mmgenre.pipeline.crossfit import crossfit_of
from mmgenre.pipeline.embed import embeddings_of
from mmgenre.pipeline.learn import adopted_encoder, encoder_of, learning_run
from mmgenre.pipeline.read import inputs_of
from mmgenre.pipeline.recipe import Recipe
from mmgenre.pipeline.run import Run
from mmgenre.progress import Progress


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
        by = {key: how[key] for key in ("dask", "workers") if key in how}
        found[view.name] = embeddings_of(run, view, inputs, encoder, **by)
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
