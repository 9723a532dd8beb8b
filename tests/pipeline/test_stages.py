"""The way of the data on a small catalogue: what is made again, what is not, and what it sees."""

from __future__ import annotations

import json
import os
import shutil
import wave
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import f1_score, roc_auc_score
from small import NAME, SETTINGS, Small

from mmgenre.disk.bundle import Bundle, read_bundle
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, content_hash, fingerprint_of, group_names, write_store
from mmgenre.errors import BundleError, MmgenreError, RecipeError, WeightsError
from mmgenre.fusion.head import KIND
from mmgenre.fusion.table import FeatureTable
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.items.modalities import MODALITIES, Modality
from mmgenre.measuring import evaluation
from mmgenre.measuring.results import FusionResult, Spread
from mmgenre.pipeline.commands import extract_features, fuse
from mmgenre.pipeline.prepare import prepare_run
from mmgenre.pipeline.run import open_run
from mmgenre.pipeline.scores import read_scores
from mmgenre.pipeline.shards import read_shard
from mmgenre.pipeline.tables import hidden_by_columns
from mmgenre.pipeline.times import LOG
from mmgenre.reading.extraction import Shard

OTHER_SEED = 1  # draws other splits of the small catalogue than 0, the shared run's
FITS = [f"mmgenre.{home}.fit" for home in ("learning.encoder", "fusion.head", "fusion.joint")]


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, whoever trains or reads media fails."""

    def busy(*args: object, **kwargs: object) -> NoReturn:
        raise AssertionError("work was done again")

    for fit in FITS:
        monkeypatch.setattr(fit, busy)
    monkeypatch.setattr("mmgenre.reading.extraction.read_parts", busy)


def times(run: Path) -> dict[str, int]:
    """When each artefact was written; run.json and others often are."""
    always = {"run.json", "manifest.csv", "metrics.json", LOG}
    files = [p for p in run.rglob("*") if p.is_file()]
    return {
        str(p.relative_to(run)): p.stat().st_mtime_ns
        for p in files
        if (p.parent != run or p.name not in always)
        and p.parent.name != ".locks"
        and p.suffix != ".checked"
    }


def fingerprints(run: Path) -> dict[str, str | None]:
    return {m: fingerprint_of(run / "embeddings.h5", m) for m in MODALITIES}


def checksum(run: Path, modality: str) -> str:
    with FeatureStore(run / "embeddings.h5", modality) as store:
        return store.sha256


def rows_of(path: Path, group: str) -> dict[str, NDArray[Any]]:
    with FeatureStore(path, group) as store:
        return {i: store.read(i) for i in store.ids}


def encoder(run: Path, modality: str) -> Bundle:
    return read_bundle(run / "encoders" / modality, f"{modality} encoder")


def head(run: Path, name: str) -> Bundle:
    return read_bundle(run / "fusion" / name / "model", KIND)


# What is made


def test_embeddings_are_of_every_item_that_has_the_modality(small: Small) -> None:
    manifest = open_run(small.run).manifest
    for modality in MODALITIES:
        with FeatureStore(small.run / "embeddings.h5", modality) as store:
            assert store.ids == manifest.ids(having=[modality])
            assert store.row_shape == (24,)
            assert store.dtype == np.float32
        assert len(store) < len(manifest)  # else nothing here tests a missing modality


def test_two_tracks_are_one_embedding(small: Small) -> None:
    manifest = open_run(small.run).manifest
    n_tracks = sum(len(i.media.get("audio", ())) for i in manifest)
    with FeatureStore(small.run / "inputs" / "audio.h5", "audio") as store:
        assert len(store) == n_tracks > len(manifest.ids(having=["audio"]))


def test_the_table_has_a_row_for_every_subset(small: Small) -> None:
    names = ["+".join(s) for k in (1, 2, 3) for s in combinations("ATI", k)]
    assert [row["name"] for row in small.result["rows"]] == names
    assert small.result["rows"][3]["inputs"] == ["audio", "text"]
    assert small.result["seeds"] == [0, 1]
    scores = read_scores(small.run / "fusion" / NAME)
    assert [row["name"] for row in scores.about["rows"]] == names
    assert scores.about["seeds"] == [0, 1]


def test_scores_are_of_the_test_items_whatever_they_lack(small: Small) -> None:
    manifest = open_run(small.run).manifest
    scores = read_scores(small.run / "fusion" / NAME)
    assert scores.ids == manifest.ids("test")
    assert scores.values.shape == (len(scores.ids), 7, 2, len(small.result["labels"]))


def test_items_without_input_are_counted_and_predicted(small: Small) -> None:
    manifest = open_run(small.run).manifest
    test = manifest.ids("test")
    complete = manifest.ids("test", having=MODALITIES)
    assert 0 < len(complete) < len(test)
    for row in small.result["rows"]:
        having = {i for m in row["inputs"] for i in manifest.ids("test", having=[m])}
        assert row["all"]["n_items"] == len(test)
        assert row["all"]["n_without_input"] == len(test) - len(having)
        assert row["complete"] is not None
        assert row["complete"]["n_items"] == len(complete)
        assert row["complete"]["n_without_input"] == 0
    lacking = [row["all"]["n_without_input"] for row in small.result["rows"]]
    assert any(lacking), "the catalogue's test items all have everything: nothing was tested"


def truth(run: Path, result: FusionResult, items: tuple[str, ...]) -> NDArray[np.bool_]:
    """Written from the manifest alone: a label counts for all above it."""
    manifest = Manifest.read(run / "manifest.csv")

    def has(item_id: str, name: str) -> bool:
        labels = manifest[item_id].labels
        if result["exclusive"]:
            return labels[0].split("/")[0] == name
        return any(label == name or label.startswith(f"{name}/") for label in labels)

    return np.array([[has(i, name) for name in result["labels"]] for i in items])


def test_metrics_are_those_of_the_scores(small: Small) -> None:
    saved = json.loads((small.run / "metrics.json").read_text(encoding="utf-8"))
    [result] = saved["fusions"]
    assert result == json.loads(json.dumps(small.result))
    scores = read_scores(small.run / "fusion" / NAME)
    manifest = Manifest.read(small.run / "manifest.csv")
    for part, ids in {
        "all": manifest.ids("test"),
        "complete": manifest.ids("test", having=MODALITIES),
    }.items():
        y = truth(small.run, result, ids)
        usable = np.asarray(y.any(axis=0) & ~y.all(axis=0))
        for row in result["rows"]:
            aucs = []
            for seed, found in enumerate(row[part]["per_seed"]):
                s = scores.of(row["name"], seed, ids)
                macro = roc_auc_score(y[:, usable], s[:, usable], average="macro")
                assert found["macro_roc_auc"] == pytest.approx(macro, abs=1e-6)
                present = y.any(axis=0)
                named = s[:, present] >= found["threshold"]
                f1 = f1_score(y[:, present], named, average="macro", zero_division=0)
                assert found["macro_f1"] == pytest.approx(f1, abs=1e-6)
                left_out = [n for n, u in zip(result["labels"], usable, strict=True) if not u]
                assert found["left_out_of_auc"] == left_out
                aucs.append(macro)
            spread = row[part]["summary"]["macro_roc_auc"]
            assert spread["mean"] == pytest.approx(np.mean(aucs), abs=1e-6)
            assert spread["std"] == pytest.approx(np.std(aucs, ddof=1), abs=1e-6)


def test_metrics_json_counts_the_dataset(small: Small) -> None:
    saved = json.loads((small.run / "metrics.json").read_text(encoding="utf-8"))["dataset"]
    manifest = Manifest.read(small.run / "manifest.csv")
    assert saved["n_items"] == 32
    assert saved["splits"] == {s: len(manifest.ids(s)) for s in ("train", "val", "test")}
    assert sum(saved["modalities"]["image"].values()) == len(manifest.ids(having=["image"]))
    assert not saved["synthetic"]
    tops = sum(v for k, v in saved["label_counts"].items() if "/" not in k)
    assert tops >= 32
    assert saved["refused"] == []


# What is made again


def test_a_second_call_does_nothing(small: Small, tmp_path: Path, idle: None) -> None:
    run = small.copy(tmp_path / "run")
    before = times(run)
    extract_features(run=run)
    assert fuse(run=run, seeds=2) == json.loads(json.dumps(small.result))
    assert times(run) == before
    # Nor does one that says again what the run already knows.
    extract_features(small.manifest, run=run, settings=SETTINGS)
    assert times(run) == before


def test_a_setting_of_text_leaves_audio_and_image(small: Small, tmp_path: Path) -> None:
    run, text = small.copy(tmp_path / "run"), "Heavy riffs, loud amplifiers."
    before, prints, files = fingerprints(run), encoder(run, "text").fingerprint, times(run)
    predicted = GenreTagger.from_pretrained(run).predict(text=text)
    extract_features(run=run, settings=["text.hidden_dim=40"])
    after = fingerprints(run)
    assert after["text"] != before["text"]
    assert (after["audio"], after["image"]) == (before["audio"], before["image"])
    assert encoder(run, "text").fingerprint != prints
    changed = {name for name, time in times(run).items() if files.get(name) != time}
    assert {name.split("/")[0] for name in changed} == {"encoders", "embeddings.h5"}
    assert {name.split("/")[1] for name in changed if "/" in name} == {"text"}
    # The old table is not of these embeddings, and is not shown any more. Its model goes on.
    assert GenreTagger.from_pretrained(run).predict(text=text) == predicted
    fuse(("text",), run=run, seeds=1)
    saved = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert [f["name"] for f in saved["fusions"]] == ["multi-logistic-t"]


def test_a_setting_of_the_input_reads_that_modality_again(small: Small, tmp_path: Path) -> None:
    run = small.copy(tmp_path / "run")
    before = fingerprints(run)
    extract_features(run=run, settings=["text.input.max_characters=60"])
    after = fingerprints(run)
    assert [m for m in MODALITIES if after[m] != before[m]] == ["text"]
    longest = max(len(row) for row in rows_of(run / "inputs" / "text.h5", "text").values())
    assert 30 < longest <= 60 * 2  # bytes


def test_a_changed_file_is_read_again(small: Small, tmp_path: Path) -> None:
    review = tmp_path / "review.txt"
    review.write_text("A quiet record.", encoding="utf-8")
    own = [
        replace(item, media={"text": (review,)}) if k == 0 else item
        for k, item in enumerate(i for i in open_run(small.run).manifest if "text" in i.media)
    ]
    manifest = Manifest(own).write(tmp_path / "m.csv")
    run = tmp_path / "run"

    def first_text() -> str:
        extract_features(manifest, run=run, modalities=("text",), recipe="quick", settings=SETTINGS)
        return rows_of(run / "inputs" / "text.h5", "text")[own[0].id].tobytes().decode()

    assert first_text() == "A quiet record."
    review.write_text("A loud record!!", encoding="utf-8")  # as long as before
    os.utime(review, ns=(1, 1))
    assert first_text() == "A loud record!!"


def test_some_modalities_and_then_the_rest(small: Small, tmp_path: Path) -> None:
    run = tmp_path / "run"
    small.copy(run / "inputs", only="inputs")
    first = extract_features(
        small.manifest, run=run, modalities=("text",), recipe="quick", settings=SETTINGS
    )
    assert list(first.counts) == ["text"]
    assert group_names(run / "embeddings.h5") == ("text",)
    text = fingerprints(run)["text"]
    second = extract_features(run=run, modalities=("audio", "text"))
    assert list(second.counts) == ["audio", "text"]
    assert fingerprints(run)["text"] == text
    # The same as those of the run that made all three at once.
    for modality in ("audio", "text"):
        assert checksum(run, modality) == checksum(small.run, modality)


def test_fuse_extracts_what_is_lacking(small: Small, tmp_path: Path) -> None:
    run = tmp_path / "run"
    extract_features(
        small.manifest, run=run, modalities=("text",), recipe="quick", settings=SETTINGS
    )
    (run / "embeddings.h5").unlink()
    result = fuse(("text",), run=run, seeds=1)
    assert [row["name"] for row in result["rows"]] == ["T"]
    assert checksum(run, "text") == checksum(small.run, "text")


def test_fuse_never_mixes_embeddings_of_two_splits(small: Small, tmp_path: Path) -> None:
    """Encoders trained on what is now the test split would flatter every figure."""
    run = small.copy(tmp_path / "run")
    before = fingerprints(run)
    old = open_run(run).manifest
    extract_features(run=run, modalities=("text",), settings=[f"seed={OTHER_SEED}"])
    new = open_run(run).manifest
    assert old.ids("test") != new.ids("test"), "the seed drew the same splits: take another"
    assert fingerprints(run)["audio"] == before["audio"]
    fuse(("audio", "text"), run=run, seeds=1)
    assert fingerprints(run)["audio"] != before["audio"]
    # Image was not asked for, and no table of the old splits is shown beside the new one.
    assert fingerprints(run)["image"] == before["image"]
    saved = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert [f["name"] for f in saved["fusions"]] == ["multi-logistic-a+t"]


def test_fusions_of_several_kinds_stand_side_by_side(small: Small, tmp_path: Path) -> None:
    run = small.copy(tmp_path / "run")
    single = fuse(("text", "image"), run=run, seeds=1, task="single")
    cosine = fuse(("image", "text"), run=run, seeds=1, head="cosine")
    assert (single["name"], cosine["name"]) == ("single-logistic-t+i", "multi-cosine-t+i")
    saved = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert [f["name"] for f in saved["fusions"]] == [
        "multi-cosine-t+i",
        NAME,
        "single-logistic-t+i",
    ]


def test_a_fusion_that_differs_in_any_setting_has_a_folder_of_its_own(
    small: Small, tmp_path: Path
) -> None:
    run = small.copy(tmp_path / "run")
    two = fuse(("text",), run=run, seeds=2)
    before = times(run)
    changes: list[dict[str, Any]] = [
        {"seeds": 1},
        {"seeds": 2, "settings": ["fusion.dropout=0.5"]},
        {"seeds": 1, "settings": ["fusion.dropout=0.5"]},
        {"seeds": 2, "settings": ["fusion.training.max_epochs=2"]},
    ]
    others = [fuse(("text",), run=run, **change) for change in changes]
    assert [found["name"] for found in (two, *others)] == [
        "multi-logistic-t",
        "multi-logistic-t-seeds=1",
        "multi-logistic-t-dropout=0.5",
        "multi-logistic-t-dropout=0.5-seeds=1",
        "multi-logistic-t-training.max_epochs=2",
    ]
    assert {name: time for name, time in times(run).items() if name in before} == before
    # Asked for again, each is found, whatever came in between.
    after = times(run)
    assert fuse(("text",), run=run, seeds=2) == two
    assert [fuse(("text",), run=run, **change) for change in changes] == others
    assert times(run) == after
    saved = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert {f["name"] for f in saved["fusions"]} == {NAME, *(f["name"] for f in (two, *others))}


def test_a_new_metric_needs_no_training(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, idle: None
) -> None:
    run = small.copy(tmp_path / "run")
    measure_as_before = evaluation.measure

    def with_one_more(*args: Any, **kwargs: Any) -> Any:
        found = measure_as_before(*args, **kwargs)
        new: Spread = {"mean": 0.5, "std": 0.0}
        summary = {**found.result["summary"], "new": new}
        return replace(found, result={**found.result, "summary": summary})

    monkeypatch.setattr(evaluation, "measure", with_one_more)
    monkeypatch.setattr("mmgenre.pipeline.measure.code_of_figures", lambda: "of the new metric")
    result = fuse(run=run, seeds=2)
    assert result["rows"][0]["all"]["summary"]["new"]["mean"] == 0.5
    saved = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert saved["fusions"] == [result]


def test_a_killed_fusion_is_not_taken_for_the_older_one(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = small.copy(tmp_path / "run")
    one = fuse(("text",), run=run, seeds=1)

    def killed(*args: object) -> NoReturn:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mmgenre.fusion.head.FusionModel.save", killed)
        with pytest.raises(KeyboardInterrupt):
            fuse(("text",), run=run, seeds=1, settings=["fusion.training.max_epochs=1"])
    assert fuse(("text",), run=run, seeds=1) == one


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ({"settings": ["audio.patches=3"]}, RecipeError, "audio: no setting of fusion"),
        ({"settings": ["fusion.haed=cosine"]}, RecipeError, "did you mean head"),
        ({"head": "sine"}, RecipeError, "got 'sine'"),
        ({"task": "both"}, RecipeError, "got 'both'"),
        ({"seeds": 0}, RecipeError, "seeds 0: at least 1"),
    ],
)
def test_fuse_refuses_before_it_works(
    small: Small, idle: None, call: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fuse(run=small.run, **call)


# Encoders from elsewhere


def test_an_encoder_from_elsewhere_is_used_and_copied(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, source = tmp_path / "run", tmp_path / "encoder"
    shutil.copytree(small.run / "encoders" / "text", source)

    def extract() -> None:
        extract_features(
            small.manifest,
            run=run,
            modalities=("text",),
            recipe="quick",
            settings=SETTINGS,
            encoders={"text": source},
        )

    with monkeypatch.context() as patch:
        patch.setattr("mmgenre.learning.encoder.fit", None)
        extract()
        assert checksum(run, "text") == checksum(small.run, "text")
        before = times(run)
        extract()
        assert times(run) == before
    shutil.rmtree(source)
    with monkeypatch.context() as patch:
        patch.setattr("mmgenre.learning.encoder.fit", None)
        fuse(("text",), run=run, seeds=1)  # it does not train one instead
    tagger = GenreTagger.from_pretrained(run)
    assert tagger.predict(text="Heavy riffs, loud amplifiers.").used == ("text",)


@pytest.mark.parametrize(
    ("encoders", "settings", "error", "message"),
    [
        ({"text": "gone"}, (), BundleError, "gone: no such model folder"),
        ({"text": "audio"}, (), BundleError, "holds a 'audio encoder', not a 'text encoder'"),
        ({"image": "image"}, (), MmgenreError, "an encoder of image is given, but .* text only"),
        (
            {"text": "text"},
            ("text.input.max_characters=99",),
            MmgenreError,
            r"max_characters=10000, but this run reads .* max_characters=99.*--set text\.input",
        ),
    ],
)
def test_encoders_that_do_not_fit(
    small: Small,
    tmp_path: Path,
    encoders: dict[Any, str],
    settings: tuple[str, ...],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        extract_features(
            small.manifest,
            run=tmp_path / "run",
            modalities=("text",),
            recipe="quick",
            settings=(*SETTINGS, *settings),
            encoders={m: small.run / "encoders" / name for m, name in encoders.items()},
        )
    assert not (tmp_path / "run" / "inputs").exists()


def test_weights_that_cannot_be_had_show_before_anything_is_read(
    small: Small, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match=r"gone\.pt: no such weights file"):
        extract_features(
            small.manifest,
            run=tmp_path / "run",
            recipe="quick",
            settings=(*SETTINGS, "image.weights=gone.pt"),
        )
    assert not (tmp_path / "run" / "inputs").exists()


# What is fitted sees the training split


def noise(path: Path, seed: int) -> Path:
    samples = np.random.default_rng(seed).integers(-20_000, 20_000, 7 * 22_050).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 22_050, 0, "NONE", ""))
        file.writeframes(samples.tobytes())
    return path


@pytest.fixture(scope="module")
def other(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose validation and test items have other sounds, words and labels."""
    folder = tmp_path_factory.mktemp("other")
    manifest = open_run(small.run).manifest
    every = tuple(sorted({label for item in manifest for label in item.labels}))

    def changed(k: int, item: Item) -> Item:
        if item.split == "train":
            return item
        media: dict[Any, tuple[Path | str, ...]] = {"text": (f"Zyzzyva zyzzyvas number {k}.",)}
        if "audio" in item.media:
            media["audio"] = (noise(folder / f"{k}.wav", k),)
        # All at once: whoever counts labels together or alone counts otherwise.
        return replace(item, labels=every, media=media)

    items = [changed(k, item) for k, item in enumerate(manifest)]
    path = Manifest(items).write(folder / "m.csv")
    extract_features(
        path,
        run=folder / "run",
        modalities=("audio", "text"),
        recipe="quick",
        settings=(*SETTINGS, "audio.training.max_epochs=1", "text.training.max_epochs=1"),
    )
    fuse(("audio", "text"), run=folder / "run", seeds=1, head="cosine")
    return folder / "run"


