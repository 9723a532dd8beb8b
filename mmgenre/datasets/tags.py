"""What the tags of an audio file say of it, whatever family they are of.

ID3 (MP3, AIFF, WAV), Vorbis comments (FLAC, Ogg, Opus), MP4, ASF (WMA) and APEv2 have names of
their own for the same things: `NAMES` is the one table of them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import category

import mutagen
from mutagen.flac import Picture

# Fields, and what they are called, in lower case. The first name that a file has counts.
NAMES: Mapping[str, Sequence[str]] = {
    "artist": ("artist", "tpe1", "©art", "author"),
    "album_artist": ("albumartist", "album artist", "tpe2", "aart", "wm/albumartist"),
    "album": ("album", "talb", "©alb", "wm/albumtitle"),
    "title": ("title", "tit2", "©nam"),
    "genre": ("genre", "tcon", "©gen", "wm/genre"),
    "date": ("originaldate", "tdor", "date", "tdrc", "©day", "wm/year", "year"),
    "language": ("language", "tlan", "wm/language"),
    "disc": ("discnumber", "disc", "tpos", "disk", "wm/partofset"),
    "track": ("tracknumber", "track", "trck", "trkn", "wm/tracknumber"),
    "compilation": ("compilation", "tcmp", "cpil", "wm/iscompilation"),
    "lyrics": (
        *("lyrics", "unsyncedlyrics", "unsynced lyrics", "uslt", "©lyr", "wm/lyrics"),
        *("syncedlyrics", "sylt", "wm/lyrics_synchronised"),
    ),
    "recording_mbid": (
        *("musicbrainz_trackid", "musicbrainz track id", "musicbrainz/track id"),
        "http://musicbrainz.org",
    ),
    "release_mbid": ("musicbrainz_albumid", "musicbrainz album id", "musicbrainz/album id"),
    "artist_mbid": ("musicbrainz_artistid", "musicbrainz artist id", "musicbrainz/artist id"),
    "isrc": ("isrc", "tsrc", "wm/isrc"),
}
PICTURES = ("apic", "covr", "wm/picture", "metadata_block_picture", "coverart", "cover art (front)")
FRONT_COVER = 3  # of the picture types that ID3, FLAC and ASF share
ITUNES = "----:com.apple.itunes:"
YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")


class TagsError(Exception):
    """The tags of a file cannot be read."""


@dataclass(frozen=True)
class Tags:
    """What a file says of itself; "", () and None for what it does not say."""

    artist: str = ""
    album_artist: str = ""
    album: str = ""
    title: str = ""
    genres: tuple[str, ...] = ()  # as they stand there, unseparated
    year: str = ""
    language: str = ""
    disc: int | None = None
    track: int | None = None
    is_compilation: bool = False
    lyrics: str = ""
    mbids: Mapping[str, str] | None = None  # MusicBrainz ids and ISRC by the names of `NAMES`
    picture: bytes | None = None  # the front cover, else the first picture


def read_tags(path: Path) -> Tags:
    """The tags of a file; those of a file without any are empty.

    TagsError if mutagen cannot read them, OSError if the file cannot be opened.
    """
    with path.open("rb") as file:
        file.read(1)
    try:
        found = mutagen.File(path)
        texts, pictures = _texts(found), list(_pictures(found))
    # Whatever a damaged file makes a parser do: struct.error, IndexError, RecursionError, ...
    except Exception as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        raise TagsError(detail.removeprefix(f"{path}: ")) from None

    def of(field: str) -> list[str]:
        return next((texts[name] for name in NAMES[field] if texts.get(name)), [])

    def plain(field: str) -> str:
        return "; ".join(filter(None, map(one_line, of(field))))

    year = YEAR.search(plain("date"))
    ids = {field: plain(field) for field in (*(n for n in NAMES if n.endswith("_mbid")), "isrc")}
    return Tags(
        artist=plain("artist"),
        album_artist=plain("album_artist"),
        album=plain("album"),
        title=plain("title"),
        genres=tuple(filter(None, map(one_line, of("genre")))),
        year=year.group() if year else "",
        language=plain("language"),
        disc=_number(plain("disc")),
        track=_number(plain("track")),
        is_compilation=plain("compilation").lower() in ("1", "true"),
        lyrics="\n".join(text.replace("\r\n", "\n").replace("\r", "\n") for text in of("lyrics")),
        mbids={field: value for field, value in ids.items() if value},
        picture=min(pictures, key=lambda p: p[0] != FRONT_COVER)[1] if pictures else None,
    )


def one_line(text: str) -> str:
    r"""A text without line breaks, control characters and spaces around it.

    >>> one_line(" Hip\u0000 Hop\n")
    'Hip Hop'
    """
    return " ".join("".join(c if category(c)[0] != "C" else " " for c in text).split())


def _number(text: str) -> int | None:
    """`2/10` -> 2."""
    found = re.match(r"\d{1,6}", text)
    return int(found.group()) if found else None


def _texts(found: Any) -> dict[str, list[str]]:
    """The texts of all tags by their names in lower case."""
    texts: dict[str, list[str]] = {}
    for key, value in _pairs(found):
        own = [_text(part) for part in (value if isinstance(value, list | tuple) else [value])]
        texts.setdefault(key.lower(), []).extend(text for text in own if text.strip())
    return texts


def _text(part: Any) -> str:
    if isinstance(part, bytes):
        return part.decode("utf-8", errors="replace")
    if isinstance(part, tuple):  # of MP4: number, how many
        return str(part[0] or "")
    if isinstance(part, bool):
        return str(int(part))
    return str(part)


def _pairs(found: Any) -> Iterator[tuple[str, Any]]:
    """Names and values of all tags but pictures, for each family of tags."""
    tags = getattr(found, "tags", None)
    if tags is None:
        return
    if hasattr(tags, "getall"):  # ID3
        for frame in tags.values():
            yield from _of_frame(frame)
        return
    for key, value in tags.items() if hasattr(tags, "items") else tags:
        if key.lower() in PICTURES:
            continue
        # MP4's own names are "----:com.apple.iTunes:NAME"; an APEv2 value lists its texts.
        name = key.lower().removeprefix(ITUNES)
        yield name, list(value) if type(value).__name__ == "APETextValue" else value


def _of_frame(frame: Any) -> Iterator[tuple[str, Any]]:
    name = frame.FrameID
    if name == "TCON":
        yield name, frame.genres  # numbers of ID3v1 are names here
    elif name == "TXXX":
        yield frame.desc, frame.text
    elif name == "UFID":
        yield frame.owner, frame.data
    elif name == "USLT":
        yield name, frame.text
    elif name == "SYLT":
        yield name, "\n".join(line.strip() for line, _ in frame.text)
    elif name.startswith("T"):
        yield name, frame.text


def _pictures(found: Any) -> Iterator[tuple[int, bytes]]:
    """Picture types, and the pictures as they are stored."""
    tags = getattr(found, "tags", None)
    for picture in getattr(found, "pictures", ()):  # FLAC
        yield picture.type, picture.data
    if tags is None:
        return
    if hasattr(tags, "getall"):
        for frame in tags.getall("APIC"):
            yield frame.type, frame.data
        return
    for key, value in tags.items() if hasattr(tags, "items") else tags:
        name = key.lower()
        for part in value if isinstance(value, list) else [value]:
            if name == "covr":
                yield FRONT_COVER, bytes(part)
            elif name == "cover art (front)":  # a file name, a NUL, the picture
                yield FRONT_COVER, part.value.partition(b"\0")[2]
            elif name == "metadata_block_picture":
                with suppress(ValueError, mutagen.MutagenError):
                    own = Picture(base64.b64decode(part))
                    yield own.type, own.data
            elif name == "coverart":
                with suppress(ValueError):
                    yield FRONT_COVER, base64.b64decode(part)
            elif name == "wm/picture":
                yield _of_asf(part.value)


def _of_asf(data: bytes) -> tuple[int, bytes]:
    """A type, a length, two texts in UTF-16 that end with a NUL, the picture."""
    size, at = int.from_bytes(data[1:5], "little"), 5
    for _ in range(2):
        while data[at : at + 2] not in (b"\0\0", b""):
            at += 2
        at += 2
    return data[0], data[at : at + size]
