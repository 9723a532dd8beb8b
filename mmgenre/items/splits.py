"""Splits that do not leak: no artist and no album in two, labels balanced as far as that allows."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from unicodedata import category, combining, normalize

import numpy as np
from numpy.typing import NDArray

from mmgenre.errors import SplitError
from mmgenre.items.labels import closure
from mmgenre.items.manifest import SPLITS, Manifest, Split
from mmgenre.items.modalities import MODALITIES

RATIOS: Mapping[str, tuple[float, float, float]] = {
    "single": (0.70, 0.15, 0.15),  # Oramas 2018, sec. 6.1
    "multi": (0.80, 0.10, 0.10),  # sec. 5.1
}
MAX_DRAFTS = 16


@dataclass(frozen=True)
class Leak:
    """Something that is in two splits or more."""

    kind: str
    value: str
    splits: tuple[Split, ...]
    ids: tuple[str, ...]

    def __str__(self) -> str:
        shown = ", ".join(self.ids[:4]) + (", ..." if len(self.ids) > 4 else "")
        return f"{self.kind} {self.value!r} in {' and '.join(self.splits)}: {shown}"


def fold(name: str) -> str:
    """A name for comparison, without case, accents, width, extra spaces, invisible characters.

    >>> fold("  Beyoncé ") == fold("BEYONCE")
    True
    """
    decomposed = normalize("NFKD", name.casefold())
    letters = (c for c in decomposed if not combining(c) and category(c) != "Cf")
    # Turkish: SILA is the upper case of both Sıla and Sila.
    plain = normalize("NFKC", "".join(letters)).casefold().replace("ı", "i")
    return " ".join(plain.split())


def group_keys(manifest: Manifest) -> Iterator[list[tuple[str, str]]]:
    """For each item what may not be in two splits: the artist, and the artist's album of that name.

    An album without an artist is compared by its name alone; an unknown name is no key.
    """
    c = manifest.columns
    folded = {name: fold(name) for name in {*c.artists, *c.albums}}
    for artist, album in zip(map(folded.get, c.artists), map(folded.get, c.albums), strict=True):
        of_artist = f"{artist} / {album}" if artist and album else album
        yield [(kind, v) for kind, v in (("artist", artist), ("album", of_artist)) if v]


def find_leaks(manifest: Manifest) -> list[Leak]:
    """Artists and albums that are in two splits or more, sorted."""
    places: dict[tuple[str, str], list[str]] = {}
    for item_id, keys in zip(manifest.columns.ids, group_keys(manifest), strict=True):
        for key in keys:
            places.setdefault(key, []).append(item_id)
    return leaks_among(places, manifest.splits)


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
    manifest: Manifest, ratios: tuple[float, float, float], seed: int
) -> dict[str, Split]:
    """Draws train, validation and test: id -> split.

    Items that share an artist or an album form a group, which is never divided. Groups are placed
    one by one, large ones first in an order drawn from `seed`, each where it brings the counts of
    its labels, modalities and items nearest to the ratios (chi-square distance); the last groups
    go to splits that are still empty. Of several such drafts the nearest is kept; there are more
    of them for small manifests, where chance matters more. SplitError if the ratios are not three
    positive shares of 1, or if there are not three groups.
    """
    if len(ratios) != 3 or not (min(ratios) > 0 and abs(sum(ratios) - 1) <= 1e-6):
        raise SplitError(f"split ratios {ratios}: three positive numbers that add up to 1")
    n_groups, group = _groups(manifest)
    if n_groups < len(SPLITS):
        raise SplitError(
            f"{manifest.where}: {len(manifest)} items in {n_groups} group(s) of shared artists "
            "and albums; train, val and test need one each, so at least three"
        )
    counts = _counts(manifest, group, n_groups)  # (groups, labels + modalities + 1)
    goal = np.outer(ratios, counts.sum(axis=0)) + 1e-9  # (splits, labels + modalities + 1)
    rng = np.random.default_rng((seed, 0x5B117))
    drafts = max(1, min(MAX_DRAFTS, 20_000 // n_groups))
    _, where = min((_draft(counts, goal, rng) for _ in range(drafts)), key=lambda draft: draft[0])
    return {i: SPLITS[w] for i, w in zip(manifest.columns.ids, where[group].tolist(), strict=True)}


def make_folds(manifest: Manifest, ids: Sequence[str], n: int, seed: int) -> dict[str, int]:
    """Divides items into n folds of about equal size: id -> fold.

    Items that share an artist or an album are in one fold, and labels are balanced as in
    `make_splits`. Where there are fewer groups than folds, each group is one; where there is only
    one group, items are divided one by one.
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
    counts: NDArray[np.float64], goal: NDArray[np.float64], rng: np.random.Generator
) -> tuple[float, NDArray[np.intp]]:
    """Places every group once: (distance of all counts from their goals, the split of each)."""
    sizes = counts[:, -1] * rng.lognormal(sigma=0.5, size=len(counts))
    filled = np.zeros_like(goal)
    where = np.empty(len(counts), dtype=np.intp)
    needed = slice(-1 - len(MODALITIES), None)  # every split needs items, and all modalities
    left = (counts[:, needed] > 0).sum(axis=0)  # groups not placed yet that have each
    for g in np.argsort(-sizes):
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


def _groups(manifest: Manifest) -> tuple[int, NDArray[np.intp]]:
    """How many groups there are, and that of each item, (n,), in the order of their first items.

    They are connected components: items and the artists and albums that they share are vertices.
    """
    from scipy.sparse import coo_array  # half a second
    from scipy.sparse.csgraph import connected_components

    vertex: dict[tuple[str, str], int] = {}
    n = len(manifest)
    pairs = ((item, key) for item, keys in enumerate(group_keys(manifest)) for key in keys)
    edges = [(item, vertex.setdefault(key, n + len(vertex))) for item, key in pairs]
    ends = np.array(edges, dtype=np.intp).reshape(-1, 2).T
    graph = coo_array((np.ones(len(edges)), ends), shape=(n + len(vertex),) * 2)
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
    of_labels = np.zeros((n_groups, len(names)))
    for item in rows.tolist():
        of_labels[group[item], columns[labels[item]]] += 1
    masks = [*map(manifest.columns.having, MODALITIES), np.ones(len(group), dtype=bool)]
    others = [np.bincount(group[rows][mask[rows]], minlength=n_groups) for mask in masks]
    return np.column_stack([of_labels, *others])
