"""Which items and genres of a dataset a manifest keeps, and what its genres are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np

from mmgenre.datasets.sources import Published, found_note, read_table, refuse
from mmgenre.errors import ManifestError
from mmgenre.items.item import LIST_SEPARATOR, Item
from mmgenre.items.labels import ancestors, closure, path_faults
from mmgenre.items.manifest import Manifest
from mmgenre.items.modalities import Modality
from mmgenre.items.names import artist_of, fold
from mmgenre.items.splits import make_folds

SHOWN = 5  # genres in a note


def keep_having(published: Published, modalities: Sequence[Modality]) -> Published:
    """The items with all of these modalities; the others are counted in the notes."""
    kept = tuple(item for item in published.items if all(m in item.media for m in modalities))
    return _only(published, kept, f"without {' and '.join(modalities)}")


def keep_frequent(published: Published, min_share: float) -> Published:
    """The items with those of their genres that at least `min_share` (0 to 1) of all items have.

    An item of `Jazz/Vocal Jazz` counts for both; where only Jazz is frequent, Jazz is its genre.
    Genres are counted over all splits: the set of genres defines the task and is not learnt. Items
    without a genre are not counted, and stay. The notes count the genres and the items that are
    left out because no genre is left.
    """
    if not 0 < min_share < 1:
        raise ManifestError(published.where, [f"share {min_share}: must be between 0 and 1"])
    counts = _counts(published.items)
    least = min_share * sum(bool(item.labels) for item in published.items)
    frequent = frozenset(name for name, n in counts.items() if n >= least)
    rare = {item.id for item in published.items if item.labels and not _cut(item, frequent)}
    items = (replace(item, labels=_cut(item, frequent)) for item in published.items)
    kept = tuple(item for item in items if item.id not in rare)
    published = _only(published, kept, f"of no genre that {min_share:.2%} of them have")
    return replace(published, notes=(*published.notes, _kept_note(counts, frequent, least)))


def keep_known(published: Published, min_items: int) -> Published:
    """The items with those of their genres that at least `min_items` items have.

    Counted as in `keep_frequent`, but items of which no genre is left stay, without a genre.
    """
    if min_items < 1:
        raise ManifestError(published.where, [f"least items of a genre {min_items}: at least 1"])
    counts = _counts(published.items)
    frequent = frozenset(name for name, n in counts.items() if n >= min_items)
    items = tuple(replace(item, labels=_cut(item, frequent)) for item in published.items)
    bare = [a.id for a, b in zip(published.items, items, strict=True) if a.labels and not b.labels]
    notes = [_kept_note(counts, frequent, min_items)]
    notes += found_note(bare, "item(s) have no genre any more: they are kept without one")
    return replace(published, items=items, notes=(*published.notes, *notes))


def _counts(items: Sequence[Item]) -> Counter[str]:
    return Counter(name for item in items for name in closure(item.labels))


def _kept_note(counts: Counter[str], frequent: frozenset[str], least: float) -> str:
    note = f"{len(frequent)} of {len(counts)} genres are kept: those of {least:.6g} items or more"
    rare = [(n, name) for name, n in counts.items() if name not in frequent]
    if rare:
        note += f"; the most frequent of the others is {max(rare)[1]!r} with {max(rare)[0]}"
    return note


def _cut(item: Item, frequent: frozenset[str]) -> tuple[str, ...]:
    """Each label cut to the frequent part of its path, without labels that are above another."""
    cut = [[name for name in ancestors(label) if name in frequent] for label in item.labels]
    labels = dict.fromkeys(names[-1] for names in cut if names)
    above = {name for label in labels for name in ancestors(label)[:-1]}
    return tuple(label for label in labels if label not in above)


def _only(published: Published, kept: tuple[Item, ...], what: str) -> Published:
    """The items that are kept; a ManifestError if there are none."""
    n, ids = len(published.items), {item.id for item in kept}
    if not kept:
        refuse(published.where, [f"all {n} items are {what}: nothing is left for a manifest"])
    left_out = [item.id for item in published.items if item.id not in ids]
    notes = found_note(left_out, f"of {n} items are left out, {what}")
    return replace(published, items=kept, notes=(*published.notes, *notes))


@dataclass(frozen=True)
class GenreMap:
    """What genres are called instead: folded name -> labels, none for a genre that is dropped."""

    where: str
    labels: Mapping[str, tuple[str, ...]]
    written: Mapping[str, str]  # folded name -> as the table has it


def read_map(path: Path) -> GenreMap:
    """A table with tabs between the columns `from` and `to`.

    `to` is a label, or several joined by `;`, and may be a path (`Electronic/House`); empty drops
    the genre. Case and accents of `from` do not matter. A ManifestError lists every fault.
    """
    labels: dict[str, tuple[str, ...]] = {}
    written: dict[str, str] = {}
    faults: list[str] = []
    for line, row in read_table(path, ("from", "to"), delimiter="\t"):
        name, key = row["from"], fold(row["from"])
        if not key:
            faults.append(f"line {line}: no genre in column 'from'")
        elif key in labels:
            faults.append(f"line {line}: {name!r} is already mapped, as {written[key]!r}")
        parts = (part.strip() for part in row["to"].split(LIST_SEPARATOR))
        labels[key], written[key] = tuple(filter(None, parts)), name
        faults += [f"line {line}: {fault}" for label in labels[key] for fault in path_faults(label)]
    refuse(path, faults)
    return GenreMap(str(path), labels, written)


def mapped(published: Published, table: GenreMap) -> Published:
    """The items with their genres renamed; the notes say what was mapped, dropped and unknown.

    Genres that the table does not have stay as they are. An item all of whose genres are dropped
    stays without one. A ManifestError if no genre of the dataset is in the table.
    """
    counts = Counter(chain.from_iterable(dict.fromkeys(item.labels) for item in published.items))
    keys = {name: fold(name) for name in counts}
    known = [name for name in counts if keys[name] in table.labels]
    if not known:
        fault = f"none of the {len(counts)} genres is in its column 'from': {_named(counts)}"
        refuse(table.where, [fault])
    instead = {name: table.labels[keys[name]] for name in known}
    items = tuple(
        replace(
            item,
            labels=tuple(
                dict.fromkeys(chain.from_iterable(instead.get(n, (n,)) for n in item.labels))
            ),
        )
        for item in published.items
    )
    dropped = {name: counts[name] for name in known if not instead[name]}
    others = {name: n for name, n in counts.items() if name not in instead}
    renamed = {name: counts[name] for name in known if instead[name]}
    bare = [a.id for a, b in zip(published.items, items, strict=True) if a.labels and not b.labels]
    absent = [table.written[key] for key in table.labels.keys() - set(keys.values())]
    notes = [f"{table.where}: {len(renamed)} genre(s) are mapped: {_named(renamed)}"]
    notes += [f"{len(dropped)} genre(s) are dropped: {_named(dropped)}"] if dropped else []
    notes += [f"{len(others)} genre(s) are not in the table and stay: {_named(others)}"] * bool(
        others
    )
    notes += found_note(sorted(absent), "genre(s) of the table are not in the dataset")
    notes += found_note(bare, "item(s) have no genre any more: they are kept without one")
    return replace(published, items=items, notes=(*published.notes, *notes))


def _named(counts: Mapping[str, int]) -> str:
    """`'Rock' (12), 'Pop' (3), ...`, the most frequent first."""
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    shown = ", ".join(f"{name!r} ({n})" for name, n in ranked[:SHOWN])
    return shown + (", ..." if len(ranked) > SHOWN else "")


def sampled(
    published: Published, n_items: int, *, by_artist: bool = False, seed: int = 0
) -> Published:
    """`n_items` items drawn at random, the same from every seed on every machine.

    `by_artist`: whole artists are drawn, as long as all of their items find room; an item by nobody
    or by many is drawn alone. A ManifestError if none has room. All items if there are no more.
    """
    if n_items < 1:
        raise ManifestError(published.where, [f"sample {n_items}: at least 1 item"])
    items = sorted(published.items, key=lambda item: item.id)
    groups: dict[str, list[Item]] = {}
    for item in items:
        artist = artist_of(item.artist).whole if by_artist else ""
        groups.setdefault(f"artist {artist}" if artist else f"item {item.id}", []).append(item)
    names = sorted(groups)
    kept: list[Item] = []
    for k in np.random.default_rng((seed, 0x5A3B1E)).permutation(len(names)).tolist():
        if len(kept) + len(groups[names[k]]) <= n_items:
            kept += groups[names[k]]
    if not kept:
        least = min(map(len, groups.values()))
        refuse(published.where, [f"sample {n_items}: every artist has {least} items or more"])
    ids = {item.id for item in kept}
    how = f"{len(ids)} of {len(items)} items are drawn" + (", artists whole" if by_artist else "")
    drawn = tuple(item for item in published.items if item.id in ids)
    return replace(published, items=drawn, notes=(*published.notes, f"{how} (seed {seed})"))


def with_validation(published: Published, parts: int = 8) -> Published:
    """A dataset that publishes training and test only: one of so many parts of training is drawn.

    No artist or album is in both.
    """
    items = [item for item in published.items if item.split == "train" and item.labels]
    folds = make_folds(Manifest(items), [item.id for item in items], parts, seed=0)
    drawn = {item_id for item_id, fold in folds.items() if fold == 0}
    placed = tuple(replace(i, split="val") if i.id in drawn else i for i in published.items)
    note = (
        f"no validation is published: {len(drawn)} of {len(items)} training items are drawn for it"
    )
    return replace(published, items=placed, notes=(*published.notes, note))
