"""How long artefacts took: a line of a log for each that was made, in a run and among experiments'.

The log is no part of what is made: of equal runs everything is equal but it. Where it lacks an
artefact, as one of an earlier version, nothing is known.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

from mmgenre.disk.files import append_line
from mmgenre.disk.locks import replacing_alone

LOG = "log.jsonl"  # in the folder of a run, or of the artefacts that experiments share


class Took(TypedDict):
    """What an artefact took when it was made last; a training that went on, since it did."""

    fingerprint: str
    stage: str
    what: str
    seconds: float


def note_time(folder: Path, took: Took) -> None:
    """Appends what an artefact took to the log of a folder."""
    line, path = {**took, "seconds": round(took["seconds"], 3)}, folder / LOG
    if path.is_file() and path.stat().st_nlink > 1:
        # Of a run that was copied as hard links: from here on each has lines of its own.
        with replacing_alone(path) as temporary:
            temporary.write_bytes(path.read_bytes())
    append_line(path, json.dumps(line, ensure_ascii=False))


def noted_times(folder: Path) -> list[Took]:
    """The lines of a folder's log, without one that was cut short when the process was killed."""
    path, lines = folder / LOG, list[Took]()
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        with suppress(ValueError):
            line = json.loads(text)
            if isinstance(line, dict) and Took.__required_keys__ <= line.keys():
                lines.append(line)  # type: ignore[arg-type]
    return lines


def seconds_by_fingerprint(folder: Path) -> dict[str, float]:
    """What each artefact took when it was made last."""
    return {line["fingerprint"]: line["seconds"] for line in noted_times(folder)}
