"""Files of a run that somebody has edited, or that are damaged, are named; none is lost."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small import NAME, Small

from mmgenre.disk.provenance import sha256_file
from mmgenre.disk.records import write_record
from mmgenre.errors import BundleError, DamageWarning, MmgenreError, StoreError
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.pipeline.commands import extract_features, fuse
from mmgenre.pipeline.measure import evaluate, measured
from mmgenre.pipeline.prepare import prepare_run
from mmgenre.pipeline.qualitative import make_report
from mmgenre.pipeline.run import open_run
from mmgenre.report import write_report

HEADER = "id,artist,split,labels,text\n"
EDITED = "edited or damaged since it was written"


def edit(path: Path, change: Callable[[Any], object]) -> None:
    """By hand: the checksum stays."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.unlink()  # a link to that of the shared run
    path.write_text(json.dumps(content), encoding="utf-8")


def unseal(folder: Path) -> None:
    """As an earlier version wrote the files."""
    for path in folder.rglob("*.json"):
        if path.name in ("run.json", "metrics.json", "qualitative.json", "fusion.json"):
            edit(path, lambda content: content.pop("sha256"))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rows = [
        f"i{k},artist {k},{('train', 'val', 'test')[k % 3]},{'Rock' if k % 2 else 'Jazz'},words {k}"
        for k in range(12)
    ]
    path = tmp_path / "items.csv"
    path.write_text(HEADER + "\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def prepared(tmp_path: Path, source: Path) -> Path:
    """A run of which only run.json and manifest.csv are there."""
    return prepare_run(tmp_path / "run", manifest=source, recipe="quick").folder


@pytest.fixture
def run(small: Small, tmp_path: Path) -> Path:
    return small.copy(tmp_path / "run")


def test_an_edited_run_json_is_named_until_its_checksum_is_removed(prepared: Path) -> None:
    state = prepared / "run.json"

    def change(content: Any) -> None:
        content["recipe"]["seed"] = 5

    edit(state, change)
    before = state.read_bytes()
    for use in (open_run, prepare_run):
        with pytest.raises(
            MmgenreError, match=rf'run\.json: {EDITED}.* remove its member "sha256"'
        ):
            use(prepared)
    assert state.read_bytes() == before
    edit(state, lambda content: content.pop("sha256"))
    assert open_run(prepared).recipe.seed == 5


def test_predict_names_an_edited_run_json_where_it_needs_it(run: Path) -> None:
    shutil.copytree(run / "fusion" / NAME, run / "fusion" / "another")
    assert GenreTagger.from_pretrained(run).name == NAME  # the one that the recipe asks for
    edit(run / "run.json", lambda content: content["recipe"]["labels"].update(task="single"))
    with pytest.raises(BundleError, match=rf"run\.json: damaged \(EditedError: {EDITED}"):
        GenreTagger.from_pretrained(run)
    assert GenreTagger.from_pretrained(run, NAME).name == NAME


def test_an_edited_manifest_of_a_run_is_set_aside_and_written_again(prepared: Path) -> None:
    own = prepared / "manifest.csv"
    whole, edited = own.read_text(), own.read_text().replace("Jazz", "Blues")
    own.write_text(edited)
    with pytest.raises(MmgenreError, match=r"manifest\.csv: edited or damaged .* Make changes in "):
        open_run(prepared)
    with pytest.warns(DamageWarning, match=r"kept as manifest\.csv\.damaged, and written again"):
        prepare_run(prepared)
    assert own.read_text() == whole
    assert (prepared / "manifest.csv.damaged").read_text() == edited
    assert open_run(prepared).labels().names == ("Jazz", "Rock")
    own.write_text(edited + "\n")
    with pytest.warns(DamageWarning, match=r"kept as manifest\.csv\.damaged-2, and"):
        prepare_run(prepared)


def test_an_edited_manifest_whose_source_is_gone_stays(prepared: Path, source: Path) -> None:
    own = prepared / "manifest.csv"
    edited = own.read_text().replace("Jazz", "Blues")
    own.write_text(edited)
    source.unlink()
    with pytest.raises(MmgenreError, match=r"items\.csv, from which it would be written again, is"):
        prepare_run(prepared)
    assert own.read_text() == edited


def test_a_manifest_that_was_written_and_run_json_not_is_no_edit(
    prepared: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill between the two."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    own = prepared / "manifest.csv"
    before = own.read_bytes()
    source.write_text(source.read_text().replace("Jazz", "Blues"))
    with monkeypatch.context() as patched:
        patched.setattr("mmgenre.pipeline.prepare.write_record", killed)
        with pytest.raises(KeyboardInterrupt):
            prepare_run(prepared)
    assert own.read_bytes() != before
    prepare_run(prepared)
    assert sorted(p.name for p in prepared.iterdir()) == ["manifest.csv", "run.json"]


def test_a_changed_source_is_no_edit(prepared: Path, source: Path) -> None:
    source.write_text(source.read_text().replace("Jazz", "Blues"))
    assert prepare_run(prepared).labels().names == ("Blues", "Rock")
    assert sorted(p.name for p in prepared.iterdir()) == ["manifest.csv", "run.json"]


def figure_of(content: Any) -> Any:
    result = content.get("result", content)
    fusion = result["fusions"][0] if "fusions" in result else result
    return fusion["rows"][0]["all"]["summary"]["macro_f1"]


def flatter(content: Any) -> None:
    figure_of(content)["mean"] = 0.99


@pytest.mark.parametrize("name", ["metrics.json", f"fusion/{NAME}/metrics.json"])
def test_edited_figures_are_set_aside_and_computed_again(run: Path, name: str) -> None:
    evaluate(open_run(run))  # a copy has another name
    path = run / name
    whole = path.read_bytes()
    edit(path, flatter)
    with pytest.warns(DamageWarning, match=rf"{re.escape(name)}: {EDITED}.*; kept as metr"):
        evaluate(open_run(run))
    assert path.read_bytes() == whole
    aside = json.loads(path.with_name("metrics.json.damaged").read_text(encoding="utf-8"))
    assert figure_of(aside)["mean"] == 0.99


@pytest.mark.slow
def test_a_page_of_edited_figures_is_refused(run: Path) -> None:
    edit(run / "metrics.json", flatter)
    with pytest.raises(MmgenreError, match=rf"metrics\.json: {EDITED}.*Run again: mmgenre fuse"):
        write_report(run)
    assert not (run / "report.html").exists()
    with pytest.warns(DamageWarning, match=r"metrics\.json: edited"):
        make_report(run)
    assert "0.990" not in (run / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_an_edited_qualitative_json_is_not_shown_and_made_again(run: Path) -> None:
    make_report(run)
    edit(run / "qualitative.json", lambda content: content.update(missing={"words": "nonsense"}))
    write_report(run)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "qualitative.json was edited or damaged since it was written" in page
    assert "nonsense" not in page
    with pytest.warns(DamageWarning, match=r"qualitative\.json: edited .*, and made anew"):
        make_report(run)
    assert "nonsense" not in (run / "report.html").read_text(encoding="utf-8")


def test_an_edited_fusion_is_refused_by_all_that_read_it(run: Path) -> None:
    def change(content: Any) -> None:
        content["rows"][0]["thresholds"] = [0.0, 0.0]

    edit(run / "fusion" / NAME / "fusion.json", change)
    opened = open_run(run)
    for use in (
        lambda: fuse(run=run, seeds=2),
        lambda: evaluate(opened),
        lambda: measured(opened, run / "fusion" / NAME, "val"),
    ):
        with pytest.raises(StoreError, match=rf"fusion\.json: damaged \(EditedError: {EDITED}"):
            use()


@pytest.mark.parametrize("name", ["config.json", "curve.json"])
def test_an_edited_curve_or_setting_of_an_encoder_is_named(run: Path, name: str) -> None:
    edit(run / "encoders" / "text" / name, lambda content: content.update(n_train=1))
    with pytest.raises(BundleError, match=rf"text/{name}: not the file that was written \(sha256"):
        evaluate(open_run(run))


@pytest.mark.slow
def test_a_run_without_checksums_opens(run: Path) -> None:
    make_report(run)
    unseal(run)
    before = {p: sha256_file(p) for p in run.rglob("*") if p.is_file()}
    extract_features(run=run)
    fuse(run=run, seeds=2)
    assert GenreTagger.from_pretrained(run).name == NAME
    make_report(run)
    changed = {p.name for p, own in before.items() if sha256_file(p) != own}
    assert changed <= {
        "run.json",
        "manifest.csv",
        "metrics.json",
        "qualitative.json",
        "report.html",
    }
    assert not list(run.rglob("*.damaged"))


def test_a_record_that_is_written_anew_by_hand_and_sealed_counts(prepared: Path) -> None:
    state = json.loads((prepared / "run.json").read_text(encoding="utf-8"))
    state["recipe"]["seed"] = 8
    write_record(prepared / "run.json", state)
    assert open_run(prepared).recipe.seed == 8
