"""What names do not show: files and covers that stand in two splits, or under two genres."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmgenre.disk.provenance import sha256_file
from mmgenre.errors import InputError, ManifestError, Refusal
from mmgenre.image.decoding import ImageInput, load_image
from mmgenre.items.manifest import MODALITIES, Item, Manifest, Modality
from mmgenre.items.splits import Leak, find_leaks, leaks_among
from mmgenre.progress import Progress, silent

HASH_SIDE = 8  # difference hash of 8 x 8 bits
# The same picture: few bits differ, and thumbnails correlate. The hash alone takes small logos on
# white for one another: of 11 175 pairs of different ones 1 354 are within 3 bits, but only 1 is
# within 10 and correlates. Of real covers saved at quality 30, 88 % are within 3 bits, all in 10.
NEAR_BITS = 10
THUMBNAIL_SIDE = 32
NEAR_CORRELATION = 0.95
# Below this spread of grey values a cover is plain, and its hash says nothing.
PLAIN_GREY_STD = 4.0
BLOCK = 256  # hashes compared with all others at a time


@dataclass(frozen=True)
class Fingerprint:
    """What of a cover survives scaling and recompression."""

    bits: int  # for 8 x 8 places, whether the right neighbour is brighter
    thumbnail: NDArray[np.uint8]  # (32, 32, 3), RGB


@dataclass(frozen=True)
class SameCover:
    """Items that show one cover; `kept` is the one of them that stays, if they share genres."""

    ids: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]  # of each item
    identical: bool  # the same file for all, not only the same picture
    kept: str | None

    @property
    def genres(self) -> str:
        """Under which the cover stands, as `Blues | Jazz, Old`."""
        return " | ".join(sorted({", ".join(names) or "no genre" for names in self.labels}))

    def __str__(self) -> str:
        return f"{', '.join(self.ids)} ({self.genres})"


@dataclass(frozen=True)
class Audit:
    """What `manifest check` found.

    `leaks` reach over splits and spoil figures; `repeats` stay within one split or stand in a
    manifest without splits: worth knowing, harmless. `missing` are files that cannot be read;
    `mixed` covers stand under different genres, which no reader of covers can tell apart.
    """

    leaks: tuple[Leak, ...]
    repeats: tuple[str, ...]
    missing: tuple[Refusal, ...]
    mixed: tuple[SameCover, ...] = ()


@dataclass(frozen=True)
class Deduped:
    """A manifest that shows every cover once, and what it has lost."""

    manifest: Manifest
    groups: tuple[SameCover, ...]
    missing: tuple[Refusal, ...]

    @property
    def dropped(self) -> tuple[str, ...]:
        """Ids of the items left out, sorted."""
        return tuple(sorted(i for group in self.groups for i in group.ids if i != group.kept))

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, the items as their number."""
        return {
            "items": len(self.manifest),
            "dropped": self.dropped,
            "groups": [asdict(group) for group in self.groups],
            "missing": [asdict(refusal) for refusal in self.missing],
        }

    def summary(self) -> list[str]:
        """A line a group for a person, with every id, and the counts."""
        lines = []
        for group in self.groups:
            what = "file" if group.identical else "picture"
            kept = f"kept {group.kept}, " if group.kept is not None else ""
            gone = ", ".join(i for i in group.ids if i != group.kept)
            lines.append(f"same {what}: {kept}dropped {gone} ({group.genres})")
        mixed = sum(group.kept is None for group in self.groups)
        counts = f"{len(self.manifest)} items; {len(self.dropped)} dropped, as several show"
        return [*lines, f"{counts} {len(self.groups)} covers, {mixed} under different genres"]


@dataclass
class _Media:
    """Items by the kind and hash of each of their files, and a fingerprint of each cover."""

    files: dict[tuple[str, str], list[Item]] = field(default_factory=dict)
    covers: dict[str, Fingerprint | None] = field(default_factory=dict)
    missing: list[Refusal] = field(default_factory=list)

    def showing(self, cover: str) -> list[Item]:
        return self.files[("identical image", cover)]


def audit(manifest: Manifest, *, progress: Progress = silent) -> Audit:
    """Looks for anything that stands in two splits (artists, albums, files, covers) or genres."""
    media = _read(manifest, MODALITIES, progress)
    near = near_pairs(media.covers)
    similar: dict[tuple[str, str], list[Item]] = {}
    for pair in near:
        first, second = sorted((media.showing(cover) for cover in pair), key=lambda s: s[0].id)
        items = sorted((*first, *second), key=lambda item: item.id)
        similar["similar cover", f"{first[0].id} ~ {second[0].id}"] = items
    places = media.files | similar
    leaks = (*find_leaks(manifest), *leaks_among(places))
    repeats = tuple(
        f"{kind} {', '.join(item.id for item in items)}"
        for (kind, _), items in sorted(places.items())
        if len(items) > 1 and len({item.split for item in items if item.split}) <= 1
    )
    mixed = tuple(group for group in _same_covers(media, near) if group.kept is None)
    return Audit(leaks, repeats, tuple(media.missing), mixed)


