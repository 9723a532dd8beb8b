"""What of a published dataset goes into a manifest: items with some modality, frequent genres."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from mmgenre.datasets.layout import Published
from mmgenre.errors import ManifestError
from mmgenre.items.labels import ancestors, closure
from mmgenre.items.manifest import Item, Modality


def keep_having(published: Published, modalities: Sequence[Modality]) -> Published:
    """The items that have every one of these modalities; the others are counted in the notes.

    Raises:
        ManifestError: none has.
    """
    kept = tuple(item for item in published.items if all(m in item.media for m in modalities))
    return _only(published, kept, f"without {' and '.join(modalities)}")


def keep_frequent(published: Published, min_share: float) -> Published:
    """The items with those of their genres that at least `min_share` of all items have.

    An item of `Jazz/Vocal Jazz` counts for both; where only Jazz is frequent, Jazz is its genre.
    Counted once, over every split: which genres there are defines the task and is not learnt.
    Items that no genre is left of are left out and counted, as are the genres.

    Raises:
        ManifestError: the share is none, or no genre is as frequent.
    """
    if not 0 < min_share < 1:
        raise ManifestError(published.where, [f"share {min_share}: wants one between 0 and 1"])
    counts = Counter(name for item in published.items for name in closure(item.labels))
    least = min_share * len(published.items)
    frequent = frozenset(name for name, n in counts.items() if n >= least)
    rare = [(n, name) for name, n in counts.items() if name not in frequent]
    items = tuple(
        replace(item, labels=_frequent_labels(item, frequent)) for item in published.items
    )
    kept = tuple(item for item in items if item.labels)
    published = _only(published, kept, f"of no genre that {min_share:.2%} of them have")
    note = f"{len(frequent)} of {len(counts)} genres stay: those of {least:.6g} items or more"
    if rare:
        note += f"; the most frequent of the others is {max(rare)[1]!r} with {max(rare)[0]}"
    return replace(published, notes=(*published.notes, note))


def _frequent_labels(item: Item, frequent: frozenset[str]) -> tuple[str, ...]:
    """Each label cut back to what of its path is frequent; no label above another one."""
    cut = [[name for name in ancestors(label) if name in frequent] for label in item.labels]
    labels = dict.fromkeys(names[-1] for names in cut if names)
    above = {name for label in labels for name in ancestors(label)[:-1]}
    return tuple(label for label in labels if label not in above)


def _only(published: Published, kept: tuple[Item, ...], what: str) -> Published:
    left_out = len(published.items) - len(kept)
    if not kept:
        fault = f"all {left_out} items are {what}: nothing is left for a manifest"
        raise ManifestError(published.where, [fault])
    notes = [*published.notes]
    if left_out:
        ids = {item.id for item in kept}
        first = next(item.id for item in published.items if item.id not in ids)
        notes.append(
            f"{left_out} of {len(published.items)} items are left out, {what} (first: {first!r})"
        )
    return replace(published, items=kept, notes=tuple(notes))
