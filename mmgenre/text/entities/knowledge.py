"""The knowledge base: entities and their names, in two tables.

    surfaces.tsv    surface  entity  prior          how often the name means the entity, in (0, 1]
    entities.tsv    entity   title   categories     joined by ;

Plain tab-separated UTF-8 with a header, no quoting. The priors of one name sum to at most 1; the
rest belongs to meanings that the base does not know. The tables are converted to a SQLite file in
the cache, once for each content, and read from it as needed.
"""

from __future__ import annotations

import hashlib
import math
import re
import sqlite3
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from mmgenre.disk.files import cache_folder, without_links
from mmgenre.disk.locks import replacing_alone
from mmgenre.disk.provenance import sha256_file
from mmgenre.errors import FaultsError, MmgenreError
from mmgenre.text.entities.folding import name_key

SURFACES, ENTITIES = "surfaces.tsv", "entities.tsv"
COLUMNS = {SURFACES: ("surface", "entity", "prior"), ENTITIES: ("entity", "title", "categories")}
ROUNDING = 1e-6
WORD = re.compile(r"\w\w+")
FORMAT_VERSION = 1  # part of the cache file's name: raise it with the schema or the folding
SCHEMA = """
CREATE TABLE entity (name TEXT PRIMARY KEY, title TEXT, categories TEXT) WITHOUT ROWID;
CREATE TABLE surface (number INTEGER PRIMARY KEY, key TEXT);
CREATE TABLE sense (surface INTEGER, written TEXT, entity TEXT, prior REAL);
CREATE TABLE word (word TEXT PRIMARY KEY, n_entities INTEGER) WITHOUT ROWID;
CREATE INDEX sense_of ON sense (surface);
"""
KEPT = 1 << 16  # rows in memory


@dataclass(frozen=True)
class Entity:
    """An entity; `name` is its key (in the built-in base the name of its Wikipedia page)."""

    name: str
    title: str
    categories: tuple[str, ...]

    @property
    def text(self) -> str:
        return f"{self.title}. {'; '.join(self.categories)}"


@dataclass(frozen=True)
class Sense:
    """One meaning of a name as `written` in the table, and the prior of this meaning."""

    written: str
    entity: Entity
    prior: float


Entities = dict[str, Entity]  # by their name
Senses = dict[str, list[Sense]]  # by the key of the surface (`name_key`)


def words_of(text: str) -> list[str]:
    """Words of two letters and more, in lower case, without a plural's s.

    >>> words_of("American jazz singers, 1950s")
    ['american', 'jazz', 'singer', '1950']
    """
    words = WORD.findall(text.casefold())
    return [w[:-1] if len(w) > 3 and w[-1] == "s" and w[-2] != "s" else w for w in words]


def read_tables(folder: Path) -> tuple[Entities, Senses]:
    """Reads both tables (only local needs surfaces.tsv); FaultsError lists all faults by line."""
    faults: list[str] = []
    entities = _read_entities(folder / ENTITIES, faults)
    surfaces = folder / SURFACES
    senses = _read_senses(surfaces, entities, faults) if surfaces.exists() else {}
    if faults:
        raise FaultsError(str(folder), faults)
    return entities, senses


def _read_entities(path: Path, faults: list[str]) -> Entities:
    entities: Entities = {}
    for where, (name, title, joined) in _rows(path, faults):
        categories = tuple(part.strip() for part in joined.split(";"))
        if name in entities:
            faults.append(f"{where}: entity {name!r} appears twice")
        wordless = [c for c in categories if not any(map(str.isalnum, c))]
        if wordless:
            faults.append(f"{where}: category {wordless[0]!r} has no letter or digit")
        elif len(set(categories)) < len(categories):
            faults.append(f"{where}: a category appears twice in {joined!r}")
        entities[name] = Entity(name, title, categories)
    return entities


def _read_senses(path: Path, entities: Entities, faults: list[str]) -> Senses:
    senses_of: Senses = {}
    sums: dict[str, float] = {}
    for where, (surface, name, prior_text) in _rows(path, faults):
        try:
            prior = float(prior_text)
        except ValueError:
            prior = math.nan
        if not 0 < prior <= 1:
            faults.append(f"{where}: prior must be a number in (0, 1], got {prior_text!r}")
        if name not in entities:
            faults.append(f"{where}: entity {name!r} is not in {ENTITIES}")
        key = name_key(surface)
        if not key:
            faults.append(f"{where}: surface {surface!r} has no letter or digit")
            continue
        senses = senses_of.setdefault(key, [])
        for twin in [sense for sense in senses if sense.entity.name == name][:1]:
            faults.append(f"{where}: {surface!r} means {name!r} twice (also as {twin.written!r})")
        senses.append(Sense(surface, entities.get(name, Entity(name, "", ())), prior))
        before = sums.get(key, 0.0)
        sums[key] = before + (prior if 0 < prior <= 1 else 0)
        if sums[key] > 1 + ROUNDING >= before:  # a name is listed once
            faults.append(f"{where}: the priors of {surface!r} sum to {sums[key]:g}, more than 1")
    return senses_of


