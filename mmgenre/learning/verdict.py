"""What a learning curve says about a training, in sentences for the end of a command."""

from __future__ import annotations

from mmgenre.learning.selection import smoothed
from mmgenre.measuring.curves import Curve

FEW_TRAINING, FEW_VALIDATION = 100, 20  # rows


def verdicts(curve: Curve, rounds: int | None = None) -> list[str]:
    """What a reader of the results should know; empty if the training went well, to its end.

    `rounds`: how many evaluations there would have been without an early stop; None: not known.
    Chance is told where weights are selected by the metric, which the curve then has.

    >>> epochs = [
    ...     {"epoch": k, "train_loss": 0.7, "val_loss": 0.7, "metrics": {"macro_roc_auc": auc}}
    ...     for k, auc in ((1, 0.52), (2, 0.49))
    ... ]
    >>> verdicts(
    ...     {
    ...         "epochs": epochs,
    ...         "best_epoch": 1,
    ...         "n_train": 31,
    ...         "n_val": 53,
    ...         "chance_auc": 0.56,
    ...     },
    ...     rounds=60,
    ... )  # doctest: +NORMALIZE_WHITESPACE
    ['stopped after 2 of 60 evaluations, as none after the first was better',
     'learned from 31 training rows only',
     'is at chance on validation (ROC-AUC .52 of 53 rows; chance reaches .56)',
     'was best at the first of 2 evaluations: it learned nothing that helps validation']
    """
    epochs, best = curve["epochs"], curve["best_epoch"]
    n_train, n_val = curve.get("n_train", FEW_TRAINING), curve.get("n_val", FEW_VALIDATION)
    chance = curve.get("chance_auc")
    said = []
    if rounds is not None and 0 < len(epochs) < rounds:
        which = "the first" if best == 1 else f"number {best}"
        said.append(
            f"stopped after {len(epochs)} of {rounds} evaluations, as none after {which} was better"
        )
    if n_train < FEW_TRAINING:
        said.append(f"learned from {n_train:,} training rows only")
    if n_val < FEW_VALIDATION:
        said.append(f"was selected on {n_val:,} validation rows only: a matter of luck")
    aucs = smoothed([epoch["metrics"]["macro_roc_auc"] for epoch in epochs if "metrics" in epoch])
    if len(aucs) == len(epochs) > 0 and chance is not None and aucs[best - 1] <= chance:
        said.append(
            f"is at chance on validation (ROC-AUC {_short(aucs[best - 1])} of {n_val:,} rows; "
            f"chance reaches {_short(chance)})"
        )
    if best == 1 and len(epochs) > 1:
        said.append(
            f"was best at the first of {len(epochs)} evaluations: it learned nothing that helps "
            "validation"
        )
    return said


def _short(value: float) -> str:
    """.52 for 0.52."""
    return f"{value:.2f}".removeprefix("0")
