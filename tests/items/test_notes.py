"""What is said of a manifest whose names look wrong, wherever it is used."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from mmgenre.items.item import Item
from mmgenre.items.labels import LabelSpace
from mmgenre.items.manifest import Manifest
from mmgenre.items.notes import (
    NO_ARTISTS_NOTE,
    label_notes,
    manifest_notes,
    unlearned_notes,
)


def notes(*names: str) -> str:
    return "\n".join(label_notes(Counter(names)))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("Hip Hop", "hip-hop"),
        ("Hip Hop", "HipHop"),
        ("Hip-Hop", "Hip‐Hop"),
        ("Rock", "ROCK"),
        ("Rock", "Rock\u200b"),
        ("Rock", "Ｒｏｃｋ"),
        ("Drum & Bass", "Drum and Bass"),
        ("Drum & Bass", "Drum'n'Bass"),
        ("R&B", "R & B"),
        ("Électro", "Electro"),
        ("Chanson franc\u0327aise", "Chanson fran\u00e7aise"),
        ("Jazz/Be-Bop", "Jazz/Bebop"),
    ],
)
def test_writings_of_one_genre_are_noted(one: str, two: str) -> None:
    said = notes(one, two, one)
    assert "1 genre(s) are written in several ways" in said
    assert f"{one!a} (2)" in said
    assert f"{two!a} (1)" in said


def test_a_slash_is_noted_with_the_way_out() -> None:
    said = notes("R&B/Soul", "Rock")
    assert "'R&B/Soul' counts for 'R&B', too" in said
    assert "write it twice: 'R&B//Soul'" in said
    assert "1 of them alone have" in notes("R&B/Soul", "Rock", "Rock/Punk")
    assert notes("R&B//Soul", "Rock") == ""


@pytest.mark.parametrize("name", ['["Rock"]', "['Rock']", "House, IDM", "(Rock)", "Rock > Punk"])
def test_lists_within_a_name_are_noted(name: str) -> None:
    assert f"look like lists or hold their signs: {name!r}" in notes(name, "Jazz")


def test_invisible_letters_and_names_of_nothing_are_noted() -> None:
    assert "invisible characters: 'Rock\\u200b'" in notes("Rock\u200b", "Jazz")
    assert "'nan' count as genres" in notes("nan", "Jazz")


def test_plain_genres_need_no_note() -> None:
    plain = (
        "Rock",
        "Hip Hop",
        "R&B",
        "Drum'n'Bass",
        "Lo-Fi",
        "Rock'n'Roll",
        "80s",
        "Música",
        "K-Pop",
    )
    assert notes(*plain) == ""


def test_a_slash_of_the_name_makes_no_broader_genre() -> None:
    rows = [("R&B//Soul",), ("Jazz/Vocal Jazz",), ("Folk/R&B//Soul",)]
    space = LabelSpace.of(rows, exclusive=False)
    assert space.names == ("Folk", "Folk/R&B//Soul", "Jazz", "Jazz/Vocal Jazz", "R&B//Soul")
    assert space.parents == (None, "Folk", None, "Jazz", None)
    assert LabelSpace.of(rows, exclusive=True).names == ("Folk", "Jazz", "R&B//Soul")


def test_artists_that_bind_nothing_are_noted() -> None:
    items = [Item("a", labels=("Rock",)), Item("b", labels=("Rock",))]
    assert manifest_notes(Manifest(items)) == [NO_ARTISTS_NOTE]
    names = ("Various Artists", "Low")
    artists = [replace(item, artist=name) for item, name in zip(items, names, strict=True)]
    (said,) = manifest_notes(Manifest(artists))
    assert said.startswith("1 item(s) have an artist that stands for many or for none")
    assert "'Various Artists'" in said


def test_items_without_a_genre_are_noted() -> None:
    half = Manifest([Item("a", "Low"), Item("b", "Low", labels=("Rock",))])
    (said,) = manifest_notes(half)
    assert said.startswith("1 of 2 items have no genre: nothing learns from them")


def test_genres_that_no_training_item_has_are_noted() -> None:
    items = [Item("a", split="train", labels=("Rock",)), Item("b", split="test", labels=("Ska",))]
    (said,) = unlearned_notes(Manifest(items))
    assert said.startswith("train has no item of 1 genre(s)")
    assert said.endswith("'Ska'")
    assert unlearned_notes(Manifest([Item("a", labels=("Rock",))])) == []
