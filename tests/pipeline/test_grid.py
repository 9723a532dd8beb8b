"""Experiments run: each step once, resumable, all rows there, figures those of the scores."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, cast

import numpy as np
import pytest
from command_line import Call
from rich.console import Console
from sklearn.metrics import classification_report, confusion_matrix, roc_auc_score
from small import Small
from test_end_to_end import kill_when, mmgenre
from test_experiment import NAMES

from mmgenre.cli.experiments import MOST_NOTES
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore
from mmgenre.errors import MmgenreError, RecipeError, WeightsError
from mmgenre.measuring.table_results import PlanResult, TableResult
from mmgenre.pipeline import learn
from mmgenre.pipeline.artefact import Artefact, in_order
from mmgenre.pipeline.cells import Plan, describe_plan, write_table
from mmgenre.pipeline.grid import POOL, prepare_experiment, run_experiment
from mmgenre.pipeline.recipe import View
from mmgenre.pipeline.run import Run
from mmgenre.pipeline.scores import SCORES, read_scores
from mmgenre.pipeline.times import LOG
from mmgenre.report.experiment import render_experiment
from mmgenre.report.published import as_csv, markdown, reports_markdown
from mmgenre.report.terminal import rich_plan

TINY = str(Path(__file__).parent / "tiny.toml")
TINY_COVERS = str(Path(__file__).parent / "tiny-covers.toml")
TABLE2, TABLE6 = "oramas2018/table2", "oramas2018/table6"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Experiments of this module share their steps, as a user's do."""
    return tmp_path_factory.mktemp("runs")


def prepare(
    name: str,
    small: Small,
    runs: Path,
    *settings: str,
    seeds: int | None = 1,
    overlay: str = TINY,
) -> Plan:
    return prepare_experiment(
        name,
        dataset=str(small.manifest),
        overlay=overlay,
        runs=runs,
        seeds=seeds,
        settings=settings,
    )


def test_models_that_cannot_be_had_are_named_before_any_work(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match="hf download laion/larger_clap_music --local-dir"):
        prepare("frozen/encoders", small, tmp_path)
    assert not list(tmp_path.iterdir())


def find(plan: Plan, stage: str, name: str) -> Artefact:
    return next(a for a in plan.artefacts if (a.stage, a.name) == (stage, name))


# Of several kinds, and what other tests here run anyway.
SAMPLE = {
    *(TABLE2, "ablations/vocabulary"),
    "covers/morrison2020-pop",
}
OF_THE_HUB = {"frozen/encoders"}  # its models are not here


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in SAMPLE else [pytest.mark.slow])
        for name in NAMES
        if name not in OF_THE_HUB
    ],
)
def test_every_experiment_runs_whole(name: str, small: Small, runs: Path) -> None:
    plan = prepare(name, small, runs, overlay=TINY_COVERS if "covers/" in name else TINY)
    result = run_experiment(plan)
    assert [row["name"] for row in result["rows"]] == [c.name for c in plan.experiment.cells]
    assert [row["failed"] for row in result["rows"]] == [[]] * len(result["rows"])
    assert all(len(row["per_seed"]) == 1 for row in result["rows"])
    metrics = set(result["metrics"])
    assert all(set(row["summary"]) == metrics for row in result["rows"])
    assert all(step.is_current() for step in plan.artefacts)
    text = markdown(result)
    assert all(f"| {row['name']} |" in text for row in result["rows"])


def test_cells_share_every_common_step(small: Small, runs: Path) -> None:
    plan = prepare(TABLE2, small, runs)
    count = {s: [t for t in plan.artefacts if t.stage == s] for s in ("read", "learn", "align")}
    assert {stage: len(steps) for stage, steps in count.items()} == {
        "read": 2,
        "learn": 2,
        "align": 1,
    }
    assert len(plan.artefacts) == 2 + 2 + 2 + 1 + 9
    # CNN_VISUAL alone needs no audio; the other eight do, some for the joint space alone.
    uses = {(s.stage, s.name): len(plan.users[s.fingerprint]) for s in plan.artefacts}
    assert uses["learn", "audio"] == uses["learn", "image"] == 8
    assert uses["align", "a+i"] == 6
    # Another seed shares what was read, and nothing else.
    both = prepare(TABLE2, small, runs, seeds=2)
    assert len(both.artefacts) == 2 * len(plan.artefacts) - 2
    assert plan.users.keys() < both.users.keys()


