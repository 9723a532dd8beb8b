"""Predictions as people and programs take them: lines, JSON, JSON lines, CSV, TSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any, Literal

from mmgenre.disk.tables import spreadsheet_cell
from mmgenre.errors import Refusal
from mmgenre.fusion.prediction import Prediction, Reasons, Span

Text = Literal["table", "json", "jsonl", "csv", "tsv"]
SEPARATORS = {"csv": ",", "tsv": "\t"}
JOINED = ";"  # between the genres of a cell
SHOWN = {
    "words": 5,
    "seconds": 3,
    "cover": 1,
}  # pieces in a table, of those with the largest shares


def shown(
    predictions: Iterable[Prediction], refused: Sequence[Refusal], form: Text, top: int
) -> Iterator[str]:
    """The text of a format, in pieces; memory holds one prediction.

    "json" is one object of `predictions` and `refused`; "jsonl" an object an item; "csv" and "tsv"
    have the columns id, named (joined by `;`), unsure, kind, used, then genre_k and score_k up to
    `top`, or to the number of genres, which all predictions of a model share.
    """
    if form == "json":
        yield '{\n "predictions": '
        yield from _array(_plain(p, top) for p in predictions)
        yield ',\n "refused": '
        yield from _array(asdict(r) for r in refused)
        yield "\n}\n"
    elif form == "jsonl":
        for p in predictions:
            yield json.dumps(_plain(p, top), ensure_ascii=False) + "\n"
    elif form in SEPARATORS:
        yield from _table(predictions, SEPARATORS[form], top)
    else:
        for p in predictions:
            yield "".join(f"{line}\n" for line in _lines(p, top))


def _lines(p: Prediction, top: int) -> list[str]:
    """A prediction for a terminal."""
    lines = [f"{p.id}  from {', '.join(p.used)}  ({p.kind}; * = named)"]
    lines += [f"  unsure: {p.unsure}"] if p.unsure else []
    for genre in p.genres[:top]:
        mark = "*" if genre.name in p.named else " "
        lines.append(f"  {mark} {genre.score:6.3f}  {genre.name}")
    lines += [f"    {note}" for note in p.notes]
    return lines + ([] if p.reasons is None else _told(p.reasons))


def _array(objects: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A member of an object, as `json.dumps` with `indent=1` writes it."""
    before = "["
    for content in objects:
        text = json.dumps(content, indent=1, ensure_ascii=False)
        yield f"{before}\n  " + text.replace("\n", "\n  ")
        before = ","
    yield "[]" if before == "[" else "\n ]"


def _told(reasons: Reasons) -> list[str]:
    """What adds up to the score of the likeliest genre, and what each modality says alone."""
    parts = [f"{reasons.base:.3f} of nothing known"]
    parts += [f"{share:+.3f} {name}" for name, share in reasons.shares.items()]
    alone = [f"{name}: {g.name} {g.score:.3f}" for name, g in reasons.alone.items()]
    lines = [f"    {reasons.genre} = {'  '.join(parts)}", f"    alone: {', '.join(alone)}"]
    pieces = {
        "words": [(word.share, word.name) for word in reasons.words],
        "seconds": [(span.share, _when(span)) for span in reasons.seconds],
        "cover": _places(reasons.cover),
    }
    for name, own in pieces.items():
        strongest = sorted(own, key=lambda piece: -abs(piece[0]))[: SHOWN[name]]
        if strongest:
            told = "  ".join(f"{share:+.3f} {piece}" for share, piece in strongest)
            lines.append(f"    {name}: {told}")
    if near := [f"{n.id} ({', '.join(n.genres)}) {n.similarity:.2f}" for n in reasons.nearest[:3]]:
        lines.append(f"    like: {'; '.join(near)}")
    return lines + [f"    {note}" for note in reasons.notes]


def _when(span: Span) -> str:
    """`1:04-1:06`, and the number of the track if it is not the first."""
    start, end = (f"{int(s) // 60}:{int(s) % 60:02}" for s in (span.start_s, span.end_s))
    return f"{start}-{end}" + (f" of track {span.track + 1}" if span.track else "")


def _places(grid: Sequence[Sequence[float]]) -> list[tuple[float, str]]:
    """The share of each cell of a cover, and where it lies.

    >>> _places([[0.5, 0, 0], [0, 0.25, 0], [0, 0, 0.125]])[::4]
    [(0.5, 'top left'), (0.25, 'middle'), (0.125, 'bottom right')]
    """
    rows, columns = ("top", "", "bottom"), ("left", "", "right")
    return [
        (share, f"{rows[3 * r // len(grid)]} {columns[3 * c // len(row)]}".strip() or "middle")
        for r, row in enumerate(grid)
        for c, share in enumerate(row)
    ]


def _plain(prediction: Prediction, top: int) -> dict[str, Any]:
    genres = [asdict(genre) for genre in prediction.genres[:top]]
    found = {**asdict(prediction), "genres": genres}
    del found["refused"]  # told for all items at once
    if prediction.reasons is None:
        del found["reasons"]
    return found


def _table(predictions: Iterable[Prediction], separator: str, top: int) -> Iterator[str]:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")

    def row(cells: Iterable[object]) -> str:
        text.seek(0)
        text.truncate()
        writer.writerow(cells)
        return text.getvalue()

    rest = iter(predictions)
    first = next(rest, None)
    width = 0 if first is None else min(top, len(first.genres))
    ranks = [f"{what}_{k}" for k in range(1, width + 1) for what in ("genre", "score")]
    yield row(["id", "named", "unsure", "kind", "used", *ranks])
    for p in () if first is None else chain([first], rest):
        cells: list[object] = [p.id, JOINED.join(p.named), p.unsure or "", p.kind]
        cells.append(JOINED.join(p.used))
        for genre in p.genres[:width]:
            cells += [genre.name, f"{genre.score:.6f}"]
        yield row(map(spreadsheet_cell, cells))
