"""The card of a model folder, in Markdown: what it is, what it learned on, how well it does.

After the model cards of Mitchell et al. 2019. It begins with the fields that the Hugging Face hub
reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmgenre.report.published import as_markdown, markdown_table

HUB_LICENCE = "other"  # where none was stated for what was learned here


@dataclass(frozen=True)
class Genre:
    """A line of the card: items of a genre in training and test, and its figure of test items."""

    name: str
    n_train: int
    n_test: int
    value: float | None  # None: no test item has it, or all have
    low: float | None
    high: float | None


@dataclass(frozen=True)
class CardFacts:
    """All that a card says."""

    name: str
    made_by: str
    fingerprint: str
    dataset: str
    splits: Mapping[str, int]
    modalities: Mapping[str, int]  # -> items that have it
    encoders: Mapping[str, Sequence[str]]  # modality -> what reads it
    settings: Mapping[str, Any]  # of the run, as a recipe has them
    columns: Sequence[str]  # headings of the figures
    rows: Sequence[tuple[str, ...]]  # inputs, then a figure a column
    metric: str  # heading of the genres' figures
    genres: Sequence[Genre]
    exclusive: bool
    thresholds: tuple[float, float] | None  # overlapping genres: the least and the greatest
    calibration: tuple[int, str] | None  # validation items that decided it, and the way
    models: Sequence[Mapping[str, Any]]  # frozen ones, as `Place.about` describes them
    licence: str | None  # the strictest of theirs
    notes: Sequence[str]
    own_licence: str | None = None  # of what was learned here


def card(facts: CardFacts) -> str:
    """The card's text, README.md."""
    lines = [*_front_matter(facts), "", f"# {as_markdown(facts.name)}", ""]
    kinds = ", ".join(facts.encoders)
    task = "one genre an item" if facts.exclusive else "any number of genres an item"
    lines += [
        f"Names music genres from any of {kinds}: {len(facts.genres)} genres, {task}. Made by "
        f"{facts.made_by}; fingerprint `{facts.fingerprint}`.",
        "",
        "```python",
        *(["from pathlib import Path", ""] if "text" in facts.encoders else []),
        "from mmgenre import GenreTagger",
        "",
        'tagger = GenreTagger.from_pretrained("this folder")',
        f"tagger.predict({_arguments(facts.encoders)})",
        "```",
        "",
        "## Data",
        "",
        f"{as_markdown(facts.dataset)}: "
        + ", ".join(f"{n:,} {split}" for split, n in facts.splits.items())
        + " items; with "
        + ", ".join(f"{m} {n:,}" for m, n in facts.modalities.items())
        + ". No artist is in two splits, as far as the data name artists.",
        "",
        *markdown_table(
            ("modality", "encoders"), [(m, ", ".join(own)) for m, own in facts.encoders.items()]
        ),
        "",
        "## Figures",
        "",
        "On test items; in brackets 95 % intervals, by drawing items anew.",
        "",
    ]
    lines += markdown_table(("inputs", *facts.columns), facts.rows)
    lines += ["", f"Genre by genre ({facts.metric}; intervals by drawing artists anew):", ""]
    lines += markdown_table(
        ("genre", "training items", "test items", facts.metric, "95 %"),
        [(g.name, f"{g.n_train:,}", f"{g.n_test:,}", *_interval(g)) for g in facts.genres],
    )
    lines += ["", "## Limits", ""]
    lines += [f"- {text}" for text in _limits(facts)]
    lines += ["", "## Licences", ""]
    if facts.models:
        columns = ("model", "revision", "licence")
        of_each = [(m["model"], m["revision"] or "", m["licence"]) for m in facts.models]
        lines += markdown_table(columns, of_each)
        lines += ["", f"The strictest of them, {facts.licence}, holds for what was made with them."]
    else:
        own = facts.own_licence
        shared = f"It is shared under {own}." if own else "Whoever shares it states its licence."
        lines += [f"No frozen model of others is part of it. {shared}"]
    lines += ["", "## Settings", "", "```json", _json(facts.settings), "```"]
    return "\n".join(lines) + "\n"


def _front_matter(facts: CardFacts) -> list[str]:
    return [
        "---",
        "library_name: mmgenre",
        f"license: {_json(facts.licence or facts.own_licence or HUB_LICENCE)}",
        "tags: [music, genre, audio-classification]",
        "---",
    ]


def _arguments(encoders: Mapping[str, Sequence[str]]) -> str:
    example = {"audio": "song.flac", "text": "review.txt", "image": "cover.jpg"}
    parts = []
    for modality in encoders:
        path = f'"{example[modality]}"' if modality in example else "..."
        parts.append(f"{modality}=Path({path})" if modality == "text" else f"{modality}={path}")
    return ", ".join(parts)


def _interval(genre: Genre) -> tuple[str, str]:
    if genre.value is None or genre.low is None or genre.high is None:
        return "", ""
    return f"{genre.value:.3f}", f"{genre.low:.3f} to {genre.high:.3f}"


def _limits(facts: CardFacts) -> list[str]:
    unmeasured = [g.name for g in facts.genres if g.value is None]
    rare = [g.name for g in facts.genres if g.n_train < 20]
    said = [
        "It knows the genres above and no others, and what they mean in the data above: other "
        "catalogues draw the borders elsewhere.",
        "It calls an item unsure, and names no genre, that is unlike 95 % of the validation items.",
    ]
    if facts.calibration is not None:
        n, way = facts.calibration
        said.append(
            f"Scores are probabilities, checked on {n:,} validation items (calibration: {way}); on "
            "items unlike those they may be too sure."
        )
    if facts.thresholds is not None:
        least, most = facts.thresholds
        from_to = f"{least:.3f}" if least == most else f"{least:.3f} to {most:.3f}, by genre,"
        said.append(f"A genre is named from a score of {from_to} on, as validation items decided.")
    if rare:
        said.append(f"Fewer than 20 training items have {_listed(rare)}.")
    if unmeasured:
        said.append(f"No figure, for want of test items: {_listed(unmeasured)}.")
    return [as_markdown(text) for text in (*said, *facts.notes)]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _json(content: object) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False)
