"""Genre files of the Million Song Dataset (.cls): tagtraum CD1, CD2, CD2C; MAGD, top-MAGD, MASD.

`track id <tab> genre [<tab> minority genre]`; lines that begin with # or % are comments.
Schreiber, "Improving genre annotations for the Million Song Dataset", ISMIR 2015; Schindler,
Mayer and Rauber, "Facilitating comprehensive benchmarking experiments on the MSD", ISMIR 2012.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mmgenre.datasets.layout import (
    Published,
    files_below,
    find_files,
    flat_label,
    read_lines,
    renamed_note,
)
from mmgenre.errors import ManifestError
from mmgenre.items.manifest import Item

SUFFIX = ".cls"
COMMENTS = ("#", "%")
PARTITION = frozenset({"TRAIN", "TEST", "VALIDATION"})
TRACKS = "unique_tracks.txt"  # track <SEP> song <SEP> artist <SEP> title, of the MSD itself
TRACKS_SEPARATOR = "<SEP>"
SOURCES = (
    "msd_tagtraum_cd1.cls, msd_tagtraum_cd2.cls or msd_tagtraum_cd2c.cls from "
    "https://www.tagtraum.com/msd_genre_datasets.html (unzip it), or msd-MAGD-genreAssignment.cls, "
    "msd-topMAGD-genreAssignment.cls or msd-MASD-styleAssignment.cls from "
    "http://www.ifs.tuwien.ac.at/mir/msd/download.html"
)


def read_cls(source: Path) -> Published:
    """Reads a `.cls` file, or the only one of a folder: an item is a track.

    The majority genre stands first. With `unique_tracks.txt` beside the file, tracks have their
    artists.

    Raises:
        ManifestError: no such file, several, or a broken one; lists every fault with its line.
    """
    path = source if source.is_file() else _only_file(source)
    items: dict[str, Item] = {}
    lines: dict[str, int] = {}
    genres: set[str] = set()
    faults: list[str] = []
    for line, text in enumerate(read_lines(path), start=1):
        if not text.strip() or text.startswith(COMMENTS):
            continue
        track, *names = [cell.strip() for cell in text.rstrip("\t\r ").split("\t")]
        if not track or not 1 <= len(names) <= 2 or "" in names:
            faults.append(f"line {line}: wants track, genre and at most one more, got {text!r}")
        elif track in items:
            faults.append(f"line {line}: track {track!r} stands in line {lines[track]} already")
        else:
            lines[track] = line
            genres |= set(names)
            items[track] = Item(track, labels=tuple(dict.fromkeys(map(flat_label, names))))
    if not items and not faults:
        faults.append("no line that is not a comment")
    if items and genres <= PARTITION:
        faults.append(
            f"it assigns tracks to {', '.join(sorted(genres))}: a partition, not genres; give the "
            "file of the genre assignment"
        )
    if faults:
        raise ManifestError(str(path), faults)
    artists = _artists(path.parent)
    if artists is None:
        note = (
            f"no artists: splits drawn from this manifest may share them; put {TRACKS} of the "
            f"Million Song Dataset into {path.parent}"
        )
    else:
        items = {t: replace(item, artist=artists.get(t, "")) for t, item in items.items()}
        without = sum(not item.artist for item in items.values())
        note = f"{TRACKS} names the artist of {len(items) - without} of {len(items)} tracks"
    two = sum(len(item.labels) > 1 for item in items.values())
    votes = [f"{two} tracks have a second genre, of the minority"] if two else []
    return Published(str(path), tuple(items.values()), (note, *votes, *renamed_note(genres)))


def _only_file(folder: Path) -> Path:
    found = [path for path in files_below(folder) if path.suffix == SUFFIX]
    if not found:
        raise ManifestError(str(folder), [f"no {SUFFIX} file; put one here: {SOURCES}"])
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        fault = f"{len(found)} {SUFFIX} files ({names}); give one of them instead of the folder"
        raise ManifestError(str(folder), [fault])
    return found[0]


def _artists(folder: Path) -> dict[str, str] | None:
    """Artist names by track id, if the Million Song Dataset's list of tracks is there."""
    path = find_files(folder, [TRACKS]).get(TRACKS)
    if path is None:
        return None
    artists: dict[str, str] = {}
    faults: list[str] = []
    for line, text in enumerate(read_lines(path), start=1):
        cells = text.split(TRACKS_SEPARATOR)
        if len(cells) != 4:
            faults.append(f"line {line}: wants four cells between {TRACKS_SEPARATOR}, got {text!r}")
        else:
            artists[cells[0]] = cells[2].strip()
    if faults:
        raise ManifestError(str(path), faults)
    return artists
