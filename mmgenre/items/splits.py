"""Splits that do not leak: no artist and no album in two, labels balanced as far as that allows."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmgenre.errors import SplitError
from mmgenre.items.labels import closure
from mmgenre.items.manifest import MODALITIES, SPLITS, Item, Manifest, Split

RATIOS: Mapping[str, tuple[float, float, float]] = {
    "single": (0.70, 0.15, 0.15),  # Oramas 2018, sec. 6.1
    "multi": (0.80, 0.10, 0.10),  # sec. 5.1
}


MAX_DRAFTS = 16


@dataclass(frozen=True)
class Leak:
    """Something that stands in two splits or more."""

    kind: str
    value: str
    splits: tuple[Split, ...]
    ids: tuple[str, ...]

    def __str__(self) -> str:
        shown = ", ".join(self.ids[:4]) + (", ..." if len(self.ids) > 4 else "")
        return f"{self.kind} {self.value!r} in {' and '.join(self.splits)}: {shown}"


def fold(name: str) -> str:
    """A name as compared: no difference of case, accents, width, spaces, invisible characters.

    >>> fold("  Beyoncé ") == fold("BEYONCE")
    True
    """
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    letters = "".join(
        c for c in decomposed if not unicodedata.combining(c) and unicodedata.category(c) != "Cf"
    )
    # Turkish: SILA is the upper case of both Sıla and Sila.
    plain = unicodedata.normalize("NFKC", letters).casefold().replace("ı", "i")
    return " ".join(plain.split())


def group_keys(item: Item) -> list[tuple[str, str]]:
    """What may not stand in two splits: the artist, and the artist's album of that name.

    An album without an artist is compared by its name alone; an unknown name is no key.
    """
    artist, album = fold(item.artist), fold(item.album)
    keys = [("artist", artist)] if artist else []
    return [*keys, ("album", f"{artist} / {album}" if artist else album)] if album else keys


def find_leaks(manifest: Manifest) -> list[Leak]:
    """Artists and albums that stand in two splits or more, sorted."""
    places: dict[tuple[str, str], list[Item]] = {}
    for item in manifest:
        for key in group_keys(item):
            places.setdefault(key, []).append(item)
    return leaks_among(places)


def leaks_among(places: Mapping[tuple[str, str], Sequence[Item]]) -> list[Leak]:
    """Keeps of {(kind, value): items} what reaches over more than one split."""
    leaks = []
    for (kind, value), items in sorted(places.items()):
        splits = tuple(s for s in SPLITS if any(item.split == s for item in items))
        if len(splits) > 1:
            leaks.append(Leak(kind, value, splits, tuple(item.id for item in items)))
    return leaks


def make_splits(
    manifest: Manifest, ratios: tuple[float, float, float], seed: int
) -> dict[str, Split]:
    """Draws train, validation and test: id -> split.

    Items that share an artist or an album form a group, and a group goes whole. Groups are placed
    one by one, large ones first in an order drawn from `seed`, each where it brings the counts of
    its labels, modalities and items nearest to the ratios (chi-square distance); the last groups
    go to splits that are still empty. Of several such drafts the nearest is kept; small manifests,
    where luck counts, get more of them.

    Raises:
        SplitError: the ratios are not three positive shares of 1, or there are not three groups.
    """
    if len(ratios) != 3 or not (min(ratios) > 0 and abs(sum(ratios) - 1) <= 1e-6):
        raise SplitError(f"split ratios {ratios}: three positive numbers that add up to 1")
    groups = _groups(manifest)
    if len(groups) < len(SPLITS):
        raise SplitError(
            f"{manifest.where}: {len(manifest)} items in {len(groups)} group(s) of shared artists "
            "and albums; train, val and test need one each, so at least three"
        )
    counts = _counts(manifest, groups)  # (groups, labels + modalities + 1)
    goal = np.outer(ratios, counts.sum(axis=0)) + 1e-9  # (splits, labels + modalities + 1)
    rng = np.random.default_rng((seed, 0x5B117))
    drafts = max(1, min(MAX_DRAFTS, 20_000 // len(groups)))
    _, where = min((_draft(counts, goal, rng) for _ in range(drafts)), key=lambda draft: draft[0])
    return {i: SPLITS[where[g]] for g, group in enumerate(groups) for i in group}


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
        wants = lacking[:, urgent].sum(axis=1)
        cost[wants < wants.max()] = np.inf
        left -= counts[g, needed] > 0
        where[g] = int(np.argmin(cost))
        filled[where[g]] += counts[g]
    # A split that lacks a modality is useless for it: worse than any imbalance of labels.
    lacking = int(((filled == 0) & (goal > 1e-6))[:, -1 - len(MODALITIES) :].sum())
    return float(((filled - goal) ** 2 / goal).sum()) + 1e6 * lacking, where


def _groups(manifest: Manifest) -> list[list[str]]:
    """Connected components of items over shared artists and albums (union-find)."""
    root = {item.id: item.id for item in manifest}

    def find(i: str) -> str:
        while root[i] != i:
            root[i] = root[root[i]]
            i = root[i]
        return i

    first: dict[tuple[str, str], str] = {}
    for item in manifest:
        for key in group_keys(item):
            root[find(item.id)] = find(first.setdefault(key, item.id))
    groups: dict[str, list[str]] = {}
    for item in manifest:
        groups.setdefault(find(item.id), []).append(item.id)
    return list(groups.values())


def _counts(manifest: Manifest, groups: list[list[str]]) -> NDArray[np.float64]:
    """Per group how many items have each label, how many each modality, and how many there are."""
    names = sorted({name for item in manifest for name in closure(item.labels)})
    column = {("label", name): j for j, name in enumerate(names)}
    column |= {("modality", m): len(names) + j for j, m in enumerate(MODALITIES)}
    counts = np.zeros((len(groups), len(column) + 1))
    for g, group in enumerate(groups):
        counts[g, -1] = len(group)
        for item in (manifest[item_id] for item_id in group):
            for name in closure(item.labels):
                counts[g, column["label", name]] += 1
            for modality in item.media:
                counts[g, column["modality", modality]] += 1
    return counts
