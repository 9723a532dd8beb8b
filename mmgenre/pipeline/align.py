"""Vectors -> joint space -> joint vectors; and the table of both that fusion reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmgenre.disk.bundle import bundle_fingerprint
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import Block, FeatureStore, write_store
from mmgenre.fusion.table import IN_MEMORY_BYTES, FeatureTable, gather
from mmgenre.items.modalities import short_name
from mmgenre.learning.processes import from_main, is_main
from mmgenre.pipeline.artefact import Artefact, in_store, rows_of
from mmgenre.pipeline.recipe import Recipe
from mmgenre.pipeline.run import Run
from mmgenre.progress import Progress

if TYPE_CHECKING:  # torch takes seconds to import
    from mmgenre.fusion.joint import JointSpace

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
        from mmgenre.fusion.joint import load_joint, save_joint, train_joint

        if from_main(lambda: bundle_fingerprint(folder) != provenance.fingerprint):
            ids = run.manifest.ids
            train, val = (
                feature_table(places, ids(split), IN_MEMORY_BYTES) for split in ("train", "val")
            )
            space, log = train_joint(train, val, recipe.joint, seed=recipe.seed, progress=progress)
            if is_main():
                save_joint(folder, space, log, provenance)
        if is_main():
            table = feature_table(places, run.manifest.ids(), IN_MEMORY_BYTES)
            for name in table.x:
                blocks = _joint_blocks(load_joint(folder), table.only([name]))
                write_store(store, name, blocks, provenance)

    def stored() -> str | None:
        found = bundle_fingerprint(folder)
        return found if found == in_store(store, *names)() else None

    return Artefact(
        "align", label, folder, provenance, tuple(vectors.values()), stored, make, trains=True,
        verify=rows_of(store, *names),
    )  # fmt: skip


def _joint_blocks(space: JointSpace, table: FeatureTable) -> Iterator[Block]:
    """Ids and joint vectors of the items that have the one input of a table."""
    from mmgenre.fusion.joint import project

    [name] = table.x
    for own in table.blocks():
        here = [i for i, has in zip(own.ids, own.present[name], strict=True) if has]
        yield here, project(space, own)[name]


def joint_store(folder: Path) -> Path:
    """The store of the vectors of a joint space, one group per input."""
    return folder.with_name(f"{folder.name}.h5")


def feature_table(
    places: Places, ids: Sequence[str], most_bytes: int | None = None
) -> FeatureTable:
    """Vectors of some items from where they lie.

    More than `most_bytes` of them stay there, in stores that are open as long as the table lives;
    None: never.
    """
    stores: dict[str, FeatureStore] = {}
    stay = False
    try:
        for name, (path, group) in places.items():
            stores[name] = FeatureStore(path, group)
        table = gather(stores, ids, most_bytes)
        stay = table.is_stored
        return table
    finally:
        for store in stores.values() if not stay else ():
            store.close()
