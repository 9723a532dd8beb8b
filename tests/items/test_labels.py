from __future__ import annotations

import numpy as np
import pytest

from mmgenre.errors import LabelError
from mmgenre.items.labels import LabelSpace, ancestors, closure


def test_ancestors_are_broadest_first() -> None:
    assert ancestors("Rock") == ("Rock",)
    assert ancestors("A/B/C") == ("A", "A/B", "A/B/C")


def test_closure_names_each_ancestor_once() -> None:
    assert closure(["A/B", "A/C", "D"]) == {"A", "A/B", "A/C", "D"}
    assert closure([]) == frozenset()


def test_multi_label_space_holds_labels_and_their_ancestors_sorted() -> None:
    space = LabelSpace.of([("Rock",), ("Jazz/Vocal Jazz", "Rock/Indie")], exclusive=False)
    assert space.names == ("Jazz", "Jazz/Vocal Jazz", "Rock", "Rock/Indie")
    assert space.parents == (None, "Jazz", None, "Rock")
    assert len(space) == 4


def test_exclusive_space_holds_the_broadest_genre_of_the_first_label() -> None:
    space = LabelSpace.of([("Rock", "Pop"), ("Jazz/Vocal Jazz", "Rock")], exclusive=True)
    assert space.names == ("Jazz", "Rock")
    y = space.encode([("Rock/Indie", "Jazz"), ("Jazz", "Rock")])
    assert y.tolist() == [[False, True], [True, False]]


def test_encode_is_closed_under_the_taxonomy() -> None:
    space = LabelSpace(("Jazz", "Jazz/Vocal Jazz", "Rock"), exclusive=False)
    y = space.encode([("Jazz/Vocal Jazz",), ("Jazz", "Rock"), ("Rock",)])
    assert y.dtype == np.bool_
    assert y.astype(int).tolist() == [[1, 1, 0], [1, 0, 1], [0, 0, 1]]


def test_the_space_does_not_depend_on_the_order_of_items() -> None:
    rows = [("B",), ("A/C", "B"), ("D",)]
    assert LabelSpace.of(rows, exclusive=False) == LabelSpace.of(rows[::-1], exclusive=False)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("A",), (), ()], "2 of 3 items have no label"),
        ([("A",), ("A",)], r"two genres or more to learn from, got \['A'\]"),
        ([], r"two genres or more to learn from, got \[\]"),
    ],
)
def test_no_space_of_unlabelled_items_or_one_genre(
    rows: list[tuple[str, ...]], message: str
) -> None:
    with pytest.raises(LabelError, match=message):
        LabelSpace.of(rows, exclusive=False)


def test_one_broad_genre_is_no_exclusive_task_though_it_has_children() -> None:
    rows = [("A/B",), ("A/C",)]
    assert len(LabelSpace.of(rows, exclusive=False)) == 3
    with pytest.raises(LabelError, match=r"got \['A'\]"):
        LabelSpace.of(rows, exclusive=True)


@pytest.mark.parametrize("exclusive", [True, False])
def test_encode_refuses_what_the_space_does_not_know(exclusive: bool) -> None:
    space = LabelSpace(("A", "B"), exclusive)
    with pytest.raises(LabelError, match="item 1: unknown label 'C'; known: 2 genres"):
        space.encode([("A",), ("C",)])
    with pytest.raises(LabelError, match="item 0 has no label"):
        space.encode([()])


def test_only_genres_that_are_named_may_be_outside() -> None:
    space = LabelSpace.of([["Rock"], ["Jazz/Bebop"]], exclusive=False)
    rows = [["Polka", "Jazz/Swing"], ["Polka"], ["Rock"]]
    y = space.encode(rows, outside={"Polka", "Jazz/Swing"})
    assert [np.flatnonzero(row).tolist() for row in y] == [[0], [], [2]]
    with pytest.raises(LabelError, match="item 0: unknown label 'Jazz/Swing'"):
        space.encode(rows, outside={"Polka"})
