from __future__ import annotations

import csv
import gzip
import time
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from mmgenre.errors import SplitError
from mmgenre.items import splits
from mmgenre.items.item import SPLITS, Item, Split
from mmgenre.items.manifest import Manifest
from mmgenre.items.names import fold
from mmgenre.items.splits import RATIOS, find_leaks, make_folds, make_splits, split_anew

GENRES = ("Jazz", "Pop", "Rock")
WRITINGS: list[Callable[[str], str]] = [
    str.upper,
    str.lower,
    lambda name: f"  {name.replace(' ', '   ')}\u00a0",
    lambda name: unicodedata.normalize("NFD", name),
    lambda name: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in name),
    lambda name: name[:1] + "\u200b" + name[1:] if name else name,
    lambda name: name.replace("e", "é").replace("a", "ä"),
]


def random_manifest(seed: int, n: int = 120) -> Manifest:
    """Artists with several albums, each name written in several ways, some unknown."""
    rng = np.random.default_rng(seed)
    items = []
    for k in range(n):
        artist = f"artist name {rng.integers(30)}" if rng.random() < 0.9 else ""
        album = f"album {rng.integers(8)}" if rng.random() < 0.7 else ""
        if not artist and album:
            album += f" {rng.integers(10)}"
        artist, album = (WRITINGS[rng.integers(len(WRITINGS))](name) for name in (artist, album))
        genres = tuple(sorted({f"g{g}" for g in rng.geometric(0.4, size=rng.integers(1, 4))}))
        items.append(Item(f"i{k:03d}", artist, album, labels=genres))
    return Manifest(items)


def plain(name: str) -> str:
    """The name behind the writing, by another way than `fold`: only what `random_manifest` does."""
    half = "".join(chr(ord(c) - 0xFEE0) if 0xFF01 <= ord(c) <= 0xFF5E else c for c in name)
    half = half.replace("\u200b", "").replace("é", "e").replace("ä", "a")
    return " ".join(half.lower().replace("\u00a0", " ").split())


@pytest.mark.parametrize("seed", range(40))
def test_no_artist_and_no_album_in_two_splits(seed: int) -> None:
    manifest = random_manifest(seed)
    split = make_splits(manifest, RATIOS["multi" if seed % 2 else "single"], seed)
    assert split.keys() == set(manifest.ids())
    assert set(split.values()) == set(SPLITS)
    places: dict[tuple[str, str], set[str]] = defaultdict(set)
    for item in manifest:
        artist, album = plain(item.artist), plain(item.album)
        if artist:
            places["artist", artist].add(split[item.id])
        elif album:
            places["album", album].add(split[item.id])
    assert len(places) > 20
    assert max(len(found) for found in places.values()) == 1
    assert find_leaks(manifest.with_splits(split)) == []


def test_artists_hold_together_over_albums_and_albums_without_an_artist_do() -> None:
    bound = [
        Item("a", artist="X"),
        Item("b", artist="x", album="One"),
        Item("c", album="Solo"),
        Item("d", album="SOLO"),
        Item("e", artist="X", album="Two"),
    ]
    others = [Item(f"z{k}") for k in range(60)]
    for seed in range(10):
        split = make_splits(Manifest([*bound, *others]), (0.34, 0.33, 0.33), seed)
        assert len({split[i] for i in "abe"}) == 1
        assert split["c"] == split["d"]


def test_albums_of_one_name_by_several_artists_are_not_one_album() -> None:
    items = [Item(f"{k}", f"artist {k}", "Greatest Hits") for k in range(30)]
    split = make_splits(Manifest(items), RATIOS["single"], 0)
    assert Counter(split.values())["train"] == 21
    assert find_leaks(Manifest(items).with_splits(split)) == []


def test_unknown_names_bind_nothing() -> None:
    manifest = Manifest([Item(f"{k:03d}", " ", "") for k in range(100)])
    counts = Counter(make_splits(manifest, RATIOS["multi"], 0).values())
    assert counts == {"train": 80, "val": 10, "test": 10}


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("Beyoncé", "BEYONCE"),
        ("Beyonc\u00e9", "Beyonce\u0301"),
        ("ＡＢＢＡ", "abba"),  # full width
        ("Straße", "STRASSE"),
        ("Sıla", "SILA"),
        ("İstanbul", "istanbul"),
        ("ﬁre", "Fire"),  # a ligature
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),  # final sigma
        ("The  Band ", "the band"),
        ("a\u200bb", "ab"),  # zero-width space
        ("ブラック", "ﾌﾞﾗｯｸ"),  # half-width kana
        ("각", "\u1100\u1161\u11a8"),
    ],
)
def test_names_that_are_the_same(one: str, two: str) -> None:
    assert fold(one) == fold(two)
    leak = Manifest([Item("1", one, split="train"), Item("2", two, split="test")])
    assert [found.kind for found in find_leaks(leak)] == ["artist"]


