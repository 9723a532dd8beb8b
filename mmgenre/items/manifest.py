"""A manifest: which items there are, their labels, and which media belong to each."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, cast, get_args

from mmgenre.disk.files import replacing
from mmgenre.errors import ManifestError

Modality = Literal["audio", "text", "image"]
Split = Literal["train", "val", "test"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)
SPLITS: tuple[Split, ...] = get_args(Split)
SHORT: Mapping[str, Modality] = {m[0]: m for m in MODALITIES}  # a, t, i

COLUMNS = ("id", "artist", "album", "split", "labels", "audio", "image", "text_file", "text")
LIST_SEPARATOR = ";"
TRACK_SEPARATOR = "#"  # the second track of item X is X#1


def parse_modalities(text: str) -> tuple[Modality, ...]:
    """`a,t,i` or `audio,image` -> names, in the fixed order audio, text, image.

    >>> parse_modalities("i,a")
    ('audio', 'image')

    Raises:
        ValueError: a name is unknown or appears twice, or there is none.
    """
    wanted = [part.strip().lower() for part in text.split(",") if part.strip()]
    names = [SHORT.get(part, part) for part in wanted]
    unknown = [name for name in names if name not in MODALITIES]
    if unknown or not names or len(set(names)) < len(names):
        raise ValueError(
            f"modalities {text!r}: give each of a (audio), t (text), i (image) at most once, "
            "separated by commas, for instance a,t,i"
        )
    return tuple(m for m in MODALITIES if m in names)


def short_name(name: str) -> str:
    """`a` for audio, `t` for text, `i` for image; another input's name stays.

    >>> short_name("audio"), short_name("clap")
    ('a', 'clap')
    """
    return name[0] if name in MODALITIES else name


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
    media: Mapping[Modality, tuple[Path | str, ...]] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def tracks(self) -> tuple[str, ...]:
        """The row ids of the item's audio: `ID#0`, `ID#1`, ..."""
        return tuple(f"{self.id}{TRACK_SEPARATOR}{k}" for k in range(len(self.media["audio"])))


