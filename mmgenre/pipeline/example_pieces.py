"""What words, seconds and places of a cover add to the score of a test item's likeliest genre.

The run's own encoders judge the items again, as the run has read them; no media are opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.store import FeatureStore
from mmgenre.errors import MmgenreError
from mmgenre.fusion.embedded import embedded
from mmgenre.fusion.pieces import Judge, Vector, Vectors, with_pieces
from mmgenre.fusion.prediction import Prediction
from mmgenre.fusion.ranking import worth_of
from mmgenre.fusion.table import FeatureTable
from mmgenre.items.modalities import MODALITIES
from mmgenre.kinds import kind_of
from mmgenre.learning.encoder import load_encoder
from mmgenre.pipeline.judged import Judged
from mmgenre.pipeline.recipe import View
from mmgenre.pipeline.run import Run
from mmgenre.progress import silent


def with_own_pieces(
    run: Run, judged: Judged, table: FeatureTable, predictions: Sequence[Prediction]
) -> tuple[list[Prediction], list[str]]:
    """The predictions of the items of a table, their reasons with pieces; what cannot be said.

    Nothing is said of a modality of which an encoder, or what it has read, is not there, or a
    frozen model would have to read again.
    """
    encoders: dict[str, Any] = {}
    views, unsaid = [], []
    for modality in judged.whole.modalities:
        if modality not in MODALITIES:
            continue
        own = [view for view in run.views(modality) if view.name in table.x]
        try:
            encoders |= {view.name: _encoder_of(run, view) for view in own}
            views += own
        except MmgenreError as error:
            unsaid.append(f"{modality}: {error}")
    worth = worth_of(judged.whole.model, judged.trust)

    def vectors_of(view: str, store: FeatureStore) -> dict[str, Vector]:
        return embedded(view, encoders[view], store, silent).vectors[view]

    def scores(ids: tuple[str, ...], vectors: Vectors) -> NDArray[np.float64]:
        x, present = {}, {}
        for name, width in table.widths.items():
            absent = np.zeros(width, np.float32)
            x[name] = np.array([vectors[name].get(i, absent) for i in ids], np.float32)
            present[name] = np.asarray(x[name].any(axis=1))
        return worth(FeatureTable(ids, x, present))

    vectors: dict[str, dict[str, Vector]] = {
        name: {i: rows[k] for k, i in enumerate(table.ids) if table.present[name][k]}
        for name, rows in table.x.items()
    }
    reads, names = {view.name: view.reads for view in views}, judged.whole.model.labels.names
    inputs = {view.name: run.inputs(view.input_name) for view in views}
    judge = Judge(reads, vectors_of, scores, names)
    return with_pieces(predictions, run.manifest, judge, inputs, vectors), unsaid


def _encoder_of(run: Run, view: View) -> Any:
    kind, path = kind_of(view.modality), run.inputs(view.input_name)
    if kind.embed(view.reads) is not None:
        raise MmgenreError(
            f"the frozen model of {view.name} would have to read it again; of one item: "
            "mmgenre predict --explain"
        )
    with FeatureStore(path, view.modality):  # an error now if it is not there
        return load_encoder(run.encoder(view.name), view.modality, kind, run.names)[0]
