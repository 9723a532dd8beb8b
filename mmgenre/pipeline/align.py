"""Vectors -> joint space -> joint vectors; and the table of both that fusion reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mmgenre.disk.bundle import bundle_fingerprint
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, write_store
from mmgenre.fusion.table import FeatureTable, gather
from mmgenre.items.modalities import short_name
from mmgenre.learning.processes import from_main, is_main
from mmgenre.pipeline.artefact import Artefact, in_store, rows_of
from mmgenre.pipeline.recipe import Recipe
from mmgenre.pipeline.run import Run
from mmgenre.progress import Progress

JOINT_VERSION = 2  # rises when the code of the step changes what it writes
Places = Mapping[str, tuple[Path, str]]  # input -> (store, group) of its vectors


def joint_of(run: Run, recipe: Recipe, vectors: Mapping[str, Artefact], places: Places) -> Artefact:
    """The joint space of some inputs, and every item's vectors in it."""
    names = tuple(vectors)
    places = {name: places[name] for name in names}
    parameters = {
        "joint": recipe.joint.used(),
        "seed": recipe.seed,
        "splits": run.manifest.task_digest,
    }
    parents = {name: artefact.fingerprint for name, artefact in vectors.items()}
    provenance = Provenance("joint", JOINT_VERSION, parameters, parents)
    label = "+".join(short_name(name) for name in names)
    folder = run.folder / "joint" / label
    if run.pool is not None:
        folder = run.place("joint", label, provenance.fingerprint)
    store = joint_store(folder)

    def make(progress: Progress) -> None:
        # Here, since torch takes seconds to import, which a no-op saves.
        from mmgenre.fusion.joint import load_joint, project, save_joint, train_joint

        if from_main(lambda: bundle_fingerprint(folder) != provenance.fingerprint):
            ids = run.manifest.ids
            train, val = (feature_table(places, ids(split)) for split in ("train", "val"))
            space, log = train_joint(train, val, recipe.joint, seed=recipe.seed, progress=progress)
            if is_main():
                save_joint(folder, space, log, provenance)
        if is_main():
            table = feature_table(places, run.manifest.ids())
            for name, rows in project(load_joint(folder), table).items():
                here = [i for i, has in zip(table.ids, table.present[name], strict=True) if has]
                write_store(store, name, [(here, rows)], provenance)

    def stored() -> str | None:
        found = bundle_fingerprint(folder)
        return found if found == in_store(store, *names)() else None

    return Artefact(
        "align", label, folder, provenance, tuple(vectors.values()), stored, make, trains=True,
        verify=rows_of(store, *names),
    )  # fmt: skip


def joint_store(folder: Path) -> Path:
    """The store of the vectors of a joint space, one group per input."""
    return folder.with_name(f"{folder.name}.h5")


def feature_table(places: Places, ids: Sequence[str]) -> FeatureTable:
    """Vectors of some items from where they lie."""
    stores: dict[str, FeatureStore] = {}
    try:
        for name, (path, group) in places.items():
            stores[name] = FeatureStore(path, group)
        return gather(stores, ids)
    finally:
        for store in stores.values():
            store.close()
