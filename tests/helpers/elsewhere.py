"""A run made in another process, with another hash seed, where no address can be reached."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plain import FIXED, plain_items

from mmgenre.items.manifest import Manifest
from mmgenre.pipeline.commands import extract_features, fuse

# A file `sitecustomize.py` on the path: every process of Python notes which address it asked for,
# and ends. Its own machine and other processes on it may be talked to.
NO_NETWORK = """
import os, sys

LOCAL = ("localhost", "127.0.0.1", "::1", "", None)

def watch(event, args):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = args[-1]
        asked = None if isinstance(address, (str, bytes)) or address is None else address[0]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        asked = args[0]
    else:
        return
    asked = asked.decode() if isinstance(asked, bytes) else asked
    if asked not in LOCAL:
        file = os.open(os.environ["ASKED_FOR"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, f"{event} {asked}\\n".encode())
        os._exit(97)

sys.addaudithook(watch)
"""
MAKE = """
import json, sys
from mmgenre.pipeline.commands import extract_features, fuse
manifest, run, workers, *settings = sys.argv[1:]
done = extract_features(
    manifest, run=run, recipe="quick", settings=settings, workers=int(workers)
)
fuse(run=run, seeds=1)
"""


def offline(folder: Path) -> tuple[dict[str, str], Path]:
    """Variables for a process that may reach no address, and the file with those it asked for."""
    (folder / "first").mkdir(parents=True, exist_ok=True)
    (folder / "first" / "sitecustomize.py").write_text(NO_NETWORK, encoding="utf-8")
    asked_for = folder / "asked-for"
    path = os.pathsep.join([str(folder / "first"), *(p for p in sys.path if p)])
    return {**os.environ, "PYTHONPATH": path, "ASKED_FOR": str(asked_for)}, asked_for


def asked_by(words: Sequence[str], folder: Path, **variables: str) -> tuple[list[str], str]:
    """Which addresses a process asked for, and what it printed; it must end well if none."""
    environment, asked_for = offline(folder)
    done = subprocess.run(
        words,
        env=environment | variables,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    asked = asked_for.read_text(encoding="utf-8").splitlines() if asked_for.exists() else []
    assert asked or done.returncode in (0, 3), f"{words}: {done.stderr[-3000:]}"
    return asked, done.stdout


def make_run(
    manifest: Path, run: Path, settings: Sequence[str], *, hash_seed: int, workers: int = 1
) -> list[str]:
    """Embeddings and a fusion in a process of its own; the addresses that it asked for."""
    words = [sys.executable, "-c", MAKE, str(manifest), str(run), str(workers), *settings]
    asked, _ = asked_by(words, run.parent, PYTHONHASHSEED=str(hash_seed))
    return asked


def plain_json(path: Path) -> object:
    """What a JSON file holds, but for where it lies and how long something took."""

    def without(content: object) -> object:
        if isinstance(content, dict):
            return {k: without(v) for k, v in content.items() if k not in NOT_COMPARED}
        return [without(v) for v in content] if isinstance(content, list) else content

    return without(json.loads(path.read_text(encoding="utf-8")))


# Paths, and hashes of them: a run is continued where it lies. Checksums are of these, too.
NOT_COMPARED = ("dataset", "made_from", "run", "sha256")


@dataclass(frozen=True)
class Twice:
    """A run made here, one of the same manifest and seed made elsewhere; what the second asked."""

    manifest: Path
    here: Path
    elsewhere: Path
    asked: list[str]


def make_twice(folder: Path) -> Twice:
    """Encoders that are made and heads that are solved; the other process has no network."""
    items = plain_items(folder / "media", media=("image", "text"))
    manifest = Manifest(items).write(folder / "m.csv")
    settings = (*FIXED, "fusion.solver=lbfgs", "fusion.combine=auto")
    here, there = folder / "run", folder / "a b" / "other run"
    extract_features(manifest, run=here, recipe="quick", settings=settings, workers=1)
    fuse(run=here, seeds=1)
    there.parent.mkdir()
    return Twice(manifest, here, there, make_run(manifest, there, settings, hash_seed=12345))
