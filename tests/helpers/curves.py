"""Learning curves read back from event files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from mmgenre.measuring.curves import Epoch

Points = dict[str, list[tuple[int, float]]]


def shown(folder: Path) -> Points:
    """What TensorBoard shows of a folder."""
    found = EventAccumulator(str(folder))
    found.Reload()
    return {
        tag: [(event.step, event.value) for event in found.Scalars(tag)]
        for tag in found.Tags()["scalars"]
    }


def stored(folder: Path) -> Iterator[tuple[str, int]]:
    """The tag and the step of every point in the files, whatever TensorBoard makes of them."""
    for path in folder.glob("events.out.tfevents.*"):
        for event in EventFileLoader(str(path)).Load():
            yield from ((value.tag, event.step) for value in event.summary.value)


def check_curve(folder: Path, epochs: list[Epoch]) -> None:
    wanted: Points = {"loss/train": [], "loss/validation": []}
    for epoch in epochs:
        wanted["loss/train"].append((epoch["epoch"], epoch["train_loss"]))
        wanted["loss/validation"].append((epoch["epoch"], epoch["val_loss"]))
        for name, value in epoch.get("metrics", {}).items():
            wanted.setdefault(f"metric/{name}", []).append((epoch["epoch"], value))
    found = shown(folder)
    assert found.keys() == wanted.keys()
    for tag, points in wanted.items():
        assert [step for step, _ in found[tag]] == [step for step, _ in points]
        assert [v for _, v in found[tag]] == pytest.approx([v for _, v in points], rel=1e-6)
