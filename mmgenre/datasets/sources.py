"""What the readers of datasets share: their result, tables and labels, and cards of what is known.

A reader refuses files with faults by a ManifestError, which lists them with their lines.
"""

import csv
import difflib
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal, Self
from unicodedata import normalize

from pydantic import Field, ValidationError, model_validator

from mmgenre.config import Settings
from mmgenre.datasets.features import Features
from mmgenre.errors import ManifestError
from mmgenre.items.item import Item, Split
from mmgenre.items.labels import SEPARATOR

CARD = "card.toml"
DEPTH = 3  # the archives unpack into folders of their own, such as ismir-data/splits
INSTEAD_OF_SEPARATOR = "|"
# Names of each split elsewhere, in folders and in columns.
NAMES_OF_SPLITS: Mapping[Split, str] = {
    "train": "train training",
    "val": "val valid validation dev",
    "test": "test testing",
}
SPLIT_NAMES = {name: split for split, names in NAMES_OF_SPLITS.items() for name in names.split()}

Row = tuple[int, dict[str, str]]  # its first line number, its cells by column


@dataclass(frozen=True)
class Fault:
    """A file that cannot be used, or not whole."""

    path: str
    reason: str  # one of few, by which they are counted
    detail: str


@dataclass(frozen=True)
class Published:
    """A dataset as its authors published it; its notes tell what is missing."""

    where: str
    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()
    # Names of the audio files of an item, for items that are not tracks themselves.
    tracks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    features: Mapping[str, tuple[Features, ...]] = field(default_factory=dict)  # by group
    faults: tuple[Fault, ...] = ()  # files of the user that end nothing


def refuse(where: object, faults: Sequence[str]) -> None:
    """Raises a ManifestError if there are faults."""
    if faults:
        raise ManifestError(str(where), faults)


def found_note(found: Sequence[str], what: str, then: str = "") -> list[str]:
    """A note on what was found; none if nothing was.

    >>> found_note(["a.jpg", "b.jpg"], "covers have no file")
    ["2 covers have no file (first: 'a.jpg')"]
    """
    return [f"{len(found)} {what} (first: {found[0]!r}){then}"] if found else []


def files_below(folder: Path) -> Iterator[Path]:
    """The files of a folder and of its subfolders, `DEPTH` levels deep, sorted at each level."""
    check_folder(folder)
    for depth in range(DEPTH):
        yield from sorted(p for p in folder.glob("/".join(["*"] * (depth + 1))) if p.is_file())


def check_folder(folder: Path) -> None:
    """Raises a ManifestError unless the folder exists."""
    refuse(folder, [] if folder.is_dir() else ["no such folder"])


