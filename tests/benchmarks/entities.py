"""VSM against VSM+SEM on real texts: what the built-in knowledge base adds (Oramas 2018, table 6).

    python tests/benchmarks/entities.py

The captions, splits and logistic regression of `captions.py`, five seeds; the second row has the
categories of the entities that the local annotator finds.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from captions import CAPTIONS, peer, random_splits, truth

from mmgenre import Manifest
from mmgenre.measuring import metrics
from mmgenre.text.decoding import load_text
from mmgenre.text.entities.annotators import EntityConfig
from mmgenre.text.settings import TextInput

CONFIGS = {
    "VSM": TextInput(),
    "VSM+SEM": TextInput(entities=EntityConfig(annotator="local")),
}


def read(manifest: Manifest, config: TextInput) -> Manifest:
    """The manifest with each item's text as the encoder would get it."""
    items = [
        replace(item, media={"text": (load_text(item.media["text"], config, item.id),)})
        for item in manifest
    ]
    return Manifest(items)


def figures(manifest: Manifest) -> tuple[float, float]:
    """Macro ROC-AUC and macro AP of the peer on the test items."""
    ids = tuple(manifest.ids("test"))
    y, scores = truth(manifest, ids), peer(manifest, ids)
    return metrics.macro(metrics.roc_auc(y, scores)), metrics.macro(
        metrics.average_precision(y, scores)
    )


def main() -> None:
    """Prints macro ROC-AUC and macro AP, mean and standard deviation, and texts a second."""
    captions = Manifest.read(CAPTIONS)
    measured = {}
    for name, config in CONFIGS.items():
        begun = time.perf_counter()
        texts = read(captions, config)
        rate = len(texts) / (time.perf_counter() - begun)
        runs = np.array([figures(random_splits(texts, seed)) for seed in range(5)])
        measured[name] = runs
        print(
            f"{name:8} {rate:7.0f} texts/s  AUC {runs[:, 0].mean():.4f} ({runs[:, 0].std():.4f})"
            f"  AP {runs[:, 1].mean():.4f} ({runs[:, 1].std():.4f})"
        )
    gain = measured["VSM+SEM"] - measured["VSM"]
    print(
        f"gain, least and largest of five: AUC {gain[:, 0].min():+.4f} {gain[:, 0].max():+.4f}"
        f"  AP {gain[:, 1].min():+.4f} {gain[:, 1].max():+.4f}"
    )


if __name__ == "__main__":
    main()
