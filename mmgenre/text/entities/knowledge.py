"""The knowledge base: two tables compiled to SQLite once, then read as they are needed."""

from __future__ import annotations

import hashlib
import sqlite3
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from mmgenre.disk.files import cache_folder, replacing
from mmgenre.disk.provenance import sha256_file
from mmgenre.errors import MmgenreError
from mmgenre.text.entities.context import text_of, words_of
from mmgenre.text.entities.tables import ENTITIES, SURFACES, Entity, Sense, Tables, read_tables

FORMAT_VERSION = 1  # part of the cache file's name: raise it with the schema or the folding
SCHEMA = """
CREATE TABLE entity (name TEXT PRIMARY KEY, title TEXT, categories TEXT) WITHOUT ROWID;
CREATE TABLE surface (number INTEGER PRIMARY KEY, key TEXT);
CREATE TABLE sense (surface INTEGER, written TEXT, entity TEXT, prior REAL);
CREATE TABLE word (word TEXT PRIMARY KEY, n_entities INTEGER) WITHOUT ROWID;
CREATE INDEX sense_of ON sense (surface);
"""
KEPT = 1 << 16  # rows in memory


def open_knowledge(folder: Path) -> KnowledgeBase:
    """The knowledge base of two tables, compiled where these bytes never were.

    Raises:
        KnowledgeError: faults in the tables.
        MmgenreError: the cache cannot be written.
    """
    bytes_of = [
        f"{name} {sha256_file(folder / name) if (folder / name).is_file() else None}"
        for name in (SURFACES, ENTITIES)
    ]
    key = hashlib.sha256("\n".join([str(FORMAT_VERSION), *bytes_of]).encode()).hexdigest()
    compiled = cache_folder("knowledge", f"{key[:32]}.sqlite")
    if not _is_whole(compiled):
        tables = read_tables(folder)
        try:
            with replacing(compiled) as temporary:
                compile_tables(tables, temporary)
        except (OSError, sqlite3.Error) as error:
            raise MmgenreError(
                f"{compiled}: the compiled knowledge base cannot be written ({error}); name a "
                "folder that can be with the environment variable MMGENRE_CACHE"
            ) from None
    return KnowledgeBase(compiled)


def compile_tables(tables: Tables, path: Path) -> None:
    """Writes a SQLite file, in the place of one that may be there."""
    entities = tables.entities.values()
    n_entities = Counter(word for entity in entities for word in set(words_of(text_of(entity))))
    senses = (
        (number, sense.written, sense.entity, sense.prior)
        for number, senses in enumerate(tables.senses.values())
        for sense in senses
    )
    path.unlink(missing_ok=True)  # of a killed process with the same number
    with closing(sqlite3.connect(path)) as base:
        base.executescript(SCHEMA)
        rows = ((e.name, e.title, ";".join(e.categories)) for e in entities)
        base.executemany("INSERT INTO entity VALUES (?, ?, ?)", rows)
        base.executemany("INSERT INTO surface VALUES (?, ?)", enumerate(tables.senses))
        base.executemany("INSERT INTO sense VALUES (?, ?, ?, ?)", senses)
        base.executemany("INSERT INTO word VALUES (?, ?)", n_entities.items())
        base.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
        base.commit()


def _is_whole(compiled: Path) -> bool:
    """Whether the file is there and ours, and SQLite finds no damage in it."""
    if not compiled.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{compiled.as_uri()}?mode=ro", uri=True)) as base:
            (version,) = base.execute("PRAGMA user_version").fetchone()
            (state,) = base.execute("PRAGMA quick_check").fetchone()
            return bool(version == FORMAT_VERSION and state == "ok")
    except sqlite3.Error:
        return False


class KnowledgeBase:
    """Names, entities and their senses; safe to use from several threads."""

    def __init__(self, compiled: Path) -> None:
        """Opens a compiled base for reading; see `open_knowledge`."""
        self._lock = Lock()
        uri = f"{compiled.resolve().as_uri()}?mode=ro"
        self._base = sqlite3.connect(uri, uri=True, check_same_thread=False)
        weakref.finalize(self, self._base.close)
        # Bound to this object, so that what is kept goes with it.
        self.entity = lru_cache(KEPT)(self._entity)
        self.senses = lru_cache(KEPT)(self._senses)

    def names(self) -> Iterator[tuple[int, str]]:
        """Number and key of every name."""
        yield from self._rows("SELECT number, key FROM surface ORDER BY number")

    def entities(self) -> Iterator[Entity]:
        """All entities in the order of their names."""
        for row in self._rows("SELECT name, title, categories FROM entity ORDER BY name"):
            yield Entity(row[0], row[1], tuple(row[2].split(";")))

    def n_entities(self) -> int:
        """How many there are."""
        return int(self._rows("SELECT count(*) FROM entity")[0][0])

    def n_entities_by_word(self) -> dict[str, int]:
        """In how many entities' texts each word stands."""
        return dict(self._rows("SELECT word, n_entities FROM word"))

    def _entity(self, name: str) -> Entity | None:
        rows = self._rows("SELECT title, categories FROM entity WHERE name = ?", name)
        return Entity(name, rows[0][0], tuple(rows[0][1].split(";"))) if rows else None

    def _senses(self, number: int) -> tuple[tuple[Sense, Entity], ...]:
        """The meanings of a name, the commonest first."""
        rows = self._rows(
            "SELECT written, entity, prior, title, categories FROM sense JOIN entity "
            "ON sense.entity = entity.name WHERE surface = ? ORDER BY prior DESC, entity",
            number,
        )
        return tuple(
            (Sense(written, entity, prior), Entity(entity, title, tuple(categories.split(";"))))
            for written, entity, prior, title, categories in rows
        )

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._base.execute(query, values).fetchall()
