"""Folders as the library `datasets` of Hugging Face reads them: audiofolder and imagefolder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from mmgenre.datasets import sources
from mmgenre.datasets.folders import UNWRITABLE
from mmgenre.datasets.sources import Published, flat_label, refuse
from mmgenre.errors import ManifestError
from mmgenre.items.columns import column_names
from mmgenre.items.headers import twin_of
from mmgenre.items.item import Item, Media, Split
from mmgenre.items.modalities import SUFFIXES
from mmgenre.items.notes import NO_ARTISTS_NOTE

TABLES = ("metadata.csv", "metadata.jsonl")
FILE, ENDING = "file_name", "_file_name"
LABELS = ("label", "labels", "genre", "genres")
TEXTS = ("text", "lyrics", "caption", "description")


def read_hugging_face(folder: Path) -> Published:
    """Reads `metadata.csv` or `metadata.jsonl`, in the folder or in `train/`, `test/`, ...

    Their columns `file_name` and `..._file_name` name files beside them: by its suffix each is the
    item's audio, image or text (`.txt`). A column `label`, `labels`, `genre` or `genres` has its
    genre, or in JSON a list of them; `text`, `lyrics`, `caption` or `description` a text; `artist`
    and `album` what they say. Without such a table, genres are folders: the layout `folders`.
    """
    sources.check_folder(folder)
    names = {name for name in sources.SPLIT_NAMES if (folder / name).is_dir()}
    places: dict[Path, Split | None] = {folder: None}
    places |= {folder / name: sources.SPLIT_NAMES[name] for name in sorted(names)}
    tables = [(p / n, split) for p, split in places.items() for n in TABLES if (p / n).is_file()]
    if not tables:
        fault = f"no {' or '.join(TABLES)}, here or in train/, test/, ...; genres in folders: "
        refuse(folder, [f"{fault}mmgenre manifest build folders {folder}"])
    items: list[Item] = []
    notes: list[str] = []
    written: set[str] = set()
    for path, split in tables:
        rows = _json_rows(path) if path.suffix == ".jsonl" else _csv_rows(path)
        absent: list[str] = []
        faults: list[str] = []
        for line, row in rows:
            item, lacking, genres, wrong = _item(folder, path, row, split)
            absent += lacking
            written.update(genres)
            faults += [f"line {line}: {wrong}"] if wrong else []
            items.append(item)
        refuse(path, faults)
        notes += sources.found_note(absent, f"files of {path} are not there")
    repeated = {item.id: item for item in items}
    if len(repeated) < len(items):
        refuse(folder, [f"{len(items) - len(repeated)} files are in the tables twice"])
    if not any(item.media for item in items):
        refuse(folder, ["none of the files that the tables name is there"])
    bare = [item.id for item in items if not item.labels]
    notes += sources.found_note(bare, "items have no genre: they are kept")
    notes += sources.renamed_note(written)
    if not any(item.artist or item.album for item in items):
        notes.append(NO_ARTISTS_NOTE)
    return Published(str(folder), tuple(items), tuple(notes))


def _item(
    folder: Path, table: Path, row: Mapping[str, object], split: Split | None
) -> tuple[Item, list[str], list[str], str | None]:
    """An item, its files that are not there, its genres as written, and what is wrong with it."""
    media: dict[str, Media] = {}
    absent: list[str] = []
    fault: str | None = None
    named = [c for c in row if (c == FILE or c.endswith(ENDING)) and row[c]]
    for column in named:
        name = str(row[column])
        suffix = Path(name).suffix.lower()
        medium = next((m for m, known in SUFFIXES.items() if suffix in known), "")
        medium = "text" if suffix == ".txt" else medium
        if not medium or UNWRITABLE.search(name):
            fault = f"{column} {name!r}: neither audio, image nor .txt, or no manifest can hold it"
        elif not (path := table.parent / name).is_file():
            absent.append(name)
        else:
            media[medium] = (*media.get(medium, ()), path)
    if len(media.get("image", ())) > 1:
        fault = "several images; an item has one cover"
    if not named:
        fault = f"no {FILE}"
    genres = [g for c in LABELS for g in _strings(row.get(c))]
    texts = tuple(t for c in TEXTS for t in _strings(row.get(c)))
    if texts:
        media["text"] = (*media.get("text", ()), *texts)
    used = {*named, *LABELS, *TEXTS, "artist", "album", "split"}
    others = {c: str(v) for c, v in row.items() if c not in used and v not in (None, "")}
    extra = {c: v for c, v in others.items() if not twin_of(c, column_names())}
    own_split = sources.SPLIT_NAMES.get(str(row.get("split") or "").lower(), split)
    first = table.parent / str(row[named[0]]) if named else table
    item_id = sources.id_of_path(first.relative_to(folder).as_posix().replace(";", ","))
    artist, album = (str(row.get(c) or "") for c in ("artist", "album"))
    labels = tuple(dict.fromkeys(map(flat_label, genres)))
    return Item(item_id, artist, album, own_split, labels, media, extra), absent, genres, fault


def _strings(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [text for v in values if v is not None and (text := str(v).strip())]


def _csv_rows(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    yield from sources.read_table(path, (FILE,), delimiter=",")


def _json_rows(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    for line, text in enumerate(sources.read_lines(path), start=1):
        if text.strip():
            try:
                row = json.loads(text)
            except ValueError as error:
                raise ManifestError(str(path), [f"line {line}: no JSON: {error}"]) from None
            if not isinstance(row, dict):
                refuse(path, [f"line {line}: expected an object, got {text[:100]!r}"])
            yield line, row
