"""MTG-Jamendo: tracks with genre tags, in five published splits.

Bogdanov et al., "The MTG-Jamendo dataset for automatic music tagging", ML4MD at ICML 2019; card
`jamendo`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from mmgenre.datasets import sources
from mmgenre.datasets.sources import Published, flat_label, refuse
from mmgenre.items.item import Item, Media, Split

HEADER = ["TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS"]
N_FIXED = 5  # cells before the tags, of which there are as many as a track has
SPLITS = ("0", "1", "2", "3", "4")
FILES: Mapping[str, Split] = {
    "autotagging_genre-train.tsv": "train",
    "autotagging_genre-validation.tsv": "val",
    "autotagging_genre-test.tsv": "test",
}
CATEGORY = "genre---"
LOW = ".low.mp3"


def read_jamendo(folder: Path, *, split: str | None = None, audio: Path | None = None) -> Published:
    """Reads `data/splits/split-N/autotagging_genre-*.tsv`: an item is a track.

    `split`: "0" (default) to "4". `audio`: the folder of `41/241.mp3`, or of the files of low
    quality, `41/241.low.mp3`. Tags of other categories than genre are left out. Artists and albums
    are ids.
    """
    chosen = split or SPLITS[0]
    if chosen not in SPLITS:
        refuse(folder, [f"split {chosen!r}: allowed are {', '.join(SPLITS)}"])
    places = [folder / above / f"split-{chosen}" for above in ("", "splits", "data/splits")]
    place = next((p for p in places if p.is_dir()), folder)
    card = sources.load_card("jamendo")
    missing = [name for name in FILES if not (place / name).is_file()]
    refuse(place, sources.where_to_get(card, missing, folder))
    faults: list[str] = []
    first: dict[str, str] = {}
    items: list[Item] = []
    others: set[str] = set()
    lacking: list[str] = []
    for name, own in FILES.items():
        for line, cells in _rows(place / name):
            track, artist, album, path, duration = cells[:N_FIXED]
            if len(cells) <= N_FIXED or not track:
                faults.append(f"{name}, line {line}: expected an id and tags, got {cells}")
                continue
            if track in first:
                faults.append(f"{name}, line {line}: {track!r} is already in {first[track]}")
            first[track] = name
            tags = [tag for tag in cells[N_FIXED:] if tag]
            others.update(tag for tag in tags if not tag.startswith(CATEGORY))
            genres = (t.removeprefix(CATEGORY) for t in tags if t.startswith(CATEGORY))
            media: dict[str, Media] = {}
            if audio is not None:
                if (file := _file(audio, path)) is None:
                    lacking.append(path)
                else:
                    media["audio"] = (file,)
            labels = tuple(dict.fromkeys(map(flat_label, genres)))
            extra = {"path": path, "duration_s": duration}
            items.append(Item(track, artist, album, own, labels, media, extra))
    refuse(place, faults)
    notes = []
    if audio is not None and len(lacking) == len(items):
        refuse(audio, [f"none of {len(items)} tracks is here (first: {lacking[0]!r}, or {LOW})"])
    notes += sources.found_note(lacking, f"of {len(items)} tracks have no file in {audio}")
    notes += sources.found_note(sorted(others), "tags that are no genres are left out")
    return Published(str(place), tuple(items), tuple(notes))


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Rows below the header, which have as many cells as a track has tags."""
    lines = sources.read_lines(path)
    if lines[0].split("\t") != HEADER:
        expected = "TAB".join(HEADER)
        refuse(path, [f"line 1: expected {expected}, got {lines[0][:200]!r}"])
    for line, text in enumerate(lines[1:], start=2):
        if text.strip():
            cells = [cell.strip() for cell in text.split("\t")]
            yield line, cells + [""] * (N_FIXED - len(cells))


def _file(audio: Path, path: str) -> Path | None:
    names = (path, path[: -len(".mp3")] + LOW)
    return next((file for name in names if (file := audio / name).is_file()), None)