def _rows(path: Path, faults: list[str]) -> Iterator[tuple[str, list[str]]]:
    """(file and line, three filled columns) of every valid row; the others become faults."""
    try:
        header, *lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        faults.append(f"{path.name}: cannot be read: {error}")
        return
    columns = COLUMNS[path.name]
    if tuple(header.rstrip("\r").split("\t")) != columns:
        faults.append(f"{path.name}:1: the header must be {', '.join(columns)}, joined by tabs")
    elif not any(map(str.strip, lines)):
        faults.append(f"{path.name}: has a header and no row")
    else:
        for number, line in enumerate(lines, start=2):
            if not line.strip():
                continue  # the last line ends in a line feed
            where, cells = f"{path.name}:{number}", [cell.strip() for cell in line.split("\t")]
            empty = [column for column, cell in zip(columns, cells, strict=False) if not cell]
            if len(cells) != len(columns):
                faults.append(f"{where}: {len(cells)} columns, {len(columns)} are needed")
            elif empty:
                faults.append(f"{where}: no {' and no '.join(empty)}")
            else:
                yield where, cells


def open_knowledge(folder: Path) -> KnowledgeBase:
    """The knowledge base of a folder's tables; converts them unless the cache has these bytes.

    Raises FaultsError (faults of the tables) or MmgenreError (the cache cannot be written).
    """
    parts = [str(FORMAT_VERSION)]
    for table in (folder / SURFACES, folder / ENTITIES):
        parts.append(f"{table.name} {sha256_file(table) if table.is_file() else None}")
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    path = cache_folder("knowledge", f"{key[:32]}.sqlite")
    with suppress(sqlite3.Error):
        return KnowledgeBase(path)
    tables = read_tables(folder)
    try:
        with replacing_alone(path) as temporary:
            _write_database(*tables, temporary)
        return KnowledgeBase(path)
    except (OSError, sqlite3.Error) as error:
        raise MmgenreError(
            f"{path}: the knowledge base cannot be written to the cache ({error}); choose "
            "another folder with the environment variable MMGENRE_CACHE"
        ) from None


def _write_database(entities: Entities, senses_of: Senses, path: Path) -> None:
    n_entities = Counter(word for e in entities.values() for word in set(words_of(e.text)))
    rows = ((e.name, e.title, ";".join(e.categories)) for e in entities.values())
    with closing(sqlite3.connect(path)) as base:
        base.executescript(SCHEMA)
        base.executemany("INSERT INTO entity VALUES (?, ?, ?)", rows)
        base.executemany("INSERT INTO word VALUES (?, ?)", n_entities.items())
        for number, (key, senses) in enumerate(senses_of.items()):
            base.execute("INSERT INTO surface VALUES (?, ?)", (number, key))
            values = [(number, s.written, s.entity.name, s.prior) for s in senses]
            base.executemany("INSERT INTO sense VALUES (?, ?, ?, ?)", values)
        base.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
        base.commit()


class KnowledgeBase:
    """What a file of `open_knowledge` contains; safe to use from several threads.

    Raises sqlite3.Error unless the file exists, is of this version, and has no damage.
    """

    def __init__(self, path: Path) -> None:
        self._lock = Lock()
        uri = f"{without_links(path).as_uri()}?mode=ro"
        self._base = sqlite3.connect(uri, uri=True, check_same_thread=False)
        weakref.finalize(self, self._base.close)
        state = "SELECT user_version, quick_check FROM pragma_user_version, pragma_quick_check"
        if self._rows(state) != [(FORMAT_VERSION, "ok")]:
            raise sqlite3.DatabaseError("damaged, or of another version")
        # Caches of this object, so that they are freed with it.
        self.entity = lru_cache(KEPT)(self._entity)
        self.senses = lru_cache(KEPT)(self._senses)

    def names(self) -> Iterator[tuple[int, str]]:
        """Number and key of every name."""
        yield from self._rows("SELECT number, key FROM surface ORDER BY number")

    def entities(self) -> Iterator[Entity]:
        """All entities in the order of their names."""
        return self._entities("ORDER BY name")

    def n_entities(self) -> int:
        return int(self._rows("SELECT count(*) FROM entity")[0][0])

    def n_entities_by_word(self) -> dict[str, int]:
        """The number of entities whose text has each word."""
        return dict(self._rows("SELECT word, n_entities FROM word"))

    def _entity(self, name: str) -> Entity | None:
        return next(self._entities("WHERE name = ?", name), None)

    def _senses(self, number: int) -> tuple[Sense, ...]:
        """The meanings of a name, the commonest first."""
        which = "WHERE surface = ? ORDER BY prior DESC, entity"
        rows = self._rows(f"SELECT written, entity, prior FROM sense {which}", number)
        return tuple(Sense(w, next(self._entities("WHERE name = ?", e)), p) for w, e, p in rows)

    def _entities(self, which: str, *values: object) -> Iterator[Entity]:
        rows = self._rows(f"SELECT name, title, categories FROM entity {which}", *values)
        return (Entity(name, title, tuple(joined.split(";"))) for name, title, joined in rows)

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._base.execute(query, values).fetchall()
