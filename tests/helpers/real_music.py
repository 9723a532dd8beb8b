"""A music folder of real songs, in four formats, tagged as people tag theirs."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from coded import encode
from music import tag

from mmgenre.datasets.library import VARIOUS
from mmgenre.datasets.lyrics import without_times

SUFFIXES = (".mp3", ".m4a", ".ogg", ".flac")
PIECE_S = 5.0
N_PIECES = 3  # of each song: 23 songs make 69 tracks
N_COMPILED = 6


@dataclass(frozen=True)
class Put:
    """What a manifest must say of a track."""

    artist: str
    labels: tuple[str, ...]
    has_cover: bool
    words: str  # of its lyrics, a space between them


@dataclass
class RealLibrary:
    """The folder, what was put into each track by its id, and the broken files."""

    folder: Path
    tagged: dict[str, Put] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    n_compiled: int = 0


def make_real_library(real: Path, folder: Path) -> RealLibrary:
    """Every song in three pieces, an album an artist; a compilation; and four broken files."""
    made = RealLibrary(folder)
    with (real / "items.csv").open(encoding="utf-8", newline="") as file:
        songs = [row for row in csv.DictReader(file) if row["audio"]]
    for number, song in enumerate(songs):
        for piece in range(N_PIECES):
            _add(made, real, song, number, piece)
    good = (folder / next(iter(made.tagged))).read_bytes()
    for name, data in {
        "empty.mp3": b"",
        "noise.mp3": bytes(range(256)) * 40,
        "cut.flac": b"fLaC" + b"\xff" * 50,
        "two;parts.mp3": good,
    }.items():
        (folder / "Broken").mkdir(exist_ok=True)
        (folder / "Broken" / name).write_bytes(data)
        made.broken.append(f"Broken/{name}")
    return made


def _add(made: RealLibrary, real: Path, song: dict[str, str], number: int, piece: int) -> None:
    turn = number + piece
    suffix = SUFFIXES[turn % len(SUFFIXES)]
    artist = song["artist"]
    is_compiled = piece == 0 and number < N_COMPILED
    place = "Compilations/Best Of" if is_compiled else f"{artist}/Songs/CD{piece + 1}"
    made.n_compiled += is_compiled
    item_id = f"{place}/{number:02} {song['title'].replace('/', '-')}{suffix}"
    path = made.folder / item_id
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_piece(real / song["audio"], path, piece)
    labels = () if turn % 5 == 0 else tuple(song["labels"].split(";"))
    text = (real / song["text_file"]).read_text(encoding="utf-8") if song["text_file"] else ""
    cover = (real / song["image"]).read_bytes() if song["image"] and turn % 2 == 0 else None
    fields: dict[str, str | list[str]] = {"artist": artist, "title": song["title"]}
    fields |= {"album": "Best Of" if is_compiled else "Songs", "tracknumber": str(number)}
    fields |= {"genre": list(labels)} if labels else {}
    if is_compiled:
        fields |= {"albumartist": VARIOUS, "compilation": "1"}
    if text and turn % 3 == 0:
        fields["lyrics"] = text
    elif text and turn % 3 == 1:
        timed = "\n".join(f"[00:{k % 60:02}.00]{line}" for k, line in enumerate(text.split("\n")))
        path.with_suffix(".lrc").write_text(f"[ar:{artist}]\n{timed}", encoding="utf-8")
    elif text:
        path.with_suffix(".txt").write_text(text, encoding="utf-8")
    tag(path, cover, **fields)
    words = " ".join((without_times(text) if turn % 3 != 2 else text).split())
    made.tagged[item_id] = Put(artist, labels, cover is not None, words)


def _write_piece(source: Path, path: Path, piece: int) -> None:
    with soundfile.SoundFile(source) as file:
        n = int(PIECE_S * file.samplerate)
        file.seek(min(piece * n, max(0, file.frames - n)))
        samples, rate_hz = file.read(n, dtype="int16", always_2d=True)[:, 0], file.samplerate
    if path.suffix == ".m4a":
        encode(path, "aac", np.ascontiguousarray(samples), rate_hz=rate_hz)
    else:
        soundfile.write(path, samples, rate_hz)
