"""Datasets that mirdata knows, if it is installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmgenre.datasets import sources
from mmgenre.datasets.sources import Published, flat_label, refuse
from mmgenre.items.item import Item, Media, Split
from mmgenre.items.notes import NO_ARTISTS_NOTE

GENRES = ("genre", "genres", "tags")  # attributes of tracks, the first that there is
PREFIX = "genre---"  # of MTG-Jamendo's tags


def read_mirdata(folder: Path, *, dataset: str | None = None) -> Published:
    """Reads a dataset by mirdata's loader: `folder` is its `data_home`, an item is a track.

    `dataset` is mirdata's name, such as `gtzan_genre`. Genres are the track's `genre`, `genres` or
    `tags`; of tags with a category those of genre. Splits are mirdata's, if the loader has any.
    """
    if find_spec("mirdata") is None:
        refuse(folder, ["mirdata is not installed: pip install mirdata"])
    mirdata = import_module("mirdata")
    known = list(mirdata.list_datasets())
    if dataset not in known:
        wanted = f"dataset {dataset!r}: give" if dataset else "give"
        refuse(folder, [f"{wanted} --dataset one of {', '.join(known)}"])
    loader: Any = mirdata.initialize(dataset, data_home=str(folder))
    try:
        tracks: Mapping[str, Any] = loader.load_tracks()
        splits = _splits(loader)
    # Loaders raise whatever a missing index or table makes them raise.
    except Exception as error:
        what = f"mirdata cannot load {dataset} from here: {type(error).__name__}: {error}"
        refuse(folder, [what])
    items: list[Item] = []
    lacking: list[str] = []
    written: set[str] = set()
    for track_id, track in tracks.items():
        names = _genres(track)
        written.update(names)
        media: dict[str, Media] = {}
        path = getattr(track, "audio_path", None)
        if path and Path(path).is_file():
            media["audio"] = (Path(path),)
        else:
            lacking.append(str(track_id))
        labels = tuple(dict.fromkeys(map(flat_label, names)))
        artist, album = (_text(track, *n) for n in (("artist", "artist_id"), ("album", "album_id")))
        item_id = sources.id_of_path(str(track_id))
        items.append(Item(item_id, artist, album, splits.get(str(track_id)), labels, media))
    if not any(item.labels for item in items):
        fault = f"no track of {dataset} has a {', '.join(GENRES)}: it is no dataset of genres"
        refuse(folder, [fault])
    notes = sources.found_note(lacking, f"of {len(items)} tracks have no audio in {folder}")
    notes += [*sources.renamed_note(written), *sources.split_note(items)]
    if not any(item.artist or item.album for item in items):
        notes.append(NO_ARTISTS_NOTE)
    return Published(str(folder), tuple(items), tuple(notes))


def _text(track: Any, *names: str) -> str:
    return next((str(v) for name in names if (v := getattr(track, name, None))), "")


def _genres(track: Any) -> list[str]:
    value = next((v for name in GENRES if (v := getattr(track, name, None))), ())
    names = [value] if isinstance(value, str) else list(map(str, value))
    own = [name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)]
    others = [name for name in names if "---" not in name]
    return [name for n in own or others if (name := n.strip())]


def _splits(loader: Any) -> dict[str, Split]:
    try:
        found: Mapping[str, Sequence[str]] = loader.get_track_splits()
    except (AttributeError, NotImplementedError):
        return {}
    known = {name: split for name in found if (split := sources.SPLIT_NAMES.get(name.lower()))}
    return {str(i): known[name] for name in known for i in found[name]}
