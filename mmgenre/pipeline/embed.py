"""Input stores through encoders -> one vector per item and view."""

from __future__ import annotations

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, write_store
from mmgenre.kinds import kind_of
from mmgenre.pipeline.artefact import Artefact, in_store, rows_of
from mmgenre.pipeline.recipe import View
from mmgenre.pipeline.run import Run
from mmgenre.progress import Progress

EMBED_VERSION = 1  # rises when the code of the step changes what it writes


def embeddings_of(run: Run, view: View, inputs: Artefact, encoder: Artefact) -> Artefact:
    """A vector for every item that has the modality: for audio the mean over its tracks."""
    precision = getattr(run.recipe.of(view.modality), "embedding_precision", "float32")
    parameters = {"modality": view.modality}
    if precision != "float32":
        parameters["precision"] = precision
    parents = {"inputs": inputs.fingerprint, "encoder": encoder.fingerprint}
    provenance = Provenance("embeddings", EMBED_VERSION, parameters, parents)
    path = run.folder / "embeddings.h5"
    if run.pool is not None:
        path = run.place("embeddings", view.name, f"{provenance.fingerprint}.h5")

    def make(progress: Progress) -> None:
        # Here, since torch takes seconds to import, which a no-op saves.
        from mmgenre.learning.encoder import embed, known_rows, load_encoder, mean_by_item

        kind = kind_of(view.modality)
        network, _ = load_encoder(encoder.path, view.modality, kind, run.names)
        with FeatureStore(inputs.path, view.modality) as store:
            source = network.source(store)
            ids, unknown = known_rows(source, store.ids, view.modality, view.name)
            rows = embed(
                network,
                source,
                ids,
                precision=precision,
                task=f"embedding {view.name}",
                progress=progress,
            )
            blocks = [mean_by_item(ids, rows) if ids else (ids, rows)]
        write_store(path, view.name, blocks, provenance, refused=unknown)

    stored, verify = in_store(path, view.name), rows_of(path, view.name)
    made_from = (inputs, encoder)
    return Artefact("embed", view.name, path, provenance, made_from, stored, make, verify=verify)
