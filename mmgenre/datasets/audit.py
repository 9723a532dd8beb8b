"""Files and covers that are in two splits or under two genres, whatever the names of the items."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmgenre.audio.decoding import check_audio
from mmgenre.disk.files import as_on_disk, check_file
from mmgenre.disk.provenance import sha256_file
from mmgenre.errors import InputError, ManifestError, Refusal
from mmgenre.image.decoding import load_image
from mmgenre.image.settings import ImageInput
from mmgenre.items.manifest import Item, Manifest
from mmgenre.items.media import check_files, check_folders
from mmgenre.items.modalities import MODALITIES, Modality
from mmgenre.items.names import text_key
from mmgenre.items.notes import manifest_notes, unlearned_notes
from mmgenre.items.splits import Leak, find_leaks, leaks_among
from mmgenre.progress import Progress, silent
from mmgenre.text.decoding import read_text

HASH_SIDE = 8  # difference hash of 8 x 8 bits
# Two covers are the same picture if few bits differ and their thumbnails correlate. The hash alone
# confuses small logos on white: of 11 175 pairs of different ones 1 354 are within 3 bits, but only
# 1 is within 10 and correlates. Of real covers saved at quality 30, 88 % are within 3 bits, all
# within 10.
NEAR_BITS = 10
THUMBNAIL_SIDE = 32
NEAR_CORRELATION = 0.95
# Below this spread of grey values a cover is plain, and its hash says nothing.
PLAIN_GREY_STD = 4.0
BLOCK = 256  # hashes compared with all others at a time
SAME_IMAGE = "identical image"


@dataclass(frozen=True)
class Fingerprint:
    """The properties of a cover that survive scaling and recompression."""

    bits: int  # one per place of an 8 x 8 grid: whether the right neighbour is brighter
    thumbnail: NDArray[np.uint8]  # (32, 32, 3), RGB


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


class _Media:
    """Items by kind and hash of each file; of each cover and its copies one fingerprint."""

    def __init__(self, manifest: Manifest, kinds: Collection[Modality], progress: Progress) -> None:
        self.files: dict[tuple[str, str], list[Item]] = {}
        self.covers: dict[str, Fingerprint | None] = {}
        self.missing: list[Refusal] = []
        for modality in kinds:
            check_folders(manifest, modality)
        named = (f for item in manifest for m in kinds for f in item.media.get(m, ()))
        check_files(manifest, (as_on_disk(file) for file in named if isinstance(file, Path)))
        for number, item in enumerate(manifest):
            progress("checking media", number, len(manifest))
            for modality, path in ((m, p) for m in kinds for p in item.media.get(m, ())):
                if not isinstance(path, Path):
                    continue
                path = as_on_disk(path)
                try:
                    check_file(path)
                    digest = _digest(path, modality)
                    if modality == "image" and digest not in self.covers:
                        self.covers[digest] = fingerprint(path)
                    self.files.setdefault((f"identical {modality}", digest), []).append(item)
                    # Files of features in place of audio have their own reader.
                    if MODALITIES[modality].medium == "audio" and path.suffix.lower() != ".h5":
                        check_audio(path)
                except OSError as error:
                    detail = f"{path}: {error.strerror}"
                    self.missing.append(Refusal(item.id, modality, "missing", detail))
                except InputError as error:
                    self.missing.append(Refusal(item.id, modality, error.code, str(error)))
        progress("checking media", len(manifest), len(manifest))
        self._add_inline_texts(manifest, kinds)

    def _add_inline_texts(self, manifest: Manifest, kinds: Collection[Modality]) -> None:
        """Adds to the items of a text file those that have its text inline."""
        for modality in kinds:
            kind = f"identical {modality}"
            if not any(own == kind for own, _ in self.files):
                continue
            for item in manifest:
                for text in (t for t in item.media.get(modality, ()) if isinstance(t, str)):
                    others = self.files.get((kind, _text_digest(text)), [])
                    if others and item not in others:
                        others.append(item)

    def same_covers(self, near: Iterable[tuple[str, str]]) -> tuple[SameCover, ...]:
        """Groups of items with one cover, also through pairs of pairs; sorted by first id."""
        joined = {cover: {cover} for kind, cover in self.files if kind == SAME_IMAGE}
        for a, b in near:
            if joined[a] is not joined[b]:
                joined[a] |= joined[b]
                joined.update(dict.fromkeys(joined[b], joined[a]))
        groups = []
        for covers in {id(covers): covers for covers in joined.values()}.values():
            items = {item.id: item for cover in covers for item in self.files[SAME_IMAGE, cover]}
            ids = tuple(sorted(items))
            labels = tuple(items[i].labels for i in ids)
            kept = ids[0] if len({frozenset(names) for names in labels}) == 1 else None
            if len(ids) > 1:
                groups.append(SameCover(ids, labels, len(covers) == 1, kept))
        return tuple(sorted(groups, key=lambda group: group.ids))


def _digest(path: Path, modality: Modality) -> str:
    """Hash of a file; of a text, of its letters if there are enough."""
    own = ""
    if MODALITIES[modality].medium == "text":
        with suppress(InputError):
            own = _text_digest(read_text(path))
    return own or sha256_file(path)[:16]


def _text_digest(text: str) -> str:
    key = text_key(text)
    return hashlib.sha256(key.encode()).hexdigest()[:16] if key else ""


def audit(manifest: Manifest, *, progress: Progress = silent) -> Audit:
    """Finds artists, albums, texts, files and covers in two splits, and covers of several genres.

    A text file counts as identical to another one, or to an inline text, if its letters are.
    """
    media = _Media(manifest, MODALITIES, progress)
    near = near_pairs(media.covers)
    places = dict(media.files)
    for pair in near:
        first, second = sorted((media.files[SAME_IMAGE, c] for c in pair), key=lambda s: s[0].id)
        items = sorted((*first, *second), key=lambda item: item.id)
        places["similar cover", f"{first[0].id} ~ {second[0].id}"] = items
    ids = {key: [item.id for item in items] for key, items in places.items()}
    leaks = (*find_leaks(manifest), *leaks_among(ids, manifest.splits))
    repeats = tuple(
        f"{kind} {', '.join(ids[kind, value])}"
        for (kind, value), items in sorted(places.items())
        if len(items) > 1 and len({item.split for item in items if item.split}) <= 1
    )
    mixed = tuple(group for group in media.same_covers(near) if group.kept is None)
    notes = (*manifest_notes(manifest), *unlearned_notes(manifest))
    return Audit(leaks, repeats, tuple(media.missing), mixed, notes)


def dedupe(manifest: Manifest, *, near: bool = False, progress: Progress = silent) -> Deduped:
    """Keeps every cover once; items without a cover, or with one that cannot be read, are kept.

    Of items with the same cover and the same genres, the first by id is kept. If their genres
    differ, none is kept: it is unknown which genre the cover belongs to, and keeping one item
    would train or test against the labels of the others. An item is dropped whole, with its other
    modalities. With `near`, scaled or recompressed copies count as the same cover, too (most of
    those cropped by 1 % on each side are found, a third of those by 2 %); otherwise the bytes must
    be the same. A ManifestError if no item is left.
    """
    media = _Media(manifest, ("image",), progress)
    groups = media.same_covers(near_pairs(media.covers) if near else ())
    gone = {i for group in groups for i in group.dropped}
    if len(gone) == len(manifest):
        raise ManifestError(manifest.where, ["every cover has several genres: no item is left"])
    left = Manifest(item for item in manifest if item.id not in gone).columns
    kept = Manifest(replace(left, roots=manifest.columns.roots), where=manifest.where)
    return Deduped(kept, groups, tuple(media.missing))


def fingerprint(path: Path) -> Fingerprint | None:
    """A cover's fingerprint, or an InputError; None for a plain one, as all of these look alike."""
    picture = Image.fromarray(load_image(path, ImageInput(size_px=64)))
    grey = picture.convert("L")
    if float(np.asarray(grey, dtype=float).std()) < PLAIN_GREY_STD:
        return None
    small = np.asarray(grey.resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.BOX), dtype=int)
    bits: NDArray[np.bool_] = (small[:, 1:] > small[:, :-1]).ravel()
    thumbnail = picture.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX)
    return Fingerprint(int.from_bytes(np.packbits(bits).tobytes(), "big"), np.asarray(thumbnail))


