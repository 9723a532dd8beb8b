"""Media that are in two splits, and covers under two genres, whatever the names of the items."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from mmgenre.datasets.media import Key, Media
from mmgenre.errors import ManifestError, Refusal
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.items.modalities import MODALITIES
from mmgenre.items.notes import manifest_notes, unlearned_notes
from mmgenre.items.splits import Leak, find_leaks, leaks_among
from mmgenre.progress import Progress, silent

SIMILAR = {"image": "similar cover", "audio": "similar audio"}  # by medium


@dataclass(frozen=True)
class SameCover:
    """Items that show one cover; `kept` is the one of them that is kept, if they share genres."""

    ids: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]  # of each item
    identical: bool  # the same file for all, not only the same picture
    kept: str | None

    @property
    def dropped(self) -> list[str]:
        return [i for i in self.ids if i != self.kept]

    @property
    def genres(self) -> str:
        """The different genres of the items, for example `Blues | Jazz, Old`."""
        return " | ".join(sorted({", ".join(names) or "no genre" for names in self.labels}))

    def __str__(self) -> str:
        return f"{', '.join(self.ids)} ({self.genres})"


@dataclass(frozen=True)
class Audit:
    """What `manifest check` found."""

    leaks: tuple[Leak, ...]  # in several splits: they falsify metrics
    repeats: tuple[str, ...]  # within one split or in a manifest without splits: harmless
    missing: tuple[Refusal, ...]  # files that cannot be read
    mixed: tuple[SameCover, ...] = ()  # of several genres: no model of covers tells these apart
    notes: tuple[str, ...] = ()  # names that look wrong


@dataclass(frozen=True)
class Deduped:
    """A manifest with every cover only once, and the items that were dropped."""

    manifest: Manifest
    groups: tuple[SameCover, ...]
    missing: tuple[Refusal, ...]

    @property
    def dropped(self) -> tuple[str, ...]:
        return tuple(sorted(i for group in self.groups for i in group.dropped))

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with the number of items."""
        return {
            "items": len(self.manifest),
            "dropped": self.dropped,
            "groups": [asdict(group) for group in self.groups],
            "missing": [asdict(refusal) for refusal in self.missing],
        }

    def summary(self) -> list[str]:
        """One line per group with every id, and a line of counts."""
        lines = []
        for group in self.groups:
            what = "file" if group.identical else "picture"
            kept = f"kept {group.kept}, " if group.kept is not None else ""
            lines.append(f"same {what}: {kept}dropped {', '.join(group.dropped)} ({group.genres})")
        mixed = sum(group.kept is None for group in self.groups)
        return [
            *lines,
            f"{len(self.manifest)} items; {len(self.dropped)} dropped: several items show each of "
            f"{len(self.groups)} covers, {mixed} under different genres",
        ]


def audit(manifest: Manifest, *, progress: Progress = silent) -> Audit:
    """Finds artists, albums, texts, tracks and covers in two splits, and covers of several genres.

    A text file counts as identical to another one, or to an inline text, if its letters are. Covers
    and tracks are similar if they seem to be one that was edited.
    """
    media = Media(manifest, MODALITIES, progress)
    near = {medium: media.near(medium) for medium in SIMILAR}
    places = {(f"identical {modality}", h): items for (modality, h), items in media.files.items()}
    for medium, pairs in near.items():
        for pair in pairs:
            both = {item.id: item for key in pair for item in media.files[key]}
            firsts = sorted(media.files[key][0].id for key in pair)
            places[SIMILAR[medium], " ~ ".join(firsts)] = [both[i] for i in sorted(both)]
    ids = {key: [item.id for item in items] for key, items in places.items()}
    leaks = (*find_leaks(manifest), *leaks_among(ids, manifest.splits))
    repeats = tuple(
        f"{kind} {', '.join(ids[kind, value])}"
        for (kind, value), items in sorted(places.items())
        if len(items) > 1 and len({item.split for item in items if item.split}) <= 1
    )
    mixed = tuple(g for g in same_covers(media, near["image"]) if g.kept is None)
    notes = (*manifest_notes(manifest), *unlearned_notes(manifest), *media.notes)
    return Audit(leaks, repeats, media.missing, mixed, notes)


def dedupe(manifest: Manifest, *, near: bool = False, progress: Progress = silent) -> Deduped:
    """Keeps every cover once; items without a cover, or with one that cannot be read, are kept.

    Of items with the same cover and the same genres, the first by id is kept, one that has a genre
    if any has. If their genres
    differ, none is kept: it is unknown which genre the cover belongs to, and keeping one item
    would train or test against the labels of the others. An item is dropped whole, with its other
    modalities. With `near`, edited copies count as the same cover, too (cropped by some 3 %, with a
    border or sticker, grey, scaled, recompressed); otherwise the bytes must be the same. A
    ManifestError if no item is left.
    """
    covers = [modality for modality, info in MODALITIES.items() if info.medium == "image"]
    media = Media(manifest, covers, progress)
    groups = same_covers(media, media.near("image") if near else ())
    gone = {i for group in groups for i in group.dropped}
    if len(gone) == len(manifest):
        raise ManifestError(manifest.where, ["every cover has several genres: no item is left"])
    left = Manifest(item for item in manifest if item.id not in gone).columns
    kept = Manifest(replace(left, roots=manifest.columns.roots), where=manifest.where)
    return Deduped(kept, groups, media.missing)


def same_covers(media: Media, near: Iterable[tuple[Key, Key]]) -> tuple[SameCover, ...]:
    """Groups of items with one cover, also through pairs of pairs; sorted by first id."""
    joined = {key: {key} for key in media.files if MODALITIES[key[0]].medium == "image"}
    for a, b in near:
        if joined[a] is not joined[b]:
            joined[a] |= joined[b]
            joined.update(dict.fromkeys(joined[b], joined[a]))
    groups = []
    for covers in {id(covers): covers for covers in joined.values()}.values():
        items: dict[str, Item] = {item.id: item for key in covers for item in media.files[key]}
        ids = tuple(sorted(items))
        labels = tuple(items[i].labels for i in ids)
        known = [i for i, names in zip(ids, labels, strict=True) if names]
        # An item without a genre contradicts none.
        is_one = len({frozenset(names) for names in labels if names}) <= 1
        kept = (*known, *ids)[0] if is_one else None
        if len(ids) > 1:
            groups.append(SameCover(ids, labels, len(covers) == 1, kept))
    return tuple(sorted(groups, key=lambda group: group.ids))
