"""Where the media of a manifest may lie: a manifest from elsewhere must not open every file.

Media lie in the manifest's folder, or in one that the user names; symbolic links are followed
before it is decided where a file lies.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from mmgenre.disk.files import without_links, without_steps_up
from mmgenre.errors import ManifestError
from mmgenre.items.item import LIST_SEPARATOR, Media
from mmgenre.items.manifest import Manifest
from mmgenre.items.modalities import MODALITIES, Modality

LONGEST_PATH = 4096  # characters; no system opens a longer one
SHOWN = 3


class Roots:
    """Folders that files may lie in, at any depth. What files have in common is looked at once.

    >>> Roots([Path("/data/covers")]).hold_folder("/data/covers/../texts")
    False
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self.folders = sorted({os.path.realpath(folder) for folder in folders})
        self._real: dict[str, str] = {}

    def hold_folder(self, folder: str) -> bool:
        """Whether a folder, an absolute path, is one of these or below one."""
        return self._hold(self._without_links(folder))

    def hold_file(self, file: Path) -> bool:
        """Whether a file is below one of these, and is no link that leads out."""
        if file.is_symlink():
            return self._hold(os.path.realpath(file))
        return self.hold_folder(str(file.absolute().parent))

    def _without_links(self, folder: str) -> str:
        """As `os.path.realpath`, which looks at every folder above each time."""
        if folder not in self._real:
            above, _, name = folder.rpartition("/")
            if not above or name in ("", ".", "..") or len(folder) > LONGEST_PATH:
                self._real[folder] = os.path.realpath(folder)
            else:
                path = Path(self._without_links(above), name)
                self._real[folder] = os.path.realpath(path) if path.is_symlink() else str(path)
        return self._real[folder]

    def _hold(self, path: str) -> bool:
        return any(path == f or path.startswith(f.rstrip("/") + "/") for f in self.folders)


def check_folders(manifest: Manifest, modality: Modality) -> None:
    """ManifestError if media of a modality stand in folders where those of the manifest may not.

    No file is looked at, so that it costs little where there is nothing to read; `check_files` does
    before files are read. Items that were made in Python may have media anywhere.
    """
    columns = manifest.columns
    if columns.roots is None:
        return
    roots, above = Roots(columns.roots), columns.folder.absolute()
    named = _folders(columns.files.get(modality, ()))
    # Not by `Path`, which takes longer than the rest: there may be as many folders as items.
    paths = (name if name.startswith("/") else f"{above}/{name}" for name in named)
    if not all(roots.hold_folder(path.rstrip("/") or "/") for path in paths):
        # Of all modalities at once, so that the user is asked once.
        rows = (media for m in MODALITIES for _, media in manifest.rows(m))
        files = [file for media in rows for file in media if isinstance(file, Path)]
        _refuse_outside(manifest.where, roots, files)


def check_files(manifest: Manifest, files: Iterable[Path]) -> None:
    """ManifestError if files, as they are on disk, lie where those of the manifest may not."""
    if manifest.columns.roots is not None:
        _refuse_outside(manifest.where, Roots(manifest.columns.roots), list(files))


def _folders(cells: Iterable[str | Media]) -> set[str]:
    """The folders of the files in a column, each once."""
    found: set[str] = set()
    for cell in filter(None, cells):
        if isinstance(cell, str):
            names = cell.split(LIST_SEPARATOR) if LIST_SEPARATOR in cell else (cell,)
            found.update(name[: name.rfind("/") + 1].lstrip() for name in names)
        else:
            found.update(str(file.parent) for file in cell if isinstance(file, Path))
    return found


def _refuse_outside(where: str, roots: Roots, files: Sequence[Path]) -> None:
    outside = [file for file in files if not roots.hold_file(file)]
    if not outside:
        return
    named = [str(without_steps_up(file)) for file in outside[:SHOWN]]
    shown = ", ".join(named) + (", ..." if len(outside) > SHOWN else "")
    needed = " ".join(f"--media-root {shlex.quote(str(folder))}" for folder in _common(outside))
    fault = (
        f"{len(outside):,} of {len(files):,} media lie neither in the folder of the manifest nor "
        f"in one that you have named: {shown}. If they are to be read, add: {needed}"
    )
    raise ManifestError(where, [fault])


def _common(files: Iterable[Path]) -> list[Path]:
    """Few folders that hold all files; the root of the file system only for a file in it."""
    groups: dict[tuple[str, ...], list[Path]] = {}
    for folder in sorted({without_links(file).parent for file in files}):
        groups.setdefault(folder.parts[:2], []).append(folder)
    return [Path(os.path.commonpath(folders)) for folders in groups.values()]
