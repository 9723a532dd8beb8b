"""Genres into the tags of audio files, so that a failure leaves the file as it was.

A copy beside the file gets the new tags, is read back, and takes the file's place in one step. What
stood there before goes first into a file of JSON lines, by which everything can be undone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mutagen
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
            append_line(undo, json.dumps(_as_plain(change), ensure_ascii=False))
        copy.replace(path)
        sync(path.parent)
    finally:
        copy.unlink(missing_ok=True)


def changes_in(undo: Path) -> Iterator[Change]:
    """The changes that an undo file lists, the last one first.

    Raises:
        MmgenreError: it is no such file.
    """
    lines = undo.read_text("utf-8").splitlines()
    for number, line in reversed(list(enumerate(lines, 1))):
        try:
            found = json.loads(line)
            yield Change(Path(found["path"]), tuple(found["before"]), tuple(found["after"]))
        except (ValueError, LookupError, TypeError) as error:
            raise MmgenreError(
                f"{undo}, line {number}: not a change of genres ({type(error).__name__})"
            ) from None


def reversed_change(change: Change) -> Change:
    """The change that takes another one back."""
    return Change(change.path, change.after, change.before)


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


def _name_in(tags: Any) -> str:
    if isinstance(tags, MP4Tags):
        return "\xa9gen"
    if isinstance(tags, ASFTags):
        return "WM/Genre"
    return "Genre" if isinstance(tags, APEv2) else "GENRE"