def find_files(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """Those of the named files that exist, by name; a ManifestError if a name exists twice."""
    wanted = {normalize("NFC", name): name for name in names}
    found: dict[str, list[Path]] = {}
    for path in files_below(folder):
        if (name := wanted.get(normalize("NFC", path.name))) is not None:
            found.setdefault(name, []).append(path)
    several = {name: paths for name, paths in found.items() if len(paths) > 1}
    faults = [
        f"{name!r} exists {len(paths)} times ({', '.join(map(str, paths))}); keep one"
        for name, paths in several.items()
    ]
    refuse(folder, faults)
    return {name: paths[0] for name, paths in found.items()}


def read_table(path: Path, required: Sequence[str], *, delimiter: str) -> list[Row]:
    """Rows of a table with a header; cells are stripped.

    Quotes around cells are taken off, in tab-separated tables only if the whole table then makes
    sense: many are written without, and titles begin with quotes. A ManifestError lists every fault
    with its line: a required column is missing or repeated, a row has more or fewer cells than the
    header.
    """
    lines = [f"{text}\n" for text in read_lines(path)]
    is_plain = delimiter == "\t" and not _is_quoted(lines)
    quoting: Literal[0, 3] = csv.QUOTE_NONE if is_plain else csv.QUOTE_MINIMAL
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    rows: list[Row] = []
    faults: list[str] = []
    line = 1
    try:
        header = [name.strip() for name in next(reader, [])]
        for name in required:
            if header.count(name) != 1:
                times = "no" if name not in header else f"{header.count(name)} times a"
                faults.append(f"line 1: {times} column {name!r}; the header is {header}")
        line = reader.line_num + 1
        for cells in reader if not faults else ():
            if any(cells) and len(cells) != len(header):
                faults.append(f"line {line}: {len(cells)} cells, but the header has {len(header)}")
            elif any(cells):
                rows.append((line, dict(zip(header, map(str.strip, cells), strict=True))))
            line = reader.line_num + 1
    except csv.Error as error:
        faults.append(f"line {line}: {error}")
    refuse(path, faults or ([] if rows else ["no rows below the header"]))
    return rows


def _is_quoted(lines: Sequence[str]) -> bool:
    """Whether a tab-separated table has quoted cells (RFC 4180), and none with stray quotes."""
    try:
        rows = [row for row in csv.reader(lines, delimiter="\t", strict=True) if any(row)]
    except csv.Error:
        return False
    return len({len(row) for row in rows}) == 1


def read_lines(path: Path) -> list[str]:
    """Lines of a file, without their ends; a ManifestError if it is not UTF-8."""
    try:
        # Not splitlines: it would also split at characters that occur in titles.
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(str(path), [f"not UTF-8: {error}"]) from None
    return text.removesuffix("\n").split("\n") if text else []


def read_ids(path: Path) -> tuple[str, ...]:
    """One id per line, the first cell where a line has tabs; none may be empty or repeated."""
    first: dict[str, int] = {}
    faults: list[str] = []
    for line, text in enumerate(read_lines(path), start=1):
        item_id = text.split("\t")[0].strip()
        if not item_id:
            faults.append(f"line {line}: no id")
        elif first.setdefault(item_id, line) != line:
            faults.append(f"line {line}: id {item_id!r} is already in line {first[item_id]}")
    refuse(path, faults)
    return tuple(first)


def id_of_path(path: str) -> str:
    """A relative path as an item's id, with `#`, which separates tracks, in percent-encoding.

    >>> id_of_path("Rock/#1 at 100%.jpg")
    'Rock/%231 at 100%25.jpg'
    """
    return path.replace("%", "%25").replace("#", "%23")  # two paths never have the same id


def flat_label(name: str) -> str:
    """A published genre as a label without a taxonomy: our `/` would add a genre above it.

    >>> flat_label(" Pop/Rock ")
    'Pop|Rock'
    """
    return name.strip().replace(SEPARATOR, INSTEAD_OF_SEPARATOR)


def renamed_note(names: Iterable[str]) -> list[str]:
    """A note that lists the genre names changed by `flat_label`; none if none is changed."""
    changed = sorted({name.strip() for name in names if SEPARATOR in name})
    note = (
        f"{len(changed)} genre name(s) contain {SEPARATOR!r}, which separates the levels of a "
        f"taxonomy here, and are written with {INSTEAD_OF_SEPARATOR!r}: {', '.join(changed)}"
    )
    return [note] if changed else []


def split_note(items: Sequence[Item]) -> list[str]:
    """A note on what to do where only some items have a split; none if all or none have one."""
    without = [item.id for item in items if item.split is None]
    advice = "a run needs a split for all or for none: delete these rows, or empty the column split"
    what = f"of {len(items)} items are in no published split"
    return found_note(without, what, f"; {advice}") if len(without) < len(items) else []


class CardFile(Settings):
    """One file of a dataset; size and hash are None where nobody has measured them."""

    name: str
    holds: str
    required: bool  # no manifest can be built without it
    size_bytes: int | None = Field(None, ge=0)
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")


class Card(Settings):
    """What a person must know about a dataset before using it, or if it is not available."""

    title: str
    source: str
    published: bool = True  # available; only an unpublished one has no addresses and no files
    doi: str | None = None
    urls: list[str]
    licence: str
    citation: list[str] = Field(min_length=1)
    split_rule: str
    counts: dict[str, int]
    labels: dict[str, int]  # items of each genre, where published
    files: list[CardFile]
    defects: list[str]

    @model_validator(mode="after")
    def _says_where(self) -> Self:
        if self.published != bool(self.urls and self.files):
            raise ValueError("a published dataset needs urls and files; others must have none")
        return self


@cache
def card_folder() -> Path:
    """The cards that come with mmgenre, in a wheel or in a clone."""
    package = Path(str(files("mmgenre")))
    inside = package / "data_manifests"
    return inside if inside.is_dir() else package.parent / "data_manifests"


def card_names() -> list[str]:
    """Names of the datasets that have a card."""
    return sorted(path.parent.name for path in card_folder().glob(f"*/{CARD}"))


def load_card(name: str) -> Card:
    """Reads a card; a ManifestError lists every fault, or the cards there are."""
    path = card_folder() / name / CARD
    names = card_names()
    if name not in names:
        close = difflib.get_close_matches(name, names, n=2)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        fault = f"no such dataset{hint} known: {', '.join(names)}"
        raise ManifestError(f"card {name!r}", [fault])
    try:
        return Card.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ManifestError(str(path), [f"not TOML: {error}"]) from None
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, f['loc'])) or 'card'}: {f['msg']}" for f in error.errors()]
        raise ManifestError(str(path), faults) from None


def where_to_get(card: Card, names: Iterable[str], folder: Path) -> list[str]:
    """One sentence for each missing file: its name, where to get it, where to put it."""
    holds = {file.name: file.holds for file in card.files}
    doi = f" (doi {card.doi})" if card.doi else ""
    return [
        f"no file {name!r} ({holds[name]}); it is part of {card.title}: get it from "
        f"{card.urls[0]}{doi}, unpack it, and put it into {folder}"
        for name in names
    ]
