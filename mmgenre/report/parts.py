"""What the pages of a run and of an experiment share: input, templates, and some of the content."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from importlib.resources import files
from itertools import permutations
from pathlib import Path
from typing import Any, cast

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from mmgenre.disk.records import EditedError, read_record
from mmgenre.errors import MmgenreError
from mmgenre.items.labels import ancestors
from mmgenre.measuring.curves import Curve
from mmgenre.measuring.results import FusionResult, RunResult, required_keys
from mmgenre.report import plots
from mmgenre.report.bars import label_bars

MOST_LABELS = 40  # in a figure; all are in the table below it
MOST_REFUSED = 1000  # lines in a page; all are in the JSON beside it
MOST_CONFUSED = 10  # pairs of labels in a list


def read_result(
    path: Path, keys: Set[str], absent: str, again: str, *, within: Mapping[str, Set[str]]
) -> dict[str, Any]:
    """A JSON file that a report is made from: an object with `keys`.

    `within`: name of one of its lists -> keys that each of its entries has.
    Raises MmgenreError if it is missing, is not JSON, or lacks keys; the text ends with what to do:
    `absent` if it is missing, else `again`.
    """
    if not path.is_file():
        raise MmgenreError(f"{path}: not there{absent}")
    try:
        content = read_record(path)
    except EditedError as error:
        raise MmgenreError(f"{path}: {error}. {again}") from error
    except ValueError as error:
        raise MmgenreError(f"{path}: not valid JSON ({error}). {again}") from error
    missing = {*(keys - set(content))}
    for name, own in within.items():
        missing |= {f"{name}.{key}" for row in content.get(name, ()) for key in own - set(row)}
    if missing:
        lacking = ", ".join(sorted(missing))
        raise MmgenreError(f"{path}: lacks {lacking}; was it written by another version? {again}")
    return content


def read_run(path: Path, absent: str, again: str) -> RunResult:
    """metrics.json of a run; raises as `read_result` does."""
    within = {"fusions": required_keys(FusionResult)}
    found = read_result(path, required_keys(RunResult), absent, again, within=within)
    return cast(RunResult, found)


def in_points(difference: float) -> str:
    """A difference in points of 0.01, with a sign.

    >>> in_points(0.0312), in_points(-0.00001)
    ('+3.1', '+0.0')
    """
    return f"{100 * difference:+z.1f}".replace("-", "\N{MINUS SIGN}")


def template(name: str) -> Template:
    """A page's template; plain text is made printable and escaped."""
    environment = Environment(
        loader=PackageLoader("mmgenre.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: plots.printable(value) if type(value) is str else value,
    )
    filters = {"thousands": "{:,}".format, "percent": "{:.0%}".format, "narrowest": narrowest}
    environment.filters.update(filters, in_points=in_points)
    return environment.get_template(f"{name}.html.jinja")


def script(name: str) -> tuple[Markup, str]:
    """A script of the templates, and the policy that lets a page run it and load nothing.

    Whatever of the data should ever look like a script is not run.
    """
    code = "\n" + files("mmgenre.report").joinpath("templates", name).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    policy = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
    return Markup(code), f"{policy}; script-src 'sha256-{digest}'"


def narrowest(names: Sequence[str]) -> list[str]:
    """The genres that have no narrower one beside them.

    >>> narrowest(["Jazz", "Jazz/Swing", "Rock"])
    ['Jazz/Swing', 'Rock']
    """
    above = {broader for name in names for broader in ancestors(name)[:-1]}
    return [name for name in names if name not in above]


def refusals(refused: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Refused inputs as a page shows them: how many, by kind, and the first of them."""
    kinds = Counter(f"{r.get('modality', '?')}: {r.get('code', '?')}" for r in refused)
    return {
        "n": len(refused),
        "first": refused[:MOST_REFUSED],
        "kinds": sorted(kinds.items(), key=lambda pair: (-pair[1], pair[0])),
    }


def by_label(
    supports: Mapping[str, str],
    columns: Mapping[str, Sequence[float | None]],
    printed: Callable[[float | None], str],
    metric: str,
    *,
    bars: str | None,
    marks: Mapping[str, str],
) -> dict[str, Any]:
    """One metric of every label: a picture of the first labels, and a table of all.

    `supports`: label -> test items, as printed. `columns`: name -> values, one for each label.
    `bars`: the column that the picture shows as bars; None, or one without values: no picture.
    `marks`: the columns that it shows as marks, with the input whose colour each has.
    """
    first = slice(MOST_LABELS)
    cells = [[printed(value) for value in column] for column in columns.values()]
    picture = None
    if bars is not None and any(value is not None for value in columns[bars][first]):
        picture = label_bars(
            dict(list(supports.items())[first]),
            columns[bars][first],
            {name: (columns[name][first], own) for name, own in marks.items()},
            chance=0.5 if metric == "ROC-AUC" else None,
        )
    return {
        "metric": metric,
        "picture": picture,
        "shown": min(len(supports), MOST_LABELS),
        "names": list(columns),
        "rows": list(zip(supports, supports.values(), zip(*cells, strict=True), strict=True)),
    }


def panel(curve: Curve, key: str, title: str, detail: str = "") -> dict[str, Any]:
    """A learning curve with its caption; no figure where no epoch was recorded."""
    steps = {epoch["epoch"]: epoch["step"] for epoch in curve["epochs"] if "step" in epoch}
    n, best = len(curve["epochs"]), curve["best_epoch"]
    kept = f"best epoch {best} of {n}" if n else "no epoch recorded"
    if best in steps:
        kept = f"best step {steps[best]:,} of {max(steps.values()):,}"
    return {
        "title": title,
        "detail": f"{detail}{kept}",
        "figure": plots.learning_curve(curve, key, title) if n else None,
    }


def confusion(matrix: Sequence[Sequence[int]], labels: Sequence[str], key: str) -> dict[str, Any]:
    """A confusion matrix as a figure, labels by support, and its largest entries off the diagonal.

    `matrix`: counts (true, predicted), (n_labels, n_labels).
    """
    totals = [sum(row) for row in matrix]
    order = sorted(range(len(labels)), key=lambda i: (-totals[i], labels[i]))
    pairs = sorted(
        (-matrix[i][j], labels[i], labels[j], totals[i])
        for i, j in permutations(order, 2)
        if matrix[i][j]
    )
    ordered = [[matrix[i][j] for j in order] for i in order]
    return {
        "figure": plots.confusion(ordered, [labels[i] for i in order], key),
        "counted": len(labels) <= plots.COUNTED_CLASSES,
        "named": len(labels) <= plots.NAMED_CLASSES,
        "pairs": [(true, said, -n, f"{-n / t:.0%}") for n, true, said, t in pairs[:MOST_CONFUSED]],
    }
