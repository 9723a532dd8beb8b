"""Genres into the tags of audio files, so that a failure leaves the file as it was.

A copy beside the file gets the new tags, is read back, and takes the file's place in one step. What
stood there before goes first into a file of JSON lines, by which everything can be undone: a line
is on the disk before its file changes, so that of one that is unfinished no file has changed.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mutagen
from mutagen._vorbis import VComment
from mutagen.apev2 import APEv2
from mutagen.asf import ASFTags
from mutagen.id3 import ID3, TCON
from mutagen.mp4 import MP4Tags

from mmgenre.datasets.tags import NAMES, TagsError, read_tags
from mmgenre.disk.files import append_line, sync, temporary_name, without_links
from mmgenre.errors import MmgenreError

Genres = tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """The genres of a file as they were, and as they are or would be."""

    path: Path
    before: Genres
    after: Genres


def planned(path: Path, genres: Sequence[str]) -> Change:
    """What writing genres into a file would change. TagsError if its tags cannot be read."""
    return Change(path, read_tags(path).genres, tuple(genres))


def write_genres(change: Change, undo: Path | None) -> None:
    """Gives a file its new genres; `undo`: the file of JSON lines that gets a line before.

    Raises:
        TagsError: the file has changed since the change was planned, its format has no place for
            genres, or what was written reads otherwise; the file is as it was.
        OSError: it cannot be written; likewise.
    """
    path = without_links(change.path)
    if read_tags(path).genres != change.before:
        raise TagsError("its genres have changed meanwhile; left as they are")
    copy = temporary_name(path).with_suffix(path.suffix)
    try:
        shutil.copy2(path, copy)
        _set_genres(copy, change.after)
        if (found := read_tags(copy).genres) != change.after:
            raise TagsError(f"would read {'; '.join(found)!r} after writing; left as it is")
        sync(copy)
        if undo is not None:
            _note(undo, json.dumps(_as_plain(change), ensure_ascii=False))
        copy.replace(path)
        sync(path.parent)
    finally:
        copy.unlink(missing_ok=True)


def _note(undo: Path, line: str) -> None:
    """Adds a line, all of it or nothing; what a killed process has left of one is cut off."""
    size = _whole_bytes(undo)
    try:
        if size:
            os.truncate(undo, size)
        append_line(undo, line)
        sync(undo)
    except OSError:
        if size:
            os.truncate(undo, size)
        else:
            undo.unlink(missing_ok=True)
        raise


def _whole_bytes(undo: Path) -> int:
    """The length of all lines that have an end."""
    if not undo.exists() or not (size := undo.stat().st_size):
        return 0
    with undo.open("rb") as file:
        file.seek(size - 1)
        if file.read() == b"\n":
            return size
        file.seek(0)
        return file.read().rfind(b"\n") + 1


def taken_back(change: Change) -> bool:
    """Gives a file the genres back that it had; False if it has them already.

    Raises:
        TagsError, OSError: as `write_genres`.
    """
    if read_tags(change.path).genres == change.before:
        return False
    write_genres(Change(change.path, change.after, change.before), None)
    return True


def changes_in(undo: Path) -> Iterator[Change]:
    """The changes that an undo file lists, the last one first; not one whose line is unfinished.

    Raises:
        MmgenreError: it is no such file.
    """
    try:
        content = undo.read_bytes()[: _whole_bytes(undo)].decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MmgenreError(
            f"{undo}: is no list of changes ({error}); expected what predict --write-tags wrote, "
            "by default mmgenre-undo.jsonl in the folder that it ran in"
        ) from None
    lines = content.removesuffix("\n").split("\n") if content else []
    for number, line in reversed(list(enumerate(lines, 1))):
        try:
            found = json.loads(line)
            yield Change(Path(found["path"]), tuple(found["before"]), tuple(found["after"]))
        except (ValueError, LookupError, TypeError) as error:
            raise MmgenreError(
                f"{undo}, line {number}: not a change of genres ({type(error).__name__})"
            ) from None


def _as_plain(change: Change) -> dict[str, Any]:
    path = str(without_links(change.path).absolute())
    return {"path": path, "before": list(change.before), "after": list(change.after)}


def _set_genres(path: Path, genres: Genres) -> None:
    try:
        file: Any = mutagen.File(path)
        if file is None:
            raise TagsError("is of no format whose tags can be written")
        if file.tags is None:
            file.add_tags()
        tags = file.tags
        if isinstance(tags, ID3):
            tags.delall("TCON")
            if genres:
                tags.add(TCON(encoding=3, text=list(genres)))
        elif isinstance(tags, VComment):
            _set_in_place(tags, genres)
        else:
            for key in {key for key in tags.keys() if key.lower() in NAMES["genre"]}:  # noqa: SIM118
                del tags[key]
            if genres:
                tags[_name_in(tags)] = list(genres)
        file.save()
    except TagsError:
        raise
    except Exception as error:  # of mutagen and what damaged files make it do
        raise TagsError(f"{type(error).__name__}: {error}") from None


def _set_in_place(tags: VComment, genres: Genres) -> None:
    """Where genres stood, under the name that they had: taken back, a file is as it was."""
    pairs: list[tuple[str, str]] = list.copy(tags)  # a list that otherwise acts as a dict
    places = [k for k, (name, _) in enumerate(pairs) if name.lower() in NAMES["genre"]]
    at = places[0] if places else len(pairs)
    name = pairs[at][0] if places else "GENRE"
    kept = [pair for k, pair in enumerate(pairs) if k not in places]
    tags[:] = [*kept[:at], *((name, genre) for genre in genres), *kept[at:]]


def _name_in(tags: Any) -> str:
    if isinstance(tags, MP4Tags):
        return "\xa9gen"
    if isinstance(tags, ASFTags):
        return "WM/Genre"
    return "Genre" if isinstance(tags, APEv2) else "GENRE"
