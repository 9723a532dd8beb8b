"""Audio to constant-Q transforms: the transform alone, whole files, and as the work grows.

    python tests/benchmarks/extraction.py transform     # a minute
    python tests/benchmarks/extraction.py files         # some minutes
    python tests/benchmarks/extraction.py growth        # some minutes

Tracks are those of ../shared/data/real that sound, cut to 30 s in the same codec, where that folder
is there, else those of the built-in catalogue. The sides of a ratio run in turn in this process,
after a round that does not count; medians of the others, and the range.
"""

from __future__ import annotations

import os

# One core: before numpy reads them.
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path

import librosa
import numpy as np
import psutil
import soundfile
import soxr
from _sides import Side, in_turn, show
from numpy.typing import NDArray

from mmgenre.audio.cqt import ConstantQ, cqt_magnitude, load_log_cqt
from mmgenre.audio.settings import SAMPLE_RATE_HZ, AudioInput
from mmgenre.datasets.synthetic import make_catalogue
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.reading.extraction import extract_inputs
from mmgenre.workers import pool

REAL = Path(__file__).parents[3] / "shared/data/real/audio"
CLIP_S, ROUNDS, COPIES = 30, 7, 16
GROWTH = (100, 1000, 10_000)

Floats = NDArray[np.float32]


def clips(folder: Path) -> list[Path]:
    """Files of 30 s at most."""
    if not REAL.is_dir():
        make_catalogue(folder / "catalogue", seed=0)
        suffixes = (".mp3", ".ogg", ".flac", ".wav")
        return sorted(p for p in folder.rglob("*") if p.suffix in suffixes)[:22]
    made = []
    for path in sorted(REAL.iterdir()):
        samples, rate_hz = soundfile.read(path, frames=CLIP_S * 44_100, dtype="float32")
        if np.abs(samples).max() > 0:
            made.append(folder / path.name)
            soundfile.write(made[-1], samples, rate_hz)
    return made


def by_librosa(samples: Floats) -> Floats:
    """METHOD's transform."""
    transform = librosa.cqt(
        samples,
        sr=SAMPLE_RATE_HZ,
        hop_length=1024,
        fmin=librosa.note_to_hz("C1"),
        n_bins=96,
        bins_per_octave=12,
        tuning=0.0,
        pad_mode="reflect",
    )
    return np.asarray(np.abs(transform).T, np.float32)


def mono_of(path: Path) -> Floats:
    """Decoded samples at 22 050 Hz."""
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    return np.asarray(soxr.resample(samples.mean(axis=1), rate_hz, SAMPLE_RATE_HZ), np.float32)


def from_stereo(samples: Floats, *, exact: bool = False) -> Floats:
    """Our transform of 44 100 Hz stereo."""
    transform = ConstantQ(44_100, exact=exact)
    transform.push(samples)
    return transform.finish()


def decibels(magnitude: Floats) -> Floats:
    """As the networks see it."""
    return np.asarray(librosa.amplitude_to_db(magnitude, ref=np.max, amin=1e-9), np.float32)


def transform(folder: Path) -> None:
    """The transform of decoded samples, one core."""
    stereo = [soundfile.read(p, dtype="float32", always_2d=True) for p in clips(folder)]
    twice = [np.ascontiguousarray(samples) for samples, rate_hz in stereo if rate_hz == 44_100]
    mono = [
        soxr.resample(samples.mean(axis=1), rate_hz, SAMPLE_RATE_HZ) for samples, rate_hz in stereo
    ]
    for name, exact in (("fast", False), ("exact", True)):
        errors, likeness = [], []
        for samples in mono:
            expected, found = by_librosa(samples), cqt_magnitude(samples, exact=exact)
            errors.append(float(np.abs(found - expected).max() / expected.max()))
            both = decibels(found).ravel(), decibels(expected).ravel()
            likeness.append(float(np.corrcoef(*both)[0, 1]))
        print(
            f"{name}: error at most {max(errors):.1e} of the peak (median {np.median(errors):.1e})"
            f", correlation of decibels at least {min(likeness):.8f}"
        )
    sides: dict[str, Side] = {
        "librosa.cqt": lambda: [by_librosa(x) for x in mono],
        "ours": lambda: [cqt_magnitude(x) for x in mono],
        "ours, exact": lambda: [cqt_magnitude(x, exact=True) for x in mono],
    }
    show(f"{len(mono)} clips, mono at 22 050 Hz", in_turn(sides, ROUNDS), "ms", len(mono))
    if twice:
        sides = {
            "mean, soxr, librosa.cqt": lambda: [
                by_librosa(soxr.resample(x.mean(axis=1), 44_100, SAMPLE_RATE_HZ)) for x in twice
            ],
            "ours": lambda: [from_stereo(x) for x in twice],
        }
        show(f"{len(twice)} clips, stereo at 44 100 Hz", in_turn(sides, ROUNDS), "ms", len(twice))


