"""What the words of test items' texts add to the score of their likeliest genre.

The run's own encoders judge the texts again, as the run has read them; nothing is read from media.
"""

from __future__ import annotations

from collections.abc import Sequence

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
from mmgenre.pipeline.run import Run
from mmgenre.progress import silent


def with_words(
    run: Run, judged: Judged, table: FeatureTable, predictions: Sequence[Prediction]
) -> list[Prediction]:
    """The predictions of the items of a table, their reasons with words.

    Raises MmgenreError if an encoder or the texts that it has read are not there, or a frozen model
    would have to read them again.
    """
    views = [
        view
        for modality in judged.whole.modalities
        if MODALITIES[modality].medium == "text"
        for view in run.views(modality)
        if view.name in table.x
    ]
    if by_model := [v.name for v in views if kind_of(v.modality).embed(v.reads) is not None]:
        raise MmgenreError(
            f"{', '.join(by_model)}: a frozen model would have to read the texts again; of one "
            "item: mmgenre predict --explain"
        )
    encoders = {
        view.name: load_encoder(
            run.encoder(view.name), view.modality, kind_of(view.modality), run.names
        )[0]
        for view in views
    }
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

    own: dict[str, dict[str, Vector]] = {
        name: {i: rows[k] for k, i in enumerate(table.ids) if table.present[name][k]}
        for name, rows in table.x.items()
    }
    reads, names = {view.name: view.reads for view in views}, judged.whole.model.labels.names
    inputs = {view.name: run.inputs(view.input_name) for view in views}
    judge = Judge(reads, vectors_of, scores, names)
    return with_pieces(predictions, run.manifest, judge, inputs, own)
