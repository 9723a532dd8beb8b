"""Opens files in a process that notes whatever else is done meanwhile, and prints it as JSON.

Run as a script: opener.py FOLDER, with files of FOLDER/sound and FOLDER/hostile, each named
KIND.NAME. The sound ones come first, so that libraries have imported what they need.
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from pathlib import Path
from typing import Any

import mmgenre
from mmgenre.audio.decoding import load_audio
from mmgenre.datasets.features import read_features
from mmgenre.disk.bundle import bundle_kind, bundle_provenance, read_bundle
from mmgenre.disk.files import cache_folder
from mmgenre.disk.store import FeatureStore, content_hash, group_names, store_info, verify_stores
from mmgenre.errors import MmgenreError
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.image.decoding import load_image
from mmgenre.items.manifest import Manifest
from mmgenre.pipeline.recipe import load_recipe
from mmgenre.pipeline.run import open_run
from mmgenre.text.decoding import load_text

LIBRARIES = tuple(
    os.path.realpath(path)
    for path in map(
        str, (*sysconfig.get_paths().values(), Path(mmgenre.__file__).parent, sys.base_prefix)
    )
)
OWN_CACHE = str(cache_folder())  # where it stands what the user has allowed
OPENING = ("open", "os.listdir", "os.scandir")
# Events of Python's auditing that none of our readers has a reason for.
NEVER = (
    "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "os.startfile",
    "subprocess.Popen", "pty.spawn", "pickle.find_class", "socket.bind", "socket.connect",
    "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request",
    "webbrowser.open", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink",
    "os.truncate", "os.chmod", "os.chown", "os.putenv", "os.utime", "shutil.rmtree",
    "shutil.copyfile", "shutil.move", "tempfile.mkstemp", "tempfile.mkdtemp", "ctypes.dlopen",
)  # fmt: skip
MARK = "/opener-begins-here"  # a path that nobody has, to be found in a trace of system calls


def store(path: Path) -> None:
    verify_stores([path])
    for name in group_names(path):
        try:
            with FeatureStore(path, name) as opened:
                for item_id in opened.ids:
                    opened.read(item_id)
        except MmgenreError as error:
            print(error, file=sys.stderr)
    store_info(path)
    content_hash(path)


def bundle(path: Path) -> None:
    bundle_provenance(path)
    read_bundle(path, bundle_kind(path))


def run(path: Path) -> None:
    opened = open_run(path)
    opened.manifest.info()
    print(opened.refused, opened.given, file=sys.stderr)


READERS: dict[str, Any] = {
    "store": store,
    "bundle": bundle,
    "run": run,
    "models": GenreTagger.from_pretrained,
    "recipe": lambda path: load_recipe(str(path)),
    "manifest": lambda path: Manifest.read(path).info(),
    "features": read_features,
    "audio": load_audio,
    "image": load_image,
    "text": lambda path: load_text([path]),
}


class Watch:
    """Notes every event that is not the reading of the file, or of a library's own code."""

    def __init__(self) -> None:
        self.target: Path | None = None
        self.noted: list[str] = []
        sys.addaudithook(self)

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if self.target is None:
            return
        if event in NEVER:
            self.noted.append(f"{event} {args!r:.200}")
        elif event in OPENING and not isinstance(args[0], int) and args[0] is not None:
            target, self.target = self.target, None
            path, below = os.path.realpath(os.fsdecode(args[0])), os.path.realpath(target)
            own = path == below or path.startswith(f"{below}{os.sep}")
            writes = event == "open" and self._writes(args)
            # A code file that no pyc is there for is compiled, and its pyc written: not by us.
            is_library = path.startswith((*LIBRARIES, OWN_CACHE)) or "__pycache__" in path
            if not is_library and (not own or writes):
                self.noted.append(f"{event} {args!r:.200}")
            self.target = target

    @staticmethod
    def _writes(args: tuple[Any, ...]) -> bool:
        mode, flags = (*args[1:], None, None)[:2]
        flags = flags if isinstance(flags, int) else 0
        return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) or (
            isinstance(mode, str) and bool(set(mode) & set("wax+"))
        )

    def opening(self, path: Path) -> tuple[str, list[str]]:
        """What opening it came to, and all that was noted."""
        read = READERS[path.name.partition(".")[0]]
        self.noted = []
        self.target = path
        try:
            read(path)
        except MmgenreError as error:
            said = f"{type(error).__name__}: {error}"
        except Exception as error:
            said = f"!{type(error).__name__}: {error}"
        else:
            said = "opened"
        finally:
            self.target = None
        return said, self.noted


def main(folder: Path) -> None:
    watch = Watch()
    for path in sorted((folder / "sound").iterdir()):
        said, _ = watch.opening(path)
        assert said == "opened", f"{path}: {said}"
    os.path.exists(MARK)  # noqa: PTH110
    found = {path.name: watch.opening(path) for path in sorted((folder / "hostile").iterdir())}
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
