"""Frozen models in a run: read, killed and resumed, fused, and predicted with from media."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from small import SIZES, Small

from mmgenre.disk.store import FeatureStore
from mmgenre.errors import MmgenreError, WeightsError
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.items.manifest import Manifest
from mmgenre.pipeline.commands import extract_features, fuse

pytestmark = pytest.mark.slow
AUDIO, IMAGE = ("hubert", "clap"), ("dinov2", "clip", "timm_network")


def settings_for(models: Mapping[str, Path], **more: str) -> list[str]:
    def named(*names: str) -> str:
        return json.dumps([f"dir:{models[name]}" for name in names])

    return [
        *SIZES,
        f"audio.encoders={named(*AUDIO)}",
        f"text.encoders={named('bert')}",
        f"image.encoders={named(*IMAGE)}",
        "audio.frozen.excerpt_s=6.0",
        *(f"{key}={value}" for key, value in more.items()),
    ]


@pytest.fixture(scope="module")
def models(tiny: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Copies, since tests change them."""
    folder = tmp_path_factory.mktemp("own")
    return {name: Path(shutil.copytree(path, folder / name)) for name, path in tiny.items()}


@pytest.fixture(scope="module")
def run(small: Small, models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of every family, with solved heads on the models' vectors."""
    folder = tmp_path_factory.mktemp("frozen") / "run"
    extract_features(
        small.manifest, run=folder, recipe="quick", settings=settings_for(models), workers=1
    )
    fuse(run=folder)
    return folder


def test_every_family_is_a_view_with_a_row_of_its_own(run: Path) -> None:
    rows = json.loads(next((run / "fusion").glob("*/fusion.json")).read_text())["rows"]
    names = {row["name"] for row in rows}
    assert {"A.hubert", "A.clap", "I.dinov2", "I.clip", "I.timm_network", "T", "A+T+I"} <= names
    with FeatureStore(run / "embeddings.h5", "audio.clap") as store:
        assert store.take(list(store.ids)).shape == (len(store.ids), 16)


def test_genres_come_from_media(run: Path, small: Small) -> None:
    manifest = Manifest.read(small.manifest)
    predictions, refused = GenreTagger.from_pretrained(run).predict_manifest(manifest, workers=1)
    assert len(predictions) == len(manifest)
    assert not refused
    fusion = next((run / "fusion").glob("*/scores.h5"))
    with FeatureStore(fusion, "scores") as store:
        ids = list(store.ids)
        expected = store.take(ids)[:, -1]
    labels = json.loads((fusion.parent / "fusion.json").read_text())["labels"]
    own = {p.id: {g.name: g.score for g in p.genres} for p in predictions}
    found = np.array([[own[i][name] for name in labels] for i in ids])
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_changed_model_is_refused_and_then_read_anew(
    run: Path, small: Small, models: dict[str, Path], tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    file, named = models["bert"] / "vocab.txt", [f"dir:{path}" for path in models.values()]
    before = file.read_bytes()
    try:
        file.write_bytes(before + b"\nlove")
        with pytest.raises(MmgenreError, match="another model than the encoder was made with"):
            GenreTagger.from_pretrained(copy, allow=named)
        file.unlink()
        with pytest.raises(MmgenreError, match="another model than the encoder was made with"):
            GenreTagger.from_pretrained(copy, allow=named)
    finally:
        file.write_bytes(before)
    GenreTagger.from_pretrained(copy, allow=named)
    with pytest.raises(MmgenreError, match="which the model names and you did not"):
        GenreTagger.from_pretrained(copy)


def test_a_model_that_is_gone_is_named(run: Path, models: dict[str, Path], tmp_path: Path) -> None:
    away = models["clap"].rename(tmp_path / "clap")
    try:
        with pytest.raises(WeightsError, match="no such folder"):
            GenreTagger.from_pretrained(run)
    finally:
        away.rename(models["clap"])


def test_a_network_learns_on_a_mixture_of_layers(
    small: Small, models: dict[str, Path], tmp_path: Path
) -> None:
    settings = [
        *SIZES,
        f"audio.encoders=['dir:{models['hubert']}']",
        "audio.frozen.top=network",
        "audio.frozen.layer=weighted",
        "audio.frozen.hidden_dim=16",
        "audio.frozen.excerpt_s=6.0",
    ]
    folder = tmp_path / "run"
    extract_features(
        small.manifest, run=folder, recipe="quick", settings=settings, workers=1,
        modalities=("audio",),
    )  # fmt: skip
    fuse(run=folder, modalities=("audio",))
    with FeatureStore(folder / "inputs" / "audio.h5", "audio") as inputs:
        assert inputs.read(inputs.ids[0]).shape == (3, 16)
    with FeatureStore(folder / "embeddings.h5", "audio") as store:
        assert store.take(list(store.ids)).shape[1] == 24
    track = next(path for _, media in Manifest.read(small.manifest).rows("audio") for path in media)
    assert GenreTagger.from_pretrained(folder).predict(audio=Path(track)).genres


def test_a_killed_reading_goes_on_where_it_was(
    small: Small, models: dict[str, Path], run: Path, tmp_path: Path
) -> None:
    folder, words = tmp_path / "run", settings_for(models)
    command = [
        *(sys.executable, "-m", "mmgenre", "extract-features", "--run", str(folder)),
        *("--manifest", str(small.manifest), "--recipe", "quick", "--workers", "1"),
        *(word for setting in words for word in ("--set", setting)),
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None and not list(folder.glob("inputs/*.parts/*.h5")):
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert list(folder.glob("inputs/*.parts/*.h5"))
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    for name in ("audio", "audio.clap", "text", "image", "image.clip", "image.timm_network"):
        with (
            FeatureStore(folder / "embeddings.h5", name) as store,
            FeatureStore(run / "embeddings.h5", name) as whole,
        ):
            np.testing.assert_array_equal(store.take(list(whole.ids)), whole.take(list(whole.ids)))


def test_pieces_are_left_out_of_what_models_read(run: Path, small: Small) -> None:
    item = next(i for i in Manifest.read(small.manifest) if len(i.media) == 3)
    tagger = GenreTagger.from_pretrained(run)
    [found], refused = tagger.predict_manifest(Manifest([item]), explain=True)
    assert not refused
    reasons = found.reasons
    assert reasons is not None
    assert not any("could not" in note for note in reasons.notes)
    shares = {
        "audio": [span.share for span in reasons.seconds],
        "text": [word.share for word in reasons.words],
        "image": [share for row in reasons.cover for share in row],
    }
    for modality, own in shares.items():
        assert np.ptp(own) > 0, modality
    assert {span.track for span in reasons.seconds} == set(range(len(item.media["audio"])))
