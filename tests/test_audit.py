"""Leakage that names do not show: identical files and near-identical covers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mmgenre.audit import NEAR_BITS, Audit, audit, difference_hash, near_pairs
from mmgenre.errors import InputError
from mmgenre.manifest import Item, Manifest, Modality, Split
from mmgenre.provenance import sha256_file


def cover(seed: int, side: int = 300) -> Image.Image:
    """Overlapping rectangles and circles, like no other seed's."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (side, side), tuple(int(v) for v in rng.integers(0, 255, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, w, h = (int(v) for v in rng.integers(0, side, 4))
        fill = tuple(int(v) for v in rng.integers(0, 255, 3))
        (draw.rectangle if rng.random() < 0.5 else draw.ellipse)((x, y, x + w, y + h), fill=fill)
    return image


def manifest(files: dict[str, tuple[Split | None, Path]], modality: Modality = "image") -> Manifest:
    return Manifest(
        Item(item_id, artist=f"artist of {item_id}", split=split, media={modality: (path,)})
        for item_id, (split, path) in files.items()
    )


def kinds(found: Audit) -> list[tuple[str, tuple[str, ...]]]:
    return [(leak.kind, leak.ids) for leak in found.leaks]


@pytest.mark.parametrize("modality", ["audio", "text", "image"])
def test_identical_files_across_splits_are_leaks(tmp_path: Path, modality: Modality) -> None:
    paths = []
    for k in range(3):
        paths.append(tmp_path / f"{k}.png")
        cover(min(k, 1)).save(paths[-1])  # the last two are the same
    shown = {"a": ("train", paths[0]), "b": ("train", paths[1]), "c": ("test", paths[2])}
    found = audit(manifest(shown, modality))  # type: ignore[arg-type]
    assert kinds(found) == [(f"identical {modality}", ("b", "c"))]
    assert found.leaks[0].splits == ("train", "test")
    assert found.leaks[0].value == sha256_file(paths[1])[:16]
    assert found.repeats == ()
    assert found.missing == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda image, path: image.save(path, quality=60),
        lambda image, path: image.resize((150, 150)).save(path, quality=90),
        lambda image, path: image.resize((640, 640)).save(path, quality=80),
        lambda image, path: image.point(lambda v: min(255, round(v * 1.05))).save(path),
    ],
    ids=["recompressed", "smaller", "larger", "brighter"],
)
def test_the_same_picture_in_another_file_is_a_leak(
    tmp_path: Path, change: Callable[[Image.Image, Path], None]
) -> None:
    for seed in range(3):
        cover(seed).save(tmp_path / "a.png")
        change(cover(seed), tmp_path / "b.jpg")
        cover(seed + 100).save(tmp_path / "c.png")
        files: dict[str, tuple[Split | None, Path]] = {
            "a": ("train", tmp_path / "a.png"),
            "b": ("val", tmp_path / "b.jpg"),
            "c": ("test", tmp_path / "c.png"),
        }
        found = audit(manifest(files))
        assert kinds(found) == [("similar cover", ("a", "b"))]
        assert found.leaks[0].value == "a ~ b"


@pytest.mark.parametrize("splits", [("val", "val"), (None, None), (None, "val")])
def test_within_a_split_or_without_splits_it_is_a_repeat(
    tmp_path: Path, splits: tuple[Split | None, Split | None]
) -> None:
    cover(1).save(tmp_path / "a.png")
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    cover(1).save(tmp_path / "c.jpg", quality=70)
    found = audit(
        manifest(
            {
                "a": (splits[0], tmp_path / "a.png"),
                "b": (splits[1], tmp_path / "b.png"),
                "c": (splits[1], tmp_path / "c.jpg"),
            }
        )
    )
    assert found.leaks == ()
    assert found.repeats == (
        "identical image a, b",
        "similar cover a, c",
        "similar cover b, c",
    )


def test_plain_covers_are_no_pictures(tmp_path: Path) -> None:
    for name, colour in (("a", "white"), ("b", (250, 250, 250)), ("c", "black")):
        Image.new("RGB", (200, 200), colour).save(tmp_path / f"{name}.png")
        assert difference_hash(tmp_path / f"{name}.png") is None
    files: dict[str, tuple[Split | None, Path]] = {
        "a": ("train", tmp_path / "a.png"),
        "b": ("test", tmp_path / "b.png"),
        "c": ("val", tmp_path / "c.png"),
    }
    found = audit(manifest(files))
    assert (found.leaks, found.repeats) == ((), ())


