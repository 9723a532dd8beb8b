"""Cross-fitted encoders and solved heads in a run: what heads learn from has not seen its items."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from small import SIZES, Small

from mmgenre.disk.bundle import read_bundle
from mmgenre.disk.store import FeatureStore
from mmgenre.fusion.ensemble import KIND, SolvedFusion
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.items.manifest import Manifest
from mmgenre.kinds import kind_of
from mmgenre.learning.embedding import embed
from mmgenre.learning.encoder import load_encoder, load_task_head
from mmgenre.measuring.results import FusionResult
from mmgenre.pipeline.commands import extract_features, fuse
from mmgenre.pipeline.notes import fusion_notes
from mmgenre.pipeline.run import Run, open_run
from mmgenre.pipeline.scores import PRESENT, read_scores

NAME = "multi-logistic-a+t"
N_FOLDS = 2
# A trained view, and two that need no training.
SETTINGS = (*SIZES, "audio.encoders=['statistics']", f"fusion.cross_fit={N_FOLDS}")
ROWS = ["A", "T.vsm", "T.linear", "T", "A+T concatenated", "A+T"]


@pytest.fixture(scope="module")
def made(small: Small, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, FusionResult]:
    folder = tmp_path_factory.mktemp("solved") / "run"
    small.copy(folder / "inputs", only="inputs")
    modalities = ("audio", "text")
    extract_features(
        small.manifest, run=folder, modalities=modalities, recipe="quick", settings=SETTINGS
    )
    result = fuse(modalities, run=folder)
    return open_run(folder), result


def copied(run: Run, folder: Path) -> Path:
    return Small(Path(), run.folder, {}).copy(folder)  # type: ignore[typeddict-item]


def busy(*args: object, **kwargs: object) -> NoReturn:
    raise AssertionError("work was done again")


def test_an_item_s_outputs_are_of_the_encoder_that_has_not_seen_it(
    made: tuple[Run, FusionResult],
) -> None:
    run, _ = made
    folds = run.folds(N_FOLDS)
    train = run.manifest.ids("train", having=["text"])
    with FeatureStore(run.folder / "crossfit.h5", "text") as store:
        assert set(store.ids) == set(train)
        crossfitted = {item_id: store.read(item_id) for item_id in store.ids}
    by_encoder = {}
    with FeatureStore(run.folder / "inputs" / "text.h5", "text") as store:
        for name in ("text", *(f"text.without-{k}" for k in range(N_FOLDS))):
            folder = run.folder / "encoders" / name
            network, _ = load_encoder(folder, "text", kind_of("text"))
            vectors = embed(network, network.source(store), train)
            by_encoder[name] = load_task_head(folder, "text").outputs(vectors)
    for k, item_id in enumerate(train):
        found = {name: outputs[k] for name, outputs in by_encoder.items()}
        own = found.pop(f"text.without-{folds.of[item_id]}")
        np.testing.assert_allclose(crossfitted[item_id], own, atol=1e-5)
        for seen in found.values():
            assert not np.allclose(crossfitted[item_id], seen, atol=1e-3)


def test_each_encoder_learned_from_the_other_folds(made: tuple[Run, FusionResult]) -> None:
    run, _ = made
    folds = run.folds(N_FOLDS)
    having = set(run.manifest.ids("train", having=["text"]))
    for k in range(N_FOLDS):
        folder = run.folder / "encoders" / f"text.without-{k}"
        curve = json.loads((folder / "curve.json").read_text(encoding="utf-8"))
        assert curve["n_train"] == len(having & set(folds.without(k))) < len(having)
    assert folds.count == N_FOLDS


def test_the_fusion_is_among_the_run_s_figures(made: tuple[Run, FusionResult]) -> None:
    run, _ = made
    found = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))
    assert [fusion["name"] for fusion in found["fusions"]] == [NAME]


def test_only_what_is_trained_is_cross_fitted(made: tuple[Run, FusionResult]) -> None:
    run, _ = made
    assert sorted(p.name for p in (run.folder / "encoders").iterdir() if p.is_dir()) == [
        "audio", "text", "text.linear", "text.without-0", "text.without-1",
    ]  # fmt: skip
    with FeatureStore(run.folder / "crossfit.h5", "text") as store:
        assert store.row_shape == (len(run.labels()),)


def test_rows_of_subsets_and_views_and_the_published_way_beside(
    made: tuple[Run, FusionResult],
) -> None:
    run, result = made
    assert [row["name"] for row in result["rows"]] == ROWS
    assert result["seeds"] == [0]  # nothing is drawn
    for row in result["rows"]:
        choice = row["choice"]
        assert choice is not None
        joined = row["name"].endswith("concatenated")
        keys = list(choice["weights"])
        assert keys == ["&".join(sorted(row["inputs"]))] if joined else len(keys) >= 1
        assert all(weight >= 0 for weight in choice["weights"].values())
    notes = fusion_notes(result, "logistic", run.folder)
    assert any(note.startswith("A+T: joined by ") for note in notes)


def test_commands_in_notes_name_the_run(made: tuple[Run, FusionResult]) -> None:
    _, result = made
    few: FusionResult = {**result, "too_small": "1 test artist", "head": "cosine"}
    tested, trained = fusion_notes(few, "logistic", Path("my runs/a"))[:2]
    assert tested.endswith(": mmgenre fuse --run 'my runs/a' --cv 5")
    assert trained.endswith(": mmgenre extract-features --run 'my runs/a' --set target.name=cosine")


@pytest.mark.parametrize("split", ["val", "test"])
def test_items_that_lack_a_modality_have_the_scores_of_the_others_row(
    made: tuple[Run, FusionResult], split: str
) -> None:
    run, _ = made
    scores = read_scores(run.folder / "fusion" / NAME, split)  # type: ignore[arg-type]
    assert scores.ids == run.manifest.ids(split)  # type: ignore[arg-type]
    assert np.isfinite(scores.values).all()
    there = dict(zip(scores.about["inputs"], (scores.given == PRESENT).T, strict=True))
    values = dict(zip(ROWS, scores.values[:, :, 0].transpose(1, 0, 2), strict=True))
    no_text, no_audio = ~there["text"] & there["audio"], ~there["audio"] & there["text"]
    assert no_text.any() or no_audio.any()
    np.testing.assert_array_equal(values["A+T"][no_text], values["A"][no_text])
    np.testing.assert_array_equal(values["A+T"][no_audio], values["T"][no_audio])
    nothing = values["A"][~there["audio"]]
    np.testing.assert_array_equal(nothing, nothing[:1].repeat(len(nothing), axis=0))  # the prior


def test_predictions_are_the_measured_scores(made: tuple[Run, FusionResult], small: Small) -> None:
    run, _ = made
    ids = set(run.manifest.ids("test"))
    held_out = Manifest([i for i in Manifest.read(small.manifest) if i.id in ids])
    having = [i for i in held_out if {"audio", "text"} & i.media.keys()]
    tagger = replace(GenreTagger.from_pretrained(run.folder), trust=None)  # scores as they are
    assert isinstance(tagger.fusion, SolvedFusion)
    predictions, refused = tagger.predict_manifest(Manifest(having))
    assert refused == []
    measured = read_scores(run.folder / "fusion" / NAME).of("A+T", 0, [i.id for i in having])
    for prediction, expected in zip(predictions, measured, strict=True):
        by_name = {g.name: g.score for g in prediction.genres}
        found = [by_name[name] for name in tagger.fusion.labels.names]
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_second_call_makes_nothing(
    made: tuple[Run, FusionResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, result = made
    folder = copied(run, tmp_path / "run")
    for home in ("learn._make_encoder", "read.extract_inputs", "heads.make_fusion"):
        monkeypatch.setattr(f"mmgenre.pipeline.{home}", busy)
    assert fuse(("audio", "text"), run=folder) == json.loads(json.dumps(result))


@pytest.mark.slow
def test_refitted_the_model_differs_and_the_figures_do_not(
    made: tuple[Run, FusionResult], tmp_path: Path
) -> None:
    run, result = made
    folder = copied(run, tmp_path / "run")
    again = fuse(("audio", "text"), run=folder, settings=["fusion.refit=true"])
    for one, other in zip(result["rows"], again["rows"], strict=True):
        assert one["all"]["summary"] == other["all"]["summary"]
    models = [
        read_bundle(folder / "fusion" / name / "model", KIND).weights
        for name in (NAME, again["name"])
    ]
    assert models[0].keys() == models[1].keys()
    assert any(not np.array_equal(models[0][k].numpy(), models[1][k].numpy()) for k in models[0])


def test_without_cross_fitting_no_encoder_is_trained_again(
    made: tuple[Run, FusionResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = made
    folder = copied(run, tmp_path / "run")
    monkeypatch.setattr("mmgenre.pipeline.learn._make_encoder", busy)
    (folder / "crossfit.h5").unlink()
    found = fuse(("text",), run=folder, settings=["fusion.cross_fit=0"])
    assert [row["name"] for row in found["rows"]] == ROWS[1:4]
    assert not (folder / "crossfit.h5").exists()