@pytest.mark.parametrize(
    ("one", "two"), [("Low", "Slow"), ("ab", "a b"), ("AC/DC", "AC DC"), ("愛", "恋"), ("1", "2")]
)
def test_names_that_are_not_the_same(one: str, two: str) -> None:
    assert fold(one) != fold(two)


def test_fold_is_stable_and_blind_to_case_for_every_character() -> None:
    wrong = []
    for code in range(0x20000):
        if 0xD800 <= code < 0xE000:
            continue
        folded = fold(f"x{chr(code)}")
        forms = {fold(folded), fold(f"x{chr(code)}".upper()), fold(f"x{chr(code)}".lower())}
        if forms != {folded}:
            wrong.append(hex(code))
    assert wrong == []


def test_leaks_are_found_named_and_sorted() -> None:
    manifest = Manifest(
        [
            Item("1", "Björk", "Debut", "train"),
            Item("2", "BJORK", "Post", "test"),
            Item("3", "", "Various", "val"),
            Item("4", "", "various", "train"),
            Item("5", "Alone", "Debut", "test"),
            Item("6", "Alone", "Debut", None),
        ]
    )
    leaks = find_leaks(manifest)
    assert [str(leak) for leak in leaks] == [
        "album 'Various | various' in train and val: 3, 4",
        "artist 'Björk | BJORK' in train and test: 1, 2",
    ]
    assert leaks[1].splits == ("train", "test")


def test_long_leaks_are_abridged() -> None:
    items = [Item(str(k), "X", split="val" if k else "train") for k in range(7)]
    (leak,) = find_leaks(Manifest(items))
    assert str(leak).endswith(": 0, 1, 2, 3, ...")
    assert len(leak.ids) == 7


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", ["single", "multi"])
def test_ratios_are_met(kind: str, seed: int) -> None:
    # 300 artists with 1 to 9 tracks each.
    rng = np.random.default_rng(seed)
    items = [
        Item(f"{a}-{k}", f"artist {a}", labels=(f"g{rng.integers(5)}",))
        for a in range(300)
        for k in range(rng.integers(1, 10))
    ]
    counts = Counter(make_splits(Manifest(items), RATIOS[kind], seed).values())
    shares = [counts[split] / len(items) for split in SPLITS]
    assert shares == pytest.approx(RATIOS[kind], abs=0.01)


