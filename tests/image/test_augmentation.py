"""Augmented covers against plain cuts, right angles and torchvision's colours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torchvision.transforms.v2 import functional as torchvision

from mmgenre.image import augmentation
from mmgenre.image.augmentation import DRAWN, draw_views, random_sizes, views_of
from mmgenre.image.crops import cut, middle_crops
from mmgenre.image.settings import ImageConfig, ImageInput

Numbers = NDArray[np.number]
N, STORED, SIDE = 6, 20, 12
PLAIN = ImageConfig(weights="none", crop_px=SIDE, input=ImageInput(size_px=STORED))


def warp(
    images: NDArray[np.uint8],
    corners: Numbers,
    sizes: Numbers,
    turned_deg: Numbers,
    mirrored: NDArray[np.bool_],
    side: int,
) -> NDArray[np.uint8]:
    drawn = np.ones((len(images), len(DRAWN)), np.float32)
    drawn[:, :6] = np.stack([*corners, *sizes, turned_deg, mirrored], axis=1)
    return augmentation.warp(torch.from_numpy(images), torch.from_numpy(drawn), side).numpy()


def random_crops(
    images: NDArray[np.uint8], config: ImageConfig, rng: np.random.Generator
) -> NDArray[np.uint8]:
    drawn = draw_views(len(images), images.shape[1], config, rng)
    return views_of(torch.from_numpy(images), torch.from_numpy(drawn), config).numpy()


def jitter_colours(images: NDArray[np.uint8], factors: NDArray[np.float64]) -> NDArray[np.uint8]:
    given = torch.from_numpy(factors.T.astype(np.float32))
    return augmentation.jitter_colours(torch.from_numpy(images), given).numpy()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def images(rng: np.random.Generator) -> NDArray[np.uint8]:
    return rng.integers(0, 256, (N, STORED, STORED, 3), dtype=np.uint8)


def test_a_window_that_is_not_turned_or_scaled_is_a_cut(
    images: NDArray[np.uint8], rng: np.random.Generator
) -> None:
    corners = rng.integers(STORED - SIDE + 1, size=(2, N))
    mirrored = np.arange(N) % 2 == 0
    sizes, still = np.full((2, N), SIDE), np.zeros(N)
    warped = warp(images, corners, sizes, still, mirrored, SIDE)
    np.testing.assert_array_equal(warped, cut(images, corners, mirrored, SIDE))


def test_without_scale_and_rotation_views_are_cuts(
    images: NDArray[np.uint8], rng: np.random.Generator
) -> None:
    drawn = draw_views(N, STORED, PLAIN, rng)
    assert len(np.unique(drawn[:, :2])) > 2
    assert set(drawn[:, 5].tolist()) == {0.0, 1.0}
    views = views_of(torch.from_numpy(images), torch.from_numpy(drawn), PLAIN).numpy()
    expected = cut(images, drawn[:, :2].T.astype(np.intp), drawn[:, 5] > 0, SIDE)
    np.testing.assert_array_equal(views, expected)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_right_angle_is_a_right_angle(images: NDArray[np.uint8], quarters: int) -> None:
    corners, sizes = np.full((2, N), 4), np.full((2, N), SIDE)
    straight = np.zeros(N, dtype=np.bool_)
    turned = warp(images, corners, sizes, np.full(N, 90.0 * quarters), straight, SIDE)
    middle = middle_crops(images, SIDE)
    np.testing.assert_array_equal(turned, np.rot90(middle, quarters, axes=(1, 2)))


def test_windows_are_scaled_to_the_crop() -> None:
    rows, columns = np.mgrid[:STORED, :STORED] * 10.0
    ramp = np.stack([rows, columns, rows], axis=-1).astype(np.uint8)[None]
    corners, sizes = np.array([[2], [8]]), np.array([[12], [6]])
    window = warp(ramp, corners, sizes, np.zeros(1), np.zeros(1, dtype=np.bool_), 12)[0]
    # 12 rows stay as they are; 6 columns become 12, each half a column further than the last.
    np.testing.assert_array_equal(window[:, 0, 0], 10 * np.arange(2, 14))
    expected = 10 * (8 + (np.arange(12) + 0.5) / 2 - 0.5)
    np.testing.assert_allclose(window[0, :, 1].astype(float), expected, atol=0.51)


def test_no_black_corners() -> None:
    white = np.full((1, STORED, STORED, 3), 200, np.uint8)
    turned = warp(
        white,
        np.zeros((2, 1)),
        np.full((2, 1), STORED),
        np.array([45.0]),
        np.zeros(1, dtype=np.bool_),
        SIDE,
    )
    assert (turned == 200).all()


def test_sizes_keep_to_area_and_aspect(rng: np.random.Generator) -> None:
    heights, widths = random_sizes(rng, 4000, 100, 0.2)
    assert max(heights.max(), widths.max()) <= 100
    areas, aspects = heights * widths / 100**2, widths / heights
    assert 0.2 - 1e-9 <= areas.min() < 0.21
    assert areas.max() > 0.95
    assert 0.75 - 1e-9 <= aspects.min() < 0.77
    assert 1.31 < aspects.max() <= 4 / 3 + 1e-9
    assert abs(np.log(aspects).mean()) < 0.02


def test_views_stay_inside(images: NDArray[np.uint8], rng: np.random.Generator) -> None:
    inside = images // 2  # what is interpolated lies between what is there
    turned = PLAIN.model_copy(update={"rotation_deg": 180.0, "min_scale": 0.3})
    views = random_crops(inside, turned, rng)
    assert views.shape == (N, SIDE, SIDE, 3)
    assert views.max() <= 127


def test_what_is_off_draws_nothing(images: NDArray[np.uint8]) -> None:
    one, other = np.random.default_rng(3), np.random.default_rng(3)
    still = PLAIN.model_copy(update={"random_crop": False, "random_flip": False})
    random_crops(images, still, one)
    assert one.random() == other.random()


@pytest.mark.parametrize("which", [0, 1, 2])
def test_colours_change_as_in_torchvision(
    images: NDArray[np.uint8], rng: np.random.Generator, which: int
) -> None:
    factors = np.ones((3, N))
    factors[which] = rng.uniform(0.5, 1.5, N)
    adjust = (
        torchvision.adjust_brightness,
        torchvision.adjust_contrast,
        torchvision.adjust_saturation,
    )[which]
    expected = [
        adjust(torch.from_numpy(image).permute(2, 0, 1) / 255, factor).permute(1, 2, 0) * 255
        for image, factor in zip(images, factors[which], strict=True)
    ]
    changed = jitter_colours(images, factors)
    np.testing.assert_allclose(changed, np.stack(expected), atol=0.6)
    assert (changed != images).any()


def test_factors_of_one_change_nothing(images: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(jitter_colours(images, np.ones((3, N))), images)
