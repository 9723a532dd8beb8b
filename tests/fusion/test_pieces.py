"""Shares of words, seconds and places of a cover: the planted piece has the largest."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from command_line import Call
from numpy.typing import NDArray
from planted import GENRES, TRACK_S, Planted, hits_of, make_planted
from small import Small

from mmgenre import GenreTagger, Manifest
from mmgenre.errors import InputError
from mmgenre.fusion.prediction import Prediction
from mmgenre.pipeline.commands import extract_features, fuse
from mmgenre.text import pieces as text_pieces

# Encoders that need no training; those that are trained, here for seconds.
FIXED = {"audio": "statistics", "text": "linear", "image": "descriptors"}
TRAINED = {"audio": "cnn", "text": "vsm", "image": "network"}
SETTINGS = (
    "audio.embedding_dim=64",
    "audio.patch_s=15.0",
    "audio.patches=2",
    "audio.training.max_epochs=60",
    "audio.training.patience=20",
    "text.hidden_dim=64",
    "text.embedding_dim=64",
    "text.training.max_epochs=30",
    "image.embedding_dim=64",
    "image.crop_px=64",
    "image.input.size_px=72",
    "image.training.max_epochs=40",
)
LEAST = 0.8  # of the items
CHANCE = 1 / len(GENRES)


def tagger_of(planted: Planted, folder: Path, encoders: dict[str, str]) -> GenreTagger:
    settings = [*SETTINGS, *(f"{m}.encoders=['{name}']" for m, name in encoders.items())]
    own = tuple(encoders)
    extract_features(
        planted.manifest,
        run=folder,
        modalities=own,
        recipe="quick",
        settings=settings,
        workers=1,
    )
    fuse(own, run=folder, seeds=1, joint=False)
    return GenreTagger.from_pretrained(folder)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return make_planted(tmp_path_factory.mktemp("planted") / "items", 96)


@pytest.fixture(scope="module")
def more(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    """Networks need more to learn from."""
    return make_planted(tmp_path_factory.mktemp("more") / "items", 192)


@pytest.fixture(scope="module")
def fixed(planted: Planted, tmp_path_factory: pytest.TempPathFactory) -> GenreTagger:
    return tagger_of(planted, tmp_path_factory.mktemp("fixed") / "run", FIXED)


@pytest.mark.parametrize(
    "modality",
    ["text", *(pytest.param(name, marks=pytest.mark.slow) for name in ("audio", "image"))],
)
def test_the_planted_piece_has_the_largest_share(
    fixed: GenreTagger, planted: Planted, modality: str
) -> None:
    named, hits, share = hits_of(fixed, planted, modality)
    print(f"{modality} {FIXED[modality]}: named {named:.2f}, planted {hits:.2f}, share {share:.3f}")
    assert named > 2 * CHANCE  # else there is nothing to explain
    assert hits >= LEAST
    assert share > 0.02


@pytest.mark.slow
@pytest.mark.parametrize("modality", TRAINED)
def test_so_it_has_with_networks(
    more: Planted, tmp_path_factory: pytest.TempPathFactory, modality: str
) -> None:
    folder = tmp_path_factory.mktemp("networks") / "run"
    tagger = tagger_of(more, folder, {modality: TRAINED[modality]})
    named, hits, share = hits_of(tagger, more, modality)
    print(f"{modality} {TRAINED[modality]}: named {named:.2f}, planted {hits:.2f}, {share:.3f}")
    assert named > 2 * CHANCE
    assert hits >= LEAST
    assert share > 0.02


def test_a_share_is_the_score_less_that_without_the_piece(
    fixed: GenreTagger, planted: Planted
) -> None:
    item = next(iter(planted.test))
    [text] = item.media["text"]
    assert isinstance(text, str)
    predict = partial(fixed.predict, item.media["audio"], image=item.media["image"][0])
    found = predict(text=text, explain=True)
    reasons = found.reasons
    assert reasons is not None
    total = reasons.base + sum(reasons.shares.values())
    assert total == pytest.approx(found.genres[0].score, abs=1e-6)
    word = planted.where[item.id].word
    [share] = [piece.share for piece in reasons.words if piece.name == word]
    without = predict(text=text.replace(word.capitalize(), ""))
    scores = {genre.name: genre.score for genre in without.genres}
    assert share == pytest.approx(found.genres[0].score - scores[reasons.genre], abs=1e-5)
    assert [abs(p.share) for p in reasons.words] == sorted(
        (abs(p.share) for p in reasons.words), reverse=True
    )
    assert np.shape(reasons.cover) == (6, 6)
    spans = reasons.seconds
    assert [s.start_s for s in spans[2:]] == [s.end_s for s in spans[:-2]]
    assert spans[0].start_s == 0
    assert spans[-1].end_s == pytest.approx(TRACK_S, abs=0.1)


def test_an_album_has_seconds_of_each_track(fixed: GenreTagger, planted: Planted) -> None:
    same = [i for i in planted.test if i.labels == next(iter(planted.test)).labels][:2]
    tracks = [track for item in same for track in item.media["audio"]]
    reasons = fixed.predict(audio=tracks, explain=True).reasons
    assert reasons is not None
    for number, item in enumerate(same):
        start_s = planted.where[item.id].start_s
        own = [span for span in reasons.seconds if span.track == number]
        strongest = max(own, key=lambda span: span.share)
        assert strongest.start_s < start_s + 2
        assert strongest.end_s > start_s
    alone = fixed.predict(audio=tracks[:1], explain=True).reasons
    assert alone is not None
    assert {span.track for span in alone.seconds} == {0}


def test_words_that_no_encoder_knows_are_not_looked_at(fixed: GenreTagger) -> None:
    found = fixed.predict(text="fiddle xylophagous word3", explain=True)
    assert found.reasons is not None
    assert {piece.name for piece in found.reasons.words} == {"fiddle", "word3"}


def test_of_very_many_words_the_strongest_are_searched(
    fixed: GenreTagger, planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = list(planted.test)[:12]
    items = Manifest(replace(i, media={"text": i.media["text"]}) for i in some)
    all_words, _ = fixed.predict_manifest(items, explain=True, workers=1)
    monkeypatch.setattr(text_pieces, "MOST", 12)
    monkeypatch.setattr(text_pieces, "LEAST", 2)
    limited, _ = fixed.predict_manifest(items, explain=True, workers=1)
    same = []
    for whole, part in zip(all_words, limited, strict=True):
        assert whole.reasons is not None
        assert part.reasons is not None
        n, n_all = len(part.reasons.words), len(whole.reasons.words)
        assert 6 <= n <= 8 < n_all
        [note] = part.reasons.notes
        assert note.startswith(f"text: looked at {n} of {n_all}, from the parts")
        assert not whole.reasons.notes
        shares = {word.name: word.share for word in whole.reasons.words}
        assert {w.name: w.share for w in part.reasons.words} == pytest.approx(
            {w.name: shares[w.name] for w in part.reasons.words}, abs=1e-6
        )
        same.append(part.reasons.words[0].name == whole.reasons.words[0].name)
    assert np.mean(same) >= LEAST


def shares_of(prediction: Prediction) -> dict[str, float]:
    """Of all pieces of an item."""
    reasons = prediction.reasons
    assert reasons is not None
    cells = enumerate(share for row in reasons.cover for share in row)
    return {
        **{word.name: word.share for word in reasons.words},
        **{f"{span.start_s} s": span.share for span in reasons.seconds},
        **{f"cell {k}": share for k, share in cells},
    }


@pytest.mark.slow
def test_many_items_have_the_pieces_that_each_has_alone(
    fixed: GenreTagger, planted: Planted
) -> None:
    items = list(planted.test)[:3]
    items[1] = replace(items[1], media={"image": items[1].media["image"]})
    together, _ = fixed.predict_manifest(Manifest(items), explain=True, workers=1)
    assert together[1].reasons is not None
    assert not together[1].reasons.words
    assert not together[1].reasons.seconds
    for item, found in zip(items, together, strict=True):
        [alone], _ = fixed.predict_manifest(Manifest([item]), explain=True, workers=1)
        assert shares_of(found).keys() == shares_of(alone).keys()
        assert shares_of(found) == pytest.approx(shares_of(alone), abs=1e-6)


def test_what_cannot_be_looked_at_is_said_and_stops_nothing(
    fixed: GenreTagger, planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> NDArray[np.uint8]:
        raise InputError("missing", "review.txt", "no such file")

    monkeypatch.setattr(text_pieces, "PIECES", replace(text_pieces.PIECES, without=gone))
    items = list(planted.test)[:2]
    predictions, refused = fixed.predict_manifest(Manifest(items), explain=True, workers=1)
    assert len(predictions) == 2
    assert not refused
    for prediction in predictions:
        reasons = prediction.reasons
        assert reasons is not None
        assert not reasons.words
        assert len(reasons.cover) == 6
        assert reasons.seconds
        [note] = reasons.notes
        assert note.startswith("text: its parts could not be looked at: review.txt: no such file")


def test_pieces_on_the_command_line(call: Call, small: Small, tmp_path: Path) -> None:
    item = next(i for i in Manifest.read(small.manifest) if len(i.media) == 3)
    review = tmp_path / "review.txt"
    texts = (t.read_text("utf-8") if isinstance(t, Path) else t for t in item.media["text"])
    review.write_text(" ".join(texts), "utf-8")
    given = ("--audio", item.media["audio"][0], "--image", item.media["image"][0], "--text", review)
    before = set(tmp_path.iterdir())
    reasons = call("predict", small.run, *given, "--explain", "--json").json["predictions"][0][
        "reasons"
    ]
    assert set(reasons["words"][0]) == {"name", "share"}
    assert set(reasons["seconds"][0]) == {"start_s", "end_s", "share", "track"}
    assert np.shape(reasons["cover"]) == (6, 6)
    shown = call("predict", small.run, *given, "--explain").out
    first = reasons["words"][0]
    assert f"    words: {first['share']:+.3f} {first['name']}" in shown
    assert "    seconds: " in shown
    assert "    cover: " in shown
    assert set(tmp_path.iterdir()) == before
