"""What the pages of a run and of an experiment share: input, templates, and some of the content."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from itertools import permutations
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from mmgenre.disk.records import EditedError, read_record
from mmgenre.errors import MmgenreError
from mmgenre.items.labels import ancestors
from mmgenre.report import plots

MOST_LABELS = 40  # in a figure; all are in the table below it
MOST_REFUSED = 1000  # lines in a page; all are in the JSON beside it
MOST_CONFUSED = 10  # pairs of labels in a list


def read_result(
    path: Path, keys: Set[str], absent: str, again: str, *, rows: Set[str] = frozenset()
) -> dict[str, Any]:
    """A JSON file that a report is made from: an object with `keys`, each of its rows with `rows`.

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
    missing |= {f"rows.{key}" for row in content.get("rows", ()) for key in rows - set(row)}
    if missing:
        lacking = ", ".join(sorted(missing))
        raise MmgenreError(f"{path}: lacks {lacking}; was it written by another version? {again}")
    return content


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
    environment.filters.update(filters)
    return environment.get_template(f"{name}.html.jinja")


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
    key: str,
    *,
    bars: str | None,
    marks: Mapping[str, str],
) -> dict[str, Any]:
    """One metric of every label: a figure of the first labels, and a table of all.

    `supports`: label -> test items, as printed. `columns`: name -> values, one for each label.
    `bars`: the column that the figure shows as bars; None: no figure. `marks`: the columns that it
    shows as marks, with their names there.
    """
    first = slice(MOST_LABELS)
    figure = bars and plots.per_label(
        dict(list(supports.items())[first]),
        (bars, columns[bars][first]),
        {name: columns[column][first] for column, name in marks.items()},
        metric,
        key,
    )
    cells = [[printed(value) for value in column] for column in columns.values()]
    return {
        "metric": metric,
        "figure": figure,
        "shown": min(len(supports), MOST_LABELS),
        "names": list(columns),
        "rows": list(zip(supports, supports.values(), zip(*cells, strict=True), strict=True)),
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
