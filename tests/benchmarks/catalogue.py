"""What fusion gains on the built-in catalogue: whole runs, three seeds, both tasks, both heads.

    python tests/benchmarks/catalogue.py

Each seed has a catalogue, splits, encoders and heads of its own. The catalogue is synthetic: the
figures say how the code works, not how well it does on music.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from mmgenre import extract_features, fuse
from mmgenre.measuring.results import FusionResult

SETUPS = {
    "single, logistic": ("single", "logistic", "macro_f1"),
    "multi, logistic": ("multi", "logistic", "macro_roc_auc"),
    "multi, cosine": ("multi", "cosine", "macro_roc_auc"),
}


def run_once(task: str, head: str, seed: int, folder: Path) -> FusionResult:
    """Encoders and fusion that learn the same task and target; inputs are read once a seed."""
    settings = [f"seed={seed}", f"labels.task={task}", f"target.name={head}"]
    extract_features(run=folder, recipe="quick", settings=settings)
    return fuse(run=folder, head=head, seeds=1)


def main() -> None:
    """Prints, per setup, the metric and ADiv@1 of every row: mean and deviation over seeds."""
    values: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for seed in range(3):
        with tempfile.TemporaryDirectory() as folder:
            for setup, (task, head, metric) in SETUPS.items():
                for row in run_once(task, head, seed, Path(folder))["rows"]:
                    summary = row["all"]["summary"]
                    pair = summary[metric]["mean"], summary["adiv_1"]["mean"]
                    values.setdefault((setup, row["name"]), []).append(pair)
    for setup, (_, _, metric) in SETUPS.items():
        print(f"{setup}: all test items, three seeds: {metric}, ADiv@1")
        for (of, row_name), pairs in values.items():
            if of == setup:
                (value, adiv), (spread, _) = np.mean(pairs, axis=0), np.std(pairs, axis=0, ddof=1)
                print(f"  {row_name:<8}{value:.3f} ± {spread:.3f}   {adiv:.3f}")


if __name__ == "__main__":
    main()
