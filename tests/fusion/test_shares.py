"""Shares of modalities: exact, summing to the score, and where the genre was planted."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from command_line import Call
from numpy.typing import NDArray
from small import Small

from mmgenre import GenreTagger, Manifest
from mmgenre.errors import MmgenreError
from mmgenre.fusion.ensemble import Fitting, SolvedFusion
from mmgenre.fusion.experts import Task, fit_expert, quality_of
from mmgenre.fusion.scaling import LEARNED
from mmgenre.fusion.shares import shapley
from mmgenre.fusion.table import FeatureTable
from mmgenre.items.labels import LabelSpace
from mmgenre.items.modalities import modality_of
from mmgenre.learning.targets import LogisticTarget

MODALITIES = ("audio", "text", "image")
GENRES = ("Folk", "Jazz", "Rock")
WIDTH = 8
Bools = NDArray[np.bool_]


def table_of(present: dict[str, list[bool]]) -> FeatureTable:
    here = {name: np.array(own) for name, own in present.items()}
    n = len(next(iter(here.values())))
    rng = np.random.default_rng(0)
    x = {name: (rng.random((n, 2)) * own[:, None]).astype(np.float32) for name, own in here.items()}
    return FeatureTable(tuple(f"i{k}" for k in range(n)), x, here)


def game(table: FeatureTable) -> NDArray[np.float64]:
    """A score that is no sum of its players: products of what is here."""
    total = np.ones((len(table), 2))
    for name, rows in table.x.items():
        assert (rows[~table.present[name]] == 0).all()
        total *= 1 + rows.astype(np.float64) * (1 + len(name) / 10)
    return np.log1p(total)


def test_shares_are_means_over_all_orders_of_coming() -> None:
    table = table_of(
        {
            "audio": [True, True, False],
            "audio.statistics": [True, False, False],
            "joint.text": [True, True, False],
            "text": [True, True, False],
            "image": [True, False, False],
        }
    )
    found = shapley(game, table)
    assert set(found.of) == set(MODALITIES)

    def worth(players: tuple[str, ...]) -> NDArray[np.float64]:
        names = [name for name in table.x if modality_of(name) in players]
        return game(table.only(names)) if names else np.full((3, 2), np.log(2.0))

    orders = list(permutations(MODALITIES))
    for player in MODALITIES:
        steps = []
        for order in orders:
            place = order.index(player)
            steps.append(worth(order[: place + 1]) - worth(order[:place]))
        np.testing.assert_allclose(found.of[player], np.mean(steps, axis=0), atol=1e-12)
        np.testing.assert_allclose(found.alone[player], worth((player,)), atol=1e-12)
    np.testing.assert_allclose(found.base + sum(found.of.values()), game(table), atol=1e-12)
    assert (found.of["image"][1] == 0).all()  # it has none
    assert all((own[2] == 0).all() for own in found.of.values())


def test_more_modalities_than_all_subsets_allow_are_refused() -> None:
    table = table_of({f"m{k}": [True] for k in range(7)})
    with pytest.raises(MmgenreError, match=r"7 modalities.*exact for up to 6"):
        shapley(game, table)


def planted(modality: str) -> tuple[SolvedFusion, FeatureTable]:
    """A fusion of three modalities of which one knows the genre, and unseen items."""
    rng = np.random.default_rng(3)
    centres = rng.standard_normal((len(GENRES), WIDTH))

    def items(n: int) -> tuple[FeatureTable, Bools]:
        y = np.eye(len(GENRES), dtype=bool)[rng.integers(len(GENRES), size=n)]
        x = {
            m: (rng.standard_normal((n, WIDTH)) + 2 * (y @ centres) * (m == modality))
            .astype(np.float32) for m in MODALITIES
        }  # fmt: skip
        here = {m: np.ones(n, dtype=bool) for m in MODALITIES}
        return FeatureTable(tuple(map(str, range(n))), x, here), y

    (train, y), (val, y_val), (test, _) = items(200), items(80), items(100)
    target = LogisticTarget(len(GENRES), exclusive=True)
    target.fit(y)
    quality = quality_of(target, exclusive=True)
    task, val_task = (Task(target, own, np.arange(len(own)) % 5, quality) for own in (y, y_val))
    experts = {m: fit_expert(train, m, task, LEARNED) for m in MODALITIES}
    names = {m: m for m in MODALITIES}
    keys = {m: [m] for m in MODALITIES}
    fitting = Fitting(
        train, task, val, val_task, keys, experts, names, frozenset(MODALITIES), "auto"
    )
    patterns = fitting.row(MODALITIES)
    used = {key: fitting.fitted[key].expert for p in patterns.values() for key in p.experts}
    prior = np.zeros(len(GENRES), np.float32)
    labels = LabelSpace(GENRES, exclusive=True)
    return SolvedFusion(used, patterns, prior, target, "logistic", labels), test


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_modality_in_which_the_genre_was_planted_has_the_largest_share(modality: str) -> None:
    model, table = planted(modality)
    found = shapley(model.scores, table)
    scores = model.scores(table)
    first = scores.argmax(axis=1)[:, None]
    shares = np.stack([np.take_along_axis(found.of[m], first, axis=1)[:, 0] for m in MODALITIES])
    assert (shares.argmax(axis=0) == MODALITIES.index(modality)).mean() >= 0.8
    assert np.median(shares[MODALITIES.index(modality)]) > 0.4
    total = np.take_along_axis(found.base, first, axis=1)[:, 0] + shares.sum(axis=0)
    np.testing.assert_allclose(total, scores.max(axis=1), atol=1e-9)


def test_reasons_of_a_model_add_up_to_its_scores(small: Small) -> None:
    manifest = Manifest.read(small.manifest)
    some = manifest.only(manifest.ids()[:12])
    tagger = GenreTagger.from_pretrained(small.run)
    plain, _ = tagger.predict_manifest(some, workers=1)
    assert all(p.reasons is None for p in plain)
    explained, _ = tagger.predict_manifest(some, workers=1, explain=True)
    for prediction, without in zip(explained, plain, strict=True):
        assert prediction.genres == without.genres
        reasons = prediction.reasons
        assert reasons is not None
        assert reasons.genre == prediction.genres[0].name
        total = reasons.base + sum(reasons.shares.values())
        assert total == pytest.approx(prediction.genres[0].score, abs=1e-6)
        assert tuple(reasons.shares) == tuple(reasons.alone) == prediction.used
        if len(prediction.used) == 1:
            assert reasons.alone[prediction.used[0]] == prediction.genres[0]


def test_reasons_on_the_command_line(call: Call, small: Small, tmp_path: Path) -> None:
    item = next(i for i in Manifest.read(small.manifest) if {"audio", "image"} <= i.media.keys())
    given = ("--audio", item.media["audio"][0], "--image", item.media["image"][0], "--explain")
    found = call("predict", small.run, *given, "--json").json["predictions"][0]["reasons"]
    text = call("predict", small.run, *given).out
    audio, image = (found["shares"][m] for m in ("audio", "image"))
    base = f"{found['base']:.3f}"
    line = f"{found['genre']} = {base} of nothing known  {audio:+.3f} audio  {image:+.3f} image"
    assert line in text
    assert f"alone: audio: {found['alone']['audio']['name']}" in text
    refused = call("predict", small.run, *given, "--format", "csv")
    assert refused.code == 2
    assert "--explain" in refused.err
    assert "reasons" not in call("predict", small.run, *given[:-1], "--json").out
