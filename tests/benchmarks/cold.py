"""A first answer after a cold start, and forty songs, in CPU seconds with children.

    mmgenre export RUN MODEL --onnx
    python tests/benchmarks/cold.py MODEL [--rounds 5]

Sides run in turn, each in a process of its own: `mmgenre predict MODEL SONG...`, with ONNX and,
from a copy without these files, with torch; and the script that everyone writes: librosa loads each
song, means and deviations of MFCC, chroma and spectral contrast go through a scikit-learn pipeline
out of a pickle. Songs are those of ../shared/data/real/audio, over and over, under other names.
"""

from __future__ import annotations

import argparse
import os
import pickle
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmgenre.fusion.exported import EXPORT, ONNX

SONGS = Path(__file__).parents[3] / "shared/data/real/audio"
MANY = 40
PARTLY = 3  # exit code: one of these songs is refused
SCRIPT = """
import pickle, sys
import librosa, numpy as np
with open(sys.argv[1], "rb") as file:
    model = pickle.load(file)
rows = []
for song in sys.argv[2:]:
    y, sr = librosa.load(song)
    blocks = [librosa.feature.mfcc(y=y, sr=sr, n_mfcc=20), librosa.feature.chroma_cqt(y=y, sr=sr),
              librosa.feature.spectral_contrast(y=y, sr=sr)]
    rows.append(np.concatenate([f(b, axis=1) for b in blocks for f in (np.mean, np.std)]))
print(model.predict_proba(np.array(rows)).round(3).tolist())
"""
WIDTH = 2 * (20 + 12 + 7)


def cpu_s(command: list[str]) -> float:
    """CPU seconds of a command and its children."""

    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = used()
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode in (0, PARTLY), done.stderr
    return used() - before


def main(model: Path, rounds: int) -> None:
    """Prints a line a side, for one song and for many."""
    print(f"load before: {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = shutil.copytree(
            model, folder / "plain", ignore=shutil.ignore_patterns(ONNX, EXPORT)
        )
        rng = np.random.default_rng(0)
        pipeline = make_pipeline(StandardScaler(), LogisticRegression())
        pipeline.fit(rng.normal(size=(300, WIDTH)), np.arange(300) % 10)
        pickled = folder / "model.pickle"
        pickled.write_bytes(pickle.dumps(pipeline))
        (folder / "songs").mkdir()
        songs = []
        for k, song in enumerate(islice(cycle(sorted(SONGS.iterdir())), MANY)):
            songs.append(shutil.copy(song, folder / "songs" / f"{k:02d}{song.suffix}"))
        predict = [str(Path(sys.executable).with_name("mmgenre")), "predict"]
        sides = {
            "mmgenre, ONNX": [*predict, str(model)],
            "mmgenre, torch": [*predict, str(plain)],
            "librosa and scikit-learn": [sys.executable, "-c", SCRIPT, str(pickled)],
        }
        for given in (songs[:1], songs):
            taken: dict[str, list[float]] = {side: [] for side in sides}
            for k in range(rounds):
                order = list(sides) if k % 2 else list(sides)[::-1]
                for side in order:
                    taken[side].append(cpu_s([*sides[side], *map(str, given)]))
            for side, seconds in taken.items():
                spread = f"{min(seconds):.2f} to {max(seconds):.2f}"
                median = statistics.median(seconds)
                print(f"{len(given)} song(s), {side}: {median:.2f} CPU s ({spread})", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", type=Path, nargs="?", help="exported with --onnx")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    if chosen.model is None or not SONGS.is_dir() or not (chosen.model / ONNX).is_dir():
        print(f"needs a MODEL that was exported with --onnx, and {SONGS}: nothing is measured")
    else:
        main(chosen.model, chosen.rounds)
