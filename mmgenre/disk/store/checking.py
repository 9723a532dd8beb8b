"""Whether rows are those that were written: all are read once, before anything learns from them.

HDF5's checksums tell of damaged chunks, and not of whole ones that another program has put in
another order. The sha256 over ids and values does, and takes as long as it takes to read them all;
so what was found whole is noted beside the file, and counts until the file changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from mmgenre.disk.records import read_record, write_record
from mmgenre.disk.store.apart import parts_folder
from mmgenre.disk.store.reading import FeatureStore
from mmgenre.errors import PartError, StoreError
from mmgenre.progress import Progress, silent

AGAIN = "move it away (mv {0} {0}.damaged), then run this again: it is made anew"


def check_store(path: Path, *names: str, remedy: str = AGAIN, progress: Progress = silent) -> None:
    """Compares ids and values of groups with their sha256, unless they are noted as whole.

    StoreError if they differ, which ends with `remedy`; the file stays as it is.
    """
    state = _state(path)
    whole = dict(_noted(path, state))
    for name in names:
        with FeatureStore(path, name) as store:
            if whole.get(name) == store.sha256:
                continue
            try:
                store.verify(progress)
            except PartError:  # which is not made anew, and says what to do
                raise
            except StoreError as error:
                raise StoreError(f"{error}; nothing was changed; {remedy.format(path)}") from None
            whole[name] = store.sha256
            if _state(path) == state:  # else it was replaced while it was read
                with suppress(OSError):  # where nothing can be written it is read each time
                    write_record(_note(path), {"state": state, "whole": whole})


def _note(path: Path) -> Path:
    return path.with_name(f".{path.name}.checked")


def _noted(path: Path, state: list[int | str]) -> Mapping[str, str]:
    """Group -> sha256 of its content, of the groups that were found whole in this state."""
    with suppress(OSError, ValueError, LookupError, TypeError):
        note = read_record(_note(path))
        if note["state"] == state:
            return {str(name): str(sha256) for name, sha256 in note["whole"].items()}
    return {}


def _state(path: Path) -> list[int | str]:
    """Changes whenever anybody writes the file or a part, or puts another one in its place."""
    with suppress(OSError):
        state: list[int | str] = [*_state_of(path)]
        if parts := sorted(parts_folder(path).glob("*.h5")):
            own = [[part.name, *_state_of(part)] for part in parts]
            state.append(hashlib.sha256(json.dumps(own).encode()).hexdigest())
        return state
    return []


def _state_of(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
