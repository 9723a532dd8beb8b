"""A trained head of the paper's size, and a run under a launcher."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from gpu_cases import Line

from mmgenre.datasets.synthetic import make_catalogue
from mmgenre.fusion.head import train_fusion
from mmgenre.fusion.settings import FusionConfig
from mmgenre.fusion.table import FeatureTable
from mmgenre.learning.settings import TrainingConfig
from mmgenre.learning.targets import LogisticTarget

MAX_EPOCH_S = 5.5  # of two cores of a CPU, in batches of 32
MAX_APART = {"cpu": 0.0, "cuda": 0.1}  # of a loss; sums on a GPU have no fixed order
INPUTS = ("audio", "text", "image")
# Seconds instead of minutes.
SETTINGS = (
    *("split.ratios=[0.5, 0.25, 0.25]", "text.encoders=['vsm']", "image.encoders=['network']"),
    *("text.hidden_dim=48", "text.embedding_dim=24", "image.embedding_dim=24"),
    *("text.training.max_epochs=3", "text.training.min_steps=30"),
    *("image.network=cnn-5x5", "image.input.size_px=72", "image.crop_px=64"),
    *("image.training.max_epochs=1", "image.training.min_steps=6", "fusion.cross_fit=0"),
)
HEADS: tuple[tuple[int, Literal["float32", "bfloat16"]], ...] = (
    (32, "float32"),
    (1024, "bfloat16"),
)


def table_of(n: int, width: int, seed: int) -> FeatureTable:
    """Vectors of all inputs for n items."""
    rng = np.random.default_rng(seed)
    ids = tuple(str(k) for k in range(n))
    x = {name: rng.standard_normal((n, width), np.float32) for name in INPUTS}
    return FeatureTable(ids, x, {name: np.ones(n, np.bool_) for name in INPUTS})


def check_fusion(device: torch.device, small: bool) -> list[Line]:
    """Seconds an epoch of a head on 25 000 items with 6 144 numbers and 250 labels.

    The evaluation of a tenth as many items is part of an epoch, as it is of a user's.
    """
    (n, width, n_labels), lines = (200, 16, 5) if small else (25_000, 2048, 250), []
    target = LogisticTarget(n_labels, exclusive=False)
    tables = table_of(n, width, 0), table_of(n // 10, width, 1)
    # Labels that the first input tells.
    goals = [(t.x["audio"][:, :n_labels] > 1).astype(np.float32) for t in tables]
    for batch_size, precision in HEADS:
        size = min(batch_size, n // 4)
        training = TrainingConfig(
            batch_size=size, precision=precision, max_epochs=4, patience=None, learning_rate=0.01
        )
        began: dict[int, float] = {}

        def note(task: str, done: int, total: int, began: dict[int, float] = began) -> None:
            began.setdefault(done, time.perf_counter())

        _, log = train_fusion(
            *tables,
            target,
            {"train": goals[0], "val": goals[1]},
            FusionConfig(training=training),
            exclusive=False,
            seed=0,
            progress=note,
        )
        took = float(np.median(np.diff([began[k] for k in range(1, 5)])))
        first, last = log.epochs[0]["train_loss"], log.epochs[-1]["train_loss"]
        value = f"{took:.2f} s/epoch, loss {first:.3f} to {last:.3f}"
        limit = "lower" if small else f"{MAX_EPOCH_S} s, lower"
        passed = last < first and (small or took <= MAX_EPOCH_S)
        lines.append(Line("fusion", f"batches of {size}, {precision}", value, limit, passed))
    return lines


def check_launch(device: torch.device, small: bool) -> list[Line]:
    """Two encoders of the built-in catalogue by accelerate, against the plain command."""
    launcher = (
        *("-m", "accelerate.commands.accelerate_cli", "launch", "--num_processes=1"),
        *("--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no"),
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = make_catalogue(folder / "catalogue", seed=1, n_albums=32)
        command = ["-m", "mmgenre", "extract-features", "--manifest", str(manifest), "--quiet"]
        command += ["--recipe", "quick", "--modalities", "t,i", "--workers", "1"]
        command += [word for setting in SETTINGS for word in ("--set", setting)]
        # As many threads as the launcher gives: sums that more share are rounded otherwise.
        same = {"OMP_NUM_THREADS": "1", **({"CUDA_VISIBLE_DEVICES": ""} if small else {})}
        codes = [
            subprocess.run(
                [sys.executable, *before, *command, "--run", str(folder / run)],
                env={**os.environ, **same},
                stdout=subprocess.DEVNULL,
                check=False,
            ).returncode
            for run, before in (("plain", ()), ("launched", launcher))
        ]
        # The catalogue has damaged covers, which are refused: 3. A launcher takes that for a crash.
        if codes[0] not in (0, 3) or codes[1] != 0:
            return [Line("launch", "text and image", f"exit codes {codes}", "0 or 3, 0", False)]
        apart = {name: apart_by(folder, name) for name in ("text", "image")}
    limit = MAX_APART[device.type]
    return [
        Line("launch", name, f"losses {value:.1e} apart", f"{limit:g}", value <= limit)
        for name, value in apart.items()
    ]


def apart_by(folder: Path, name: str) -> float:
    """How far the last validation losses of two runs are apart, relative to the first of them."""
    last = []
    for run in ("plain", "launched"):
        (curve,) = (folder / run / "encoders").glob(f"{name}/curve.json")
        last.append(json.loads(curve.read_text(encoding="utf-8"))["epochs"][-1]["val_loss"])
    return float(abs(last[0] - last[1]) / last[0])
