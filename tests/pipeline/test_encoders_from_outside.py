"""Encoders that other packages bring, several encoders of one modality, and further modalities."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small import SETTINGS, Small

from mmgenre.disk.bundle import read_bundle
from mmgenre.disk.store import FeatureStore, group_names
from mmgenre.errors import RecipeError
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.items.manifest import Manifest
from mmgenre.items.modalities import MODALITIES, TEXT
from mmgenre.learning import kind
from mmgenre.pipeline.commands import extract_features, fuse
from mmgenre.pipeline.recipe import load_recipe
from mmgenre.pipeline.run import open_run

# One file of a package that knows nothing but mmgenre's EncoderType.
MODULE = '''
"""Mean and deviation of each bin of the constant-Q transform, through one dense layer."""

import numpy as np
from torch import nn

from mmgenre.learning.kind import EncoderType


class Moments(nn.Module):
    output_dropout = 0.0

    def __init__(self, width):
        super().__init__()
        self.embedding_dim = width
        self.dense = nn.Sequential(nn.Linear(192, width), nn.Tanh())

    def forward(self, x):
        return self.dense(x)

    def source(self, store):
        return Rows(store)

    def state(self):
        return {"width": self.embedding_dim}


class Rows:
    def __init__(self, store):
        self.store = store

    def views(self, ids, rng):
        tracks = [self.store.read(i).astype(np.float32) / 80 for i in ids]
        return np.stack([np.concatenate([t.mean(0), t.std(0)]) for t in tracks])[:, None]


def make(config, target, store, train_ids):
    return Moments(config.options.get("moments", config.options.get(NAME))["width"])


def load(bundle):
    return Moments(bundle.config["width"])


NAME = "outside.moments:MOMENTS"
MOMENTS = EncoderType(make="outside.moments:make", load="outside.moments:load")
'''
NAME = "outside.moments:MOMENTS"


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the package `outside`, from which Python imports."""
    package = tmp_path / "site" / "outside"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "moments.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(package.parent)
    return package.parent


def test_an_encoder_from_outside_trains_fuses_and_predicts(
    small: Small, tmp_path: Path, outside: Path
) -> None:
    run = tmp_path / "run"
    small.copy(run / "inputs", only="inputs")
    views = (
        f'audio.encoders=["cnn", "{NAME}"]',
        f'audio.options={{"{NAME}" = {{width = 12}}}}',
    )
    extract_features(
        small.manifest,
        run=run,
        modalities=("audio", "text"),
        recipe="quick",
        settings=(*SETTINGS, *views),
    )
    assert group_names(run / "embeddings.h5") == ("audio", "audio.moments", "text")
    with FeatureStore(run / "embeddings.h5", "audio.moments") as store:
        assert store.row_shape == (12,)
        assert store.ids == open_run(run).manifest.ids(having=["audio"])
    # The first view is the encoder that a run without the second one trains.
    with (
        FeatureStore(run / "embeddings.h5", "audio") as mine,
        FeatureStore(small.run / "embeddings.h5", "audio") as theirs,
    ):
        assert mine.sha256 == theirs.sha256
    curve = read_bundle(run / "encoders" / "audio.moments", "audio encoder").files["curve.json"]
    assert curve["epochs"][-1]["train_loss"] < curve["epochs"][0]["train_loss"]
    result = fuse(("audio", "text"), run=run, seeds=1)
    rows = {row["name"]: row["inputs"] for row in result["rows"]}
    assert rows == {
        "A": ["audio", "audio.moments"],
        "T": ["text"],
        "A.cnn": ["audio"],
        "A.moments": ["audio.moments"],
        "A+T": ["audio", "audio.moments", "text"],
    }
    assert result["rows"][-1]["name"] == "A+T"
    measured = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert measured["encoders"]["audio.moments"]["network"] == NAME
    tagger = GenreTagger.from_pretrained(run)
    assert tuple(tagger.fusion.widths) == ("audio", "audio.moments", "text")
    manifest = Manifest.read(small.manifest)
    track = manifest[manifest.ids(having=["audio"])[0]].media["audio"][0]
    assert tagger.predict(audio=track, text="Heavy riffs, loud amplifiers.").used == (
        "audio",
        "text",
    )
    only = fuse(("audio", "text"), run=run, inputs=["audio.moments"], seeds=1)
    assert only["name"] == "multi-logistic-only-a.moments"
    assert set(GenreTagger.from_pretrained(run, only["name"]).encoders) == {"audio.moments"}


