"""Embeddings -> joint space -> joint vectors; and the table of both that fusion reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmgenre.disk.bundle import bundle_fingerprint
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, fingerprint_of, write_store
from mmgenre.fusion.joint import load_joint, project, save_joint, train_joint
from mmgenre.fusion.table import FeatureTable, gather
from mmgenre.learning.processes import agreed, by_main
from mmgenre.pipeline import lineage
from mmgenre.pipeline.recipe import Recipe
from mmgenre.pipeline.run import Run
from mmgenre.progress import Progress, silent

JOINT = "joint."  # before an input's name: its vector in the joint space


def align(run: Run, recipe: Recipe, names: Sequence[str], *, progress: Progress = silent) -> Path:
    """Learns the joint space of some inputs' embeddings; writes every item's joint vectors.

    Several processes learn it together.
    """
    parents = {name: fingerprint_of(run.embeddings(name), name) or "" for name in names}
    provenance = lineage.of_joint(run, recipe, parents)
    model, vectors = run.joint_model(names), run.joint_vectors(names)
    if agreed(lambda: bundle_fingerprint(model) != provenance.fingerprint):
        train, val = (feature_table(run, names, run.manifest.ids(s)) for s in ("train", "val"))
        space, log = train_joint(train, val, recipe.joint, seed=recipe.seed, progress=progress)
        by_main(lambda: save_joint(model, space, log, provenance), lambda: model)
    return by_main(lambda: _project(run, names, provenance), lambda: vectors)


def _project(run: Run, names: Sequence[str], provenance: Provenance) -> Path:
    """Writes the joint vectors, if they are not there."""
    vectors = run.joint_vectors(names)
    if any(fingerprint_of(vectors, name) != provenance.fingerprint for name in names):
        space = load_joint(run.joint_model(names))
        table = feature_table(run, names, run.manifest.ids())
        for name, rows in project(space, table).items():
            ids = [i for i, here in zip(table.ids, table.present[name], strict=True) if here]
            write_store(vectors, name, [(ids, rows)], provenance)
    return vectors


def feature_table(
    run: Run, inputs: Sequence[str], ids: Sequence[str], joined: Sequence[str] = ()
) -> FeatureTable:
    """Vectors of some items.

    Args:
        run: the run.
        inputs: "audio" for an embedding, "joint.audio" for its joint vector.
        ids: of the items.
        joined: the names that the joint space is of.
    """
    stores: dict[str, FeatureStore] = {}
    try:
        for name in inputs:
            plain = name.removeprefix(JOINT)
            path = run.joint_vectors(joined) if name != plain else run.embeddings(name)
            stores[name] = FeatureStore(path, plain)
        return gather(stores, ids)
    finally:
        for store in stores.values():
            store.close()
