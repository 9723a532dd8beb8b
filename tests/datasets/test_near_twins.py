"""Twins that are planted among real covers and tracks, by every edit of `edits`, are found.

Thresholds were chosen on one half of the covers, tracks and edits (`in_first_half`), and are judged
here on both (tests/benchmarks/twins.py prints what each threshold gives).
"""

from __future__ import annotations

from pathlib import Path

import pytest
from edits import COVER_EDITS, SOUND_EDITS
from planting import covers_of, find, plant, tracks_of

from mmgenre.datasets.audit import audit
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest

LEAST_FOUND, MOST_WRONG = 0.87, 0.01


@pytest.mark.realdata
def test_twins_of_some_covers_are_found(real_data: Path, tmp_path: Path) -> None:
    sources = covers_of(real_data)[::9]
    found = find(plant(COVER_EDITS, sources, tmp_path, 1), sources, "image")
    assert sum(found.hits) >= LEAST_FOUND * len(COVER_EDITS), found
    assert found.wrong == []


@pytest.mark.realdata
def test_twins_of_some_tracks_are_found(real_data: Path, tmp_path: Path) -> None:
    sources = tracks_of(real_data)[:24]  # of 20 s
    edits = dict(list(SOUND_EDITS.items())[::2])
    found = find(plant(edits, sources, tmp_path, 1), sources, "audio")
    assert sum(found.hits) >= LEAST_FOUND * len(edits), found
    assert found.wrong == []


@pytest.mark.slow
@pytest.mark.realdata
@pytest.mark.parametrize("modality", ["image", "audio"])
def test_twins_by_every_edit_are_found(real_data: Path, tmp_path: Path, modality: str) -> None:
    if modality == "image":
        sources = covers_of(real_data)
        planted = plant(COVER_EDITS, sources, tmp_path, 6)
    else:
        sources = tracks_of(real_data)
        planted = plant(SOUND_EDITS, sources, tmp_path, 4)
    assert len(planted) >= 60
    found = find(planted, sources, modality)
    shares = {half: found.share(first_half=half) for half in (True, False)}
    print(modality, found, shares, f"wrongly paired: {found.wrong_share:.4f}", sep="\n")
    assert min(shares.values()) >= LEAST_FOUND, found
    assert found.wrong_share <= MOST_WRONG, found


@pytest.mark.realdata
def test_check_names_both_ids_and_their_splits(real_data: Path, tmp_path: Path) -> None:
    cover, track = covers_of(real_data)[0], tracks_of(real_data)[0]
    twins = [COVER_EDITS["grey"](cover, tmp_path / "c"), SOUND_EDITS["mono"](track, tmp_path / "t")]
    items = [
        Item("a", split="train", media={"image": (cover,), "audio": (track,)}),
        Item("b", split="test", media={"image": (twins[0],)}),
        Item("c", split="val", media={"audio": (twins[1],)}),
    ]
    assert [str(leak) for leak in audit(Manifest(items)).leaks] == [
        "similar audio 'a ~ c' in train and val: a, c",
        "similar cover 'a ~ b' in train and test: a, b",
    ]