def test_vocabulary_and_idf_are_of_training_texts(small: Small, other: Path) -> None:
    mine, theirs = (encoder(run, "text").files["vocabulary.json"] for run in (small.run, other))
    assert mine == theirs
    assert len(mine["words"]) > 50
    assert "zyzzyva" not in mine["words"]


def test_the_standardiser_is_of_training_tracks(small: Small, other: Path) -> None:
    mine, theirs = (encoder(run, "audio").weights for run in (small.run, other))
    for name in ("mean", "std"):
        np.testing.assert_array_equal(mine[name].numpy(), theirs[name].numpy())
        assert len(np.unique(mine[name].numpy())) > 50


def test_label_factors_are_of_training_labels(small: Small, other: Path, tmp_path: Path) -> None:
    run = small.copy(tmp_path / "run")
    fuse(("audio", "text"), run=run, seeds=1, head="cosine")
    mine, theirs = (
        head(folder, "multi-cosine-a+t").config["target"]["factors"] for folder in (run, other)
    )
    assert mine == theirs
    assert np.abs(mine).max() > 0.1


def test_nothing_at_all_sees_the_test_split(small: Small, tmp_path: Path) -> None:
    """Other words and labels of test items: the same weights and thresholds to the last bit."""
    manifest = open_run(small.run).manifest
    every = tuple(sorted({label for item in manifest for label in item.labels}))
    items = [
        replace(item, labels=every, media={"text": (f"Zyzzyva number {k}.",)})
        if item.split == "test"
        else item
        for k, item in enumerate(manifest)
    ]
    run, same = tmp_path / "run", small.copy(tmp_path / "same")
    path = Manifest(items).write(tmp_path / "m.csv")
    extract_features(path, run=run, modalities=("text",), recipe="quick", settings=SETTINGS)
    results = [fuse(("text",), run=folder, seeds=1) for folder in (run, same)]
    for mine, theirs in (
        (encoder(run, "text"), encoder(same, "text")),
        (head(run, "multi-logistic-t"), head(same, "multi-logistic-t")),
    ):
        assert mine.weights.keys() == theirs.weights.keys()
        for name, weights in mine.weights.items():
            np.testing.assert_array_equal(weights.numpy(), theirs.weights[name].numpy())
    thresholds = [head(f, "multi-logistic-t").config["threshold"] for f in (run, same)]
    assert thresholds[0] == thresholds[1]
    measured = [r["rows"][0]["all"]["per_seed"][0]["micro_f1"] for r in results]
    assert measured[0] != measured[1]  # the test items did change


