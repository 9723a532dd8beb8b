"""The input stage: refusals, reuse, going on after an interruption, any number of workers."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import soundfile
from PIL import Image

from mmgenre.audio.cqt import load_log_cqt
from mmgenre.audio.settings import SAMPLE_RATE_HZ, AudioInput
from mmgenre.disk.store import FeatureStore, content_hash
from mmgenre.errors import StoreError
from mmgenre.image.settings import ImageInput
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.kinds import KINDS
from mmgenre.learning.kind import Kind
from mmgenre.reading import extraction
from mmgenre.reading.extraction import extract_inputs
from mmgenre.text.settings import TextInput

SMALL = ImageInput(size_px=16)


def texts(n: int, folder: Path | None = None) -> Manifest:
    """Items with a text each, inline or as a file."""
    items = []
    for k in range(n):
        source: Path | str = f"Review number {k}. " * (k + 1)
        if folder is not None:
            path = folder / f"{k}.txt"
            path.write_text(str(source), encoding="utf-8")
            source = path
        items.append(Item(f"item-{k:02d}", media={"text": (source,)}))
    return Manifest(items)


def covers(n: int, folder: Path) -> Manifest:
    rng = np.random.default_rng(0)
    items = []
    for k in range(n):
        path = folder / f"{k}.png"
        Image.fromarray(rng.integers(0, 255, (20, 20, 3)).astype(np.uint8)).save(path)
        items.append(Item(f"item-{k:02d}", media={"image": (path,)}))
    return Manifest(items)


def write_tone(path: Path, hz: float, seconds: float = 1.5) -> Path:
    t = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * hz * t), SAMPLE_RATE_HZ)
    return path


def lengthen(path: Path) -> None:
    """Adds to a file and sets its time of change back."""
    state = path.stat()
    path.write_text(path.read_text() + " More.")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what the readers were given, in the order they were."""
    seen: list[str] = []

    def counting(reader: Kind) -> Kind:
        def count(media: Sequence[Path | str], config: Any, row_id: str) -> Any:
            first = media[0]
            seen.append(first.name if isinstance(first, Path) else first)
            return reader.read(media, config, row_id)

        return replace(reader, read=count, decode=lambda _: None)

    for modality, reader in list(KINDS.items()):
        monkeypatch.setitem(KINDS, modality, counting(reader))
    return seen


def test_tracks_become_rows_of_decibels(tmp_path: Path) -> None:
    files = [write_tone(tmp_path / f"{hz}.wav", hz, 1 + hz / 1000) for hz in (440, 880, 200)]
    items = [
        Item("b", media={"audio": tuple(files[:2])}),
        Item("a", media={"audio": (files[2],)}),
        Item("c", media={"text": ("no audio",)}),
    ]
    target = tmp_path / "run" / "audio.h5"
    assert extract_inputs(Manifest(items), "audio", AudioInput(), target) == target
    with FeatureStore(target, "audio") as store:
        assert store.ids == ("a#0", "b#0", "b#1")
        assert store.refused == ()
        assert store.dtype == np.float16
        for row_id, file in (("a#0", files[2]), ("b#0", files[0]), ("b#1", files[1])):
            expected = load_log_cqt(file).astype(np.float16)
            np.testing.assert_array_equal(store.read(row_id), expected)


def test_texts_and_covers_become_bytes(tmp_path: Path) -> None:
    manifest = Manifest([Item("x", media={"text": ("Schöner Klang.", "Später mehr.")})])
    target = extract_inputs(
        manifest, "text", TextInput(max_characters=14), tmp_path / "t.h5", workers=1
    )
    with FeatureStore(target, "text") as store:
        assert store.read_text("x") == "Schöner Klang."
    manifest = covers(3, tmp_path)
    target = extract_inputs(manifest, "image", SMALL, tmp_path / "i.h5", workers=1)
    with FeatureStore(target, "image") as store:
        assert store.take(manifest.ids()).shape == (3, 16, 16, 3)


