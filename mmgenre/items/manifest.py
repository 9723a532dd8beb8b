"""A manifest: which items there are, their labels, and which media belong to each.

A manifest may have a million rows. Distinct cells are checked and parsed once each, and a fault is
looked for row by row only where a check of a whole column has failed.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import re
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from itertools import compress, islice
from operator import itemgetter, le
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.allowed import allow_media, allowed_media
from mmgenre.disk.files import without_links
from mmgenre.disk.locks import replacing_alone
from mmgenre.errors import ManifestError
from mmgenre.items.headers import near_misses
from mmgenre.items.labels import path_faults
from mmgenre.items.modalities import MODALITIES, Modality

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
LIST_SEPARATOR = ";"
TRACK_SEPARATOR = "#"  # the second track of item X is X#1
LONGEST_ID = 1000  # characters
OTHER_SEPARATORS = {"\t": "tabs", ";": "semicolons", "|": "'|'"}
CHUNK_ROWS = 256  # few enough lists at a time that the garbage collector has nothing to do

Media = tuple[Path | str, ...]
Faults = list[tuple[int, str]]  # (row, what is wrong with it)
Cell = TypeVar("Cell", bound=Hashable)
Parsed = TypeVar("Parsed")


@dataclass(frozen=True)
class Item:
    """The thing that has labels: a track in MSD-I, an album in MuMu.

    `media` maps a modality to its files in order (audio: tracks; text: reviews, oldest first; a
    plain str among the texts is the text itself). A modality that the item lacks is not a key.
    """

    id: str
    artist: str = ""
    album: str = ""
    split: Split | None = None
    labels: tuple[str, ...] = ()
    media: Mapping[Modality, Media] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Columns:
    """The rows of a manifest in the order of their ids; each list has one entry per item."""

    ids: list[str]
    artists: list[str]
    albums: list[str]
    splits: list[Split | None]
    labels: list[tuple[str, ...]]
    # A cell of the CSV, file names relative to `folder` joined by `;`, or the media of an `Item`.
    files: Mapping[Modality, Sequence[str | Media]]
    texts: Mapping[Modality, Sequence[str]]  # the inline texts of a CSV
    extra: Mapping[str, Sequence[str | None]]  # None: the item has no such name
    folder: Path = Path()
    # Where media may lie, at any depth; None: anywhere, as the items were made in Python.
    roots: tuple[Path, ...] | None = None

    def having(self, modality: Modality) -> NDArray[np.bool_]:
        """Which items have a modality, (n,)."""
        found = np.zeros(len(self.ids), dtype=bool)
        for columns in (self.files, self.texts):
            if modality in columns:
                found |= np.fromiter(map(bool, columns[modality]), bool, len(found))
        return found

    def with_files(self, modality: Modality) -> NDArray[np.bool_]:
        """Which items have something else than one inline text of a CSV, (n,)."""
        cells = self.files.get(modality, [()] * len(self.ids))
        return np.fromiter(map(bool, cells), bool, len(self.ids))

    def media(self, modality: Modality, row: int) -> Media:
        """The files of an item, then its inline text; () if it lacks the modality."""
        files = self.files[modality][row] if modality in self.files else ()
        text = self.texts[modality][row] if modality in self.texts else ""
        if isinstance(files, str):
            files = tuple(self.folder / name for name in _split_list(files))
        return (*files, text) if text else files


class Manifest:
    """Items, sorted by id, no id twice; kept as columns, an `Item` is made when asked for."""

    def __init__(self, items: Iterable[Item] | Columns, *, where: str = "manifest") -> None:
        self.columns = items if isinstance(items, Columns) else _columns_of(items, where)
        self.where = where
        self._ids: dict[tuple[Split | None, tuple[Modality, ...]], tuple[str, ...]] = {}

    @classmethod
    def of_ids(cls, ids: Iterable[str]) -> Manifest:
        """Items of which nothing is known but their ids; a million of them take little memory."""
        known = sorted(set(ids))
        blank, none = [""] * len(known), list[Split | None]([None]) * len(known)
        return cls(Columns(known, blank, blank, none, [()] * len(known), {}, {}, {}))

    @property
    def items(self) -> tuple[Item, ...]:
        """All items in the order of their ids."""
        return tuple(self)

    def __len__(self) -> int:
        return len(self.columns.ids)

    def __repr__(self) -> str:
        """`Manifest('music.csv', 160 items: 155 audio, 120 text; 112 train, 24 val, 24 test)`."""
        counts = {m: n for m in MODALITIES if (n := self.count(having=[m]))}
        media = ", ".join(f"{n:,} {m}" for m, n in counts.items()) or "no media"
        own = {split: n for split in SPLITS if (n := self.count(split))}
        splits = ", ".join(f"{n:,} {split}" for split, n in own.items()) or "no splits"
        return f"{type(self).__name__}({self.where!r}, {len(self):,} items: {media}; {splits})"

    def __iter__(self) -> Iterator[Item]:
        return map(self._item, range(len(self)))

    def __getitem__(self, item_id: str) -> Item:
        if item_id not in self:
            raise KeyError(item_id)
        return self._item(bisect_left(self.columns.ids, item_id))

    def __contains__(self, item_id: str) -> bool:
        row = bisect_left(self.columns.ids, item_id)
        return self.columns.ids[row : row + 1] == [item_id]

    def _item(self, row: int) -> Item:
        c = self.columns
        media = {m: found for m in c.files if (found := c.media(m, row))}
        extra = {name: cell for name in c.extra if (cell := c.extra[name][row]) is not None}
        own = (c.ids[row], c.artists[row], c.albums[row], c.splits[row], c.labels[row])
        return Item(*own, media, extra)

    def ids(self, split: Split | None = None, having: Iterable[Modality] = ()) -> tuple[str, ...]:
        """Ids of the items in a split (None: all) that have every modality of `having`."""
        key = (split, tuple(having))
        if key not in self._ids:
            self._ids[key] = tuple(compress(self.columns.ids, self._selected(*key)))
        return self._ids[key]

    def labels(self, split: Split | None = None) -> tuple[tuple[str, ...], ...]:
        """The labels of each item in a split (None: all), in the order of `ids(split)`."""
        return tuple(compress(self.columns.labels, self._selected(split)))

    def count(self, split: Split | None = None, having: Iterable[Modality] = ()) -> int:
        """The number of `ids(split, having)`."""
        return int(self._selected(split, having).sum())

    def _selected(self, split: Split | None, having: Iterable[Modality] = ()) -> NDArray[np.bool_]:
        selected = np.ones(len(self), dtype=bool)
        if split is not None:
            selected = np.fromiter((s == split for s in self.columns.splits), bool, len(self))
        for modality in having:
            selected &= self.columns.having(modality)
        return selected

    def inline(self, modality: Modality) -> tuple[list[str], list[str]]:
        """Ids and texts of the items of a CSV that have nothing but an inline text of a modality.

        A million of them in the time that `rows` takes for a hundred thousand.
        """
        texts = self.columns.texts.get(modality, ())
        if not texts:
            return [], []
        alone = ~self.columns.with_files(modality) & self.columns.having(modality)
        return list(compress(self.columns.ids, alone)), list(compress(texts, alone))

    def rows(self, modality: Modality, *, inline: bool = True) -> Iterator[tuple[str, Media]]:
        """Row ids and their media, in the order of ids; with `inline` False, those not in `inline`.

        Audio has one row per track, `ID#0`, `ID#1`, ...; another medium one per item that has it.
        """
        selected = self.columns.having(modality)
        if not inline:
            selected &= self.columns.with_files(modality)
        for row in np.flatnonzero(selected).tolist():
            item_id, media = self.columns.ids[row], self.columns.media(modality, row)
            if MODALITIES[modality].medium != "audio":
                yield item_id, media
            else:
                for k, file in enumerate(media):
                    yield f"{item_id}{TRACK_SEPARATOR}{k}", (file,)

    @cached_property
    def splits(self) -> Mapping[str, Split | None]:
        """{id: split}; None for an item without one."""
        return dict(zip(self.columns.ids, self.columns.splits, strict=True))

    def with_splits(self, splits: Mapping[str, Split | None]) -> Manifest:
        """The same items in other splits; ManifestError unless exactly the items are given one."""
        ids = self.columns.ids
        faults = [f"id {i!r} is given no split" for i in ids if i not in splits]
        others = (i for i in splits if i not in self.splits)
        faults += [f"a split is given to {i!r}, which is no item" for i in others]
        if faults:
            raise ManifestError(self.where, faults)
        return Manifest(replace(self.columns, splits=[splits[i] for i in ids]), where=self.where)

    def only(self, ids: Iterable[str]) -> Manifest:
        """Those of the items that have one of the ids."""
        wanted = set(ids)
        here = [item_id in wanted for item_id in self.columns.ids]
        return self._of(lambda cells: list(compress(cells, here)))

    def only_rows(self, start: int, stop: int) -> Manifest:
        """The items from one place to another in the order of ids."""
        return self._of(lambda cells: cells[start:stop])

    def _of(self, own: Callable[[Any], Any]) -> Manifest:
        """Some of the items, by what takes their cells of a column."""
        c = self.columns
        columns = replace(
            c,
            ids=own(c.ids),
            artists=own(c.artists),
            albums=own(c.albums),
            splits=own(c.splits),
            labels=own(c.labels),
            files={m: own(cells) for m, cells in c.files.items()},
            texts={m: own(cells) for m, cells in c.texts.items()},
            extra={name: own(cells) for name, cells in c.extra.items()},
        )
        return Manifest(columns, where=self.where)

    @cached_property
    def task_digest(self) -> str:
        """Hash of ids, splits and labels: what every trained artefact depends on."""
        c = self.columns
        content = json.dumps([c.ids, c.splits, c.labels], separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    @cached_property
    def sha256(self) -> str:
        """Hash of everything but where the files lie: ids, splits, labels, artists, media names."""
        digest = hashlib.sha256()
        for item in self:
            media = sorted(item.media.items())
            names = {m: [f.name for f in files if isinstance(f, Path)] for m, files in media}
            row: list[Any] = [item.id, item.artist, item.album, item.split, item.labels, names]
            texts = {m: text for m, files in item.media.items() if (text := _inline_text(files))}
            row += [texts.pop("text", ""), *([texts] if texts else [])]
            digest.update(json.dumps(row, ensure_ascii=True).encode() + b"\n")
        return digest.hexdigest()

    def info(self) -> dict[str, int | dict[str, int]]:
        """Counts of items, artists, splits, modalities, and items of each label."""
        labels = Counter(name for row in self.columns.labels for name in dict.fromkeys(row))
        return {
            "items": len(self),
            "artists": len(set(self.columns.artists) - {""}),
            "splits": dict(Counter(split or "none" for split in self.columns.splits)),
            "modalities": {m: self.count(having=[m]) for m in MODALITIES},
            "labels": dict(labels.most_common()),
        }

    @classmethod
    def read(cls, path: Path | str, *, media_roots: Iterable[Path | str] = ()) -> Manifest:
        """Reads a CSV file; only the column `id` is required, further columns are kept.

        Its media are read if they lie in the folder of the file, in one of `media_roots`, or in
        those with which mmgenre wrote the file on this machine; `items.media` checks that.

        The ManifestError of a faulty file lists every fault with its line.
        """
        path = Path(path)
        try:
            try:
                roots = (path.parent, *map(Path, media_roots), *allowed_media(path))
                return cls(replace(_read(path), roots=roots), where=str(path))
            except (ManifestError, UnicodeDecodeError):
                path.read_bytes().decode("utf-8-sig")  # its error counts from the file's beginning
                raise
        except UnicodeDecodeError as error:
            fault = f"not UTF-8: {error}; save it as UTF-8"
        except OSError as error:
            known = {errno.ENOENT: "no such file", errno.EISDIR: "a folder, not a CSV file"}
            fault = known.get(error.errno or 0, f"cannot be read: {error.strerror}")
        raise ManifestError(str(path), [fault])

    def as_csv(self, path: Path) -> bytes:
        """What `write` writes to a path."""
        return _to_csv(self.columns, path)

    def write(self, path: Path | str) -> Path:
        """Writes the CSV, whole or not at all; media paths become relative to its folder.

        Several inline texts of an item become one, an empty line between them. A file that already
        has this content stays as it is. Where media may lie is remembered on this machine; those of
        items that were made in Python, where they do.
        ManifestError if an item holds what a CSV cell cannot, such
        as a `;` in a file name.
        """
        path = Path(path)
        content = self.as_csv(path)
        if not (path.is_file() and path.read_bytes() == content):
            # Cut short, it would read as a smaller manifest.
            with replacing_alone(path) as temporary:
                temporary.write_bytes(content)
        roots = self.columns.roots
        allow_media(path, _folders_of(self.columns) if roots is None else roots)
        return path


def column_names() -> tuple[str, ...]:
    """The columns of a manifest: files of audio and images, then files and texts of text.

    >>> column_names()
    ('id', 'artist', 'album', 'split', 'labels', 'audio', 'image', 'text_file', 'text')
    """
    ordered = sorted(MODALITIES.values(), key=lambda info: info.medium == "text")
    media = [name for m in ordered for name in (m.files_column, m.text_column) if name]
    return ("id", "artist", "album", "split", "labels", *media)


def _inline_text(media: Media) -> str:
    """The texts among media that are not files, an empty line between them."""
    return "\n\n".join(text for text in media if isinstance(text, str))


def _split_list(cell: str) -> tuple[str, ...]:
    """`a; b` -> ("a", "b"); an empty cell is an empty list."""
    return tuple(part.strip() for part in cell.split(LIST_SEPARATOR)) if cell.strip() else ()


def _columns_of(items: Iterable[Item], where: str) -> Columns:
    rows = sorted(items, key=lambda item: item.id)
    ids = [item.id for item in rows]
    faults = [f"id {i!r} appears more than once" for i, n in Counter(ids).items() if n > 1]
    unknown = [(item.id, m) for item in rows for m in item.media if m not in MODALITIES]
    known = ", ".join(MODALITIES)
    faults += [f"id {i!r}: {m!r} is no modality; those are {known}" for i, m in unknown]
    if faults:
        raise ManifestError(where, faults)
    names = {name for item in rows for name in item.extra}
    return Columns(
        ids,
        [item.artist for item in rows],
        [item.album for item in rows],
        [item.split for item in rows],
        [item.labels for item in rows],
        {m: [item.media.get(m, ()) for item in rows] for m in MODALITIES},
        {},
        {name: [item.extra.get(name) for item in rows] for name in sorted(names)},
    )


def _read(path: Path) -> Columns:
    lines = array("q")  # where each row begins: a quoted text may have many lines
    faults: Faults = []  # by line here
    rows = _rows(path, lines, faults)
    header = next(rows, [])
    if not faults:
        faults += [(1, fault) for fault in _header_faults(header)]
    if faults and ("id" not in header or len(set(header)) < len(header)):  # cells mean nothing
        raise ManifestError(str(path), [f"line {line}: {fault}" for line, fault in faults])
    cells: dict[str, list[str]] = {name: [] for name in header}
    # Artists, splits, labels and the like repeat: equal cells share one string.
    unshared = {"id", *(info.text_column for info in MODALITIES.values())}
    pool: dict[str, str] = {}
    while chunk := list(islice(rows, CHUNK_ROWS)):
        for name, new in zip(header, zip(*chunk, strict=True), strict=True):
            cells[name].extend(new if name in unshared else map(pool.setdefault, new, new))
    malformed = {line for line, _ in faults}

    ids = list(map(str.strip, cells["id"]))
    if not all(map(le, ids, islice(ids, 1, None))):
        order = sorted(range(len(ids)), key=ids.__getitem__)
        ids, lines = [ids[k] for k in order], array("q", (lines[k] for k in order))
        cells = {name: [column[k] for k in order] for name, column in cells.items()}
    columns, found = _parse(ids, cells, path.parent)
    again = "id {!r} stands in line {} already".format
    twice = ((row, i) for row, i in enumerate(ids) if row and i and i == ids[row - 1])
    found += [(row, again(i, lines[bisect_left(ids, i)])) for row, i in twice]
    faults += [(lines[row], fault) for row, fault in found if lines[row] not in malformed]
    if faults or not ids:
        worded = [f"line {line}: {fault}" for line, fault in sorted(faults, key=itemgetter(0))]
        raise ManifestError(str(path), worded or ["no items below the header"])
    return columns


def _header_faults(header: Sequence[str]) -> list[str]:
    """What is wrong with the names of the columns."""
    faults = [f"column {name!r} twice" for name, n in Counter(header).items() if n > 1]
    if "id" not in header:
        known = ", ".join(column_names())
        other = [name for mark, name in OTHER_SEPARATORS.items() if mark in "".join(header)]
        hint = f"; commas separate cells, not {other[0]}" if other and len(header) == 1 else ""
        faults.append(f"no column 'id'; columns are {known}; got {list(header)}{hint}")
    return faults + list(near_misses(header, column_names()))


def _rows(path: Path, lines: array[int], faults: Faults) -> Iterator[list[str]]:
    """The header, then all rows but blank ones; malformed ones are faults, and have empty cells."""
    # Inline reviews pass csv's default limit of 128 KiB a field.
    csv.field_size_limit(max(csv.field_size_limit(), 1 << 24))
    # With newline="" the line ends inside quoted reviews stay as they are.
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        header: list[str] | None = None
        line = 1
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:  # the reader goes on with the next line
                faults.append((line, str(error)))
                row = []
            if row is None or (header is None and faults):
                return
            if header is None:
                header = row
                yield header
            elif row:
                lines.append(line)
                if len(row) != len(header):
                    found = f"{len(row)} fields, but the header has {len(header)}"
                    faults.append((line, f"{found}; is a comma unquoted?"))
                    row = [""] * len(header)
                yield row
            line = reader.line_num + 1


def _parse(ids: list[str], cells: dict[str, list[str]], folder: Path) -> tuple[Columns, Faults]:
    blank = [""] * len(ids)
    given = {name: cells.pop(name, blank) for name in column_names()}  # the rest is extra
    artists, albums, splits = (list(map(str.strip, given[n])) for n in ("artist", "album", "split"))
    faults = _faulty_ids(ids)
    no_split = "split {!r}: must be train, val, test or empty".format
    faults += _faults(splits, lambda split: [] if split in ("", *SPLITS) else [no_split(split)])
    faults += _faults(given["labels"], _labels_faults)
    text_columns = {info.text_column for info in MODALITIES.values()}
    for name, column in given.items():
        if name != "id" and name not in text_columns:
            faults += _faults(column, partial(_nul_faults, name))
    files, texts = {}, {}
    for name, info in MODALITIES.items():
        check = partial(_list_faults, info.files_column, info.medium == "image")
        faults += _faults(given[info.files_column], check)
        files[name] = list(map(str.strip, given[info.files_column]))
        if info.text_column:
            texts[name] = ["" if cell.isspace() else cell for cell in given[info.text_column]]
    drawn = cast(list[Split | None], [split or None for split in splits])
    labels = _each(given["labels"], _split_list)
    return Columns(ids, artists, albums, drawn, labels, files, texts, cells, folder), faults


def _each(cells: Sequence[Cell], parse: Callable[[Cell], Parsed]) -> list[Parsed]:
    """Parses each distinct cell once."""
    parsed = {cell: parse(cell) for cell in set(cells)}
    return [parsed[cell] for cell in cells]


def _faults(cells: Sequence[Cell], check: Callable[[Cell], Sequence[str]]) -> Faults:
    """Checks each distinct cell once; goes through the rows only if one has faults."""
    wrong = {cell: faults for cell in set(cells) if (faults := check(cell))}
    rows = enumerate(cells) if wrong else ()
    return [(row, fault) for row, cell in rows for fault in wrong.get(cell, ())]


def _faulty_ids(ids: list[str]) -> Faults:
    # The store's fixed-width ids would lose trailing NULs; other control characters mislead.
    is_sound = re.compile(rf"(?!\s)[^\x00-\x1f{TRACK_SEPARATOR}]+(?<!\s)").fullmatch
    rule = "'#', spaces around it, line breaks and control characters are not allowed"
    wrong = ((row, i) for row, i in enumerate(ids) if not is_sound(i))
    faults = [(row, f"id {i[:100]!r}: {rule}" if i else "empty id") for row, i in wrong]
    # In a store every id takes as much room as the longest.
    too_long = "id {!r}...: {:,} characters; {:,} at most".format
    long_ids = ((row, i) for row, i in enumerate(ids) if len(i) > LONGEST_ID)
    return faults + [(row, too_long(i[:40], len(i), LONGEST_ID)) for row, i in long_ids]


def _nul_faults(column: str, cell: str) -> list[str]:
    return [f"{column}: a NUL character in {cell[:100]!r}"] if "\0" in cell else []


def _list_faults(column: str, is_cover: bool, cell: str) -> list[str]:
    if LIST_SEPARATOR not in cell:
        return []
    parts = _split_list(cell)
    faults = [f"{column}: empty entry in {cell!r}"] if "" in parts else []
    if len(set(parts)) < len(parts):
        faults.append(f"{column}: an entry appears twice in {cell!r}")
    if is_cover:
        faults.append(f"{column}: one cover an item, got several")
    return faults


def _labels_faults(cell: str) -> list[str]:
    found = (fault for label in _split_list(cell) for fault in path_faults(label))
    return _list_faults("labels", False, cell) + [f"labels: {fault}" for fault in found]


def _to_csv(columns: Columns, path: Path) -> bytes:
    """The content of the CSV file `path`."""
    ids, folder = columns.ids, without_links(path.parent)
    header = [*column_names(), *sorted(columns.extra)]
    faults = _faulty_ids(ids)
    for name in columns.extra.keys() & set(column_names()):
        given = [row for row, cell in enumerate(columns.extra[name]) if cell is not None]
        faults += [(row, f"extra column {name!r} is one of ours") for row in given]
    faults += [(0, fault) for fault in near_misses(header, column_names())]
    faults += _faults(columns.labels, partial(_entry_faults, "labels"))
    table: dict[str, Sequence[str | None]] = {**columns.extra, "id": ids, "split": columns.splits}
    table |= {"artist": columns.artists, "album": columns.albums}
    table["labels"] = _each(columns.labels, LIST_SEPARATOR.join)

    @cache
    def prefix(parent: Path) -> str:
        # Resolved, since `..` behind a link (runs/ on another disk) leads elsewhere; the file's
        # own name stays, whatever it links to.
        relative = Path(os.path.relpath(without_links(parent), folder)).as_posix()
        return "" if relative == "." else f"{relative}/"

    for info in MODALITIES.values():
        files = [""] * len(ids)
        texts = list(columns.texts.get(info.name, files))
        for row, has_files in enumerate(columns.files.get(info.name, ())):
            if has_files:
                media = columns.media(info.name, row)
                names = tuple(prefix(f.parent) + f.name for f in media if isinstance(f, Path))
                faults += [(row, fault) for fault in _entry_faults(info.files_column, names)]
                files[row], texts[row] = LIST_SEPARATOR.join(names), _inline_text(media)
        table[info.files_column] = files
        if info.text_column:
            table[info.text_column] = texts
    if faults:
        by_row = sorted(faults, key=itemgetter(0))
        raise ManifestError(str(path), [f"id {ids[row]!r}: {fault}" for row, fault in by_row])
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
        with io.StringIO() as file:
            writer = csv.writer(file, lineterminator="\n", quoting=quoting)
            writer.writerow(header)
            writer.writerows(zip(*(table[name] for name in header), strict=True))
            text = file.getvalue()
        if "\r" not in text:  # csv writes it unquoted, and reads it as the end of the row
            break
    return text.encode()


def _folders_of(columns: Columns) -> tuple[Path, ...]:
    """Few folders that hold all files of items that were made in Python."""
    files = (f for column in columns.files.values() for media in column for f in media)
    folders = {without_links(parent) for parent in {f.parent for f in files if isinstance(f, Path)}}
    groups: dict[tuple[str, ...], list[Path]] = {}
    for folder in folders:
        groups.setdefault(folder.parts[:2], []).append(folder)
    return tuple(Path(os.path.commonpath(group)) for group in groups.values())


def _entry_faults(column: str, entries: Sequence[str]) -> list[str]:
    """Faults of the entries of a list that would be read otherwise than they were written."""
    return [
        f"{column}: {entry!r} cannot stand in a list: it is empty, holds "
        f"{LIST_SEPARATOR!r}, or begins or ends with a space"
        for entry in entries
        if not entry or LIST_SEPARATOR in entry or entry != entry.strip()
    ]
