"""Fingerprints of covers: what they do not depend on, and what they tell apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, write_store
from mmgenre.image import fingerprint as module
from mmgenre.image.fingerprint import (
    CLOSELY,
    ROUGHLY,
    SIDE,
    aligned_correlation,
    fingerprint,
    similar,
    twins_in,
)
from mmgenre.progress import silent

Square = NDArray[np.uint8]


def cover(seed: int, size: int = 256) -> Square:
    """Overlapping rectangles and circles, like no other seed's."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (size, size), tuple(int(v) for v in rng.integers(0, 255, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, w, h = (int(v) for v in rng.integers(0, size, 4))
        fill = tuple(int(v) for v in rng.integers(0, 255, 3))
        (draw.rectangle if rng.random() < 0.5 else draw.ellipse)((x, y, x + w, y + h), fill=fill)
    return np.asarray(image)


def logo(words: str) -> Square:
    image = Image.new("RGB", (256, 256), "white")
    ImageDraw.Draw(image).text((80, 110), words, "navy", ImageFont.load_default(size=26))
    return np.asarray(image)


def resized(square: Square, size: int) -> Square:
    return np.asarray(Image.fromarray(square).resize((size, size), Image.Resampling.BICUBIC))


def framed(square: Square, width: int, grey: int) -> Square:
    return np.pad(square, ((width, width), (width, width), (0, 0)), constant_values=grey)


@pytest.mark.parametrize(
    "edit",
    [
        lambda square: square,
        lambda square: resized(square, 64),
        lambda square: resized(square, 300),
        lambda square: resized(square[8:-8, 8:-8], 256),
        lambda square: resized(square[:-8, :-8], 256),
        lambda square: resized(framed(square, 30, 255), 256),
        lambda square: resized(framed(framed(square, 20, 0), 10, 255), 256),
        lambda square: (square * 0.7).astype(np.uint8),
        lambda square: np.asarray(Image.fromarray(square).convert("L").convert("RGB")),
    ],
    ids="same small large sides corner frame frames darker grey".split(),  # noqa: SIM905
)
def test_an_edited_cover_is_similar_to_its_source_alone(edit: Callable[[Square], Square]) -> None:
    covers = [cover(seed) for seed in range(20)]
    for k in range(0, 20, 5):
        prints = [fingerprint(square) for square in [*covers, edit(covers[k])]]
        assert similar(prints) == [(k, 20)]


def test_different_covers_are_kept_apart() -> None:
    assert similar([fingerprint(cover(seed)) for seed in range(60)]) == []
    assert similar([]) == []


def test_small_logos_on_white_are_told_apart() -> None:
    words = ("Echo", "Moon Club", "No. 7", "Ghost Radio", "Ox", "WINTER", "silver fir", "Q")
    prints = [fingerprint(logo(text)) for text in words]
    assert similar(prints) == []
    copy = resized(resized(logo(words[0]), 128), 256)
    assert similar([*prints, fingerprint(copy)]) == [(0, len(words))]


def test_a_cover_has_a_view_without_its_borders_and_a_plain_one_has_none() -> None:
    mottled = resized(np.random.default_rng(0).integers(0, 255, (20, 20, 3), np.uint8), 256)
    assert fingerprint(mottled).shape == (1, SIDE, SIDE)
    assert fingerprint(framed(mottled, 40, 0)).shape == (2, SIDE, SIDE)
    assert fingerprint(framed(mottled, 200, 0)).shape == (1, SIDE, SIDE)  # without the borders
    for grey in (0, 100, 255):
        plain = np.full((256, 256, 3), grey, np.uint8)
        assert fingerprint(plain).shape == (0, SIDE, SIDE)
    assert similar([np.zeros((0, SIDE, SIDE), np.float16)] * 3) == []


@pytest.mark.parametrize("size", [8, 31, 64, 65, 224, 342])
def test_any_stored_size_will_do(size: int) -> None:
    views = fingerprint(resized(cover(3), size))
    assert views.dtype == np.float16
    assert views.shape[1:] == (SIDE, SIDE)
    assert np.isfinite(views).all()


def test_alignment_undoes_shift_and_stretch() -> None:
    big = np.stack([np.asarray(Image.fromarray(cover(seed)).convert("L")) for seed in range(30)])
    whole = np.stack([fingerprint(np.repeat(x[..., None], 3, axis=2))[0] for x in big])
    cut = big[:, 10:-2, 4:-12]
    edited = np.stack(
        [
            fingerprint(np.asarray(Image.fromarray(x).resize((256, 256)).convert("RGB")))[0]
            for x in cut
        ]
    )
    x, y = whole.astype(np.float32), edited.astype(np.float32)
    plain = np.array([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(x, y, strict=True)])
    aligned = aligned_correlation(x, y)
    assert (aligned >= plain - 1e-3).all()
    assert aligned.min() > 0.9
    assert plain.min() < CLOSELY  # without it, some would be missed
    other = aligned_correlation(x, np.roll(y, 1, axis=0))
    assert other.max() < CLOSELY


def test_pairs_are_those_of_a_slow_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 7)
    monkeypatch.setattr(module, "CHUNK", 3)
    rng = np.random.default_rng(0)
    prints = []
    for seed in range(25):
        for _ in range(1 + seed % 3):
            noise = rng.normal(0, rng.choice([5, 60]), (256, 256, 3))
            prints.append(fingerprint((cover(seed) + noise).clip(0, 255).astype(np.uint8)))
    n = len(prints)
    alike = np.eye(n, dtype=bool)
    for a in range(n):
        for b in range(a + 1, n):
            for x in prints[a]:
                for y in prints[b]:
                    halved = [
                        v.astype(float).reshape(16, 2, 16, 2).mean(axis=(1, 3)) for v in (x, y)
                    ]
                    if np.corrcoef(*[v.ravel() for v in halved])[0, 1] >= ROUGHLY:
                        one, other = (v[None].astype(np.float32) for v in (x, y))
                        alike[a, b] |= bool(aligned_correlation(one, other)[0] >= CLOSELY)
    groups = {frozenset(np.flatnonzero(row)) for row in np.linalg.matrix_power(alike | alike.T, n)}
    found = similar(prints)
    assert len(found) == n - len(groups)
    assert all(alike[min(pair), max(pair)] for pair in found)


def test_many_copies_are_one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    aligned: list[int] = []

    def counted(fixed: NDArray[np.float32], moved: NDArray[np.float32]) -> NDArray[np.float32]:
        aligned.append(len(fixed))
        return aligned_correlation(fixed, moved)

    monkeypatch.setattr(module, "aligned_correlation", counted)
    n = 700
    assert len(similar([fingerprint(cover(1))] * n)) == n - 1
    assert sum(aligned) < 3 * n  # not n * n / 2


def test_twins_of_a_store_and_their_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    squares = np.stack([cover(1), cover(2), resized(resized(cover(1), 90), 256), cover(4)])
    path = tmp_path / "image.h5"
    write_store(path, "image", [(list("abcd"), squares)], Provenance("inputs", 1, {}))
    told: list[tuple[int, int]] = []
    with FeatureStore(path, "image") as store:
        found = twins_in(store, lambda _, done, total: told.append((done, total)))
        assert (found.pairs, found.note) == ([("a", "c")], None)
        assert told == [(0, 4), (4, 4)]
        monkeypatch.setattr(module, "MOST", 3)
        found = twins_in(store, silent)
        assert not found.pairs
        assert found.note == "4 covers are too many to be compared, which is done up to 3"
