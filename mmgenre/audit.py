"""Leakage that names do not show: identical files and near-identical covers across splits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmgenre.errors import InputError, Refusal
from mmgenre.inputs.image import ImageInput, load_image
from mmgenre.manifest import MODALITIES, Item, Manifest
from mmgenre.progress import Progress, silent
from mmgenre.provenance import sha256_file
from mmgenre.splits import Leak, find_leaks, leaks_among

HASH_SIDE = 8  # difference hash of 8 x 8 bits
NEAR_BITS = 3  # covers whose hashes differ in no more are the same picture
# Below this spread of grey values a cover is plain, and its hash says nothing.
PLAIN_GREY_STD = 4.0


@dataclass(frozen=True)
class Audit:
    """What `manifest check` found.

    `leaks` reach over splits and spoil figures; `repeats` stay within one split or stand in a
    manifest without splits: worth knowing, harmless. `missing` are files that cannot be read.
    """

    leaks: tuple[Leak, ...]
    repeats: tuple[str, ...]
    missing: tuple[Refusal, ...]


def audit(manifest: Manifest, *, progress: Progress = silent) -> Audit:
    """Looks for anything that stands in two splits: artists, albums, files, covers."""
    files: dict[tuple[str, str], list[Item]] = {}
    covers: dict[str, int] = {}
    missing: list[Refusal] = []
    for number, item in enumerate(manifest):
        progress("checking media", number, len(manifest))
        for modality, path in _files(item):
            try:
                files.setdefault((f"identical {modality}", sha256_file(path)[:16]), []).append(item)
                if modality == "image" and (bits := difference_hash(path)) is not None:
                    covers[item.id] = bits
            except OSError as error:
                detail = f"{path}: {error.strerror}"
                missing.append(Refusal(item.id, modality, "missing", detail))
            except InputError as error:
                missing.append(Refusal(item.id, "image", error.code, str(error)))
    progress("checking media", len(manifest), len(manifest))
    identical = {
        pair
        for (kind, _), items in files.items()
        if kind == "identical image"
        for pair in _pairs(items)
    }
    similar = {
        ("similar cover", f"{a} ~ {b}"): [manifest[a], manifest[b]]
        for a, b in near_pairs(covers)
        if (a, b) not in identical
    }
    places = files | similar
    leaks = (*find_leaks(manifest), *leaks_among(places))
    repeats = tuple(
        f"{kind} {', '.join(item.id for item in items)}"
        for (kind, _), items in sorted(places.items())
        if len(items) > 1 and len({item.split for item in items if item.split}) <= 1
    )
    return Audit(leaks, repeats, tuple(missing))


def _files(item: Item) -> Iterator[tuple[str, Path]]:
    for modality in MODALITIES:
        for source in item.media.get(modality, ()):
            if isinstance(source, Path):
                yield modality, source


def _pairs(items: Iterable[Item]) -> Iterator[tuple[str, str]]:
    return combinations(sorted({item.id for item in items}), 2)


def difference_hash(path: Path) -> int | None:
    """64 bits: for 8 x 8 places of a cover, whether its right neighbour is brighter.

    None for a plain cover. Scaling, recompression and small changes of colour leave it as it is.

    Raises:
        InputError: the cover cannot be read.
    """
    pixels = load_image(path, ImageInput(size_px=64))
    grey = Image.fromarray(pixels).convert("L")
    if float(np.asarray(grey, dtype=float).std()) < PLAIN_GREY_STD:
        return None
    small = np.asarray(grey.resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.BOX), dtype=int)
    bits: NDArray[np.bool_] = (small[:, 1:] > small[:, :-1]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def near_pairs(hashes: dict[str, int]) -> set[tuple[str, str]]:
    """Pairs of ids whose hashes differ in at most `NEAR_BITS` bits.

    Cut into NEAR_BITS + 1 bands, two such hashes agree in at least one band whole, so only ids
    that share a band are compared.
    """
    bands = NEAR_BITS + 1
    width = HASH_SIDE * HASH_SIDE // bands
    buckets: dict[tuple[int, int], list[str]] = {}
    for item_id, bits in sorted(hashes.items()):
        for band in range(bands):
            value = bits >> (band * width) & ((1 << width) - 1)
            buckets.setdefault((band, value), []).append(item_id)
    return {
        (a, b)
        for ids in buckets.values()
        for a, b in combinations(ids, 2)
        if (hashes[a] ^ hashes[b]).bit_count() <= NEAR_BITS
    }
