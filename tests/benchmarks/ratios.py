"""All ratios of the library to what a plain script would do, on two cores, in one table.

    python tests/benchmarks/ratios.py                # all, half an hour on a quiet machine
    python tests/benchmarks/ratios.py transform text # some of them
    python tests/benchmarks/ratios.py cpu transform  # CPU time of one thread: on a busy machine
    PYTHONPATH=OTHER_CLONE python tests/benchmarks/ratios.py   # the same of another version

Both sides of a ratio run in turn in this process, after a round that does not count; medians of the
ratios of rounds, and their range. Ratios belong to a machine: the first line names its processor,
and how busy it was. scikit-learn's one-vs-rest fit is timed on some labels of 250, and scaled.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import extraction
import numpy as np
import torch
import training
from _sides import Seconds, Side
from _sides import in_turn as wall_in_turn
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

import mmgenre
from mmgenre.audio.cqt import cqt_magnitude
from mmgenre.audio.settings import AudioInput
from mmgenre.fusion.solve import Linear, solve_path
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.learning.optimisation import make_optimizer
from mmgenre.learning.settings import TrainingConfig
from mmgenre.learning.targets import LogisticTarget
from mmgenre.measuring import metrics
from mmgenre.reading.extraction import extract_inputs

ROUNDS = 9
CPU = "cpu" in sys.argv
THREADS = 1 if CPU else 2
COPIES = 6  # of the clips, so that what a run costs once does not count for much
FITTED = range(0, training.N_LABELS, 50)  # labels that scikit-learn fits in each round
STRENGTH = 1.0  # scikit-learn's own


in_turn = partial(wall_in_turn, clock=time.process_time if CPU else time.perf_counter)


def processor() -> str:
    """Its name, and the load of the last minute."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    return f"{found[1] if found else 'unknown'}, {cores} cores, load {load:.1f}"


def show(name: str, seconds: Seconds, scales: tuple[float, float] = (1, 1)) -> None:
    """A row: of each side the median, and the first over the second; `scales` multiply seconds."""
    first, second = (times * scale for times, scale in zip(seconds.values(), scales, strict=True))
    ratios = first / second
    print(
        f"| {name} | {np.median(first):.4g} s | {np.median(second):.4g} s "
        f"| {np.median(ratios):.2f} [{ratios.min():.2f}, {ratios.max():.2f}] |",
        flush=True,
    )


def transform(folder: Path) -> None:
    """The constant-Q transform of clips, and its error."""
    mono = [extraction.mono_of(path) for path in extraction.clips(folder)]
    errors = []
    for samples in mono:
        expected = extraction.by_librosa(samples)
        errors.append(np.abs(cqt_magnitude(samples) - expected).max() / expected.max())
    sides: dict[str, Side] = {
        "librosa": lambda: [extraction.by_librosa(x) for x in mono],
        "ours": lambda: [cqt_magnitude(x) for x in mono],
    }
    with threadpool_limits(1):
        seconds = in_turn(sides, ROUNDS)
    each = 1 / len(mono)
    name = f"librosa.cqt / ours, {len(mono)} clips, one core, error {max(errors):.1e} of the peak"
    show(name, seconds, (each, each))


def extract(folder: Path) -> None:
    """Audio files to a finished store, against decoding them; one process."""
    files = []
    for copy in range(COPIES):
        for path in extraction.clips(folder):
            files.append(folder / f"{copy}-{path.name}")
            files[-1].symlink_to(path)
    manifest = Manifest([Item(p.name, media={"audio": (p,)}) for p in files])

    def ours() -> None:
        target = folder / "made.h5"
        config = AudioInput(excerpt_s=float(extraction.CLIP_S))
        extract_inputs(manifest, "audio", config, target, workers=1)
        target.unlink()

    sides: dict[str, Side] = {"ours": ours, "decode": partial(extraction.decode, files)}
    with threadpool_limits(1):
        seconds = in_turn(sides, 5)
    each = 1 / len(files)
    show(f"files to a store / only decoding, {len(files)} files", seconds, (each, each))