class Manifest:
    """Items, sorted by id, no id twice."""

    def __init__(self, items: Iterable[Item], *, where: str = "manifest") -> None:
        self.items: tuple[Item, ...] = tuple(sorted(items, key=lambda item: item.id))
        self.where = where
        twice = [i for i, n in Counter(item.id for item in self.items).items() if n > 1]
        if twice:
            raise ManifestError(where, [f"id {i!r} appears more than once" for i in twice])
        self._by_id = {item.id: item for item in self.items}

    def __len__(self) -> int:
        """The number of items."""
        return len(self.items)

    def __iter__(self) -> Iterator[Item]:
        """Iterates over the items in the order of their ids."""
        return iter(self.items)

    def __getitem__(self, item_id: str) -> Item:
        """The item of that id."""
        return self._by_id[item_id]

    def __contains__(self, item_id: str) -> bool:
        """Whether there is an item of that id."""
        return item_id in self._by_id

    def ids(self, split: Split | None = None, having: Sequence[Modality] = ()) -> tuple[str, ...]:
        """Ids of the items in a split (None: all) that have every modality of `having`."""
        return tuple(
            item.id
            for item in self.items
            if (split is None or item.split == split) and all(m in item.media for m in having)
        )

    def with_splits(self, splits: Mapping[str, Split]) -> Manifest:
        """The same items in other splits.

        Raises:
            ManifestError: an item is given no split, or a split is given to no item.
        """
        faults = [f"id {i!r} is given no split" for i in self._by_id if i not in splits]
        faults += [f"a split is given to {i!r}, which is no item" for i in splits if i not in self]
        if faults:
            raise ManifestError(self.where, faults)
        return Manifest(
            (replace(item, split=splits[item.id]) for item in self.items), where=self.where
        )

    @property
    def sha256(self) -> str:
        """Hash of everything but where the files lie: ids, splits, labels, artists, media names."""
        digest = hashlib.sha256()
        for item in self.items:
            media = {m: [f.name for f in _files(item, m)] for m in sorted(item.media)}
            text = _inline_text(item)
            row = [item.id, item.artist, item.album, item.split, item.labels, media, text]
            digest.update(json.dumps(row, ensure_ascii=True).encode() + b"\n")
        return digest.hexdigest()

    def info(self) -> dict[str, int | dict[str, int]]:
        """Counts of items, artists, splits, modalities, and items of each label."""
        labels = Counter(label for item in self.items for label in item.labels)
        return {
            "items": len(self),
            "artists": len({item.artist for item in self.items if item.artist}),
            "splits": dict(Counter(item.split or "none" for item in self.items)),
            "modalities": {m: len(self.ids(having=[m])) for m in MODALITIES},
            "labels": dict(labels.most_common()),
        }

    @classmethod
    def read(cls, path: Path | str) -> Manifest:
        """Reads a CSV with the columns of `COLUMNS`; only `id` must be there, others are kept.

        Raises:
            ManifestError: lists every fault of the file with its line.
        """
        path = Path(path)
        try:
            # Bytes: reading as text would turn the line ends inside quoted reviews into others.
            text = path.read_bytes().decode("utf-8-sig")
        except FileNotFoundError:
            raise ManifestError(str(path), ["no such file"]) from None
        except IsADirectoryError:
            raise ManifestError(str(path), ["a folder, not a CSV file"]) from None
        except OSError as error:
            raise ManifestError(str(path), [f"cannot be read: {error.strerror}"]) from None
        except UnicodeDecodeError as error:
            raise ManifestError(str(path), [f"not UTF-8: {error}; save it as UTF-8"]) from None
        # Inline reviews pass csv's default limit of 128 KiB a field.
        csv.field_size_limit(max(csv.field_size_limit(), 1 << 24))
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        items: list[Item] = []
        faults: list[str] = []
        lines: dict[str, int] = {}
        line = 1  # where the row begins: a quoted review may go on for many
        try:
            header = next(reader, [])
            faults += _header_faults(header)
            line = reader.line_num + 1
            for cells in reader if not faults else ():
                if cells:
                    item, wrong = _parse_row(header, cells, path.parent)
                    if item.id in lines and item.id:
                        wrong.append(f"id {item.id!r} stands in line {lines[item.id]} already")
                    lines.setdefault(item.id, line)
                    faults += [f"line {line}: {fault}" for fault in wrong]
                    items.append(item)
                line = reader.line_num + 1
        except csv.Error as error:
            faults.append(f"line {line}: {error}")
        if not faults and not items:
            faults.append("no items below the header")
        if faults:
            raise ManifestError(str(path), faults)
        return cls(items, where=str(path))

    def write(self, path: Path | str) -> Path:
        """Writes the CSV, whole or not at all; media paths become relative to its folder.

        Several inline texts of an item become one, an empty line between them. A file that holds
        just that already stays as it is.

        Raises:
            ManifestError: an item holds what a CSV cell cannot, as a `;` in a file name.
        """
        path = Path(path)
        folder = path.parent.resolve()
        rows = [_format_row(item, folder) for item in self.items]
        faults = [fault for _, wrong in rows for fault in wrong]
        if faults:
            raise ManifestError(str(path), faults)
        extra = sorted({name for item in self.items for name in item.extra})
        # The csv module writes a carriage return unquoted, and reads it as the end of the row.
        returns = any("\r" in cell for row, _ in rows for cell in row.values())
        quoting: Literal[0, 1] = csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL
        text = io.StringIO()
        writer = csv.DictWriter(text, [*COLUMNS, *extra], lineterminator="\n", quoting=quoting)
        writer.writeheader()
        writer.writerows(row for row, _ in rows)
        content = text.getvalue().encode()
        if not (path.is_file() and path.read_bytes() == content):
            with replacing(path) as temporary:  # cut short, it would read as a smaller manifest
                temporary.write_bytes(content)
        return path


def _header_faults(header: Sequence[str]) -> list[str]:
    if "id" not in header:
        return [f"line 1: no column 'id'; columns are {', '.join(COLUMNS)}; got {list(header)}"]
    return [f"line 1: column {name!r} twice" for name, n in Counter(header).items() if n > 1]


