"""Checks of a GPU: numbers against the CPU, training, speed, stores, heads, and a launcher.

    python tests/gpu/check.py                    # needs a CUDA device; at most 6 minutes
    python tests/gpu/check.py --small            # on the CPU with small networks; two minutes
    python tests/gpu/check.py --only networks    # one part or several

It prints one table and exits with 1 if a value misses its limit. Limits, and estimates of the
seconds on one H100:

- networks (90 s): outputs and gradients in float32, without TF32, are compared with float64 on the
  CPU. The error may be 20 times that of float32 on the CPU. In any case outputs may be 1e-4 of the
  largest number apart, and each gradient 2e-2 of its length: one ReLU of millions that falls to
  the other side of 0 has moved one by 1.1e-2 (H200).
- training (20 s): by `mmgenre.learning.training.fit`, in float32, TF32 and bfloat16, and once more
  in bfloat16 with a budget in steps, warm-up, and selection by the metric. The last loss, of
  training and in the last case of validation, must be 0.9 of what the labels' shares alone would
  have; those in TF32 and bfloat16 may differ by a tenth of it.
- speed (30 s): steps per second, in turn with the same layers of plain torch under its default
  Adam. Ours must reach 0.8 of theirs.
- resume (60 s): a training that is killed by SIGKILL within an epoch, and resumed, must have the
  weights of one that was not interrupted; with a budget in steps, too.
- views (1 s): random views of covers, computed on the device: crops are those of the CPU,
  interpolated and recoloured bytes may be 2 apart.
- feed (40 s): patches and covers per second of training from an HDF5 store, 0.8 of those of the
  same steps on a batch that is in memory (0.5 for the smallest network); and the share of the
  time that it waited for batches.
- embedding (30 s): clips and covers per second by the package's own function; the vectors may be
  1e-4 of the largest number from those of the CPU.
- fusion (20 s): an epoch of a trained head on 25 000 items may take the 5.5 s of two CPU cores.
- launch (60 s): encoders trained by `accelerate launch` and by the plain command: validation
  losses may be a tenth apart, as sums on a GPU have no fixed order; on a CPU they are the same.

With --small, speeds are shown and have no limit.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from gpu_cases import (
    Line,
)
from parts_networks import check_networks
from parts_pipeline import check_fusion, check_launch
from parts_speed import check_speed
from parts_stores import check_embedding, check_feed, check_views
from parts_training import check_resume, check_training, train_and_save

PARTS: dict[str, Callable[[torch.device, bool], list[Line]]] = {
    "networks": check_networks,
    "training": check_training,
    "speed": check_speed,
    "resume": check_resume,
    "views": check_views,
    "feed": check_feed,
    "embedding": check_embedding,
    "fusion": check_fusion,
    "launch": check_launch,
}


def show(lines: Sequence[Line]) -> None:
    """Prints the table."""
    rows = [("part", "of", "value", "limit", "")]
    rows += [(x.part, x.what, x.value, x.limit, "ok" if x.passed else "MISS") for x in lines]
    widths = [max(len(row[k]) for row in rows) for k in range(5)]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)))


def main(words: Sequence[str] | None = None) -> int:
    """Runs the parts that are asked for; 0: all passed, 1: a miss, 2: there is no device."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--small", action="store_true", help="small networks on the CPU")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts")
    parser.add_argument("--train", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    parser.add_argument("--by-steps", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--kill-at", type=int, metavar="BATCH", help=argparse.SUPPRESS)
    asked = parser.parse_args(words)
    if not asked.small and not torch.cuda.is_available():
        print("no CUDA device here; --small runs the checks on the CPU", file=sys.stderr)
        return 2
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if asked.small:  # threads that wait for each other cost more than these networks
        torch.set_num_threads(1)
    if asked.train is not None:
        how = {"small": asked.small, "by_steps": asked.by_steps}
        train_and_save(asked.train, kill_at=asked.kill_at, **how)
        return 0
    device = torch.device("cpu" if asked.small else "cuda")
    started = time.monotonic()
    lines = []
    for part in asked.only:
        lines += PARTS[part](device, asked.small)
        print(f"{part}: done after {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    name = "CPU" if asked.small else torch.cuda.get_device_name(device)
    print(f"\n{name}, torch {torch.__version__}")
    show(lines)
    return 0 if all(line.passed for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
