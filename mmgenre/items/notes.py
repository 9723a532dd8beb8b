"""What a person should know of a manifest before using it, in sentences: names that look wrong."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from unicodedata import category

from mmgenre.items.item import SPLITS
from mmgenre.items.labels import ancestors, closure, levels
from mmgenre.items.manifest import Manifest
from mmgenre.items.names import artist_of, genre_key

NO_ARTISTS_NOTE = "no artists or albums: no check can tell whether splits share them"
SHOWN = 5  # names in a note
# Names that stand for no genre, by their letters.
NO_GENRES = frozenset({"nan", "none", "null", "na", "unknown", "undefined", "unclassified"})
LIST_SIGNS = re.compile(r"^[\[({'\"].*[\])}'\"]$|,|\|\||\\|>")


def manifest_notes(manifest: Manifest) -> list[str]:
    """Sentences about artists and genre names; none if nothing is remarkable."""
    c = manifest.columns
    notes = unlabelled_notes(manifest)
    notes += _of_artists(c.artists, c.albums)
    notes += label_notes(Counter(chain.from_iterable(c.labels)))
    return notes


def unlabelled_notes(manifest: Manifest) -> list[str]:
    """What becomes of items without a genre; none if there are none."""
    labels = manifest.columns.labels
    n = sum(not own for own in labels)
    if not n:
        return []
    return [
        f"{n:,} of {len(labels):,} items have no genre: nothing learns from them, and mmgenre fuse "
        "names their genres"
    ]


def unlearned_notes(manifest: Manifest) -> list[str]:
    """Genres that no training item has; none if there are no splits."""
    rows = {split: set(manifest.labels(split)) for split in SPLITS}
    if not rows["train"]:
        return []
    own = {split: closure(chain.from_iterable(found)) for split, found in rows.items()}
    others = sorted((own["val"] | own["test"]) - own["train"])
    if not others:
        return []
    return [
        f"train has no item of {len(others)} genre(s) of val or test, which are neither "
        f"learned nor measured: {_shown(others)}"
    ]


def label_notes(counts: Counter[str]) -> Iterator[str]:
    """What looks wrong about genre names, given how many items have each."""
    alike: dict[str, list[str]] = {}
    for label in sorted(counts):
        alike.setdefault("/".join(map(genre_key, levels(label))), []).append(label)
    twins = [
        " = ".join(f"{name!a} ({counts[name]})" for name in same)
        for same in alike.values()
        if len(same) > 1
    ]
    if twins:
        yield (
            f"{len(twins)} genre(s) are written in several ways, and each counts as one of its "
            f"own: {_listed(twins)}; write them alike"
        )
    hidden = [f"{n!a}" for n in counts if any(category(c) in ("Cf", "Cc", "Zl", "Zp") for c in n)]
    if hidden:
        yield f"{len(hidden)} genre name(s) contain invisible characters: {_listed(hidden)}"
    lists = sorted(name for name in counts if LIST_SIGNS.search(name))
    if lists:
        yield (
            f"{len(lists)} genre name(s) look like lists or hold their signs: {_shown(lists)}; "
            "genres of an item are joined by ';', without brackets and quotes"
        )
    empty = sorted(name for name in counts if genre_key(name) in NO_GENRES)
    if empty:
        yield f"{_shown(empty)} count as genres; where they mean none, leave the item out"
    yield from _of_levels(counts)


def _of_levels(counts: Counter[str]) -> Iterator[str]:
    paths = [name for name in counts if len(levels(name)) > 1]
    if not paths:
        return
    children = Counter(ancestors(name)[-2] for name in closure(paths) if len(levels(name)) > 1)
    # A broader genre of which there is nothing but this one narrower: is it one at all?
    doubtful = sorted(n for n in paths if (a := ancestors(n)[-2]) not in counts and children[a] < 2)
    names = [*doubtful, *sorted(set(paths) - set(doubtful))]
    first = names[0]
    alone = f"; {len(doubtful)} of them alone have the genre above them" if doubtful else ""
    yield (
        f"{len(names)} genre(s) with '/' are read as levels, so that {first!r} counts for "
        f"{ancestors(first)[0]!r}, too: {_shown(names)}{alone}; where the slash belongs to the "
        f"name, write it twice: {first.replace('/', '//')!r}"
    )


def _of_artists(artists: Sequence[str], albums: Sequence[str]) -> Iterator[str]:
    names = Counter(artists)
    if not any(name.strip() for name in chain(names, set(albums))):
        yield NO_ARTISTS_NOTE
        return
    nobody = {name: n for name, n in names.items() if name.strip() and not artist_of(name).whole}
    if nobody:
        yield (
            f"{sum(nobody.values())} item(s) have an artist that stands for many or for none, and "
            f"that splits may share: {_shown(sorted(nobody))}"
        )


def _shown(names: Iterable[str]) -> str:
    return _listed([repr(name) for name in names])


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
