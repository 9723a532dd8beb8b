"""Encoders that have not seen an item -> its outputs, for the heads to learn from.

The vectors and outputs of the items that an encoder learned from are unlike those of all others: it
is surer of them than it should be. Of K encoders, each trained without one fold of the training
items, the one that has not seen an item gives its outputs; prediction uses the encoder of all. The
training items are those that the encoder of all has learned on. One that was added since is in the
fold of its artist.
"""

from __future__ import annotations

from pathlib import Path

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore
from mmgenre.items.splits import extend_folds
from mmgenre.kinds import kind_of
from mmgenre.pipeline.artefact import Artefact, in_store, rows_of
from mmgenre.pipeline.embed import made_by, unchanged, write_items
from mmgenre.pipeline.learn import Fold, encoder_of, learning_run
from mmgenre.pipeline.recipe import View
from mmgenre.pipeline.run import Run
from mmgenre.progress import Progress

CROSSFIT_VERSION = 1  # rises when the code of the step changes what it writes


def crossfit_of(run: Run, view: View, inputs: Artefact, n: int) -> Artefact:
    """The outputs of a view's task for every training item, each by one of n encoders.

    Rows are (target.dim,), the mean over an item's tracks of what the output layer gives.
    """
    learned = learning_run(run, view, inputs)
    folds = learned.folds(n)
    encoders = tuple(
        encoder_of(learned, view, inputs, fold=Fold(folds, k)) for k in range(folds.count)
    )
    parents = {f"encoder.{k}": encoder.fingerprint for k, encoder in enumerate(encoders)}
    parents["inputs"] = inputs.fingerprint
    parameters = {"folds": folds.digest}
    if learned is not run:  # whose further items are in folds, too
        parameters["labels"] = run.manifest.task_digest
    provenance = Provenance("crossfit", CROSSFIT_VERSION, parameters, parents)
    path = crossfit_store(run)
    if run.pool is not None:
        path = run.place("crossfit", view.name, f"{provenance.fingerprint}.h5")

    def make(progress: Progress) -> None:
        # Here, since torch takes seconds to import, which a no-op saves.
        from mmgenre.learning.devices import embedding_device
        from mmgenre.learning.embedding import embed
        from mmgenre.learning.encoder import load_encoder, load_task_head
        from mmgenre.learning.rows import item_of, known_rows, mean_by_item

        kind, blocks = kind_of(view.modality), []
        train = run.manifest.ids("train")
        fold_of = folds.of if learned is run else extend_folds(run.manifest, folds.of, train)
        with FeatureStore(inputs.path, view.modality) as store:
            made_from: dict[str, bytes] = {}
            for k, encoder in enumerate(encoders):
                own = {item_id for item_id in train if fold_of[item_id] == k}
                made_from |= made_by(encoder, {}, store, own)
            taken = unchanged(path, view.name, made_from)
            for k, encoder in enumerate(encoders):
                wanted = {i for i in train if fold_of[i] == k and i not in taken}
                rows = [row for row in store.ids if item_of(row) in wanted]
                if not rows:
                    continue
                network, _ = load_encoder(encoder.path, view.modality, kind, run.names)
                task, source = f"cross-fitting {view.name}", network.source(store)
                rows, _ = known_rows(source, rows, view.modality, view.name)
                if not rows:
                    continue
                device = embedding_device()
                vectors = embed(network, source, rows, device=device, task=task, progress=progress)
                ids, means = mean_by_item(rows, vectors)
                head = load_task_head(encoder.path, view.modality)
                blocks.append((ids, head.outputs(means)))
        write_items(path, view.name, blocks, provenance, taken=taken, made_from=made_from)

    stored, verify = in_store(path, view.name), rows_of(path, view.name)
    name, made_from = crossfit_name(view.name), (inputs, *encoders)
    return Artefact("embed", name, path, provenance, made_from, stored, make, verify=verify)


def crossfit_store(run: Run) -> Path:
    """The store of a run's cross-fitted outputs, a group for each view."""
    return run.folder / "crossfit.h5"


def crossfit_name(view: str) -> str:
    """What the cross-fitted outputs of a view are called in plans."""
    return f"{view} (cross-fitted)"
