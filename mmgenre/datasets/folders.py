"""Media in one folder per genre, perhaps inside folders named after the splits, as a manifest."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmgenre.datasets import sources
from mmgenre.datasets.sources import SPLIT_NAMES, Published, refuse
from mmgenre.errors import ManifestError
from mmgenre.items.item import LIST_SEPARATOR, Item, Media, Split
from mmgenre.items.labels import SEPARATOR
from mmgenre.items.modalities import SUFFIXES
from mmgenre.items.names import genre_key
from mmgenre.items.notes import NO_ARTISTS_NOTE

UNWRITABLE = re.compile(rf"[\x00-\x1f{LIST_SEPARATOR}\ud800-\udfff]")  # not in a manifest's cells
HIDDEN = re.compile(r"\.|__MACOSX\Z")  # the latter is a folder that macOS adds to archives
EXPECTED = "FOLDER/GENRE/*.mp3 or *.jpg, or FOLDER/train/GENRE/*"
TEXT = frozenset({".txt"})
ARCHIVE_FOLDER = "GAID"
LEFT_OUT = ("DeathMetal", "DoomMetal")
GENRES = (
    *("Blues", "Classical", "Country", "DrumNBass", "Electronic", "Folk", "Grime", "HeavyMetal"),
    *("HipHop", "Jazz", "LoFi", "Pop", "PsychedelicRock", "Punk", "Reggae", "Rock", "Soul"),
    "Techno",
)
COVERS_PER_GENRE = 1000


@dataclass
class Found:
    """The files of some media in a folder and all its subfolders, also linked ones."""

    files: list[Path] = field(default_factory=list)  # sorted
    others: Counter[str] = field(default_factory=Counter)  # suffixes of all other files
    n_hidden: int = 0
    unwritable: list[str] = field(default_factory=list)
    again: list[str] = field(default_factory=list)  # links to folders that were read before

    def notes(self, media: Iterable[str]) -> list[str]:
        """What was left out."""
        notes = []
        if self.n_hidden:
            notes.append(f"{self.n_hidden} hidden file(s) or folder(s) are left out")
        if self.others:
            counts = ", ".join(f"{n} {suffix}" for suffix, n in self.others.most_common())
            notes.append(
                f"{self.others.total()} file(s) do not have the suffix of {' or '.join(media)}: "
                f"{counts}"
            )
        if self.unwritable:
            notes.append(
                f"{len(self.unwritable)} file(s) are left out, because a manifest cannot contain "
                f"names with {LIST_SEPARATOR!r}, control characters or bytes that are not UTF-8 "
                f"(first: {self.unwritable[0]!a}); rename them"
            )
        what = "link(s) to folders that are already read are left out"
        return notes + sources.found_note(self.again, what)


def find_media(folder: Path, media: Sequence[str]) -> Found:
    """The files of some media ("audio", "image", "text") in a folder and all its subfolders."""
    sources.check_folder(folder)

    def unreadable(error: OSError) -> None:
        raise ManifestError(str(folder), [f"{error.filename}: {error.strerror}"]) from None

    wanted = frozenset().union(*(TEXT if m == "text" else SUFFIXES[m] for m in media))
    found = Found()
    seen: set[Path] = set()
    for place, folders, names in os.walk(folder, onerror=unreadable, followlinks=True):
        here = Path(place)
        if here.resolve() in seen:  # a link to a folder above would never end
            found.again.append(str(here.relative_to(folder)))
            folders.clear()
            continue
        seen.add(here.resolve())
        found.n_hidden += sum(bool(HIDDEN.match(name)) for name in names + folders)
        folders[:] = sorted(name for name in folders if not HIDDEN.match(name))
        for path in (here / name for name in sorted(names) if not HIDDEN.match(name)):
            if path.suffix.lower() not in wanted:
                found.others[path.suffix.lower() or "no suffix"] += 1
            elif UNWRITABLE.search(str(path.relative_to(folder))):
                found.unwritable.append(path.name)
            else:
                found.files.append(path)
    found.files.sort()
    return found


def read_folders(folder: Path) -> Published:
    """Reads `FOLDER/GENRE/*`: an item is a track or a cover, its label the folder that contains it.

    Files of one name are one item: `Rock/1.mp3`, `Rock/1.jpg` and `Rock/1.txt` are its audio, cover
    and text. Folders in a genre's folder are its sub-genres: `Rock/Punk/1.mp3` has the label
    `Rock/Punk`. Where every folder at the top is called train, val or test (or valid, validation,
    dev, training, testing), these are the splits, and they contain the genres. An item's id is the
    path of its audio, else of its cover.
    """
    found = find_media(folder, ("audio", "image", "text"))
    grouped, alone = _by_name(found.files)
    found.others.update(path.suffix.lower() for path in alone)
    paths = {next(iter(media.values()))[0]: media for media in grouped}
    parts_of = {path: path.relative_to(folder).parts for path in paths if isinstance(path, Path)}
    tops = sorted({parts[0] for parts in parts_of.values() if len(parts) > 1})
    faults, splits = _splits(tops)
    depth = 1 if splits else 0  # where the genre begins
    loose = ["/".join(parts) for parts in parts_of.values() if len(parts) < depth + 2]
    items = tuple(
        Item(
            sources.id_of_path("/".join(parts)),
            split=splits.get(parts[0]),
            labels=(SEPARATOR.join(parts[depth:-1]),),
            media=paths[path],
        )
        for path, parts in parts_of.items()
        if len(parts) >= depth + 2
    )
    labels = {item.labels[0] for item in items}
    faults += [
        f"folder {name!r}: a genre must not begin or end with a space or contain "
        f"{LIST_SEPARATOR!r}; rename it"
        for name in sorted({part for label in labels for part in label.split(SEPARATOR)})
        if name != name.strip() or LIST_SEPARATOR in name
    ]
    if not items:
        held = "no audio and no image at all"
        if loose:
            held = f"{len(loose)} file(s) are in no folder of a genre"
        suffixes = ", ".join(sorted(SUFFIXES["audio"] | SUFFIXES["image"]))
        faults.append(f"{held}; expected {EXPECTED}, with suffixes {suffixes}")
    refuse(folder, faults)
    notes = found.notes(("audio", "image"))
    notes += sources.found_note(loose, "file(s) that are in no folder of a genre are left out")
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    empty = [name for name in names if name not in tops and not name.startswith((".", "__"))]
    if empty:
        notes.append(f"{len(empty)} folder(s) contain no audio and no image: {', '.join(empty)}")
    alike: dict[str, list[str]] = {}
    for label in sorted(labels):
        alike.setdefault(genre_key(label), []).append(label)
    notes += [
        f"genres {' and '.join(same)} differ only in case, accents or signs; are they the same?"
        for same in alike.values()
        if len(same) > 1
    ]
    top, *others = {label.split(SEPARATOR)[0] for label in labels}
    if not others:
        notes.append(f"every genre is below {top!r}; if that is no genre, give its folder instead")
    return Published(str(folder), items, (*notes, NO_ARTISTS_NOTE))


def _by_name(files: Sequence[Path]) -> tuple[list[dict[str, Media]], list[Path]]:
    """The media of each item, audio first; and texts that belong to none.

    Files of one name in a folder are one item, unless two of them are of one medium.
    """
    same: dict[Path, dict[str, list[Path]]] = {}
    for path in files:
        suffix = path.suffix.lower()
        medium = next((m for m, suffixes in SUFFIXES.items() if suffix in suffixes), "text")
        same.setdefault(path.with_suffix(""), {}).setdefault(medium, []).append(path)
    items: list[dict[str, Media]] = []
    alone: list[Path] = []
    for media in same.values():
        texts = media.pop("text", [])
        if media and len(media) == sum(map(len, media.values())):
            own: dict[str, Media] = {m: tuple(media[m]) for m in ("audio", "image") if m in media}
            items.append(own | ({"text": tuple(texts)} if texts else {}))
        else:
            items += [{m: (path,)} for m, paths in media.items() for path in paths]
            alone += texts
    return items, alone


def _splits(tops: Sequence[str]) -> tuple[list[str], Mapping[str, Split]]:
    """Faults, and the split of each folder at the top if their names are those of splits."""
    splits = {top: SPLIT_NAMES[top.lower()] for top in tops if top.lower() in SPLIT_NAMES}
    beside = [top for top in tops if top not in splits]
    if splits and beside:
        return [
            f"folders {', '.join(splits)} are named after splits, but {', '.join(beside)} beside "
            f"them are not; put every genre into a split, or none: {EXPECTED}"
        ], {}
    faults = []
    for split in dict.fromkeys(splits.values()):
        same = [top for top in splits if splits[top] == split]
        if len(same) > 1:
            faults.append(f"folders {', '.join(same)} all mean the split {split}; keep one")
    return faults, splits


def read_covers20k(folder: Path) -> Published:
    """Reads 20k album covers within 20 genres, as Greenfield & Paintsil use it: 18 genres.

    One folder per genre with 1000 covers of 300 x 300 pixels; the archive unpacks to
    `GAID/GENRE/*.jpg`. The two metal sub-genres are left out; to keep all 20, read the folder of
    the genres with the layout `folders`. METHOD section 9; card `covers20k`.
    """
    genre_folders = [f"{split}/{genre}" for split in (".", *SPLIT_NAMES) for genre in GENRES]
    places = (folder, folder / ARCHIVE_FOLDER)
    roots = [p for p in places if any((p / name).is_dir() for name in genre_folders)]
    card = sources.load_card("covers20k")
    fault = (
        f"no folders of the genres {', '.join(GENRES[:3])}, ..., here or in {ARCHIVE_FOLDER}; "
        f"get {card.title} from {card.urls[0]} and unpack it into {folder}"
    )
    refuse(folder, [] if roots else [fault])
    published = read_folders(roots[0])
    counts = Counter(item.labels[0] for item in published.items)
    faults = [f"no cover of the genre {name!r}" for name in GENRES if name not in counts]
    faults += [
        f"folder {name!r} is none of the 20 genres: {', '.join(sorted((*GENRES, *LEFT_OUT)))}; "
        "move it away, or read all of them with the layout folders"
        for name in counts
        if name not in (*GENRES, *LEFT_OUT)
    ]
    refuse(roots[0], faults)
    items = tuple(item for item in published.items if item.labels[0] in GENRES)
    notes = [
        f"{len(published.items) - len(items)} covers of {' and '.join(LEFT_OUT)} are left out, as "
        "Greenfield & Paintsil did; the layout folders keeps them"
    ]
    others = [f"{n} {name}" for name, n in counts.items() if n != COVERS_PER_GENRE]
    if others:
        notes.append(f"not {COVERS_PER_GENRE} covers, as published, but {', '.join(others)}")
    if not any(item.split for item in items):
        notes.append("no split is published; theirs was 80/10/10, drawn at random in each genre")
    return replace(published, items=items, notes=(*published.notes, *notes))