def test_an_encoder_by_entry_point(
    small: Small, tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = outside / "outside-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[mmgenre.encoders]\nmoments = {NAME}\n")
    kind._entry_points.cache_clear()
    try:
        run = tmp_path / "run"
        small.copy(run / "inputs", only="inputs")
        extract_features(
            small.manifest,
            run=run,
            modalities=("audio",),
            recipe="quick",
            settings=(*SETTINGS, 'audio.encoders=["moments"]', "audio.options.moments.width=5"),
        )
        with FeatureStore(run / "embeddings.h5", "audio") as store:
            assert store.row_shape == (5,)
    finally:
        kind._entry_points.cache_clear()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (['audio.encoders=["cnm"]'], "encoder 'cnm' is not known here; known: cnn, timbre"),
        (
            ['audio.encoders=["nosuch.one:ENCODER"]'],
            r"nosuch.one:ENCODER: cannot be imported: No module named 'nosuch'\. The command "
            r"mmgenre does not look in the current folder: install the package of nosuch, "
            r".* PYTHONPATH=\. mmgenre",
        ),
        (
            ['audio.encoders=["mmgenre.nosuch:ENCODER"]'],
            r"cannot be imported: No module named 'mmgenre\.nosuch'$",
        ),
        (['audio.encoders=["numpy:array"]'], "is no EncoderType"),
        (['audio.encoders=["json:JSONDecoder"]'], "is of Python's own library"),
        (['audio.encoders=["cnn", "cnn"]'], "audio.encoders: cnn, cnn: repeated"),
        (["audio.options={x = {width = 1}}"], "audio.options: x not among the encoders cnn"),
        (["audio.encoders=[]"], "at least 1"),
    ],
)
def test_encoders_that_cannot_be(settings: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe("quick", settings)


@pytest.fixture
def lyrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one line that makes lyrics a modality of every run."""
    monkeypatch.setitem(MODALITIES, "lyrics", replace(TEXT, name="lyrics", short="l"))


def test_lyrics_are_a_fourth_modality_by_one_line(
    small: Small, tmp_path: Path, lyrics: None
) -> None:
    rows = small.manifest.read_text(encoding="utf-8").splitlines()
    header, *items = rows
    folder = small.manifest.parent
    path = folder / "with-lyrics.csv"
    words = ("love baby night", "war blood steel", "", "sun beach summer", "rain road town")
    lines = [f"{row},{words[k % 5]}" for k, row in enumerate(items)]
    path.write_text("\n".join([f"{header},lyrics", *lines]) + "\n", encoding="utf-8")
    run = tmp_path / "run"
    small.copy(run / "inputs", only="inputs")
    extract_features(
        path,
        run=run,
        modalities=("text", "lyrics"),
        recipe="quick",
        settings=(*SETTINGS, "lyrics.hidden_dim=16", "lyrics.embedding_dim=8",
                  "lyrics.training.max_epochs=2"),
        workers=1,
    )  # fmt: skip
    state = open_run(run)
    with FeatureStore(run / "embeddings.h5", "lyrics") as store:
        assert store.ids == state.manifest.ids(having=["lyrics"])
        assert 0 < len(store) < len(state.manifest)
        assert store.row_shape == (8,)
    result = fuse(("text", "lyrics"), run=run, seeds=1)
    assert result["name"] == "multi-logistic-t+l"
    assert [row["name"] for row in result["rows"]] == ["T", "L", "T+L"]
    tagger = GenreTagger.from_pretrained(run)
    predictions, refused = tagger.predict_manifest(Manifest.read(path), workers=1)
    assert {p.used for p in predictions} >= {("text", "lyrics"), ("lyrics",)}
    assert not [r for r in refused if r.modality == "lyrics"]
    scores = np.array([[g.score for g in p.genres] for p in predictions])
    assert np.isfinite(scores).all()
