"""One self-contained HTML page of a run: no request leaves it, and it reads without scripts.

It begins with what a reader asks first. A new section is a line in SECTIONS, its function, and
templates/ID.html.jinja, which shows what the function returns. A section of which there is nothing
to show is left out, with its link.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from mmgenre.disk.locks import replacing_alone
from mmgenre.disk.provenance import sha256_file
from mmgenre.disk.records import EditedError, read_record
from mmgenre.explain.results import QUALITATIVE, Qualitative
from mmgenre.items.item import SPLITS
from mmgenre.items.modalities import MODALITIES
from mmgenre.measuring import results
from mmgenre.measuring.results import RunResult, StepResult
from mmgenre.report import learned, plots
from mmgenre.report.fusion import fusion, own_fusion
from mmgenre.report.parts import MOST_LABELS, panel, read_run, refusals, script, template
from mmgenre.report.tables import STEP_COLUMNS, steps_table

REPORT = "report.html"
# The parts of qualitative.json, as the page calls them.
PARTS = {
    "words": "words",
    "heat": "places on covers",
    "neighbours": "covers that look alike",
    "factors": "map of albums by their genres",
    "covers": "map of albums by their covers",
    "guesses": "two heads beside each other",
    "human": "a human beside the models",
    "examples": "examples",
    "reliability": "probabilities",
    "lacking": "missing modalities",
    "audit": "leaks",
}


def write_report(run: Path, steps: Sequence[StepResult] = ()) -> Path:
    """Reads `run`/metrics.json and, if it is there, qualitative.json; writes `run`/report.html.

    `steps`: what each step of the run took. The page is written whole or not at all. A
    qualitative.json of other metrics is not shown; `pipeline.qualitative.make_report` first
    computes it anew. Raises MmgenreError if metrics.json is missing or cannot be used.
    """
    source, again = run / results.RESULT, f"mmgenre fuse --run {run}"
    absent = f", so there is nothing to report yet. Run first: {again}"
    result = read_run(source, absent, f"Run again: {again}")
    found = read_qualitative(run / QUALITATIVE, sha256_file(source))
    with replacing_alone(run / REPORT) as temporary:
        temporary.write_text(render(result, found, steps), encoding="utf-8")
    return run / REPORT


def not_shown(reason: str) -> Qualitative:
    """A qualitative.json without any part, all for one reason."""
    missing = dict.fromkeys(PARTS, reason)
    content = {"fingerprint": "", "metrics_sha256": "", **dict.fromkeys(PARTS), "missing": missing}
    return cast(Qualitative, content)


NOT_COMPUTED = not_shown("Not computed for this page. Run: mmgenre report RUN")


def read_qualitative(path: Path, metrics_sha256: str) -> Qualitative:
    """A run's qualitative.json, or why no part of it is shown."""
    if not path.is_file():
        return NOT_COMPUTED
    try:
        content = read_record(path)
        lacking = results.required_keys(Qualitative) - set(content)
    except EditedError:
        fault = "was edited or damaged since it was written"
    except ValueError:
        fault = "is damaged"
    else:
        if not lacking and content["metrics_sha256"] == metrics_sha256:
            return cast(Qualitative, content)
        fault = "belongs to other metrics than this page"
        if lacking:
            fault = f"lacks {', '.join(sorted(lacking))}"
    return not_shown(f"{path.name} {fault}. Run: mmgenre report RUN")


@dataclass(frozen=True)
class Shown:
    """What sections are made from; the fusion that the recipe asks for is the first."""

    result: RunResult
    found: Qualitative
    fusions: list[dict[str, Any]]
    steps: Sequence[StepResult]


def render(
    result: RunResult, found: Qualitative = NOT_COMPUTED, steps: Sequence[StepResult] = ()
) -> str:
    """The page. Whatever comes from the data is escaped; the same result gives the same bytes."""
    fusions = [fusion(one, f"fusion-{k}") for k, one in enumerate(result["fusions"], 1)]
    if fusions:
        own = own_fusion(result["fusions"], result["recipe"])
        fusions = [fusions[own], *fusions[:own], *fusions[own + 1 :]]
    tested = result.get("cross_validated", [])  # of all items: they say most, and come first
    fusions = [*(fusion(one, f"folds-{k}") for k, one in enumerate(tested, 1)), *fusions]
    page = Shown(result, found, fusions, steps)
    sections = [
        (key, title, made) for key, (title, build) in SECTIONS.items() if (made := build(page))
    ]
    code, policy = script("page.js")
    return template("page").render(
        run=result["run"],
        made_by=result["made_by"],
        dataset=dataset(page),
        fusions=fusions,
        sections=sections,
        plots=plots,
        script=code,
        policy=policy,
    )


def measured(page: Shown) -> list[dict[str, Any]]:
    """The fusions that have a row."""
    return [own for own in page.fusions if own["tables"][1][1]]


def adds(page: Shown) -> list[dict[str, Any]]:
    """The fusions of several modalities."""
    return [own for own in page.fusions if own["adds"]]