def decode(files: Sequence[Path]) -> None:
    """Only the decoder."""
    for path in files:
        soundfile.read(path, dtype="float32", always_2d=True)


def obvious_loop(files: Sequence[Path]) -> None:
    """What a script would do."""
    for path in files:
        samples, _ = librosa.load(path, sr=SAMPLE_RATE_HZ)
        by_librosa(samples)


def spread(work: Callable[[Sequence[Path]], None], files: Sequence[Path], workers: int) -> None:
    """The files over processes, 8 at once; in this one if there is one."""
    if workers == 1:
        work(files)
        return
    executor = pool(workers)  # the very processes of ours
    pieces = [files[start : start + 8] for start in range(0, len(files), 8)]
    list(executor.map(work, pieces))


def files(folder: Path) -> None:
    """Files to a finished store, against only decoding them."""
    originals = clips(folder)
    many = []
    for copy in range(COPIES):  # so that what a run costs once does not count for much
        for path in originals:
            many.append(folder / f"{copy}-{path.name}")
            many[-1].symlink_to(path)
    manifest = Manifest([Item(p.name, media={"audio": (p,)}) for p in many])
    config, number = AudioInput(excerpt_s=float(CLIP_S)), count()

    def ours(workers: int) -> None:
        target = folder / f"{next(number)}.h5"
        extract_inputs(manifest, "audio", config, target, workers=workers)
        target.unlink()

    for path in originals:
        load_log_cqt(path, config)
    for workers in (1, 2):
        sides: dict[str, Side] = {
            "decode only": partial(spread, decode, many, workers),
            "ours: decode, transform, store": partial(ours, workers),
        }
        if workers == 2:
            sides["librosa.load and librosa.cqt, nothing stored"] = partial(
                spread, obvious_loop, many, workers
            )
        title = f"{len(many)} files of {CLIP_S} s at most, {workers} process(es)"
        show(title, in_turn(sides, 3), "ms", len(many))


def growth(folder: Path) -> None:
    """Rate and memory at 100, 1 000, 10 000 short clips."""
    rng = np.random.default_rng(0)
    made = []
    for k in range(GROWTH[-1]):
        tone = np.sin(2 * np.pi * rng.uniform(100, 2000) * np.arange(2 * SAMPLE_RATE_HZ) / 22_050)
        made.append(folder / f"{k:05d}.flac")
        soundfile.write(made[-1], tone + 0.01 * rng.standard_normal(len(tone)), SAMPLE_RATE_HZ)
    print(f"\n{'clips':>8}{'clips/s':>10}{'this process':>16}{'a worker':>12}")
    for n in GROWTH:
        manifest = Manifest([Item(p.stem, media={"audio": (p,)}) for p in made[:n]])
        with Peak() as peak:
            started = time.perf_counter()
            target = folder / f"{n}.h5"
            extract_inputs(manifest, "audio", AudioInput(), target, workers=2)
            took = time.perf_counter() - started
        own, worker = peak.own >> 20, peak.worker >> 20
        print(f"{n:>8,}{n / took:>10.0f}{own:>12,} MiB{worker:>8,} MiB")


class Peak:
    """The most memory that this process and the largest of its children held."""

    def __enter__(self) -> Peak:
        self.own = self.worker = 0
        self._done = threading.Event()
        self._watch = threading.Thread(target=self._look)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watch.join()

    def _look(self) -> None:
        me = psutil.Process()
        while not self._done.wait(0.05):
            self.own = max(self.own, me.memory_info().rss)
            for child in me.children():
                try:
                    self.worker = max(self.worker, child.memory_info().rss)
                except psutil.NoSuchProcess:
                    continue


def main() -> None:
    """Runs the part that is named, or all."""
    parts = {"transform": transform, "files": files, "growth": growth}
    for name in sys.argv[1:] or parts:
        with tempfile.TemporaryDirectory() as folder:
            parts[name](Path(folder))


if __name__ == "__main__":
    main()
