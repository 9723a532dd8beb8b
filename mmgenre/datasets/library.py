"""A folder of tagged music, as people have it, as a manifest."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from mmgenre.datasets.layouts import By
from mmgenre.datasets.lyrics import without_times
from mmgenre.datasets.music_folder import MusicFolder, album_folder, look_into
from mmgenre.datasets.sources import (
    Fault,
    Published,
    flat_label,
    id_of_path,
    refuse,
    renamed_note,
)
from mmgenre.datasets.tags import Tags, TagsError, one_line, read_tags
from mmgenre.disk.files import replacing
from mmgenre.errors import InputError
from mmgenre.items.item import LIST_SEPARATOR, Item, Media
from mmgenre.items.modalities import SUFFIXES
from mmgenre.items.names import album_key, artist_of, fold
from mmgenre.progress import Progress, silent
from mmgenre.text.decoding import read_text

SEPARATORS = ";"  # between the genres of one tag; others belong to names, as in Pop/Rock
DOUBTFUL_SEPARATORS = ",/|\\"
VARIOUS = "Various Artists"
# "Album (Disc 1)", "Album [CD 2]", "Album - cd1"
DISC_OF_ALBUM = re.compile(r"\s*[-,:(\[]*\s*\b(?:cd|disc|disk)\s*\d{1,2}\s*[)\]]?$", re.IGNORECASE)
PICTURES: Mapping[str, bytes] = {  # suffix -> how such a file begins
    ".jpg": b"\xff\xd8\xff",
    ".png": b"\x89PNG\r\n",
    ".gif": b"GIF8",
    ".webp": b"RIFF",
    ".bmp": b"BM",
    ".tif": b"II*\0",
    ".tiff": b"MM\0*",
}


@dataclass(frozen=True)
class Track:
    """A file, its tags, and what belongs to it."""

    path: Path
    tags: Tags
    cover: Path | None  # that was embedded
    lyrics: Path | str | None

    @property
    def album(self) -> str:
        """The album without the number of a disc."""
        return DISC_OF_ALBUM.sub("", self.tags.album) or self.tags.album

    @property
    def artist(self) -> str:
        """The album's artist, so that an album stays whole; of a compilation, the track's."""
        own = self.tags.album_artist
        return own if own and artist_of(own).whole else self.tags.artist


def read_library(
    folder: Path,
    *,
    covers: Path,
    by: By = "track",
    separators: str = SEPARATORS,
    progress: Progress = silent,
) -> Published:
    """Reads the tags of all audio files of a folder and its subfolders, with mutagen.

    Labels are the genres of the tags, all values, divided at any of the characters `separators`.
    An item is a track, or an album (`by`): the tracks of one album tag in one folder, with those in
    folders of discs (`CD1/`, `Disc 2/`) below it; a track without an album is an item of its own.
    Embedded covers are written into the folder `covers`, named by the hash of their content; where
    there is none, `cover.*`, `folder.*` or `front.*` in the track's folder is taken. Texts are
    lyrics: of the tags, else `.lrc` or `.txt` of the track's name beside it; for albums also
    `review.txt`. Items without a genre are kept: nothing learns from them.

    No file ends the reading: what cannot be read is a `Fault`. A ManifestError if the folder has no
    audio file at all, or is not there.
    """
    music = look_into(folder)
    if not music.tracks:
        fault = f"no audio file; suffixes are {', '.join(sorted(SUFFIXES['audio']))}"
        refuse(folder, [fault, *(f"{n} file(s) {s}" for s, n in music.others.most_common(5))])
    faults = list(music.faults)
    tracks: list[Track] = []
    for number, path in enumerate(music.tracks):
        progress("reading tags", number, len(music.tracks))
        if (track := _track(path, music, covers, faults)) is not None:
            tracks.append(track)
    progress("reading tags", len(music.tracks), len(music.tracks))
    shared = _folders_of_several_albums(tracks)
    make = _items_of_albums if by == "album" else _items_of_tracks
    items = tuple(make(tracks, music, shared, _divide(separators)))
    if not items:
        refuse(folder, [f"{fault.path}: {fault.reason}: {fault.detail}" for fault in faults])
    return Published(
        str(folder), items, tuple(_notes(music, tracks, items, shared)), faults=tuple(faults)
    )


def _track(path: Path, music: MusicFolder, covers: Path, faults: list[Fault]) -> Track | None:
    """A track with all that can be read of it; None if there is nothing in the file."""
    tags = Tags()
    try:
        if not path.stat().st_size:
            faults.append(Fault(str(path), "empty file", "0 bytes; left out"))
            return None
        tags = read_tags(path)
    except TagsError as error:
        faults.append(Fault(str(path), "tags cannot be read", f"{error}; kept without tags"))
    except OSError as error:
        faults.append(Fault(str(path), "file cannot be read", f"{error.strerror}; left out"))
        return None
    cover = None
    if tags.picture:
        suffix = _suffix(tags.picture)
        if suffix is None:
            detail = f"{len(tags.picture):,} bytes of no format that is known; left out"
            faults.append(Fault(str(path), "embedded cover is no picture", detail))
        else:
            cover = _kept(tags.picture, covers, suffix)
    return Track(path, _without_picture(tags), cover, _lyrics(path, tags, music, faults))


def _without_picture(tags: Tags) -> Tags:
    """Pictures of a million tracks would not fit into memory; lyrics are kept once."""
    return Tags(**{**vars(tags), "picture": None, "lyrics": ""})


def _suffix(picture: bytes) -> str | None:
    return next((s for s, start in PICTURES.items() if picture.startswith(start)), None)


def _kept(picture: bytes, covers: Path, suffix: str) -> Path:
    """Where a picture is kept; that of an album, which all of its tracks have, once."""
    path = covers / f"{hashlib.sha256(picture).hexdigest()[:32]}{suffix}"
    if not path.is_file():
        covers.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(picture)
    return path


def _lyrics(path: Path, tags: Tags, music: MusicFolder, faults: list[Fault]) -> Path | str | None:
    """The lyrics of the tags, of an .lrc or of a .txt beside the track."""
    if text := without_times(tags.lyrics).replace("\0", ""):
        return text
    if (timed := music.text(path, ".lrc")) is not None:
        try:
            if text := without_times(read_text(timed)):
                return text
        except InputError as error:
            faults.append(Fault(str(timed), "lyrics cannot be read", error.detail))
    return music.text(path, ".txt")


def _divide(separators: str) -> Callable[[Iterable[str]], tuple[str, ...]]:
    """What makes labels of the values of a genre tag."""
    signs = re.compile(f"[{re.escape(separators + LIST_SEPARATOR)}]")

    def labels(values: Iterable[str]) -> tuple[str, ...]:
        parts = chain.from_iterable(signs.split(value) for value in values)
        return tuple(dict.fromkeys(flat_label(name) for part in parts if (name := one_line(part))))

    return labels


def _folders_of_several_albums(tracks: Sequence[Track]) -> frozenset[Path]:
    """Folders whose tracks are of several albums: a cover there is not that of each."""
    albums: dict[Path, set[str]] = {}
    for track in tracks:
        albums.setdefault(track.path.parent, set()).add(album_key(track.album))
    return frozenset(folder for folder, names in albums.items() if len(names) > 1)


def _cover(track: Track, music: MusicFolder, shared: frozenset[Path]) -> Path | None:
    folder = track.path.parent
    return track.cover or (None if folder in shared else music.cover(folder))


def _id(path: Path, music: MusicFolder) -> str:
    return id_of_path(path.relative_to(music.root).as_posix())


def _items_of_tracks(
    tracks: Sequence[Track],
    music: MusicFolder,
    shared: frozenset[Path],
    labels: Callable[[Iterable[str]], tuple[str, ...]],
) -> Iterator[Item]:
    for track in tracks:
        tags = track.tags
        media: dict[str, Media] = {"audio": (track.path,)}
        if (cover := _cover(track, music, shared)) is not None:
            media["image"] = (cover,)
        if track.lyrics is not None:
            media["text"] = (track.lyrics,)
        extra = _extra(tags)
        extra |= {"title": tags.title} if tags.title else {}
        if tags.artist and fold(tags.artist) != fold(track.artist):
            extra["track_artist"] = tags.artist
        if tags.album_artist and fold(tags.album_artist) != fold(track.artist):
            extra["album_artist"] = tags.album_artist
        extra |= {"disc": str(tags.disc)} if tags.disc is not None else {}
        extra |= {"track": str(tags.track)} if tags.track is not None else {}
        own = labels(tags.genres)
        yield Item(_id(track.path, music), track.artist, track.album, None, own, media, extra)


def _extra(tags: Tags, *, is_album: bool = False) -> dict[str, str]:
    found = {"year": tags.year, "language": tags.language, **(tags.mbids or {})}
    of_track = ("recording_mbid", "isrc") if is_album else ()
    return {name: value for name, value in found.items() if value and name not in of_track}


def _items_of_albums(
    tracks: Sequence[Track],
    music: MusicFolder,
    shared: frozenset[Path],
    labels: Callable[[Iterable[str]], tuple[str, ...]],
) -> Iterator[Item]:
    albums: dict[tuple[Path, str], list[Track]] = {}
    for track in tracks:
        key = album_key(track.album)
        place = album_folder(track.path.parent) if key else track.path
        albums.setdefault((place, key), []).append(track)
    in_folder = Counter(place for place, _ in albums)
    taken: set[str] = set()
    for (place, key), own in albums.items():
        own.sort(key=_order)
        item_id = _id(place, music)
        if key and (in_folder[place] > 1 or place == music.root):
            named = one_line(own[0].album).replace(LIST_SEPARATOR, ",")
            item_id = id_of_path("/".join([*place.relative_to(music.root).parts, named]))
        while item_id in taken:  # a folder below has the name of an album here
            item_id += " (album)"
        taken.add(item_id)
        counted = Counter(name for track in own for name in labels(track.tags.genres))
        media: dict[str, Media] = {"audio": tuple(track.path for track in own)}
        covers = (cover for t in own if (cover := _cover(t, music, shared)) is not None)
        if (cover := next(covers, None)) is not None:
            media["image"] = (cover,)
        review = music.review(place)
        texts = dict.fromkeys([review, *(track.lyrics for track in own)])
        if words := tuple(text for text in texts if text is not None):
            media["text"] = words
        extra: dict[str, str] = {}
        for track in reversed(own):
            extra |= _extra(track.tags, is_album=True)
        names = tuple(name for name, _ in counted.most_common())
        yield Item(item_id, _artist_of_album(own), own[0].album, None, names, media, extra)


def _order(track: Track) -> tuple[int, str, int, Path]:
    """By disc, its folder, number and name."""
    folder = track.path.parent
    disc = "" if album_folder(folder) == folder else folder.name.lower()
    return track.tags.disc or 0, disc, track.tags.track or 0, track.path


def _artist_of_album(own: Sequence[Track]) -> str:
    """What the tracks agree on, else Various Artists, which binds nothing."""
    names = {artist_of(track.artist).whole: track.artist for track in own if track.artist}
    if len(names) == 1:
        return next(track.artist for track in own if track.artist)
    return VARIOUS if names else ""


def _notes(
    music: MusicFolder,
    tracks: Sequence[Track],
    items: Sequence[Item],
    shared: frozenset[Path],
) -> Iterator[str]:
    def without(n: int, what: str) -> list[str]:
        return [f"{n} of {len(items)} items are without {what}"] if n else []

    yield from without(sum(not item.artist for item in items), "an artist")
    yield from without(sum("image" not in item.media for item in items), "a cover")
    yield from without(sum("text" not in item.media for item in items), "a text")
    unused = [folder for folder in sorted(shared) if music.cover(folder) is not None]
    if unused:
        yield (
            f"the covers of {len(unused)} folder(s) are left out, as their tracks are of several "
            f"albums (first: {str(unused[0])!r})"
        )
    values = sorted({value for track in tracks for value in track.tags.genres})
    for sign in DOUBTFUL_SEPARATORS:
        holding = [value for value in values if sign in value]
        if holding:
            yield (
                f"{len(holding)} genre(s) contain {sign!r} (first: {holding[0]!r}); if it "
                f"separates genres: --separators '{SEPARATORS}{sign}'"
            )
    yield from renamed_note(values)
    if music.n_hidden:
        yield f"{music.n_hidden} hidden file(s) or folder(s) are left out"
    if music.others:
        counts = ", ".join(f"{n} {suffix}" for suffix, n in music.others.most_common(8))
        yield f"{music.others.total()} other file(s) are left out: {counts}"
