"""Timbre of tracks: the stand-in from audio, the Million Song Dataset's own, and its statistics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mmgenre.audio.decoding import load_audio
from mmgenre.audio.settings import SAMPLE_RATE_HZ, AudioInput
from mmgenre.audio.timbre import SEGMENT_FRAMES, aggregate, cepstra, load_timbre, msd_timbre
from mmgenre.disk.store import FeatureStore, content_hash, fingerprint_of
from mmgenre.errors import InputError
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.reading.extraction import extract_inputs

TIMBRE, MSD = AudioInput(features="timbre"), AudioInput(features="msd-timbre")
ONE = np.arange(480).reshape(40, 12) == 40  # where one number stands
SEGMENTS = np.random.default_rng(0).normal(0, 50, (40, 12))


def noise(seconds: float, peak: float = 0.1) -> NDArray[np.float32]:
    n = round(seconds * SAMPLE_RATE_HZ)
    return np.random.default_rng(1).uniform(-peak, peak, n).astype(np.float32)


def write_msd(path: Path, segments: NDArray[np.generic] = SEGMENTS) -> Path:
    """As the dataset's own files are: a growing array, packed with zlib."""
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "analysis/segments_timbre",
            data=segments,
            maxshape=(None, *segments.shape[1:]),
            compression=1,
            shuffle=True,
        )
    return path


def code_of(path: Path, config: AudioInput = MSD) -> str:
    with pytest.raises(InputError) as caught:
        load_timbre(path, config)
    assert str(path) in str(caught.value)
    return caught.value.code


def test_the_statistics_are_those_of_a_slow_loop() -> None:
    numbers = aggregate(SEGMENTS, "x")
    assert numbers.shape == (48,)
    assert numbers.dtype == np.float32
    for c in range(12):
        values = [float(row[c]) for row in SEGMENTS]
        mean = sum(values) / len(values)
        variance = sum((v - mean) ** 2 for v in values) / len(values)
        norm = sum(v * v for v in values) ** 0.5
        expected = [mean, max(values), variance, norm]
        np.testing.assert_allclose(numbers[c::12], expected, rtol=1e-5)


def test_loudness_moves_the_first_coefficient_alone() -> None:
    samples = noise(4)
    quiet, loud = cepstra(samples), cepstra(2 * samples)
    # The other basis functions of the cosine transform sum to 0 over its 128 bands.
    expected = 20 * np.log10(2) * np.sqrt(128)
    np.testing.assert_allclose(loud[:, 0] - quiet[:, 0], expected, rtol=1e-4)
    np.testing.assert_allclose(loud[:, 1:], quiet[:, 1:], atol=1e-3)


def test_the_second_coefficient_tells_dark_from_bright() -> None:
    bright = noise(2)
    dark = np.convolve(bright, np.ones(30) / 30, mode="same").astype(np.float32)
    assert (cepstra(dark)[:, 1] > cepstra(bright)[:, 1] + 50).all()


