"""A folder of real music to tags and back: what is printed, how long it takes, what is refused.

    python tests/benchmarks/folder.py      # some minutes; needs ../shared/data/real, PyAV, mutagen

The folder is that of `real_music.py`: pieces of real songs as mp3, m4a, ogg and flac, with covers,
lyrics, a compilation and broken files. Commands run in processes of their own. What was written is
read back by FFmpeg's libavformat (ffprobe, else PyAV), which shares no code with mutagen; a file
counts as right if its genres are those that `predict` printed. Taken back, files are compared with
those of before by their bytes, by their sound, and by all their tags.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import av
import mutagen

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
from real_music import make_real_library

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared/data/real"
AUDIO = (".mp3", ".m4a", ".ogg", ".flac")
SHOWN_LINES = 14
WRITTEN = re.compile(r"(.+?): (.*) -> (.*)")
CONFIDENCE = "0.1"  # 48 items to learn from give few genres more


def command(folder: Path, *words: str) -> list[str]:
    """Runs mmgenre in a folder, prints what it printed, and gives the lines of both streams."""
    print(f"$ mmgenre {' '.join(words)}")
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "mmgenre", *words],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    took = time.perf_counter() - started
    lines = (done.stdout + done.stderr).splitlines()
    cut = ["...", *lines[-6:]] if len(lines) > SHOWN_LINES else []
    for line in [*lines[:SHOWN_LINES], *cut]:
        print(f"  {line}")
    for line in cut and lines[SHOWN_LINES:-6]:
        if line.startswith(("genres ", "to take them back")):
            print(f"  {line}")
    print(f"  [{took:.1f} s, exit code {done.returncode}]", flush=True)
    if done.returncode not in (0, 3):  # 3: done, but something was refused
        raise SystemExit(f"mmgenre {words[0]} failed")
    return lines


def genres_by_ffmpeg(path: Path) -> list[str]:
    """The genres of a file as FFmpeg reads them; several are one text, parted by ; or /."""
    with av.open(str(path)) as container:
        tags = {**container.metadata, **container.streams.audio[0].metadata}
    found = next((text for name, text in tags.items() if name.lower() == "genre"), "")
    return [part.strip() for part in re.split(r"[;\0]|(?<=\S)/(?=\S)", found) if part.strip()]


def sound(path: Path) -> str:
    """Hash of the packets of a file: the coded sound without any tag."""
    found = hashlib.sha256()
    with av.open(str(path)) as container:
        for packet in container.demux(container.streams.audio[0]):
            found.update(bytes(packet))
    return found.hexdigest()


def all_tags(path: Path) -> str:
    """Every tag of a file, as mutagen shows them, in no order."""
    tags = mutagen.File(path).tags
    return "\n".join(sorted(f"{name}={value}" for name, value in (tags or {}).items()))


def state(files: list[Path]) -> dict[Path, tuple[str, str, str]]:
    """Of each file hashes of its bytes and its sound, and its tags."""
    return {f: (hashlib.sha256(f.read_bytes()).hexdigest(), sound(f), all_tags(f)) for f in files}


def written(lines: list[str], folder: Path) -> dict[Path, list[str]]:
    """What `predict --write-tags` says that it wrote into each file."""
    found = {}
    for line in lines:
        match = WRITTEN.fullmatch(line)
        if match and Path(match[1]).suffix in AUDIO:
            found[(folder / match[1]).resolve()] = match[3].split("; ")
    return found


def compare(name: str, before: dict[Path, tuple[str, str, str]], files: list[Path]) -> None:
    """Prints how many files are as before, by their bytes, their sound and their tags."""
    after = state(files)
    for k, what in enumerate(("bytes", "sound", "tags")):
        others = [file for file in files if after[file][k] != before[file][k]]
        kinds = dict(Counter(file.suffix for file in others))
        print(f"{name}: {what} differ in {len(others)} of {len(files)} files {kinds or ''}")


def main() -> None:
    """Builds the folder, and goes through all commands."""
    if not REAL.is_dir():
        raise SystemExit(f"{REAL}: no such folder; this runs on real songs")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = make_real_library(REAL, folder / "music")
        files = sorted((folder / "music" / track).resolve() for track in made.tagged)
        print(f"{len(files)} tracks {dict(Counter(file.suffix for file in files))}, ", end="")
        print(f"{made.n_compiled} of a compilation; broken: {', '.join(made.broken)}")
        before = state(files)
        command(folder, "extract-features", "music/", "--run", "runs/mine")
        refused = folder / "runs/mine/library/manifest-refused.csv"
        print("".join(f"  | {line}\n" for line in refused.read_text("utf-8").splitlines()), end="")
        command(folder, "fuse", "--run", "runs/mine")
        naming = ("predict", "runs/mine", "music/", "--out", "genres.csv", "--format", "csv")
        tags = (*naming, "--write-tags", "--confidence", CONFIDENCE)
        dry = written(command(folder, *tags, "--dry-run"), folder)
        compare("after the dry run", before, files)
        done = written(command(folder, *tags), folder)
        print(f"the dry run told of the same: {dry == done}, {len(done)} files")
        found = {file: genres_by_ffmpeg(file) for file in done}
        whole = [file for file in done if found[file] == done[file]]
        # Of several values in one frame of ID3 or atom of MP4, FFmpeg shows the first.
        first = [file for file in done if found[file] == done[file][:1] and file not in whole]
        print(f"read back by FFmpeg: all genres of {len(whole)} of {len(done)} files, ", end="")
        print(f"the first one of {len(first)} {dict(Counter(file.suffix for file in first))}")
        for file in sorted(done.keys() - {*whole, *first}):
            print(f"  otherwise: {file.name}: wrote {done[file]}, FFmpeg reads {found[file]}")
        compare("after writing", before, files)
        command(folder, "untag", "mmgenre-undo.jsonl")
        compare("after untag", before, files)


if __name__ == "__main__":
    main()
