"""Identical files and near-identical covers: in two splits, under two genres, and dropped."""

from __future__ import annotations

import html
import json
import os
import shutil
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from command_line import Call
from PIL import Image, ImageDraw
from text_files import CRASHING_SOUNDFILE, first_on_path, new_workers
from tunes import RATE_HZ, tune
from typer.testing import CliRunner

from mmgenre.cli import manifests
from mmgenre.datasets.audit import Audit, audit, dedupe
from mmgenre.disk.provenance import sha256_file
from mmgenre.errors import ManifestError
from mmgenre.items.item import Item, Split
from mmgenre.items.manifest import Manifest
from mmgenre.items.modalities import Modality


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
        paths.append(tmp_path / f"{k}.{'wav' if modality == 'audio' else 'png'}")
        if modality == "audio":
            noise = np.random.default_rng(min(k, 1)).uniform(-1, 1, 30_000)
            soundfile.write(paths[-1], noise, 22_050)
        else:
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
        lambda image, path: image.save(path, quality=30),
        lambda image, path: image.resize((150, 150)).save(path, quality=90),
        lambda image, path: image.resize((640, 640)).save(path, quality=80),
        lambda image, path: image.crop((3, 3, 297, 297)).save(path, quality=90),
        lambda image, path: image.point(lambda v: min(255, round(v * 1.05))).save(path),
    ],
    ids=["recompressed", "smaller", "larger", "cropped", "brighter"],
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
        "similar cover a, b, c",
    )
    assert found.mixed == ()  # they have no genres, and so the same


def test_plain_covers_are_no_pictures(tmp_path: Path) -> None:
    for name, colour in (("a", "white"), ("b", (250, 250, 250)), ("c", "black")):
        Image.new("RGB", (200, 200), colour).save(tmp_path / f"{name}.png")
    files: dict[str, tuple[Split | None, Path]] = {
        "a": ("train", tmp_path / "a.png"),
        "b": ("test", tmp_path / "b.png"),
        "c": ("val", tmp_path / "c.png"),
    }
    found = audit(manifest(files))
    assert (found.leaks, found.repeats) == ((), ())


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
    assert told == [0, 1, 2, 3, 0, 1, 2]  # hashed, then decoded


def by_genre(folder: Path) -> Manifest:
    """a, b: one file, one genre; c: a copy of it; d, e: one file, two genres; f: alone; g: none."""
    cover(1).save(folder / "a.png")
    shutil.copy(folder / "a.png", folder / "b.png")
    cover(1).save(folder / "c.jpg", quality=30)
    cover(2).save(folder / "d.png")
    shutil.copy(folder / "d.png", folder / "e.png")
    cover(3).save(folder / "f.png")
    genres = {"a": "Rock", "b": "Rock", "c": "Pop", "d": "Jazz", "e": "Blues", "f": "Rock"}
    files = {path.stem: path for path in folder.iterdir()}
    items = [
        Item(i, labels=(genre, "Old"), media={"image": (files[i],)}) for i, genre in genres.items()
    ]
    return Manifest([*items, Item("g", labels=("Rock",), media={"text": ("words",)})])


def test_the_same_cover_under_different_genres(tmp_path: Path) -> None:
    found = audit(by_genre(tmp_path))
    assert [cover.ids for cover in found.mixed] == [("a", "b", "c"), ("d", "e")]
    assert [cover.identical for cover in found.mixed] == [False, True]
    assert str(found.mixed[1]) == "d, e (Blues, Old | Jazz, Old)"
    assert found.leaks == ()


def test_dedupe_keeps_the_first_of_equal_genres_and_none_of_different(tmp_path: Path) -> None:
    done = dedupe(by_genre(tmp_path))
    assert done.manifest.ids() == ("a", "c", "f", "g")
    assert done.dropped == ("b", "d", "e")
    assert [(group.ids, group.kept) for group in done.groups] == [
        (("a", "b"), "a"),
        (("d", "e"), None),
    ]
    again = dedupe(done.manifest)
    assert (again.dropped, again.groups) == ((), ())


def test_dedupe_of_near_copies(tmp_path: Path) -> None:
    done = dedupe(by_genre(tmp_path), near=True)
    assert done.manifest.ids() == ("f", "g")
    assert done.dropped == ("a", "b", "c", "d", "e")
    assert audit(done.manifest).mixed == ()


def showing(path: Path, labels: Mapping[str, tuple[str, ...]]) -> Manifest:
    """Items that all show the same file."""
    return Manifest(Item(i, labels=names, media={"image": (path,)}) for i, names in labels.items())


