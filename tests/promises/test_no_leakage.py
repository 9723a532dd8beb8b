"""Nothing that is fitted knows test labels or test contents; twins in two splits are named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plain import FIXED, MEDIA, TRAINED, plain_items
from safetensors.numpy import load_file

from mmgenre.datasets.audit import audit
from mmgenre.disk.bundle import CONFIG, SUMS, WEIGHTS
from mmgenre.disk.files import finished_folders
from mmgenre.disk.store import FeatureStore, group_names
from mmgenre.errors import SplitError
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.pipeline.commands import extract_features, fuse
from mmgenre.pipeline.scores import read_scores

SOLVED = (*FIXED, "fusion.solver=lbfgs", "fusion.combine=auto", "fusion.refit=true")
SMALL = (*TRAINED, "target.dim=2")
COSINE = (*SMALL, "target.name=cosine", "fusion.solver=sgd", "fusion.combine=concatenation")
CROSS_FITTED = (*SMALL, "fusion.solver=lbfgs", "fusion.combine=auto", "fusion.cross_fit=2")


def exchanged(items: Sequence[Item], split: str, *, labels: int = 0, media: int = 0) -> list[Item]:
    """The items; labels and media of one split's items are those of the n-th item after each."""
    own = [item for item in items if item.split == split]
    assert len(own) > max(labels, media)
    found = {
        item.id: replace(
            item,
            labels=own[(k + labels) % len(own)].labels,
            media=own[(k + media) % len(own)].media,
        )
        for k, item in enumerate(own)
    }
    assert all(found[item.id] != item for item in own)
    return [found.get(item.id, item) for item in items]


def fitted(
    folder: Path, items: Sequence[Item], settings: Sequence[str], **how: Any
) -> dict[str, Any]:
    """All that a run has fitted, by file and name, and what it makes of what it was fitted on."""
    run = folder / "run"
    manifest = Manifest(items).write(folder / "m.csv")
    extract_features(manifest, run=run, recipe="quick", settings=settings)
    fuse(run=run, seeds=1, **how)
    found: dict[str, Any] = {}
    for sums in sorted(run.rglob(SUMS)):
        for path in filter(Path.is_file, sums.parent.iterdir()):
            name = str(path.relative_to(run))
            if path.name == WEIGHTS:
                found |= {f"{name}: {key}": x for key, x in load_file(path).items()}
            elif path.name == CONFIG:
                config = json.loads(path.read_text(encoding="utf-8"))
                found |= {f"{name}: {key}": config[key] for key in ("kind", "config")}
            elif path.name != SUMS:
                found[name] = json.loads(path.read_text(encoding="utf-8"))
    seen = [item.id for item in items if item.split != "test"]
    for path in (run / "embeddings.h5", run / "crossfit.h5"):
        for group in group_names(path):
            with FeatureStore(path, group) as store:
                found |= {f"{path.name} {group} {i}": store.read(i) for i in seen if i in store}
    [fusion] = finished_folders(run / "fusion")
    scores = read_scores(fusion, "val")
    return found | {f"score of {i}": x for i, x in zip(scores.ids, scores.values, strict=True)}


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    assert one.keys() == other.keys()
    return [k for k, x in one.items() if not np.array_equal(np.asarray(x), np.asarray(other[k]))]


@pytest.mark.parametrize(
    ("settings", "media", "how"),
    [
        pytest.param(SOLVED, ("image", "text"), {"joint": True}, id="made and solved"),
        pytest.param(COSINE, MEDIA, {"head": "cosine"}, id="cosine", marks=pytest.mark.slow),
        pytest.param(CROSS_FITTED, MEDIA, {}, id="cross-fitted", marks=pytest.mark.slow),
    ],
)
def test_what_is_fitted_is_equal_when_test_labels_and_contents_are_exchanged(
    settings: Sequence[str],
    media: Sequence[str],
    how: dict[str, Any],
    tmp_path: Path,
    record_property: Any,
) -> None:
    items = plain_items(tmp_path / "media", media=media)
    plain = fitted(tmp_path / "plain", items, settings, **how)
    # Not by the same number, which would only rename the items.
    unseen = exchanged(items, "test", labels=1, media=2)
    assert differing(plain, fitted(tmp_path / "unseen", unseen, settings, **how)) == []
    record_property("cases", len(plain))
    # And the comparison sees what it should.
    seen = exchanged(items, "train", labels=1)
    assert len(differing(plain, fitted(tmp_path / "seen", seen, settings, **how))) > 5


def test_planted_twins_are_named(tmp_path: Path, record_property: Any) -> None:
    items = plain_items(tmp_path / "media")
    assert audit(Manifest(items)).leaks == ()
    train, test = items[0], items[10]
    assert (train.split, test.split) == ("train", "test")
    review = "The same long review of a record that somebody copied into two rows of a table."
    twins: dict[str, tuple[Item, Item]] = {
        "artist": (train, replace(test, artist=train.artist)),
        "artist, spelled otherwise": (train, replace(test, artist="ACES 0 feat. Guest")),
        "text": tuple(  # type: ignore[dict-item]
            replace(i, media={**i.media, "text": (review,)}) for i in (train, test)
        ),
    }
    for modality in ("audio", "image", "text"):
        source = Path(str(train.media[modality][0]))
        copy = tmp_path / f"copy{source.suffix}"
        shutil.copy(source, copy)
        twins[f"{modality} file"] = train, replace(test, media={**test.media, modality: (copy,)})
    for name, pair in twins.items():
        changed = {item.id: item for item in (*items, *pair)}
        leaks = audit(Manifest(changed.values())).leaks
        assert [leak.ids for leak in leaks if {train.id, test.id} <= set(leak.ids)], name
        assert all(leak.splits == ("train", "test") for leak in leaks), name
    record_property("cases", len(twins))


@pytest.mark.parametrize("kind", ["artist", "text"])
def test_a_run_refuses_certain_twins_by_name(kind: str, tmp_path: Path) -> None:
    items = plain_items(tmp_path / "media")
    if kind == "artist":
        items[10] = replace(items[10], artist=items[0].artist)
    else:
        review = "The same long review of a record that somebody copied into two rows of a table."
        for k in (0, 10):
            items[k] = replace(items[k], media={**items[k].media, "text": (review,)})
    manifest = Manifest(items).write(tmp_path / "m.csv")
    with pytest.raises(SplitError, match=rf"{kind}.* in train and test: .*item-00.*item-10"):
        extract_features(manifest, run=tmp_path / "run", settings=FIXED)
    assert not (tmp_path / "run").exists()
