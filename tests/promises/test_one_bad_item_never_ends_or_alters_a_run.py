"""A run with damaged files beside sound ones: the sound ones' rows are those of a run without."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damaged import AS_IT_IS, Damaged, damaged_media
from numpy.typing import NDArray
from plain import FIXED, plain_items

from mmgenre.disk.store import FeatureStore
from mmgenre.errors import INPUT_CODES
from mmgenre.items.item import Item, Split
from mmgenre.items.manifest import Manifest
from mmgenre.items.modalities import MODALITIES
from mmgenre.pipeline.commands import Extraction, extract_features

Rows = dict[str, NDArray[Any]]


def rows_of(path: Path, group: str) -> Rows:
    with FeatureStore(path, group) as store:
        return {row_id: store.read(row_id) for row_id in store.ids}


def extracted(folder: Path, items: Iterable[Item]) -> tuple[Extraction, dict[str, Rows]]:
    """What a run lists, and the rows of all its stores."""
    manifest = Manifest(items).write(folder / "manifest.csv")
    run = folder / "run"
    roots = [Path("/dev")]  # of links to devices
    done = extract_features(manifest, run=run, recipe="quick", settings=FIXED, media_roots=roots)
    rows = {f"inputs {m}": rows_of(run / f"inputs/{m}.h5", m) for m in MODALITIES}
    return done, rows | {m: rows_of(run / "embeddings.h5", m) for m in MODALITIES}


def as_items(damaged: Sequence[Damaged], modality: str, label: str) -> list[Item]:
    return [
        Item(
            f"bad-{modality}-{k:03d}",
            split="test",
            labels=(label,),
            media={modality: (case.source,)},
        )
        for k, case in enumerate(damaged)
    ]


def check(good: Sequence[Item], files: Mapping[str, Sequence[Path]], folder: Path) -> int:
    """Every promise about damaged files made from `files`, beside `good` items; how many."""
    damaged = {m: list(damaged_media(folder / "bad" / m, m, files[m])) for m in files}
    bad = {m: as_items(damaged[m], m, good[0].labels[0]) for m in files}
    _, without = extracted(folder / "without", good)
    done, among = extracted(
        folder / "among", [*good, *(i for items in bad.values() for i in items)]
    )

    for name, rows in without.items():
        assert rows, name
        for row_id, row in rows.items():
            message = f"{name} {row_id}"
            if name.startswith("inputs"):
                np.testing.assert_array_equal(among[name][row_id], row, err_msg=message)
            else:  # a matrix product of other rows rounds the last bit otherwise
                np.testing.assert_allclose(
                    among[name][row_id], row, rtol=1e-5, atol=1e-6, err_msg=message
                )

    wrong = []
    for modality, items in bad.items():
        ending = "#0" if modality == "audio" else ""  # of the one track of an item
        ids = [item.id + ending for item in items]
        read = among[f"inputs {modality}"]
        as_it_is = {
            case.source: read[row_id]
            for row_id, case in zip(ids, damaged[modality], strict=True)
            if case.name == AS_IT_IS
        }
        for item, row_id, case in zip(items, ids, damaged[modality], strict=True):
            listed = [refusal for refusal in done.refused if refusal.id == row_id]
            assert len(listed) == (item.id not in among[modality]), f"{case.name}: {listed}"
            for refusal in listed:
                assert refusal.code in INPUT_CODES
                if isinstance(case.source, Path) and refusal.code != "unknown_words":
                    assert case.source.name in refusal.detail
                if refusal.code in ("unexpected", "crashed") or case.expected == "same":
                    wrong.append(f"{modality}: {case.name}: {refusal}")
            if not listed:
                row = read[row_id]
                assert np.isfinite(row.astype(np.float32)).all(), case.name
                if case.expected == "listed":
                    wrong.append(f"{modality}: {case.name}: read as {row.shape}")
                elif case.expected == "same":
                    assert case.made_from is not None
                    np.testing.assert_array_equal(row, as_it_is[case.made_from])
    assert not wrong, "\n".join(wrong)
    return sum(case.name != AS_IT_IS for cases in damaged.values() for case in cases)


def test_damaged_files_among_plain_ones(tmp_path: Path, record_property: Any) -> None:
    good = plain_items(tmp_path / "good")
    files = {m: [Path(str(good[2].media[m][0]))] for m in MODALITIES}
    n_cases = check(good, files, tmp_path)
    assert n_cases >= 120
    record_property("cases", n_cases)


@pytest.mark.slow
@pytest.mark.realdata
def test_damaged_files_among_real_ones(
    real_data: Path, tmp_path: Path, record_property: Any
) -> None:
    whole = [
        item
        for item in Manifest.read(real_data / "real" / "items.csv")
        if len(item.media) == len(MODALITIES)
    ]
    names = {
        "audio": ("jonathan-coulton-flickr.mp3", "joshua-morin-on-the-run.ogg",
                  "supertropica-berlina.mp3"),
        "covers": ("shearer-69.jpg", "silver-note-chasing-marks.png", "joshua-morin-on-the-run.jpg",
                   "jonathan-coulton-ikea.jpg"),
        "texts": ("shearer-69.txt", "supertropica-berlina.txt", "le-nez-tordu-de-bonne-humeur.txt"),
    }  # fmt: skip
    files = {
        m: [real_data / "real" / folder / name for name in names[folder]]
        for m, folder in (("audio", "audio"), ("image", "covers"), ("text", "texts"))
    }
    n_cases = check(as_good(whole[:9]), files, tmp_path)
    assert n_cases >= 240
    record_property("cases", n_cases)


def as_good(items: Sequence[Item]) -> list[Item]:
    """Nine items with a split and a genre each."""
    splits: tuple[Split, ...] = ("train",) * 5 + ("val",) * 2 + ("test",) * 2
    return [
        replace(item, split=split, labels=("Rock",) if k % 2 else ("Jazz",), artist="", album="")
        for k, (item, split) in enumerate(zip(items, splits, strict=True))
    ]