def test_the_order_of_genres_does_not_matter(tmp_path: Path) -> None:
    cover(1).save(tmp_path / "a.png")
    twice = showing(tmp_path / "a.png", {"a": ("Rock", "Pop"), "b": ("Pop", "Rock")})
    assert dedupe(twice).dropped == ("b",)


def test_dedupe_leaves_what_it_cannot_read_and_says_so(tmp_path: Path) -> None:
    cover(1).save(tmp_path / "a.png")
    paths = {"a": tmp_path / "a.png", "b": tmp_path / "absent.png", "c": tmp_path / "absent.png"}
    done = dedupe(manifest({i: (None, path) for i, path in paths.items()}))
    assert done.manifest.ids() == ("a", "b", "c")
    assert [refusal.id for refusal in done.missing] == ["b", "c"]


def test_dedupe_that_leaves_nothing(tmp_path: Path) -> None:
    items = by_genre(tmp_path)
    with pytest.raises(ManifestError, match="every cover has several genres"):
        dedupe(Manifest([items["d"], items["e"]]))


def test_placeholders_are_one_group_however_many(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "grey").save(tmp_path / "none.png")
    genres = {f"{k:04}": ("Rock" if k % 2 else "Pop",) for k in range(1000)}
    many = showing(tmp_path / "none.png", genres)
    found = audit(many)
    assert [len(cover.ids) for cover in found.mixed] == [1000]
    assert len(found.repeats) == 1


def test_check_counts_covers_of_several_genres(tmp_path: Path, call: Call) -> None:
    path = by_genre(tmp_path).write(tmp_path / "in.csv")
    done = call("manifest", "check", path)
    assert done.code == 0, done.err  # no leak: there are no splits
    assert "mixed: a, b, c (Pop, Old | Rock, Old)" in done.out
    assert "the same cover under different genres: 2 groups" in done.out
    mixed = call("manifest", "check", path, "--json").json["mixed"]
    assert mixed[1]["ids"] == ["d", "e"]


def test_dedupe_command(tmp_path: Path) -> None:
    folder, out = tmp_path / "covers", tmp_path / "out.csv"
    folder.mkdir()
    by_genre(folder).write(tmp_path / "in.csv")
    app = typer.Typer()
    app.command()(manifests.dedupe)

    def run(*words: str) -> str:
        result = CliRunner().invoke(app, [str(tmp_path / "in.csv"), "--out", str(out), *words])
        assert result.exit_code == 0, result.output
        return result.stdout

    said = run()
    assert "same file: kept a, dropped b (Rock, Old)" in said
    assert "same file: dropped d, e (Blues, Old | Jazz, Old)" in said
    assert (
        "4 items; 3 dropped: several items show each of 2 covers, 1 under different genres" in said
    )
    assert Manifest.read(out).ids() == ("a", "c", "f", "g")
    result = json.loads(run("--near", "--json"))
    assert result["dropped"] == ["a", "b", "c", "d", "e"]
    assert result["items"] == 2
    assert result["groups"][0]["kept"] is None


def test_audio_that_cannot_be_read_and_pipes_are_listed(tmp_path: Path) -> None:
    (tmp_path / "fake.mp3").write_bytes(b"the same song")
    os.mkfifo(tmp_path / "pipe.wav")
    os.mkfifo(tmp_path / "pipe.txt")
    good = tmp_path / "good.wav"
    soundfile.write(good, np.random.default_rng(0).uniform(-1, 1, 30_000), 22_050)
    cut = tmp_path / "cut.wav"
    cut.write_bytes(good.read_bytes()[:20_000])
    items = [
        Item("a", split="train", media={"audio": (tmp_path / "fake.mp3",)}),
        Item("b", split="train", media={"audio": (tmp_path / "pipe.wav",)}),
        Item("c", split="train", media={"audio": (good, cut)}),
        Item("d", split="train", media={"text": (tmp_path / "pipe.txt",)}),
        Item("e", split="train", media={"audio": (tmp_path,), "image": (Path("/dev/zero"),)}),
    ]
    found = audit(Manifest(items)).missing
    assert [(r.id, r.modality, r.code) for r in found] == [
        ("a", "audio", "unreadable"),
        ("b", "audio", "unreadable"),
        ("c", "audio", "truncated"),
        ("d", "text", "unreadable"),
        ("e", "audio", "unreadable"),
        ("e", "image", "unreadable"),
    ]


