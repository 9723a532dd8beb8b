"""Genres by their names alone: words beside audio and covers, and their row in tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as untyped
from command_line import Call
from small import SIZES, Small

from mmgenre.audio.frozen import load_samples, vectors_of
from mmgenre.audio.settings import AudioInput
from mmgenre.disk.files import finished_folders
from mmgenre.disk.store import FeatureStore
from mmgenre.errors import LabelError, WeightsError
from mmgenre.frozen.settings import FrozenInput, ModelName
from mmgenre.frozen.zero_shot import medium_of, prompt, similarities, words_of
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.fusion.zero_shot import predict_zero_shot
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.pipeline.commands import extract_features, fuse
from mmgenre.pipeline.run import open_run
from mmgenre.pipeline.scores import read_scores

of: Any = untyped
GENRES = ["Jazz", "Rock", "Jazz/Vocal Jazz"]


def named(folder: Path) -> FrozenInput:
    return FrozenInput(model=f"dir:{folder}")


@pytest.mark.parametrize(
    ("name", "medium", "kind", "fill"),
    [
        ("clap", "audio", of.ClapModel, True),
        ("clip", "image", of.CLIPModel, True),
        ("siglip", "image", of.SiglipModel, "max_length"),
    ],
)
def test_words_are_what_the_library_gives(
    tiny: Mapping[str, Path], name: str, medium: Any, kind: Any, fill: Any
) -> None:
    words = words_of(named(tiny[name]), medium, GENRES)
    assert words.shape == (3, 16)
    np.testing.assert_allclose(np.linalg.norm(words, axis=1), 1, atol=1e-5)
    network = kind.from_pretrained(tiny[name]).eval()
    read = of.AutoTokenizer.from_pretrained(tiny[name])
    for genre, row in zip(GENRES, words, strict=True):  # one by one: the batch does not matter
        text = prompt(genre, medium)
        found = read([text], padding=fill, max_length=64, truncation=True, return_tensors="pt")
        mask = {} if name == "siglip" else {"attention_mask": found["attention_mask"]}
        with torch.inference_mode():
            plain = network.get_text_features(input_ids=found["input_ids"], **mask).pooler_output
        plain = plain[0].numpy()
        np.testing.assert_allclose(row, plain / np.linalg.norm(plain), atol=1e-5)


def test_who_knows_words(tiny: Mapping[str, Path]) -> None:
    found = {name: medium_of(ModelName("dir", str(folder))) for name, folder in tiny.items()}
    assert {name: medium for name, medium in found.items() if medium} == {
        "clap": "audio", "clip": "image", "siglip": "image",
    }  # fmt: skip


def test_similarities_are_cosines() -> None:
    rng = np.random.default_rng(0)
    x, words = rng.standard_normal((5, 4)), rng.standard_normal((3, 4))
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    x[2] = 0
    found = similarities(x.astype(np.float32), words.astype(np.float32))
    for k in range(5):
        for j in range(3):
            expected = x[k] @ words[j] / (np.linalg.norm(x[k]) or 1)
            assert found[k, j] == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
def test_audio_is_ranked_by_the_names_of_genres(
    tiny: Mapping[str, Path], small: Small, call: Call
) -> None:
    model = f"dir:{tiny['clap']}"
    item = next(i for i in Manifest.read(small.manifest) if len(i.media.get("audio", ())) == 2)
    missing = Item("missing", media={"text": ("A text.",)})
    found, refused = predict_zero_shot(model, GENRES, Manifest([item, missing]), workers=1)
    reads = AudioInput(excerpt_s=30.0, frozen=named(tiny["clap"]))
    samples = [load_samples(Path(t), reads) for t in item.media["audio"]]
    vector = np.mean(vectors_of(samples, reads), axis=0)
    scores = similarities(vector[None], words_of(named(tiny["clap"]), "audio", GENRES))[0]
    assert [p.id for p in found] == [item.id]
    assert {g.name: g.score for g in found[0].genres} == pytest.approx(
        dict(zip(GENRES, scores, strict=True)), abs=1e-5
    )
    assert found[0].named == (GENRES[int(scores.argmax())],)
    assert [(r.id, r.code) for r in refused] == [("missing", "missing")]

    tracks = [word for track in item.media["audio"] for word in ("--audio", track)]
    done = call("predict", model, "--zero-shot", "--labels", ",".join(GENRES), *tracks, "--json")
    assert done.code == 0, done.err
    [own] = done.json["predictions"]
    assert [g["name"] for g in own["genres"]] == [g.name for g in found[0].genres]
    assert own["kind"] == "cosine"
    assert call("predict", model, "--zero-shot", *tracks).code == 2
    assert call("predict", model, "--labels", "a,b", *tracks).code == 2


def test_what_cannot_be_asked(tiny: Mapping[str, Path], small: Small) -> None:
    manifest = Manifest.read(small.manifest)
    with pytest.raises(WeightsError, match="knows no words; take a CLAP"):
        predict_zero_shot(f"dir:{tiny['hubert']}", GENRES, manifest)
    for genres in (["Jazz"], ["Jazz", "Jazz"], ["Jazz", " "]):
        with pytest.raises(LabelError, match="name two or more, each once"):
            predict_zero_shot(f"dir:{tiny['clap']}", genres, manifest)


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
def test_a_row_of_its_own_in_the_table_of_a_run(
    tiny: Mapping[str, Path], small: Small, tmp_path: Path, solver: str
) -> None:
    run = tmp_path / "run"
    settings = [*SIZES, f"image.encoders=['descriptors', 'dir:{tiny['clip']}']"]
    if solver == "sgd":
        settings += ["fusion.solver=sgd", "fusion.combine=concatenation"]
    what: dict[str, Any] = {"modalities": ["image"], "recipe": "quick", "settings": settings}
    extract_features(small.manifest, run=run, workers=1, **what)
    result = fuse(["image"], run=run)
    names = [row["name"] for row in result["rows"]]
    assert names[0] == "I.clip zero-shot"
    assert names[-1] == "I"
    assert len(set(names)) == len(names)
    assert "choice" not in result["rows"][0]

    [folder] = finished_folders(run / "fusion")
    scores = read_scores(folder)
    words = words_of(named(tiny["clip"]), "image", scores.about["labels"])
    with FeatureStore(run / "embeddings.h5", "image.clip") as store:
        here = [i for i in scores.ids if i in store]
        expected = similarities(store.take(here), words)
        train = [i for i in open_run(run).manifest.ids("train") if i in store]
        average = similarities(store.take(train), words).mean(axis=0)
    for seed in scores.about["seeds"]:
        found = scores.of("I.clip zero-shot", seed, here)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        lacking = [i for i in scores.ids if i not in here]
        for row in scores.of("I.clip zero-shot", seed, lacking):
            np.testing.assert_allclose(row, average, atol=1e-6)
    thresholds = scores.about["rows"][0]["thresholds"]
    assert all(-1 < t < 1 for t in thresholds)
    before = (folder / "scores.h5").stat().st_mtime_ns
    assert fuse(["image"], run=run)["rows"] == result["rows"]
    assert (folder / "scores.h5").stat().st_mtime_ns == before
    assert [r["name"] for r in fuse(["image"], run=run, inputs=["image"])["rows"]] == ["I"]
    assert GenreTagger.from_pretrained(run, folder.name).modalities == ("image",)
