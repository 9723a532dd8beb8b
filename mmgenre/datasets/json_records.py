"""Large JSON files, one record at a time: a list, JSON lines, or one object of records by id."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from mmgenre.errors import ManifestError

CHUNK = 1 << 20  # characters
FILLING = re.compile(r"[ \t\r\n,]*")  # what may stand between two records

Record = dict[str, Any]


def json_records(path: Path, id_key: str) -> Iterator[Record]:
    """The records of a file, whichever of the three forms it has.

    A list and JSON lines are read piece by piece. One object is read whole, as {id: record} or
    {id: [records]}; its ids become the records' `id_key`.

    Raises:
        ManifestError: not UTF-8, not JSON, or something else than records in it.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            values = _values(file, path)
            first = next(values, None)
            second = next(values, None)
            if isinstance(first, dict) and second is None and _is_mapping(first):
                yield from _by_id(first, id_key, path)
                return
            for number, value in enumerate((first, second)):
                if value is not None:
                    yield _record(value, number, path)
            for number, value in enumerate(values, start=2):
                yield _record(value, number, path)
    except UnicodeDecodeError as error:
        raise ManifestError(str(path), [f"not UTF-8: {error}"]) from None


def _values(file: TextIO, path: Path) -> Iterator[Any]:
    """The values of a list, or of a sequence of values, decoded as the file is read."""
    decoder = json.JSONDecoder()
    text, at = "", 0  # what is at hand, and how much of it is decoded
    before = 0  # how much was decoded before what is at hand
    inside: bool | None = None  # a list; None until the first character
    while True:
        at = FILLING.match(text, at).end()  # type: ignore[union-attr]  # matches nothing, too
        if inside is None and at < len(text):
            inside = text[at] == "["
            at += inside
            continue
        if inside and text.startswith("]", at):
            return
        fault = "it ends in the middle of a list" if inside else ""
        if at < len(text):
            try:
                value, at = decoder.raw_decode(text, at)
            except json.JSONDecodeError as error:
                fault = error.msg
            else:
                yield value
                continue
        # Reading as much again as is at hand keeps the work linear for records of any size.
        more = file.read(max(CHUNK, len(text) - at))
        if not more:
            if fault:
                fault = f"not JSON from character {before + at} on: {fault}"
                raise ManifestError(str(path), [fault])
            return
        before += at
        text, at = text[at:] + more, 0


def _is_mapping(value: Record) -> bool:
    """Whether an object holds records by id, rather than being one."""
    return bool(value) and all(
        isinstance(entry, dict)
        or (isinstance(entry, list) and all(isinstance(e, dict) for e in entry))
        for entry in value.values()
    )


def _by_id(value: Record, id_key: str, path: Path) -> Iterator[Record]:
    for record_id, entry in value.items():
        for record in entry if isinstance(entry, list) else [entry]:
            if record.get(id_key, record_id) != record_id:
                fault = f"{record_id!r} holds a record whose {id_key} is {record[id_key]!r}"
                raise ManifestError(str(path), [fault])
            yield {**record, id_key: record_id}


def _record(value: Any, number: int, path: Path) -> Record:
    if not isinstance(value, dict):
        fault = f"record {number}: wants an object, got {type(value).__name__}"
        raise ManifestError(str(path), [fault])
    return value
