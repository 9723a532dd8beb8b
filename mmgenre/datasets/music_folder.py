"""The files of a music folder: tracks, and what lies beside them."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmgenre.datasets.folders import HIDDEN, UNWRITABLE
from mmgenre.datasets.sources import Fault, check_folder, id_of_path
from mmgenre.items.manifest import LONGEST_ID
from mmgenre.items.modalities import SUFFIXES

# CD1/, Disc 2/, cd 03 - live/: the folders of the discs of an album.
DISC_FOLDER = re.compile(r"(?:cd|disc|disk|disque)[ _.-]*\d{1,2}(?![^\W_]).*", re.IGNORECASE)
COVER_NAMES = ("cover", "folder", "front")
REVIEW_NAMES = ("review.txt", "album.txt")


@dataclass
class MusicFolder:
    """Everything of a folder and its subfolders that a manifest may be made from."""

    root: Path
    tracks: list[Path] = field(default_factory=list)  # sorted
    # Of each folder with tracks: its covers and texts, by their names in lower case.
    beside: dict[Path, dict[str, Path]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    n_hidden: int = 0
    others: Counter[str] = field(default_factory=Counter)  # suffixes of files that are left out

    def cover(self, folder: Path) -> Path | None:
        """cover.*, folder.* or front.* of a folder, or of that above one of a disc."""
        for place in dict.fromkeys((folder, album_folder(folder))):
            here = self.beside.get(place, {})
            for stem in COVER_NAMES:
                for name, path in here.items():
                    if name.rpartition(".")[0] == stem and path.suffix.lower() in SUFFIXES["image"]:
                        return path
        return None

    def text(self, track: Path, suffix: str) -> Path | None:
        """The file beside a track that has its name and another suffix."""
        return self.beside.get(track.parent, {}).get(f"{track.stem}{suffix}".lower())

    def review(self, folder: Path) -> Path | None:
        """The review of an album in its folder."""
        here = self.beside.get(folder, {})
        return next((here[name] for name in REVIEW_NAMES if name in here), None)

    @property
    def digest(self) -> str:
        """Hash of names, sizes and times of all these files: equal, nothing has changed."""
        found = hashlib.sha256()
        beside = (path for here in self.beside.values() for path in here.values())
        for path in sorted([*self.tracks, *beside]):
            try:
                state = path.stat()
            except OSError:
                continue
            found.update(f"{path}\0{state.st_size}\0{state.st_mtime_ns}\n".encode(errors="replace"))
        return found.hexdigest()


def album_folder(folder: Path) -> Path:
    """The folder above one of a disc; any other is an album's own.

    >>> album_folder(Path("Artist/Album/CD1")).name, album_folder(Path("Artist/Discovery")).name
    ('Album', 'Discovery')
    """
    return folder.parent if DISC_FOLDER.fullmatch(folder.name) else folder


def look_into(root: Path) -> MusicFolder:
    """Lists a music folder, also through links; what cannot be listed is a fault, and no end.

    ManifestError if there is no such folder.
    """
    check_folder(root)
    found = MusicFolder(root)

    def unreadable(error: OSError) -> None:
        where = str(error.filename)
        found.faults.append(Fault(where, "folder cannot be read", str(error.strerror)))

    for folder, names in _walk(root, found, unreadable):
        tracks: list[Path] = []
        here: dict[str, Path] = {}
        for name in sorted(names):
            path, suffix = folder / name, Path(name).suffix.lower()
            if HIDDEN.match(name):
                found.n_hidden += 1
            elif suffix in SUFFIXES["audio"]:
                if (detail := _unwritable(path, root)) is None:
                    tracks.append(path)
                else:
                    found.faults.append(Fault(str(path), "name no manifest can hold", detail))
            elif _is_beside(name, suffix):
                if (detail := _unwritable(path, root)) is None:
                    here.setdefault(name.lower(), path)
                else:
                    found.faults.append(Fault(str(path), "name no manifest can hold", detail))
            else:
                found.others[suffix or "no suffix"] += 1
        found.tracks += tracks
        if here:
            found.beside[folder] = here
    found.tracks.sort()
    return found


def _is_beside(name: str, suffix: str) -> bool:
    is_cover = Path(name).stem.lower() in COVER_NAMES and suffix in SUFFIXES["image"]
    return is_cover or suffix in (".lrc", ".txt")


def _walk(
    root: Path, found: MusicFolder, unreadable: Callable[[OSError], None]
) -> Iterator[tuple[Path, Sequence[str]]]:
    """Folders and the names of their files; a link to a folder above would never end."""
    seen: set[Path] = set()
    for place, folders, names in os.walk(root, onerror=unreadable, followlinks=True):
        here = Path(place)
        real = here.resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        found.n_hidden += sum(bool(HIDDEN.match(name)) for name in folders)
        folders[:] = sorted(name for name in folders if not HIDDEN.match(name))
        yield here, names


def _unwritable(path: Path, root: Path) -> str | None:
    """Why a manifest cannot hold the path of a file."""
    name = str(path.relative_to(root))
    if UNWRITABLE.search(name):
        return "contains ';', a control character or bytes that are not UTF-8; rename it"
    if name != name.strip():
        return "begins or ends with a space; rename it"
    if len(id_of_path(name)) > LONGEST_ID:
        return f"longer than {LONGEST_ID} characters; rename it"
    return None
