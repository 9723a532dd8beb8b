"""Each explanation against a slow loop from its equation, and against planted truths."""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import csr_array

from mmgenre.errors import MmgenreError
from mmgenre.explain.agreement import compare, read_human
from mmgenre.explain.overlay import jpeg_base64, overlay, save_heat
from mmgenre.explain.similarity import nearest, point_map, shared_genre
from mmgenre.explain.words import chance_gain, information_gain, speaks_for, top_words
from mmgenre.items.item import Item

# METHOD.md, table 3: (human, model) by genre, where legible.
TABLE_3 = {
    "A": {"Blues": (0, 0.05), "Country": (0.40, 0.37), "Electronic": (0.62, 0.64),
          "Folk": (0, 0.13), "Jazz": (0.62, 0.47), "Latin": (0.33, 0.17), "Metal": (0.80, 0.69),
          "New Age": (0, 0), "Pop": (0.43, 0.39), "Punk": (0.44, 0.04)},
    "V": {"Blues": (0.50, 0.36), "Country": (0.60, 0.21), "Electronic": (0.44, 0.44),
          "Folk": (0.33, 0.23), "Jazz": (0.38, 0.27), "Latin": (0.33, 0.08), "Metal": (0.43, 0.49),
          "New Age": (0, 0.12), "Pop": (0.46, 0.43), "Punk": (0.29, 0)},
}  # fmt: skip


# Words


def entropy(shares: list[float]) -> float:
    return -sum(p * math.log2(p) for p in shares if p > 0)


def slow_gain(words: NDArray[np.bool_], labels: NDArray[np.bool_], w: int, j: int) -> float:
    """H(l) - sum over v of P(w = v) H(l | w = v), text by text."""
    n, gain = len(words), 0.0
    pairs = [(bool(words[i, w]), bool(labels[i, j])) for i in range(n)]
    gain = entropy([sum(has is v for _, has in pairs) / n for v in (True, False)])
    for value in (True, False):
        group = [has for word, has in pairs if word is value]
        if group:
            shares = [sum(has is v for has in group) / len(group) for v in (True, False)]
            gain -= len(group) / n * entropy(shares)
    return gain


def test_information_gain_is_the_equation() -> None:
    rng = np.random.default_rng(0)
    words, labels = rng.random((31, 9)) < 0.3, rng.random((31, 4)) < 0.4
    words[:, 0], words[:, 1], labels[:, 0] = True, False, False
    words[:, 2] = labels[:, 1]  # a word that says it all
    gain = information_gain(csr_array(words), labels)
    expected = [[slow_gain(words, labels, w, j) for j in range(4)] for w in range(9)]
    np.testing.assert_allclose(gain, expected, atol=1e-12)
    assert (gain >= 0).all()
    assert gain[2, 1] == pytest.approx(entropy([labels[:, 1].mean(), 1 - labels[:, 1].mean()]))
    order = rng.permutation(31)
    np.testing.assert_allclose(information_gain(csr_array(words[order]), labels[order]), gain)


def test_a_word_may_speak_against_a_genre() -> None:
    labels = np.array([[True], [True], [False], [False]])
    words = csr_array(np.hstack([labels, ~labels]))
    assert speaks_for(words, labels).tolist() == [[True], [False]]
    gain = information_gain(words, labels)[:, 0]
    found = top_words(gain, speaks_for(words, labels)[:, 0], words.sum(axis=0), ["b", "a"], 5)
    assert found == [
        {"word": "a", "bits": 1.0, "speaks_for": False, "n_texts": 2},
        {"word": "b", "bits": 1.0, "speaks_for": True, "n_texts": 2},
    ]
    assert (
        top_words(gain * 0, speaks_for(words, labels)[:, 0], words.sum(axis=0), ["b", "a"], 5) == []
    )


def test_chance_is_what_noise_reaches_and_a_real_word_passes() -> None:
    rng = np.random.default_rng(1)
    labels = rng.random((80, 1)) < 0.3
    words = csr_array(np.hstack([labels, rng.random((80, 200)) < 0.2]))
    gain, chance = information_gain(words, labels)[:, 0], chance_gain(words, labels, rng)[0]
    assert gain[0] > 3 * chance
    assert (gain[1:] > chance).sum() <= 3


