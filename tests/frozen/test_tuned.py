"""Models of others that learn the genre task: what moves, what stays, and that a run has them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from small import SIZES, Small

from mmgenre.disk.files import finished_folders
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, write_store
from mmgenre.errors import RecipeError, WeightsError
from mmgenre.frozen.models import Medium, load_model
from mmgenre.frozen.places import find
from mmgenre.frozen.settings import FrozenConfig, FrozenInput, ModelName
from mmgenre.frozen.tuned import blocks_of, make_tuned
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.items.manifest import Manifest
from mmgenre.learning import encoder as learning
from mmgenre.learning.embedding import embed
from mmgenre.learning.settings import TargetConfig, TrainingConfig
from mmgenre.learning.targets import make_target
from mmgenre.learning.training import fit
from mmgenre.pipeline.commands import extract_features, fuse
from mmgenre.pipeline.recipe import load_recipe
from mmgenre.pipeline.scores import read_scores

COVERS = ("dinov2", "clip", "siglip", "timm_network")
BLOCKS = {"dinov2": 2, "clip": 1, "siglip": 1, "timm_network": 4, "bert": 1}
IDS = tuple(f"i{k:02d}" for k in range(12))


def made(folder: Path, medium: Any, tune: str) -> Any:
    place = find(ModelName("dir", str(folder)))
    return make_tuned(
        place, cast(Medium, medium), place.about(), FrozenConfig(tune=tune, dropout=0.1)
    )


def store_of(folder: Path, medium: str, size: int = 40) -> Path:
    rng = np.random.default_rng(0)
    rows: Any = [np.frombuffer(f"song {k} of the sea".encode(), np.uint8) for k in range(12)]
    if medium == "image":
        rows = rng.integers(0, 256, (12, size, size, 3), np.uint8)
    how: dict[str, Any] = {"ragged": True} if medium == "text" else {}
    write_store(folder / "in.h5", medium, [(list(IDS), rows)], Provenance("inputs", 1, {}), **how)
    return folder / "in.h5"


def trained(
    folder: Path, medium: str, tune: str, store: FeatureStore, epochs: int = 3, **how: Any
) -> Any:
    target = make_target(TargetConfig(), 2, exclusive=False)
    y = np.array([[k % 2, 1 - k % 2] for k in range(12)], bool)
    target.fit(y)
    rows = dict(zip(IDS, target.targets(y), strict=True))
    network, _ = learning.train_encoder(
        lambda: made(folder, medium, tune),
        target,
        store,
        {"train": rows, "val": rows},
        TrainingConfig(max_epochs=epochs, learning_rate=0.01, batch_size=4, select="loss"),
        seed=0,
        **how,
    )
    return network.encoder


@pytest.mark.parametrize("name", BLOCKS)
def test_blocks_are_told_apart(tiny: Mapping[str, Path], name: str) -> None:
    medium = "text" if name == "bert" else "image"
    model = made(tiny[name], medium, "all")
    groups = blocks_of(model.network)
    assert len(groups) - 1 >= BLOCKS[name]
    names = [key for group in groups for key in group]
    assert len(set(names)) == len(names) > 8
    assert not any("text" in key or "pooler" in key for key in names)
    with pytest.raises(WeightsError, match=r"tune 'last 40': it has \d+ blocks"):
        made(tiny[name], medium, "last 40")


@pytest.mark.parametrize("name", BLOCKS)
def test_untrained_it_gives_the_models_vectors(
    tiny: Mapping[str, Path], name: str, tmp_path: Path
) -> None:
    medium: Any = "text" if name == "bert" else "image"
    last: Any = "last" if medium == "image" else None
    plain = load_model(FrozenInput(model=f"dir:{tiny[name]}", layer=last), medium)
    encoder = made(tiny[name], medium, "all").eval()
    with FeatureStore(store_of(tmp_path, medium, getattr(plain, "size_px", 0)), medium) as store:
        found = embed(encoder, encoder.source(store), IDS)
        read = store.read_text if medium == "text" else store.read
        rows = [read(i) for i in IDS]
        expected = plain.vectors(rows if medium == "text" else np.stack(rows))
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("name", ["dinov2", "clip", "timm_network", "bert"])
@pytest.mark.parametrize("tune", ["last 1", "all"])
def test_just_the_chosen_weights_learn(
    tiny: Mapping[str, Path], name: str, tune: str, tmp_path: Path
) -> None:
    medium: Medium = "text" if name == "bert" else "image"
    before = {key: t.clone() for key, t in made(tiny[name], medium, tune).state_dict().items()}
    with FeatureStore(store_of(tmp_path, medium), medium) as store:
        encoder = trained(tiny[name], medium, tune, store)
    moved = {
        k for k, t in encoder.state_dict().items() if not torch.equal(t.cpu(), before[k].cpu())
    }
    assert moved
    assert moved <= {f"network.{key}" for key in encoder.tuned}
    if tune == "all":  # but weights of which the vectors do not depend
        assert len(moved) > 0.8 * len(encoder.tuned)
    else:
        assert not any("embeddings" in key or "conv1.0" in key for key in moved)
    frozen = load_model(FrozenInput(model=f"dir:{tiny[name]}"), medium)  # the cached one
    own = {f"network.{k}": t for k, t in frozen.network.state_dict().items()}
    assert all(torch.equal(before[k].cpu(), own[k].cpu()) for k in before)


@pytest.mark.parametrize("name", ["dinov2", "bert"])
def test_an_interrupted_training_ends_with_the_same_numbers(
    tiny: Mapping[str, Path], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    medium = "text" if name == "bert" else "image"
    with FeatureStore(store_of(tmp_path, medium), medium) as store:
        whole = trained(tiny[name], medium, "last 1", store)
        monkeypatch.setattr(learning, "fit", partial(fit, checkpoint_every_s=0))

        def killed(_: str, done: int, __: int) -> None:
            if done == 2:
                raise KeyboardInterrupt

        how: dict[str, Any] = {"checkpoint": tmp_path / "x.checkpoint"}
        with pytest.raises(KeyboardInterrupt):
            trained(tiny[name], medium, "last 1", store, progress=killed, **how)
        assert how["checkpoint"].is_file()
        resumed = trained(tiny[name], medium, "last 1", store, **how)
    for key, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[key]), key


@pytest.mark.slow
def test_a_run_tunes_fuses_predicts_and_knows_its_model(
    tiny: Mapping[str, Path], small: Small, tmp_path: Path
) -> None:
    models = {n: Path(shutil.copytree(tiny[n], tmp_path / n)) for n in ("bert", "dinov2")}
    run = tmp_path / "run"
    settings = [
        *SIZES,
        f"text.encoders=['dir:{models['bert']}']",
        "text.frozen.tune=last 1",
        f"image.encoders=['dir:{models['dinov2']}']",
        "image.frozen.tune=all",
    ]
    what: dict[str, Any] = {"modalities": ["text", "image"], "recipe": "quick", "workers": 1}
    extract_features(small.manifest, run=run, settings=settings, **what)
    fuse(["text", "image"], run=run)
    manifest = Manifest.read(small.manifest)
    tagger = replace(GenreTagger.from_pretrained(run), trust=None)  # scores as they are
    predictions, refused = tagger.predict_manifest(manifest, workers=1)
    assert {r.code for r in refused} <= {"missing"}  # has audio only
    [fusion] = finished_folders(run / "fusion")
    scores = read_scores(fusion)
    own = {p.id: {g.name: g.score for g in p.genres} for p in predictions}
    here = [i for i in scores.ids if i in own]
    assert len(here) > 3
    found = [[own[i][name] for name in scores.about["labels"]] for i in here]
    whole = scores.about["rows"][-1]["name"]
    np.testing.assert_allclose(found, scores.of(whole, scores.about["seeds"][0], here), atol=1e-4)

    def times() -> list[int]:
        return [p.stat().st_mtime_ns for p in sorted(run.glob("encoders/*/model.safetensors"))]

    before = times()
    extract_features(run=run, modalities=["text", "image"])
    assert times() == before
    card = models["bert"] / "vocab.txt"
    card.write_bytes(card.read_bytes() + b"\nlove")
    with pytest.raises(WeightsError, match="holds another model than the encoder was made with"):
        GenreTagger.from_pretrained(run)
    extract_features(run=run, modalities=["text"])  # learns anew, as its model is another one
    assert [a == b for a, b in zip(times(), before, strict=True)] == [True, False]


def test_audio_is_refused_by_name_and_odd_values_are(tiny: Mapping[str, Path]) -> None:
    encoders = f"audio.encoders=['dir:{tiny['hubert']}']"
    with pytest.raises(RecipeError, match=r"hubert: tune 'all': a run stores no samples of audio"):
        load_recipe("quick", [encoders, "audio.frozen.tune=all"]).views("audio")
    with pytest.raises(RecipeError, match="the model itself learns; leave top at vector"):
        load_recipe("quick", ["image.frozen.tune=all", "image.frozen.top=network"])
    with pytest.raises(RecipeError, match="tune"):
        load_recipe("quick", ["image.frozen.tune=last 0"])


def test_weights_that_were_saved_in_half_precision_are_read(
    tiny: Mapping[str, Path], tmp_path: Path
) -> None:
    from transformers import Dinov2Model

    folder = Path(shutil.copytree(tiny["dinov2"], tmp_path / "half"))
    model: Any = Dinov2Model.from_pretrained(folder)
    model.half().save_pretrained(folder)
    batch = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 3), np.uint8)
    whole, half = (
        load_model(FrozenInput(model=f"dir:{path}"), "image").vectors(batch)
        for path in (tiny["dinov2"], folder)
    )
    np.testing.assert_allclose(half, whole, atol=0.01)
