"""The table and the headline, on made-up fusions whose metrics come from `metrics.evaluate`."""

from __future__ import annotations

import copy
import io
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from rich.console import Console

from mmgenre.measuring import metrics
from mmgenre.measuring.results import Curve, FusionResult, Result, Row, Spread
from mmgenre.report import fusion_table
from mmgenre.report.tables import headline
from mmgenre.report.terminal import rich_table

GENRES = """Rock;Pop;Electronic;Rap;Country;Metal;Jazz;RnB;Folk;Latin;Punk;Reggae;Blues;World;
New Age""".replace("\n", "").split(";")
TOP = ["Rock", "Jazz", "Electronic", "Folk", "Latin", "Pop", "Metal", "Classical"]
TREE = (
    TOP
    + [f"{top}/{kind} {top}" for top in TOP for kind in ("Vocal", "Early", "Modern Instrumental")][
        :20
    ]
)
SIGNAL = {"audio": 1.0, "text": 1.3, "image": 0.6}


def learning_curve(n: int = 12) -> Curve:
    epochs = np.arange(1, n + 1)
    val = 2.1 * np.exp(-epochs / 4) + 0.02 * epochs + 0.6
    train = 2.2 * np.exp(-epochs / 4) + 0.3
    return {
        "epochs": [
            {"epoch": int(e), "train_loss": float(t), "val_loss": float(v)}
            for e, t, v in zip(epochs, train, val, strict=True)
        ],
        "best_epoch": int(epochs[val.argmin()]) if n else 0,
    }


def evaluated(y: metrics.Bools, scores: Sequence[metrics.Floats], names: list[str],
              exclusive: bool, blind: int) -> Result:  # fmt: skip
    threshold = None if exclusive else 1.5
    found = [
        metrics.evaluate(y, s, names, exclusive=exclusive, threshold=threshold) for s in scores
    ]
    summary: dict[str, Spread] = {}
    for key, first in found[0].items():
        if isinstance(first, float):
            values = np.array([f[key] for f in found], dtype=float)
            std = values.std(ddof=1) if len(values) > 1 else 0.0
            summary[key] = {"mean": float(values.mean()), "std": float(std)}
    main = "macro_f1" if exclusive else "macro_roc_auc"
    middle = summary[main]["mean"]
    return {
        "n_items": len(y),
        "n_without_input": blind,
        "per_seed": found,
        "summary": summary,
        "intervals": {main: (max(middle - 0.04, 0.0), min(middle + 0.04, 1.0))},
    }


def made_fusion(name: str, names: list[str], *, exclusive: bool, n_seeds: int = 3,
                n_items: int = 240, joint: bool = True,
                sizes: tuple[int, ...] = (1, 2, 3)) -> FusionResult:  # fmt: skip
    """Scores are noise around the truth; the more inputs a row has, the less noise."""
    rng = np.random.default_rng(7)
    weights = 1 / np.arange(1, len(names) + 1) ** 0.8
    weights[-1] = 0  # the last label is on no test item
    main = rng.choice(len(names), n_items, p=weights / weights.sum())
    y = np.eye(len(names), dtype=bool)[main]
    if not exclusive:
        y |= rng.random(y.shape) < weights / 6
    complete = rng.random(n_items) < 0.7
    rows: list[Row] = []
    sets = [c for k in sizes for c in combinations(SIGNAL, k)]
    for inputs in [*sets, *([tuple(f"joint.{m}" for m in SIGNAL)] if joint else [])]:
        gain = np.sqrt(sum(SIGNAL[i.rpartition(".")[2]] ** 2 for i in inputs))
        seeds = [gain * 1.6 * y + rng.normal(size=y.shape) for _ in range(n_seeds)]
        row: Row = {
            "name": "+".join(i.replace("audio", "A").replace("text", "T").replace("image", "I")
                             for i in inputs),
            "inputs": list(inputs),
            "all": evaluated(y, seeds, names, exclusive, 12 // len(inputs)),
            "complete": evaluated(
                y[complete], [s[complete] for s in seeds], names, exclusive, 0
            ),
            "curve": learning_curve(),
        }  # fmt: skip
        rows.append(row)
    return {
        "name": name,
        "head": "logistic" if exclusive else "cosine",
        "exclusive": exclusive,
        "labels": names,
        "seeds": list(range(n_seeds)),
        "rows": rows,
        "joint": learning_curve(20) if joint else None,
    }


def with_means(**means: float) -> FusionResult:
    """Rows of which only the headline metric matters; no intervals."""
    names = {"A": ["audio"], "T": ["text"], "AT": ["audio", "text"], "J": ["joint.audio"]}
    fusion = made_fusion("m", GENRES[:3], exclusive=True, n_seeds=1, sizes=(1,), joint=False)
    rows = []
    for name, value in means.items():
        row = copy.deepcopy(fusion["rows"][0])
        row["name"], row["inputs"], row["complete"] = name, names[name], None
        row["all"]["summary"]["macro_f1"] = {"mean": value, "std": 0.0}
        row["all"]["intervals"] = {"macro_f1": (value - 0.01, value + 0.01)}
        rows.append(row)
    return {**fusion, "rows": rows}


@pytest.mark.parametrize(
    ("means", "said"),
    [
        ({"A": 0.5, "T": 0.61, "AT": 0.78},
         "Audio + text: macro F1 0.780; best single modality (text) 0.610: +17.0 points."),
        ({"A": 0.5, "T": 0.61, "AT": 0.58},
         "−3.0 points, fusing makes it worse. The highest of all rows is T: 0.610."),
        ({"A": 0.5, "T": 0.61, "AT": 0.615},
         "+0.5 points; the 95\u00a0% intervals overlap"),
        ({"A": 0.5, "T": 0.61, "AT": 0.61}, "(text) 0.610: no difference."),
        ({"A": 0.5}, "Audio: macro F1 0.500; there is no single modality to compare it with."),
        ({"A": 0.5, "AT": 0.6, "J": 0.7},
         "(audio) 0.500: +10.0 points. The highest of all rows is J"),
    ],
)  # fmt: skip
def test_the_headline_is_honest_in_both_directions(means: dict[str, float], said: str) -> None:
    assert said in headline(with_means(**means))


def test_the_table_marks_every_highest_value_of_a_column() -> None:
    rows = fusion_table(with_means(A=0.5, T=0.7001, AT=0.6999))
    assert [row.best[2] for row in rows] == [False, True, True]
    assert [str(row.cells[2]) for row in rows] == ["0.500", "0.700", "0.700"]
    assert rows[0].interval == "0.490–0.510"
    seeded = made_fusion("m", GENRES, exclusive=False, n_seeds=2, sizes=(1, 3))
    found = fusion_table(seeded, "all")[3]
    spread = seeded["rows"][3]["all"]["summary"]["macro_roc_auc"]
    assert str(found.cells[0]) == f"{spread['mean']:.3f} ± {spread['std']:.3f}"
    assert (found.name, found.n_items, found.n_without_input) == ("A+T+I", 240, 4)


def test_the_terminal_prints_the_same_table_and_no_markup() -> None:
    fusion = made_fusion("[red]m[/red]", GENRES, exclusive=False, n_seeds=2, sizes=(1, 3))
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(rich_table(fusion))
    text = console.export_text()
    assert "[red]m[/red]: " in text
    for row in fusion_table(fusion):
        line = next(line for line in text.splitlines() if f" {row.name} " in line)
        assert str(row.cells[0]) in line  # the headline metric, with its deviation
        assert all(cell.mean in line for cell in row.cells)
