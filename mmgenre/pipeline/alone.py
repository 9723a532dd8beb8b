"""One command at a time works in a run."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext, suppress
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from mmgenre.disk.locks import claimed, locked
from mmgenre.errors import MmgenreError, WaitingWarning
from mmgenre.learning.processes import from_main, is_main
from mmgenre.pipeline.artefact import LOCKS
from mmgenre.pipeline.music import AS_THERE, FolderChoice, manifest_of_folder
from mmgenre.pipeline.prepare import prepare_run
from mmgenre.pipeline.run import DEFAULT_RUN, STATE, Run, open_run
from mmgenre.progress import Progress, silent

P = ParamSpec("P")
T = TypeVar("T")


def alone_in_run(command: Callable[P, T], *, shared: bool = False) -> Callable[P, T]:
    """A command that works in its run's folder, the argument `run`, while no other one does.

    Two commands at once would take each other's artefacts for their own, as both find the same
    names free. The second one waits, and warns which process it waits for. Commands that are
    `shared` work beside each other.
    """

    @wraps(command)
    def alone(*args: P.args, **kwargs: P.kwargs) -> T:
        folder = Path(cast(str, kwargs.get("run", DEFAULT_RUN)))

        def waiting(who: str) -> None:
            warnings.warn(f"{folder}: waiting for {who}", WaitingWarning, stacklevel=2)

        with ExitStack() as held:
            held.callback(_remove_unless_run, folder)

            def begin() -> None:
                while True:
                    with suppress(FileNotFoundError):  # another command has just removed the folder
                        try:
                            held.enter_context(claimed(folder / LOCKS / "run", shared, waiting))
                        except OSError as error:
                            no_right = error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)
                            if not no_right or os.access(folder, os.W_OK):
                                raise
                            # Where nothing can be written, only a finished run can be asked for.
                        return

            from_main(begin)
            return command(*args, **kwargs)

    return alone


def _remove_unless_run(folder: Path) -> None:
    """Removes what a lock has left of a folder in which no run was made."""
    if is_main() and not (folder / STATE).exists():
        with suppress(OSError):
            (folder / LOCKS).rmdir()
            folder.rmdir()


def prepared(
    folder: Path,
    manifest: Path | str | None,
    *,
    one_by_one: bool = False,
    choice: FolderChoice = AS_THERE,
    media_roots: Sequence[Path] = (),
    progress: Progress = silent,
    **how: Any,
) -> Run:
    """The run; rank 0 settles and writes what it is made from, the others read that.

    `one_by_one`: for shards, which begin at the same time.
    """
    made: list[Run] = []
    source = None if manifest is None else Path(manifest)

    def settle() -> None:
        with locked(folder / LOCKS / "prepare") if one_by_one else nullcontext():
            file, roots = source, media_roots
            if source is not None and source.is_dir():
                file, roots = manifest_of_folder(source, folder, choice, progress), [*roots, source]
            elif given := choice.given():
                named = ", ".join(f"{name} {value}" for name, value in given.items())
                raise MmgenreError(f"{named}: is of a folder of music, and none is given")
            how.update(manifest=file, media_roots=roots, progress=progress)
            made.append(prepare_run(folder, **how))

    from_main(settle)
    return made[0] if made else open_run(folder, is_checked=True)
