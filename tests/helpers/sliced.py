"""A run of given vectors whose items have further columns: language, year, one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmgenre.items.item import Item, Split
from mmgenre.items.manifest import Manifest
from mmgenre.pipeline.commands import fuse

N, GENRES = 360, 3
LANGUAGES = ("English", "Finnish", "")


def make_sliced(folder: Path) -> Path:
    """Vectors tell the genre of English items, not of Finnish ones; half of the years are odd."""
    rng = np.random.default_rng(0)
    genre, language = np.arange(N) % GENRES, np.arange(N) // 3 % 3
    telling = (language == 0) + 0.5 * (language == 2)
    directions = 3 * rng.standard_normal((GENRES, 8))
    x = directions[genre] * telling[:, None] + rng.standard_normal((N, 8))
    splits: list[Split] = [
        ("train", "val", "test")[0 if k < 180 else 1 + k // 2 % 2] for k in range(N)
    ]
    items = [
        Item(
            f"i{k}", artist=f"artist {k // 2}", split=splits[k], labels=(f"genre {genre[k]}",),
            extra={"language": LANGUAGES[language[k]], "year": str(1950 + k % 60), "one": "same"},
        )
        for k in range(N)
    ]  # fmt: skip
    manifest = Manifest(items).write(folder / "m.csv")
    np.savez(folder / "v.npz", ids=np.array([item.id for item in items]), x=x)
    fuse(run=folder / "run", manifest=manifest, features={"v": folder / "v.npz"})
    return folder / "run"
