"""The table and the headline, on made-up fusions whose metrics come from `measuring.evaluation`."""

from __future__ import annotations

import copy
import io
from itertools import combinations

import numpy as np
import pytest
from rich.console import Console

from mmgenre.items.labels import LabelSpace
from mmgenre.measuring.curves import Curve
from mmgenre.measuring.evaluation import Measured, Scored, baselines, differences, measure
from mmgenre.measuring.results import FusionResult, Row, RowDifference, judged
from mmgenre.report import fusion_table
from mmgenre.report.tables import difference, headline
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
    artists = [f"artist {k}" for k in rng.integers(0, n_items // 3, n_items)]
    everything = Scored(y, LabelSpace(tuple(names), exclusive), artists)
    sets = {"all": everything, "complete": everything.select(complete)}
    counts = y.sum(axis=0).tolist()
    rows: list[Row] = []
    found: dict[str, dict[str, Measured]] = {"all": {}, "complete": {}}
    sets_of_inputs = [c for k in sizes for c in combinations(SIGNAL, k)]
    for inputs in [*sets_of_inputs, *([tuple(f"joint.{m}" for m in SIGNAL)] if joint else [])]:
        gain = np.sqrt(sum(SIGNAL[i.rpartition(".")[2]] ** 2 for i in inputs))
        seeds = [gain * 1.6 * y + rng.normal(size=y.shape) for _ in range(n_seeds)]
        title = "+".join(i.replace("audio", "A").replace("text", "T").replace("image", "I")
                         for i in inputs)  # fmt: skip
        blind = 12 // len(inputs)
        for items, kept in (("all", np.ones_like(complete)), ("complete", complete)):
            own, has_input = [s[kept] for s in seeds], np.arange(kept.sum()) >= blind
            if items == "complete":
                has_input[:] = True
            thresholds = [None if exclusive else 1.5] * n_seeds
            found[items][title] = measure(sets[items], own, thresholds, has_input, counts)
        rows.append(
            {
                "name": title,
                "inputs": list(inputs),
                "all": found["all"][title].result,
                "complete": found["complete"][title].result,
                "curve": learning_curve(),
            }
        )
    compared = judged(rows)
    return {
        "name": name,
        "head": "logistic" if exclusive else "cosine",
        "exclusive": exclusive,
        "labels": names,
        "seeds": list(range(n_seeds)),
        "rows": rows,
        "baselines": baselines(everything, counts, seed=0),
        "differences": {
            items: differences({n: own[n] for n in compared}, sets[items].blocks)
            for items, own in found.items()
        },
        "too_small": None,
        "joint": learning_curve(20) if joint else None,
    }


def with_means(verdict: str = "better", **means: float) -> FusionResult:
    """Rows of which only the headline metric matters; every difference has the verdict."""
    names = {"A": ["audio"], "T": ["text"], "AT": ["audio", "text"], "J": ["joint.audio"]}
    fusion = made_fusion("m", GENRES[:3], exclusive=True, n_seeds=1, sizes=(1,), joint=False)
    rows = []
    for name, value in means.items():
        row = copy.deepcopy(fusion["rows"][0])
        row["name"], row["inputs"], row["complete"] = name, names[name], None
        row["all"]["summary"]["macro_f1"] = {"mean": value, "std": 0.0}
        row["all"]["intervals"] = {"macro_f1": (value - 0.01, value + 0.01)}
        rows.append(row)
    apart: list[RowDifference] = []
    for a, b in combinations([name for name in means if name != "J"], 2):
        value = means[a] - means[b]
        told = verdict if value > 0 else {"better": "worse"}.get(verdict, verdict)
        apart.append(
            {
                "a": a, "b": b, "metric": "macro_f1", "value": value, "low": value - 0.02,
                "high": value + 0.02, "p": 0.01, "p_holm": 0.01, "verdict": told,
            }
        )  # fmt: skip
    return {**fusion, "rows": rows, "differences": {"all": apart}}


@pytest.mark.parametrize(
    ("verdict", "means", "said"),
    [
        ("better", {"A": 0.5, "T": 0.61, "AT": 0.78},
         "Audio + text: macro F1 0.780 (0.770 to 0.790); better than the best single modality "
         "(text), 0.610 (+17.0 points, +15.0 to +19.0)."),
        ("better", {"A": 0.5, "T": 0.61, "AT": 0.58},
         "worse than the best single modality (text), 0.610 (−3.0 points, −5.0 to −1.0). The "
         "highest of all rows is T: 0.610."),
        ("not distinguishable", {"A": 0.5, "T": 0.61, "AT": 0.615},
         "not distinguishable from the best single modality (text), 0.610 (+0.5 points, −1.5 to "
         "+2.5)."),
        ("better", {"A": 0.5},
         "Audio: macro F1 0.500 (0.490 to 0.510); there is no single modality to compare it with."),
        ("better", {"A": 0.5, "AT": 0.6, "J": 0.7}, "The highest of all rows is J"),
    ],
)  # fmt: skip
def test_the_headline_is_honest_in_both_directions(
    verdict: str, means: dict[str, float], said: str
) -> None:
    assert said in headline(with_means(verdict, **means))


def test_of_too_few_items_the_headline_says_just_that() -> None:
    fusion = with_means(A=0.5, AT=0.9)
    fusion["too_small"] = "2 test artists; 7 of 9 genres cannot be measured"
    assert headline(fusion) == (
        "Too few test items to say much: 2 test artists; 7 of 9 genres cannot be measured."
    )


def test_the_table_marks_what_is_distinguishably_best() -> None:
    rows = fusion_table(with_means(A=0.5, T=0.7001, AT=0.6999))
    assert [row.best[2] for row in rows] == [False, True, False]
    assert [str(row.cells[2]) for row in rows] == ["0.500", "0.700", "0.700"]
    assert rows[0].interval == "0.490–0.510"
    rows = fusion_table(with_means("not distinguishable", A=0.5, T=0.7001, AT=0.6999))
    assert not any(any(row.best) for row in rows)
    seeded = made_fusion("m", GENRES, exclusive=False, n_seeds=2, sizes=(1, 3))
    found = fusion_table(seeded, "all")[3]
    spread = seeded["rows"][3]["all"]["summary"]["macro_roc_auc"]
    assert str(found.cells[0]) == f"{spread['mean']:.3f} ± {spread['std']:.3f}"
    assert (found.name, found.n_items, found.n_without_input) == ("A+T+I", 240, 4)
    assert found.best[0]  # better than any single modality


def test_differences_are_read_either_way() -> None:
    fusion = with_means(A=0.5, AT=0.6)
    one, other = difference(fusion, "AT", "A", "all"), difference(fusion, "A", "AT", "all")
    assert one is not None
    assert other is not None
    assert [one["value"], one["low"]] == pytest.approx([0.1, 0.08])
    assert [other["value"], other["high"]] == pytest.approx([-0.1, -0.08])
    assert (one["verdict"], other["verdict"]) == ("better", "worse")
    assert difference(fusion, "A", "T", "all") is None


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