def genres(page: Shown) -> list[dict[str, Any]]:
    """The fusions with figures by genre."""
    parts = ("labels", "confusion", "buckets", "levels", "left_out")
    return [own for own in page.fusions if any(own[part] for part in parts)]


def curves(page: Shown) -> dict[str, Any] | None:
    """The learning curves of encoders, and of the heads that were trained."""
    encoders = [
        panel(
            encoder["curve"],
            f"encoder-{k}",
            f"{name}: {encoder['network']}",
            f"{encoder['n_parameters']:,} parameters, {encoder['embedding_dim']:,}-d, ",
        )
        for k, (name, encoder) in enumerate(page.result["encoders"].items())
    ]
    fusions = [(own["name"], own["panels"]) for own in page.fusions if own["panels"]]
    if not (encoders or fusions):
        return None
    return {
        "encoders": [own for own in encoders if own["figure"]],
        "others": [own for own in encoders if not own["figure"]],
        "fusions": fusions,
    }


def dataset(page: Shown) -> dict[str, Any]:
    """Counts by split and modality, labels by frequency, and the number of refused inputs."""
    data = page.result["dataset"]
    counts = sorted(data["label_counts"].items(), key=lambda pair: (-pair[1], pair[0]))
    having = {m: data["modalities"][m] for m in _ordered(MODALITIES, data["modalities"])}
    sums = {m: sum(by_split.values()) for m, by_split in having.items()}
    splits = [(split, data["splits"][split]) for split in _ordered(SPLITS, data["splits"])]
    rows = [
        (s, n, [_part(by_split.get(s, 0), n) for by_split in having.values()]) for s, n in splits
    ]
    total = sum(data["splits"].values())
    per_split = ", ".join(f"{n:,} {split}" for split, n in splits) or "no splits"
    line = [f"{data['n_items']:,} items ({per_split})", f"{len(counts):,} labels"]
    tail = plots.long_tail([n for _, n in counts], "tail") if len(counts) > MOST_LABELS else None
    return {
        "name": data["name"],
        "synthetic": data["synthetic"],
        "line": ", ".join([*line, *(f"{m} for {n:,}" for m, n in sums.items())]),
        "modalities": list(having),
        "rows": [*rows, ("total", total, [_part(n, total) for n in sums.values()])],
        "counts": counts,
        "most": MOST_LABELS,
        "tail": tail,
        "n_refused": len(data["refused"]),
    }


def _ordered(first: Iterable[str], names: Mapping[str, object]) -> list[str]:
    """The names in their usual order, unknown ones at the end."""
    return [n for n in first if n in names] + sorted(n for n in names if n not in first)


def _part(n: int, total: int) -> str:
    return f"{n:,} ({n / total:.0%})" if total else f"{n:,}"


def origin(page: Shown) -> dict[str, Any]:
    """How the run was made: notes, steps, every setting as JSON, and what the page leaves out."""
    settings = page.result["recipe"]
    top = {key: v for key, v in settings.items() if not isinstance(v, Mapping)}
    sections = [("(top level)", top)] if top else []
    sections += [(key, dict(v)) for key, v in settings.items() if isinstance(v, Mapping)]
    as_json = [
        (name, [(k, json.dumps(v, ensure_ascii=False)) for k, v in values.items()])
        for name, values in sections
    ]
    reasons: dict[str, list[str]] = {}
    for part, reason in page.found["missing"].items():
        reasons.setdefault(reason, []).append(PARTS.get(part, part))
    return {
        "notes": page.result.get("notes", []),
        "step_columns": STEP_COLUMNS,
        "steps": steps_table(page.steps),
        "settings": as_json,
        "missing": [(", ".join(parts), reason) for reason, parts in reasons.items()],
    }


def refused(page: Shown) -> dict[str, Any] | None:
    """The inputs that could not be used."""
    found = page.result["dataset"]["refused"]
    return refusals(found) if found else None


def _of(build: Callable[[Qualitative], Any]) -> Callable[[Shown], Any]:
    return lambda page: build(page.found)


# The anchor of each section, which is the name of its template, its title in the navigation, and
# what makes `shown` in the template: in the order in which a reader asks.
SECTIONS: dict[str, tuple[str, Callable[[Shown], Any]]] = {
    "sure": ("How sure", measured),
    "adds": ("What each modality adds", adds),
    "genres": ("Right and wrong", genres),
    "examples": ("Look and listen", _of(learned.examples)),
    "apart": ("What tells genres apart", _of(learned.apart)),
    "maps": ("Maps", _of(learned.maps)),
    "reliability": ("Probabilities", _of(learned.reliability)),
    "lacking": ("Missing modalities", _of(learned.lacking)),
    "audit": ("Leaks", _of(lambda found: found["audit"])),
    "guesses": ("Two heads", _of(learned.guesses)),
    "human": ("A human beside it", _of(learned.human)),
    "curves": ("Learning curves", curves),
    "dataset": ("Dataset", dataset),
    "refused": ("Refused inputs", refused),
    "origin": ("How it was made", origin),
}
