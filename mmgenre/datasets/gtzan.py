"""GTZAN: a thousand excerpts of ten genres, whose faults decide what figures on it mean.

Tzanetakis and Cook 2002; Sturm, "The GTZAN dataset: its contents, its faults", 2013; card `gtzan`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mmgenre.datasets import sources
from mmgenre.datasets.folders import find_media
from mmgenre.datasets.selection import with_validation
from mmgenre.datasets.sources import Published, refuse
from mmgenre.items.item import Item, Split

GENRES = (
    *("blues", "classical", "country", "disco", "hiphop"),
    *("jazz", "metal", "pop", "reggae", "rock"),
)
NAME = re.compile(r"([a-z]+)[._](\d{5})(?:\.(?:wav|au|mp3|flac))?")
FILTERED: Mapping[str, Split] = {
    "train_filtered.txt": "train",
    "valid_filtered.txt": "val",
    "test_filtered.txt": "test",
}
FOLD1 = ("f1_train.txt", "f1_test.txt")
FOLD1_TRUTH, FOLD1_GROUPS = "f1_evaluate.txt", "f1_train_groups.txt"
UNREADABLE = "jazz.00054"
SPLITS = ("filtered", "fold1", "none")


def read_gtzan(folder: Path, *, split: str | None = None) -> Published:
    """Reads `genres/blues/blues.00000.wav`, wherever below the folder: an item is an excerpt.

    `split`: "filtered" (default), the split without known faults (Kereliuk et al. 2015) by
    `train_filtered.txt`, `valid_filtered.txt` and `test_filtered.txt`; "fold1", by artists, of
    `f1_train.txt` and `f1_test.txt`, with validation drawn from training; or "none". Without the
    lists it refuses: artists and copies of one recording are in several parts of a random split,
    whose figures flatter by many points, and nothing in the files tells artists apart.
    """
    chosen = split or SPLITS[0]
    if chosen not in SPLITS:
        refuse(folder, [f"split {chosen!r}: allowed are {', '.join(SPLITS)}"])
    audio = _audio(folder)
    if not audio:
        refuse(folder, ["no blues/blues.00000.wav or the like; expected GENRE/GENRE.NUMBER.wav"])
    known = set(audio)
    if chosen == "none":
        items = [_item(name, audio, None) for name in sorted(known - {UNREADABLE})]
        note = (
            "no split: artists and copies of one recording will be in several parts of a random "
            "one, so that figures on it flatter; --split filtered or fold1 need the lists of the "
            "card gtzan"
        )
        return Published(str(folder), tuple(items), (note, *_left_out(known)))
    names = tuple(FILTERED) if chosen == "filtered" else FOLD1
    found = sources.find_files(folder, [*names, FOLD1_TRUTH, FOLD1_GROUPS])
    missing = [name for name in names if name not in found]
    faults = sources.where_to_get(sources.load_card("gtzan"), missing, folder)
    if missing:
        faults.append("a random split would put artists into two parts; to have one: --split none")
    refuse(folder, faults)
    if chosen == "filtered":
        placed = {n: own for name, own in FILTERED.items() for n in _listed(found[name])}
        return _published(folder, audio, placed, {}, ())
    train, test = (_listed(found[name]) for name in FOLD1)
    if FOLD1_TRUTH in found and set(_listed(found[FOLD1_TRUTH])) != set(test):
        refuse(found[FOLD1_TRUTH], [f"lists other excerpts than {FOLD1[1]}"])
    artists: dict[str, str] = {}
    notes: list[str] = []
    if FOLD1_GROUPS not in found:
        notes.append(
            f"no {FOLD1_GROUPS}, which tells artists apart: validation is drawn at random from "
            "training, with artists in both, so that figures on validation flatter; test is not "
            "touched"
        )
    else:
        groups = [line.strip() for line in sources.read_lines(found[FOLD1_GROUPS])]
        if len(groups) != len(train):
            what = f"{len(groups)} lines, but {FOLD1[0]} has {len(train)}"
            refuse(found[FOLD1_GROUPS], [what])
        artists = {name: f"artist {group}" for name, group in zip(train, groups, strict=True)}
    placed = {**dict.fromkeys(train, "train"), **dict.fromkeys(test, "test")}
    whole = _published(folder, audio, placed, artists, notes)
    return with_validation(whole)


def _published(
    folder: Path,
    audio: Mapping[str, Path],
    placed: Mapping[str, Split],
    artists: Mapping[str, str],
    notes: Sequence[str],
) -> Published:
    there = sorted(name for name in placed if name in audio and name != UNREADABLE)
    items = [replace(_item(n, audio, placed[n]), artist=artists.get(n, "")) for n in there]
    lacking = sorted(placed.keys() - set(there))
    outside = len(audio.keys() - placed.keys())
    found = [*notes, *sources.found_note(lacking, "listed excerpts have no usable file")]
    found += [f"{outside} excerpts are in no list, as faulty or of an artist elsewhere: left out"]
    return Published(str(folder), tuple(items), (*found, *_left_out(set(audio))))


def _left_out(known: set[str]) -> list[str]:
    return [f"{UNREADABLE} is left out: its file is damaged"] if UNREADABLE in known else []


def _item(name: str, audio: Mapping[str, Path], split: Split | None) -> Item:
    genre = name.partition(".")[0]
    return Item(name, split=split, labels=(genre,), media={"audio": (audio[name],)})


def _audio(folder: Path) -> dict[str, Path]:
    """`blues.00000` -> file."""
    found: dict[str, Path] = {}
    for path in find_media(folder, ("audio",)).files:
        match = NAME.fullmatch(path.name)
        if match and match[1] in GENRES and path.suffix:
            found.setdefault(f"{match[1]}.{match[2]}", path)
    return found


def _listed(path: Path) -> list[str]:
    """The excerpts of a list: `blues/blues.00029.wav`, or `./blues_00000.wav<tab>blues`."""
    names: list[str] = []
    faults: list[str] = []
    for line, text in enumerate(sources.read_lines(path), start=1):
        name = text.partition("\t")[0].strip().rpartition("/")[2]
        match = NAME.fullmatch(name)
        if match and match[1] in GENRES:
            names.append(f"{match[1]}.{match[2]}")
        elif text.strip():
            faults.append(f"line {line}: expected blues/blues.00029.wav, got {text!r}")
    refuse(path, faults)
    return names
