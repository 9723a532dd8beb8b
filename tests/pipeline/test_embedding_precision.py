"""A run whose covers are embedded in 8-bit integers: the encoder stays, its vectors are near."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray
from small import Small

from mmgenre.disk.store import FeatureStore, fingerprint_of
from mmgenre.errors import MmgenreError
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.image import quantised
from mmgenre.image.encoder import ImageEncoder
from mmgenre.image.quantised import calibrated
from mmgenre.items.manifest import MODALITIES
from mmgenre.learning.examples import Source
from mmgenre.pipeline import extract_features, fuse
from mmgenre.pipeline.run import open_run

INT8 = "image.embedding_precision=int8"


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*args: object, **kwargs: object) -> NoReturn:
        raise AssertionError("an encoder was trained again")

    monkeypatch.setattr("mmgenre.reading.network.fit", busy)


def covers(run: Path) -> NDArray[np.float32]:
    with FeatureStore(run / "embeddings.h5", "image") as store:
        return np.stack([store.read(i) for i in store.ids])


@pytest.mark.usefixtures("no_training")
def test_int8_embeds_again_without_training(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = small.copy(tmp_path / "run")
    seen: list[str] = []

    def watched(encoder: ImageEncoder, source: Source, train_ids: Sequence[str]) -> ImageEncoder:
        seen.extend(train_ids)
        return calibrated(encoder, source, train_ids)

    monkeypatch.setattr("mmgenre.pipeline.features.calibrated", watched)
    extract_features(run=run, settings=[INT8])
    manifest = open_run(run).manifest
    assert tuple(seen) == manifest.ids("train", having=["image"])
    exact, rounded = covers(small.run), covers(run)
    norms = np.linalg.norm(exact, axis=1) * np.linalg.norm(rounded, axis=1)
    assert (exact != rounded).any()
    # A run checks the mean. An epoch on 32 px teaches little, and single covers are farther off.
    cosines = (exact * rounded).sum(axis=1) / norms
    assert cosines.mean() > 0.98
    assert cosines.min() > 0.9
    changed = {
        m
        for m in MODALITIES
        if fingerprint_of(run / "embeddings.h5", m)
        != fingerprint_of(small.run / "embeddings.h5", m)
    }
    assert changed == {"image"}
    extract_features(run=run)  # nothing to do
    np.testing.assert_array_equal(covers(run), rounded)
    extract_features(run=run, settings=["image.embedding_precision=float32"])
    np.testing.assert_array_equal(covers(run), exact)


def test_a_tagger_of_such_a_run_answers_nearly_the_same(small: Small, tmp_path: Path) -> None:
    run = small.copy(tmp_path / "run")
    extract_features(run=run, settings=[INT8])
    # The head learned on int8 embeddings; the tagger makes float32 ones.
    fuse(("image",), run=run, seeds=1)
    tagger = GenreTagger.from_pretrained(run, "multi-logistic-i")
    manifest = open_run(run).manifest
    found, _ = tagger.predict_manifest(manifest, workers=1)
    vectors = {"image": dict(zip(manifest.ids(having=["image"]), covers(run), strict=True))}
    table = tagger._table(manifest.ids(having=["image"]), dict(vectors))
    rounded = {p.id: p.genres[0].name for p in tagger._rank(table)}
    same = [rounded[p.id] == p.genres[0].name for p in found]
    assert len(same) > 20
    assert np.mean(same) > 0.9


@pytest.mark.usefixtures("no_training")
def test_what_cannot_be_is_said_before_anything_is_done(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantised, "ENGINE", "abacus")
    with pytest.raises(MmgenreError, match="no abacus integer kernels"):
        extract_features(small.manifest, run=tmp_path / "run", recipe="quick", settings=[INT8])
    assert not (tmp_path / "run" / "inputs").exists()
