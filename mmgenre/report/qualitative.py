"""What the page shows of qualitative.json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, cast

from mmgenre.explain.description import (
    Agreement,
    Guess,
    GuessTable,
    HeatResult,
    NeighbourResult,
    PointMap,
    Qualitative,
    WordsResult,
)
from mmgenre.items.labels import SEPARATOR
from mmgenre.report.points import Styles, genre_styles, point_map
from mmgenre.report.tables import NOTHING

NOT_DESCRIBED = "Not computed for this page. Run: mmgenre report RUN"
PARTS = ("words", "heat", "neighbours", "factors", "covers", "guesses", "human")
ABSENT = "This run has none."
MEANING = {
    "CAM": "exact, since the output is linear in the averaged features.",
    "Grad-CAM": "a first-order account, since layers that are not linear stand between these "
    "places and the score; what a feature is worth is its average over all places.",
    "HiResCAM": "a first-order account, since layers that are not linear stand between these "
    "places and the score.",
    "gradient rollout": "attention of all layers, where more of it raises the score; a first-order "
    "account. The third picture, attention rollout, does not depend on the genre: it says what was "
    "looked at, not what it was taken for.",
}


def read(path: Path, metrics_sha256: str) -> Qualitative | str:
    """A run's qualitative.json, or why it is not shown."""
    if not path.is_file():
        return NOT_DESCRIBED
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        missing = Qualitative.__required_keys__ - set(content)
    except (ValueError, TypeError):
        return f"{path.name} is damaged. Run: mmgenre report RUN"
    if missing:
        return f"{path.name} lacks {', '.join(sorted(missing))}. Run: mmgenre report RUN"
    if content["metrics_sha256"] != metrics_sha256:
        return f"{path.name} is of other metrics than this page's. Run: mmgenre report RUN"
    return cast(Qualitative, content)


def shown(described: Qualitative | str) -> dict[str, Any]:
    """Each part as the template wants it; where there is none, `missing` says why."""
    if isinstance(described, str):
        missing = dict.fromkeys(PARTS, described)
        nothing: dict[str, Any] = dict.fromkeys(("words", "heat", "neighbours"))
        lists = {"maps": [], "no_maps": [described], "guesses": [], "human": []}
        return {**nothing, **lists, "missing": missing}
    maps = [described["factors"], described["covers"]]
    styles = genre_styles([m for m in maps if m])
    missing = {**dict.fromkeys(PARTS, ABSENT), **described["missing"]}
    return {
        "words": _words(described["words"]) if described["words"] else None,
        "heat": _heat(described["heat"]) if described["heat"] else None,
        "neighbours": _neighbours(described["neighbours"]) if described["neighbours"] else None,
        "maps": [_map(m, styles, f"map-{k}") for k, m in enumerate(maps) if m],
        "guesses": [_guesses(table) for table in described["guesses"] or []],
        "human": _human(described["human"] or []),
        "no_maps": [missing[n] for n, m in zip(("factors", "covers"), maps, strict=True) if not m],
        "missing": missing,
    }


def narrowest(names: Sequence[str]) -> list[str]:
    """The genres that have no narrower one beside them.

    >>> narrowest(["Jazz", "Jazz/Swing", "Rock"])
    ['Jazz/Swing', 'Rock']
    """
    return [n for n in names if not any(other.startswith(n + SEPARATOR) for other in names)]


def _words(words: WordsResult) -> dict[str, Any]:
    """Words that tell more than the best word does by chance, for and against each genre."""
    rows, against = [], False
    for genre in words["genres"]:
        telling = [w for w in genre["words"] if w["bits"] > genre["chance_bits"]]
        sides = [
            [(w["word"], f"{w['bits']:.3f}") for w in telling if w["speaks_for"] is side]
            for side in (True, False)
        ]
        against |= bool(sides[1])
        rows.append(
            {
                "genre": genre["genre"],
                "n_texts": genre["n_texts"],
                "chance": f"{genre['chance_bits']:.3f}",
                "sides": sides,
            }
        )
    return {
        **words,
        "rows": rows,
        "against": against,
        "most": max(len(genre["words"]) for genre in words["genres"]),
    }


def _heat(heat: HeatResult) -> dict[str, Any]:
    """The sheet of covers, and what its method says and does not say."""
    place = "since the blocks behind it are too coarse to name a place"
    if heat["method"] == "gradient rollout":
        place = "all layers of attention together"
    elif heat["is_last"]:
        place = "the last block"
    return {
        **heat,
        "meaning": MEANING[heat["method"]],
        "place": place,
        "n_right": sum(item["right"] for item in heat["items"]),
        "items": [{**item, "truth": narrowest(item["truth"])} for item in heat["items"]],
    }


def _neighbours(found: NeighbourResult) -> dict[str, Any]:
    """The sheet of covers beside those nearest to them, shares in per cent."""
    queries = [
        {
            **query,
            "genres": narrowest(query["genres"]),
            "nearest": [
                {**other, "genres": narrowest(other["genres"])} for other in query["nearest"]
            ],
        }
        for query in found["queries"]
    ]
    return {
        **found,
        "share": f"{found['share']:.0%}",
        "chance": f"{found['chance']:.0%}",
        "same_artist": f"{found['same_artist']:.0%}",
        "n": found["k"] * found["n_queries"],
        "queries": queries,
    }


def _map(points: PointMap, styles: Styles, key: str) -> dict[str, Any]:
    shown_ = len(points["points"])
    perplexity = f"{points['perplexity']:.3g}"
    if points["perplexity"] < points["wanted_perplexity"]:
        perplexity += f" ({points['wanted_perplexity']:.0f} would want more points)"
    drawn = "" if shown_ == points["n_items"] else f", a draw of {shown_:,} shown"
    return {
        **points,
        "figure": point_map(points, styles, key),
        "perplexity": perplexity,
        "drawn": drawn,
        "grey": len({point["genre"] for point in points["points"]} - set(styles)),
    }


def _guesses(table: GuessTable) -> dict[str, Any]:
    """The table with what can be counted of it: right guesses, and genres named at all."""
    heads = []
    heads_: tuple[Literal["logistic", "cosine"], ...] = ("logistic", "cosine")
    for head in heads_:
        guesses: list[list[Guess]] = [item[head] for item in table["items"]]
        heads.append(
            {
                "name": head.upper(),
                "first": sum(three[0]["right"] for three in guesses),
                "within": sum(any(guess["right"] for guess in three) for three in guesses),
                "genres": len({guess["genre"] for three in guesses for guess in three}),
            }
        )
    rows = [{**item, "truth": narrowest(item["truth"])} for item in table["items"]]
    return {**table, "heads": heads, "rows": rows}


def _human(agreements: Sequence[Agreement]) -> list[dict[str, Any]]:
    """A table a fusion: F1 by genre, two columns for each row that the annotator did."""
    found = []
    for name, group in groupby(agreements, key=lambda a: a["fusion"]):
        rows = list(group)
        pairs = [
            {g: (h, m) for g, h, m in zip(a["genres"], a["human"], a["model"], strict=True)}
            for a in rows
        ]
        genres = sorted({genre for a in rows for genre in a["genres"]})
        found.append(
            {
                "fusion": name,
                "rows": rows,
                "genres": [
                    (
                        genre,
                        [
                            f"{value:.2f}" if value is not None else NOTHING
                            for pair in pairs
                            for value in pair.get(genre, (None, None))
                        ],
                    )
                    for genre in genres
                ],
            }
        )
    return found
