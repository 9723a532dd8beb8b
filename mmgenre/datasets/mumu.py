"""MuMu: albums with 250 genres, customer reviews, covers and tracks of the Million Song Dataset.

Oramas 2018, sec. 5 (multi-label experiment); doi 10.5281/zenodo.831189.
"""

import json
import re
from bisect import insort
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, TextIO

from mmgenre.datasets import sources
from mmgenre.datasets.sources import Published, refuse
from mmgenre.errors import ManifestError
from mmgenre.items.item import SPLITS, Item, Split
from mmgenre.progress import Progress, silent

ALBUMS = "MuMu_dataset_multi-label.csv"
METADATA = "amazon_metadata_MuMu.json"
REVIEWS = "amazon_reviews_MuMu.json"
SPLIT_FILES: dict[str, Split] = {f"items_index_{s}_MuMu-albums.tsv": s for s in SPLITS}
COLUMNS = ("amazon_id", "album_mbid", "MSD_track_id", "artist_mbid", "genres")
ALBUM_ID = "amazon_id"
ALBUM_IDS = (ALBUM_ID, "amazon-id", "asin")  # the last two where the reviews were taken from
# Four times what the text input keeps by default, because all 447 583 reviews are half a gigabyte.
KEPT_CHARACTERS = 6000
CHUNK = 1 << 20  # characters of a JSON file
FILLING = re.compile(r"[ \t\r\n,]*")  # what may separate two of its records

Record = dict[str, Any]


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
    """Reads the files of MuMu: an item is an album, its id the Amazon id.

    Genres are the labels of the file, flat: an album is annotated with every genre above its own,
    so that 250 labels stay 250. The oldest reviews of an album are kept, whole, until they have
    `kept_characters`. The published splits are read if their files exist.
    """
    names = [ALBUMS, METADATA, REVIEWS]
    found = sources.find_files(folder, [*names, *SPLIT_FILES])
    card = sources.load_card("mumu")
    notes = sources.where_to_get(card, [name for name in names if name not in found], folder)
    if ALBUMS not in found:
        raise ManifestError(str(folder), notes)
    albums, genres = _read_albums(found[ALBUMS])
    if METADATA in found:
        notes += _add_metadata(albums, found[METADATA], progress)
    if REVIEWS in found:
        published = card.counts["reviews"]
        notes += _add_reviews(albums, found[REVIEWS], kept_characters, published, progress)
    splits = _read_splits(albums, {SPLIT_FILES[n]: found[n] for n in SPLIT_FILES if n in found})
    items = []
    for album_id, album in albums.items():
        artist = max(sorted(album.artists), key=album.artists.__getitem__)
        media = {"text": tuple(text for *_, text in album.reviews)} if album.reviews else {}
        extra = {"album_mbid": album.mbid, "artist_mbids": ";".join(album.artists)}
        extra["image_url"] = album.image_url
        title, split = album.title or album.mbid, splits.get(album_id)
        items.append(Item(album_id, artist, title, split, album.genres, media, extra))
    several = sum(len(album.artists) > 1 for album in albums.values())
    if several:
        notes.append(
            f"{several} albums have tracks of several artists; the most frequent is the artist, "
            "and only this one is kept out of other splits; the column artist_mbids has all"
        )
    uses = Counter(track for album in albums.values() for track in album.tracks)
    repeated = sum(n > 1 for n in uses.values())
    if repeated:
        notes.append(f"{repeated} tracks are in several albums")
    if not splits:
        notes.append(
            f"no published splits: {', '.join(SPLIT_FILES)} are in the authors' data for the "
            "experiments, beside the dataset; without them a run draws its own"
        )
    notes += [*sources.split_note(items), *sources.renamed_note(genres)]
    tracks = {album_id: tuple(album.tracks) for album_id, album in albums.items()}
    return Published(str(found[ALBUMS]), tuple(items), tuple(notes), tracks)


def _read_albums(path: Path) -> tuple[dict[str, _Album], set[str]]:
    """Albums by Amazon id, and the genres as published; a row of the table is a track."""
    albums: dict[str, _Album] = {}
    published: set[str] = set()
    faults: list[str] = []
    for line, row in sources.read_table(path, COLUMNS, delimiter=","):
        album_id, mbid, track, artist, cell = (row[name] for name in COLUMNS)
        empty = [name for name in COLUMNS if not row[name]]
        names = [name.strip() for name in cell.split(",")]
        if empty or "" in names:
            faults.append(f"line {line}: empty {', '.join(empty) or 'genre'}")
            continue
        published |= set(names)
        genres = tuple(dict.fromkeys(map(sources.flat_label, names)))
        album = albums.setdefault(album_id, _Album(line, mbid, genres))
        if (album.mbid, set(album.genres)) != (mbid, set(genres)):
            other = f"another album_mbid or other genres than in line {album.line}"
            faults.append(f"line {line}: album {album_id!r} has {other}")
        album.artists[artist] += 1
        album.tracks[track] = None
    refuse(path, faults)
    return albums, published


def _add_metadata(albums: dict[str, _Album], path: Path, progress: Progress) -> list[str]:
    others = 0
    for number, album, record in _records(albums, path):
        progress("reading metadata", number, len(albums))
        others += album is None
        if album is not None:
            album.title, album.image_url = _text(record, "title"), _text(record, "imUrl")
    progress("reading metadata", len(albums), len(albums))
    untitled = sum(not album.title for album in albums.values())
    notes = [f"{untitled} albums have no title; it is their album_mbid"] if untitled else []
    left_out = f"{path.name}: {others} records are left out; their albums are not in {ALBUMS}"
    return [*notes, left_out] if others else notes