def test_different_covers_are_kept_apart(tmp_path: Path) -> None:
    hashes = {}
    for seed in range(40):
        cover(seed).save(tmp_path / f"{seed}.png")
        bits = difference_hash(tmp_path / f"{seed}.png")
        assert bits is not None
        hashes[str(seed)] = bits
    assert near_pairs(hashes) == set()


def test_identical_music_does_not_hide_a_similar_cover(tmp_path: Path) -> None:
    (tmp_path / "song.mp3").write_bytes(b"the same song")
    cover(1).save(tmp_path / "a.png")
    cover(1).save(tmp_path / "b.jpg", quality=80)
    songs = (tmp_path / "song.mp3",)
    both = Manifest(
        [
            Item("a", split="train", media={"audio": songs, "image": (tmp_path / "a.png",)}),
            Item("b", split="test", media={"audio": songs, "image": (tmp_path / "b.jpg",)}),
        ]
    )
    expected = [("identical audio", ("a", "b")), ("similar cover", ("a", "b"))]
    assert kinds(audit(both)) == expected


def test_names_and_files_are_found_together(tmp_path: Path) -> None:
    cover(1).save(tmp_path / "a.png")
    items = [
        Item("a", "Björk", split="train", media={"image": (tmp_path / "a.png",)}),
        Item("b", "BJORK", split="test", media={"text": ("the same words",)}),
        Item("c", "Other", split="val", media={"text": ("the same words",)}),
    ]
    assert [leak.kind for leak in audit(Manifest(items)).leaks] == ["artist"]  # inline texts pass


def test_files_that_cannot_be_read_are_listed(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    cover(1).save(tmp_path / "good.png")
    files: dict[str, tuple[Split | None, Path]] = {
        "a": ("train", tmp_path / "absent.jpg"),
        "b": ("val", tmp_path / "broken.jpg"),
        "c": ("test", tmp_path / "good.png"),
    }
    told: list[int] = []
    found = audit(manifest(files), progress=lambda task, done, total: told.append(done))
    assert [(r.id, r.modality, r.code) for r in found.missing] == [
        ("a", "image", "missing"),
        ("b", "image", "unreadable"),
    ]
    assert "absent.jpg" in found.missing[0].detail
    assert told == [0, 1, 2, 3]
    with pytest.raises(InputError):
        difference_hash(tmp_path / "broken.jpg")


def test_near_pairs_are_those_of_a_slow_loop() -> None:
    rng = np.random.default_rng(0)
    hashes = {}
    for k in range(60):
        bits = int.from_bytes(rng.bytes(8), "big")
        for j in range(3):
            flips = rng.choice(64, int(rng.integers(0, 5)), replace=False)
            hashes[f"{k}-{j}"] = bits ^ sum(1 << int(f) for f in flips)
    expected = {
        (a, b)
        for a, b in combinations(sorted(hashes), 2)
        if (hashes[a] ^ hashes[b]).bit_count() <= NEAR_BITS
    }
    assert 20 < len(expected) < 180
    assert near_pairs(hashes) == expected


@pytest.mark.realdata
def test_real_covers_match_only_their_own_copies(real_data: Path) -> None:
    paths = {p.stem: p for p in sorted((real_data / "real" / "covers").iterdir())}
    hashes = {name: difference_hash(path) for name, path in paths.items()}
    pairs = near_pairs({name: bits for name, bits in hashes.items() if bits is not None})
    identical = {
        (a, b)
        for a, b in combinations(sorted(paths), 2)
        if sha256_file(paths[a]) == sha256_file(paths[b])
    }
    assert len(identical) > 10  # singles share the cover of their album
    # Looked at: the same two pictures in other files; no other pair is near.
    shearer = ("69", "can-t-stop-it", "consequence-of-dawn", "man-song")
    assert pairs - identical == {
        ("jonathan-coulton-furry-old-lobster", "jonathan-coulton-shop-vac"),
        *((f"shearer-{song}", "shearer-stay-with-me") for song in shearer),
    }