# Tasks, heads, joint vectors, missing modalities


@pytest.fixture(scope="module")
def joint_run(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = small.copy(tmp_path_factory.mktemp("joint") / "run")
    fuse(run=run, joint=True, seeds=1)
    fuse(("audio", "text"), run=run, joint=False, seeds=1, task="single")
    return run


def test_joint_vectors_stand_beside_embeddings(joint_run: Path) -> None:
    folder = joint_run / "fusion" / f"{NAME}-with-joint"
    result = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["result"]
    assert len(result["rows"]) == 7
    assert result["rows"][3]["name"] == "A+T+joint.A+joint.T"
    assert result["rows"][6]["inputs"] == [*MODALITIES, *(f"joint.{m}" for m in MODALITIES)]
    assert 1 <= len(result["joint"]["epochs"]) <= 2
    for modality in MODALITIES:
        vectors = rows_of(joint_run / "joint" / "a+t+i.h5", modality)
        assert vectors.keys() == rows_of(joint_run / "embeddings.h5", modality).keys()
        assert {v.shape for v in vectors.values()} == {(16,)}


def test_joint_alone(joint_run: Path, small: Small, tmp_path: Path) -> None:
    run = Small(small.manifest, joint_run, small.result).copy(tmp_path / "run")
    result = fuse(run=run, seeds=1, settings=["fusion.joint=alone"])
    assert result["name"] == f"{NAME}-joint"
    assert result["rows"][6]["inputs"] == [f"joint.{m}" for m in MODALITIES]


def test_a_joint_space_made_anew_leaves_the_older_fusion_its_own(
    joint_run: Path, small: Small, tmp_path: Path
) -> None:
    run = Small(small.manifest, joint_run, small.result).copy(tmp_path / "run")
    name = f"{NAME}-with-joint"
    predicted = GenreTagger.from_pretrained(run, name).predict(text="Heavy riffs.")
    spaces = list((run / "joint").glob("*/sha256.json"))
    fuse(run=run, seeds=1, settings=["fusion.joint=alone", "joint.temperature=0.3"])
    assert list((run / "joint").glob("*/sha256.json")) == spaces  # of the new one alone
    tagger = GenreTagger.from_pretrained(run, name)
    assert tagger.joint is not None
    assert tagger.predict(text="Heavy riffs.") == predicted
    shutil.rmtree(run / "fusion" / name / "model" / "joint")
    with pytest.raises(BundleError, match=r"joint/a\+t\+i: not the one that the fusion"):
        GenreTagger.from_pretrained(run, name)


def test_mm_audio_is_learned_with_covers_and_needs_none_to_predict(
    joint_run: Path, small: Small, tmp_path: Path
) -> None:
    run = Small(small.manifest, joint_run, small.result).copy(tmp_path / "run")
    result = fuse(("audio", "image"), run=run, inputs=["joint.audio"], seeds=1)
    assert result["name"] == "multi-logistic-only-joint.a-of-a+i"
    assert [row["inputs"] for row in result["rows"]] == [["joint.audio"]]
    space = read_bundle(run / "joint" / "a+i", "joint space")
    assert set(space.config["widths"]) == {"audio", "image"}
    tagger = GenreTagger.from_pretrained(run, result["name"])
    assert set(tagger.encoders) == {"audio"}
    manifest = Manifest.read(small.manifest)
    track = manifest[manifest.ids(having=["audio"])[0]].media["audio"][0]
    assert tagger.predict(audio=track).used == ("audio",)
    with pytest.raises(ValueError, match="image: this model reads audio"):
        tagger.predict(image=track)
    # What the run answers with by itself is still the fusion of all its modalities.
    assert set(GenreTagger.from_pretrained(run).encoders) == set(MODALITIES)
    with pytest.raises(RecipeError, match=r"inputs joint.tuba: known here are audio, image, joint"):
        fuse(("audio", "image"), run=run, inputs=["joint.tuba"], seeds=1)


def test_vectors_given_to_a_run_are_inputs_like_the_others(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of any width; a modality's own name stands for that modality, whose media nobody reads."""
    folder = tmp_path / "run"
    ready = prepare_run(folder, manifest=small.manifest, recipe="quick", settings=SETTINGS)
    ids = ready.manifest.ids()
    y = ready.truth(ids).astype(np.float32)
    noise = np.random.default_rng(0).standard_normal((len(ids), 7)).astype(np.float32)
    provenance = Provenance("features", 1, {})
    write_store(ready.features, "clap", [(ids, y)], provenance)
    write_store(ready.features, "text", [(ids[:-3], noise[:-3])], provenance)
    monkeypatch.setattr("mmgenre.pipeline.read.extract_inputs", None)  # nothing to extract
    result = fuse(
        ("text",),
        run=folder,
        seeds=1,
        settings=["fusion.training.max_epochs=60", "fusion.training.learning_rate=0.1"],
    )
    assert [row["name"] for row in result["rows"]] == ["T", "clap", "T+clap"]
    auc = {row["name"]: row["all"]["summary"]["macro_roc_auc"]["mean"] for row in result["rows"]}
    assert auc["clap"] > 0.8 > auc["T"]  # the labels themselves, and noise
    tagger = GenreTagger.from_pretrained(folder)
    assert (tagger.modalities, tagger.given) == ((), {"text": 7, "clap": y.shape[1]})
    with pytest.raises(ValueError, match=r"text: this model reads vectors made elsewhere .text, c"):
        tagger.predict(text="A review.")
    with pytest.raises(MmgenreError, match=r"features.h5: holds vectors for text"):
        extract_features(run=folder, modalities=("text",))


def test_hiding_modalities_of_test_items(joint_run: Path, small: Small, tmp_path: Path) -> None:
    run = Small(small.manifest, joint_run, small.result).copy(tmp_path / "run")
    whole = small.result["rows"][-1]["all"]["n_without_input"]
    result = fuse(run=run, seeds=1, settings=["fusion.missing_share=0.9"])
    row = result["rows"][-1]
    assert row["all"]["n_without_input"] > whole
    assert row["complete"] is None  # of no item is everything known to be there


def test_hiding_a_modality_of_the_test_items_that_a_column_lists(
    joint_run: Path, small: Small, tmp_path: Path
) -> None:
    """The lists of Music4All A+A are nested, and the same items lack the modality in every run."""
    folder = Small(small.manifest, joint_run, small.result).copy(tmp_path / "run")
    run = open_run(folder)
    columns = run.manifest.columns
    test = run.manifest.ids("test")
    keeps = {item_id: str(100 * (k + 1) // len(test)) for k, item_id in enumerate(test)}
    extra = {**columns.extra, "keeps": [keeps.get(i, "") for i in columns.ids]}
    run = replace(run, manifest=Manifest(replace(columns, extra=extra), where="m"))
    hidden = {}
    for share in (0.0, 0.5, 0.9):
        fusion = run.recipe.fusion.model_copy(
            update={"missing_by": {"image": "keeps"}, "missing_share": share}
        )
        recipe = run.recipe.model_copy(update={"fusion": fusion})
        found = hidden_by_columns(run, recipe, test)
        assert set(found) == {"image"}
        hidden[share] = {i for i, gone in zip(test, found["image"], strict=True) if gone}
    assert hidden[0.0] == set()
    assert hidden[0.5] == {i for i in test if float(keeps[i]) > 50}
    assert hidden[0.5] < hidden[0.9]
    x = dict.fromkeys(("audio", "image.cnn"), np.ones((len(test), 2), np.float32))
    table = FeatureTable(test, x, {name: np.ones(len(test), bool) for name in x})
    left = table.hide(0.5, 0, {"image": np.isin(test, list(hidden[0.5]))})
    assert left.present["audio"].all()
    assert set(np.array(test)[~left.present["image.cnn"]]) == hidden[0.5]
    with pytest.raises(RecipeError, match="needs a number from 0 to 100 for every test item"):
        hidden_by_columns(run, recipe, run.manifest.ids("train"))


def test_the_single_genre_task(joint_run: Path) -> None:
    result = json.loads(
        (joint_run / "fusion" / "single-logistic-a+t" / "metrics.json").read_text(encoding="utf-8")
    )["result"]
    assert result["exclusive"]
    assert all("/" not in name for name in result["labels"])
    ids = Manifest.read(joint_run / "manifest.csv").ids("test")
    y = truth(joint_run, result, ids)
    assert (y.sum(axis=1) == 1).all()
    for row in result["rows"]:
        found = row["all"]["per_seed"][0]
        s = read_scores(joint_run / "fusion" / "single-logistic-a+t").of(row["name"], 0, ids)
        np.testing.assert_allclose(s.sum(axis=1), 1, atol=1e-5)
        right = s.argmax(axis=1) == y.argmax(axis=1)
        assert found["accuracy"] == pytest.approx(right.mean())
        assert np.trace(found["confusion_matrix"]) == right.sum()
        assert np.sum(found["confusion_matrix"]) == len(ids)
    assert head(joint_run, "single-logistic-a+t").config["threshold"] is None


def test_the_cosine_head(other: Path) -> None:
    model = head(other, "multi-cosine-a+t")
    assert model.config["target"]["name"] == "cosine"
    values = read_scores(other / "fusion" / "multi-cosine-a+t").values
    assert -1 - 1e-6 <= values.min() < values.max() <= 1 + 1e-6


def without_images(item: Item) -> Item:
    return replace(item, media={m: v for m, v in item.media.items() if m != "image"})


@pytest.fixture
def no_images(small: Small, tmp_path: Path) -> Callable[[Callable[[Item], Item]], Path]:
    def write(change: Callable[[Item], Item]) -> Path:
        return Manifest(map(change, Manifest.read(small.manifest))).write(tmp_path / "m.csv")

    return write


def test_a_run_in_which_no_item_has_an_image(
    small: Small, tmp_path: Path, no_images: Callable[[Callable[[Item], Item]], Path]
) -> None:
    run = tmp_path / "run"
    small.copy(run / "inputs", only="inputs")
    (run / "inputs" / "image.h5").unlink()
    done = extract_features(no_images(without_images), run=run, recipe="quick", settings=SETTINGS)
    assert list(done.counts) == ["audio", "text"]
    assert not (run / "inputs" / "image.h5").exists()
    result = fuse(run=run, seeds=1)
    assert result["name"] == "multi-logistic-a+t"
    assert [row["name"] for row in result["rows"]] == ["A", "T", "A+T"]
    with pytest.raises(MmgenreError, match="no item has image"):
        fuse(("image",), run=run)


def test_a_split_without_usable_media_is_named(
    tmp_path: Path, small: Small, no_images: Callable[[Callable[[Item], Item]], Path]
) -> None:
    split = {item.id: item.split for item in open_run(small.run).manifest}

    def only_train(item: Item) -> Item:
        kept: tuple[Modality, ...] = tuple(MODALITIES) if split[item.id] == "train" else ("audio",)
        media = {m: files for m, files in item.media.items() if m in kept}
        return replace(item, split=split[item.id], media=media)

    with pytest.raises(MmgenreError, match="no val item has usable text; leave it out with"):
        extract_features(
            no_images(only_train),
            run=tmp_path / "run",
            modalities=("text",),
            recipe="quick",
            settings=SETTINGS,
        )


def test_damaged_media_are_listed_and_the_rest_is_done(
    small: Small, tmp_path: Path, no_images: Callable[[Callable[[Item], Item]], Path]
) -> None:
    bad = tmp_path / "latin1.txt"
    bad.write_bytes("Müsik".encode("latin-1"))
    split = {item.id: item.split for item in open_run(small.run).manifest}
    victims = list(open_run(small.run).manifest.ids("test", having=["text"])[:1])

    def damage(item: Item) -> Item:
        media: dict[Any, tuple[Path | str, ...]] = dict(item.media)
        if item.id in victims:
            media["text"] = (bad,)
        return replace(item, split=split[item.id], media=media)

    run = tmp_path / "run"
    done = extract_features(
        no_images(damage), run=run, modalities=("text",), recipe="quick", settings=SETTINGS
    )
    [refusal] = done.refused
    assert (refusal.id, refusal.modality, refusal.code) == (victims[0], "text", "encoding")
    assert "iconv" in refusal.detail
    assert done.counts["text"] == len(open_run(run).manifest.ids(having=["text"])) - 1
    result = fuse(("text",), run=run, seeds=1)
    n_without = len(small_test_without_text(run)) + 1
    assert result["rows"][0]["all"]["n_without_input"] == n_without
    saved = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert [r["id"] for r in saved["dataset"]["refused"]] == victims


def small_test_without_text(run: Path) -> list[str]:
    manifest = open_run(run).manifest
    return [i for i in manifest.ids("test") if "text" not in manifest[i].media]


def test_the_content_hash_ignores_where_and_when(small: Small, tmp_path: Path) -> None:
    copied = tmp_path / "e.h5"
    shutil.copy(small.run / "embeddings.h5", copied)
    assert content_hash(copied) == content_hash(small.run / "embeddings.h5")


def test_rows_of_files_that_have_gone_are_lost_only_if_accepted(
    small: Small, tmp_path: Path
) -> None:
    drive = tmp_path / "drive"
    drive.mkdir()
    own = []
    for item in (i for i in open_run(small.run).manifest if "text" in i.media):
        (drive / f"{item.id}.txt").write_text(" ".join(item.labels), encoding="utf-8")
        own.append(replace(item, media={"text": (drive / f"{item.id}.txt",)}))
    manifest = Manifest(own).write(tmp_path / "m.csv")
    run, n = tmp_path / "run", len(own)
    how: dict[str, Any] = {"run": run, "modalities": ("text",)}
    extract_features(manifest, recipe="quick", settings=SETTINGS, **how)
    store = run / "inputs" / "text.h5"
    before = store.read_bytes()
    (drive / f"{own[0].id}.txt").unlink()
    with pytest.raises(MmgenreError, match=rf"1 of {n} files that this was read from are gone"):
        extract_features(**how)
    with pytest.raises(MmgenreError, match=rf"1 of {n} files that this was read from are gone"):
        read_shard(Shard(1, 1), **how)
    assert store.read_bytes() == before
    done = extract_features(**how, accept_missing=True)
    assert [(r.id, r.code) for r in done.refused] == [(own[0].id, "missing")]
    assert done.counts == {"text": n - 1}
