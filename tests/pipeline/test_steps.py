"""What each step of a run took is kept when it is made, and shown; what is not known is a dash."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from command_line import Call
from small import NAME, SETTINGS, Small

from mmgenre.disk.bundle import read_bundle
from mmgenre.disk.provenance import Provenance
from mmgenre.measuring.results import StepResult
from mmgenre.pipeline.artefact import Artefact, carry_out
from mmgenre.pipeline.commands import extract_features, fuse
from mmgenre.pipeline.measure import current_fusions
from mmgenre.pipeline.qualitative import make_report
from mmgenre.pipeline.run import open_run
from mmgenre.pipeline.steps import steps_of
from mmgenre.pipeline.tidy import write_tables
from mmgenre.pipeline.times import LOG, seconds_by_fingerprint
from mmgenre.progress import Progress


def steps(folder: Path) -> list[StepResult]:
    run = open_run(folder)
    return steps_of(run, current_fusions(run))


def named(folder: Path) -> dict[tuple[str, str], StepResult]:
    return {(step["stage"], step["what"]): step for step in steps(folder)}


def test_every_step_has_its_time_and_what_is_trained_its_size(small: Small) -> None:
    found = named(small.run)
    views = ("audio", "text", "image")
    assert list(found) == [
        *(("read", name) for name in views),
        *(("learn", name) for name in views),
        *(("embed", name) for name in views),
        ("fuse", NAME),
    ]
    assert all((step["seconds"] or 0) > 0 for step in found.values())
    for (stage, what), step in found.items():
        if stage != "learn":
            assert (step["n_parameters"] is not None) == (stage == "fuse")
            continue
        own = read_bundle(small.run / "encoders" / what, f"{what} encoder")
        trained = [t for name, t in own.weights.items() if is_trained(name)]
        assert step["n_parameters"] == sum(t.numel() for t in trained)
    heads = read_bundle(small.run / "fusion" / NAME / "model", "fusion head").weights
    assert found["fuse", NAME]["n_parameters"] == sum(t.numel() for t in heads.values())


def is_trained(name: str) -> bool:
    """Weights of layers, and not what batch norm or a standardisation keeps."""
    return name.endswith((".weight", ".bias"))


def test_time_is_that_of_the_last_making(tmp_path: Path) -> None:
    made: list[int] = []
    provenance = Provenance("inputs", 1, {})

    def make(progress: Progress) -> None:
        made.append(1)

    def stored() -> str | None:
        return None

    artefact = Artefact("read", "é", tmp_path / "x", provenance, (), stored, make)
    first = carry_out([artefact], tmp_path).seconds[provenance.fingerprint]
    again = carry_out([artefact], tmp_path).seconds[provenance.fingerprint]
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [line["seconds"] for line in lines] == [round(first, 3), round(again, 3)]
    assert lines[0] == {
        "fingerprint": provenance.fingerprint, "stage": "read", "what": "é",
        "seconds": round(first, 3),
    }  # fmt: skip
    assert seconds_by_fingerprint(tmp_path) == {provenance.fingerprint: round(again, 3)}


def test_what_is_current_is_not_timed_again(small: Small, tmp_path: Path) -> None:
    run = small.copy(tmp_path / "run")
    before = (run / LOG).read_text(encoding="utf-8")
    fuse(run=run, seeds=2)
    assert (run / LOG).read_text(encoding="utf-8") == before


def test_a_run_copied_as_hard_links_has_a_log_of_its_own(small: Small, tmp_path: Path) -> None:
    run = small.copy(tmp_path / "run")
    assert (run / LOG).stat().st_nlink > 1
    before = (small.run / LOG).read_text(encoding="utf-8")
    fuse(["text"], run=run, seeds=1)
    assert (small.run / LOG).read_text(encoding="utf-8") == before
    after = (run / LOG).read_text(encoding="utf-8")
    assert after.startswith(before)
    assert after.count("\n") == before.count("\n") + 1


def older(small: Small, folder: Path) -> Path:
    """A copy of the run as an older version left it."""
    run = small.copy(folder)
    (run / LOG).unlink()
    return run


@pytest.mark.slow
def test_a_run_of_an_older_version_shows_dashes(small: Small, tmp_path: Path) -> None:
    run = older(small, tmp_path / "run")
    assert {step["seconds"] for step in steps(run)} == {None}
    make_report(run)
    page = (run / "report.html").read_text(encoding="utf-8")
    _, _, table = page.partition("What each step took")
    table, _, _ = table.partition("</table>")
    assert table.count("<td>–</td>") == 10 + 6  # all times, and what six steps did not train
    assert "<td>0" not in table
    write_tables(open_run(run), tmp_path / "tables")
    with (tmp_path / "tables" / "steps.csv").open(encoding="utf-8", newline="") as file:
        assert {row["seconds"] for row in csv.DictReader(file)} == {""}
    latex = (tmp_path / "tables" / "steps.tex").read_text(encoding="utf-8")
    assert latex.count("& -- &") == 10


def test_they_are_in_tables_in_the_report_and_in_json(
    small: Small, tmp_path: Path, call: Call
) -> None:
    run, wanted = small.copy(tmp_path / "run"), steps(small.run)
    write_tables(open_run(run), tmp_path / "tables")
    with (tmp_path / "tables" / "steps.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["stage"], row["what"]) for row in rows] == [
        (step["stage"], step["what"]) for step in wanted
    ]
    for row, step in zip(rows, wanted, strict=True):
        assert float(row["seconds"]) == pytest.approx(step["seconds"], rel=1e-5)
        assert row["n_parameters"] == str(step["n_parameters"] or "")
    latex = (tmp_path / "tables" / "steps.tex").read_text(encoding="utf-8")
    assert latex.count(r" \\" + "\n") == 1 + len(wanted)
    make_report(run)
    page = (run / "report.html").read_text(encoding="utf-8")
    [audio] = [step for step in wanted if (step["stage"], step["what"]) == ("learn", "audio")]
    assert f"<td>{audio['n_parameters']:,}</td>" in page
    assert call("fuse", "--run", run, "--seeds", "2", "--json").json["steps"] == wanted
    before_heads = wanted[:-1]
    assert call("extract-features", "--run", run, "--json").json["steps"] == before_heads


def test_cross_fitted_encoders_and_solved_heads_are_steps(small: Small, tmp_path: Path) -> None:
    run = tmp_path / "run"
    solved = ("fusion.solver=lbfgs", "fusion.combine=auto", "fusion.cross_fit=2")
    own = [s for s in SETTINGS if not s.startswith("fusion.")]
    extract_features(
        small.manifest, run=run, recipe="quick", modalities=["text"], settings=[*own, *solved]
    )
    result = fuse(["text"], run=run)
    found = named(run)
    assert list(found) == [
        ("read", "text"), ("learn", "text"), ("learn", "text.without-0"),
        ("learn", "text.without-1"), ("embed", "text"), ("embed", "text (cross-fitted)"),
        ("fuse", result["name"]),
    ]  # fmt: skip
    assert all((step["seconds"] or 0) > 0 for step in found.values())
    assert (found["learn", "text"]["n_parameters"] or 0) > 1000
    # The head is the encoder's own output layer, and how it is joined with nothing else.
    n_labels, width = len(result["labels"]), 24
    assert found["fuse", result["name"]]["n_parameters"] == (width + 1) * n_labels + 1 + n_labels