def test_damaged_items_are_listed_and_the_rest_is_kept(tmp_path: Path) -> None:
    good = write_tone(tmp_path / "good.wav", 440)
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(SAMPLE_RATE_HZ * 2), SAMPLE_RATE_HZ)
    broken = tmp_path / "broken.mp3"
    broken.write_text("no music")
    items = [
        Item("a", media={"audio": (good, silent)}),
        Item("b", media={"audio": (broken,)}),
        Item("c", media={"audio": (tmp_path / "absent.ogg", good)}),
    ]
    target = extract_inputs(
        Manifest(items), "audio", AudioInput(), tmp_path / "audio.h5", workers=1
    )
    with FeatureStore(target, "audio") as store:
        assert store.ids == ("a#0", "c#1")
        listed = [(r.id, r.modality, r.code) for r in store.refused]
        assert listed == [
            ("a#1", "audio", "silent"),
            ("b#0", "audio", "unreadable"),
            ("c#0", "audio", "missing"),
        ]
        assert "broken.mp3" in store.refused[1].detail


def test_a_modality_of_which_nothing_is_left_is_an_empty_store(tmp_path: Path) -> None:
    manifest = Manifest([Item("a", media={"text": ("...",)}), Item("b")])
    target = extract_inputs(manifest, "text", TextInput(), tmp_path / "t.h5", workers=1)
    with FeatureStore(target, "text") as store:
        assert store.ids == ()
        assert [(r.id, r.code) for r in store.refused] == [("a", "empty")]


def test_unforeseen_damage_becomes_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "A secret review. " * 50

    def fails(media: Sequence[Path | str], config: Any, row_id: str) -> Any:
        if media[0] == text:
            raise ZeroDivisionError("odd header")
        return np.zeros(3, np.uint8)

    monkeypatch.setitem(KINDS, "text", replace(KINDS["text"], read=fails))
    items = [Item("a", media={"text": (text,)}), Item("b", media={"text": ("fine",)})]
    items.append(Item("c", media={"text": ()}))  # the reader raises IndexError
    target = extract_inputs(Manifest(items), "text", TextInput(), tmp_path / "t.h5", workers=1)
    with FeatureStore(target, "text") as store:
        assert store.ids == ("b",)
        assert [(r.id, r.code) for r in store.refused] == [("a", "unexpected")]
        assert store.refused[0].detail == (
            "inline text of a: ZeroDivisionError: odd header [unexpected]"
        )


def test_a_second_call_does_nothing(tmp_path: Path, read: list[str]) -> None:
    manifest, target = texts(5, tmp_path), tmp_path / "t.h5"
    extract_inputs(manifest, "text", TextInput(), target, workers=1)
    assert sorted(read) == [f"{k}.txt" for k in range(5)]
    before = target.stat()
    read.clear()
    extract_inputs(manifest, "text", TextInput(), target, workers=1)
    assert read == []
    assert target.stat().st_mtime_ns == before.st_mtime_ns
    assert target.stat().st_ino == before.st_ino


def test_what_has_changed_is_read_anew(tmp_path: Path, read: list[str]) -> None:
    manifest, target = texts(3, tmp_path), tmp_path / "t.h5"
    config = TextInput()
    changes: list[tuple[Callable[[], object], list[str]]] = [
        (lambda: None, ["0.txt", "1.txt", "2.txt"]),
        (lambda: os.utime(tmp_path / "1.txt", ns=(1, 1)), []),  # the bytes are the same
        (lambda: (tmp_path / "2.txt").write_text("New words."), ["2.txt"]),
        (lambda: lengthen(tmp_path / "1.txt"), ["1.txt"]),
        (lambda: (tmp_path / "0.txt").unlink(), ["0.txt"]),
    ]
    for change, expected in changes:
        change()
        extract_inputs(manifest, "text", config, target, workers=1)
        assert read == expected
        read.clear()
    with FeatureStore(target, "text") as store:
        assert store.ids == ("item-01", "item-02")
        assert store.read_text("item-02") == "New words."
    extract_inputs(manifest, "text", TextInput(max_characters=99), target, workers=1)
    assert len(read) == 3
    read.clear()
    changed = Manifest([*manifest.items[:2], Item("item-02", media={"text": ("Inline.",)})])
    extract_inputs(changed, "text", TextInput(max_characters=99), target, workers=1)
    assert read == ["Inline."]
    with FeatureStore(target, "text") as store:
        assert store.read_text("item-02") == "Inline."


