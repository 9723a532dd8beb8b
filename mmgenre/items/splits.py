"""Splits that do not leak: no artist, album or text in two, labels balanced as far as possible."""

from __future__ import annotations

import textwrap
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from mmgenre.errors import SplitError
from mmgenre.items.item import SPLITS, Split
from mmgenre.items.labels import closure
from mmgenre.items.manifest import Manifest
from mmgenre.items.modalities import MODALITIES
from mmgenre.items.names import album_key, artist_of, fold, text_key

RATIOS: Mapping[str, tuple[float, float, float]] = {
    "single": (0.70, 0.15, 0.15),  # Oramas 2018, sec. 6.1
    "multi": (0.80, 0.10, 0.10),  # sec. 5.1
}
MAX_DRAFTS = 16
MANY_GROUPS = 100_000
SAME_TEXT = "identical text"
SHOWN_CHARACTERS, SHOWN_WRITINGS = 60, 3  # of a name or text that leaks


@dataclass(frozen=True)
class Leak:
    """Something that is in two splits or more; not `is_certain` if only under unlike spellings."""

    kind: str
    value: str
    splits: tuple[Split, ...]
    ids: tuple[str, ...]
    is_certain: bool = True

    def __str__(self) -> str:
        shown = ", ".join(self.ids[:4]) + (", ..." if len(self.ids) > 4 else "")
        return f"{self.kind} {self.value!r} in {' and '.join(self.splits)}: {shown}"


@dataclass(frozen=True)
class Keys:
    """What may not be in two splits: pairs of an item's row and the number of a name."""

    kind: str
    rows: NDArray[np.intp]  # (n_pairs,)
    numbers: NDArray[np.intp]  # (n_pairs,), from 0 to n_names - 1
    n_names: int
    written: Callable[[int], str]  # row -> the name as it stands there


def group_keys(manifest: Manifest, *, texts: bool = True) -> Iterator[Keys]:
    """What may not be in two splits: artists, artists' albums, and (`texts`) inline texts.

    Names are compared as by `artist_of`, `album_key` and `text_key`; what these leave empty binds
    nothing. "Prince & the Revolution" is also bound to "Prince" if that is an artist of the
    manifest; a first name of two words or more, as in "Bob Marley & the Wailers", always binds. An
    album without an artist is compared by its name alone.
    """
    c = manifest.columns
    artists = {name: artist_of(name) for name in set(c.artists)}
    own = {artist.whole for artist in artists.values()}
    whole = {name: artist.whole for name, artist in artists.items()}
    first = {
        name: artist.first if artist.first_is_full or artist.first in own else ""
        for name, artist in artists.items()
    }
    numbered = [list(map(names.__getitem__, c.artists)) for names in (whole, first)]
    yield _numbered("artist", numbered, c.artists.__getitem__)

    albums = {name: album_key(name) for name in set(c.albums)}
    pairs = zip(numbered[0], map(albums.__getitem__, c.albums), strict=True)
    of_artist = [f"{artist} / {album}" if artist and album else album for artist, album in pairs]
    yield _numbered(
        "album", [of_artist], lambda row: " / ".join(filter(None, (c.artists[row], c.albums[row])))
    )
    for cells in _inline_texts(manifest) if texts else ():
        yield _numbered(SAME_TEXT, [_repeated(cells)], cells.__getitem__)


def _inline_texts(manifest: Manifest) -> Iterator[Sequence[str]]:
    """The inline texts of each modality of texts, one per item, "" where it has none."""
    c = manifest.columns
    for modality, info in MODALITIES.items():
        if info.medium == "text":
            given, files = c.texts.get(modality, ()), c.files.get(modality, ())
            if any(given):
                yield given
            elif any(isinstance(cell, tuple) and cell for cell in files):
                yield [
                    "\n".join(part for part in cell if isinstance(part, str))
                    if isinstance(cell, tuple)
                    else ""
                    for cell in files
                ]


def _repeated(cells: Sequence[str]) -> list[str]:
    """The keys of texts that occur more than once, "" for all others."""
    # Numbers first: a million keys would take as much memory as the texts.
    numbers = np.fromiter(map(hash, map(text_key, cells)), np.int64, len(cells))
    _, place, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    found = [""] * len(cells)
    for row in np.flatnonzero(counts[place] > 1).tolist():
        found[row] = text_key(cells[row])
    return found


