"""Media made worse: what each deformation does to them, and what a model then loses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from command_line import Call
from numpy.typing import NDArray
from PIL import Image
from small import NAME, Small

from mmgenre.audio.decoding import load_audio
from mmgenre.errors import MmgenreError
from mmgenre.image.decoding import load_image
from mmgenre.pipeline.deforming import deformation, deformed, names_a_genre
from mmgenre.pipeline.robustness import robustness
from mmgenre.pipeline.run import open_run

RATE_HZ = 22050


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    """4 s of two sines, at 440 and 8000 Hz, in two channels of equal polarity."""
    t = np.arange(4 * RATE_HZ) / RATE_HZ
    samples = 0.2 * np.sin(2 * np.pi * 440 * t) + 0.2 * np.sin(2 * np.pi * 8000 * t)
    soundfile.write(tmp_path / "tone.wav", np.stack([samples, samples], 1), RATE_HZ, "FLOAT")
    return tmp_path / "tone.wav"


def made(way: str, file: Path, folder: Path) -> Path:
    [path] = deformed(deformation(way), [file], folder, "x", ())
    assert isinstance(path, Path)
    return path


def power_db(samples: NDArray[np.float32], hz: float) -> float:
    spectrum = np.abs(np.fft.rfft(samples)) ** 2
    near = np.abs(np.fft.rfftfreq(len(samples), 1 / RATE_HZ) - hz) < 50
    return float(10 * np.log10(spectrum[near].sum()))


def test_sounds_are_as_they_are_told(tone: Path, tmp_path: Path) -> None:
    plain = load_audio(tone)
    quiet = load_audio(made("gain=-12", tone, tmp_path))
    np.testing.assert_allclose(quiet, plain * 10 ** (-12 / 20), atol=1e-5)

    samples, _ = soundfile.read(made("noise=15", tone, tmp_path))
    clean, _ = soundfile.read(tone)
    assert 10 * np.log10(np.mean(clean**2) / np.mean((samples - clean) ** 2)) == pytest.approx(
        15, abs=0.1
    )

    low = load_audio(made("lowpass=4000", tone, tmp_path))
    assert power_db(low, 440) == pytest.approx(power_db(plain, 440), abs=0.5)
    assert power_db(low, 8000) < power_db(plain, 8000) - 40

    fast = load_audio(made("stretch=1.25", tone, tmp_path))
    assert len(fast) == pytest.approx(len(plain) / 1.25, rel=0.02)
    assert power_db(fast, 440) == pytest.approx(power_db(plain, 440) - 20 * np.log10(1.25), abs=1)


@pytest.mark.parametrize(("rate_hz", "kbps"), [(22050, 32), (44100, 64), (44100, 32)])
def test_an_mp3_has_the_bits_that_it_is_told_to_have(
    tmp_path: Path, rate_hz: int, kbps: int
) -> None:
    noise = np.random.default_rng(0).standard_normal((20 * rate_hz, 2)) * 0.1
    soundfile.write(tmp_path / "n.wav", noise, rate_hz)
    path = made(f"mp3={kbps}", tmp_path / "n.wav", tmp_path)
    assert path.stat().st_size * 8 / 20 / 1000 == pytest.approx(kbps, rel=0.05)
    assert soundfile.info(path).samplerate == rate_hz


def test_covers_lose_detail_or_colour(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "c.png")
    plain = load_image(tmp_path / "c.png").astype(float)
    blurred, coded, grey = (
        load_image(made(way, tmp_path / "c.png", tmp_path)).astype(float)
        for way in ("blur=2", "jpeg=10", "grey")
    )
    assert blurred.std() < plain.std() / 4
    assert np.abs(coded - plain).mean() > 5
    assert np.ptp(grey, axis=2).max() <= 1
    assert np.ptp(plain, axis=2).mean() > 50


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("A hip-hop record, not HipHop.", "A   record, not  ."),
        ("Pure Rock; rocks and rocking", "Pure  ;   and rocking"),
        ("folk", "-"),
        ("vocal jazz and jazz", "and"),
    ],
)
def test_names_of_genres_are_taken_out(text: str, rest: str) -> None:
    genres = ["Hip Hop", "Rock", "Folk, World, & Country", "Jazz/Vocal Jazz"]
    [masked] = deformed(deformation("genres"), [text], Path(), "x", genres)
    assert masked == rest
    assert names_a_genre(text, genres)
    assert not names_a_genre(rest, genres)


def test_words_are_cut() -> None:
    assert deformed(deformation("words=2"), ["one two three"], Path(), "x", ()) == ("one two",)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("louder=3", r"no such deformation; known are gain=-12; .*; grey"),
        ("gain", "must be a number from -60 to 60, as gain=-12"),
        ("stretch=0", "must be a number from 0.25 to 4"),
        ("noise=nan", "must be a number"),
        ("grey=3", "grey takes no value"),
    ],
)
def test_what_is_no_deformation_is_named(given: str, fault: str) -> None:
    with pytest.raises(MmgenreError, match=fault):
        deformation(given)


def test_what_changes_nothing_costs_nothing_and_what_does_is_measured(small: Small) -> None:
    run = open_run(small.run)
    ways = [deformation("words=1000000"), deformation("words=1"), deformation("genres")]
    found = robustness(run, ways, fusion=NAME, workers=1)
    whole, one, masked = found["rows"]
    assert whole["n_items"] == sum("text" in run.manifest[i].media for i in run.manifest.ids("val"))
    assert whole["figures"] == whole["plain"] == one["plain"]
    assert (whole["changed"], whole["refused"]) == (0, [])
    assert one["figures"] != one["plain"]
    assert one["paired"] is not None
    metric = found["metric"]
    assert one["paired"]["value"] == pytest.approx(one["figures"][metric] - one["plain"][metric])
    assert masked["n_items"] == whole["n_items"]
    assert found["naming"] is not None
    assert 0 < found["naming"] < 1


def test_the_command_prints_what_it_measured(small: Small, call: Call) -> None:
    words = ("robustness", str(small.run), "--deform", "grey,words=3", "--items", "4")
    done = call(*words, "--workers", "1", "--json").json
    assert [row["name"] for row in done["rows"]] == ["without colours", "the first 3 words"]
    assert [row["n_items"] for row in done["rows"]] == [4, 4]
    refused = call(*words[:3], "louder=3")
    assert refused.code == 1
    assert "no such deformation" in refused.err
