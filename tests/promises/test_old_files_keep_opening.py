"""Files of earlier versions open, or are refused by name; so are those of later versions."""

from __future__ import annotations

import tarfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from mmgenre.disk.bundle import CONFIG, SUMS, read_bundle
from mmgenre.disk.files import finished_folders, read_json, write_json
from mmgenre.disk.provenance import Provenance, sha256_file
from mmgenre.disk.store import FeatureStore, store_info
from mmgenre.errors import (
    BundleError,
    MmgenreError,
    OlderRunWarning,
    RecipeError,
    Refusal,
    StoreError,
)
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.pipeline.commands import extract_features
from mmgenre.pipeline.older import ASIDE
from mmgenre.pipeline.recipe import load_recipe
from mmgenre.pipeline.run import FORMAT, STATE, open_run
from mmgenre.pipeline.scores import read_scores

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """A folder with all that the archives hold."""
    for archive in sorted(GOLDEN.glob("*.tar.xz")):
        with tarfile.open(archive) as opened:
            opened.extractall(tmp_path, filter="data")
    return tmp_path


def test_the_oldest_manifest(golden: Path) -> None:
    manifest = Manifest.read(golden / "files" / "manifest.csv")
    assert manifest.ids() == tuple("abcdefgh")
    assert manifest["d"] == Item(
        "d",
        artist="Dogs",
        album="First",
        split="train",
        labels=("Rock", "Pop"),
        media={"text": ("riff distortion and a loud chorus",)},
        extra={"note": ""},
    )
    assert manifest["c"].labels == ("Jazz/Vocal Jazz",)
    # Equal hashes: what was made from it counts as made from it.
    assert manifest.task_digest == "dfca908098e68698"


def test_the_oldest_store(golden: Path) -> None:
    path = golden / "files" / "store-1.h5"
    expected = np.arange(12, dtype=np.float32).reshape(4, 3)
    with FeatureStore(path, "v") as store, FeatureStore(path, "r") as ragged:
        store.verify()
        ragged.verify()
        assert store.ids == ragged.ids == tuple("abcd")
        np.testing.assert_array_equal(store.take("abcd"), expected)
        np.testing.assert_array_equal(ragged.read("c"), expected[:3])
        assert store.refused == (Refusal("e", "audio", "silent", "e: peak"),)
        made = Provenance("stage", 1, {"width": 3}, {"media": "ab"})
        assert store.fingerprint == made.fingerprint
    assert [group.rows for group in store_info(path)] == [4, 4]


def test_the_first_store_is_refused_by_name(golden: Path) -> None:
    with pytest.raises(StoreError, match="perhaps of a very early version: make it again"):
        FeatureStore(golden / "files" / "store-first.h5", "v")


def test_the_first_model_folder(golden: Path) -> None:
    found = read_bundle(golden / "files" / "bundle-1", "encoder")
    assert found.config == {"width": 3}
    assert found.files == {"vocab.json": {"é": 0, "b": 1}}
    np.testing.assert_array_equal(found.weights["w"], np.arange(6).reshape(2, 3))
    assert found.fingerprint == Provenance("stage", 1, {"width": 3}, {"media": "ab"}).fingerprint


@pytest.mark.parametrize("number", range(1, FORMAT))
def test_an_older_run_says_what_to_do(number: int, golden: Path) -> None:
    run = golden / f"run-{number}"
    with pytest.raises(
        MmgenreError, match=r"older version of mmgenre\. Run mmgenre extract-features"
    ):
        open_run(run)
    for name in ("inputs/text.h5", "embeddings.h5"):
        with FeatureStore(run / name, "text") as store:
            store.verify()
            assert store.ids == tuple("abcdefgh")
    with pytest.raises(BundleError, match=r"made by an(other| older) version of mmgenre"):
        GenreTagger.from_pretrained(run).predict(text="warm trumpet")


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, FORMAT))
def test_an_older_run_is_gone_on_with(number: int, golden: Path) -> None:
    run = golden / f"run-{number}"
    before = {p.name: p.read_bytes() for p in (run / "encoders").rglob("*.safetensors")}
    source = golden / "files" / "manifest.csv"
    with pytest.warns(OlderRunWarning, match="Used again: manifest, recipe and inputs/"):
        done = extract_features(source, run=run, modalities=("text",), workers=1)
    assert done.counts == {"text": 8}
    assert open_run(run).manifest.ids() == tuple("abcdefgh")
    kept = {p.name: p.read_bytes() for p in (run / ASIDE / "encoders").rglob("*.safetensors")}
    assert kept == before


