"""MSD-I: tracks of the Million Song Dataset with one genre and a cover each.

Oramas 2018, sec. 5.1 (single-label experiment); doi 10.5281/zenodo.1240485.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from mmgenre.datasets.cards import load_card, where_to_get
from mmgenre.datasets.layout import (
    Published,
    find_files,
    flat_label,
    read_table,
    renamed_note,
    split_note,
)
from mmgenre.errors import ManifestError
from mmgenre.items.manifest import SPLITS, Item, Split

TABLE = "MSD-I_dataset.tsv"
COLUMNS = ("msd_track_id", "genre", "album_index", "set", "msd_artist_id", "image_url")


def read_msdi(folder: Path) -> Published:
    """Reads `MSD-I_dataset.tsv`: an item is a track, its split is the one published.

    Raises:
        ManifestError: the file is not there or broken; lists every fault with its line.
    """
    path = find_files(folder, [TABLE]).get(TABLE)
    if path is None:
        raise ManifestError(str(folder), where_to_get(load_card("msdi"), [TABLE], folder))
    faults: list[str] = []
    lines: dict[str, int] = {}
    items: list[Item] = []
    genres: set[str] = set()
    for line, row in read_table(path, COLUMNS, delimiter="\t"):
        track, genre, split = row["msd_track_id"], row["genre"], row["set"]
        if track in lines:
            faults.append(f"line {line}: track {track!r} stands in line {lines[track]} already")
        if not track or not genre:
            faults.append(f"line {line}: no {'genre' if track else 'msd_track_id'}")
        if split and split not in SPLITS:
            faults.append(f"line {line}: set {split!r}: must be {', '.join(SPLITS)} or empty")
        lines.setdefault(track, line)
        genres.add(genre)
        items.append(
            Item(
                track,
                artist=row["msd_artist_id"],
                album=row["album_index"],
                split=cast(Split, split) or None,
                labels=(flat_label(genre),),
                extra={"image_url": row["image_url"]},
            )
        )
    if faults:
        raise ManifestError(str(path), faults)
    notes = [*split_note(items), *renamed_note(genres)]
    placed: dict[str, set[Split | None]] = {}
    for item in items:
        placed.setdefault(item.album, set()).add(item.split)
    torn = [album for album, splits in placed.items() if album and len(splits) > 1]
    if torn:
        notes.append(
            f"{len(torn)} of {len(placed)} albums are in several published splits (first: "
            f"album_index {torn[0]!r}); a check compares albums of the same artist only"
        )
    no_artist = sum(not item.artist for item in items)
    if no_artist:
        notes.append(f"{no_artist} tracks name no artist: no check sees whether they leak")
    return Published(str(path), tuple(items), tuple(notes))
