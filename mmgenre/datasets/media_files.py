"""Files of a medium by their names, for readers of datasets whose media are named by ids."""

from pathlib import Path

from mmgenre.datasets.folders import find_media
from mmgenre.datasets.sources import refuse


def by_stem(folder: Path, medium: str) -> dict[str, Path]:
    """Stem -> file, of a folder and all its subfolders; a ManifestError if two have one stem."""
    found: dict[str, Path] = {}
    faults: list[str] = []
    for path in find_media(folder, (medium,)).files:
        if path.stem in found:
            faults.append(f"two files for {path.stem!r}: {found[path.stem]} and {path}; keep one")
        found[path.stem] = path
    refuse(folder, faults)
    return found
