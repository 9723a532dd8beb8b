"""The folder of a server's temporary files, which ends with the server, or with the next one.

A server that was killed cannot tidy up; the kernel releases its lock, though. So whoever starts
next finds which folders belong to nobody, and removes them.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmgenre.disk.files import without_links
from mmgenre.disk.locks import claimed
from mmgenre.errors import StoreError

PREFIX = "mmgenre-serve-"
UPLOADS = "uploads"  # the folder within, and what is claimed


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder for this process alone, into which all of its temporary files go meanwhile."""
    own = without_links(Path(tempfile.mkdtemp(prefix=PREFIX)))
    before = tempfile.tempdir
    try:
        with claimed(own / UPLOADS, waiting=lambda _: None):
            uploads = own / UPLOADS
            uploads.mkdir(mode=0o700)
            tempfile.tempdir = str(uploads)
            yield uploads
            shutil.rmtree(uploads, ignore_errors=True)
    finally:
        tempfile.tempdir = before
        shutil.rmtree(own, ignore_errors=True)


def tidy() -> list[Path]:
    """Removes the folders of servers that were killed; returns them. Those at work stay."""
    removed = []
    for folder in sorted(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")):
        with suppress(StoreError, OSError):
            if not _is_ours(folder):
                continue
            with claimed(folder / UPLOADS):  # refused while its server is at work
                if (folder / UPLOADS).is_dir():
                    shutil.rmtree(folder / UPLOADS)
            folder.rmdir()  # not if a server has just begun there
            removed.append(folder)
    return removed


def _is_ours(folder: Path) -> bool:
    """A folder of this user, and no link to another one, which anybody can make in /tmp."""
    state = folder.lstat()
    return stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid()
