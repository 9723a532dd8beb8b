"""Genres above a share, items with a modality: what stays, what is counted."""

from __future__ import annotations

from pathlib import Path

import pytest
from published_layouts import by_id, noted

from mmgenre.datasets.selection import keep_frequent, keep_having
from mmgenre.datasets.sources import Published
from mmgenre.errors import ManifestError
from mmgenre.items.item import Item


def published(*labels: tuple[str, ...]) -> Published:
    return Published("x", tuple(Item(f"{k:03}", labels=names) for k, names in enumerate(labels)))


def test_rare_genres_go_and_items_of_none() -> None:
    full = published(*[("Pop", "Rock")] * 98, ("Pop", "Polka"), ("Yodel",))
    kept = keep_frequent(full, 0.02)
    assert len(kept.items) == 99
    assert by_id(kept)["098"].labels == ("Pop",)
    assert noted(kept, "left out").endswith("2.00% of them have (first: '099')")
    note = noted(kept, "genres are kept")
    assert note.startswith("2 of 4 genres are kept: those of 2 items or more")
    assert "'Yodel' with 1" in note
    assert keep_frequent(full, 0.01).items == full.items  # exactly 1 % is not below it


def test_a_path_is_cut_back_to_what_is_frequent() -> None:
    kept = keep_frequent(
        published(
            ("Jazz/Bop", "Rock"),
            ("Jazz/Vocal/Scat", "Rock"),
            ("Jazz/Vocal",),
            ("Rock/Punk", "Rock/Oi"),
        ),
        0.5,
    )
    labels = [item.labels for item in kept.items]
    assert labels == [("Jazz", "Rock"), ("Jazz/Vocal", "Rock"), ("Jazz/Vocal",), ("Rock",)]


def test_no_label_stands_beside_its_own_child() -> None:
    kept = keep_frequent(published(("Jazz/Bop", "Jazz/Vocal"), ("Jazz/Vocal",), ("Jazz",)), 0.5)
    assert kept.items[0].labels == ("Jazz/Vocal",)


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_shares_that_are_none(share: float) -> None:
    with pytest.raises(ManifestError, match="must be between 0 and 1"):
        keep_frequent(published(("Pop",)), share)


def test_nothing_is_left() -> None:
    with pytest.raises(ManifestError, match="all 3 items are of no genre"):
        keep_frequent(published(("A",), ("B",), ("C",)), 0.5)
    with pytest.raises(ManifestError, match="without image"):
        keep_having(published(("A",)), ["image"])


def test_items_with_a_cover() -> None:
    cover = Item("a", media={"image": (Path("x.jpg"),), "text": ("words",)})
    items = (cover, Item("b", media={"text": ("words",)}))
    full = Published("x", items)
    assert [item.id for item in keep_having(full, ["image", "text"]).items] == ["a"]
    assert keep_having(full, ["text"]) == full  # no note where nothing is left out