def test_a_run_of_format_3_gives_the_same_numbers(golden: Path) -> None:
    run = golden / "run-3"
    opened = open_run(run)
    assert opened.manifest.splits["g"] == "test"
    tagger = GenreTagger.from_pretrained(run)
    prediction = tagger.predict(text="warm trumpet in a smoky club")
    scores = {genre.name: genre.score for genre in prediction.genres}
    expected = {
        "Jazz": 0.5049242973327637,
        "Rock": 0.49507567286491394,
        "Jazz/Vocal Jazz": 0.24934887886047363,
        "Pop": 0.24801073968410492,
    }
    assert scores == pytest.approx(expected, abs=1e-5)
    [fusion] = finished_folders(run / "fusion")
    found = read_scores(fusion)
    again, _ = tagger.predict_manifest(
        Manifest([item for item in opened.manifest if item.split == "test"]), workers=1
    )
    labels = found.about["labels"]
    for row, item in zip(found.values[:, -1, 0], again, strict=True):
        assert [g.score for g in sorted(item.genres, key=lambda g: labels.index(g.name))] == (
            pytest.approx(row.tolist(), abs=1e-5)
        )


def test_newer_files_are_refused_by_name(golden: Path) -> None:
    run = golden / "run-3"
    state = read_json(run / STATE)
    write_json(run / STATE, state | {"format": FORMAT + 1})
    newer = rf"newer version of mmgenre \(format {FORMAT + 1}; this one reads {FORMAT}\)"
    with pytest.raises(MmgenreError, match=newer):
        open_run(run)
    with pytest.raises(MmgenreError, match=newer):
        extract_features(run=run)

    path = golden / "files" / "store-1.h5"
    with h5py.File(path, "r+") as file:
        file["v"].attrs["format"] = np.bytes_("mmgenre feature store 3")
    with pytest.raises(StoreError, match="but a 'mmgenre feature store 3', of a newer version"):
        FeatureStore(path, "v")

    folder = run / "encoders" / "text"
    described = read_json(folder / CONFIG)
    described["config"]["reads"]["invented_later"] = 1
    write_json(folder / CONFIG, described)
    write_json(folder / SUMS, read_json(folder / SUMS) | {CONFIG: sha256_file(folder / CONFIG)})
    with pytest.raises(BundleError, match=r"made by another version of mmgenre: .*invented_later"):
        GenreTagger.from_pretrained(run)

    recipe = golden / "later.toml"
    recipe.write_text('base = "quick"\n[text]\ninvented_later = 1\n', encoding="utf-8")
    with pytest.raises(RecipeError, match=r"unknown key 'text\.invented_later'"):
        load_recipe(str(recipe))


def test_the_oldest_recipe_is_read_or_refused_by_key(golden: Path) -> None:
    """Keys that have another name today are named; what has not changed means what it meant."""
    recipe = golden / "own.toml"
    same = 'base = "quick"\nseed = 3\n[text]\nmax_words = 500\nhidden_dim = 64\n'
    recipe.write_text(same, encoding="utf-8")
    found = load_recipe(str(recipe))
    assert (found.seed, found.of("text").max_words, found.of("text").hidden_dim) == (3, 500, 64)
    for gone in ('[text]\nencoder = "vsm"', "[audio]\nmixup = 0.2", "[text.training]\nema = 0.9"):
        recipe.write_text(f'base = "quick"\n{gone}\n', encoding="utf-8")
        with pytest.raises(RecipeError, match=r"unknown key '(text|audio)\."):
            load_recipe(str(recipe))
