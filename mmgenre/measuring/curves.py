"""The shape of a learning curve, as it stands in metrics.json."""

from __future__ import annotations

from typing import NotRequired, TypedDict


class Epoch(TypedDict):
    """A point of a learning curve: mean losses of an epoch, or of a round of steps.

    `step`: optimiser steps until then, where the budget is counted in these. `metrics`: of the
    validation items, by their names in metrics.json, where they decide which weights are kept.
    """

    epoch: int
    train_loss: float
    val_loss: float
    step: NotRequired[int]
    metrics: NotRequired[dict[str, float]]


class Curve(TypedDict):
    """A learning curve, and the epoch whose weights were kept.

    `n_train`, `n_val`: numbers of rows; `n_parameters`: of weights that were trained.
    `chance_auc`: the ROC-AUC that random scores exceed in one of 40 cases on as few validation
    rows.
    """

    epochs: list[Epoch]
    best_epoch: int
    n_train: NotRequired[int]
    n_val: NotRequired[int]
    n_parameters: NotRequired[int | None]
    chance_auc: NotRequired[float | None]
