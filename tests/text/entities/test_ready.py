"""Annotations made elsewhere: found by item or by text, and checked against it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from mmgenre.errors import FaultsError, InputError
from mmgenre.text.entities.annotation import Annotation
from mmgenre.text.entities.ready import ReadyAnnotations, read_annotations

MILES = {"entity": "Miles_Davis", "categories": ["American jazz trumpeters"]}


def write(path: Path, *lines: Any) -> ReadyAnnotations:
    path.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n", encoding="utf-8")
    return read_annotations(path)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_annotations_are_found_by_item_then_by_text(tmp_path: Path) -> None:
    ready = write(
        tmp_path / "a.jsonl",
        {"id": "x", "annotations": [MILES]},
        {"text_sha256": sha256("Schön.").upper(), "annotations": []},
    )
    expected = [Annotation("", "Miles_Davis", ("American jazz trumpeters",))]
    assert ready.of_row("x").annotate("Whatever.") == expected
    assert ready.of_row("x").annotate("Schön.") == expected
    assert ready.of_row("y").annotate("Schön.") == []
    assert ready.annotate("Schön.") == []


def test_an_item_that_is_not_there_is_refused(tmp_path: Path) -> None:
    ready = write(tmp_path / "a.jsonl", {"id": "x", "annotations": []})
    with pytest.raises(InputError, match=r"a\.jsonl: no line for id 'y' and none for text_sha256"):
        ready.of_row("y").annotate("Text.")
    with pytest.raises(InputError, match=rf"no line for text_sha256 {sha256('Text.')}; add one"):
        ready.annotate("Text.")


def test_offsets_must_fit_the_text(tmp_path: Path) -> None:
    inside = {**MILES, "surface": "Miles", "start": 2, "end": 7, "score": 0.5}
    cut = {**MILES, "entity": "Cut", "surface": "Coltrane", "start": 12, "end": 20}
    ready = write(tmp_path / "a.jsonl", {"id": "x", "annotations": [inside, cut]})
    found = ready.of_row("x").annotate("🎷 Miles and")  # the text was cut there
    assert found == [Annotation("Miles", "Miles_Davis", ("American jazz trumpeters",), 0.5, (2, 7))]
    with pytest.raises(InputError, match=r"id 'x': text \(2, 7\) is 'other', the file says 'Mil"):
        ready.of_row("x").annotate("- other")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "line 2: Expecting property name"),
        ("7", "line 2: must be an object with a list 'annotations'"),
        ({"id": "x"}, "must be an object with a list 'annotations'"),
        ({"annotations": []}, "must have 'annotations' and one of id and text_sha256"),
        ({"id": "x", "text_sha256": "y", "annotations": []}, "one of id and text_sha256"),
        ({"id": "", "annotations": []}, "id must be a string that is not empty, got ''"),
        ({"id": 7, "annotations": []}, "id must be a string"),
        ({"id": "first", "annotations": []}, "line 2: id 'first' appears twice"),
        ({"id": "x", "annotations": [{"entity": "A"}]}, "must have ['categories', 'entity']"),
        ({"id": "x", "annotations": [{**MILES, "begin": 1}]}, "unknown key 'begin'; known: "),
        ({"id": "x", "annotations": [{**MILES, "categories": "Jazz"}]}, "a list of strings"),
        ({"id": "x", "annotations": [{**MILES, "categories": ["?"]}]}, "strings with a letter"),
        ({"id": "x", "annotations": [{**MILES, "entity": ""}]}, "must be strings, got ''"),
        ({"id": "x", "annotations": [{**MILES, "score": "1"}]}, "score must be a number, got '1'"),
        ({"id": "x", "annotations": [{**MILES, "start": 1}]}, "whole numbers with 0 <= start"),
        ({"id": "x", "annotations": [{**MILES, "start": 3, "end": 3}]}, "got (3, 3)"),
    ],
)
def test_faults_are_named(tmp_path: Path, line: Any, fault: str) -> None:
    path = tmp_path / "a.jsonl"
    first = json.dumps({"id": "first", "annotations": [MILES]})
    path.write_text(f"{first}\n{line if isinstance(line, str) else json.dumps(line)}\n")
    with pytest.raises(FaultsError) as caught:
        read_annotations(path)
    assert len(caught.value.faults) == 1
    assert fault in str(caught.value)


def test_no_file_and_no_line_are_faults(tmp_path: Path) -> None:
    with pytest.raises(FaultsError, match=r"absent\.jsonl: 1 fault\(s\)\n  cannot be read: .*"):
        read_annotations(tmp_path / "absent.jsonl")
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(FaultsError, match="has no line"):
        read_annotations(tmp_path / "empty.jsonl")