def imbalance(manifest: Manifest, split: dict[str, Split], ratios: tuple[float, ...]) -> float:
    """Mean over labels and splits of |share - ratio| / ratio."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for item in manifest:
        for label in item.labels:
            counts[label][split[item.id]] += 1
    errors = [
        abs(count[name] / count.total() - ratio) / ratio
        for count in counts.values()
        for name, ratio in zip(SPLITS, ratios, strict=True)
    ]
    return float(np.mean(errors))


@pytest.mark.parametrize("seed", range(5))
def test_labels_are_better_balanced_than_by_chance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, 31) ** 1.3  # long-tailed: the last labels have a handful of items
    items = []
    for a in range(400):
        own = rng.choice(30, size=2, replace=False, p=weights / weights.sum())
        labels = tuple(f"g{g:02d}" for g in own)
        items += [Item(f"{a}-{k}", f"artist {a}", labels=labels) for k in range(rng.integers(1, 6))]
    manifest = Manifest(items)
    ours = imbalance(manifest, make_splits(manifest, RATIOS["multi"], seed), RATIOS["multi"])
    by_chance = []
    for _ in range(20):
        drawn = rng.choice(3, size=400, p=RATIOS["multi"])
        split = {item.id: SPLITS[drawn[int(item.id.split("-")[0])]] for item in items}
        by_chance.append(imbalance(manifest, split, RATIOS["multi"]))
    assert ours < 0.5 * min(by_chance)


def test_parents_in_the_taxonomy_are_balanced_too() -> None:
    items = [Item(f"j{k:02d}", labels=(f"Jazz/{k % 8}",)) for k in range(40)]
    items += [Item(f"r{k:02d}", labels=("Rock",)) for k in range(60)]
    split = make_splits(Manifest(items), (0.6, 0.2, 0.2), 0)
    jazz = Counter(split[item.id] for item in items[:40])
    assert [jazz[name] for name in SPLITS] == pytest.approx([24, 8, 8], abs=2)


@pytest.mark.parametrize("seed", range(5))
def test_a_rare_modality_reaches_every_split(seed: int) -> None:
    cover = (Path("cover.jpg"),)
    items = [
        Item(
            f"{k:03d}", f"artist {k // 3}", labels=("A",), media={"image": cover} if k < 12 else {}
        )
        for k in range(90)
    ]
    split = make_splits(Manifest(items), RATIOS["multi"], seed)
    assert {split[item.id] for item in items[:12]} == set(SPLITS)


def test_the_seed_decides_and_nothing_else() -> None:
    manifest = random_manifest(0)
    first = make_splits(manifest, RATIOS["single"], 1)
    assert make_splits(manifest, RATIOS["single"], 1) == first
    turned = Manifest(
        replace(item, split="test", artist=item.artist.upper()) for item in reversed(manifest.items)
    )
    assert make_splits(turned, RATIOS["single"], 1) == first
    others = [make_splits(manifest, RATIOS["single"], seed) for seed in range(2, 8)]
    assert all(other != first for other in others)


@pytest.mark.parametrize("n", [3, 4, 5, 8, 12])
def test_three_groups_are_enough(n: int) -> None:
    for seed in range(5):
        manifest = Manifest([Item(f"{k:02d}", f"artist {k}") for k in range(n)])
        split = make_splits(manifest, RATIOS["multi"], seed)
        assert set(split.values()) == set(SPLITS)
        counts = Counter(split.values())
        assert counts["train"] == max(counts.values())
        assert counts.total() == n


def test_the_large_group_trains() -> None:
    items = [Item(f"{k:02d}", "prolific") for k in range(20)]
    items += [Item(f"x{k}", f"artist {k}") for k in range(2)]
    split = make_splits(Manifest(items), RATIOS["multi"], 0)
    assert {split[f"{k:02d}"] for k in range(20)} == {"train"}
    assert {split["x0"], split["x1"]} == {"val", "test"}


@pytest.mark.parametrize(
    "items",
    [
        [],
        [Item("a"), Item("b")],
        [Item(str(k), "X" if k % 2 else "Y") for k in range(50)],
    ],
)
def test_fewer_than_three_groups_cannot_be_split(items: list[Item]) -> None:
    message = rf"{len(items)} items in {min(len(items), 2)} group\(s\).*at least three"
    with pytest.raises(SplitError, match=message):
        make_splits(Manifest(items), RATIOS["single"], 0)


@pytest.mark.parametrize(
    "ratios",
    [(0.8, 0.2, 0.0), (0.8, 0.3, -0.1), (0.5, 0.2, 0.2), (0.8, 0.2), (float("nan"), 0.5, 0.5)],
)
def test_ratios_that_are_refused(ratios: tuple[float, float, float]) -> None:
    manifest = Manifest([Item(str(k)) for k in range(9)])
    with pytest.raises(SplitError, match="three positive numbers that add up to 1"):
        make_splits(manifest, ratios, 0)


@pytest.mark.realdata
def test_published_catalogue(real_data: Path) -> None:
    """55 094 tracks of 3 546 artists, published with splits that keep artists apart."""
    with gzip.open(real_data / "labels" / "jamendo_genres.tsv.gz", "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    manifest = Manifest(
        Item(
            row["id"],
            row["artist"],
            row["album"],
            cast(Split, row["split"]),
            tuple(dict.fromkeys(row["labels"].split(";"))),
        )
        for row in rows
    )
    assert len(manifest) == 55_094
    assert {item.split for item in manifest} == set(SPLITS)
    assert find_leaks(manifest) == []
    start = time.monotonic()
    split = make_splits(manifest, RATIOS["multi"], 0)
    assert time.monotonic() - start < 60
    assert find_leaks(manifest.with_splits(split)) == []
    counts = Counter(split.values())
    shares = [counts[name] / len(manifest) for name in SPLITS]
    assert shares == pytest.approx(RATIOS["multi"], abs=0.02)
    # One track moved to another split is a leak that is found.
    first = manifest.ids()[0]
    moved: Split = "val" if split[first] == "train" else "train"
    leaks = find_leaks(manifest.with_splits({**split, first: moved}))
    assert {leak.kind for leak in leaks} == {"artist", "album"}


# Folds


def owned(artists: Sequence[str], genres: Sequence[str] = GENRES) -> Manifest:
    """An item for each artist named, in a genre that goes round."""
    items = (
        Item(
            f"i{k:03}", artist=artist, labels=(genres[k % len(genres)],), media={"text": ("words",)}
        )
        for k, artist in enumerate(artists)
    )
    return Manifest(items)


def test_no_artist_and_no_album_is_in_two_folds() -> None:
    rng = np.random.default_rng(0)
    manifest = owned([f"artist {k}" for k in rng.integers(0, 40, 200)])
    folds = make_folds(manifest, manifest.ids(), 5, 0)
    assert list(folds) == list(manifest.ids())
    assert set(folds.values()) == set(range(5))
    of_artist: dict[str, set[int]] = {}
    for item in manifest:
        of_artist.setdefault(item.artist, set()).add(folds[item.id])
    assert {len(found) for found in of_artist.values()} == {1}


@pytest.mark.parametrize("n", [2, 3, 5])
def test_folds_are_of_about_equal_size_and_labels(n: int) -> None:
    rng = np.random.default_rng(1)
    manifest = owned([f"artist {k}" for k in rng.integers(0, 60, 240)])
    folds = make_folds(manifest, manifest.ids(), n, 0)
    sizes = np.bincount(list(folds.values()))
    assert np.abs(sizes - 240 / n).max() <= 0.05 * 240 / n + 1
    for genre in GENRES:
        own = [folds[item.id] for item in manifest if item.labels == (genre,)]
        counts = np.bincount(own, minlength=n)
        assert counts.min() >= 0.6 * counts.mean()


def test_folds_are_those_of_the_seed() -> None:
    manifest = owned([f"artist {k // 2}" for k in range(80)])
    first, again, other = (make_folds(manifest, manifest.ids(), 4, seed) for seed in (0, 0, 1))
    assert first == again != other


def test_items_that_are_not_divided_change_nothing() -> None:
    manifest = owned([f"artist {k}" for k in range(60)])
    few = manifest.ids()[:40]
    changed = owned([f"artist {k}" for k in range(40)] + ["another"] * 20)
    assert make_folds(manifest, few, 4, 0) == make_folds(changed, few, 4, 0)


@pytest.mark.parametrize("n_artists", [2, 3, 4])
def test_of_fewer_artists_than_folds_each_is_one(n_artists: int) -> None:
    manifest = owned([f"artist {k % n_artists}" for k in range(12)])
    folds = make_folds(manifest, manifest.ids(), 5, 0)
    assert set(folds.values()) == set(range(n_artists))
    assert len({(item.artist, folds[item.id]) for item in manifest}) == n_artists


@pytest.mark.parametrize("seed", range(3))
def test_very_many_groups_are_dealt_out_by_their_kind(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(splits, "MANY_GROUPS", 50)
    manifest = random_manifest(seed, 2000)
    alone = Manifest([replace(item, artist="", album="") for item in manifest])
    for given in (manifest, alone):
        split = make_splits(given, RATIOS["multi"], seed)
        assert split == make_splits(given, RATIOS["multi"], seed)
        assert find_leaks(given.with_splits(split)) == []
    counts = Counter(split.values())
    assert counts["train"] == pytest.approx(1600, abs=8)
    assert counts["val"] == pytest.approx(200, abs=8)
    for genre in ("g1", "g2", "g3"):
        own = Counter(split[item.id] for item in alone if genre in item.labels)
        assert own["test"] / own.total() == pytest.approx(0.1, abs=0.02)


def test_items_without_a_genre_are_in_no_split() -> None:
    bare = [Item(f"bare {k}", f"Artist {k}") for k in range(4)]
    labelled = [Item(f"own {k}", f"Artist {k}", labels=("Rock",)) for k in range(30)]
    drawn = split_anew(Manifest([*bare, *labelled]), (0.6, 0.2, 0.2), 0)
    assert {i for i, split in drawn.splits.items() if split is None} == {i.id for i in bare}
    assert drawn.count("train") == 18
    assert split_anew(Manifest(bare), (0.5, 0.25, 0.25), 0).count("test") == 1