def _numbered(kind: str, columns: Sequence[Sequence[str]], written: Callable[[int], str]) -> Keys:
    """Numbers the names of all rows, some columns of them; "" is none."""
    names = dict.fromkeys(chain(*columns))
    names.pop("", None)
    number = {name: k for k, name in enumerate(names)} | {"": -1}
    rows, numbers = [], []
    for column in columns:
        found = np.fromiter(map(number.__getitem__, column), np.intp, len(column))
        rows.append(np.flatnonzero(found >= 0))
        numbers.append(found[rows[-1]])
    return Keys(kind, np.concatenate(rows), np.concatenate(numbers), len(names), written)


def find_leaks(manifest: Manifest, *, texts: bool = True) -> list[Leak]:
    """Artists, albums and (`texts`) inline texts that are in two splits or more, sorted."""
    c = manifest.columns
    split = np.fromiter((SPLITS.index(s) if s else -1 for s in c.splits), np.intp, len(manifest))
    leaks = []
    for keys in group_keys(manifest, texts=texts):
        placed = split[keys.rows] >= 0
        where = np.zeros((keys.n_names, len(SPLITS)), dtype=bool)
        where[keys.numbers[placed], split[keys.rows[placed]]] = True
        leaking = where.sum(axis=1) > 1
        rows: dict[int, set[int]] = {}
        for pair in np.flatnonzero(leaking[keys.numbers]).tolist():
            rows.setdefault(int(keys.numbers[pair]), set()).add(int(keys.rows[pair]))
        for number, found in rows.items():
            splits = tuple(s for s, here in zip(SPLITS, where[number], strict=True) if here)
            ids = tuple(c.ids[row] for row in sorted(found))
            by_spelling: dict[str, set[int]] = {}
            for row in found:
                by_spelling.setdefault(fold(keys.written(row)), set()).add(int(split[row]))
            alike = any(len(places - {-1}) > 1 for places in by_spelling.values())
            value = _writings(map(keys.written, sorted(found)))
            leaks.append(Leak(keys.kind, value, splits, ids, alike or keys.kind == SAME_TEXT))
    return sorted(leaks, key=lambda leak: (leak.kind, leak.value))


def _writings(names: Iterable[str]) -> str:
    """The first different writings of one name: `Björk | BJORK`."""
    short = (textwrap.shorten(name, SHOWN_CHARACTERS, placeholder=" ...") for name in names)
    return " | ".join(islice(dict.fromkeys(islice(short, 1000)), SHOWN_WRITINGS))


def leaks_among(
    places: Mapping[tuple[str, str], Sequence[str]], splits: Mapping[str, Split | None]
) -> list[Leak]:
    """Those of {(kind, value): item ids} that are in more than one split."""
    leaks = []
    for (kind, value), ids in sorted(places.items()):
        found = {splits[item_id] for item_id in ids}
        if len(found - {None}) > 1:
            leaks.append(Leak(kind, value, tuple(s for s in SPLITS if s in found), tuple(ids)))
    return leaks