@pytest.mark.slow
def test_a_decoder_that_crashes_costs_its_file_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(CRASHING_SOUNDFILE)
    monkeypatch.setenv("PYTHONPATH", first_on_path(tmp_path))
    new_workers()
    for name, seed in (("a.wav", 0), ("b-crash.wav", 1), ("c.flac", 0)):
        soundfile.write(tmp_path / name, tune(seed), RATE_HZ)
    items = [
        Item("a", split="train", media={"audio": (tmp_path / "a.wav",)}),
        Item("b", split="train", media={"audio": (tmp_path / "b-crash.wav",)}),
        Item("c", split="test", media={"audio": (tmp_path / "c.flac",)}),
    ]
    found = audit(Manifest(items))
    assert [(r.id, r.code) for r in found.missing] == [("b", "crashed")]
    assert "b-crash.wav: reading it ended the process, twice (SIGSEGV" in found.missing[0].detail
    assert [leak.kind for leak in found.leaks] == ["similar audio"]
    new_workers()


def test_similar_tracks_of_albums(tmp_path: Path) -> None:
    """Two albums share two tracks; a third one has one track twice, which is no leak."""
    for name, seed, level in (
        *(("a1", 1, 1.0), ("a2", 2, 1.0), ("b1", 1, 0.3), ("b2", 2, 0.3)),
        *(("c1", 3, 1.0), ("c2", 3, 0.3)),
    ):
        soundfile.write(tmp_path / f"{name}.wav", level * tune(seed), RATE_HZ)
    albums = {i: tuple(tmp_path / f"{i}{k}.wav" for k in (1, 2)) for i in "abc"}
    splits: dict[str, Split] = {"a": "train", "b": "test", "c": "train"}
    found = audit(Manifest(Item(i, split=splits[i], media={"audio": albums[i]}) for i in "abc"))
    assert kinds(found) == [("similar audio", ("a", "b"))]
    assert found.leaks[0].value == "a ~ b"
    assert found.repeats == ()


def test_a_text_in_a_file_and_inline_are_one(tmp_path: Path) -> None:
    text = "One review that stands under every edition of this album, & word by word."
    (tmp_path / "1.txt").write_text(text, encoding="utf-8")
    (tmp_path / "2.txt").write_bytes(text.upper().encode("utf-16"))
    items = [
        Item("a", "A", split="train", labels=("Rock",), media={"text": (tmp_path / "1.txt",)}),
        Item("b", "B", split="val", labels=("Rock",), media={"text": (tmp_path / "2.txt",)}),
        Item("c", "C", split="test", labels=("Rock",), media={"text": (html.escape(text),)}),
        Item("d", "D", split="test", labels=("Rock",), media={"text": ("Another one.",)}),
    ]
    assert kinds(audit(Manifest(items))) == [("identical text", ("a", "b", "c"))]
    inline = [replace(item, media={"text": (text,)}) for item in items[:3]]
    assert kinds(audit(Manifest(inline))) == [("identical text", ("a", "b", "c"))]


def test_names_that_look_wrong_are_noted(tmp_path: Path, call: Call) -> None:
    path = tmp_path / "m.csv"
    path.write_text("id,labels\na,Hip Hop\nb,hip-hop\nc,R&B/Soul\n")
    for command in ("check", "info"):
        done = call("manifest", command, path)
        assert done.code == 0
        assert "note: 1 genre(s) are written in several ways" in done.out
        assert "write it twice: 'R&B//Soul'" in done.out
        assert "note: no artists or albums" in done.out


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_files_are_found_in_either_form_of_unicode(tmp_path: Path, form: str) -> None:
    cover(1).save(tmp_path / (unicodedata.normalize(form, "Beyoncé") + ".png"))  # type: ignore[arg-type]
    found = audit(manifest({"a": ("train", tmp_path / "Beyoncé.png")}))
    assert found.missing == ()


def test_an_item_without_a_genre_contradicts_none(tmp_path: Path) -> None:
    cover(1).save(tmp_path / "a.png")
    media = {"image": (tmp_path / "a.png",)}
    items = [Item("a", media=media), Item("b", labels=("Rock",), media=media)]
    items.append(Item("c", labels=("Rock",), media=media))
    done = dedupe(Manifest(items))
    assert done.manifest.ids() == ("b",)
    assert audit(Manifest(items)).mixed == ()
    assert dedupe(Manifest([replace(i, labels=()) for i in items])).manifest.ids() == ("a",)