def near_pairs(covers: Mapping[str, Fingerprint | None]) -> list[tuple[str, str]]:
    """Sorted pairs of names whose covers are the same picture; plain covers are in no pair."""
    prints = {name: cover for name, cover in sorted(covers.items()) if cover is not None}
    if not prints:
        return []
    names = list(prints)
    bits = np.array([cover.bits for cover in prints.values()], dtype=np.uint64)  # (n,)
    # Minus the mean of each channel, as a brighter copy is the same.
    thumbnails = (x.thumbnail - x.thumbnail.mean(axis=(0, 1)) for x in prints.values())
    # Of length 1, so that products are correlations: (n, 3072).
    vectors = (np.ravel(x / max(np.linalg.norm(x), 1.0)) for x in thumbnails)
    unit = np.stack([x.astype(np.float16) for x in vectors])
    found: list[tuple[str, str]] = []
    # 20 000 covers are 2e8 pairs: all their hashes are compared in about 1.5 s.
    for start in range(0, len(names), BLOCK):
        distance = np.bitwise_count(bits[start : start + BLOCK, None] ^ bits[None, start:])
        candidates = np.argwhere(np.triu(distance <= NEAR_BITS, k=1)) + start  # (n_pairs, 2)
        for pairs in np.array_split(candidates, len(candidates) // BLOCK + 1):
            x, y = unit[pairs[:, 0]], unit[pairs[:, 1]]
            correlation = np.einsum("pd,pd->p", x, y, dtype=np.float32)
            near = pairs[correlation >= NEAR_CORRELATION]
            found += [(names[a], names[b]) for a, b in near]
    return found
