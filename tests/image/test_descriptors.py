"""Descriptors of covers: finite, alike at any stored size, and they see what is planted."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from mmgenre.disk.bundle import read_bundle, write_bundle
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, write_store
from mmgenre.image.descriptors import (
    WIDTHS,
    blocks,
    described,
    resample,
    soft_histogram,
    to_hsv,
    to_lab,
)
from mmgenre.image.kernel import load_descriptors, make_descriptors
from mmgenre.image.settings import ImageConfig
from mmgenre.kinds import KINDS
from mmgenre.learning.embedding import embed
from mmgenre.learning.kernel import KernelEncoder

Square = NDArray[np.uint8]


def striped(colour: tuple[int, int, int], *, upright: bool, seed: int, side: int = 64) -> Square:
    """Stripes of a colour on noise."""
    rng = np.random.default_rng(seed)
    square = rng.integers(0, 60, (side, side, 3))
    bars = (np.arange(side) // 4 % 2).astype(bool)
    square[:, bars] += np.array(colour) // 2
    rows = square.clip(0, 255).astype(np.uint8)
    return rows if upright else rows.transpose(1, 0, 2)


def scaled(square: Square, side: int) -> Square:
    return np.asarray(Image.fromarray(square).resize((side, side), Image.Resampling.BICUBIC))


def picture(seed: int, side: int = 256) -> Square:
    """A random picture, coarse or fine, of few colours or many."""
    rng = np.random.default_rng(seed)
    n = int(rng.choice([4, 8, 16, 32]))
    low, high = np.sort(rng.integers(0, 256, (2, 3)), axis=0)
    return scaled(rng.integers(low, high + 1, (n, n, 3)).astype(np.uint8), side)


@pytest.mark.parametrize("side", [8, 9, 64, 100, 128, 200, 256, 342])
def test_squares_of_any_size_give_finite_numbers(side: int) -> None:
    rng = np.random.default_rng(side)
    grey = np.repeat(rng.integers(0, 256, (side, side, 1)), 3, axis=2)
    rows = [np.zeros((side, side, 3)), np.full((side, side, 3), 255), grey]
    rows += [rng.integers(0, 256, (side, side, 3)), np.full((side, side, 3), (200, 10, 10))]
    for row in rows:
        found = described(row.astype(np.uint8))
        assert found.shape == (sum(WIDTHS),)
        assert found.dtype == np.float32
        assert np.isfinite(found).all()


@pytest.mark.parametrize("side", [128, 200, 300, 342])
def test_the_stored_size_hardly_matters(side: int) -> None:
    encoder = KernelEncoder(WIDTHS, 2048)
    large = [picture(seed, 512) for seed in range(12)]
    here = np.stack([described(scaled(square, 256)) for square in large])
    there = np.stack([described(scaled(square, side)) for square in large])
    encoder.fit(here)
    x, z = (encoder(torch.from_numpy(rows)).numpy() for rows in (here, there))
    similar = x @ z.T
    assert np.diag(similar).min() > 0.85  # the least for fine noise out of 200 px
    assert (similar - np.eye(12)).max() < 0.8


@pytest.mark.parametrize("size", [8, 32, 50, 64, 90])
def test_averages_over_areas_keep_the_mean(size: int) -> None:
    image = np.random.default_rng(0).random((size, size, 3))
    found = resample(image, 32)
    assert found.shape == (32, 32, 3)
    np.testing.assert_allclose(found.mean(axis=(0, 1)), image.mean(axis=(0, 1)))


def test_halving_averages_two_by_two() -> None:
    image = np.random.default_rng(0).random((64, 64, 3))
    expected = image.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(resample(image, 32), expected)


def test_a_soft_histogram_shares_between_neighbours_and_sums_to_one() -> None:
    rng = np.random.default_rng(0)
    joint = soft_histogram([rng.random(500), rng.random(500)], [8, 4], cyclic=1)
    assert joint.sum() == pytest.approx(1)
    # Hue goes round: 0.999 and 0.001 are neighbours, as first and last bin of lightness are not.
    near = [soft_histogram([np.array([h])], [8], cyclic=1) for h in (0.999, 0.001)]
    far = [soft_histogram([np.array([v])], [8]) for v in (0.999, 0.001)]
    assert np.abs(near[0] - near[1]).sum() < 0.05
    assert np.abs(far[0] - far[1]).sum() == pytest.approx(2)


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((0, 0, 0), (0, 0, 0)),
        ((1, 1, 1), (100, 0, 0)),
        ((0.5, 0.5, 0.5), (53.39, 0, 0)),
        ((0, 0, 1), (32.30, 79.19, -107.86)),
    ],
)
def test_lab_of_known_colours(rgb: tuple[float, ...], lab: tuple[float, ...]) -> None:
    np.testing.assert_allclose(to_lab(np.array([[rgb]], float))[0, 0], lab, atol=0.06)


def test_hsv_is_that_of_pillow() -> None:
    square = picture(3, 32)
    expected = np.asarray(Image.fromarray(square).convert("HSV")) / 255
    found = np.stack(to_hsv(square / 255), axis=-1)
    turned = np.abs(found - expected)
    turned[..., 0] = np.minimum(turned[..., 0], 1 - turned[..., 0])  # hue goes round
    assert turned.max() < 0.01


def change(a: Square, b: Square, name: str) -> float:
    return float(np.linalg.norm(blocks(a)[name] - blocks(b)[name]))


@pytest.mark.parametrize("name", ["covariance", "colours", "rings"])
def test_colour_is_told_apart(name: str) -> None:
    red = [striped((255, 0, 0), upright=True, seed=k) for k in range(2)]
    blue = striped((0, 0, 255), upright=True, seed=0)
    assert change(red[0], blue, name) > 5 * change(red[0], red[1], name)


@pytest.mark.parametrize("name", ["covariance", "gradients", "contrast", "stripes"])
def test_direction_is_told_apart(name: str) -> None:
    down = [striped((255, 255, 255), upright=True, seed=k) for k in range(2)]
    across = striped((255, 255, 255), upright=False, seed=0)
    assert change(down[0], across, name) > 2 * change(down[0], down[1], name)


def test_the_angle_of_an_edge_fills_its_bin() -> None:
    square = np.zeros((128, 128, 3), np.uint8)
    square[:, 68:] = 255  # upright edges: the gradient points across, angle 0
    cells = blocks(square)["gradients"].reshape(8, 8, 9)
    assert cells[:, 4].argmax(axis=-1).tolist() == [0] * 8
    assert cells[:, [0, 1, 2, 6, 7]].max() == 0


def test_detail_moves_power_to_higher_frequencies() -> None:
    def centre(period: int) -> int:
        wave = np.sin(np.arange(128) * 2 * np.pi / period) * 100 + 128
        square = np.repeat(np.tile(wave, (128, 1))[..., None], 3, axis=2).astype(np.uint8)
        return int(blocks(square)["spectrum"][:12].argmax())

    places = [centre(period) for period in (32, 16, 8, 4)]
    assert all(a < b for a, b in pairwise(places))


def test_a_frame_shows_in_the_outer_ring_only() -> None:
    plain = np.full((128, 128, 3), 90, np.uint8)
    framed = plain.copy()
    framed[[0, 1, -2, -1]] = framed[:, [0, 1, -2, -1]] = 255
    changed = np.abs(blocks(plain)["rings"] - blocks(framed)["rings"]).reshape(4, 8)
    assert changed[0].max() > 10
    assert changed[1:].max() < 1e-3


LABELS = np.repeat([0, 1], 20)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeatureStore]:
    """Red and green stripes in turn; upright ones are of one genre."""
    colours = [(255, 40, 40), (40, 255, 40)]
    rows = np.stack(
        [
            striped(colours[k % 2], upright=bool(label), seed=k, side=32)
            for k, label in enumerate(LABELS)
        ]
    )
    ids = [str(k) for k in range(len(rows))]
    path = write_store(tmp_path / "image.h5", "image", [(ids, rows)], Provenance("t", 1, {}))
    with FeatureStore(path, "image") as opened:
        yield opened


def test_a_linear_layer_learns_from_it(store: FeatureStore) -> None:
    train = [str(k) for k in range(40) if k % 4 < 2]
    test = [str(k) for k in range(40) if k % 4 >= 2]
    encoder = make_descriptors(ImageConfig(embedding_dim=256), "logistic", store, train)
    assert KINDS["image"].encoder("descriptors").fixed
    assert not list(encoder.parameters())
    x, z = (embed(encoder, encoder.source(store), ids) for ids in (train, test))
    assert x.shape == (20, 256)
    y = LABELS[[int(i) for i in train]] - 0.5
    weights = np.linalg.solve(x.T @ x + 0.1 * np.eye(256), x.T @ y)
    assert ((z @ weights > 0) == LABELS[[int(i) for i in test]]).all()


def test_only_training_covers_are_seen(store: FeatureStore) -> None:
    config = ImageConfig(embedding_dim=64)
    first = make_descriptors(config, "logistic", store, ["1", "25"])
    same = make_descriptors(config, "cosine", store, ["1", "25"])
    other = make_descriptors(config, "logistic", store, ["2"])
    assert torch.equal(first.mean, same.mean)
    assert not torch.equal(first.mean, other.mean)


@pytest.mark.parametrize(("asked", "width"), [("native", 2048), (2048, 2048), (64, 64)])
def test_width_of_the_embedding(store: FeatureStore, asked: int, width: int) -> None:
    encoder = make_descriptors(ImageConfig(embedding_dim=asked), "logistic", store, ["1", "2"])
    assert encoder.embedding_dim == width
    assert embed(encoder, encoder.source(store), ["0"]).shape == (1, width)


def test_loads_as_it_was_saved(store: FeatureStore, tmp_path: Path) -> None:
    encoder = make_descriptors(ImageConfig(embedding_dim=64), "logistic", store, ["1", "2", "30"])
    write_bundle(tmp_path / "e", "x", encoder.state(), encoder.state_dict(), Provenance("t", 1, {}))
    bundle = read_bundle(tmp_path / "e", "x")
    loaded = load_descriptors(bundle)
    loaded.load_state_dict(bundle.weights)
    expected = embed(encoder, encoder.source(store), ["5", "35"])
    np.testing.assert_array_equal(embed(loaded, loaded.source(store), ["5", "35"]), expected)
