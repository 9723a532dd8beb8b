"""Seconds of CPU of a prediction, and of one with reasons, for one item.

    python tests/benchmarks/explaining.py MODEL [--audio F] [--text F] [--image F]
        [--rounds 3] [--allow WHAT]

The model is loaded once, and each side runs once before it is timed. The sides run in turn; a
processor that others use moves the wall clock, so the CPU time of this process is told.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from mmgenre import GenreTagger


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    for name in ("audio", "text", "image"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--allow", action="append", default=[])
    given = parser.parse_args()
    tagger = GenreTagger.from_pretrained(given.model, allow=given.allow)
    media = {m: getattr(given, m) for m in ("audio", "text", "image") if getattr(given, m)}
    sides: dict[bool, list[float]] = {False: [], True: []}
    for k in range(given.rounds + 1):
        for explain, seconds in sides.items():
            start = time.process_time()
            reasons = tagger.predict(**media, explain=explain).reasons
            if k:
                seconds.append(time.process_time() - start)
    assert reasons is not None
    print(f"pieces: {len(reasons.words)} words, {len(reasons.seconds)} windows, "
          f"{sum(map(len, reasons.cover))} cells")  # fmt: skip
    for explain, seconds in sides.items():
        name = "with reasons" if explain else "plain"
        print(f"{name}: {statistics.median(seconds):.2f} s of CPU (least {min(seconds):.2f})")


if __name__ == "__main__":
    main()
