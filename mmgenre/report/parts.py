"""What the pages of a run and of an experiment share: templates, refused items, confusions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from mmgenre.report import plots
from mmgenre.report.svg import printable

MOST_REFUSED = 1000  # lines in a page; all are in the JSON beside it
MOST_CONFUSED = 10  # pairs of labels in a list


def environment() -> Environment:
    """Templates of this folder; plain text is made printable and escaped."""
    folder = files("mmgenre.report")
    environment = Environment(
        loader=FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    environment.filters["thousands"] = lambda n: f"{n:,}"
    return environment


def refusals(refused: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Refused inputs as a page shows them: how many, by kind, and the first of them."""
    kinds = Counter(f"{r.get('modality', '?')}: {r.get('code', '?')}" for r in refused)
    return {
        "n": len(refused),
        "first": refused[:MOST_REFUSED],
        "kinds": sorted(kinds.items(), key=lambda pair: (-pair[1], pair[0])),
    }


def confusion(matrix: Sequence[Sequence[int]], labels: Sequence[str], key: str) -> dict[str, Any]:
    """A confusion matrix as a figure, labels by support, and its largest entries off the diagonal.

    Args:
        matrix: counts (true, predicted), (n_labels, n_labels).
        labels: of rows and columns.
        key: of the figure, unlike any other on the page.
    """
    totals = [sum(row) for row in matrix]
    order = sorted(range(len(labels)), key=lambda i: (-totals[i], labels[i]))
    pairs = sorted(
        (-matrix[i][j], labels[i], labels[j], totals[i])
        for i in order
        for j in order
        if i != j and matrix[i][j]
    )
    return {
        "figure": plots.confusion(
            [[matrix[i][j] for j in order] for i in order], [labels[i] for i in order], key
        ),
        "counted": len(labels) <= plots.COUNTED_CLASSES,
        "named": len(labels) <= plots.NAMED_CLASSES,
        "pairs": [(true, said, -n, f"{-n / t:.0%}") for n, true, said, t in pairs[:MOST_CONFUSED]],
    }
