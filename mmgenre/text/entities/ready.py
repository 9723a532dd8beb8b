"""Annotations made elsewhere: a JSONL file, one text per line.

    {"id": "B0001A", "annotations": [{"entity": "Miles_Davis", "categories": ["American ..."]}]}
    {"text_sha256": "9f86...", "annotations": []}

A line is for the item of that id, or for every item with that text after joining and cutting
(`text_sha256` of its UTF-8 bytes; a store of texts read without an annotator holds them), which
also covers new items in a later prediction. `surface`, `score` and the pair `start` and `end`
(code points, half open) of an annotation are optional.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from mmgenre.errors import FaultsError, InputError
from mmgenre.text.entities.annotation import Annotation

KEYS = ("id", "text_sha256")
REQUIRED = {"entity", "categories"}
KNOWN = REQUIRED | {"surface", "score", "start", "end"}

Key = tuple[str, str]  # one of KEYS, and its value


@dataclass(frozen=True)
class ReadyAnnotations:
    """The annotations of a file; `row_id` is the item whose text is to be annotated, if known."""

    path: Path
    lines: Mapping[Key, tuple[Annotation, ...]]
    row_id: str | None = None

    def of_row(self, row_id: str | None) -> Self:
        return replace(self, row_id=row_id)

    def annotate(self, text: str) -> Sequence[Annotation]:
        """The file's annotations of the item, or else of the text.

        Annotations that reach beyond the end of the text are left out: they were cut off with it.
        Raises InputError (annotation): the file has neither item nor text, or is of another text.
        """
        digest = hashlib.sha256(text.encode()).hexdigest()
        found = self.lines.get(("id", self.row_id or ""), self.lines.get(("text_sha256", digest)))
        if found is None:
            item = f"id {self.row_id!r} and none for " if self.row_id else ""
            detail = f"no line for {item}text_sha256 {digest}; add one, with [] if it has none"
            raise InputError("annotation", str(self.path), detail)
        kept = [a for a in found if a.span is None or a.span[1] <= len(text)]
        for a in kept:
            if a.span and a.surface and text[slice(*a.span)] != a.surface:
                detail = f"text {a.span} is {text[slice(*a.span)]!r}, the file says {a.surface!r}"
                where = f"{self.path}: id {self.row_id!r}" if self.row_id else str(self.path)
                raise InputError("annotation", where, f"{detail}: made for another text?")
        return kept


def read_annotations(path: Path) -> ReadyAnnotations:
    """Reads and checks the whole file. Raises FaultsError with every fault and its line."""
    lines: dict[Key, tuple[Annotation, ...]] = {}
    faults: list[str] = []
    try:
        rows = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise FaultsError(str(path), [f"cannot be read: {error}"]) from None
    for number, row in enumerate(rows, start=1):
        if not row.strip():
            continue
        try:
            key, annotations = _line(json.loads(row))
            if key in lines:
                raise ValueError(f"{key[0]} {key[1]!r} appears twice")
            lines[key] = annotations
        except ValueError as error:
            faults.append(f"line {number}: {error}")
    if faults or not lines:
        raise FaultsError(str(path), faults or ["has no line"])
    return ReadyAnnotations(path, lines)


def _line(line: Any) -> tuple[Key, tuple[Annotation, ...]]:
    if not isinstance(line, dict) or not isinstance(line.get("annotations"), list):
        raise ValueError("must be an object with a list 'annotations'")
    keys = [key for key in KEYS if key in line]
    if len(keys) != 1 or len(line) != 2:
        raise ValueError(f"must have 'annotations' and one of {' and '.join(KEYS)}, has {[*line]}")
    value = line[keys[0]]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{keys[0]} must be a string that is not empty, got {value!r}")
    value = value.lower() if keys == ["text_sha256"] else value
    return (keys[0], value), tuple(_annotation(one) for one in line["annotations"])


def _annotation(one: Any) -> Annotation:
    if not isinstance(one, dict) or not one.keys() >= REQUIRED:
        raise ValueError(f"an annotation must have {sorted(REQUIRED)}, got {one!r}")
    if unknown := one.keys() - KNOWN:
        raise ValueError(f"unknown key {min(unknown)!r}; known: {sorted(KNOWN)}")
    entity, categories, surface = one["entity"], one["categories"], one.get("surface", "")
    if not isinstance(entity, str) or not entity or not isinstance(surface, str):
        raise ValueError(f"entity and surface must be strings, got {entity!r} and {surface!r}")
    if not isinstance(categories, list) or not all(
        isinstance(c, str) and any(map(str.isalnum, c)) for c in categories
    ):
        raise ValueError(f"categories must be a list of strings with a letter, got {categories!r}")
    score = one.get("score", 1.0)
    if type(score) not in (int, float) or not math.isfinite(score):
        raise ValueError(f"score must be a number, got {score!r}")
    start, end = one.get("start"), one.get("end")
    if start is end is None:
        span = None
    elif type(start) is int and type(end) is int and 0 <= start < end:
        span = start, end
    else:
        fault = "start and end must be whole numbers with 0 <= start < end"
        raise ValueError(f"{fault}, got {(start, end)}")
    return Annotation(surface, entity, tuple(categories), float(score), span)
