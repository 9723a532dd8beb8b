"""Tracks of the Million Song Dataset with genres: MSD-I, and genre files (.cls)."""

from dataclasses import replace
from pathlib import Path
from typing import cast

from mmgenre.datasets import sources
from mmgenre.datasets.sources import Published, refuse
from mmgenre.errors import ManifestError
from mmgenre.items.item import SPLITS, Item, Split

TABLE = "MSD-I_dataset.tsv"
COLUMNS = ("msd_track_id", "genre", "album_index", "set", "msd_artist_id", "image_url")
SUFFIX = ".cls"
COMMENTS = ("#", "%")
PARTITION = frozenset({"TRAIN", "TEST", "VALIDATION"})
TRACKS = "unique_tracks.txt"  # track <SEP> song <SEP> artist <SEP> title, part of the MSD
TRACKS_SEPARATOR = "<SEP>"
SOURCES = (
    "msd_tagtraum_cd1.cls, msd_tagtraum_cd2.cls or msd_tagtraum_cd2c.cls from "
    "https://www.tagtraum.com/msd_genre_datasets.html (unzip it), or msd-MAGD-genreAssignment.cls, "
    "msd-topMAGD-genreAssignment.cls or msd-MASD-styleAssignment.cls from "
    "http://www.ifs.tuwien.ac.at/mir/msd/download.html"
)


def read_msdi(folder: Path) -> Published:
    """Reads `MSD-I_dataset.tsv`: an item is a track with one genre, its split the published one.

    Oramas 2018, sec. 6 (single-label experiment); doi 10.5281/zenodo.1240485.
    """
    path = sources.find_files(folder, [TABLE]).get(TABLE)
    if path is None:
        card = sources.load_card("msdi")
        raise ManifestError(str(folder), sources.where_to_get(card, [TABLE], folder))
    faults: list[str] = []
    lines: dict[str, int] = {}
    items: list[Item] = []
    genres: set[str] = set()
    placed: dict[str, set[str]] = {}
    for line, row in sources.read_table(path, COLUMNS, delimiter="\t"):
        track, genre, album, split, artist, image_url = (row[name] for name in COLUMNS)
        if lines.setdefault(track, line) != line:
            faults.append(f"line {line}: track {track!r} is already in line {lines[track]}")
        if not track or not genre:
            faults.append(f"line {line}: no {'genre' if track else 'msd_track_id'}")
        if split and split not in SPLITS:
            faults.append(f"line {line}: set {split!r}: must be {', '.join(SPLITS)} or empty")
        genres.add(genre)
        placed.setdefault(album, set()).add(split)
        labels, extra = (sources.flat_label(genre),), {"image_url": image_url}
        items.append(Item(track, artist, album, cast(Split, split) or None, labels, extra=extra))
    refuse(path, faults)
    notes = [*sources.split_note(items), *sources.renamed_note(genres)]
    several = [album for album, splits in placed.items() if album and len(splits) > 1]
    if several:
        notes.append(
            f"{len(several)} of {len(placed)} albums are in several published splits (first: "
            f"album_index {several[0]!r}); a check compares only albums of the same artist"
        )
    n = sum(not item.artist for item in items)
    if n:
        notes.append(f"{n} tracks have no artist: no check can tell whether splits share it")
    return Published(str(path), tuple(items), tuple(notes))


def read_cls(source: Path) -> Published:
    """Reads a `.cls` file, or the only one of a folder: an item is a track.

    `track id <tab> genre [<tab> minority genre]`; lines that begin with # or % are comments. So are
    tagtraum CD1, CD2, CD2C (Schreiber, "Improving genre annotations for the Million Song Dataset",
    ISMIR 2015) and MAGD, top-MAGD, MASD (Schindler, Mayer and Rauber, "Facilitating comprehensive
    benchmarking experiments on the MSD", ISMIR 2012). The majority genre is first. With
    `unique_tracks.txt` beside the file, tracks have artists.
    """
    path = source if source.is_file() else _only_file(source)
    items: dict[str, Item] = {}
    lines: dict[str, int] = {}
    genres: set[str] = set()
    faults: list[str] = []
    for line, text in enumerate(sources.read_lines(path), start=1):
        if not text.strip() or text.startswith(COMMENTS):
            continue
        track, *names = [cell.strip() for cell in text.rstrip("\t\r ").split("\t")]
        if not track or not 1 <= len(names) <= 2 or "" in names:
            fault = f"expected a track, a genre and at most one more genre, got {text!r}"
            faults.append(f"line {line}: {fault}")
        elif lines.setdefault(track, line) != line:
            faults.append(f"line {line}: track {track!r} is already in line {lines[track]}")
        else:
            genres |= set(names)
            items[track] = Item(track, labels=tuple(dict.fromkeys(map(sources.flat_label, names))))
    if not items and not faults:
        faults.append("every line is a comment or empty")
    if items and genres <= PARTITION:
        assigned = ", ".join(sorted(genres))
        advice = "a partition, not genres; give the file of the genre assignment"
        faults.append(f"it assigns tracks to {assigned}: {advice}")
    refuse(path, faults)
    artists = _artists(path.parent)
    if artists is None:
        note = (
            f"no artists: splits of this manifest may share artists; put {TRACKS} of the Million "
            f"Song Dataset into {path.parent}"
        )
    else:
        items = {t: replace(item, artist=artists.get(t, "")) for t, item in items.items()}
        known = sum(bool(item.artist) for item in items.values())
        note = f"{TRACKS} has the artist of {known} of {len(items)} tracks"
    two = sum(len(item.labels) > 1 for item in items.values())
    votes = [f"{two} tracks have a second genre, that of a minority"] if two else []
    notes = (note, *votes, *sources.renamed_note(genres))
    return Published(str(path), tuple(items.values()), notes)


def _only_file(folder: Path) -> Path:
    found = [path for path in sources.files_below(folder) if path.suffix == SUFFIX]
    if len(found) != 1:
        names = ", ".join(path.name for path in found)
        several = f"{len(found)} {SUFFIX} files ({names}); give one of them instead of the folder"
        refuse(folder, [several if found else f"no {SUFFIX} file; put one here: {SOURCES}"])
    return found[0]


def _artists(folder: Path) -> dict[str, str] | None:
    """Artist names by track id, if the Million Song Dataset's list of tracks is there."""
    path = sources.find_files(folder, [TRACKS]).get(TRACKS)
    if path is None:
        return None
    rows = [text.split(TRACKS_SEPARATOR) for text in sources.read_lines(path)]
    expected = f"expected four cells separated by {TRACKS_SEPARATOR}"
    faults = [
        f"line {line}: {expected}, got {TRACKS_SEPARATOR.join(cells)!r}"
        for line, cells in enumerate(rows, start=1)
        if len(cells) != 4
    ]
    refuse(path, faults)
    return {track: artist.strip() for track, _, artist, _ in rows}