def steps() -> None:
    """Steps of the audio networks."""
    torch.manual_seed(0)
    shape = training.BATCH, training.N_LABELS
    x, y = torch.randn(training.BATCH, 322, 96).half(), (torch.rand(shape) < 0.02).float()
    for name in ("low-4x70", "high-4x70"):
        plain = training.plain_audio(training.audio_network(name))
        ours = training.audio_network(name)
        adam = torch.optim.Adam(plain.parameters())
        fused = make_optimizer(ours, TrainingConfig())
        sides: dict[str, Side] = {
            "plain": partial(training.step, plain, adam, x, y),
            "ours": partial(training.step, ours, fused, x, y),
        }
        show(f"a step of {name}: Conv2d, Adam / ours", in_turn(sides, 5))


def text() -> None:
    """Epochs of 25 000 albums, from steps on random batches."""
    rows, y = training.made_texts(4096, training.N_WORDS, 0)
    for ours_size in (32, 256):
        rng, sides = np.random.default_rng(0), dict[str, Side]()
        for dense, size in ((True, 32), (False, ours_size)):
            make = training.plain_text if dense else training.our_text
            module = make(training.N_WORDS, training.WIDTH)
            optimizer = (
                torch.optim.Adam(module.parameters())
                if dense
                else make_optimizer(module, TrainingConfig())
            )
            examples = training.Texts(rows, y, dense)

            def side(  # type: ignore[no-untyped-def]
                module=module, optimizer=optimizer, examples=examples, size=size, rng=rng
            ) -> None:
                batch = examples.batch(rng.choice(len(examples), size, replace=False), None)
                training.step(module, optimizer, batch["x"], batch["target"])

            sides["dense" if dense else "ours"] = side
        scales = training.N_ALBUMS / 32, training.N_ALBUMS / ours_size
        show(
            f"a text epoch: dense, Adam / ours, batches of 32 / {ours_size}",
            in_turn(sides, 15),
            scales,
        )


def fusion() -> None:
    """A fit of 250 labels on vectors of three modalities, and its ROC-AUC."""
    (train, y), (test, y_test) = (
        training.made_vectors(n, training.VECTOR_SEED + k)
        for k, n in enumerate((training.N_ALBUMS, 2500))
    )
    target = LogisticTarget(training.N_LABELS, exclusive=False)
    goals = y.astype(np.float32)
    x, x_test = (np.concatenate(list(t.unit().x.values()), axis=1) for t in (train, test))
    theirs, found = {}, list[Linear]()

    def one_vs_rest() -> None:
        for label in FITTED:
            fitted = LogisticRegression(C=1 / STRENGTH, max_iter=1000).fit(x, y[:, label])
            theirs[label] = fitted.decision_function(x_test)

    def ours() -> None:
        found[:] = solve_path(x, goals, target, (STRENGTH,))

    seconds = in_turn({"scikit-learn": one_vs_rest, "ours": ours}, 3)
    scores = found[0](x_test).astype(np.float64)
    own = list(FITTED)
    auc = metrics.macro(metrics.roc_auc(y_test[:, own], np.stack(list(theirs.values()), axis=1)))
    ours_auc = metrics.macro(metrics.roc_auc(y_test[:, own], scores[:, own]))
    name = "scikit-learn one-vs-rest / our fit, ROC-AUC of "
    name += f"{len(own)} labels {auc:.4f} / {ours_auc:.4f}"
    show(name, seconds, (training.N_LABELS / len(own), 1))


def main() -> None:
    """Runs the parts that are named, or all."""
    how = "CPU time, one thread" if CPU else "wall clock"
    print(f"{processor()}; {Path(mmgenre.__file__).parents[1].name}; {how}")
    print("| ratio | first | second | first / second |\n|---|---|---|---|", flush=True)
    parts = {"transform": transform, "extract": extract, "text": text, "fusion": fusion}
    torch.set_num_threads(THREADS)
    threadpool_limits(THREADS)
    for name in [name for name in sys.argv[1:] if name != "cpu"] or (*parts, "steps"):
        if name == "steps":
            steps()
        elif name in ("text", "fusion"):
            {"text": text, "fusion": fusion}[name]()
        else:
            with tempfile.TemporaryDirectory() as folder:
                {"transform": transform, "extract": extract}[name](Path(folder))


if __name__ == "__main__":
    main()