@pytest.mark.parametrize(
    ("words", "labels", "said"),
    [
        (np.ones((3, 2)), np.ones((3, 2), bool), "both must be bool"),
        (np.ones((3, 2), bool), np.ones((4, 2), bool), "same n > 0"),
        (np.ones((0, 2), bool), np.ones((0, 2), bool), "same n > 0"),
    ],
)
def test_what_is_no_words_is_refused(words: Any, labels: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        information_gain(csr_array(words), labels)


# Overlay


def test_cold_places_stay_grey_and_the_cover_shows_through() -> None:
    cover = np.zeros((8, 8, 3), np.uint8)
    cover[:, ::2] = (255, 0, 0)
    heat = np.zeros((8, 8))
    heat[:, 4:] = 1
    laid = overlay(cover, heat)
    assert (np.ptp(laid[:, :4].astype(int), axis=2) == 0).all()
    assert (np.ptp(laid[:, 4:].astype(int), axis=2) > 30).all()
    assert (laid[:, 4] != laid[:, 5]).any()  # the stripes can still be seen
    picture = Image.open(io.BytesIO(base64.b64decode(jpeg_base64(laid, 20))))
    assert (picture.format, picture.size) == ("JPEG", (20, 20))
    with pytest.raises(ValueError, match="cover"):
        overlay(cover, heat[:4])
    with pytest.raises(ValueError, match="within 0 and 1"):
        overlay(cover, heat * 2)


def test_a_cover_with_its_heat_is_a_file(tmp_path: Path) -> None:
    cover = np.full((24, 24, 3), 100, np.uint8)
    heat = np.linspace(0, 1, 24 * 24).reshape(24, 24)
    path = save_heat(tmp_path / "new" / "x.png", cover, heat)
    with Image.open(path) as picture:
        np.testing.assert_array_equal(np.asarray(picture), overlay(cover, heat))
    with Image.open(save_heat(tmp_path / "x.JPG", cover, heat)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (24, 24))
    with pytest.raises(
        MmgenreError, match=r"x\.gif: unknown picture format; the name must end in \.png, \.jpg"
    ):
        save_heat(tmp_path / "x.gif", cover, heat)
    with pytest.raises(ValueError, match="within 0 and 1"):
        save_heat(tmp_path / "y.png", cover, heat * 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new", "x.JPG"]


# Neighbours


def test_neighbours_are_those_of_a_loop_and_never_oneself(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(0).normal(size=(20, 4))
    vectors[7] = 3 * vectors[2]  # as near as can be, but not itself
    vectors[11] = 0
    monkeypatch.setattr("mmgenre.explain.similarity.QUERIES_AT_ONCE", 3)
    queries = np.array([2, 11, 5, 19])
    rows, cosines = nearest(vectors, queries, 3)
    for k, q in enumerate(queries):
        loop = []
        for j in range(20):
            if j != q:
                length = math.sqrt(sum(vectors[q] ** 2) * sum(vectors[j] ** 2))
                loop.append((-float(vectors[q] @ vectors[j]) / length if length else 0.0, j))
        loop.sort()
        assert rows[k].tolist() == [j for _, j in loop[:3]]
        np.testing.assert_allclose(cosines[k], [-c for c, _ in loop[:3]], atol=1e-12)
    assert rows[0, 0] == 7
    assert rows[1].tolist() == [0, 1, 2]
    assert nearest(vectors, queries[:0], 3)[0].shape == (0, 3)
    for bad in (0, 20):
        with pytest.raises(ValueError, match="from 1 to 19"):
            nearest(vectors, queries, bad)


def test_a_shared_genre_is_the_querys_broadest_and_chance_leaves_it_out() -> None:
    labels = [["Jazz/Swing", "Pop"], ["Pop", "Jazz/Bop"], ["Pop"], ["Rock"], ["Jazz"]]
    queries = np.array([0, 3])
    shared, chance = shared_genre(labels, queries, np.array([[1, 2], [0, 4]]))
    assert shared.tolist() == [[True, False], [False, False]]
    assert chance == pytest.approx((2 / 4 + 0 / 4) / 2)
    with pytest.raises(ValueError, match="no queries"):
        shared_genre(labels, queries[:0], np.zeros((0, 2), np.intp))


def test_blind_neighbours_share_as_chance_says() -> None:
    rng = np.random.default_rng(0)
    labels = [[name] for name in rng.choice(["a", "b", "c"], 300, p=[0.6, 0.3, 0.1])]
    queries = np.arange(300)
    rows, _ = nearest(rng.normal(size=(300, 16)), queries, 5)
    shared, chance = shared_genre(labels, queries, rows)
    assert shared.mean() == pytest.approx(chance, abs=0.05)


# Agreement


@pytest.mark.parametrize("row", TABLE_3)
def test_pearson_of_the_papers_table_3(row: str) -> None:
    human, model = ({genre: f1[k] for genre, f1 in TABLE_3[row].items()} for k in (0, 1))
    found = compare(human, model)
    r = scipy.stats.pearsonr(list(human.values()), list(model.values())).statistic
    assert found["pearson"] == pytest.approx(r)
    assert found["pearson"] == pytest.approx({"A": 0.857, "V": 0.518}[row], abs=5e-4)
    assert (found["genres"], found["left_out"], found["undefined"]) == ([*TABLE_3[row]], [], "")


def test_a_correlation_that_does_not_exist_says_why() -> None:
    varied, same = ({"Folk": a, "Pop": b, "Jazz": 0.5} for a, b in ((0.1, 0.2), (0.5, 0.5)))
    for name, human, model in (("first", same, varied), ("second", varied, same)):
        found = compare(human, model)
        assert found["pearson"] is None
        assert found["undefined"] == f"the {name} has the same value everywhere"
    assert compare({"Pop": 0.5, "Jazz": 0.1}, {"Pop": 0.6, "Jazz": None}) == {
        "genres": ["Pop"],
        "human": [0.5],
        "model": [0.6],
        "left_out": ["Jazz"],
        "pearson": None,
        "undefined": "n = 1: fewer than 3 always lie on a line",
    }


def test_an_annotators_file(tmp_path: Path) -> None:
    file = tmp_path / "human.csv"
    file.write_text("\ufeffgenre, A ,A+I\nRock,.5,\n\n Jazz ,0,1\n", encoding="utf-8")
    assert read_human(file, ["Jazz", "Rock"], ["A", "I", "A+I"]) == {
        "A": {"Rock": 0.5, "Jazz": 0.0},
        "A+I": {"Jazz": 1.0},
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", r"columns \[\]"),
        ("genre\nRock\n", "must be 'genre' and"),
        ("genre,A,A\nRock,1,1\n", "each once"),
        ("genre,Z\nRock,1\n", "unknown row 'Z'.*Known genres: Rock.*Known rows: A, I"),
        ("genre,A\nPolka,1\n", "line 2: unknown genre 'Polka'.*Known genres: Rock"),
        ("genre,A\nRock,1\nRock,1\n", "line 3: genre 'Rock' again"),
        ("genre,A\nRock,1.5\n", "line 2, A: '1.5' is not an F1"),
        ("genre,A\nRock,nan\n", "'nan' is not an F1"),
        ("genre,A\nRock\n", "line 2: 1 cells, not 2"),
    ],
)
def test_an_annotators_file_with_faults(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "human.csv"
    file.write_text(content)
    with pytest.raises(MmgenreError, match=said):
        read_human(file, ["Rock"], ["A", "I"])


def test_an_annotators_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(b"genre,A\n\xff,1\n")
    for name in ("x.csv", "absent.csv"):
        with pytest.raises(MmgenreError, match=rf"{name}: not a readable CSV"):
            read_human(tmp_path / name, ["Rock"], ["A"])


# Points


def test_a_map_keeps_neighbours_and_repeats() -> None:
    rng = np.random.default_rng(0)
    centres = np.repeat(10 * np.eye(3, 12), 12, axis=0)
    vectors = centres + rng.normal(size=(36, 12))
    items = [Item(f"i{k}", artist="A", labels=("Jazz/Swing", "Pop")) for k in range(36)]
    found = point_map("Name", "detail", vectors, items, seed=3)
    assert [(p["id"], p["title"]) for p in found["points"]] == [(i.id, "A") for i in items]
    assert {point["genre"] for point in found["points"]} == {"Jazz"}
    assert (found["n_items"], found["n_distinct"], found["width"]) == (36, 36, 12)
    assert found["perplexity"] == pytest.approx(35 / 3)
    points = np.array([(point["x"], point["y"]) for point in found["points"]])
    assert points.shape == (36, 2)
    assert np.abs(points).max() == 1
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (distances.argmin(axis=1) // 12 == np.arange(36) // 12).all()
    assert point_map("Name", "detail", vectors, items, seed=3) == found


def test_a_map_of_too_little_is_refused() -> None:
    few, same, two = np.eye(4), np.zeros((20, 3)), np.repeat(np.eye(2), 10, axis=0)
    for vectors, different in ((few, 4), (same, 1), (two, 2)):
        said = rf"Name: {len(vectors)} vectors, {different} of them .*needs 5, and 3 different"
        with pytest.raises(MmgenreError, match=said):
            point_map(
                "Name", "detail", vectors, [Item("x", labels=("Pop",))] * len(vectors), seed=0
            )
