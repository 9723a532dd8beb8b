"""The two tables of a knowledge base: which names mean which entities, and what those are.

    surfaces.tsv    surface  entity  prior          how often the name means the entity, in (0, 1]
    entities.tsv    entity   title   categories     joined by ;

Plain tab-separated UTF-8 with a header, no quoting. The priors of one name sum to at most 1; what
is missing to 1 belongs to meanings that the base does not know.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmgenre.errors import MmgenreError
from mmgenre.text.entities.folding import name_key

SURFACES, ENTITIES = "surfaces.tsv", "entities.tsv"
COLUMNS = {SURFACES: ("surface", "entity", "prior"), ENTITIES: ("entity", "title", "categories")}
ROUNDING = 1e-6


class KnowledgeError(MmgenreError):
    """A knowledge base with faults; carries all of them, one line each."""

    def __init__(self, where: str, faults: Sequence[str]) -> None:
        self.where, self.faults = where, tuple(faults)
        shown = "\n".join(f"  {fault}" for fault in faults[:50])
        more = f"\n  ... and {len(faults) - 50} more" if len(faults) > 50 else ""
        super().__init__(f"{where}: {len(faults)} fault(s)\n{shown}{more}")

    def __reduce__(self) -> tuple[type[KnowledgeError], tuple[str, tuple[str, ...]]]:
        return type(self), (self.where, self.faults)


@dataclass(frozen=True)
class Entity:
    """An entity: `name` is its key (in the built-in base its page's name in Wikipedia)."""

    name: str
    title: str
    categories: tuple[str, ...]


@dataclass(frozen=True)
class Sense:
    """One meaning of a name as `written` in the table, and how often it has it."""

    written: str
    entity: str
    prior: float


@dataclass
class Tables:
    """What the tables say: entities by name, and senses by the name's key."""

    entities: dict[str, Entity] = field(default_factory=dict)
    senses: dict[str, list[Sense]] = field(default_factory=dict)


def read_tables(folder: Path) -> Tables:
    """Reads and checks both tables; surfaces.tsv may be absent (see `annotators`).

    Raises:
        KnowledgeError: lists every fault with its file and line.
    """
    tables, faults = Tables(), list[str]()
    _read_entities(folder / ENTITIES, tables, faults)
    if (folder / SURFACES).exists():
        _read_surfaces(folder / SURFACES, tables, faults)
    if faults:
        raise KnowledgeError(str(folder), faults)
    return tables


def _read_entities(path: Path, tables: Tables, faults: list[str]) -> None:
    for where, (name, title, joined) in _rows(path, faults):
        categories = tuple(part.strip() for part in joined.split(";"))
        if name in tables.entities:
            faults.append(f"{where}: entity {name!r} is there twice")
        wordless = [c for c in categories if not any(map(str.isalnum, c))]
        if wordless:
            faults.append(f"{where}: category {wordless[0]!r} has no letter or digit")
        elif len(set(categories)) < len(categories):
            faults.append(f"{where}: a category is there twice in {joined!r}")
        tables.entities[name] = Entity(name, title, categories)


def _read_surfaces(path: Path, tables: Tables, faults: list[str]) -> None:
    sums: dict[str, float] = {}
    for where, (surface, entity, prior_text) in _rows(path, faults):
        prior = _number(prior_text)
        if not 0 < prior <= 1:
            faults.append(f"{where}: prior must be a number in (0, 1], got {prior_text!r}")
        if entity not in tables.entities:
            faults.append(f"{where}: entity {entity!r} is not in {ENTITIES}")
        key = name_key(surface)
        if not key:
            faults.append(f"{where}: surface {surface!r} has no letter or digit")
            continue
        senses = tables.senses.setdefault(key, [])
        twin = next((s for s in senses if s.entity == entity), None)
        if twin is not None:
            faults.append(f"{where}: {surface!r} means {entity!r} twice (also as {twin.written!r})")
        senses.append(Sense(surface, entity, prior))
        before = sums.get(key, 0.0)
        sums[key] = before + (prior if 0 < prior <= 1 else 0)
        if sums[key] > 1 + ROUNDING >= before:
            faults.append(f"{where}: the priors of {surface!r} sum to {sums[key]:g}, more than 1")


def _rows(path: Path, faults: list[str]) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """(file and line, three filled columns) of every sound row; lists the others."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        faults.append(f"{path.name}: no such file")
        return
    except UnicodeDecodeError as error:
        faults.append(f"{path.name}: not UTF-8 at byte {error.start}")
        return
    except OSError as error:
        faults.append(f"{path.name}: {error.strerror}")
        return
    columns = COLUMNS[path.name]
    if tuple(lines[0].rstrip("\r").split("\t")) != columns:
        faults.append(f"{path.name}:1: the header must be {', '.join(columns)}, joined by tabs")
        return
    n_rows = 0
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue  # the last line ends in a line feed
        n_rows += 1
        cells = [cell.strip() for cell in line.rstrip("\r").split("\t")]
        empty = [column for column, cell in zip(columns, cells, strict=False) if not cell]
        if len(cells) != len(columns):
            faults.append(f"{path.name}:{number}: {len(cells)} columns, {len(columns)} are needed")
        elif empty:
            faults.append(f"{path.name}:{number}: no {' and no '.join(empty)}")
        else:
            yield f"{path.name}:{number}", (cells[0], cells[1], cells[2])
    if not n_rows:
        faults.append(f"{path.name}: has a header and nothing else")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
