"""Large JSON files, record by record, in whichever form they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from mmgenre.datasets.mumu import CHUNK, json_records
from mmgenre.errors import ManifestError

Form = Callable[[Sequence[dict[str, Any]]], str]

FORMS: dict[str, Form] = {
    "list": lambda records: json.dumps(records),
    "indented list": lambda records: json.dumps(records, indent=1),
    "lines": lambda records: "\n".join(map(json.dumps, records)) + "\n",
    "by id": lambda records: json.dumps({r["amazon_id"]: r for r in records}),
    "lists by id": lambda records: json.dumps(
        {r["amazon_id"]: [{k: v for k, v in r.items() if k != "amazon_id"}] for r in records}
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [1, 2, 3, 400])
def test_json_records_of_every_form(tmp_path: Path, form: str, n: int) -> None:
    text = "long, with } and ] and \\ " * (2 * CHUNK // (n * 26) if n == 400 else 1)
    records = [{"amazon_id": f"B{k}", "reviewText": f"{k} é {text}"} for k in range(n)]
    path = tmp_path / "r.json"
    path.write_text(FORMS[form](records), encoding="utf-8")
    assert list(json_records(path, "amazon_id")) == [
        {"amazon_id": r["amazon_id"], "reviewText": r["reviewText"]} for r in records
    ]


def test_json_record_longer_than_a_chunk(tmp_path: Path) -> None:
    records = [{"amazon_id": "B", "reviewText": "x" * (3 * CHUNK)}, {"amazon_id": "C"}]
    (tmp_path / "r.json").write_text(json.dumps(records))
    assert list(json_records(tmp_path / "r.json", "amazon_id")) == records


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('[{"a": 1}, {"a": ', "not JSON from character 11 on"),
        ('[{"a": 1}', "ends in the middle of a list"),
        ("[", "ends in the middle of a list"),
        ("{'a': 1}", "not JSON from character 0 on"),
        ("[1, 2]", "record 0: expected an object, got int"),
        ('{"a": 1}\nnonsense', "not JSON from character 9 on"),
        ('{"B01": {"amazon_id": "B02"}}', "'B01' has a record whose amazon_id is 'B02'"),
    ],
)
def test_json_that_is_none(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(ManifestError, match=match):
        list(json_records(tmp_path / "r.json", "amazon_id"))


def test_json_of_nothing(tmp_path: Path) -> None:
    for text in ("", "[]", " [ ] \n"):
        (tmp_path / "r.json").write_text(text)
        assert list(json_records(tmp_path / "r.json", "amazon_id")) == []
