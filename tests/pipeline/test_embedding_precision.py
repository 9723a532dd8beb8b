"""The precision in which a run embeds its covers: the encoder stays, only the vectors change."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray
from small import Small

from mmgenre.disk.records import write_record
from mmgenre.disk.store import FeatureStore, fingerprint_of
from mmgenre.errors import MmgenreError, RecipeError
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.items.modalities import MODALITIES
from mmgenre.pipeline.commands import extract_features, fuse
from mmgenre.pipeline.embed_parts import rounded
from mmgenre.pipeline.recipe import load_recipe
from mmgenre.pipeline.run import open_run
from mmgenre.pipeline.scores import read_scores

PRECISION = "image.embedding_precision"
REFUSAL = "int8 was removed in this version; use float32 or bfloat16: --set image.embedding_prec"


def fail(*args: object, **kwargs: object) -> NoReturn:
    raise AssertionError("an encoder was trained again")


def covers(run: Path) -> NDArray[np.float32]:
    with FeatureStore(run / "embeddings.h5", "image") as store:
        return np.stack([store.read(i) for i in store.ids])


def test_another_precision_embeds_again_without_training(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmgenre.learning.encoder.fit", fail)
    run = small.copy(tmp_path / "run")
    extract_features(run=run, settings=[f"{PRECISION}=bfloat16"])
    exact, rounded = covers(small.run), covers(run)
    norms = np.linalg.norm(exact, axis=1) * np.linalg.norm(rounded, axis=1)
    assert (exact != rounded).any()
    # Processors without bfloat16 arithmetic round sums, too: .9987 there, above .999 on others.
    assert ((exact * rounded).sum(axis=1) / norms).min() > 0.995
    changed = {
        m
        for m in MODALITIES
        if fingerprint_of(run / "embeddings.h5", m)
        != fingerprint_of(small.run / "embeddings.h5", m)
    }
    assert changed == {"image"}
    extract_features(run=run)  # nothing to do
    np.testing.assert_array_equal(covers(run), rounded)
    extract_features(run=run, settings=[f"{PRECISION}=float32"])
    np.testing.assert_array_equal(covers(run), exact)


def test_half_of_the_room_costs_nothing(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = small.copy(tmp_path / "run")
    with monkeypatch.context() as context:
        context.setattr("mmgenre.learning.encoder.fit", fail)
        extract_features(run=run, settings=["image.embedding_dtype=float16"])
    exact, halved = covers(small.run), covers(run)
    assert halved.dtype == np.float16
    np.testing.assert_array_equal(halved, exact.astype(np.float16))
    name = fuse(("text", "image"), run=run)["name"]
    everything = open_run(run).manifest
    test = everything.only(everything.ids("test", having=("text", "image")))
    tagger = replace(GenreTagger.from_pretrained(run, name), trust=None)
    measured = read_scores(run / "fusion" / name).of("T+I", 0, test.ids())
    found, _ = tagger.predict_manifest(test, workers=1)
    for prediction, row in zip(found, measured, strict=True):
        own = {genre.name: genre.score for genre in prediction.genres}
        assert [own[genre] for genre in tagger.genres] == pytest.approx(row, abs=2e-3)


def test_what_is_too_large_for_half_precision_is_said() -> None:
    rows = np.array([[1, -1e5]], np.float32)
    with pytest.raises(MmgenreError, match=r"up to 65 504, and a vector has 100,000; --set image"):
        rounded(rows, "float16", "image")
    np.testing.assert_array_equal(rounded(rows, "float32", "image"), rows)


def test_int8_of_older_versions_is_refused_in_recipes_and_runs(
    small: Small, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=REFUSAL):
        load_recipe("quick", [f"{PRECISION}=int8"])
    recipe = tmp_path / "old.toml"
    recipe.write_text('base = "quick"\n[image]\nembedding_precision = "int8"\n', encoding="utf-8")
    with pytest.raises(RecipeError, match=REFUSAL):
        load_recipe(str(recipe))
    run = small.copy(tmp_path / "run")
    state = json.loads((run / "run.json").read_text(encoding="utf-8"))
    state["recipe"]["image"]["embedding_precision"] = "int8"
    write_record(run / "run.json", state)
    with pytest.raises(RecipeError, match=rf"run\.json.*\n?.*{REFUSAL}"):
        open_run(run)
    # As the refusal says, the setting repairs the run; what it has made is kept.
    extract_features(run=run, settings=[f"{PRECISION}=float32"])
    assert open_run(run).recipe.of("image").embedding_precision == "float32"
    np.testing.assert_array_equal(covers(run), covers(small.run))
