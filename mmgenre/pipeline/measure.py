"""Everything measured in a run -> its metrics.json."""

from __future__ import annotations

import json
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import cast

from mmgenre.disk.bundle import bundle_fingerprint, read_bundle
from mmgenre.disk.files import write_json
from mmgenre.disk.store import fingerprint_of
from mmgenre.fusion.tagger import parents_of
from mmgenre.items.labels import closure
from mmgenre.items.manifest import MODALITIES, SPLITS, Modality
from mmgenre.measuring.results import RESULT, Curve, EncoderResult, RunResult
from mmgenre.pipeline.features import refusals
from mmgenre.pipeline.run import SYNTHETIC, Run


def evaluate(run: Run) -> Path:
    """Gathers everything measured in a run into its metrics.json."""
    manifest = run.manifest
    closures = [closure(item.labels) for item in manifest]
    counts = Counter(name for names in closures for name in names)
    result: RunResult = {
        "run": str(run.folder),
        "made_by": f"mmgenre {version('mmgenre')}",
        "recipe": run.recipe.model_dump(mode="json"),
        "dataset": {
            "name": run.dataset,
            "synthetic": run.dataset == SYNTHETIC,
            "n_items": len(manifest),
            "splits": {split: len(manifest.ids(split)) for split in SPLITS},
            "modalities": {
                m: {split: len(manifest.ids(split, having=[m])) for split in SPLITS}
                for m in MODALITIES
            },
            "label_counts": dict(sorted(counts.items())),
            "refused": [vars(r) for r in refusals(run)],
        },
        "encoders": {m: _encoder_result(run, m) for m in MODALITIES if run.encoder(m).is_dir()},
        "fusions": [
            json.loads(path.read_text(encoding="utf-8"))
            for path in sorted(run.fusions.glob(f"*/{RESULT}"))
            if _is_of(run, path.parent)
        ],
    }
    return write_json(run.metrics, result)


def _is_of(run: Run, folder: Path) -> bool:
    """Whether a fusion was made from the embeddings that the run has now."""
    if bundle_fingerprint(folder / "model") is None:
        return False
    parents = parents_of(folder / "model")
    inputs = [name for name in parents if "." not in name]  # neither encoder.X nor joint.X
    return all(fingerprint_of(run.embeddings(n), n) == parents[n] for n in inputs)


def _encoder_result(run: Run, modality: Modality) -> EncoderResult:
    bundle = read_bundle(run.encoder(modality), f"{modality} encoder")
    return {
        "network": bundle.config["config"]["encoder" if modality == "text" else "network"],
        "n_parameters": sum(t.numel() for t in bundle.weights.values()),
        "embedding_dim": bundle.config["embedding_dim"],
        "curve": bundle.files["curve.json"],
    }


def read_curve(folder: Path) -> Curve:
    """The learning curve in a model's folder."""
    return cast(Curve, json.loads((folder / "curve.json").read_text(encoding="utf-8")))
