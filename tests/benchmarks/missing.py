"""One model given only some modalities against models trained on exactly these.

    python tests/benchmarks/missing.py [OUT] [--on test] [FOLDER...]

The built-in catalogue from three seeds (of catalogue, splits, encoders), recipe `quick`; FOLDER are
sets as of `mmgenre benchmark` (../shared/data/dev/NAME), three splits each, recipe `default`. For
every subset of the modalities a run of its own trains encoders and heads on these alone; items have
any of the subset. Differences are whole minus specialist, with 95 % by artists drawn anew. Then, on
the same items, figures where 0 to 90 % of the modalities are hidden at random, for heads that are
solved and for heads that are trained with and without modality dropout. Figures are of validation
items, or of test. Runs stay in OUT, and are used again; without it
they go, and the catalogue alone is measured.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mmgenre.datasets.synthetic import make_catalogue
from mmgenre.items.modalities import MODALITIES
from mmgenre.measuring.differences import MACRO_METRICS, Pair, groups_of, paired_difference
from mmgenre.pipeline.commands import extract_features, fuse
from mmgenre.pipeline.missing import SHARES, Whole, whole_of
from mmgenre.pipeline.run import Run, open_run
from mmgenre.pipeline.scores import On

SEEDS = (0, 1, 2)
TRAINED = ("fusion.solver=sgd", "fusion.combine=concatenation")
SIDES: Mapping[str, tuple[str, ...]] = {
    "solved": ("fusion.solver=lbfgs", "fusion.combine=auto"),
    "trained, no dropout": (*TRAINED, "fusion.modality_dropout=0"),
    "trained, dropout .3": (*TRAINED, "fusion.modality_dropout=0.3"),
    "trained, single-branch": (
        *TRAINED,
        "fusion.network=single-branch",
        "fusion.modality_dropout=0",
    ),
}
Subset = tuple[str, ...]


def made(run: Path, manifest: Path, recipe: str, seed: int, modalities: Subset, media: Path) -> Run:
    """A run that has seen no other modalities than these."""
    extract_features(
        manifest, recipe=recipe, settings=[f"seed={seed}"], run=run, media_roots=[media],
        modalities=modalities,
    )  # fmt: skip
    return open_run(run)


def fused(run: Run, modalities: Subset, settings: Sequence[str], on: On) -> Whole:
    """The whole model of one fusion of a run."""
    name = fuse(modalities, run=run.folder, settings=settings, seeds=1)["name"]
    return whole_of(run, name, on)


def compared(runs: Sequence[tuple[Run, Whole, Whole]], subset: Subset) -> str:
    """Whole minus specialist on items with any of the subset, a pair a run."""
    pairs, apart = [], 0.0
    for run, whole, own in runs:
        assert whole.table.ids == own.table.ids
        here = np.any([own.table.present[name] for name in own.table.x], axis=0)
        ours, theirs = whole.scores(subset)[here], own.scores(subset)[here]
        apart = max(apart, float(np.abs(ours - theirs).max()))
        ids = [i for i, has in zip(own.table.ids, here, strict=True) if has]
        groups = groups_of(ids, [run.manifest[i].artist for i in ids])
        pairs.append(Pair(own.y[here], ours, theirs, groups))
    exclusive = runs[0][1].model.labels.exclusive
    metrics = ["macro_f1"] if exclusive else ["macro_roc_auc", "macro_pr_auc"]
    said = []
    for metric in metrics:
        found = paired_difference(pairs, MACRO_METRICS[metric])
        said.append(f"{metric} {found.value:+.4f} ({found.low:+.4f} to {found.high:+.4f})")
    return f"{'; '.join(said)}; scores differ by {apart:.1e} at most"


def curves(wholes: Mapping[str, Sequence[Whole]]) -> None:
    """A line for each kind of heads and metric: means over runs."""
    print("hidden".ljust(36), *(f"{share:5.0%}" for share in SHARES))
    for side, models in wholes.items():
        found = [whole.curve() for whole in models]
        for metric in found[0]:
            means = np.mean([own[metric] for own in found], axis=0)
            print(f"{side}, {metric}".ljust(36), *(f"{v:.3f}" for v in means), flush=True)


def main(out: Path, folders: Sequence[Path], on: On) -> None:
    """Prints a line a subset, then curves, for each set."""
    sets: dict[str, tuple[str, list[tuple[Path, int, Path]]]] = {}
    if not folders:
        made_here = []
        for seed in SEEDS:
            folder = out / f"catalogue-{seed}"
            known = folder / "manifest.csv"
            manifest = known if known.is_file() else make_catalogue(folder, seed=seed)
            made_here.append((manifest, seed, folder))
        sets["catalogue"] = "quick", made_here
    for folder in folders:
        splits = [(folder / f"manifest-{k}.csv", 0, folder.parent / "media") for k in SEEDS]
        sets[folder.name] = "default", splits
    for name, (recipe, splits) in sets.items():
        wholes: dict[str, list[Whole]] = {side: [] for side in SIDES}
        runs = []
        for k, (manifest, seed, media) in enumerate(splits):
            run = made(out / f"{name}-{k}-all", manifest, recipe, seed, tuple(MODALITIES), media)
            runs.append(run)
            present = tuple(m for m in MODALITIES if run.manifest.count(having=[m]))
            for side, settings in SIDES.items():
                wholes[side].append(fused(run, present, settings, on))
        for n in range(1, len(present) + 1):
            for subset in combinations(present, n):
                letters = "+".join(MODALITIES[m].short for m in subset)
                found = []
                for k, (manifest, seed, media) in enumerate(splits):
                    own = made(out / f"{name}-{k}-{letters}", manifest, recipe, seed, subset, media)
                    specialist = fused(own, subset, SIDES["solved"], on)
                    found.append((own, wholes["solved"][k], specialist))
                print(f"{name} {letters.upper()}: {compared(found, subset)}", flush=True)
        curves(wholes)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--on", choices=["val", "test"], default="val")
    given = parser.parse_args()
    with TemporaryDirectory() as temporary:
        main(given.out or Path(temporary), given.folders, given.on)