def test_one_encoder_may_have_two_names_in_a_table(tmp_path: Path) -> None:
    """`audio.statistics` beside another, and `audio` alone: each where its rows look for it."""
    made = Provenance("embed", 1, {})
    paths = [tmp_path / "audio.statistics.h5", tmp_path / "audio.h5"]
    one, other = (
        Artefact("embed", path.stem, path, made, (), lambda: None, lambda progress: None)
        for path in paths
    )
    assert one.fingerprint == other.fingerprint
    assert [artefact.path for artefact in in_order([one, other, one])] == paths


def test_table_6_trains_each_network_once(small: Small, runs: Path) -> None:
    plan = prepare(TABLE6, small, runs)
    trained = [s.name for s in plan.artefacts if s.stage == "learn"]
    # Audio: the baseline, and six networks by two targets; text: two by two; images: two targets.
    assert {m: trained.count(m) for m in set(trained)} == {"audio": 13, "text": 4, "image": 2}


def test_a_second_call_makes_nothing(
    small: Small, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_experiment(prepare(TABLE2, small, runs))

    def busy(*args: object, **kwargs: object) -> NoReturn:
        raise AssertionError("work was done again")

    for home in ("learn._make_encoder", "read.extract_inputs", "heads.make_fusion"):
        monkeypatch.setattr(f"mmgenre.pipeline.{home}", busy)
    again = run_experiment(prepare(TABLE2, small, runs))
    assert sum(step["made"] for step in again["steps"]) == 0
    assert again["rows"] == first["rows"]


def test_one_setting_remakes_only_what_depends_on_it(small: Small, runs: Path) -> None:
    run_experiment(prepare(TABLE2, small, runs))
    changed = prepare(TABLE2, small, runs, "joint.margin=0.2")
    todo = [s for s in changed.artefacts if not s.is_current()]
    assert [s.stage for s in todo].count("align") == 1
    assert {s.stage for s in todo} == {"align", "fuse"}
    assert len(todo) == 1 + 6  # the rows that read a joint vector
    changed = prepare(TABLE2, small, runs, "image.training.learning_rate=0.01")
    assert {(s.stage, s.name) for s in changed.artefacts if s.is_current()} == {
        ("read", "audio"),
        ("read", "image"),
        ("learn", "audio"),
        ("embed", "audio"),
        ("fuse", "CNN_AUDIO"),
    }


def test_artefacts_have_the_fingerprints_that_were_planned(small: Small, runs: Path) -> None:
    plan = prepare(TABLE2, small, runs)
    run_experiment(plan)
    for step in plan.artefacts:
        if step.stage in ("read", "embed"):
            with FeatureStore(step.path, step.name) as store:
                assert store.fingerprint == step.fingerprint
                needs = {parent.fingerprint for parent in step.parents}
                assert set(store.provenance["parents"].values()) == needs


def test_figures_are_those_of_the_scores(small: Small, runs: Path) -> None:
    plan = prepare(TABLE6, small, runs)
    result = run_experiment(plan)
    rows = {cell.cell.name: read_scores(cell.scores.path) for cell in plan.cells}
    measured = set.intersection(
        *({i for i, c in zip(r.ids, r.complete, strict=True) if c} for r in rows.values())
    )
    assert result["n_items"] == [len(measured)]
    run = plan.cells[0].run
    assert measured <= set(run.manifest.ids("test"))
    ids = sorted(measured)
    y = run.truth(ids)
    both = y.any(axis=0) & ~y.all(axis=0)
    for found in result["rows"]:
        row = rows[found["name"]]
        scores = row.values[[row.ids.index(i) for i in ids], 0, 0].astype(float)
        expected = np.mean([roc_auc_score(y[:, j], scores[:, j]) for j in np.flatnonzero(both)])
        assert found["summary"]["macro_roc_auc"]["mean"] == pytest.approx(expected)
        top = {int(k) for s in scores for k in np.argsort(-s, kind="stable")[:3]}
        assert found["summary"]["adiv_3"]["mean"] == pytest.approx(len(top) / y.shape[1])


def test_a_step_that_fails_ends_only_the_rows_that_need_it(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = learn._make_encoder

    def no_images(run: Run, view: View, *rest: Any) -> None:
        if view.modality == "image":
            raise MmgenreError("image: the loss went away")
        train(run, view, *rest)

    monkeypatch.setattr(learn, "_make_encoder", no_images)
    plan = prepare(TABLE2, small, tmp_path, seeds=1)
    result = run_experiment(plan)
    failed = {row["name"] for row in result["rows"] if row["failed"]}
    assert failed == {row["name"] for row in result["rows"]} - {"CNN_AUDIO"}
    assert result["rows"][0]["summary"]["macro_f1"]["mean"] >= 0
    assert result["rows"][1]["failed"] == ["seed 0: image: the loss went away"]
    assert "MM_AUDIO: seed 0: image: the loss went away" in markdown(result)
    # Mended, the rest is made and nothing else.
    monkeypatch.setattr(learn, "_make_encoder", train)
    again = run_experiment(prepare(TABLE2, small, tmp_path, seeds=1))
    assert not any(row["failed"] for row in again["rows"])
    assert {s["stage"]: s["made"] for s in again["steps"]} == {
        "read": 0,
        "learn": 1,
        "embed": 1,
        "align": 1,
        "fuse": 8,
    }


def test_seeds_give_mean_and_deviation(small: Small, runs: Path) -> None:
    result = run_experiment(prepare("ablations/vocabulary", small, runs, seeds=3))
    assert result["seeds"] == [0, 1, 2]
    assert len(result["n_items"]) == 3
    for row in result["rows"]:
        values = [figures["macro_roc_auc"] for figures in row["per_seed"]]
        assert row["summary"]["macro_roc_auc"]["mean"] == pytest.approx(np.mean(values))  # type: ignore[arg-type]
        assert row["summary"]["macro_roc_auc"]["std"] == pytest.approx(np.std(values, ddof=1))  # type: ignore[arg-type]
    assert " ± " in markdown(result)


def test_vocabulary_sizes_decide_the_network(small: Small, runs: Path) -> None:
    plan = prepare("ablations/vocabulary", small, runs)
    run_experiment(plan)
    words = [
        len(json.loads((s.path / "vocabulary.json").read_text(encoding="utf-8"))["words"])
        for s in plan.artefacts
        if s.stage == "learn"
    ]
    assert words[0] == 100 < words[1] == words[2] < 300  # the small catalogue has no more


@pytest.mark.slow
def test_reports_are_those_of_the_scores_at_each_seed(small: Small, runs: Path) -> None:
    plan = prepare(TABLE2, small, runs, seeds=2)
    result = run_experiment(plan)
    planned = {(cell.cell.name, cell.seed): cell for cell in plan.cells}
    by_seed: dict[int, set[str]] = {}
    for (_, seed), cell in planned.items():
        scored = read_scores(cell.scores.path)
        complete = {i for i, c in zip(scored.ids, scored.complete, strict=True) if c}
        by_seed[seed] = by_seed.get(seed, complete) & complete
    for row in result["rows"]:
        assert [report["seed"] for report in row["reports"]] == [0, 1]
        for report, figures in zip(row["reports"], row["per_seed"], strict=True):
            cell = planned[row["name"], report["seed"]]
            scored, ids = read_scores(cell.scores.path), sorted(by_seed[report["seed"]])
            names = cell.run.labels().names
            said = scored.values[[scored.ids.index(i) for i in ids], 0, 0].argmax(axis=1)
            y = cell.run.truth(ids)
            true = np.where(y.any(axis=1), y.argmax(axis=1), -1)  # -1: a genre outside
            matrix = confusion_matrix(true, said, labels=range(len(names)))
            assert report["confusion_matrix"] == matrix.tolist()
            assert list(report["per_label"]) == list(names)
            assert report["n_items"] == len(ids) == result["n_items"][report["seed"]]
            assert matrix.sum() == (true >= 0).sum()
            expected = classification_report(
                true, said, labels=np.unique(true[true >= 0]), output_dict=True, zero_division=0
            )
            for j, name in enumerate(names):
                own = report["per_label"][name]
                if str(j) in expected:
                    want = expected[str(j)]
                    assert own["support"] == want["support"]
                    assert own["precision"] == pytest.approx(want["precision"], abs=1e-6)
                    assert own["f1"] == pytest.approx(want["f1-score"], abs=1e-6)
                else:
                    assert own == {"support": 0, "precision": None, "recall": None, "f1": None}
            assert report["averages"]["macro"]["f1"] == pytest.approx(figures["macro_f1"], abs=1e-6)


@pytest.mark.slow
def test_report_makes_an_experiment_s_page_again(small: Small, runs: Path, call: Call) -> None:
    words = (TABLE2, "--dataset", small.manifest, "--overlay", TINY, "--runs", runs, "--seeds", 1)
    call("run", *words)
    folder = runs / "table2-manifest"
    page = (folder / "table.html").read_bytes()
    (folder / "table.html").unlink()
    done = call("report", folder)
    assert (done.code, done.out.strip()) == (0, str(folder / "table.html"))
    assert (folder / "table.html").read_bytes() == page


def test_a_row_without_an_item_in_common_has_no_report(
    small: Small, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmgenre.pipeline.cells._measured_items", lambda rows, items: ())
    result = run_experiment(prepare(TABLE2, small, runs))
    assert result["n_items"] == [0]
    assert [row["reports"] for row in result["rows"]] == [[]] * 9
    assert result["rows"][0]["per_seed"] == [dict.fromkeys(result["metrics"])]
    assert "Nothing was measured." in reports_markdown(result)
    assert "No row has a figure of macro F1" in render_experiment(result)


def test_a_fixed_threshold_decides_what_counts_as_named(
    small: Small, runs: Path, tmp_path: Path
) -> None:
    text = (
        'base = "quick"\ntext.encoders = ["vsm"]\n[table]\ntitle = "P at"\n'
        'metrics = ["micro_precision", "micro_recall"]\n'
    )
    text += 'rows = [{ name = "T", inputs = ["text"], scores = "encoder" }]\nthreshold = '
    recalls = []
    for threshold in (0.01, 0.5):
        path = tmp_path / f"at-{threshold}.toml"
        path.write_text(f"{text}{threshold}\n", encoding="utf-8")
        plan = prepare(str(path), small, runs)
        result = run_experiment(plan)
        [row] = result["rows"]
        scores = read_scores(plan.cells[0].scores.path)
        run = plan.cells[0].run
        y = run.truth(scores.ids)
        named = scores.values[:, 0, 0] >= threshold
        share = (y & named).sum() / y.sum()
        assert row["summary"]["micro_recall"]["mean"] == pytest.approx(share)
        recalls.append(share)
        [report] = row["reports"]
        assert report["threshold"] == result["threshold"] == threshold
        assert report["confusion_matrix"] is None
        j = int(y.sum(axis=0).argmax())
        own = report["per_label"][run.labels().names[j]]
        assert own["recall"] == pytest.approx(named[y[:, j], j].mean(), abs=1e-6)
        said = f"count a label as named from a score of {threshold} on."
        assert said in markdown(result)
        assert said in render_experiment(result)
    assert recalls[0] > recalls[1]


def test_hidden_modalities_cost(small: Small, runs: Path) -> None:
    plan = prepare("ablations/missing", small, runs)
    result = run_experiment(plan)
    n_test = len(plan.cells[0].run.manifest.ids("test"))
    assert result["n_items"] == [n_test]  # measured on all test items


def test_the_table_on_disk(small: Small, runs: Path, call: Call) -> None:
    words = (TABLE2, "--dataset", small.manifest, "--overlay", TINY, "--runs", runs, "--seeds", 1)
    done = call("run", *words)
    assert done.code == 0
    folder = runs / "table2-manifest"
    page = folder / "table.html"
    assert done.out.splitlines()[-2:] == [str(folder / "table.md"), f"page: {page}"]
    result: TableResult = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    assert "CNN_AUDIO+MM_AUDIO" in done.out
    assert ".346" in done.out
    notes = result["notes"]
    few = [note for note in notes if re.search(r"learned from \d+ training rows only", note)]
    assert {note.partition(" ")[0] for note in few} == {"audio", "image"}
    assert [line for line in done.out.splitlines() if line.startswith("note: ")] == [
        f"note: {note}" for note in notes[:MOST_NOTES]
    ]
    assert "ALL" in (folder / "table.md").read_text(encoding="utf-8")
    lines = list(csv.DictReader(as_csv(result).splitlines()))
    assert len(lines) == 9 * 3
    assert lines[2]["published"] == "0.336"
    assert call("run", *words, "--json").json["rows"] == result["rows"]
    planned = call("plan", *words)
    assert planned.code == 0
    assert planned.out.count("done in") == 16
    steps = call("plan", *words, "--json").json["steps"]
    assert all(step["done"] and step["took_s"] is not None for step in steps)


def shown(plan: PlanResult) -> str:
    """The table of `mmgenre plan`, its words separated by one space."""
    console = Console(width=200, file=io.StringIO())
    console.print(rich_plan(plan))
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().split())


def test_a_plan_knows_what_is_left(small: Small, tmp_path: Path) -> None:
    plan = prepare(TABLE2, small, tmp_path)
    described = describe_plan(plan)
    assert not (tmp_path / POOL).exists()  # planning makes nothing
    assert [step["done"] for step in described["steps"]] == [False] * 16
    assert all(step["estimate_s"] is None for step in described["steps"])  # nothing timed yet
    assert described["n_timed"] == 0
    by_fingerprint = {step["fingerprint"]: k for k, step in enumerate(described["steps"])}
    for k, step in enumerate(described["steps"]):
        assert all(by_fingerprint[parent] < k for parent in step["needs"])
    # What is left will take the median of what the same took here, else of the same stage.
    lines = [
        {"fingerprint": "x", "stage": "learn", "what": what, "seconds": seconds}
        for what, seconds in (("audio", 10), ("audio", 30), ("audio", 11), ("text", 50))
    ]
    log = tmp_path / POOL / LOG
    log.parent.mkdir()
    text = "".join(json.dumps(line) + "\n" for line in lines)
    log.write_text(text + '{"cut', encoding="utf-8")
    estimates = {
        (step["stage"], step["what"]): step["estimate_s"] for step in describe_plan(plan)["steps"]
    }
    assert estimates["learn", "audio"] == 11
    assert estimates["learn", "image"] == 20.5
    assert estimates["align", "a+i"] is None


def test_a_plan_says_of_which_seeds_a_step_is(small: Small, tmp_path: Path) -> None:
    plan = describe_plan(prepare(TABLE2, small, tmp_path, seeds=2))
    learned = [s["seeds"] for s in plan["steps"] if (s["stage"], s["what"]) == ("learn", "audio")]
    assert learned == [[0], [1]]
    (read,) = (s for s in plan["steps"] if (s["stage"], s["what"]) == ("read", "audio"))
    assert read["seeds"] == [0, 1]  # of the same files
    assert f" {len(read['cells'])} cells, seeds 0, 1 ?" in shown(plan)
    assert " 8 cells, seed 1 ?" in shown(plan)


@pytest.mark.parametrize(
    "moments",
    [
        pytest.param([("encoders/audio-*", 1)], marks=pytest.mark.slow),
        pytest.param(
            [("inputs/audio-*.h5", 1), ("encoders/audio-*", 1), ("fusion/*", 3)],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["once", "thrice"],
)
def test_killed_and_gone_on_with_it_ends_as_if_it_had_not_been(
    small: Small, runs: Path, tmp_path: Path, moments: list[tuple[str, int]]
) -> None:
    expected = run_experiment(prepare(TABLE2, small, runs))
    words = ["run", TABLE2, "--dataset", str(small.manifest), "--overlay", TINY]
    words += ["--runs", str(tmp_path), "--seeds", "1"]
    pool = tmp_path / POOL

    def some(pattern: str, n: int) -> Callable[[], bool]:
        return lambda: len(list(pool.glob(pattern))) >= n

    for pattern, n in moments:
        kill_when(some(pattern, n), words)
    result = run_experiment(prepare(TABLE2, small, tmp_path))
    assert result["rows"] == expected["rows"]
    assert sum(step["made"] for step in result["steps"]) < 16


def test_what_it_runs_on_must_be_said(small: Small, tmp_path: Path, call: Call) -> None:
    with pytest.raises(RecipeError, match=r"mmgenre manifest build msdi FOLDER --out msdi.csv"):
        prepare_experiment(TABLE2, runs=tmp_path)
    with pytest.raises(RecipeError, match="seeds 4: 1 to 3"):
        prepare(TABLE2, small, tmp_path, seeds=4)
    assert call("run", "oramas2018/tabel2", "--dataset", "synthetic").code == 1
    assert "did you mean oramas2018/table2" in call("run", "oramas2018/tabel2").err


def test_a_row_that_reads_what_no_item_has(small: Small, tmp_path: Path) -> None:
    rows = small.manifest.read_text(encoding="utf-8").splitlines()
    header = rows[0].split(",")
    column = header.index("image")
    table = list(csv.reader(rows))
    for cells in table[1:]:
        cells[column] = ""
    folder = tmp_path / "catalogue"
    shutil.copytree(small.manifest.parent, folder)
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(table)
    with pytest.raises(RecipeError, match="row 'MM_AUDIO': reads image, which no item of"):
        prepare_experiment(
            TABLE2, dataset=str(folder / "manifest.csv"), overlay=TINY, runs=tmp_path, seeds=1
        )


def test_damaged_artefacts_are_made_again(small: Small, runs: Path, tmp_path: Path) -> None:
    run_experiment(prepare(TABLE2, small, runs))
    copied = tmp_path / "runs"
    shutil.copytree(runs, copied)
    plan = prepare(TABLE2, small, copied)
    embedded = find(plan, "embed", "audio")
    embedded.path.write_bytes(embedded.path.read_bytes()[:100])
    encoder = find(plan, "learn", "image")
    (encoder.path / "config.json").write_text("{", encoding="utf-8")
    plan = prepare(TABLE2, small, copied)
    assert [s["done"] for s in describe_plan(plan)["steps"]].count(False) == 2
    result = run_experiment(plan)
    assert {s["stage"]: s["made"] for s in result["steps"] if s["made"]} == {"learn": 1, "embed": 1}
    # What was damaged is set aside.
    assert len(list(embedded.path.parent.glob("*.damaged"))) == 1
    assert len(list(encoder.path.parent.glob("*.damaged"))) == 1


@pytest.mark.slow
def test_two_at_once_make_each_step_once(small: Small, tmp_path: Path) -> None:
    words = ["run", "ablations/vocabulary", "--dataset", str(small.manifest), "--overlay", TINY]
    words += ["--runs", str(tmp_path), "--seeds", "1", "--json"]
    both = [mmgenre(*words) for _ in range(2)]
    results = [json.loads(process.communicate()[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert results[0]["rows"] == results[1]["rows"]
    made = [sum(step["made"] for step in result["steps"]) for result in results]
    assert sum(made) == sum(step["distinct"] for step in results[0]["steps"])


@pytest.mark.slow
def test_what_a_library_raises_ends_a_step_and_not_the_experiment(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mmgenre.fusion.joint.train_joint", full)
    result = run_experiment(prepare(TABLE2, small, tmp_path))
    failed = {row["name"]: row["failed"] for row in result["rows"] if row["failed"]}
    assert failed["ALL"] == ["seed 0: OSError: [Errno 28] No space left on device"]
    assert len(failed) == 6
    text = markdown(result)
    assert "inputs of the rows that were made" in text.replace("every input", "inputs")
    assert "Failed:" in text


@pytest.mark.slow
def test_a_table_made_otherwise_is_not_written_over(small: Small, runs: Path, call: Call) -> None:
    words = (TABLE2, "--dataset", small.manifest, "--overlay", TINY, "--runs", runs, "--seeds", 1)
    first = call("run", *words).out.splitlines()[-2]
    assert call("run", *words).out.splitlines()[-2] == first
    changed = call("run", *words, "--set", "fusion.dropout=0.3")
    other = changed.out.splitlines()[-2]
    assert Path(other).parent.name.startswith("table2-manifest-")
    assert f"Not as published: changed by {TINY}, fusion.dropout=0.3." in " ".join(
        Path(other).read_text(encoding="utf-8").split()
    )


def test_labels_that_averages_leave_out_are_listed(small: Small, runs: Path) -> None:
    result = run_experiment(prepare("ablations/modalities", small, runs))
    plan = prepare("ablations/modalities", small, runs)
    run = plan.cells[0].run
    rows = [read_scores(cell.scores.path) for cell in plan.cells]
    ids = sorted(
        set.intersection(*({i for i, c in zip(r.ids, r.complete, strict=True) if c} for r in rows))
    )
    y = run.truth(ids)
    expected = [
        name
        for name, n in zip(run.labels().names, y.sum(axis=0), strict=True)
        if n in (0, len(ids))
    ]
    outside = run.outside(exclusive=run.recipe.exclusive)
    assert result["left_out"] == [sorted({*expected, *outside})]
    assert expected


def test_joint_vectors_of_what_the_space_is_not_of(small: Small, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(
        'base = "quick"\njoint.modalities = ["audio", "image"]\n[table]\ntitle = "x"\n'
        'metrics = ["macro_f1"]\nrows = [{ name = "MM_T", inputs = ["joint.text"] }]\n',
        encoding="utf-8",
    )
    with pytest.raises(RecipeError, match=r"row 'MM_T': reads joint.text, but its joint space is"):
        prepare(str(path), small, tmp_path)


def test_other_weights_under_the_same_name_are_another_encoder(
    small: Small, tmp_path: Path
) -> None:
    weights = tmp_path / "weights.pth"
    trained = []
    for content in (b"one", b"two"):
        weights.write_bytes(content)
        plan = prepare(TABLE2, small, tmp_path, f"image.weights={weights}")
        trained += [s.fingerprint for s in plan.artefacts if s.stage == "learn"]
    assert trained[0] == trained[2]  # audio
    assert trained[1] != trained[3]


@pytest.mark.parametrize(
    "change",
    [{"seeds": [1, 2, 3]}, {"metrics": ["macro_f1"]}, {"items": "all"}, {"threshold": 0.25}],
)
def test_a_table_measured_otherwise_is_another_table(
    tmp_path: Path, change: dict[str, object]
) -> None:
    made: dict[str, object] = {
        "name": "x",
        "dataset": "/data/covers.csv",
        "synthetic": False,
        "overlay": None,
        "settings": [],
        "metrics": ["macro_roc_auc"],
        "items": "complete",
        "threshold": 0.5,
        "seeds": [1],
        "rows": [],
    }
    result, other = (cast(TableResult, {**made, **more}) for more in ({}, change))
    first = write_table(result, tmp_path)
    assert first == tmp_path / "x-covers"
    before = (first / "table.json").read_bytes()
    second = write_table(other, tmp_path)
    assert second.name.startswith("x-covers-")
    assert (first / "table.json").read_bytes() == before
    assert write_table(other, tmp_path) == second
    assert write_table(result, tmp_path) == first


def test_a_damaged_row_is_not_taken_for_done(small: Small, tmp_path: Path, runs: Path) -> None:
    plan = prepare(TABLE2, small, runs)
    run_experiment(plan)
    copied = tmp_path / "runs"
    shutil.copytree(runs, copied)
    plan = prepare(TABLE2, small, copied)
    cell = plan.cells[0]
    (cell.scores.path / SCORES).unlink()
    result = run_experiment(plan)
    assert sum(step["made"] for step in result["steps"]) == 1
    assert write_table(result, copied) == copied / "table2-manifest"
