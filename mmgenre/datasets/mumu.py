"""MuMu: albums with 250 genres, customer reviews, covers and tracks of the Million Song Dataset.

Oramas 2018, sec. 5.2 (multi-label experiment); doi 10.5281/zenodo.831189.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmgenre.datasets.cards import load_card, where_to_get
from mmgenre.datasets.json_records import Record, json_records
from mmgenre.datasets.layout import (
    Published,
    find_files,
    flat_label,
    read_ids,
    read_table,
    renamed_note,
    split_note,
)
from mmgenre.errors import ManifestError
from mmgenre.items.manifest import SPLITS, Item, Modality, Split
from mmgenre.progress import Progress, silent

ALBUMS = "MuMu_dataset_multi-label.csv"
METADATA = "amazon_metadata_MuMu.json"
REVIEWS = "amazon_reviews_MuMu.json"
SPLIT_FILES: dict[str, Split] = {f"items_index_{s}_MuMu-albums.tsv": s for s in SPLITS}
COLUMNS = ("amazon_id", "album_mbid", "MSD_track_id", "artist_mbid", "genres")
ALBUM_ID = "amazon_id"
OTHER_ALBUM_IDS = ("amazon-id", "asin")  # in the datasets that MuMu's reviews were taken from
# Four times what the text input keeps by default, since all 447 583 reviews are half a gigabyte.
KEPT_CHARACTERS = 6000


@dataclass
class _Album:
    line: int
    mbid: str
    genres: tuple[str, ...]
    artists: Counter[str] = field(default_factory=Counter)
    tracks: dict[str, None] = field(default_factory=dict)  # a set that keeps the order
    title: str = ""
    image_url: str = ""
    reviews: list[tuple[float, int, str]] = field(default_factory=list)  # time, place in file, text


def read_mumu(
    folder: Path, *, kept_characters: int = KEPT_CHARACTERS, progress: Progress = silent
) -> Published:
    """Reads MuMu's files: an item is an album, known by its Amazon id.

    Genres are the labels as the file has them, flat: an album is annotated with every genre above
    its own, so that 250 labels stay 250. Of an album's reviews, the oldest are kept, whole, until
    they have `kept_characters`. The published splits are read if their files are there.

    Raises:
        ManifestError: the table of albums is not there, or a file is broken; lists every fault.
    """
    names = [ALBUMS, METADATA, REVIEWS]
    found = find_files(folder, [*names, *SPLIT_FILES])
    card = load_card("mumu")
    if ALBUMS not in found:
        missing = [name for name in names if name not in found]
        raise ManifestError(str(folder), where_to_get(card, missing, folder))
    albums, genres = _read_albums(found[ALBUMS])
    notes = where_to_get(card, [n for n in names if n not in found], folder)
    if METADATA in found:
        notes += _add_metadata(albums, found[METADATA], progress)
    if REVIEWS in found:
        published = card.counts["reviews"]
        notes += _add_reviews(albums, found[REVIEWS], kept_characters, published, progress)
    splits = _read_splits(albums, {SPLIT_FILES[n]: found[n] for n in SPLIT_FILES if n in found})
    items = tuple(_item(album_id, album, splits) for album_id, album in albums.items())
    several = sum(len(album.artists) > 1 for album in albums.values())
    if several:
        notes.append(
            f"{several} albums have tracks of several artists; the most frequent stands as artist, "
            "and splits keep only that one apart; the column artist_mbids has all"
        )
    shared = Counter(track for album in albums.values() for track in album.tracks)
    repeated = sum(n > 1 for n in shared.values())
    if repeated:
        notes.append(f"{repeated} tracks are in several albums")
    if not splits:
        notes.append(
            f"no published splits: {', '.join(SPLIT_FILES)} are in the authors' data for the "
            "experiments, beside the dataset; without them a run draws its own"
        )
    notes += [*split_note(items), *renamed_note(genres)]
    tracks = {album_id: tuple(album.tracks) for album_id, album in albums.items()}
    return Published(str(found[ALBUMS]), items, tuple(notes), tracks)


def _item(album_id: str, album: _Album, splits: dict[str, Split]) -> Item:
    texts = tuple(text for _, _, text in album.reviews)
    media: dict[Modality, tuple[Path | str, ...]] = {"text": texts} if texts else {}
    return Item(
        album_id,
        artist=min(album.artists, key=lambda artist: (-album.artists[artist], artist)),
        album=album.title or album.mbid,
        split=splits.get(album_id),
        labels=album.genres,
        media=media,
        extra={
            "album_mbid": album.mbid,
            "artist_mbids": ";".join(album.artists),
            "image_url": album.image_url,
        },
    )


def _read_albums(path: Path) -> tuple[dict[str, _Album], set[str]]:
    """Albums by Amazon id, and the genres as published; a row of the table is a track."""
    albums: dict[str, _Album] = {}
    published: set[str] = set()
    faults: list[str] = []
    for line, row in read_table(path, COLUMNS, delimiter=","):
        empty = [name for name in COLUMNS if not row[name]]
        names = [name.strip() for name in row["genres"].split(",")]
        if empty or "" in names:
            faults.append(f"line {line}: empty {', '.join(empty) or 'genre'}")
            continue
        published |= set(names)
        genres = tuple(dict.fromkeys(map(flat_label, names)))
        album = albums.setdefault(row[ALBUM_ID], _Album(line, row["album_mbid"], genres))
        if (album.mbid, set(album.genres)) != (row["album_mbid"], set(genres)):
            faults.append(
                f"line {line}: album {row[ALBUM_ID]!r} has another album_mbid or other genres than "
                f"in line {album.line}"
            )
        album.artists[row["artist_mbid"]] += 1
        album.tracks[row["MSD_track_id"]] = None
    if faults:
        raise ManifestError(str(path), faults)
    return albums, published


def _add_metadata(albums: dict[str, _Album], path: Path, progress: Progress) -> list[str]:
    others = 0
    for number, record in enumerate(json_records(path, ALBUM_ID)):
        progress("reading metadata", number, len(albums))
        album = albums.get(_album_id(record, number, path))
        if album is None:
            others += 1
            continue
        album.title = _text(record.get("title"))
        album.image_url = _text(record.get("imUrl"))
    progress("reading metadata", len(albums), len(albums))
    untitled = sum(not album.title for album in albums.values())
    notes = [f"{untitled} albums have no title; their album_mbid stands for it"] if untitled else []
    if others:
        notes.append(f"{path.name}: {others} records of albums that {ALBUMS} lacks are left out")
    return notes


def _add_reviews(
    albums: dict[str, _Album], path: Path, kept_characters: int, published: int, progress: Progress
) -> list[str]:
    read = empty = others = 0
    for number, record in enumerate(json_records(path, ALBUM_ID)):
        progress("reading reviews", min(read, published), published)
        album = albums.get(_album_id(record, number, path))
        for review in _reviews(record, number, path):
            text = _text(review.get("reviewText"))
            read += 1
            empty += not text
            others += bool(text) and album is None
            if text and album is not None:
                insort(album.reviews, (_time(review, number, path), read, text))
                # Newer ones go once the older have enough: the file is not in order of time.
                while sum(len(r[2]) for r in album.reviews[:-1]) >= kept_characters:
                    album.reviews.pop()
    progress("reading reviews", published, published)
    kept = sum(len(album.reviews) for album in albums.values())
    without = sum(not album.reviews for album in albums.values())
    left_out = read - kept - empty - others
    return [
        f"of {read} reviews {kept} are kept: {left_out} are newer than an album's first "
        f"{kept_characters} characters, {empty} have no text, {others} are of albums that {ALBUMS} "
        f"lacks; {without} of {len(albums)} albums are without text"
    ]


def _reviews(record: Record, number: int, path: Path) -> Iterator[Record]:
    """The reviews of a record: it is one, or an album with a list of them."""
    if "reviewText" in record:
        yield record
    elif isinstance(record.get("reviews"), list):
        yield from record["reviews"]
    else:
        fault = f"record {number}: no 'reviewText'; has {', '.join(record)}"
        raise ManifestError(str(path), [fault])


def _album_id(record: Record, number: int, path: Path) -> str:
    for key in (ALBUM_ID, *OTHER_ALBUM_IDS):
        if isinstance(record.get(key), str):
            return str(record[key])
    raise ManifestError(str(path), [f"record {number}: no {ALBUM_ID!r}; has {', '.join(record)}"])


def _time(review: Record, number: int, path: Path) -> float:
    time = review.get("unixReviewTime")
    if isinstance(time, bool) or not isinstance(time, int | float):
        fault = f"record {number}: unixReviewTime: wants seconds, got {time!r}"
        raise ManifestError(str(path), [fault])
    return float(time)


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _read_splits(albums: dict[str, _Album], files: dict[Split, Path]) -> dict[str, Split]:
    """Splits by Amazon id."""
    splits: dict[str, Split] = {}
    faults: list[str] = []
    for split, path in files.items():
        for album_id in read_ids(path):
            if album_id not in albums:
                faults.append(f"{path.name}: {album_id!r} is no album of {ALBUMS}")
            elif album_id in splits:
                faults.append(f"{path.name}: {album_id!r} is in {splits[album_id]}, too")
            splits[album_id] = split
    if faults:
        raise ManifestError(str(next(iter(files.values())).parent), faults)
    return splits
