"""Small folders in the layouts that the authors of the datasets published."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmgenre.datasets.folders import ARCHIVE_FOLDER, GENRES, LEFT_OUT
from mmgenre.datasets.sources import Published
from mmgenre.errors import ManifestError
from mmgenre.items.manifest import Item

MUMU = "MuMu_dataset_multi-label.csv"
MUMU_HEADER = "amazon_id,album_mbid,MSD_track_id,recording_mbid,artist_mbid,genres"
MUMU_ROWS = (
    'B01,mb-1,TRA,rec-1,art-1,"Jazz,Vocal Jazz"',
    'B01,mb-1,TRB,rec-2,art-1,"Jazz,Vocal Jazz"',
    'B01,mb-1,TRC,rec-3,art-2,"Jazz,Vocal Jazz"',
    "B02,mb-2,TRD,rec-4,art-3,R&B",
    'B03,mb-3,TRE,rec-5,art-3,"Pop,Blues/Rock"',
)
METADATA = [
    {"amazon_id": "B01", "title": "First", "imUrl": "http://x/1.jpg", "categories": [["Jazz"]]},
    {"amazon_id": "B02", "price": 3.5},
    {"amazon_id": "B99", "title": "Elsewhere"},
]
REVIEWS = [
    {"amazon_id": "B01", "reviewText": "third", "unixReviewTime": 30, "overall": 5.0},
    {"amazon_id": "B01", "reviewText": "first", "unixReviewTime": 10},
    {"amazon_id": "B01", "reviewText": "second", "unixReviewTime": 20},
    {"amazon_id": "B02", "reviewText": " ", "unixReviewTime": 20},
    {"amazon_id": "B99", "reviewText": "of another", "unixReviewTime": 20},
]
MSDI_HEADER = "msd_track_id\tgenre\talbum_index\tset\tmsd_artist_id\timage_url"
MSDI_ROWS = (
    "TRA\tRock\t1\ttrain\tAR1\thttp://x/a.jpg",
    "TRB\tNew Age\t2\tval\tAR2\thttp://x/b.jpg",
    'TRC\tRnB\t3\ttest\tAR3\thttp://x/"c.jpg',
)


def make_mumu(folder: Path, rows: Sequence[str] = MUMU_ROWS, header: str = MUMU_HEADER) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MUMU).write_text("\n".join([header, *rows]) + "\n")
    (folder / "amazon_metadata_MuMu.json").write_text(json.dumps(METADATA))
    (folder / "amazon_reviews_MuMu.json").write_text(json.dumps(REVIEWS))
    return folder


def make_msdi(folder: Path, rows: Sequence[str] = MSDI_ROWS, header: str = MSDI_HEADER) -> Path:
    (folder / "MSD-I_dataset.tsv").write_text("\n".join([header, *rows]) + "\n")
    return folder


def make_covers(folder: Path, *names: str) -> Path:
    """Noise, in each file another."""
    for seed, name in enumerate(names):
        pixels = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name)
    return folder


def make_covers20k(folder: Path) -> Path:
    names = [f"{ARCHIVE_FOLDER}/{genre}/{k}.jpg" for genre in (*GENRES, *LEFT_OUT) for k in (1, 2)]
    return make_covers(folder, *names)


def make_folders(folder: Path) -> Path:
    return make_covers(folder, "Rock/1.jpg", "Rock/2.png", "Jazz/1.jpg")


def make_table(folder: Path, text: str = "path,genre\na.jpg,Rock\nb.jpg,Jazz;Pop\n") -> Path:
    make_covers(folder, "a.jpg", "b.jpg")
    (folder / "covers.csv").write_text(text, encoding="utf-8")
    return folder


def by_id(published: Published) -> dict[str, Item]:
    return {item.id: item for item in published.items}


def faults(read: Callable[[Path], Published], path: Path) -> tuple[str, ...]:
    with pytest.raises(ManifestError) as caught:
        read(path)
    return caught.value.faults


def noted(published: Published, words: str) -> str:
    """The only note with these words."""
    (note,) = [note for note in published.notes if words in note]
    return note


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder
