"""Items with a text file each, and what to put before every process to make readers odd."""

from __future__ import annotations

import os
from pathlib import Path

from mmgenre.items.manifest import Item, Manifest

# A file `sitecustomize.py` on the path: a text of this name ends its reader, or holds it up.
ODD_READERS = """
import signal, time
from pathlib import Path

plain_open = Path.open

def odd(path, *args, **kwargs):
    if path.name.endswith("crash.txt"):
        signal.raise_signal(signal.SIGSEGV)  # to this thread: it does not go on meanwhile
    if path.name.endswith("slow.txt"):
        time.sleep(0.05)
    return plain_open(path, *args, **kwargs)

Path.open = odd
"""


def first_on_path(folder: Path) -> str:
    """PYTHONPATH with a folder before what is on it already."""
    return os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))


def text_files(folder: Path, names: list[str]) -> Manifest:
    """Items `00`, `01`, ... whose files end with `-NAME.txt`."""
    folder.mkdir(parents=True, exist_ok=True)
    items = []
    for k, name in enumerate(names):
        path = folder / f"{k:02d}-{name}.txt"
        path.write_text(f"Review number {k}.")
        items.append(Item(f"{k:02d}", media={"text": (path,)}))
    return Manifest(items)
