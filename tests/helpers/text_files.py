"""Items with a text file each, and what to put before every process to make decoders odd."""

from __future__ import annotations

import os
from pathlib import Path

from mmgenre.items.item import Item
from mmgenre.items.manifest import Manifest
from mmgenre.workers import pool

# A file `sitecustomize.py` on the path: a text of this name ends its reader, or holds it up, a
# while or for ever.
ODD_READERS = """
import ctypes, signal, time
from pathlib import Path

plain_open = Path.open

def odd(path, *args, **kwargs):
    if path.name.endswith("crash.txt"):
        signal.raise_signal(signal.SIGSEGV)  # to this thread: it does not go on meanwhile
    if path.name.endswith("slow.txt"):
        time.sleep(0.05)
    if path.name.endswith("stuck.txt"):
        time.sleep(10_000)
    if path.name.endswith("hung.txt"):
        ctypes.PyDLL(None).sleep(10_000)  # keeps Python's lock
    return plain_open(path, *args, **kwargs)

Path.open = odd
"""


# Put before soundfile in every process: a file of this name is read by a decoder with a bug.
CRASHING_SOUNDFILE = """
import sys
import importlib.abc, importlib.util

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "soundfile":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("soundfile")
        load = spec.loader.exec_module
        def exec_module(module):
            load(module)
            whole = module.SoundFile
            class Crashing(whole):
                def __init__(self, file, *args, **kwargs):
                    if str(file).endswith("crash.wav"):
                        import ctypes
                        ctypes.string_at(0)
                    super().__init__(file, *args, **kwargs)
            module.SoundFile = Crashing
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Finder())
"""


def new_workers() -> None:
    """Ends the processes that earlier tests have left, so that new ones see what is on the path."""
    pool(1).shutdown(wait=True)


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
