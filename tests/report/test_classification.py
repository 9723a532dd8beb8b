"""Classification reports on made-up tables, against scikit-learn's."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    classification_report,
    confusion_matrix,
    roc_auc_score,
)

from mmgenre.measuring import evaluation, metrics
from mmgenre.measuring.table_results import TableResult, TableRow
from mmgenre.report.published import (
    Line,
    as_csv,
    classification,
    markdown,
    reports_csv,
    reports_markdown,
)

NAMES = ["Rock", "Jazz", "New Age", "Folk", "Polka"]  # New Age is never predicted, Polka never true
Case = tuple[metrics.Bools, metrics.Floats]


def case(names: Sequence[str], seed: int, *, exclusive: bool, n: int = 90) -> Case:
    """Truth and scores; the third label is never named, the last is on no item but is named."""
    rng = np.random.default_rng(seed)
    shares = np.r_[1 / np.arange(1, len(names)), 0]
    y = np.eye(len(names), dtype=bool)[rng.choice(len(names), n, p=shares / shares.sum())]
    if not exclusive:
        y[:, :-1] |= rng.random((n, len(names) - 1)) < 0.3
    scores = np.clip(0.4 * y + 0.6 * rng.random(y.shape), 0, 1)
    scores[:, 2] *= 0.01
    scores[:3, -1] = 0.999
    return y, scores


def made_table(
    names: Sequence[str], *, exclusive: bool, n_rows: int = 2, n_seeds: int = 2, n: int = 90
) -> TableResult:
    """As `tabulate` makes it; the scores of row r at seed s are `case(names, 10 * r + s)`."""
    table_metrics = ["macro_f1", "macro_precision"] if exclusive else ["macro_roc_auc", "micro_f1"]
    rows: list[TableRow] = []
    left_out: list[list[str]] = []
    for r in range(n_rows):
        found: list[dict[str, Any]] = [
            metrics.evaluate(
                *case(names, 10 * r + s, exclusive=exclusive, n=n),
                names,
                exclusive=exclusive,
                threshold=None if exclusive else 0.5,
            )
            for s in range(n_seeds)
        ]
        per_seed = [{name: f[name] for name in table_metrics} for f in found]
        left_out = [f["left_out_of_f1"] for f in found]
        rows.append(
            {
                "name": f"network {r}",
                "inputs": ["image"],
                "scores": "encoder",
                "changes": {"image": {"network": f"cnn-{r}"}},
                "published": {table_metrics[0]: 0.7297} if not r else {},
                "per_seed": per_seed,
                "summary": evaluation.summarise(per_seed),
                "intervals": {},
                "reports": [evaluation.seed_report(f, seed=s) for s, f in enumerate(found)],
                "failed": [],
            }
        )
    return {
        "name": "covers/made-up",
        "title": "A table that was made up",
        "note": "A note that readers need.",
        "made_by": "mmgenre 0.1.0",
        "dataset": "/somewhere/covers.csv",
        "synthetic": False,
        "overlay": None,
        "settings": [],
        "metrics": table_metrics,
        "items": "complete",
        "threshold": None if exclusive else 0.5,
        "seeds": list(range(n_seeds)),
        "n_items": [n] * n_seeds,
        "n_labels": [len(names)] * n_seeds,
        "left_out": left_out,
        "rows": rows,
        "differences": [],
        "steps": [
            {"stage": "train", "distinct": n_rows, "uses": 2 * n_rows, "made": 1, "seconds": 61.5}
        ],
        "refused": [],
    }


def by_name(lines: Sequence[Line]) -> dict[str, Line]:
    return {line.name: line for line in lines}


def figures(line: Line) -> list[float]:
    """The means; a figure that does not exist is NaN."""
    found = [f.spread for f in line.figures if f is not None]
    return [np.nan if spread is None else spread["mean"] for spread in found]


def test_one_genre_an_item_is_as_scikit_learn_reports_it() -> None:
    report = classification(made_table(NAMES, exclusive=True, n_seeds=1)["rows"][0])
    assert report is not None
    y, scores = case(NAMES, 0, exclusive=True)
    true, said = y.argmax(axis=1), scores.argmax(axis=1)
    assert 2 in true
    assert 2 not in said  # so that precision 0 of what is never predicted is seen
    assert 4 in said
    expected = classification_report(
        true, said, labels=range(4), target_names=NAMES[:4], zero_division=0, output_dict=True
    )
    assert report.columns == ("precision", "recall", "F1")
    lines = by_name(report.labels)
    for name in NAMES[:4]:
        want = expected[name]
        assert figures(lines[name]) == pytest.approx(
            [want["precision"], want["recall"], want["f1-score"]], abs=1e-6
        )
        assert lines[name].support == want["support"]
    assert figures(lines["New Age"])[0] == 0
    assert np.isnan(figures(lines["Polka"])).all()
    averages = by_name(report.averages)
    assert list(averages) == ["macro average", "weighted average", "accuracy"]
    for kind in ("macro", "weighted"):
        want = expected[f"{kind} avg"]
        assert figures(averages[f"{kind} average"]) == pytest.approx(
            [want["precision"], want["recall"], want["f1-score"]], abs=1e-6
        )
    assert figures(averages["accuracy"]) == pytest.approx([(true == said).mean()], abs=1e-6)
    order = [NAMES.index(line.name) for line in report.labels]
    assert [line.support for line in report.labels] == sorted(y.sum(axis=0), reverse=True)
    assert report.matrix is not None
    assert np.array_equal(report.matrix, confusion_matrix(true, said, labels=order))
    assert report.thresholds == ()


def test_many_genres_an_item_are_as_scikit_learn_reports_them() -> None:
    report = classification(made_table(NAMES, exclusive=False, n_seeds=1)["rows"][0])
    assert report is not None
    y, scores = case(NAMES, 0, exclusive=False)
    expected = classification_report(
        y[:, :4], scores[:, :4] >= 0.5, target_names=NAMES[:4], zero_division=0, output_dict=True
    )
    assert report.columns == ("precision", "recall", "F1", "ROC-AUC", "PR-AUC")
    lines, averages = by_name(report.labels), by_name(report.averages)
    assert list(averages) == ["micro average", "macro average", "weighted average"]
    aucs = [roc_auc_score(y[:, j], scores[:, j]) for j in range(4)]
    aps = [average_precision_score(y[:, j], scores[:, j]) for j in range(4)]
    for j, name in enumerate(NAMES[:4]):
        want = expected[name]
        assert figures(lines[name]) == pytest.approx(
            [want["precision"], want["recall"], want["f1-score"], aucs[j], aps[j]], abs=1e-6
        )
    for kind, weights in (("macro", None), ("weighted", y[:, :4].sum(axis=0))):
        want = expected[f"{kind} avg"]
        ranked = [np.average(values, weights=weights) for values in (aucs, aps)]
        assert figures(averages[f"{kind} average"]) == pytest.approx(
            [want["precision"], want["recall"], want["f1-score"], *ranked], abs=1e-6
        )
    # Micro counts what is named of Polka too, which no item has.
    whole = classification_report(y, scores >= 0.5, zero_division=0, output_dict=True)["micro avg"]
    assert figures(averages["micro average"])[:3] == pytest.approx(
        [whole["precision"], whole["recall"], whole["f1-score"]], abs=1e-6
    )
    assert report.matrix is None
    assert report.named_from == "A label counts as named from a score of 0.5 on."


def test_seeds_give_means_deviations_and_one_matrix_of_all() -> None:
    table = made_table(NAMES, exclusive=True, n_seeds=3)
    whole = classification(table["rows"][1])
    assert whole is not None
    single = [
        classification({**table["rows"][1], "reports": [r]}) for r in table["rows"][1]["reports"]
    ]
    for name, line in by_name(whole.labels).items():
        own = np.array([figures(by_name(s.labels)[name]) for s in single if s is not None])
        assert figures(line) == pytest.approx(own.mean(axis=0), nan_ok=True)
        if name != "Polka":
            found = [
                f.spread["std"] for f in line.figures if f is not None and f.spread is not None
            ]
            assert found == pytest.approx(own.std(axis=0, ddof=1))
            assert str(line.figures[0]).count("±") == 1
    assert np.sum(whole.matrix) == sum(table["n_items"]) == whole.n_items  # type: ignore[arg-type]
    # The order of labels may differ from seed to seed, so the sum goes by name.
    for i, line in enumerate(whole.labels):
        rows = [[q.name for q in s.labels].index(line.name) for s in single if s is not None]
        diagonal = [s.matrix[k][k] for s, k in zip(single, rows, strict=True) if s and s.matrix]
        assert whole.matrix is not None
        assert whole.matrix[i][i] == sum(diagonal)


def test_a_label_that_only_one_seed_has_says_so() -> None:
    table = made_table(NAMES, exclusive=True, n_seeds=2)
    row = table["rows"][0]
    own = row["reports"][1]["per_label"]["Folk"]
    own.update(support=0, precision=None, recall=None, f1=None)
    report = classification(row)
    assert report is not None
    line = by_name(report.labels)["Folk"]
    first = row["reports"][0]["per_label"]["Folk"]
    assert figures(line) == [first["precision"], first["recall"], first["f1"]]
    assert str(line.figures[2]).endswith(" (n=1)")
    assert "±" not in str(line.figures[2])
    assert line.support == (first["support"] or 0) / 2


def test_labels_that_some_seeds_lack_are_in_the_report_all_the_same() -> None:
    """The built-in catalogue is drawn by the seed: the next may have another genre."""
    row = made_table(NAMES, exclusive=True, n_seeds=3)["rows"][0]
    whole = classification(row)
    assert whole is not None
    counts = np.zeros((len(NAMES), len(NAMES)), int)
    for report, gone in zip(row["reports"], ("Rock", "Folk", None), strict=True):
        matrix = np.array(report["confusion_matrix"])
        if gone is not None:
            del report["per_label"][gone]
            place = NAMES.index(gone)
            smaller = np.delete(np.delete(matrix, place, 0), place, 1)
            report["confusion_matrix"] = smaller.tolist()
            matrix[place], matrix[:, place] = 0, 0
        counts += matrix
    found = classification(row)
    assert found is not None
    lines, before = by_name(found.labels), by_name(whole.labels)
    assert set(lines) == set(NAMES)
    for name, of in (("Rock", 2), ("Folk", 2), ("Jazz", 3)):
        f1 = lines[name].figures[2]
        assert f1 is not None
        assert (f1.of, f1.seeds) == (of, 3)
        assert (lines[name].support < before[name].support) == (of == 2)
    places = [NAMES.index(line.name) for line in found.labels]
    assert np.array(found.matrix).tolist() == counts[np.ix_(places, places)].tolist()


def test_the_markdown_has_every_report_and_matrix() -> None:
    table = made_table([*NAMES[:4], "a|b"], exclusive=True)
    table["rows"][1]["reports"] = []
    table["rows"][1]["failed"] = ["seed 0: the loss went away"]
    text = reports_markdown(table)
    report = classification(table["rows"][0])
    assert report is not None
    assert report.matrix is not None
    lines = text.splitlines()
    for line in (*report.labels, *report.averages[:2]):
        name = line.name.replace("|", "\\|")
        cells = " | ".join([*map(str, line.figures), line.count])
        assert f"| {name} | {cells} |" in lines
    assert (
        f"| accuracy |  |  | {report.averages[2].figures[2]} | {report.averages[2].count} |"
        in lines
    )
    for line, counts in zip(report.labels, report.matrix, strict=True):
        name = line.name.replace("|", "\\|")
        assert f"| {name} | {' | '.join(map(str, counts))} |" in lines
    assert "predicted in columns, 2 seeds added up." in text
    assert text.endswith(
        "## network 1\n\n- failed: seed 0: the loss went away\n\nNothing was measured.\n"
    )
    assert "micro" not in text
    many = [f"g{k}" for k in range(11)]
    text = reports_markdown(made_table(many, exclusive=True, n_seeds=1))
    assert f"| true | {' | '.join(str(k) for k in range(1, 12))} |" in text
    assert "| 1 g0 |" in text
    assert "micro: all pairs" in reports_markdown(made_table(NAMES, exclusive=False))


def test_the_csv_has_a_line_a_figure() -> None:
    table = made_table(NAMES, exclusive=False)
    lines = list(csv.DictReader(reports_csv(table).splitlines()))
    assert len(lines) == 2 * (5 + 3) * 5
    found = {(x["row"], x["of"], x["name"], x["metric"]): x for x in lines}
    report = classification(table["rows"][1])
    assert report is not None
    for line in report.labels[:4]:
        own = found["network 1", "label", line.name, "PR-AUC"]
        spread = line.figures[4].spread if line.figures[4] else None
        assert spread is not None
        assert (float(own["mean"]), float(own["std"])) == (spread["mean"], spread["std"])
        assert (own["n_seeds"], float(own["support"])) == ("2", line.support)
    assert found["network 0", "label", "Polka", "recall"]["mean"] == ""
    assert ("network 0", "average", "micro average", "F1") in found


def test_nothing_that_is_named_runs_in_a_spreadsheet_or_a_page() -> None:
    names = [
        "=1+1",
        "+44",
        "-x",
        "@SUM(A1)",
        "\t=2",
        "a|b",
        "<script>x</script>",
        "[y](z)",
        "p\n# q",
    ]
    table = made_table(names, exclusive=True, n_seeds=1)
    table["title"], table["note"] = "<img src=x>\n# more", "![i](http://x)"
    table["rows"][0]["name"] = "=cmd()"
    table["rows"][0]["failed"] = ["<b>no</b>"]
    for text in (reports_csv(table), as_csv(table)):
        rows = list(csv.reader(io.StringIO(text)))
        formulas = [c for row in rows for c in row if c.lstrip()[:1] in ("=", "+", "-", "@") and c]
        assert [c for c in formulas if not _is_number(c)] == []
    assert {"'=1+1", "'+44", "'-x", "'@SUM(A1)"} <= {
        row[2] for row in csv.reader(io.StringIO(reports_csv(table)))
    }
    for text in (reports_markdown(table), markdown(table)):
        assert not re.search(r"(?<!\\)[<\[]", text)
        heads = [line for line in text.splitlines() if line.startswith("# ")]
        assert len(heads) == 1
    assert "a\\|b" in reports_markdown(table)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
