"""Training items whose labels are likely wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmgenre.items.item import Item, Split
from mmgenre.items.manifest import Manifest
from mmgenre.pipeline.commands import fuse
from mmgenre.pipeline.run import open_run
from mmgenre.pipeline.suspects import suspects


@pytest.mark.parametrize("many", [False, True])
def test_a_genre_of_one_artist_is_not_blamed(tmp_path: Path, many: bool) -> None:
    """No model knows Reggae without the one artist who plays it: his items are no suspects."""
    rng = np.random.default_rng(0)
    genre = np.where(np.arange(120) < 12, 2, np.arange(120) % 2)  # Rock, Jazz, Reggae
    x = 4 * np.eye(3)[genre] + rng.normal(size=(120, 3))
    items = []
    for k, own in enumerate(genre):
        name = ("Jazz" if own else "Rock") if k >= 12 else "Reggae"
        labels = (name, "Old" if k % 3 else "New") if many else (name,)
        split: Split = "train" if k < 80 else "val" if k < 100 else "test"
        artist = "the one" if k < 12 else f"artist {k // 2}"
        items.append(Item(f"i{k:03d}", artist=artist, split=split, labels=labels))
    manifest = Manifest(items).write(tmp_path / "m.csv")
    np.savez(tmp_path / "v.npz", ids=np.array([item.id for item in items]), x=x)
    fuse(run=tmp_path / "run", manifest=manifest, features={"v": tmp_path / "v.npz"})
    found = suspects(open_run(tmp_path / "run"))
    assert found.not_judged == ("Reggae",)
    assert found.as_dict()["not_judged"] == ["Reggae"]
    assert not [s for s in found.found if "Reggae" in (*s.wrong, *s.lacking)]
    assert found.n_items == (80 if many else 68)