def _split_list(cell: str, column: str, faults: list[str]) -> tuple[str, ...]:
    """`a; b` -> ("a", "b"); an empty cell is an empty list, an empty entry is a fault."""
    if not cell.strip():
        return ()
    parts = tuple(part.strip() for part in cell.split(LIST_SEPARATOR))
    if "" in parts:
        faults.append(f"{column}: empty entry in {cell!r}")
    if len(set(parts)) < len(parts):
        faults.append(f"{column}: an entry appears twice in {cell!r}")
    return parts


def _id_faults(item_id: str) -> list[str]:
    if not item_id:
        return ["empty id"]
    # The store's fixed-width ids would lose trailing NULs; other control characters mislead.
    if TRACK_SEPARATOR in item_id or item_id != item_id.strip() or any(c < " " for c in item_id):
        return [
            f"id {item_id!r}: '#', spaces around it, line breaks and control characters "
            "are not allowed"
        ]
    return []


def _parse_row(header: Sequence[str], cells: Sequence[str], folder: Path) -> tuple[Item, list[str]]:
    faults: list[str] = []
    if len(cells) != len(header):
        return Item(""), [
            f"{len(cells)} fields, but the header has {len(header)}; is a comma unquoted?"
        ]
    row = dict(zip(header, cells, strict=True))
    item_id = row["id"].strip()
    faults += _id_faults(item_id)
    split = row.get("split", "").strip()
    if split and split not in SPLITS:
        faults.append(f"split {split!r}: must be train, val, test or empty")
    labels = _split_list(row.get("labels", ""), "labels", faults)
    for label in labels:
        if any(not part or part != part.strip() for part in label.split("/")):
            faults.append(
                f"labels: {label!r} has an empty part or spaces around '/'; "
                "a path reads Jazz/Vocal Jazz"
            )
    media: dict[Modality, tuple[Path | str, ...]] = {}
    columns: dict[str, Modality] = {"audio": "audio", "text_file": "text", "image": "image"}
    for column, modality in columns.items():
        files = _split_list(row.get(column, ""), column, faults)
        if files:
            media[modality] = tuple(folder / name for name in files)
    if len(media.get("image", ())) > 1:
        faults.append("image: one cover an item, got several")
    if row.get("text", "").strip():
        media["text"] = (*media.get("text", ()), row["text"])
    extra = {name: cell for name, cell in row.items() if name not in COLUMNS}
    artist, album = row.get("artist", "").strip(), row.get("album", "").strip()
    return Item(item_id, artist, album, cast(Split, split) or None, labels, media, extra), faults


def _files(item: Item, modality: Modality) -> list[Path]:
    return [f for f in item.media.get(modality, ()) if isinstance(f, Path)]


def _inline_text(item: Item) -> str:
    return "\n\n".join(t for t in item.media.get("text", ()) if isinstance(t, str))


def _join_list(entries: Sequence[str], column: str, faults: list[str]) -> str:
    """The inverse of `_split_list`; what it would read otherwise is a fault."""
    for entry in entries:
        if not entry or LIST_SEPARATOR in entry or entry != entry.strip():
            faults.append(
                f"{column}: {entry!r} cannot stand in a list: it is empty, holds "
                f"{LIST_SEPARATOR!r}, or begins or ends with a space"
            )
    return LIST_SEPARATOR.join(entries)


def _format_row(item: Item, folder: Path) -> tuple[dict[str, str], list[str]]:
    faults = _id_faults(item.id)
    faults += [f"extra column {name!r} is one of ours" for name in item.extra if name in COLUMNS]

    def files(column: str, modality: Modality) -> str:
        # Resolved, since `..` behind a link (runs/ on another disk) leads elsewhere; the file's
        # own name stays, whatever it links to.
        paths = (f.parent.resolve() / f.name for f in _files(item, modality))
        relative = [Path(os.path.relpath(path, folder)).as_posix() for path in paths]
        return _join_list(relative, column, faults)

    row = {
        "id": item.id,
        "artist": item.artist,
        "album": item.album,
        "split": item.split or "",
        "labels": _join_list(item.labels, "labels", faults),
        "audio": files("audio", "audio"),
        "image": files("image", "image"),
        "text_file": files("text_file", "text"),
        "text": _inline_text(item),
        **item.extra,
    }
    return row, [f"id {item.id!r}: {fault}" for fault in faults]
