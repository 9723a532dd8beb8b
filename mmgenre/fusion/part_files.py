"""A part of many predictions as a file of lines of JSON, with a checksum: whole or not there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mmgenre.disk.files import replacing
from mmgenre.errors import Refusal
from mmgenre.fusion.prediction import Genre, Neighbour, Piece, Prediction, Reasons, Span


def write_part(path: Path, predictions: Iterable[Prediction], refused: Iterable[Refusal]) -> Path:
    """Writes lines of JSON: first a checksum of the others, and what was refused."""
    lines = "".join(json.dumps(_plain(p)) + "\n" for p in predictions)
    content = json.dumps([asdict(r) for r in refused]) + "\n" + lines
    with replacing(path) as temporary:
        digest = hashlib.sha256(content.encode()).hexdigest()
        temporary.write_text(f"{digest}\n{content}", encoding="utf-8", newline="\n")
    return path


def read_part(path: Path) -> list[Prediction]:
    """The predictions that `write_part` was given; ValueError if they are not what was written."""
    return [_prediction(json.loads(line)) for line in _lines(path)[1:]]


def refused_in(path: Path) -> list[Refusal]:
    """The refusals that `write_part` was given; ValueError if it is not what was written."""
    return [Refusal(**refusal) for refusal in json.loads(_lines(path)[0])]


def _lines(path: Path) -> list[str]:
    """All lines after the checksum."""
    digest, _, content = path.read_bytes().partition(b"\n")
    if hashlib.sha256(content).hexdigest().encode() != digest:
        raise ValueError(f"{path}: edited or damaged since it was written (its sha256 differs)")
    return content.decode().removesuffix("\n").split("\n")


def _plain(prediction: Prediction) -> dict[str, Any]:
    genres = [[genre.name, genre.score] for genre in prediction.genres]  # many: names once
    return {**asdict(replace(prediction, genres=())), "genres": genres}


def _prediction(plain: dict[str, Any]) -> Prediction:
    """The prediction that `_plain` was given."""
    found: dict[str, Any] = {
        key: tuple(v) if isinstance(v, list) else v for key, v in plain.items()
    }
    found["genres"] = tuple(Genre(*genre) for genre in plain["genres"])
    found["refused"] = tuple(Refusal(**refusal) for refusal in plain["refused"])
    if plain["reasons"] is not None:
        own = dict(plain["reasons"])
        own["alone"] = {name: Genre(**genre) for name, genre in own["alone"].items()}
        own["words"] = tuple(Piece(**piece) for piece in own["words"])
        own["seconds"] = tuple(Span(**span) for span in own["seconds"])
        own["cover"] = tuple(tuple(row) for row in own["cover"])
        near = [{**n, "genres": tuple(n["genres"])} for n in own["nearest"]]
        own["nearest"] = tuple(Neighbour(**n) for n in near)
        found["reasons"] = Reasons(**own | {"notes": tuple(own["notes"])})
    return Prediction(**found)
