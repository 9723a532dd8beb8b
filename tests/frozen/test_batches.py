"""Rows of media through a frozen model together: the vectors that each has alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from PIL import Image

from mmgenre.audio import frozen
from mmgenre.audio.settings import AudioInput
from mmgenre.disk.store import FeatureStore, parts_folder
from mmgenre.frozen import batches
from mmgenre.frozen.settings import FrozenInput
from mmgenre.image.settings import ImageInput
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.learning import devices
from mmgenre.reading import parts
from mmgenre.reading.extraction import extract_inputs, inputs_provenance, parts_of
from mmgenre.text.settings import TextInput
from mmgenre.workers import WorkerLostError

MODELS = {"audio": "hubert", "image": "dinov2", "text": "bert"}
N = 5


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Tracks of 1 to 9 s, which are of one or two windows, covers and texts."""
    rng = np.random.default_rng(0)
    items = []
    for k in range(N):
        track, cover = tmp_path / f"{k}.wav", tmp_path / f"{k}.png"
        soundfile.write(track, rng.normal(0, 0.1, 16_000 * (1 + 2 * k)), 16_000)
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(cover)
        text = " ".join(["a slow song"] * (k + 1))
        media: dict[str, Any] = {"audio": (track,), "image": (cover,), "text": (text,)}
        items.append(Item(f"i{k}", media=media))
    return Manifest(items)


def settings(tiny: Mapping[str, Path], modality: str) -> Any:
    reads = FrozenInput(model=f"dir:{tiny[MODELS[modality]]}")
    kind: Any = {"audio": AudioInput, "image": ImageInput, "text": TextInput}[modality]
    return kind(frozen=reads)


def vectors(manifest: Manifest, modality: str, reads: Any, target: Path) -> NDArray[np.float32]:
    extract_inputs(manifest, modality, reads, target, workers=1)
    with FeatureStore(target, modality) as store:
        assert not store.refused
        return store.take(store.ids)


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows go together as on a GPU; gives the sizes of the batches."""
    sizes: list[int] = []

    def noting(examples: list[Any]) -> None:
        sizes.append(len(examples))

    plain = batches._means

    def means(rows: Any, own: Any) -> Any:
        def counted(batch: Any) -> Any:
            noting(batch)
            return own(batch)

        return plain(rows, counted)

    monkeypatch.setattr(batches, "_means", means)
    monkeypatch.setattr(devices, "pick_device", lambda: torch.device("meta"))
    return sizes


@pytest.mark.parametrize("modality", MODELS)
def test_vectors_of_several_rows_are_those_of_each(
    modality: str,
    manifest: Manifest,
    tiny: Mapping[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    reads = settings(tiny, modality)
    alone = vectors(manifest, modality, reads, tmp_path / "alone.h5")
    sizes = request.getfixturevalue("on_a_gpu")
    together = vectors(manifest, modality, reads, tmp_path / "together.h5")
    assert sizes == {"audio": [1, 1, 5], "image": [N], "text": [N]}[modality]
    assert together.shape == alone.shape
    np.testing.assert_allclose(together, alone, atol=1e-5)

    sizes.clear()
    monkeypatch.setattr(parts, "EMBEDDED_AT_ONCE", 0)  # each row is too much to wait
    assert np.array_equal(vectors(manifest, modality, reads, tmp_path / "little.h5"), alone)
    assert len(sizes) == N


def test_a_row_that_the_model_fails_at_is_refused_alone(
    manifest: Manifest, tiny: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = batches.vectors_of_texts

    def failing(texts: Any, config: Any) -> Any:
        if any(text.tobytes().count(b"song") == 3 for text in texts):
            raise RuntimeError("too sad")
        return plain(texts, config)

    monkeypatch.setattr(batches, "vectors_of_texts", failing)
    target = tmp_path / "a.h5"
    extract_inputs(manifest, "text", settings(tiny, "text"), target, workers=1)
    with FeatureStore(target, "text") as store:
        assert store.ids == ("i0", "i1", "i3", "i4")
        assert [(r.id, r.code) for r in store.refused] == [("i2", "unexpected")]
        assert "too sad" in store.refused[0].detail


def test_after_a_crash_together_rows_are_embedded_one_by_one(
    manifest: Manifest, tiny: Mapping[str, Path], tmp_path: Path, on_a_gpu: list[int]
) -> None:
    reads, target = settings(tiny, "audio"), tmp_path / "a.h5"
    made = inputs_provenance(manifest, "audio", reads)
    (part,) = parts_of(manifest, "audio", reads, target, made)
    parts_folder(target).mkdir()
    part.being_read.write_text(parts.TOGETHER)
    assert part.blame(WorkerLostError("SIGKILL(-9)"))
    assert json.loads(part.crashes.read_text())[0] == parts.TOGETHER
    assert parts.read_part(part)
    assert on_a_gpu == [1, 1, 1, 2, 2]  # windows of each track
    with FeatureStore(part.path, "audio") as store:
        assert len(store) == N
        assert not store.refused


def test_samples_of_a_track_are_at_the_rate_of_the_model(
    manifest: Manifest, tiny: Mapping[str, Path]
) -> None:
    reads = settings(tiny, "audio")
    track = Path(manifest["i1"].media["audio"][0])
    assert frozen.load_samples(track, reads).shape == (48_000,)
