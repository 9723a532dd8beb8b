"""Near twins of covers and tracks: what thresholds find, and what looking for twins costs.

    python tests/benchmarks/twins.py thresholds   # some minutes; needs ../shared/data
    python tests/benchmarks/twins.py cost         # some minutes; needs ../shared/data

Thresholds: twins by every edit of tests/helpers/edits.py. One half of covers, tracks and edits is
for choosing, the other for judging; `wrong` is the share of items that were paired with different
ones. Cost: CPU time of reading a file and of its fingerprint, and of comparing many: made from
those that there are, by mirroring and turning covers and transposing tracks.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from edits import COVER_EDITS, SOUND_EDITS, in_first_half
from planting import covers_of, judged, opened, plant, tracks_of

from mmgenre.audio import fingerprint as recordings
from mmgenre.audio.cqt import load_log_cqt
from mmgenre.image import fingerprint as pictures
from mmgenre.image.decoding import load_image
from mmgenre.image.settings import ImageInput

DATA = Path(__file__).parents[3] / "shared/data"
COVERS, TRACKS = (1_300, 5_000, 20_000), (900, 3_000, 10_000)
TRIED: dict[str, tuple[Any, str, Sequence[float]]] = {
    "image": (pictures, "CLOSELY", (0.6, 0.7, 0.75, 0.8, 0.85, 0.9)),
    "audio": (recordings, "LEAST_COUNT", (6, 8, 10, 14, 20, 30)),
}


def thresholds() -> None:
    sources = {"image": covers_of(DATA), "audio": tracks_of(DATA)}
    edits: dict[str, Any] = {"image": COVER_EDITS, "audio": SOUND_EDITS}
    for modality, (module, name, values) in TRIED.items():
        for first in (True, False):
            with tempfile.TemporaryDirectory() as folder:
                half = [path for path in sources[modality] if in_first_half(path.stem) == first]
                own = {k: e for k, e in edits[modality].items() if in_first_half(k) == first}
                planted = plant(own, half, Path(folder), 12 if modality == "image" else 5)
                media = opened(planted, half, modality)
                used = getattr(module, name)
                for value in values:
                    setattr(module, name, value)
                    found = judged(planted, half, media, media.near(modality))
                    show: dict[str, Any] = {
                        "modality": modality,
                        "half": "choosing" if first else "judging",
                    }
                    show |= {name: value, "used": value == used, "planted": len(planted)}
                    show |= {"found": round(sum(found.hits) / len(planted), 4)}
                    print(json.dumps(show | {"wrong": round(found.wrong_share, 4)}))
                setattr(module, name, used)


def cpu_ms(work: Callable[[Any], Any], over: Sequence[Any]) -> tuple[float, list[Any]]:
    work(over[0])
    started = time.process_time()
    made = [work(one) for one in over]
    return 1e3 * (time.process_time() - started) / len(over), made


def cost() -> None:
    covers, tracks = covers_of(DATA), tracks_of(DATA)
    read, squares = cpu_ms(lambda path: load_image(path, ImageInput(size_px=256)), covers)
    own, views = cpu_ms(pictures.fingerprint, squares)
    print(json.dumps({"a cover": "CPU ms", "read": round(read, 2), "fingerprint": round(own, 2)}))
    read, rows = cpu_ms(lambda path: load_log_cqt(path).astype(np.float16), tracks[:300])
    own, marks = cpu_ms(recordings.fingerprint, rows)
    print(json.dumps({"a track": "CPU ms", "read": round(read, 2), "fingerprint": round(own, 2)}))
    marks += [recordings.fingerprint(load_log_cqt(path)) for path in tracks[300:]]
    turned = [
        [sign * np.rot90(v, k, (1, 2))[:, :, ::way] for v in views]
        for k in range(4)
        for way in (1, -1)
        for sign in (np.float16(1), np.float16(-1))
    ]
    moved = [[_transposed(own, by) for own in marks] for by in range(12)]
    for name, made, sizes, module in (
        ("covers", turned, COVERS, pictures),
        ("tracks", moved, TRACKS, recordings),
    ):
        for n in sizes:
            prints = [one for part in made for one in part][:n]
            started = time.process_time()
            found = module.similar(prints)
            seconds = round(time.process_time() - started, 2)
            print(
                json.dumps({name: len(prints), "compared in CPU s": seconds, "pairs": len(found)})
            )


def _transposed(landmarks: recordings.Landmarks, by: int) -> recordings.Landmarks:
    """Every bin of every landmark by so many bins, and back to the lowest after the highest."""
    key = landmarks.astype(np.int64) >> recordings.TIME_BITS
    spans = key & ((1 << 2 * recordings.SPAN_BITS) - 1)
    bins = key >> 2 * recordings.SPAN_BITS
    made = np.zeros_like(key)
    for place in range(3):
        shift = recordings.BIN_BITS * place
        made |= (((bins >> shift) + by * 5) % recordings.N_USED) << shift
    made = made << 2 * recordings.SPAN_BITS | spans
    low = landmarks & np.uint64((1 << recordings.TIME_BITS) - 1)
    return made.astype(np.uint64) << np.uint64(recordings.TIME_BITS) | low


if __name__ == "__main__":
    if not DATA.is_dir():
        print(f"no folder {DATA}: nothing is measured")
    else:
        for part in sys.argv[1:] or ("thresholds", "cost"):
            {"thresholds": thresholds, "cost": cost}[part]()