def test_a_segment_sees_its_own_quarter_of_a_second_only() -> None:
    samples = noise(3)
    frames_per_segment = SEGMENT_FRAMES * 512
    changed = samples.copy()
    changed[5 * frames_per_segment + 2048 : 6 * frames_per_segment - 2048] = 0
    before, after = cepstra(samples), cepstra(changed)
    assert before.shape == (3 * SAMPLE_RATE_HZ // frames_per_segment, 12)
    moved = np.abs(before - after).max(axis=1) > 1e-3
    assert moved.tolist() == [k == 5 for k in range(len(before))]


def test_a_track_of_the_shortest_allowed_length_has_timbre(tmp_path: Path) -> None:
    path = tmp_path / "short.wav"
    soundfile.write(path, noise(0.75), SAMPLE_RATE_HZ)
    assert load_timbre(path, AudioInput(features="timbre", min_s=0.75)).shape == (48,)


def test_audio_and_its_damage_are_read_as_for_the_cqt(tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    soundfile.write(path, noise(3), SAMPLE_RATE_HZ)
    expected = aggregate(cepstra(load_audio(path)), "x")
    np.testing.assert_array_equal(load_timbre(path, TIMBRE), expected)
    part = load_timbre(path, AudioInput(features="timbre", excerpt_s=1.0))
    assert not np.array_equal(part, expected)
    soundfile.write(path, np.zeros(SAMPLE_RATE_HZ * 2), SAMPLE_RATE_HZ)
    assert code_of(path, TIMBRE) == "silent"
    assert code_of(tmp_path / "absent.wav", TIMBRE) == "missing"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_files_of_the_million_song_dataset_are_read(
    tmp_path: Path, dtype: type[np.floating]
) -> None:
    segments = SEGMENTS.astype(dtype)
    path = write_msd(tmp_path / "TRAXLZU.h5", segments)
    np.testing.assert_array_equal(msd_timbre(path), segments)
    np.testing.assert_allclose(load_timbre(path, MSD), aggregate(segments, "x"), rtol=1e-6)


def test_the_two_kinds_of_timbre_never_mix(tmp_path: Path) -> None:
    sound, msd = tmp_path / "a.wav", write_msd(tmp_path / "b.H5")
    soundfile.write(sound, noise(2), SAMPLE_RATE_HZ)
    with pytest.raises(InputError, match=r"read them with .* audio\.input\.features=msd-timbre"):
        load_timbre(msd, TIMBRE)
    with pytest.raises(InputError, match=r"audio is read with --set audio\.input\.features=timbre"):
        load_timbre(sound, MSD)


@pytest.mark.parametrize(
    ("segments", "code"),
    [
        (np.zeros((0, 12)), "too_short"),
        (np.where(ONE, np.nan, SEGMENTS), "not_finite"),
        (np.where(ONE, -np.inf, SEGMENTS), "not_finite"),
        (SEGMENTS * 1e30, "not_finite"),
        (SEGMENTS * 1e300, "not_finite"),
        (SEGMENTS[:, :11], "unreadable"),
        (SEGMENTS[0], "unreadable"),
        (SEGMENTS.astype(np.int64), "unreadable"),
        (SEGMENTS.astype("S8"), "unreadable"),
        (np.zeros((100_001, 12)), "too_large"),
    ],
)
def test_other_contents_are_refused(
    tmp_path: Path, segments: NDArray[np.generic], code: str
) -> None:
    assert code_of(write_msd(tmp_path / "x.h5", segments)) == code


def no_group(file: h5py.File, other: Path) -> None:
    file["songs"] = np.zeros(3)


def group_is_data(file: h5py.File, other: Path) -> None:
    file["analysis"] = SEGMENTS


def data_is_a_group(file: h5py.File, other: Path) -> None:
    file.create_group("analysis/segments_timbre")


def soft_link(file: h5py.File, other: Path) -> None:
    file["elsewhere"] = SEGMENTS
    file.create_group("analysis")["segments_timbre"] = h5py.SoftLink("/elsewhere")


def external_link(file: h5py.File, other: Path) -> None:
    file.create_group("analysis")["segments_timbre"] = h5py.ExternalLink(
        str(other), "/analysis/segments_timbre"
    )


def external_group(file: h5py.File, other: Path) -> None:
    file["analysis"] = h5py.ExternalLink(str(other), "/analysis")


def external_bytes(file: h5py.File, other: Path) -> None:
    file.create_dataset(
        "analysis/segments_timbre", (9, 12), "f8", external=[(str(other), 0, 9 * 12 * 8)]
    )


def virtual(file: h5py.File, other: Path) -> None:
    layout = h5py.VirtualLayout((40, 12), "f8")
    layout[:] = h5py.VirtualSource(str(other), "analysis/segments_timbre", (40, 12))
    file.create_virtual_dataset("analysis/segments_timbre", layout)


def foreign_filter(file: h5py.File, other: Path) -> None:
    file.create_dataset("analysis/segments_timbre", data=SEGMENTS, compression="lzf")


def nothing(file: h5py.File, other: Path) -> None:
    file["analysis/segments_timbre"] = h5py.Empty("f8")


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (no_group, "no dataset /analysis/segments_timbre"),
        (group_is_data, "no dataset"),
        (data_is_a_group, "no dataset"),
        (soft_link, "no dataset"),
        (external_link, "no dataset"),
        (external_group, "no dataset"),
        (external_bytes, "would come from another file"),
        (virtual, "would come from another file"),
        (foreign_filter, "filters"),
        (nothing, "not floats"),
    ],
)
def test_nothing_is_read_from_anywhere_else(
    tmp_path: Path, attack: Callable[[h5py.File, Path], None], message: str
) -> None:
    other, path = write_msd(tmp_path / "other.h5"), tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        attack(file, other)
    with pytest.raises(InputError, match=message) as caught:
        load_timbre(path, MSD)
    assert caught.value.code == "unreadable"


def test_a_small_file_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "analysis/segments_timbre",
            (3, 12),
            "f8",
            maxshape=(None, 12),
            chunks=(1 << 22, 12),
            compression=9,
        )
    assert code_of(path) == "too_large"


def test_what_is_no_hdf5_file_is_refused(tmp_path: Path) -> None:
    assert code_of(tmp_path / "absent.h5") == "missing"
    (tmp_path / "folder.h5").mkdir()
    assert code_of(tmp_path / "folder.h5") == "unreadable"
    text = tmp_path / "text.h5"
    text.write_text("no HDF5 at all " * 99)
    assert code_of(text) == "unreadable"
    cut = write_msd(tmp_path / "cut.h5")
    cut.write_bytes(cut.read_bytes()[:-500])
    assert code_of(cut) == "unreadable"


@pytest.mark.parametrize("config", [TIMBRE, MSD])
def test_tracks_become_rows_of_48_numbers(tmp_path: Path, config: AudioInput) -> None:
    sound, msd = tmp_path / "a.wav", write_msd(tmp_path / "b.h5")
    soundfile.write(sound, noise(2), SAMPLE_RATE_HZ)
    items = [
        Item("a", media={"audio": (sound, tmp_path / "absent.wav")}),
        Item("b", media={"audio": (msd,)}),
    ]
    path = extract_inputs(Manifest(items), "audio", config, tmp_path / "timbre.h5", workers=1)
    read = {TIMBRE: ("a#0", sound, "b#0"), MSD: ("b#0", msd, "a#0")}[config]
    with FeatureStore(path, "audio") as store:
        assert store.ids == read[:1]
        refused = {r.id: r.code for r in store.refused}
        assert refused == {"a#1": "missing", read[2]: "unreadable"}
        assert (store.row_shape, store.dtype) == ((48,), np.float32)
        # The last bits depend on the threads of a matrix product; a reader has one.
        with threadpool_limits(1, "blas"):
            wanted = load_timbre(read[1], config)
        np.testing.assert_array_equal(store.take(store.ids), [wanted])
    if config is TIMBRE:  # numbers that could depend on the process
        two = extract_inputs(Manifest(items), "audio", config, tmp_path / "two.h5", workers=2)
        assert content_hash(two) == content_hash(path)
    other = extract_inputs(Manifest(items), "audio", AudioInput(), tmp_path / "cqt.h5", workers=1)
    assert fingerprint_of(other, "audio") != fingerprint_of(path, "audio")
    with FeatureStore(other, "audio") as store:
        assert store.row_shape == (None, 96)
        assert [(r.id, r.code) for r in store.refused] == [
            ("a#1", "missing"),
            ("b#0", "unreadable"),
        ]