def dedupe(manifest: Manifest, *, near: bool = False, progress: Progress = silent) -> Deduped:
    """Leaves every cover once; items without one stay, as do those whose cover cannot be read.

    Of items that show the same cover and have the same genres, the first by id stays. Where their
    genres differ none does: nobody can say which of them the cover stands for, and any choice
    would teach, or ask for, what the others contradict.

    Args:
        manifest: what to clean. An item goes whole, whatever else it has: for covers' sake only.
        near: whether a scaled or recompressed copy is the same cover, too (of those cropped by
            1 % on each side most are found, by 2 % a third); without it only the same bytes are.
        progress: told of the items read.

    Raises:
        ManifestError: no item is left.
    """
    media = _read(manifest, ("image",), progress)
    groups = _same_covers(media, near_pairs(media.covers) if near else ())
    gone = {i for group in groups for i in group.ids if i != group.kept}
    if len(gone) == len(manifest):
        raise ManifestError(manifest.where, ["every cover stands under different genres"])
    kept = Manifest((item for item in manifest if item.id not in gone), where=manifest.where)
    return Deduped(kept, groups, tuple(media.missing))


def _read(manifest: Manifest, modalities: Sequence[Modality], progress: Progress) -> _Media:
    """Opens every file; one that several items name, or its copy, is fingerprinted once."""
    media = _Media()
    for number, item in enumerate(manifest):
        progress("checking media", number, len(manifest))
        for modality in modalities:
            for path in item.media.get(modality, ()):
                if not isinstance(path, Path):
                    continue
                try:
                    digest = sha256_file(path)[:16]
                    if modality == "image" and digest not in media.covers:
                        media.covers[digest] = fingerprint(path)
                    media.files.setdefault((f"identical {modality}", digest), []).append(item)
                except OSError as error:
                    detail = f"{path}: {error.strerror}"
                    media.missing.append(Refusal(item.id, modality, "missing", detail))
                except InputError as error:
                    media.missing.append(Refusal(item.id, "image", error.code, str(error)))
    progress("checking media", len(manifest), len(manifest))
    return media


def _same_covers(media: _Media, near: Iterable[tuple[str, str]]) -> tuple[SameCover, ...]:
    """Items that show the same cover, directly or by way of others; by their first ids."""
    joined = {cover: {cover} for kind, cover in media.files if kind == "identical image"}
    for a, b in near:
        if joined[a] is not joined[b]:
            joined[a] |= joined[b]
            joined.update(dict.fromkeys(joined[b], joined[a]))
    groups = []
    for covers in {id(covers): covers for covers in joined.values()}.values():
        items = {item.id: item for cover in covers for item in media.showing(cover)}
        ids = tuple(sorted(items))
        labels = tuple(items[i].labels for i in ids)
        kept = ids[0] if len({frozenset(names) for names in labels}) == 1 else None
        if len(ids) > 1:
            groups.append(SameCover(ids, labels, len(covers) == 1, kept))
    return tuple(sorted(groups, key=lambda group: group.ids))


def fingerprint(path: Path) -> Fingerprint | None:
    """The fingerprint of a cover; None for a plain one, which looks like any other plain one.

    Raises:
        InputError: the cover cannot be read.
    """
    picture = Image.fromarray(load_image(path, ImageInput(size_px=64)))
    grey = picture.convert("L")
    if float(np.asarray(grey, dtype=float).std()) < PLAIN_GREY_STD:
        return None
    small = np.asarray(grey.resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.BOX), dtype=int)
    bits: NDArray[np.bool_] = (small[:, 1:] > small[:, :-1]).ravel()
    thumbnail = picture.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX)
    return Fingerprint(int.from_bytes(np.packbits(bits).tobytes(), "big"), np.asarray(thumbnail))


def near_pairs(covers: Mapping[str, Fingerprint | None]) -> list[tuple[str, str]]:
    """Pairs of names, each sorted, whose covers are the same picture; plain covers are in none.

    20 000 covers are 2e8 pairs: all their hashes are compared in about 1.5 s.
    """
    prints = {name: cover for name, cover in sorted(covers.items()) if cover is not None}
    if not prints:
        return []
    names = list(prints)
    bits = np.array([cover.bits for cover in prints.values()], dtype=np.uint64)  # (n,)
    unit = np.stack([_unit(cover.thumbnail) for cover in prints.values()])  # (n, 3072)
    found: list[tuple[str, str]] = []
    for start in range(0, len(names), BLOCK):
        distance = np.bitwise_count(bits[start : start + BLOCK, None] ^ bits[None, start:])
        candidates = np.argwhere(np.triu(distance <= NEAR_BITS, k=1)) + start  # (n_pairs, 2)
        for pairs in np.array_split(candidates, len(candidates) // BLOCK + 1):
            x, y = unit[pairs[:, 0]], unit[pairs[:, 1]]
            correlation = np.einsum("pd,pd->p", x, y, dtype=np.float32)
            near = pairs[correlation >= NEAR_CORRELATION]
            found += [(names[a], names[b]) for a, b in near]
    return found


def _unit(thumbnail: NDArray[np.uint8]) -> NDArray[np.float16]:
    """A thumbnail less the mean of each channel, of length 1: products are correlations."""
    x = thumbnail - thumbnail.mean(axis=(0, 1))  # a brighter copy is the same
    length = max(float(np.linalg.norm(x)), 1.0)
    return np.ravel(x / length).astype(np.float16)