def test_an_interrupted_call_goes_on_where_it_was(
    tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "PART_ROWS", 4)
    manifest = covers(14, tmp_path)
    whole = extract_inputs(manifest, "image", SMALL, tmp_path / "whole.h5", workers=1)
    read.clear()

    def stop(task: str, done: int, total: int) -> None:
        assert total == 14
        if done >= 8:
            raise KeyboardInterrupt

    target = tmp_path / "image.h5"
    with pytest.raises(KeyboardInterrupt):
        extract_inputs(manifest, "image", SMALL, target, workers=1, progress=stop)
    assert not target.exists()
    assert sorted(read) == sorted(f"{k}.png" for k in range(8))
    read.clear()
    extract_inputs(manifest, "image", SMALL, target, workers=1)
    assert sorted(read) == sorted(f"{k}.png" for k in range(8, 14))
    assert content_hash(target) == content_hash(whole)
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix != ".png") == [
        "image.h5",
        "image.media.h5",
        "whole.h5",
        "whole.media.h5",
    ]


def test_parts_of_other_settings_are_not_taken_over(
    tmp_path: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "PART_ROWS", 2)
    manifest, target = covers(6, tmp_path), tmp_path / "image.h5"

    def stop(task: str, done: int, total: int) -> None:
        if done >= 4:
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        extract_inputs(manifest, "image", ImageInput(size_px=8), target, workers=1, progress=stop)
    read.clear()
    extract_inputs(manifest, "image", SMALL, target, workers=1)
    assert len(read) == 6
    with FeatureStore(target, "image") as store:
        assert store.row_shape == (16, 16, 3)


def test_a_damaged_part_is_not_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction, "PART_ROWS", 2)
    manifest, target = covers(4, tmp_path), tmp_path / "image.h5"

    def spoil(task: str, done: int, total: int) -> None:
        if done == 4:
            (path,) = (tmp_path / "image.h5.parts").glob("000000-*.h5")
            with h5py.File(path, "r+") as part:
                part["image/data"][0] = 7  # HDF5's own checksum is right, ours is not

    with pytest.raises(StoreError, match="its checksum differs"):
        extract_inputs(manifest, "image", SMALL, target, workers=1, progress=spoil)
    assert not target.exists()


def test_the_number_of_workers_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "PART_ROWS", 3)
    files = [write_tone(tmp_path / f"{k}.wav", 100 * (k + 1)) for k in range(7)]
    (tmp_path / "3.wav").write_bytes(b"broken")
    manifest = Manifest([Item(f"i{k}", media={"audio": (f,)}) for k, f in enumerate(files)])
    hashes = set()
    for workers in (1, 4):
        target = tmp_path / f"{workers}.h5"
        extract_inputs(manifest, "audio", AudioInput(), target, workers=workers)
        hashes.add(content_hash(target))
        with FeatureStore(target, "audio") as store:
            assert len(store) == 6
            assert [r.id for r in store.refused] == ["i3#0"]
    assert len(hashes) == 1


def test_progress_reaches_the_total(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    extract_inputs(
        texts(40),
        "text",
        TextInput(),
        tmp_path / "t.h5",
        workers=1,
        progress=lambda task, done, total: told.append((task, done, total)),
    )
    assert told == [("reading text", k, 40) for k in (0, 16, 32, 40)]


def test_a_file_is_read_in_either_form_of_unicode(tmp_path: Path) -> None:
    (tmp_path / (unicodedata.normalize("NFD", "été") + ".txt")).write_text("A warm record.")
    manifest = Manifest([Item("a", media={"text": (tmp_path / "été.txt",)})])
    target = extract_inputs(manifest, "text", TextInput(), tmp_path / "t.h5", workers=1)
    with FeatureStore(target, "text") as store:
        assert store.read_text("a") == "A warm record."
