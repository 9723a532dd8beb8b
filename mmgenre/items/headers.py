"""Columns that are nearly those of a manifest: mistakes, not further columns."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from unicodedata import normalize

from mmgenre.items.modalities import MODALITIES

# Other names of our columns, in lower case without spaces and signs.
OTHER_NAMES = {
    "id": "itemid trackid songid recordingid releaseid albumid uid uuid identifier",
    "artist": "artistid artistname performer band bandname albumartist albumartistname mainartist "
    "singer",
    "album": "albumname albumtitle albumid release releasename releasetitle releaseid",
    "split": "splitname subset partition fold set datasplit traintest traintestsplit settype",
    "labels": "genre genrelabel genrename genreid genretop maingenre toplevelgenre style tag "
    "genretag class classname category target",
    "audio": "audiofile audiopath audiofilename trackfile mp3 wav soundfile",
    "image": "imagefile imagepath imagefilename coverpath coverart coverimage artwork picture "
    "albumcover albumart",
    "text": "review reviewtext lyric inlinetext",
    "text_file": "textpath textfilename reviewfile lyricsfile",
}
LEAST_RATIO = 0.8  # of difflib: `lables` and `atrist` are above it, `mood` and `year` below


def near_misses(header: Sequence[str], ours: Sequence[str]) -> Iterator[str]:
    """One fault for each column that is probably meant as one of ours.

    One that differs from ours in case, spaces or signs only always is; one of another name or with
    a letter wrong is where ours is not in the header, too.

    >>> list(near_misses(["id", "artist", "artist_id", "year"], ["id", "artist"]))
    []
    """
    meant = {other: name for name, others in _other_names(ours) for other in others.split()}
    for column in header:
        if column in ours:
            continue
        key = _plain(column)
        name = twin_of(column, ours)
        if name is None:
            absent = [own for own in ours if own not in header]
            known = (key, key.removesuffix("s"), key.removesuffix("es"))
            name = next((meant[k] for k in known if meant.get(k) in absent), None)
            close = difflib.get_close_matches(key, list(map(_plain, absent)), 1, LEAST_RATIO)
            name = name or next((own for own in absent if [_plain(own)] == close), None)
        if name is not None:
            yield (
                f"column {column!r} is probably meant as {name!r}: rename it; if it is something "
                "else, give it a name that differs more"
            )


def twin_of(column: str, ours: Sequence[str]) -> str | None:
    """Which of ours differs from the column in case, spaces and signs only.

    >>> twin_of(" Text-File", ["text", "text_file"])
    'text_file'
    """
    return next((name for name in ours if _plain(name) == _plain(column)), None)


def _other_names(ours: Sequence[str]) -> Iterator[tuple[str, str]]:
    media = {column for m in MODALITIES.values() for column in (m.files_column, m.text_column)}
    for name, others in OTHER_NAMES.items():
        if name in ours or name in media:
            yield name, others


def _plain(column: str) -> str:
    """In lower case, letters and digits only."""
    return "".join(filter(str.isalnum, normalize("NFKC", column).casefold()))
