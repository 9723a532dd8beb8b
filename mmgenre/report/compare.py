"""One self-contained page that compares runs."""

from __future__ import annotations

from typing import Any

from mmgenre.measuring.compared import Compared
from mmgenre.report.bars import Dot, dots
from mmgenre.report.parts import script, template
from mmgenre.report.published import TITLES
from mmgenre.report.tables import number


def verdict(found: Compared) -> str:
    """Who is ahead, and whether that can be told, in one sentence."""
    metric = found["metric"]
    known = [side for side in found["sides"] if metric in side["figures"]]
    if not known:
        return f"No run has a figure of {TITLES[metric]}."
    best = max(known, key=lambda side: side["figures"][metric])
    text = f"{best['name']}: {TITLES[metric]} {number(best['figures'][metric])}"
    told: dict[str, list[str]] = {}
    for d in found["differences"]:
        if best["name"] in (d["a"], d["b"]):
            other = d["b"] if d["a"] == best["name"] else d["a"]
            apart = (
                "better than" if d["verdict"] != "not distinguishable" else "cannot be told from"
            )
            told.setdefault(apart, []).append(other)
    parts = [f"{how} {', '.join(names)}" for how, names in told.items()]
    return f"{text}; {'; '.join(parts)}." if parts else f"{text}."


def render_comparison(found: Compared) -> str:
    """The page. Whatever comes from the data is escaped; the same content gives the same bytes."""
    metric, names = found["metric"], [side["name"] for side in found["sides"]]
    lines = [
        Dot(s["name"], s["figures"][metric], number(s["figures"][metric]), s["interval"])
        for s in found["sides"]
        if metric in s["figures"]
    ]
    code, policy = script("page.js")
    return template("compare").render(
        **found,
        names=names,
        title=TITLES[metric],
        headline=verdict(found),
        picture=dots(lines) if lines else None,
        by_genre=_by_genre(found, names),
        genre_title="F1" if found["exclusive"] else "ROC-AUC",
        script=code,
        policy=policy,
    )


def _by_genre(found: Compared, names: list[str]) -> list[dict[str, Any]]:
    """Genres, those first in which the last run gains most over the first."""

    def gain(figures: dict[str, float | None]) -> float | None:
        first, last = figures[names[0]], figures[names[-1]]
        return None if first is None or last is None else last - first

    rows = [
        {
            **genre,
            "printed": [number(genre["figures"][name]) for name in names],
            "gain": gain(genre["figures"]),
        }
        for genre in found["genres"]
    ]
    return sorted(rows, key=lambda row: (row["gain"] is None, -(row["gain"] or 0), row["name"]))
