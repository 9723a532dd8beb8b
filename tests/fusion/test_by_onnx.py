"""A model that was exported with ONNX says what its run says, and imports no torch for it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from small import Small

from mmgenre import GenreTagger, Manifest
from mmgenre.errors import BundleError
from mmgenre.fusion import by_onnx
from mmgenre.fusion.exported import list_files
from mmgenre.fusion.prediction import Prediction
from mmgenre.pipeline.commands import extract_features, fuse
from mmgenre.pipeline.export import export_model

PARITY = 1e-4
# Views that need no training; and the networks with texts, whose making and export take their time.
ENCODERS = {
    "fixed": {"audio": ["statistics"], "image": ["descriptors"]},
    "networks": {"audio": ["cnn", "statistics"], "image": ["network", "descriptors"]},
}
# Loads a model, predicts of media, and prints which of the slow packages were imported by then.
SLOW = ("torch", "torchaudio", "torchvision", "sklearn", "transformers", "matplotlib")
SCRIPT = f"""
import json, sys
from mmgenre import GenreTagger
model, audio, image, text = sys.argv[1:]
tagger = GenreTagger.from_pretrained(model)
first = tagger.predict(audio=audio, image=image)
slow = [name for name in {SLOW} if name in sys.modules]
if "text" in tagger.modalities:
    tagger.predict(text=text)
print(json.dumps([slow, first.named, "torch" in sys.modules]))
"""


@pytest.fixture(scope="module", params=["fixed", pytest.param("networks", marks=pytest.mark.slow)])
def fused(
    small: Small, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """A run, and the name of its solved fusion."""
    folder = small.copy(tmp_path_factory.mktemp("onnx") / "run")
    settings = [f"{m}.encoders={names}" for m, names in ENCODERS[request.param].items()]
    extract_features(run=folder, settings=settings)
    solved = ["fusion.solver=lbfgs", "fusion.combine=auto"]
    modalities = ("audio", "image") if request.param == "fixed" else None
    result = fuse(modalities, run=folder, seeds=1, joint=False, settings=solved)
    return folder, result["name"]


@pytest.fixture(scope="module")
def model(fused: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    return export_model(fused[0], folder, fusion=fused[1], onnx=True)


def scores(predictions: list[Prediction]) -> dict[tuple[str, str], float]:
    return {(p.id, genre.name): genre.score for p in predictions for genre in p.genres}


def test_it_says_of_every_item_what_the_run_says(
    small: Small, fused: tuple[Path, str], model: Path
) -> None:
    tagger, of_run = GenreTagger.from_pretrained(model), GenreTagger.from_pretrained(*fused)
    assert tagger.by_onnx.keys() == {v for v in tagger.reads if not v.startswith("text")}
    assert len(tagger.by_onnx) >= 2  # and texts by torch
    assert not of_run.by_onnx
    manifest = Manifest.read(small.manifest)
    found, refused = tagger.predict_manifest(manifest, workers=1)
    expected, also_refused = of_run.predict_manifest(manifest, workers=1)
    assert scores(found) == pytest.approx(scores(expected), abs=PARITY)
    assert [p.used for p in found] == [p.used for p in expected]
    assert refused == also_refused


def test_media_are_judged_without_torch(small: Small, model: Path) -> None:
    item = next(i for i in Manifest.read(small.manifest) if {"audio", "image"} <= i.media.keys())
    files = [str(item.media[m][0]) for m in ("audio", "image")]
    text = "A guitar and the sound of a voice and a piano, with drums and the bass."
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(model), *files, text],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    slow, named, has_torch = json.loads(done.stdout)
    tagger = GenreTagger.from_pretrained(model)
    assert slow == []
    assert has_torch == ("text" in tagger.modalities)
    assert tuple(named) == tagger.predict(audio=files[0], image=files[1]).named


@pytest.mark.slow
def test_without_onnxruntime_torch_does_it(
    small: Small, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = Manifest.read(small.manifest)
    some = manifest.only(manifest.ids()[:4])
    found, _ = GenreTagger.from_pretrained(model).predict_manifest(some, workers=1)
    monkeypatch.setattr(by_onnx, "find_spec", lambda name: None)
    tagger = GenreTagger.from_pretrained(model)
    assert not tagger.by_onnx
    by_torch, _ = tagger.predict_manifest(some, workers=1)
    assert scores(found) == pytest.approx(scores(by_torch), abs=PARITY)


def test_a_changed_file_is_refused_by_name(model: Path) -> None:
    path = next((model / "onnx").glob("encoder-audio*.onnx"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BundleError, match=r"encoder-audio.*\.onnx: not the file that was exported"):
        GenreTagger.from_pretrained(model)
    path.write_bytes(whole)
    GenreTagger.from_pretrained(model)


def test_what_onnxruntime_cannot_run_is_named(small: Small, model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model, tmp_path / "model")
    path = next((folder / "onnx").glob("encoder-audio*.onnx"))
    path.write_bytes(b"no model")
    list_files(folder, "odd")
    tagger = GenreTagger.from_pretrained(folder)
    item = next(i for i in Manifest.read(small.manifest) if "audio" in i.media)
    with pytest.raises(BundleError, match=f"{path.name}: onnxruntime cannot run it"):
        tagger.predict(audio=item.media["audio"][0])


def test_encoders_are_loaded_when_they_are_asked_for(model: Path) -> None:
    tagger = GenreTagger.from_pretrained(model)
    assert tagger.licence is None
    assert not tagger.encoders.made()  # type: ignore[attr-defined]
    assert set(tagger.encoders) == set(tagger.reads)
    view = next(iter(tagger.by_onnx))
    assert tagger.encoders[view].embedding_dim == tagger.fusion.widths[view]
    assert len(tagger.encoders.made()) == 1  # type: ignore[attr-defined]