def _add_reviews(
    albums: dict[str, _Album], path: Path, kept_characters: int, published: int, progress: Progress
) -> list[str]:
    read = empty = others = 0
    for number, album, record in _records(albums, path):
        progress("reading reviews", min(read, published), published)
        # A record is a review, or an album with a list of them.
        reviews = [record] if "reviewText" in record else record.get("reviews")
        if not isinstance(reviews, list):
            raise _fault(path, number, f"no 'reviewText'; it has {', '.join(record)}")
        for review in reviews:
            text = _text(review, "reviewText")
            read += 1
            empty += not text
            others += bool(text) and album is None
            if text and album is not None:
                time_s = review.get("unixReviewTime")
                if isinstance(time_s, bool) or not isinstance(time_s, int | float):
                    raise _fault(path, number, f"unixReviewTime: expected seconds, got {time_s!r}")
                insort(album.reviews, (float(time_s), read, text))
                # Newer ones go once the older have enough: the file is not sorted by time.
                while sum(len(r[2]) for r in album.reviews[:-1]) >= kept_characters:
                    album.reviews.pop()
    progress("reading reviews", published, published)
    kept = sum(len(album.reviews) for album in albums.values())
    without = sum(not album.reviews for album in albums.values())
    return [
        f"of {read} reviews {kept} are kept: {read - kept - empty - others} are newer than an "
        f"album's first {kept_characters} characters, {empty} have no text, {others} are of albums "
        f"that are not in {ALBUMS}; {without} of {len(albums)} albums are without text"
    ]


def _records(albums: dict[str, _Album], path: Path) -> Iterator[tuple[int, _Album | None, Record]]:
    """Each record of a file with its number and its album, if the table has that."""
    for number, record in enumerate(json_records(path, ALBUM_ID)):
        ids = (record.get(key) for key in ALBUM_IDS)
        album_id = next((i for i in ids if isinstance(i, str)), None)
        if album_id is None:
            raise _fault(path, number, f"no {ALBUM_ID!r}; it has {', '.join(record)}")
        yield number, albums.get(album_id), record


def _fault(path: Path, number: int, fault: str) -> ManifestError:
    return ManifestError(str(path), [f"record {number}: {fault}"])


def _text(record: Record, key: str) -> str:
    value = record.get(key)
    return value.strip() if isinstance(value, str) else ""


def _read_splits(albums: dict[str, _Album], files: dict[Split, Path]) -> dict[str, Split]:
    splits: dict[str, Split] = {}
    faults: list[str] = []
    for split, path in files.items():
        for album_id in sources.read_ids(path):
            if album_id not in albums:
                faults.append(f"{path.name}: {album_id!r} is no album of {ALBUMS}")
            elif album_id in splits:
                faults.append(f"{path.name}: {album_id!r} is also in {splits[album_id]}")
            splits[album_id] = split
    if faults:
        raise ManifestError(str(next(iter(files.values())).parent), faults)
    return splits


def json_records(path: Path, id_key: str) -> Iterator[Record]:
    """The records of a large JSON file: a list, JSON lines, or one object of records by id.

    A list and JSON lines are read in pieces. One object is read whole, as {id: record} or
    {id: [records]}; its ids become the records' `id_key`.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            values = _json_values(file, path)
            head = [*islice(values, 2)]
            if len(head) == 1 and isinstance(head[0], dict) and head[0]:
                entries = ((i, e if isinstance(e, list) else [e]) for i, e in head[0].items())
                pairs = [(i, record) for i, entry in entries for record in entry]
                if all(isinstance(record, dict) for _, record in pairs):
                    for i, record in pairs:
                        if record.get(id_key, i) != i:
                            fault = f"{i!r} has a record whose {id_key} is {record[id_key]!r}"
                            raise ManifestError(str(path), [fault])
                        yield {**record, id_key: i}
                    return
            for number, value in enumerate(chain(head, values)):
                if not isinstance(value, dict):
                    raise _fault(path, number, f"expected an object, got {type(value).__name__}")
                yield value
    except UnicodeDecodeError as error:
        raise ManifestError(str(path), [f"not UTF-8: {error}"]) from None


def _json_values(file: TextIO, path: Path) -> Iterator[Any]:
    """The values of a list, or of a sequence of values, decoded as the file is read."""
    decoder = json.JSONDecoder()
    text, at = "", 0  # the characters in memory, and how many of them are decoded
    before = 0  # characters that were decoded earlier
    inside: bool | None = None  # whether in a list; None until the first character
    while True:
        at = FILLING.match(text, at).end()  # type: ignore[union-attr]  # always matches
        if inside is None and at < len(text):
            inside = text[at] == "["
            at += inside
            continue
        if inside and text.startswith("]", at):
            return
        try:
            value, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            ended = "it ends in the middle of a list" if inside else ""
            fault = error.msg if at < len(text) else ended
        else:
            yield value
            continue
        # Reading as much again as is in memory keeps the work linear for records of any size.
        more = file.read(max(CHUNK, len(text) - at))
        if not more:
            refuse(path, [f"not JSON from character {before + at} on: {fault}"] if fault else [])
            return
        before += at
        text, at = text[at:] + more, 0
