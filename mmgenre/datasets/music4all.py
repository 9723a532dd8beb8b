"""Music4All: excerpts of 30 s with lyrics and genres; and A+A, its albums and artists.

Santana et al., "Music4All: a new music database and its applications", IWSSIP 2020; cards
`music4all` and `music4all-aa`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from mmgenre.datasets import sources
from mmgenre.datasets.folders import find_media
from mmgenre.datasets.selection import with_validation
from mmgenre.datasets.sources import Published, flat_label, refuse
from mmgenre.items.item import Item, Media, Split

# With tabs between the cells, in spite of their names.
GENRES, SONGS, LANGUAGES = "id_genres.csv", "id_information.csv", "id_lang.csv"
Unit = Literal["album", "artist"]
MODALITY_SPLITS = "album_modality_splits.json"
KEEPS = "keeps_modality_at"  # column: the smallest list that has the item, in % of test


def read_music4all(folder: Path) -> Published:
    """Reads `id_genres.csv` and what lies beside it: an item is an excerpt, its id theirs.

    Artist and album come from `id_information.csv`, the language from `id_lang.csv`, audio from
    `audios/ID.mp3`, lyrics from `lyrics/ID.txt`. There is no published split: splits are drawn,
    with no artist in two, when a run starts.
    """
    found = sources.find_files(folder, [GENRES, SONGS, LANGUAGES])
    missing = [name for name in (GENRES, SONGS) if name not in found]
    refuse(folder, sources.where_to_get(sources.load_card("music4all"), missing, folder))
    genres = _by_id(found[GENRES], ("genres",))
    songs = _by_id(found[SONGS], ("artist", "song", "album_name"))
    languages = _by_id(found[LANGUAGES], ("lang",)) if LANGUAGES in found else {}
    places = found[GENRES].parent, folder
    items: list[Item] = []
    written: set[str] = set()
    for item_id, row in genres.items():
        names = [name for part in row["genres"].split(",") if (name := part.strip())]
        written.update(names)
        song = songs.get(item_id, {"artist": "", "song": "", "album_name": ""})
        media: dict[str, Media] = {}
        for modality, name in (
            ("audio", f"audios/{item_id}.mp3"),
            ("text", f"lyrics/{item_id}.txt"),
        ):
            file = next((f for place in places if (f := place / name).is_file()), None)
            if file is not None:
                media[modality] = (file,)
        extra = {"title": song["song"]} if song["song"] else {}
        extra |= {"language": languages[item_id]["lang"]} if item_id in languages else {}
        labels = tuple(dict.fromkeys(map(flat_label, names)))
        own = song["artist"], song["album_name"]
        items.append(Item(item_id, *own, None, labels, media, extra))
    unknown = [item_id for item_id in genres if item_id not in songs]
    notes = sources.found_note(unknown, f"excerpts are not in {SONGS}: they have no artist")
    notes += _without(items, ("audio", "text"))
    notes += sources.renamed_note(written)
    return Published(str(found[GENRES]), tuple(items), tuple(notes))


def _by_id(path: Path, columns: Sequence[str]) -> dict[str, dict[str, str]]:
    """Rows by id; a ManifestError if one is repeated, or the first row is no header."""
    found: dict[str, dict[str, str]] = {}
    faults: list[str] = []
    for line, row in sources.read_table(path, ("id", *columns), delimiter="\t"):
        if row["id"] in found:
            faults.append(f"line {line}: id {row['id']!r} is there twice")
        found[row["id"]] = row
    refuse(path, faults)
    return found


def _without(items: Sequence[Item], modalities: Sequence[str]) -> list[str]:
    counts = {m: sum(m not in item.media for item in items) for m in modalities}
    return [f"{n} of {len(items)} items are without {m}" for m, n in counts.items() if n]


def read_music4all_aa(folder: Path, *, subset: Unit | None = None) -> Published:
    """Reads Music4All A+A: an item is an album (`subset` "album", default) or an artist.

    `dataset/album/MBID.json` has genres and a summary, the highest of `MBID*_N.jpg` is its image.
    `music4all_album_split.json` lists the training items, the rest is test; validation is drawn
    from training. Of albums, the lists of `album_modality_splits.json`, nested subsets of test that
    keep a modality, become the column `keeps_modality_at`: the smallest percentage whose list has
    the item. `fusion.missing_by` hides a modality by it.
    """
    unit: Unit = subset or "album"
    if unit not in get_args(Unit):
        refuse(folder, [f"subset {unit!r}: allowed are {', '.join(get_args(Unit))}"])
    split_file = f"music4all_{unit}_split.json"
    found = sources.find_files(folder, [split_file, MODALITY_SPLITS])
    missing = [split_file] if split_file not in found else []
    refuse(folder, sources.where_to_get(sources.load_card("music4all-aa"), missing, folder))
    train = set(_object(found[split_file]).get("train", ()))
    place = found[split_file].parent / unit
    sources.check_folder(place)
    keeps = _keeps(found[MODALITY_SPLITS]) if unit == "album" and MODALITY_SPLITS in found else {}
    pictures = _pictures(place)
    items: list[Item] = []
    faults: list[str] = []
    written: set[str] = set()
    for path in sorted(place.glob("*.json")):
        told = _object(path)
        about = told.get(f"{unit}_info", {}).get(unit, {})
        if not isinstance(about, dict) or not told.get("mbid"):
            faults.append(f"{path.name}: expected mbid and {unit}_info, as published")
            continue
        item_id = str(told["mbid"])
        names = [str(name).strip() for name in about.get("genres") or () if str(name).strip()]
        written.update(names)
        media: dict[str, Media] = {}
        if item_id in pictures:
            media["image"] = (pictures[item_id],)
        summary = (about.get("wiki") or {}).get("summary") or ""
        if any(map(str.isalnum, summary)):
            media["text"] = (summary,)
        artist = about.get("artist", "") if unit == "album" else about.get("name", "")
        artist = artist if isinstance(artist, str) else str(artist.get("name", ""))
        album = str(about.get("name", "")) if unit == "album" else ""
        split: Split = "train" if item_id in train else "test"
        extra = {KEEPS: keeps[item_id]} if item_id in keeps else {}
        labels = tuple(dict.fromkeys(map(flat_label, names)))
        items.append(Item(item_id, artist, album, split, labels, media, extra))
    refuse(place, faults or ([] if items else ["no MBID.json, as published"]))
    absent = sorted(train - {item.id for item in items})
    notes = sources.found_note(absent, f"training {unit}s of {split_file} have no file")
    notes += [*_without(items, ("image", "text")), *sources.renamed_note(written)]
    return with_validation(Published(str(place), tuple(items), tuple(notes)))


def _object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        refuse(path, [f"no JSON: {error}"])
    if not isinstance(content, dict):
        refuse(path, [f"a {type(content).__name__}, expected an object"])
    return dict(content)


def _keeps(path: Path) -> Mapping[str, str]:
    """Id -> the smallest percentage whose list has it."""
    lists = _object(path).get("missing_modality", {})
    if not lists or not all(str(name).isdigit() for name in lists):
        refuse(path, ["expected lists under missing_modality, by percentage"])
    found: dict[str, str] = {}
    for percent in sorted(map(int, lists), reverse=True):
        found.update(dict.fromkeys(map(str, lists[str(percent)]), str(percent)))
    return found


def _pictures(place: Path) -> dict[str, Path]:
    """MBID -> its picture with the highest number."""
    best: dict[str, tuple[int, Path]] = {}
    for path in find_media(place, ("image",)).files:
        match = re.fullmatch(r"([0-9A-Za-z-]+?)(?:_(\d+))?", path.stem)
        if match:
            number = int(match[2] or 0)
            best[match[1]] = max(best.get(match[1], (-1, path)), (number, path))
    return {name: path for name, (_, path) in best.items()}
