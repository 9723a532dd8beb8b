"""Annotations made elsewhere: a JSONL file, one text a line.

    {"id": "B0001A", "annotations": [{"entity": "Miles_Davis", "categories": ["American ..."]}]}
    {"text_sha256": "9f86...", "annotations": []}

A line is for the item of that id, or for whatever item has that text after joining and cutting
(`text_sha256` of its UTF-8 bytes; a store of texts read without an annotator holds them), which
also serves items that a later prediction brings. Of an annotation `surface`, `score`, and together
`start` and `end` (code points, half open) are optional.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmgenre.errors import InputError
from mmgenre.text.entities.annotation import Annotation
from mmgenre.text.entities.tables import KnowledgeError

KEYS = ("id", "text_sha256")
REQUIRED = {"entity", "categories"}
OPTIONAL = {"surface", "score", "start", "end"}

Lines = Mapping[tuple[str, str], tuple[Annotation, ...]]  # (one of KEYS, its value)


@dataclass(frozen=True)
class ReadyAnnotations:
    """The annotations of a file; `row_id` is the item whose text is to be annotated, if known."""

    path: Path
    lines: Lines
    row_id: str | None = None

    def of_row(self, row_id: str | None) -> ReadyAnnotations:
        """The same annotations, to be looked up for one item."""
        return ReadyAnnotations(self.path, self.lines, row_id)

    def annotate(self, text: str) -> Sequence[Annotation]:
        """The file's annotations of the item, else of the text.

        Those that reach beyond the end of the text lie in what was cut from it, and are left out.

        Raises:
            InputError: annotation: the file has neither item nor text, or they are of other text.
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
    """Reads and checks the whole file.

    Raises:
        KnowledgeError: lists every fault with its line.
    """
    lines: dict[tuple[str, str], tuple[Annotation, ...]] = {}
    faults: list[str] = []
    try:
        rows = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise KnowledgeError(str(path), [f"cannot be read: {error}"]) from None
    for number, row in enumerate(rows, start=1):
        if row.strip():
            try:
                key, annotations = _line(json.loads(row))
                if key in lines:
                    raise ValueError(f"{key[0]} {key[1]!r} is there twice")
                lines[key] = annotations
            except ValueError as error:
                faults.append(f"line {number}: {error}")
    if not lines and not faults:
        faults.append("has no line")
    if faults:
        raise KnowledgeError(str(path), faults)
    return ReadyAnnotations(path, lines)


def _line(line: Any) -> tuple[tuple[str, str], tuple[Annotation, ...]]:
    if not isinstance(line, dict) or not isinstance(line.get("annotations"), list):
        raise ValueError("must be an object with a list 'annotations'")
    keys = [key for key in KEYS if key in line]
    if len(keys) != 1 or len(line) != 2:
        raise ValueError(f"must have 'annotations' and one of {' and '.join(KEYS)}, has {[*line]}")
    value = line[keys[0]]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{keys[0]} must be a string with something in it, got {value!r}")
    if keys[0] == "text_sha256":
        value = value.lower()
    return (keys[0], value), tuple(_annotation(one) for one in line["annotations"])


def _annotation(one: Any) -> Annotation:
    if not isinstance(one, dict) or not one.keys() >= REQUIRED:
        raise ValueError(f"an annotation must have {sorted(REQUIRED)}, got {one!r}")
    if unknown := one.keys() - REQUIRED - OPTIONAL:
        raise ValueError(f"unknown key {min(unknown)!r}; known: {sorted(REQUIRED | OPTIONAL)}")
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
    return Annotation(surface, entity, tuple(categories), float(score), _span(one))


def _span(one: Mapping[str, Any]) -> tuple[int, int] | None:
    start, end = one.get("start"), one.get("end")
    if start is end is None:
        return None
    if type(start) is not int or type(end) is not int or not 0 <= start < end:
        got = (start, end)
        raise ValueError(f"start and end must be whole numbers with 0 <= start < end, got {got}")
    return start, end
