"""20k album covers within 20 genres, as Greenfield & Paintsil use it: 18 genres, one a cover.

A folder a genre, 1000 covers of 300 x 300 pixels each; the archive unpacks to `GAID/GENRE/*.jpg`.
METHOD section 9; card `covers20k`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from mmgenre.datasets.cards import load_card
from mmgenre.datasets.folders import read_folders
from mmgenre.datasets.layout import SPLIT_NAMES, Published
from mmgenre.errors import ManifestError

ARCHIVE_FOLDER = "GAID"
LEFT_OUT = ("DeathMetal", "DoomMetal")
GENRES = (
    "Blues",
    "Classical",
    "Country",
    "DrumNBass",
    "Electronic",
    "Folk",
    "Grime",
    "HeavyMetal",
    "HipHop",
    "Jazz",
    "LoFi",
    "Pop",
    "PsychedelicRock",
    "Punk",
    "Reggae",
    "Rock",
    "Soul",
    "Techno",
)
COVERS_A_GENRE = 1000


def read_covers20k(folder: Path) -> Published:
    """Reads the 20 folders of covers and leaves out the two metal sub-genres.

    To keep all 20, read the folder of the genres with the layout `folders`.

    Raises:
        ManifestError: there is no such folder, a genre is not there, or a folder is none of the 20.
    """
    places = [folder, folder / ARCHIVE_FOLDER]
    root = next((place for place in places if _has_genres(place)), None)
    if root is None:
        card = load_card("covers20k")
        fault = (
            f"no folders of the genres {', '.join(GENRES[:3])}, ..., here or in {ARCHIVE_FOLDER}; "
            f"get {card.title} from {card.urls[0]} and unpack it into {folder}"
        )
        raise ManifestError(str(folder), [fault])
    published = read_folders(root)
    counts = Counter(item.labels[0] for item in published.items)
    faults = [f"no cover of the genre {name!r}" for name in GENRES if name not in counts]
    faults += [
        f"folder {name!r} is none of the 20 genres: {', '.join(sorted((*GENRES, *LEFT_OUT)))}; "
        "move it away, or read all with the layout folders"
        for name in counts
        if name not in (*GENRES, *LEFT_OUT)
    ]
    if faults:
        raise ManifestError(str(root), faults)
    items = tuple(item for item in published.items if item.labels[0] in GENRES)
    notes = [
        f"{len(published.items) - len(items)} covers of {' and '.join(LEFT_OUT)} are left out, as "
        "Greenfield & Paintsil did; the layout folders keeps them"
    ]
    others = [f"{n} {name}" for name, n in counts.items() if n != COVERS_A_GENRE]
    if others:
        notes.append(f"not {COVERS_A_GENRE} covers, as published, but {', '.join(others)}")
    if not any(item.split for item in items):
        notes.append("no split is published; theirs was 80/10/10, drawn at random in each genre")
    return replace(published, items=items, notes=(*published.notes, *notes))


def _has_genres(folder: Path) -> bool:
    """Whether genres, or splits with genres in them, lie in a folder."""
    return any(
        (folder / split / genre).is_dir() for split in (".", *SPLIT_NAMES) for genre in GENRES
    )
