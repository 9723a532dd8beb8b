"""Fingerprints of recordings: what they do not depend on, and what they tell apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tunes import RATE_HZ, tune

from mmgenre.audio import fingerprint as module
from mmgenre.audio.cqt import cqt_magnitude, to_decibels
from mmgenre.audio.fingerprint import (
    BINS_AROUND,
    FRAMES_AROUND,
    LEAST_COUNT,
    LOWEST,
    N_USED,
    TIME_BITS,
    fingerprint,
    similar,
    twins_in,
)
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, write_store
from mmgenre.progress import silent

Floats = NDArray[np.float32]


def landmarks(samples: Floats) -> NDArray[np.uint64]:
    return fingerprint(to_decibels(cqt_magnitude(samples)).astype(np.float16))


@pytest.fixture(scope="module")
def prints() -> list[NDArray[np.uint64]]:
    return [landmarks(tune(seed)) for seed in range(8)]


@pytest.mark.slow
def test_different_tracks_are_kept_apart(prints: list[NDArray[np.uint64]]) -> None:
    assert min(len(own) for own in prints) > 300
    assert similar(prints) == []
    assert similar([]) == []
    assert similar([np.zeros(0, np.uint64)] * 2) == []


@pytest.mark.parametrize("edit", ["same", "quieter", "late", "half", "noisy", "after silence"])
def test_an_edited_track_is_similar_to_its_source_alone(
    prints: list[NDArray[np.uint64]], edit: str
) -> None:
    x = tune(3)
    noise = np.random.default_rng(0).standard_normal(len(x)).astype(np.float32)
    edited = {
        "same": x,
        "quieter": x * np.float32(0.05),
        "late": x[round(3.217 * RATE_HZ) :],
        "half": x[len(x) // 4 : -len(x) // 4],
        "noisy": x + noise * np.float32(0.01) * x.std(),
        "after silence": np.pad(x, (RATE_HZ // 3, 0)),
    }[edit]
    assert similar([*prints, landmarks(edited)]) == [(3, len(prints))]


def test_landmarks_keep_the_shift_in_frames(prints: list[NDArray[np.uint64]]) -> None:
    later = landmarks(np.pad(tune(3), (50 * 1024, 0)))
    low = np.uint64((1 << TIME_BITS) - 1)
    keys = {int(x >> np.uint64(TIME_BITS)): int(x & low) for x in prints[3]}
    shifts = [int(x & low) - keys.get(int(x >> np.uint64(TIME_BITS)), -(10**6)) for x in later]
    assert np.mean(np.array(shifts) == 50) > 0.8


def test_peaks_are_those_of_a_slow_loop() -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(-80, 1, (70, N_USED)).astype(np.float32)  # many are equal
    found = np.empty((values.size, 2), np.int64)
    n = module._peaks(np.pad(values, 1, constant_values=-np.inf), -60.0, found)
    expected = []
    for t in range(len(values)):
        for b in range(N_USED):
            rows = slice(max(0, t - FRAMES_AROUND), t + FRAMES_AROUND + 1)
            columns = slice(max(0, b - BINS_AROUND), b + BINS_AROUND + 1)
            near, value = values[rows, columns], values[t, b]
            first = np.argwhere(near == near.max())[0] + [rows.start, columns.start]
            if value > -60 and value == near.max() and tuple(first) == (t, b):
                expected.append([t, b])
    assert found[:n].tolist() == expected
    assert n > 20


def test_a_held_tone_and_short_rows_say_nothing() -> None:
    t = np.arange(10 * RATE_HZ) / RATE_HZ
    tones = [landmarks(np.sin(2 * np.pi * hz * t).astype(np.float32)) for hz in (440, 440.5)]
    assert similar(tones) == []
    for n_frames in (0, 1, 2, 3):
        assert fingerprint(np.zeros((n_frames, 96), np.float16)).shape == (0,)
    assert LOWEST + N_USED <= 96


def test_counts_are_those_of_a_slow_loop(
    prints: list[NDArray[np.uint64]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 97)
    edited = [landmarks(tune(2)[RATE_HZ:]), landmarks(tune(5)[: 10 * RATE_HZ])]
    several = [*prints, *edited]
    low = np.uint64((1 << TIME_BITS) - 1)
    best = np.zeros((len(several),) * 2, int)
    for a in range(len(several)):
        for b in range(a + 1, len(several)):
            shifts: dict[int, int] = {}
            for x in several[a]:
                same = several[b][several[b] >> np.uint64(TIME_BITS) == x >> np.uint64(TIME_BITS)]
                for y in same:
                    shift = int(y & low) - int(x & low)
                    shifts[shift] = shifts.get(shift, 0) + 1
            counts = [n + shifts.get(shift + 1, 0) for shift, n in shifts.items()]
            best[a, b] = max(counts, default=0)
    expected = [(int(a), int(b)) for a, b in np.argwhere(best >= LEAST_COUNT)]
    assert similar(several) == expected == [(2, 8), (5, 9)]


def test_twins_of_a_store_their_sample_and_their_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sounds = [tune(1), tune(2), tune(1)[RATE_HZ:]]
    rows = [to_decibels(cqt_magnitude(x)).astype(np.float16) for x in sounds]
    path = tmp_path / "audio.h5"
    ids = ["a#0", "a#1", "b#0"]
    write_store(path, "audio", [(ids, rows)], Provenance("inputs", 1, {}), ragged=True)
    with FeatureStore(path, "audio") as store:
        found = twins_in(store, silent)
        assert (found.pairs, found.note) == ([("a#0", "b#0")], None)
        hours = sum(map(len, sounds)) / RATE_HZ / 3600
        monkeypatch.setattr(module, "MOST_HOURS", hours / 2)
        found = twins_in(store, silent)
        assert found.pairs == [("a#0", "b#0")]  # half of the landmarks are enough
        assert found.note is not None
        assert "compared by 50% of their landmarks: excerpts and shifted" in found.note
        monkeypatch.setattr(module, "MOST_HOURS", hours / 20)
        found = twins_in(store, silent)
        assert not found.pairs
        assert found.note is not None
        assert "3 tracks (0 hours) are too many to be compared" in found.note
    with pytest.raises(ValueError, match="1,048,577 tracks; at most 1,048,576"):
        similar([np.zeros(0, np.uint64)] * (module.MOST + 1))
