"""What a model itself says of how far its predictions can be trusted, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from mmgenre.disk.bundle import CONFIG, bundle_file
from mmgenre.learning.budget import Budget
from mmgenre.learning.settings import TrainingConfig
from mmgenre.learning.verdict import verdicts
from mmgenre.measuring.curves import Curve

CURVE = "curve.json"  # of an encoder's folder


def model_notes(choice: Mapping[str, Any], encoders: Mapping[str, Path]) -> tuple[str, ...]:
    """Encoders and experts of a model that stand at chance, or had too little data.

    `choice`: how solved heads join their inputs; {} of trained ones. `encoders`: view -> folder.
    """
    notes = [
        f"{view} ({bundle_file(folder, CONFIG)['config']['encoder']}): {sentence}"
        for view, folder in encoders.items()
        for sentence in curve_notes(folder)
    ]
    return (*notes, *expert_notes([choice]))


def curve_notes(folder: Path, training: TrainingConfig | None = None) -> list[str]:
    """What an encoder's curve says, as `verdicts` has it; nothing if it was not trained.

    `training`: how it was trained, to tell an early stop by; None: not known.
    """
    if not (folder / CURVE).is_file():
        return []
    curve, rounds = cast(Curve, bundle_file(folder, CURVE)), None
    if training is not None and "n_train" in curve:
        rounds = Budget.of(training, curve["n_train"]).rounds
    return verdicts(curve, rounds) if curve["epochs"] else []


def expert_notes(choices: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The experts, by key each once, whose outputs for items they have not seen are at chance."""
    told = set()
    for choice in choices:
        for key, expert in choice.get("experts", {}).items():
            auc, chance = expert.get("roc_auc"), expert.get("chance")
            if key not in told and None not in (auc, chance) and auc <= chance:
                told.add(key)
                yield (
                    f"{key}: at chance on training items, cross-fitted (ROC-AUC {auc:.2f}; chance "
                    f"reaches {chance:.2f}): it says nothing about genres"
                )
