"""What a page shows of qualitative.json: examples, what tells genres apart, maps, probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Literal

from mmgenre.explain.results import Example, Qualitative, WordsResult
from mmgenre.report import plots, tables
from mmgenre.report.bars import Dot, Scale, about_zero, dots, span, style
from mmgenre.report.maps import genre_styles, point_picture

LEAST_SHARE = 0.005  # of a word that is shown; less is printed as 0


def examples(found: Qualitative) -> dict[str, Any] | None:
    """Test items to look at and to listen to; of each, bars of its genres and reasons."""
    own = found["examples"]
    if not own:
        return None
    items = [
        {**item, **_reasons(item), "anchor": _anchor(k)} for k, item in enumerate(own["items"])
    ]
    return {
        **own,
        "first": [item for item in items if not item["is_mistake"]],
        "mistakes": [item for item in items if item["is_mistake"]],
        "n_excerpts": sum(item["excerpt"] is not None for item in items),
        "faults": [(item["id"], fault) for item in items for fault in item["faults"]],
    }


def _anchor(k: int) -> str:
    return f"example-{k + 1}"


def _reasons(item: Example) -> dict[str, Any]:
    """The bars of an example: of genres from 0, of shares about 0."""
    scale, around = Scale(), about_zero(item["shares"].values())
    shares = []
    for k, (modality, share) in enumerate(item["shares"].items()):
        left, width = span(around, min(share, 0.0), max(share, 0.0))
        alone = item["alone"].get(modality)
        shares.append((modality, style(modality, k), left, width, share, alone))
    return {
        "bars": [(guess, scale.at(guess["score"])) for guess in item["guesses"]],
        "reasons": shares,
        "telling": [word for word in item["words"] if abs(word[1]) >= LEAST_SHARE],
        "strip": _strip(item["seconds"]),
        "grid": _grid(item["places"]),
        "zero": around.at(0),
        "is_right": bool(item["guesses"]) and item["guesses"][0]["right"],
    }


def _strip(seconds: Sequence[tuple[float, float, float]]) -> dict[str, Any] | None:
    """Seconds of a track as cells of one strip, and the telling ones in words."""
    shares = [share for _, _, share in seconds]
    if len(seconds) < 2 or max(map(abs, shares)) < LEAST_SHARE:
        return None
    start, end, share = max(seconds, key=lambda span: abs(span[2]))
    return {"cells": _shades(shares), "start_s": start, "end_s": end, "share": share}


def _grid(places: Sequence[Sequence[float]]) -> dict[str, Any] | None:
    """Squares of a cover as cells, rows by columns, and where the telling one is, in words."""
    shares = [share for row in places for share in row]
    if not shares or max(map(abs, shares)) < LEAST_SHARE:
        return None
    k, width = max(range(len(shares)), key=lambda k: abs(shares[k])), len(places[0])
    at = (k // width, len(places)), (k % width, width)
    thirds = [3 * (2 * cell + 1) // (2 * n) for cell, n in at]  # of the middle of the square
    row, column = ("upper", "middle", "lower")[thirds[0]], ("left", "middle", "right")[thirds[1]]
    place = "middle" if row == column else f"{row} {column}"
    return {"cells": _shades(shares), "columns": width, "place": place, "share": shares[k]}


def _shades(shares: Sequence[float]) -> list[tuple[str, str]]:
    """Class and opacity of a cell for each share, the strongest at 1."""
    most = max(map(abs, shares))
    return [("up" if share >= 0 else "down", f"{abs(share) / most:.2f}") for share in shares]


def reliability(found: Qualitative) -> dict[str, Any] | None:
    """Whether probabilities mean what they say."""
    own = found["reliability"]
    return {**own, "figure": plots.reliability(own, "reliability")} if own else None


def lacking(found: Qualitative) -> dict[str, Any] | None:
    """How the model does on items that lack modalities."""
    own = found["lacking"]
    if not own or not any(value is not None for value in own["curve"]):
        return None
    title = {**tables.EXCLUSIVE_COLUMNS, **tables.OVERLAPPING_COLUMNS}[own["metric"]]
    lines = [
        Dot(name, value, tables.number(value))
        for name, value in own["subsets"].items()
        if value is not None
    ]
    figure = plots.lacking(own, title, "lacking")
    return {**own, "title": title, "figure": figure, "picture": dots(lines)}


def apart(found: Qualitative) -> dict[str, Any] | None:
    """What tells genres apart: words, places on covers, neighbours."""
    words, heat, neighbours = found["words"], found["heat"], found["neighbours"]
    if not (words or heat or neighbours):
        return None
    return {"words": words and _words(words), "heat": heat, "neighbours": neighbours}


def maps(found: Qualitative) -> list[dict[str, Any]]:
    """Items as points; those that are examples with an excerpt can be played."""
    shown = [points for points in (found["factors"], found["covers"]) if points]
    styles, plays = genre_styles(shown), dict[str, str]()
    if found["examples"]:
        items = enumerate(found["examples"]["items"])
        plays = {item["id"]: _anchor(k) for k, item in items if item["excerpt"]}
    return [{**points, "picture": point_picture(points, styles, plays)} for points in shown]


def _words(words: WordsResult) -> dict[str, Any]:
    """Words with a higher gain than the best word has by chance, for and against each genre."""
    genres, against = [], False
    for genre in words["genres"]:
        telling = [w for w in genre["words"] if w["bits"] > genre["chance_bits"]]
        against |= any(not w["speaks_for"] for w in telling)
        genres.append({**genre, "words": telling})
    most = max(len(genre["words"]) for genre in words["genres"])
    return {**words, "genres": genres, "against": against, "most": most}


def guesses(found: Qualitative) -> list[dict[str, Any]]:
    """The first guesses of both heads.

    For each head: right first guesses, items with a right guess, and genres named at all.
    """
    names: tuple[Literal["logistic", "cosine"], ...] = ("logistic", "cosine")
    shown = []
    for table in found["guesses"] or []:
        heads = []
        for name in names:
            rows = [item[name] for item in table["items"]]
            first = sum(row[0]["right"] for row in rows)
            within = sum(any(guess["right"] for guess in row) for row in rows)
            genres = len({guess["genre"] for row in rows for guess in row})
            heads.append({"name": name.upper(), "first": first, "within": within, "genres": genres})
        shown.append({**table, "heads": heads})
    return shown


def human(found: Qualitative) -> list[dict[str, Any]]:
    """One table per fusion: F1 by genre, two columns for each row that the annotator did."""
    shown = []
    for name, group in groupby(found["human"] or [], key=lambda agreement: agreement["fusion"]):
        rows = list(group)
        f1s = [zip(a["genres"], a["human"], a["model"], strict=True) for a in rows]
        cells = [{genre: [f"{h:.2f}", f"{m:.2f}"] for genre, h, m in f1} for f1 in f1s]
        names = sorted({genre for own in cells for genre in own})
        nothing = [tables.NOTHING, tables.NOTHING]
        genres = {g: [cell for own in cells for cell in own.get(g, nothing)] for g in names}
        shown.append({"fusion": name, "rows": rows, "genres": genres})
    return shown
