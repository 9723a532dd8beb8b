"""Which column of a table is which field of an item, whatever the columns are called."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from mmgenre.datasets.sources import refuse
from mmgenre.items.modalities import SUFFIXES

Field = Literal["audio", "image", "text_file", "text", "labels", "id", "artist", "album", "split"]
FIELDS: tuple[Field, ...] = get_args(Field)
MEDIA: tuple[Field, ...] = ("audio", "image", "text_file", "text")
# Names by which a column is recognised; upper case, spaces, `_` and `-` do not matter.
KNOWN_NAMES: Mapping[Field, str] = {
    "audio": "audio audiopath audiofile audiofilename track trackpath trackfile mp3 wav",
    "image": "image imagepath imagefile imagename img cover coverpath coverfile",
    "text_file": "textfile textpath reviewfile lyricsfile",
    "text": "text review lyrics description",
    "labels": "labels label genres genre class category",
    "id": "id itemid albumid releaseid",
    "artist": "artist artistname",
    "album": "album albumname albumtitle",
    "split": "split set subset",
}
# Of audio or of images, as the files in them are.
FILES = "path file filepath filename"


def parse_columns(text: str) -> dict[Field, str]:
    """`image=filename,labels=genre` -> the column of each field; an empty name means no column."""
    columns: dict[Field, str] = {}
    for pair in text.split(","):
        name, equals, column = (part.strip() for part in pair.partition("="))
        field = next((field for field in FIELDS if field == name), None)
        if not equals or field is None or field in columns:
            raise ValueError(
                f"columns {text!r}: {pair.strip()!r}; expected FIELD=COLUMN, each field at most "
                "once, joined by commas, for example image=filename,labels=genre; fields are "
                f"{', '.join(FIELDS)}"
            )
        columns[field] = column
    return columns


def choose(
    path: Path,
    header: Sequence[str],
    given: Mapping[Field, str],
    cells: Callable[[str], Sequence[str]],
) -> dict[Field, str]:
    """The column of each field that has one; `cells` are those of a column.

    A ManifestError if a column is missing or ambiguous; it shows the header.
    """
    faults = [f"column {c!r} twice" for c in sorted({c for c in header if header.count(c) > 1})]
    chosen: dict[Field, str] = {}
    for field in FIELDS:
        known = KNOWN_NAMES[field].split()
        usual = [c for c in header if _plain(c) in known]
        usual += [c for c in header if _plain(c) in FILES.split() and _by_files(c, cells) == field]
        if given.get(field):
            chosen[field] = given[field]
            if given[field] not in header:
                faults.append(f"{field}: no column {given[field]!r}")
        elif field in given:
            continue  # the user says that there is none
        elif len(usual) == 1 and usual[0] not in given.values():
            chosen[field] = usual[0]
        elif len(usual) > 1:
            several = " or ".join(usual)
            faults.append(f"{field}: could be column {several}; give --columns {field}=COLUMN")
    if not any(field in chosen for field in MEDIA) and not faults:
        media = ", ".join(MEDIA)
        faults.append(f"no column for any of {media}; give --columns image=COLUMN, or another")
    if "labels" not in chosen and "labels" not in given:
        faults.append(
            "no column for labels; give --columns labels=COLUMN, or labels= if items have no genres"
        )
    refuse(path, [*faults, f"the header is {', '.join(header)}"] if faults else [])
    return chosen


def _plain(column: str) -> str:
    return re.sub(r"[ _-]", "", column.lower())


def _by_files(column: str, cells: Callable[[str], Sequence[str]]) -> Field:
    """Whether a column of file names is of audio or of images, by most of their suffixes."""
    suffixes = [Path(cell.split(";")[0]).suffix.lower() for cell in cells(column)]
    n_audio = sum(suffix in SUFFIXES["audio"] for suffix in suffixes)
    return "audio" if n_audio > len(suffixes) / 2 else "image"
