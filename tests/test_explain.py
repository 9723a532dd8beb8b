"""Each explanation against a slow loop from its equation, and against planted truths."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from mmgenre.encoders.image import ImageConfig, ImageEncoder
from mmgenre.encoders.network import TaskHead
from mmgenre.errors import MmgenreError
from mmgenre.explain import heat as heat_module
from mmgenre.explain.agreement import both, pearson, read_human
from mmgenre.explain.guesses import best_guesses, first_ids
from mmgenre.explain.heat import (
    class_activation_maps,
    cover_heat,
    gradient_maps,
    heat_of,
    place_maps,
)
from mmgenre.explain.overlay import jpeg_base64, overlay
from mmgenre.explain.points import distinct, two_dimensions
from mmgenre.explain.words import chance_gain, information_gain, speaks_for, top_words
from mmgenre.targets import CosineTarget, LogisticTarget, Target

# METHOD.md, table 3: (human, model) by genre, where legible.
TABLE_3 = {
    "A": {"Blues": (0, 0.05), "Country": (0.40, 0.37), "Electronic": (0.62, 0.64),
          "Folk": (0, 0.13), "Jazz": (0.62, 0.47), "Latin": (0.33, 0.17), "Metal": (0.80, 0.69),
          "New Age": (0, 0), "Pop": (0.43, 0.39), "Punk": (0.44, 0.04)},
    "V": {"Blues": (0.50, 0.36), "Country": (0.60, 0.21), "Electronic": (0.44, 0.44),
          "Folk": (0.33, 0.23), "Jazz": (0.38, 0.27), "Latin": (0.33, 0.08), "Metal": (0.43, 0.49),
          "New Age": (0, 0.12), "Pop": (0.46, 0.43), "Punk": (0.29, 0)},
}  # fmt: skip


# Words


def entropy(shares: list[float]) -> float:
    return -sum(p * math.log2(p) for p in shares if p > 0)


def slow_gain(words: NDArray[np.bool_], labels: NDArray[np.bool_], w: int, j: int) -> float:
    """H(l) - sum over v of P(w = v) H(l | w = v), text by text."""
    n, gain = len(words), 0.0
    pairs = [(bool(words[i, w]), bool(labels[i, j])) for i in range(n)]
    gain = entropy([sum(has is v for _, has in pairs) / n for v in (True, False)])
    for value in (True, False):
        group = [has for word, has in pairs if word is value]
        if group:
            shares = [sum(has is v for has in group) / len(group) for v in (True, False)]
            gain -= len(group) / n * entropy(shares)
    return gain


def test_information_gain_is_the_equation(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    words, labels = rng.random((31, 9)) < 0.3, rng.random((31, 4)) < 0.4
    words[:, 0], words[:, 1], labels[:, 0] = True, False, False
    words[:, 2] = labels[:, 1]  # a word that says it all
    monkeypatch.setattr("mmgenre.explain.words.WORDS_AT_ONCE", 4)
    gain = information_gain(words, labels)
    expected = [[slow_gain(words, labels, w, j) for j in range(4)] for w in range(9)]
    np.testing.assert_allclose(gain, expected, atol=1e-12)
    assert (gain >= 0).all()
    assert gain[2, 1] == pytest.approx(entropy([labels[:, 1].mean(), 1 - labels[:, 1].mean()]))
    order = rng.permutation(31)
    np.testing.assert_allclose(information_gain(words[order], labels[order]), gain)


def test_a_word_may_speak_against_a_genre() -> None:
    labels = np.array([[True], [True], [False], [False]])
    words = np.hstack([labels, ~labels])
    assert speaks_for(words, labels).tolist() == [[True], [False]]
    gain = information_gain(words, labels)[:, 0]
    found = top_words(gain, speaks_for(words, labels)[:, 0], words.sum(axis=0), ["b", "a"], 5)
    assert found == [
        {"word": "a", "bits": 1.0, "speaks_for": False, "n_texts": 2},
        {"word": "b", "bits": 1.0, "speaks_for": True, "n_texts": 2},
    ]
    assert (
        top_words(gain * 0, speaks_for(words, labels)[:, 0], words.sum(axis=0), ["b", "a"], 5) == []
    )


def test_chance_is_what_noise_reaches_and_a_real_word_passes() -> None:
    rng = np.random.default_rng(1)
    labels = rng.random((80, 1)) < 0.3
    words = np.hstack([labels, rng.random((80, 200)) < 0.2])
    gain, chance = information_gain(words, labels)[:, 0], chance_gain(words, labels, rng)[0]
    assert gain[0] > 3 * chance
    assert (gain[1:] > chance).sum() <= 3


@pytest.mark.parametrize(
    ("words", "labels", "said"),
    [
        (np.ones((3, 2)), np.ones((3, 2), bool), "both must be bool"),
        (np.ones((3, 2), bool), np.ones((4, 2), bool), "same n > 0"),
        (np.ones((0, 2), bool), np.ones((0, 2), bool), "same n > 0"),
    ],
)
def test_what_is_no_words_is_refused(words: Any, labels: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        information_gain(words, labels)


# Heat


def test_cam_is_its_loop_and_its_mean_is_the_output() -> None:
    rng = torch.Generator().manual_seed(0)
    features = torch.rand((2, 3, 4, 5), generator=rng)
    layer = nn.Linear(3, 2).requires_grad_(False)
    maps = class_activation_maps(features, layer.weight)
    for b, c, y, x in product(range(2), range(2), range(4), range(5)):
        expected = sum(float(layer.weight[c, k] * features[b, k, y, x]) for k in range(3))
        assert float(maps[b, c, y, x]) == pytest.approx(expected, abs=1e-6)
    output = layer(features.mean(dim=(2, 3)))
    torch.testing.assert_close(maps.mean(dim=(2, 3)) + layer.bias, output)


def test_the_three_methods_agree_where_cam_is_exact() -> None:
    features = torch.rand((2, 3, 4, 5), generator=torch.Generator().manual_seed(1))
    layer = nn.Linear(3, 2)
    for method in (gradient_maps, place_maps):
        leaf = features.clone().requires_grad_()
        score = layer(leaf.mean(dim=(2, 3)))[:, 1]
        expected = class_activation_maps(features, layer.weight)[:, 1] / 20
        torch.testing.assert_close(method(score, leaf), expected)


def test_grad_cam_is_its_loop_behind_a_layer_that_is_not_linear() -> None:
    features = torch.rand((2, 3, 2, 2), generator=torch.Generator().manual_seed(2))
    weight = torch.randn((2, 2, 3), generator=torch.Generator().manual_seed(3))

    def score(x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(torch.einsum("bkyx,yxk->b", x, weight)) * 2

    step, leaf = 1e-3, features.clone().requires_grad_()
    averaged, placed = gradient_maps(score(leaf), leaf), place_maps(score(leaf), leaf)
    slopes = torch.zeros_like(features)
    for b, k, y, x in product(range(2), range(3), range(2), range(2)):
        up, down = features.clone(), features.clone()
        up[b, k, y, x] += step
        down[b, k, y, x] -= step
        slopes[b, k, y, x] = (score(up) - score(down))[b] / (2 * step)
    for b, y, x in product(range(2), range(2), range(2)):
        alpha = [float(slopes[b, k].mean()) for k in range(3)]
        cam = sum(a * float(features[b, k, y, x]) for k, a in enumerate(alpha))
        assert float(averaged[b, y, x]) == pytest.approx(cam, abs=2e-3)
        hires = sum(float(slopes[b, k, y, x] * features[b, k, y, x]) for k in range(3))
        assert float(placed[b, y, x]) == pytest.approx(hires, abs=2e-3)


def test_heat_is_within_0_and_1_and_blank_where_all_speaks_against() -> None:
    maps = torch.tensor([[[2.0, -1.0], [0.0, 1.0]], [[-1.0, -2.0], [-3.0, -4.0]]])
    heat = heat_of(maps, 8)
    assert heat.shape == (2, 8, 8)
    assert float(heat[0].max()) == 1.0
    assert heat[0].argmax() == 0  # the upper left corner
    assert float(heat.min()) == 0.0
    assert not heat[1].any()


def image_encoder(side: int, dim: int | str) -> ImageEncoder:
    values = {"network": "resnet-18", "weights": "none", "crop_px": side, "embedding_dim": dim}
    torch.manual_seed(0)
    return ImageEncoder(ImageConfig.model_validate({**values, "input": {"size_px": side}})).eval()


def cosine_target() -> CosineTarget:
    target = CosineTarget(2, 2)
    target.fit(np.array([[True, False], [False, True], [True, False]]))
    return target


@pytest.mark.parametrize(
    ("side", "dim", "target", "method", "block", "grid"),
    [
        (176, "native", LogisticTarget(2, exclusive=True), "CAM", "layer4", (6, 6)),
        (176, "native", cosine_target(), "Grad-CAM", "layer4", (6, 6)),
        (176, 16, LogisticTarget(2, exclusive=False), "Grad-CAM", "layer4", (6, 6)),
        (48, "native", LogisticTarget(2, exclusive=True), "HiResCAM", "layer2", (6, 6)),
        (16, 8, cosine_target(), "HiResCAM", "layer1", (4, 4)),
    ],
)
def test_the_method_fits_the_network(
    side: int, dim: int | str, target: Target, method: str, block: str, grid: tuple[int, int]
) -> None:
    encoder = image_encoder(side, dim)
    head = TaskHead(nn.Linear(encoder.embedding_dim, target.dim), target, ("a", "b"))
    crops = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    found = cover_heat(encoder, head, crops)
    assert (found.method, found.block, found.grid) == (method, block, grid)
    assert found.is_last is (block == "layer4")
    assert found.heat.shape == (2, side, side)
    with torch.inference_mode():
        scores = head.scores(encoder(torch.from_numpy(crops)).numpy())
    np.testing.assert_allclose(found.scores, scores.max(axis=1), atol=1e-6)
    assert found.genres.tolist() == scores.argmax(axis=1).tolist()
    assert not any(m._forward_hooks for m in encoder.modules())
    # A cover's heat does not depend on its neighbours.
    alone = cover_heat(encoder, head, crops[1:])
    np.testing.assert_allclose(alone.heat[0], found.heat[1], atol=1e-4)


def test_an_unknown_network_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heat_module, "BLOCKS", {"vgg-16": ("features",)})
    encoder = image_encoder(16, 8)
    head = TaskHead(nn.Linear(8, 2), LogisticTarget(2, exclusive=True), ("a", "b"))
    with pytest.raises(MmgenreError, match=r"resnet-18: no heat maps.*known: vgg-16"):
        cover_heat(encoder, head, np.zeros((1, 16, 16, 3), np.uint8))


def planted_covers(
    n: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.intp], NDArray[np.intp]]:
    """Noise of 48 px with a patch in one of four corners, whose colour is the genre."""
    covers = rng.integers(60, 190, (n, 48, 48, 3)).astype(np.uint8)
    genres, corners = rng.integers(0, 2, n), rng.integers(0, 4, n)
    for cover, genre, corner in zip(covers, genres, corners, strict=True):
        top, left = 36 * (corner // 2), 36 * (corner % 2)
        cover[top : top + 12, left : left + 12] = (240, 30, 30) if genre else (30, 30, 240)
    return covers, genres, corners


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Threads that wait for each other make tiny networks ten times slower on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_the_heat_lies_where_the_genre_was_planted() -> None:
    encoder, rng = image_encoder(48, 32), np.random.default_rng(0)
    output, target = nn.Linear(32, 2), LogisticTarget(2, exclusive=True)
    adam = torch.optim.Adam([*encoder.parameters(), *output.parameters()], 1e-3)
    encoder.train()
    for _ in range(16):
        covers, genres, _ = planted_covers(24, rng)
        truth = nn.functional.one_hot(torch.from_numpy(genres), 2).float()
        loss = target.loss(output(encoder(torch.from_numpy(covers))), truth)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
    covers, genres, corners = planted_covers(24, rng)
    found = cover_heat(encoder, TaskHead(output, target, ("blue", "red")), covers)
    assert found.genres.tolist() == genres.tolist()
    shares = []
    for heat, corner in zip(found.heat, corners, strict=True):
        top, left = 24 * (corner // 2), 24 * (corner % 2)
        shares.append(heat[top : top + 24, left : left + 24].sum() / heat.sum())
    assert np.mean(shares) > 0.6  # a quarter of the area


# Overlay


def test_cold_places_stay_grey_and_the_cover_shows_through() -> None:
    cover = np.zeros((8, 8, 3), np.uint8)
    cover[:, ::2] = (255, 0, 0)
    heat = np.zeros((8, 8))
    heat[:, 4:] = 1
    laid = overlay(cover, heat)
    assert (np.ptp(laid[:, :4].astype(int), axis=2) == 0).all()
    assert (np.ptp(laid[:, 4:].astype(int), axis=2) > 30).all()
    assert (laid[:, 4] != laid[:, 5]).any()  # the stripes can still be seen
    picture = Image.open(io.BytesIO(base64.b64decode(jpeg_base64(laid, 20))))
    assert (picture.format, picture.size) == ("JPEG", (20, 20))
    with pytest.raises(ValueError, match="cover"):
        overlay(cover, heat[:4])
    with pytest.raises(ValueError, match="within 0 and 1"):
        overlay(cover, heat * 2)


# Agreement


@pytest.mark.parametrize("row", TABLE_3)
def test_pearson_of_the_papers_table_3(row: str) -> None:
    human, model = zip(*TABLE_3[row].values(), strict=True)
    r, undefined = pearson(human, model)
    assert r == pytest.approx(scipy.stats.pearsonr(human, model).statistic)
    assert r == pytest.approx({"A": 0.857, "V": 0.518}[row], abs=5e-4)
    assert not undefined


def test_a_correlation_that_does_not_exist_says_why() -> None:
    assert pearson([0.1, 0.2], [0.3, 0.4]) == (None, "n = 2: fewer than 3 always lie on a line")
    assert pearson([0.5] * 3, [0.1, 0.2, 0.3]) == (None, "the first has the same value everywhere")
    with pytest.raises(ValueError, match="one of each"):
        pearson([0.1], [0.2, 0.3])
    shared = both({"Pop": 0.5, "Jazz": 0.1}, {"Pop": 0.6, "Jazz": None})
    assert shared == (["Pop"], [0.5], [0.6], ["Jazz"])


def test_an_annotators_file(tmp_path: Path) -> None:
    file = tmp_path / "human.csv"
    file.write_text("\ufeffgenre, A ,A+I\nRock,.5,\n\n Jazz ,0,1\n", encoding="utf-8")
    assert read_human(file, ["Jazz", "Rock"], ["A", "I", "A+I"]) == {
        "A": {"Rock": 0.5, "Jazz": 0.0},
        "A+I": {"Jazz": 1.0},
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", r"columns \[\]"),
        ("genre\nRock\n", "must be 'genre' and"),
        ("genre,A,A\nRock,1,1\n", "each once"),
        ("genre,Z\nRock,1\n", "unknown row 'Z'.*Known genres: Rock.*Known rows: A, I"),
        ("genre,A\nPolka,1\n", "line 2: unknown genre 'Polka'.*Known genres: Rock"),
        ("genre,A\nRock,1\nRock,1\n", "line 3: genre 'Rock' again"),
        ("genre,A\nRock,1.5\n", "line 2, A: '1.5' is no F1"),
        ("genre,A\nRock,nan\n", "'nan' is no F1"),
        ("genre,A\nRock\n", "line 2: 1 cells, not 2"),
    ],
)
def test_an_annotators_file_with_faults(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "human.csv"
    file.write_text(content)
    with pytest.raises(MmgenreError, match=said):
        read_human(file, ["Rock"], ["A", "I"])


def test_an_annotators_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"genre,A\n\xff,1\n")
    for name in ("x.csv", "absent.csv"):
        with pytest.raises(MmgenreError, match=rf"{name}: no readable CSV"):
            read_human(tmp_path / name, ["Rock"], ["A"])


# Points and guesses


def test_a_map_keeps_neighbours_and_repeats() -> None:
    rng = np.random.default_rng(0)
    centres = np.repeat(10 * np.eye(3, 12), 12, axis=0)
    vectors = centres + rng.normal(size=(36, 12))
    points = two_dimensions(vectors, seed=3)
    assert points.shape == (36, 2)
    assert np.abs(points).max() == pytest.approx(1)
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (distances.argmin(axis=1) // 12 == np.arange(36) // 12).all()
    np.testing.assert_array_equal(two_dimensions(vectors, seed=3), points)


def test_a_map_of_too_little_is_refused() -> None:
    assert distinct(np.zeros((9, 3))) == 1
    for vectors in (np.eye(4), np.zeros((20, 3)), np.repeat(np.eye(2), 10, axis=0)):
        with pytest.raises(ValueError, match="a map needs 5, and 3 different"):
            two_dimensions(vectors, seed=0)


def test_guesses_are_the_best_scored_and_the_items_the_first() -> None:
    scores, truth = np.array([0.1, 0.9, 0.5, 0.5]), np.array([False, False, True, False])
    found = best_guesses(scores, truth, ["a", "b", "c", "d"])
    assert [(g["genre"], g["right"]) for g in found] == [("b", False), ("c", True), ("d", False)]
    assert [g["score"] for g in found] == [0.9, 0.5, 0.5]
    assert len(best_guesses(scores[:2], truth[:2], ["a", "b"])) == 2
    assert first_ids({"x10", "x1", "x2"}, 2) == ["x1", "x10"]
