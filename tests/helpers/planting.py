"""Twins that are planted among real covers and tracks, and how many of them are found."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edits import CoverEdit, SoundEdit, in_first_half
from scipy.cluster.hierarchy import DisjointSet

from mmgenre.datasets.media import Key, Media
from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.progress import silent

# Looked at and listened to: the same picture or recording under two names.
TRUE_TWINS = {
    *(("n736cca5d27", "pdd1c8c619b"), ("MT0002161109", "MT0033415296")),
    ("n45cf1299dc", "pd6f69d5892"),
    *(("n2ada7886d9", "p0478e4c67d"), ("n395e923862", "p38c3fac84d")),
    *(("n3c6f4c9cc9", "pb154b5cae6"), ("n3cda855878", "pe32551f6a7")),
    *(("n454e3f4a57", "p390977739f"), ("n4a97108538", "p4fcd67651a")),
    *(("n4aaab64cc9", "pa0286e85e1"), ("n57294a510d", "pd9e990b6ec")),
    *(("n58ca591574", "pd81c4b84b4"), ("n62b5db0779", "p00a7f250d8")),
    *(("n641ee91944", "p87226b0374"), ("n8668740946", "pd5a83c5925")),
    *(("n889b910283", "p0f46872820"), ("n93f23b82c8", "pbac7e6daa9")),
    *(("n9a21e6a0ed", "p9d4908d534"), ("na0d22adeb0", "p5855e6f091")),
    *(("nbe61e6f7d0", "p8d2a5f4dad"), ("nd00eb5e3e2", "p1fc857a0c3")),
    *(("nde5f52572f", "pcba04d1a95"), ("nf4da3248e1", "pe1a8bf32b6")),
    *(("nfaf6851bd2", "pbdac38233d"), ("shearer-69", "shearer-stay-with-me")),
    ("jonathan-coulton-furry-old-lobster", "jonathan-coulton-shop-vac"),
}


@dataclass(frozen=True)
class Planted:
    kind: str
    source: Path
    twin: Path


@dataclass(frozen=True)
class Found:
    """Which of the planted twins were found, and which items were paired that are different."""

    planted: Sequence[Planted]
    hits: Sequence[bool]
    wrong: Sequence[tuple[str, str]]
    n_items: int

    def share(self, *, first_half: bool) -> float:
        """Of those whose item and edit are both of one half."""
        hits = [
            hit
            for one, hit in zip(self.planted, self.hits, strict=True)
            if in_first_half(one.source.stem) == in_first_half(one.kind) == first_half
        ]
        assert len(hits) >= 10
        return sum(hits) / len(hits)

    @property
    def wrong_share(self) -> float:
        return len({name for pair in self.wrong for name in pair}) / self.n_items

    def __str__(self) -> str:
        missed = [one for one, hit in zip(self.planted, self.hits, strict=True) if not hit]
        lines = [f"missed: {one.kind} of {one.source.stem}" for one in missed]
        lines += [f"wrong: {a} and {b}" for a, b in self.wrong]
        return "\n".join([*lines, f"{sum(self.hits)} of {len(self.hits)} found"])


def plant(
    edits: Mapping[str, CoverEdit] | Mapping[str, SoundEdit],
    sources: Sequence[Path],
    folder: Path,
    n_each: int,
) -> list[Planted]:
    """Twins of `n_each` sources for each edit."""
    made: list[Planted] = []
    for kind, edit in edits.items():
        for k in range(n_each):
            source = sources[zlib.crc32(f"{kind} {k}".encode()) % len(sources)]
            target = folder / f"{len(made):03}"
            made.append(Planted(kind, source, edit(source, target)))
    return made


def opened(planted: Sequence[Planted], sources: Sequence[Path], modality: str) -> Media:
    """The sources, and then the twins, as items that are named by their position."""
    paths = [*sources, *(one.twin for one in planted)]
    items = [Item(f"{k}", media={modality: (path,)}) for k, path in enumerate(paths)]
    return Media(Manifest(items), (modality,), silent)


def find(planted: Sequence[Planted], sources: Sequence[Path], modality: str) -> Found:
    """What `manifest check` finds among the sources and the twins."""
    media = opened(planted, sources, modality)
    return judged(planted, sources, media, media.near(modality))


def judged(
    planted: Sequence[Planted],
    sources: Sequence[Path],
    media: Media,
    near: Iterable[tuple[Key, Key]],
) -> Found:
    """Which of the pairs that were found are right, and what is missing."""
    contents = {key: [int(item.id) for item in found] for key, found in media.files.items()}
    place = {path: k for k, path in enumerate(sources)}
    origin = [*place.values(), *(place[one.source] for one in planted)]
    named = {source.stem: k for k, source in enumerate(sources)}
    known, joined = DisjointSet(range(len(sources))), DisjointSet(range(len(origin)))
    for first, *others in contents.values():  # of identical bytes
        for other in others:
            known.merge(origin[first], origin[other])
            joined.merge(first, other)
    for one_name, other_name in TRUE_TWINS:
        if one_name in named and other_name in named:
            known.merge(named[one_name], named[other_name])
    wrong = []
    for pair in near:
        a, b = (contents[key][0] for key in pair)
        joined.merge(a, b)
        if not known.connected(origin[a], origin[b]):
            wrong.append((sources[origin[a]].stem, sources[origin[b]].stem))
    hits = [joined.connected(place[one.source], len(sources) + k) for k, one in enumerate(planted)]
    return Found(planted, hits, wrong, len(origin))


def covers_of(real_data: Path) -> list[Path]:
    return sorted([*real_data.glob("real/covers/*"), *real_data.glob("dev/media/*/*.jpg")])


def tracks_of(real_data: Path) -> list[Path]:
    silent_one = "supertropica-odisea-carnavalera"
    found = [*real_data.glob("real/audio/*"), *real_data.glob("dev/media/allmusic/*")]
    return sorted(path for path in found if path.stem != silent_one)
