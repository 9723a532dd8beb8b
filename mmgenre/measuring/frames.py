"""Results as tidy rows, one value each, and as a data frame of whichever library is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from mmgenre.measuring.results import FusionResult, Result

TIDY = ("fusion", "row", "items", "seed", "metric", "label", "value")
LIBRARIES = {"pandas": "DataFrame", "polars": "DataFrame"}  # the first that is installed


def metric_rows(fusion: FusionResult) -> list[dict[str, Any]]:
    """Every figure of a fusion as a row: fusion, row, items, seed, metric, label, value.

    `items` is "all" or "complete"; `label` is "" of a figure of all labels. Baselines, where they
    were measured, are rows like the others. What does not exist is left out.
    """
    rows: list[dict[str, Any]] = []
    results: list[tuple[str, str, Result]] = []
    for row in fusion["rows"]:
        results.append((row["name"], "all", row["all"]))
        if row["complete"] is not None:
            results.append((row["name"], "complete", row["complete"]))
    results += [(name, "all", result) for name, result in fusion["baselines"].items()]
    for name, items, result in results:
        found = result["per_seed"]
        seeds = fusion["seeds"] if len(fusion["seeds"]) == len(found) else range(len(found))
        for seed, measured in zip(seeds, found, strict=True):
            own = {"fusion": fusion["name"], "row": name, "items": items, "seed": seed}
            rows += [
                {**own, "metric": metric, "label": label, "value": value}
                for metric, label, value in _figures(measured)
            ]
    return rows


def _figures(measured: Mapping[str, Any]) -> Iterable[tuple[str, str, float]]:
    for metric, value in measured.items():
        if _is_number(value):
            yield metric, "", value
    for label, own in measured.get("per_label", {}).items():
        for metric, value in own.items():
            if _is_number(value):
                yield metric, label, value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def to_frame(result: object) -> Any:
    """A data frame of pandas, or of polars; where neither is installed, the rows as dicts.

    Args:
        result: what `fuse` returns, a list of these (as of `quickstart`), predictions, suspects, or
            any rows of dicts.

    Raises:
        TypeError: anything else.
    """
    rows = _rows(result)
    for library, name in LIBRARIES.items():
        if find_spec(library) is not None:
            return getattr(import_module(library), name)(rows)
    return rows


def _rows(result: object) -> list[dict[str, Any]]:
    """The rows of whatever `to_frame` takes.

    Raises:
        TypeError: anything else.
    """
    if isinstance(result, Mapping) and {"rows", "seeds", "labels"} <= result.keys():
        return metric_rows(result)  # type: ignore[arg-type]
    if isinstance(result, Sequence) and not isinstance(result, str):
        rows = []
        for own in result:
            if isinstance(own, Mapping) and "seeds" not in own:
                rows.append(dict(own))
            elif hasattr(own, "as_row"):
                rows.append(own.as_row())
            elif is_dataclass(own) and not isinstance(own, type):
                rows.append(asdict(own))
            else:
                rows += _rows(own)
        return rows
    raise TypeError(
        f"to_frame: got {type(result).__name__}; give what fuse or predict_manifest returns, a "
        "list of such results, or rows of dicts"
    )
