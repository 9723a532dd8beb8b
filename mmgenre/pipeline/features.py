"""Media -> inputs -> encoders -> embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgenre.datasets.features import import_features
from mmgenre.disk.bundle import bundle_fingerprint, read_bundle, write_bundle
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, content_hash, fingerprint_of, group_names, write_store
from mmgenre.errors import MmgenreError, Refusal
from mmgenre.image.encoder import ImageEncoder, make_image_encoder
from mmgenre.image.quantised import calibrated, check_processor
from mmgenre.items.manifest import MODALITIES, Modality
from mmgenre.learning.processes import agreed, by_main
from mmgenre.learning.targets import make_target
from mmgenre.pipeline import lineage
from mmgenre.pipeline.lineage import encoder_config
from mmgenre.pipeline.recipe import Recipe
from mmgenre.pipeline.run import DEFAULT_RUN, Run, open_run, prepare_run
from mmgenre.progress import Progress, silent
from mmgenre.reading.extraction import extract_inputs
from mmgenre.reading.network import (
    embed,
    item_of,
    load_encoder,
    mean_by_item,
    save_network,
    train_encoder,
)
from mmgenre.text.sentences import make_sentence_encoder

ADOPTED = "adopted"  # in an encoder's config: the fingerprint of the one it is a copy of


@dataclass(frozen=True)
class Extraction:
    """What `extract_features` did: the embeddings, how many items have each, who was refused."""

    run: Path
    embeddings: Path
    counts: Mapping[Modality, int]
    refused: tuple[Refusal, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "run": str(self.run),
            "embeddings": str(self.embeddings),
            "content_sha256": content_hash(self.embeddings),
            "counts": dict(self.counts),
            "refused": [vars(r) for r in self.refused],
        }


def extract_features(
    manifest: Path | str | None = None,
    *,
    run: Path | str = DEFAULT_RUN,
    modalities: Sequence[Modality] = MODALITIES,
    recipe: str | None = None,
    settings: Sequence[str] = (),
    encoders: Mapping[Modality, Path] | None = None,
    workers: int | None = None,
    dask: str | None = None,
    progress: Progress = silent,
) -> Extraction:
    """Media -> inputs -> encoders trained on the genre task -> embeddings.h5.

    Args:
        manifest: CSV; None: the run's own, or the built-in catalogue for a new run.
        run: the folder for everything made.
        modalities: which ones; a modality that no item has is left out.
        recipe: name or TOML file; default: the run's own, else `quick` for the built-in
            catalogue and `default` for a manifest.
        settings: `section.key=value` changes to the recipe.
        encoders: folders of encoders to use instead of training; the run gets copies.
        workers: processes that read media; 1: this one alone; default: one a core.
        dask: address of a Dask scheduler whose workers read media instead, or "local".
        progress: told what moves.

    Raises:
        MmgenreError: something that concerns the whole run; damaged items are only listed.
    """

    def prepare() -> Run:
        return prepare_run(
            Path(run),
            manifest=Path(manifest) if manifest else None,
            recipe=recipe,
            settings=settings,
            progress=progress,
        )

    state = by_main(prepare, lambda: open_run(Path(run)))
    given = [m for m in modalities if m in state.given]
    if given:
        raise MmgenreError(
            f"{state.features}: holds vectors for {', '.join(given)}, which the run uses instead "
            "of learning its own; delete that file, or leave these out of --modalities"
        )
    present = [m for m in modalities if state.manifest.ids(having=[m])]
    if not present:
        raise MmgenreError(f"{state.dataset}: no item has {' or '.join(modalities)}")
    unused = [m for m in encoders or {} if m not in present]
    if unused:
        raise MmgenreError(
            f"an encoder of {', '.join(unused)} is given, but this run extracts "
            f"{', '.join(present)} only"
        )
    for modality in present:
        adopted = modality in (encoders or {})
        if not adopted and not agreed(state.encoder(modality).is_dir):
            # What cannot be had shows now, not after hours of training audio.
            check_weights(state.recipe, modality)
    for modality, folder in (encoders or {}).items():
        copy = partial(adopt, state, modality, Path(folder))
        by_main(copy, partial(state.encoder, modality))
    for modality in present:
        config = encoder_config(state.recipe, modality).input
        read = partial(extract_inputs, state.manifest, modality, config, state.inputs(modality))
        there = partial(state.inputs, modality)
        by_main(partial(read, workers=workers, dask=dask, progress=progress), there)
    counts = {}
    for modality in present:
        if modality not in (encoders or {}):
            train(state, modality, progress=progress)
        counts[modality] = agreed(partial(_embed, state, modality, progress))
    return Extraction(state.folder, state.folder / "embeddings.h5", counts, refusals(state))


def check_weights(recipe: Recipe, modality: Modality) -> None:
    """Loads what an encoder starts from, if that is published weights or a model folder.

    Raises:
        WeightsError: it cannot be had; says what to do.
        MmgenreError: covers are to be embedded in int8, which this processor cannot.
    """
    if modality == "image":
        make_image_encoder(recipe.image)
        if recipe.image.embedding_precision == "int8":
            check_processor()
    if modality == "text" and recipe.text.encoder == "sentence-transformers":
        make_sentence_encoder(recipe.text)


@dataclass(frozen=True)
class Given:
    """Vectors made elsewhere: how many items of the run have one, how many ids are no item."""

    name: str
    n_items: int
    n_unknown: int

    def __str__(self) -> str:
        unknown = f"; {self.n_unknown:,} ids are no item" if self.n_unknown else ""
        return f"{self.name}: vectors for {self.n_items:,} items{unknown}"


def give_features(run: Run, sources: Mapping[str, Path]) -> tuple[Given, ...]:
    """Takes vectors made elsewhere as inputs of a run's fusions.

    Under a modality's name they stand for that modality, whose media are then not read.

    Args:
        run: the run.
        sources: name -> file; see `import_features`.

    Raises:
        StoreError: a file cannot be read.
        MmgenreError: none of its ids is an item of the run.
    """
    import_features(sources, run.features)
    for given in given_vectors(run):
        if not given.n_items:
            with FeatureStore(run.features, given.name) as store:
                raise MmgenreError(
                    f"{run.features}: none of the {len(store):,} ids of {given.name} (first: "
                    f"{store.ids[0]!r}) is an item of {run.dataset} (first: "
                    f"{run.manifest.ids()[0]!r}); are they of another dataset?"
                )
    return given_vectors(run)


def given_vectors(run: Run) -> tuple[Given, ...]:
    """What was given to a run, and how far it reaches."""
    found = []
    for name in group_names(run.features):
        with FeatureStore(run.features, name) as store:
            n_items = sum(item_id in store for item_id in run.manifest.ids())
            found.append(Given(name, n_items, len(store) - n_items))
    return tuple(found)


def train(run: Run, modality: Modality, *, progress: Progress = silent) -> Path:
    """Trains a modality's encoder on the rows of its input store; returns its folder.

    Several processes do it together.
    """
    recipe, folder = run.recipe, run.encoder(modality)
    config = encoder_config(recipe, modality)
    provenance = _encoder_provenance(run, modality)
    if agreed(lambda: bundle_fingerprint(folder) == provenance.fingerprint):
        return folder
    space = run.labels()
    target = make_target(recipe.target, len(space), exclusive=recipe.exclusive)
    target.fit(labels_of(run, run.manifest.ids("train"), recipe))
    checkpoint = folder.with_name(f"{modality}-{provenance.fingerprint}.checkpoint")
    with FeatureStore(run.inputs(modality), modality) as store:
        targets = {}
        for split in ("train", "val"):
            rows = [r for r in store.ids if run.manifest[item_of(r)].split == split]
            if not rows:
                raise MmgenreError(
                    f"{run.dataset}: no {split} item has usable {modality}; "
                    f"leave it out with --modalities, or draw other splits with --set seed=N"
                )
            vectors = target.targets(labels_of(run, [item_of(r) for r in rows], recipe))
            targets[split] = dict(zip(rows, vectors, strict=True))
        network, log = train_encoder(
            config,
            target,
            recipe.target.name,
            store,
            targets,
            seed=recipe.seed,
            checkpoint=checkpoint,
            task=f"training {modality}",
            progress=progress,
        )

    def save() -> Path:
        save_network(folder, modality, network, target, space.names, log, provenance)
        checkpoint.unlink(missing_ok=True)
        return folder

    return by_main(save, lambda: folder)


def adopt(run: Run, modality: Modality, source: Path) -> Path:
    """Copies a trained encoder into the run, so that whoever loads the run finds what it used.

    Raises:
        BundleError: no encoder of that modality is there.
        WeightsError: the model folder that it reads sentences with is gone or another.
        MmgenreError: it was trained on inputs unlike those of the run.
    """
    encoder, bundle = load_encoder(source, modality)
    wanted = encoder_config(run.recipe, modality).input
    was, now = encoder.config.input.model_dump(), wanted.model_dump()
    if was != now:
        differing = [key for key in now if was[key] != now[key]]
        raise MmgenreError(
            f"{source}: was trained on {modality} read with "
            f"{', '.join(f'{key}={was[key]}' for key in differing)}, but this run reads it with "
            f"{', '.join(f'{key}={now[key]}' for key in differing)}; change that with "
            f"--set {modality}.input.KEY=VALUE"
        )
    folder = run.encoder(modality)
    if ADOPTED in bundle.config and source.resolve() == folder.resolve():
        return folder
    parents = {"encoder": bundle.fingerprint}
    provenance = Provenance(
        "adopted encoder", lineage.ENCODER_VERSION, {"modality": modality}, parents
    )
    if bundle_fingerprint(folder) == provenance.fingerprint:
        return folder
    config = {**bundle.config, ADOPTED: bundle.fingerprint}
    kind, weights, files = bundle.kind, bundle.weights, bundle.files
    return write_bundle(folder, kind, config, weights, provenance, files=files)


def is_current(run: Run, modality: Modality) -> bool:
    """Whether the embeddings are what the run's manifest and recipe ask for.

    Media are not looked at: they may have gone since, and an adopted encoder asks for none.
    """
    if fingerprint_of(run.embeddings(modality), modality) is None:
        return False
    folder = run.encoder(modality)
    if (
        fingerprint_of(run.embeddings(modality), modality)
        != _embed_provenance(run, modality).fingerprint
    ):
        return False
    if bundle_fingerprint(folder) == _encoder_provenance(run, modality).fingerprint:
        return True
    return ADOPTED in read_bundle(folder, f"{modality} encoder").config


def labels_of(run: Run, ids: Sequence[str], recipe: Recipe) -> NDArray[np.bool_]:
    """Labels of items in the recipe's task, (n, n_labels)."""
    return run.labels(recipe).encode([run.manifest[i].labels for i in ids])