def make_splits(
    manifest: Manifest,
    ratios: tuple[float, float, float],
    seed: int,
    known: Mapping[str, Split] | None = None,
) -> dict[str, Split]:
    """Draws train, validation and test: id -> split.

    Items whose split is `known` keep it, and so do all others of their group.

    Items that share an artist, an album or an inline text form a group, which is never divided.
    Groups are placed one by one, large ones first in an order drawn from `seed`, each where it
    brings the counts of its labels, modalities and items nearest to the ratios (chi-square
    distance); the last groups go to splits that are still empty. Of several such drafts the nearest
    is kept; there are more of them for small manifests, where chance matters more. SplitError if
    the ratios are not three positive shares of 1, or if there are not three groups.
    """
    if len(ratios) != 3 or not (min(ratios) > 0 and abs(sum(ratios) - 1) <= 1e-6):
        raise SplitError(f"split ratios {ratios}: three positive numbers that add up to 1")
    n_groups, group = _groups(manifest)
    if n_groups < len(SPLITS) and not known:
        raise SplitError(
            f"{manifest.where}: {len(manifest)} items in {n_groups} group(s) of shared artists "
            "and albums; train, val and test need one each, so at least three"
        )
    counts = _counts(manifest, group, n_groups)  # (groups, labels + modalities + 1)
    goal = np.outer(ratios, counts.sum(axis=0)) + 1e-9  # (splits, labels + modalities + 1)
    rng = np.random.default_rng((seed, 0x5B117))
    drafts = max(1, min(MAX_DRAFTS, 20_000 // n_groups))
    known = known or {}
    kept = _kept(manifest, group, n_groups, known) if known else None
    drawn = (_draft(counts, goal, rng, kept) for _ in range(drafts))
    _, where = min(drawn, key=lambda draft: draft[0])
    of_items = zip(manifest.columns.ids, where[group].tolist(), strict=True)
    return {i: known.get(i, SPLITS[w]) for i, w in of_items}


def split_anew(manifest: Manifest, ratios: tuple[float, float, float], seed: int) -> Manifest:
    """The same items in splits drawn by `make_splits`; those without a genre are in none."""
    c = manifest.columns
    labelled = [item_id for item_id, own in zip(c.ids, c.labels, strict=True) if own]
    own = manifest.only(labelled) if any(c.labels) else manifest
    return manifest.with_splits({**dict.fromkeys(c.ids), **make_splits(own, ratios, seed)})


def _kept(
    manifest: Manifest, group: NDArray[np.intp], n_groups: int, known: Mapping[str, Split]
) -> NDArray[np.intp]:
    """The split that most known items of a group are in; -1: none is known, (n_groups,)."""
    votes = np.zeros((n_groups, len(SPLITS)), np.intp)
    for k, item_id in enumerate(manifest.columns.ids):
        if item_id in known:
            votes[group[k], SPLITS.index(known[item_id])] += 1
    return np.where(votes.any(axis=1), votes.argmax(axis=1), -1)


def extend_folds(
    manifest: Manifest, folds: Mapping[str, int], ids: Sequence[str]
) -> dict[str, int]:
    """Folds of some items: those of `folds`, and for others the fold of their group, else any."""
    _, group = _groups(manifest)
    group_of = dict(zip(manifest.columns.ids, group.tolist(), strict=True))
    of_group: dict[int, int] = {}
    for item_id, place in folds.items():
        of_group.setdefault(group_of[item_id], place)
    n = max(folds.values()) + 1
    others = (item_id for item_id in ids if item_id not in folds)
    added = {i: of_group.setdefault(group_of[i], k % n) for k, i in enumerate(others)}
    return {i: folds[i] if i in folds else added[i] for i in ids}


def make_folds(manifest: Manifest, ids: Sequence[str], n: int, seed: int) -> dict[str, int]:
    """Divides items into n folds of about equal size: id -> fold.

    Items that share an artist, an album or an inline text are in one fold, and labels are balanced
    as in `make_splits`. Where there are fewer groups than folds, each group is one; where there is
    only one group, items are divided one by one.
    """
    n_groups, group = _groups(manifest)
    row = {item_id: k for k, item_id in enumerate(manifest.columns.ids)}
    own = np.array([row[item_id] for item_id in ids], dtype=np.intp)
    if len(np.unique(group[own])) == 1:
        n_groups, group = len(group), np.arange(len(group))
    used, place = np.unique(group[own], return_inverse=True)
    n = min(n, len(used))
    counts = _counts(manifest, group, n_groups, own)[used]
    goal = np.outer(np.full(n, 1 / n), counts.sum(axis=0)) + 1e-9
    rng = np.random.default_rng((seed, 0xF01D))
    drafts = max(1, min(MAX_DRAFTS, 5_000 // len(used)))
    _, where = min((_draft(counts, goal, rng) for _ in range(drafts)), key=lambda draft: draft[0])
    return dict(zip(ids, where[place].tolist(), strict=True))


def _draft(
    counts: NDArray[np.float64],
    goal: NDArray[np.float64],
    rng: np.random.Generator,
    kept: NDArray[np.intp] | None = None,
) -> tuple[float, NDArray[np.intp]]:
    """Places every group once: (distance of all counts from their goals, the split of each).

    Groups that have a split in `kept`, and no -1, stay there.
    """
    sizes = counts[:, -1] * rng.lognormal(sigma=0.5, size=len(counts))
    where = _dealt(counts, goal, rng) if kept is None else kept.copy()
    filled = np.stack([counts[where == split].sum(axis=0) for split in range(len(goal))])
    needed = slice(-1 - len(MODALITIES), None)  # every split needs items, and all modalities
    order = np.argsort(-sizes)
    order = order[where[order] < 0]
    left = (counts[order, needed] > 0).sum(axis=0)  # groups not placed yet that have each
    for g in order:
        columns = np.flatnonzero(counts[g])
        before = filled[:, columns] - goal[:, columns]
        after = before + counts[g, columns]
        cost = ((after**2 - before**2) / goal[:, columns]).sum(axis=1)
        # The last groups that have it go where it is lacking.
        lacking = filled[:, needed] == 0  # (splits, modalities + 1)
        urgent = (counts[g, needed] > 0) & (left <= lacking.sum(axis=0))
        needs = lacking[:, urgent].sum(axis=1)
        cost[needs < needs.max()] = np.inf
        left -= counts[g, needed] > 0
        where[g] = int(np.argmin(cost))
        filled[where[g]] += counts[g]
    # A split that lacks a modality is useless for it: worse than any imbalance of labels.
    lacking = int(((filled == 0) & (goal > 1e-6))[:, -1 - len(MODALITIES) :].sum())
    return float(((filled - goal) ** 2 / goal).sum()) + 1e6 * lacking, where


def _dealt(
    counts: NDArray[np.float64], goal: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.intp]:
    """Of very many groups, those with equal counts dealt out by shares; -1: not placed yet.

    Each kind of group reaches every split as often as its share allows; a few groups of a kind,
    fewer than there are splits, are left.
    """
    where = np.full(len(counts), -1, dtype=np.intp)
    if len(counts) < MANY_GROUPS:
        return where
    hashed = np.round(counts @ rng.random(counts.shape[1]), 9)
    order = rng.permutation(len(counts))
    order = order[np.argsort(hashed[order], kind="stable")]
    _, first, sizes = np.unique(hashed[order], return_index=True, return_counts=True)
    place = np.arange(len(order)) - np.repeat(first, sizes)  # within its kind
    shares = goal[:, -1] / goal[:, -1].sum()
    ends = np.floor(np.outer(sizes, shares)).cumsum(axis=1)  # (kinds, splits)
    ends = np.repeat(ends, sizes, axis=0)
    split = (place[:, None] >= ends).sum(axis=1)
    where[order] = np.where(split < len(goal), split, -1)
    return where


def _groups(manifest: Manifest) -> tuple[int, NDArray[np.intp]]:
    """How many groups there are, and that of each item, (n,), in the order of their first items.

    They are connected components: items and what `group_keys` says they share are vertices.
    """
    from scipy.sparse import coo_array  # half a second
    from scipy.sparse.csgraph import connected_components

    n = n_vertices = len(manifest)
    rows, vertices = [], []
    for keys in group_keys(manifest):
        rows.append(keys.rows)
        vertices.append(keys.numbers + n_vertices)
        n_vertices += keys.n_names
    ends = np.concatenate(rows), np.concatenate(vertices)
    graph = coo_array((np.ones(len(ends[0])), ends), shape=(n_vertices,) * 2)
    n_groups, group = connected_components(graph, directed=False)
    return n_groups, group[:n].astype(np.intp)


def _counts(
    manifest: Manifest,
    group: NDArray[np.intp],
    n_groups: int,
    rows: NDArray[np.intp] | None = None,
) -> NDArray[np.float64]:
    """Per group how many items have each label, how many each modality, and how many there are.

    `rows`: of these items only.
    """
    rows = np.arange(len(group)) if rows is None else rows
    labels = manifest.columns.labels
    closures = {row: closure(row) for row in set(labels)}
    names = sorted(frozenset().union(*closures.values()))
    columns = {row: [bisect_left(names, name) for name in c] for row, c in closures.items()}
    own = [columns[labels[item]] for item in rows.tolist()]
    sizes = np.fromiter(map(len, own), np.intp, len(own))
    of_labels = np.zeros((n_groups, len(names)))
    found = np.fromiter(chain(*own), np.intp, sizes.sum())
    np.add.at(of_labels, (np.repeat(group[rows], sizes), found), 1)
    masks = [*map(manifest.columns.having, MODALITIES), np.ones(len(group), dtype=bool)]
    others = [np.bincount(group[rows][mask[rows]], minlength=n_groups) for mask in masks]
    return np.column_stack([of_labels, *others])
