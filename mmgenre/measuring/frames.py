"""Results as tidy rows, one value each, and as a data frame of whichever library is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from mmgenre.measuring.results import FusionResult, Result, Spread

# What a figure is of; then the figure. No cell is empty but of what a figure has no use for.
TIDY = (
    "fusion", "kind", "row", "less", "items", "seed", "part", "metric", "label",
    "value", "std", "low", "high", "p_holm",
)  # fmt: skip
# What makes a frame of rows of dicts: the first library that is installed.
LIBRARIES: dict[str, dict[str, Any]] = {
    "pandas": {},
    "polars": {"infer_schema_length": None},  # else of the first rows, which have no p_holm
}


def metric_rows(fusion: FusionResult) -> list[dict[str, Any]]:
    """Every figure of a fusion as a row with the columns `TIDY`.

    `kind` says what the value is:

    - `seed`: of the heads of one seed; `label` "" of a figure of all labels.
    - `mean`: over the seeds, with `std` between them, if there are several, and the 95 % interval,
      `low` to `high`.
    - `bucket`: the mean over the labels of `part`, which is head, middle or tail; `n_labels` and
      the least and the highest number of training items of a label are rows, too.
    - `level`, `closed`: the mean over the labels of `part` of the taxonomy, which is parents,
      leaves or all, as they were predicted, and closed upward.
    - `difference`: of `row` less the row `less`, on the same items, with its interval and `p_holm`.

    `items` is "all" or "complete". Baselines are rows like the others. What does not exist is left
    out.
    """
    rows: list[dict[str, Any]] = []
    results: list[tuple[str, str, Result]] = []
    for row in fusion["rows"]:
        results.append((row["name"], "all", row["all"]))
        if row["complete"] is not None:
            results.append((row["name"], "complete", row["complete"]))
    results += [(name, "all", result) for name, result in fusion["baselines"].items()]
    for name, items, result in results:
        own = {"row": name, "items": items}
        found = result["per_seed"]
        seeds = fusion["seeds"] if len(fusion["seeds"]) == len(found) else range(len(found))
        for seed, measured in zip(seeds, found, strict=True):
            rows += [
                {**own, "kind": "seed", "seed": seed, "metric": m, "label": label, "value": value}
                for m, label, value in _figures(measured)
            ]
        rows += [own | figure for figure in _of_seeds(result)]
    rows += [
        {
            "kind": "difference", "row": d["a"], "less": d["b"], "items": items,
            **{name: d[name] for name in ("metric", "value", "low", "high", "p_holm")},
        }
        for items, differences in fusion["differences"].items()
        for d in differences
    ]  # fmt: skip
    blank = dict.fromkeys(TIDY) | dict.fromkeys(("less", "part", "label"), "")
    return [{**blank, "fusion": fusion["name"], **row} for row in rows]


def _of_seeds(result: Result) -> Iterator[dict[str, Any]]:
    """What is known over all seeds together: means, buckets of labels, levels of a taxonomy."""
    n = len(result["per_seed"])
    for metric, spread in result["summary"].items():
        low, high = result["intervals"].get(metric, (None, None))
        yield {"kind": "mean", "metric": metric, **_spread(spread, n), "low": low, "high": high}
    for bucket in result["buckets"]:
        least, most = bucket["n_train"]
        counts = {"n_labels": bucket["n_labels"], "n_train_least": least, "n_train_most": most}
        own = {"kind": "bucket", "part": bucket["name"]}
        yield from ({**own, "metric": name, "value": n} for name, n in counts.items())
        yield from (
            {**own, "metric": metric, **_spread(spread, n)}
            for metric, spread in bucket["summary"].items()
        )
    for level in result["levels"]:
        yield {"kind": "level", "part": level["name"], "metric": "n_labels",
               "value": level["n_labels"]}  # fmt: skip
        for kind, summary in (("level", level["raw"]), ("closed", level["closed"])):
            yield from (
                {"kind": kind, "part": level["name"], "metric": metric, **_spread(spread, n)}
                for metric, spread in summary.items()
            )


def _spread(spread: Spread, n_seeds: int) -> dict[str, Any]:
    return {"value": spread["mean"], "std": spread["std"] if n_seeds > 1 else None}


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
    for library, how in LIBRARIES.items():
        if find_spec(library) is not None:
            return import_module(library).DataFrame(rows, **how)
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
