"""A manifest: which items there are, their labels, and which media belong to each.

It may have a million rows, and keeps columns; `read_csv` reads them, `write_csv` writes them.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mmgenre.disk.allowed import allow_media, allowed_media
from mmgenre.disk.locks import replacing_alone
from mmgenre.errors import ManifestError
from mmgenre.items.columns import Columns, columns_of, inline_text
from mmgenre.items.item import SPLITS, TRACK_SEPARATOR, Item, Media, Split
from mmgenre.items.modalities import MODALITIES, Modality
from mmgenre.items.read_csv import read_columns
from mmgenre.items.write_csv import folders_of, to_csv

Cell = TypeVar("Cell")


class Manifest:
    """Items, sorted by id, no id twice; kept as columns, an `Item` is made when asked for."""

    def __init__(self, items: Iterable[Item] | Columns, *, where: str = "manifest") -> None:
        self.columns = items if isinstance(items, Columns) else columns_of(items, where)
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
            texts = {m: text for m, files in item.media.items() if (text := inline_text(files))}
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
        roots = (path.parent, *map(Path, media_roots), *allowed_media(path))
        return cls(replace(read_columns(path), roots=roots), where=str(path))

    def as_csv(self, path: Path) -> bytes:
        """What `write` writes to a path."""
        return to_csv(self.columns, path)

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
        allow_media(path, folders_of(self.columns) if roots is None else roots)
        return path