def _encoder_provenance(run: Run, modality: Modality) -> Provenance:
    return lineage.of_encoder(run, modality, fingerprint_of(run.inputs(modality), modality) or "")


def _embed_provenance(run: Run, modality: Modality) -> Provenance:
    inputs = fingerprint_of(run.inputs(modality), modality) or ""
    encoder = bundle_fingerprint(run.encoder(modality)) or ""
    return lineage.of_embeddings(run, modality, inputs, encoder)


def embed_items(run: Run, modality: Modality, *, progress: Progress = silent) -> Path:
    """Embeds every item that has the modality; an item's audio is the mean over its tracks."""
    provenance = _embed_provenance(run, modality)
    if fingerprint_of(run.embeddings(modality), modality) == provenance.fingerprint:
        return run.embeddings(modality)
    encoder, _ = load_encoder(run.encoder(modality), modality)
    with FeatureStore(run.inputs(modality), modality) as store:
        source = encoder.source(store)
        if isinstance(encoder, ImageEncoder):
            precision = run.recipe.image.embedding_precision  # adopted encoders have their own
            encoder.config = encoder.config.model_copy(update={"embedding_precision": precision})
            if precision == "int8":
                train_ids = [r for r in store.ids if run.manifest[item_of(r)].split == "train"]
                encoder = calibrated(encoder, source, train_ids)
        rows = embed(encoder, source, store.ids, task=f"embedding {modality}", progress=progress)
        ids, means = mean_by_item(store.ids, rows)
    return write_store(run.embeddings(modality), modality, [(ids, means)], provenance)


def _embed(run: Run, modality: Modality, progress: Progress) -> int:
    """Embeds, and counts the items that have an embedding."""
    with FeatureStore(embed_items(run, modality, progress=progress), modality) as store:
        return len(store)


def refusals(run: Run) -> tuple[Refusal, ...]:
    """Everything that the input stage of a run left out, sorted."""
    found: list[Refusal] = []
    for modality in MODALITIES:
        if run.inputs(modality).is_file():
            with FeatureStore(run.inputs(modality), modality) as store:
                found += store.refused
    return tuple(sorted(found))
