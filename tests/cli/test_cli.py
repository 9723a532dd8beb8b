"""The command line: exit codes, what goes to stdout and to stderr, and words for mistakes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Call, Outcome
from small import NAME, SETTINGS, Small

from mmgenre.cli.shared import refusal_lines
from mmgenre.datasets.audit import Audit
from mmgenre.errors import Refusal
from mmgenre.fusion.tagger import GenreTagger
from mmgenre.items.manifest import Manifest
from mmgenre.items.modalities import MODALITIES
from mmgenre.pipeline.notes import run_notes
from mmgenre.pipeline.run import open_run


def in_process(*words: object, **environment: str) -> Outcome:
    """Runs a command line as a user does."""
    done = subprocess.run(
        [sys.executable, "-m", "mmgenre", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200", **environment},
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def flat(text: str) -> str:
    """Without the frames and line ends that rich puts around a message."""
    return " ".join("".join(c if c not in "│╭╮╰╯─" else " " for c in text).split())


# As processes


@pytest.mark.parametrize("words", [(), ("fuse",), ("extract-features",), ("manifest", "check")])
def test_help_is_quick(words: tuple[str, ...]) -> None:
    took = []
    for _ in range(3):  # a busy machine may be late once, not three times
        started = time.monotonic()
        done = in_process(*words, "--help")
        took.append(time.monotonic() - started)
        assert done.code == 0
        assert "--help" in done.out
        if took[-1] < 2:
            break
    assert min(took) < 2


def test_help_knows_no_torch() -> None:
    code = """if True:
        import sys
        from mmgenre.cli import main
        sys.argv = ["mmgenre", "fuse", "--help"]
        try:
            main()
        except SystemExit:
            heavy = {"torch", "librosa", "sklearn", "numpy", "h5py", "PIL"} & set(sys.modules)
            sys.exit(", ".join(sorted(heavy)) or 0)
        """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--modalities" in done.stdout


@pytest.mark.parametrize("words", [["extract-features"], ["fuse", "--seeds", "2"]])
def test_a_finished_run_knows_nothing_heavy(small: Small, tmp_path: Path, words: list[str]) -> None:
    run = tmp_path / "run"
    small.copy(run)
    code = """if True:
        import sys
        from mmgenre.cli import main
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        heavy = {"torch", "scipy.signal", "scipy.stats", "sklearn"} & set(sys.modules)
        sys.exit(", ".join(sorted(heavy)) or code)
        """
    done = subprocess.run(
        [sys.executable, "-c", code, *words, "--run", str(run)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.strip()) == (0, "")
    assert "next: mmgenre" in done.stdout


def test_only_json_reads_all_embeddings(
    small: Small, tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = small.copy(tmp_path / "run")
    hashed: list[Path] = []

    def content_hash(path: Path) -> str:
        hashed.append(path)
        return ""

    monkeypatch.setattr("mmgenre.pipeline.commands.content_hash", content_hash)
    assert call("extract-features", "--run", run).code == 0
    assert hashed == []
    assert call("extract-features", "--run", run, "--json").code == 0
    assert hashed == [run / "embeddings.h5"]


def test_the_codes_of_a_process() -> None:
    wrong = in_process("fuse", "--modalities", "a,x")
    assert (wrong.code, wrong.out) == (2, "")
    assert "modalities 'a,x': give each of a (audio), t (text), i (image)" in flat(wrong.err)
    missing = in_process("manifest", "info", "gone.csv")
    assert (missing.code, missing.out) == (1, "")
    assert missing.err == "error: gone.csv: 1 fault(s)\n  no such file\n"


def test_json_is_alone_on_stdout(small: Small, tmp_path: Path) -> None:
    run = small.copy(tmp_path / "run")
    done = in_process("extract-features", "--run", run, "--json")
    assert done.code == 0
    assert done.json["embeddings"] == str(run / "embeddings.h5")
    assert done.json["refused"] == []
    assert "Traceback" not in done.err


# In this process


def test_extract_features_says_what_is_next(small: Small, tmp_path: Path, call: Call) -> None:
    run = small.copy(tmp_path / "run")
    done = call("extract-features", "--run", run, "-m", "text,a")
    counts = {m: len(open_run(run).manifest.ids(having=[m])) for m in tuple(MODALITIES)[:2]}
    notes = run_notes(open_run(run))
    assert notes[1].startswith("labels.task = multi: items name several genres")
    assert done.code == 0
    assert done.out.splitlines() == [
        f"{run}/embeddings.h5: {counts['audio']} with audio, {counts['text']} with text",
        *(f"note: {note}" for note in notes),
        f"next: mmgenre fuse --run {run} --modalities text,a",
    ]


def test_shards_read_and_say_what_is_next(small: Small, tmp_path: Path, call: Call) -> None:
    words: list[object] = ["extract-features", "--manifest", small.manifest]
    words += ["--run", tmp_path / "run", "--recipe", "quick", "-m", "t", "--workers", 1]
    first = call(*words, "--shard", "1/2")
    assert first.code == 0
    found = re.fullmatch(r"text: (\d+) of (\d+) parts are read", first.out.splitlines()[0])
    assert found is not None
    done, total = map(int, found.groups())
    assert 0 < done < total
    assert first.out.splitlines()[1:] == [
        "next: the other shards, and then the same command without --shard"
    ]
    as_json = call(*words, "--shard", "2/2", "--json").json
    assert as_json["parts"] == {"text": {"done": total, "of": total}}
    assert as_json["shard"] == "2/2"
    again = call(*words, "--shard", "2/2")
    assert again.out.splitlines()[1:] == ["next: the same command without --shard"]
    assert not (tmp_path / "run" / "inputs" / "text.h5").exists()


def test_fuse_prints_a_table_and_what_is_next(small: Small, tmp_path: Path, call: Call) -> None:
    run = small.copy(tmp_path / "run")
    done = call("fuse", "--run", run, "--seeds", 2)
    assert done.code == 0
    for row in ("A+T+I", "T+I", "I"):
        assert f" {row} " in flat(done.out)
    assert done.out.splitlines()[-1] == f"next: mmgenre report {run}"
    as_json = call("fuse", "--run", run, "--seeds", 2, "--json").json
    assert as_json.pop("refused") == as_json.pop("given") == []
    assert as_json.pop("run") == str(run)
    notes = as_json.pop("notes")
    assert notes[:-1] == run_notes(open_run(run))  # heads that are trained add none
    assert notes[-1].startswith("2 test artists; 22 of 29 genres cannot be measured")
    assert [f"note: {note}" for note in notes] == done.out.splitlines()[-1 - len(notes) : -1]
    assert as_json.pop("steps")[-1]["what"] == NAME
    assert as_json == json.loads(json.dumps(small.result))


def test_refused_items_are_code_3_and_on_stderr(small: Small, tmp_path: Path, call: Call) -> None:
    bad = tmp_path / "bad.txt"
    bad.write_bytes(b"\xfa\xff\xfe")
    items = list(open_run(small.run).manifest)
    victim = next(i for i in items if i.split == "train" and "text" in i.media)
    path = Manifest(replace(i, media={"text": (bad,)}) if i is victim else i for i in items).write(
        tmp_path / "m.csv"
    )
    words = ["--run", tmp_path / "run", "-m", "t", "--json"]
    sets = [word for setting in SETTINGS for word in ("--set", setting)]
    words += ["--media-root", small.manifest.parent]
    done = call("extract-features", "--manifest", path, "--recipe", "quick", *sets, *words)
    assert done.code == 3
    assert [(r["id"], r["code"]) for r in done.json["refused"]] == [(victim.id, "encoding")]
    assert f"refused: {victim.id}: {bad}: not UTF-8" in done.err
    fused = call("fuse", *words, "--seeds", 1)
    assert fused.code == 3
    assert [r["id"] for r in fused.json["refused"]] == [victim.id]
    assert f"refused: {victim.id}: " in fused.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("extract-features", "--modalities", "a,a"), "modalities 'a,a': give each of"),
        (("extract-features", "--encoder", "audio"), "--encoder 'audio': write a=FOLDER"),
        (("extract-features", "--encoder", "x=folder"), "modalities 'x': give each of"),
        (("extract-features", "--workers", "0"), "'--workers'"),
        (("extract-features", "--shard", "3/2"), "'3/2': give I/N with I from 1 to N"),
        (("extract-features", "--shard", "1/2", "--dask", "local"), "no --encoder, no --dask"),
        (("extract-features", "--recipes", "quick"), "--recipes"),
        (("fuse", "--seeds", "0"), "'--seeds'"),
        (("fuse", "--head", "sine"), "'--head'"),
        (("quickstart", "--seeds", "0"), "'--seeds'"),
        (("predict", "run"), "give paths, or --audio, --text or --image (any of them)"),
        (("predict", "run", "--text", "x", "--manifest", "y"), "or --audio, --text or --image"),
        (("predict",), "Missing argument"),
        (("manifest", "split", "m.csv", "--out", "o.csv", "--ratios", "0.8,0.2"), "three numbers"),
        (("manifest", "split", "m.csv", "--out", "o.csv", "--ratios", "a,b,c"), "three numbers"),
        (("tag",), "'tag'"),
        (("fuse", "--features", "clap.npy"), "write NAME=FILE, or FILE.h5"),
        (("fuse", "--features", "a=x.npy", "--features", "audio=y.npy"), "is given twice"),
        (("run",), "Missing argument"),
    ],
)
def test_usage_is_code_2(call: Call, words: tuple[str, ...], message: str) -> None:
    done = call(*words)
    assert (done.code, done.out) == (2, "")
    assert message in flat(done.err)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("extract-features --manifest gone.csv --run {new}", "gone.csv: 1 fault(s)"),
        ("extract-features --manifest {manifest} --run {new} --recipe quikc", "did you mean quick"),
        ("extract-features --manifest {manifest} --run {new} --set sede=1", "did you mean seed"),
        ("extract-features --manifest {manifest} --run {manifest}", "manifest.csv"),
        ("extract-features --run {run} --encoder a={new}", "no such model folder"),
        ("fuse --run {run} --set audio.patches=1", "audio: no setting of fusion"),
        ("fuse --run {new}", "no run here; make one: mmgenre extract-features --run"),
        ("fuse --run {run} --inputs joint.tuba", "inputs joint.tuba: known here are audio, text"),
        ("fuse --run {run} --features clap={new}/x.npy", "x.npy: no such file"),
        ("run oramas2018/table2 --runs {new}", "--dataset synthetic to see it whole"),
        ("plan oramas2018/tabel2 --runs {new}", "did you mean oramas2018/table2"),
        ("run quick --dataset synthetic --runs {new}", "has no section [table]"),
        ("predict {new} --text {manifest}", "no fusion head; train one: mmgenre fuse"),
        ("predict {run} --text {new}", "no such file [missing]"),
        ("predict {run} --fusion nix --text {manifest}", f"no fusion 'nix'; has {NAME}"),
        ("report {new}", "Run first: mmgenre fuse --run"),
        ("manifest check {new}", "no such file"),
        ("manifest split {manifest} --out {new}/o.csv --ratios 0.5,0.5,0.5", "add up to 1"),
    ],
)
def test_failure_is_code_1_without_traceback(
    small: Small, tmp_path: Path, call: Call, words: str, message: str
) -> None:
    run = small.copy(tmp_path / "run")
    paths = {"new": tmp_path / "new", "manifest": small.manifest, "run": run}
    done = call(*words.format(**paths).split())
    assert (done.code, done.out) == (1, "")
    error = done.err[done.err.index("error: ") :]
    assert message in error
    assert "Traceback" not in done.err
    assert not (tmp_path / "new").exists()


def test_given_vectors_alone_read_no_media_and_predict(
    small: Small, tmp_path: Path, call: Call
) -> None:
    """As docs/encoders.md writes it: a manifest of three modalities, and two arrays."""
    run, manifest = tmp_path / "run", Manifest.read(small.manifest)
    ids = np.array(manifest.ids())
    rng = np.random.default_rng(0)
    clap, audio = tmp_path / "clap.npz", tmp_path / "a.npz"
    np.savez(clap, ids=ids, x=rng.standard_normal((len(ids), 5)))
    np.savez(audio, ids=ids[:-2], x=rng.standard_normal((len(ids) - 2, 3)))
    given = ("--features", f"clap={clap}", "--features", f"a={audio}")
    done = call("fuse", "--run", run, "--manifest", small.manifest, *given, "--json")
    assert done.code == 0, done.err
    names = ["A", "clap", "A+clap concatenated", "A+clap"]
    assert [row["name"] for row in done.json["rows"]] == names
    assert not (run / "encoders").exists()
    assert not (run / "inputs").exists()
    assert done.json["given"] == [
        {"name": "audio", "n_items": len(ids) - 2, "n_unknown": 0},
        {"name": "clap", "n_items": len(ids), "n_unknown": 0},
    ]
    assert call("fuse", "--run", run, "--json").json["rows"] == done.json["rows"]

    predicted = call("predict", run, *given, "--json")
    assert predicted.code == 0, predicted.err
    own = {p["id"]: p for p in predicted.json["predictions"]}
    assert list(own) == sorted(manifest.ids())
    assert own[ids[0]]["used"] == ["audio", "clap"]
    assert own[ids[-1]]["used"] == ["clap"]
    tagger = GenreTagger.from_pretrained(run)
    found = {p.id: p for p in tagger.predict_manifest(features={"clap": clap, "audio": audio})[0]}
    assert own[ids[3]]["genres"] == [asdict(g) for g in found[ids[3]].genres[:5]]

    media = call("predict", run, "--text", small.manifest)
    assert "text: this model reads vectors made elsewhere (audio, clap;" in flat(media.err)
    wide = tmp_path / "wide.npz"
    np.savez(wide, ids=ids, x=rng.standard_normal((len(ids), 6)))
    refused = call("predict", run, "--features", f"clap={wide}")
    assert refused.code == 1
    assert "clap has vectors of width 6, and the model was trained on 5" in flat(refused.err)
    unknown = call("predict", run, "--features", f"mert={clap}")
    assert "vectors mert: this model reads vectors made elsewhere (" in flat(unknown.err)
    one = call("predict", run, "--manifest", small.manifest, "--features", f"a={audio}", "--json")
    assert {r["id"] for r in one.json["refused"]} == {str(i) for i in ids[-2:]}
    assert "has nothing to judge by: this model reads vectors" in one.json["refused"][0]["detail"]

    one_row = call("fuse", "--run", run, "-m", "a", "--inputs", "clap", "--json")
    assert [row["inputs"] for row in one_row.json["rows"]] == [["clap"]]
    np.savez(tmp_path / "other.npz", ids=np.array(["x", "y"]), x=rng.standard_normal((2, 3)))
    strange = call("fuse", "--run", run, "--features", f"clap={tmp_path / 'other.npz'}")
    assert "none of the 2 ids of clap (first: 'x') is an item" in flat(strange.err)


# Predicting


def test_predict_prints_the_ranking(small: Small, tmp_path: Path, call: Call) -> None:
    review = tmp_path / "review.txt"
    review.write_text("Heavy riffs, loud amplifiers.", encoding="utf-8")
    done = call("predict", small.run, "--text", review, "--top", 3)
    expected = GenreTagger.from_pretrained(small.run).predict(text=review)
    assert done.code == 0
    head, *lines = done.out.splitlines()
    assert head == "item  from text  (probability; * = named)"
    unsure = [f"  unsure: {expected.unsure}"] if expected.unsure else []
    assert lines == unsure + [
        f"  {'*' if g.name in expected.named else ' '} {g.score:6.3f}  {g.name}"
        for g in expected.genres[:3]
    ] + [f"    {note}" for note in expected.notes]
    found = call("predict", small.run, "--text", review, "--top", 3, "--json").json
    assert found["refused"] == []
    [prediction] = found["predictions"]
    assert prediction["used"] == ["text"]
    assert prediction["genres"] == [{"name": g.name, "score": g.score} for g in expected.genres[:3]]


def test_predict_all_three_with_two_tracks(small: Small, call: Call) -> None:
    item = next(
        i
        for i in open_run(small.run).manifest
        if len(i.media) == 3 and len(i.media["audio"]) > 1 and isinstance(i.media["text"][0], Path)
    )
    tracks = [word for track in item.media["audio"] for word in ("--audio", track)]
    words = ["--text", item.media["text"][0], "--image", item.media["image"][0]]
    done = call("predict", small.run, *tracks, *words, "--json")
    assert done.code == 0
    assert done.json["predictions"][0]["used"] == ["audio", "text", "image"]


def test_predict_uses_the_rest_of_an_album(small: Small, tmp_path: Path, call: Call) -> None:
    item = next(i for i in open_run(small.run).manifest if "audio" in i.media)
    good, bad = item.media["audio"][0], tmp_path / "bad.flac"
    bad.write_bytes(b"fLaC is what it says")
    whole = call("predict", small.run, "--audio", good, "--json")
    done = call("predict", small.run, "--audio", bad, "--audio", good, "--json")
    assert (whole.code, done.code) == (0, 3)
    assert done.json["predictions"] == whole.json["predictions"]
    assert [(r["id"], r["code"]) for r in done.json["refused"]] == [("item#0", "unreadable")]
    assert done.err.count("refused: item#0: ") == 1
    alone = call("predict", small.run, "--audio", bad)
    assert (alone.code, alone.out) == (1, "")


def test_predict_many(small: Small, tmp_path: Path, call: Call) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text(
        "id,text,image\na,Heavy loud riffs.,\nb,Intimate hushed ballads.,gone.png\nc,,gone.png\n",
        encoding="utf-8",
    )
    done = call("predict", small.run, "--manifest", manifest, "--json")
    assert done.code == 3
    assert [(p["id"], p["used"]) for p in done.json["predictions"]] == [
        ("a", ["text"]),
        ("b", ["text"]),
    ]
    assert [(r["id"], r["code"]) for r in done.json["refused"]] == [
        ("b", "missing"),
        ("c", "missing"),
    ]
    assert done.err.count("refused: ") == 2


def test_predict_with_a_modality_the_model_lacks(small: Small, tmp_path: Path, call: Call) -> None:
    run = small.copy(tmp_path / "run")
    assert call("fuse", "--run", run, "-m", "t", "--seeds", 1).code == 0
    cover = tmp_path / "x.png"
    cover.touch()  # a file that is not there would be the first thing to be told
    done = call("predict", run, "--fusion", "multi-logistic-t", "--image", cover)
    assert done.code == 2
    assert "image: this model reads text" in flat(done.err)


# Manifests, reports, the doctor


@pytest.fixture
def leaking(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        (tmp_path / f"{name}.txt").write_text("the same words", encoding="utf-8")
    rows = [
        "id,artist,album,split,labels,text_file",
        "a,Nina,First,train,Jazz,one.txt",
        "b,nina,Second,test,Jazz,",
        "c,Bill,Third,train,Rock,",
        "d,Ella,Fourth,val,Rock,two.txt",
    ]
    path = tmp_path / "leaking.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_check_finds_planted_leaks(leaking: Path, call: Call) -> None:
    done = call("manifest", "check", leaking)
    assert done.code == 1
    *leaks, summary = done.out.splitlines()
    assert leaks[0] == "leak: artist 'Nina | nina' in train and test: a, b"
    assert leaks[1].startswith("leak: identical text ")
    assert leaks[1].endswith("in train and val: a, d")
    assert summary == f"{leaking}: 2 leaks, 0 repeats within a split, 0 unreadable files"
    found = call("manifest", "check", leaking, "--json")
    assert found.code == 1
    assert [leak["ids"] for leak in found.json["leaks"]] == [["a", "b"], ["a", "d"]]


def test_check_passes_what_is_clean(small: Small, call: Call) -> None:
    done = call("manifest", "check", small.run / "manifest.csv", "--json")
    assert (done.code, done.json["leaks"], done.json["missing"]) == (0, [], [])


def test_check_lists_unreadable_files(leaking: Path, call: Call) -> None:
    clean = [i for i in Manifest.read(leaking) if i.id != "b"]
    (leaking.parent / "two.txt").unlink()
    path = Manifest(clean).write(leaking.parent / "clean.csv")
    done = call("manifest", "check", path)
    assert done.code == 3
    assert "refused: d: " in done.err
    assert "0 leaks" in done.out


def test_split_draws_what_check_accepts(leaking: Path, tmp_path: Path, call: Call) -> None:
    (leaking.parent / "two.txt").write_text("other words", encoding="utf-8")
    out = tmp_path / "new" / "split.csv"
    done = call("manifest", "split", leaking, "--out", out, "--ratios", "0.5,0.25,0.25")
    assert done.code == 0
    *notes, counts = done.out.splitlines()
    assert counts == f"{out}: 2 train, 1 val, 1 test"
    assert notes == [
        "note: train has no item of 1 genre(s) of val or test, which are neither learned nor "
        "measured: 'Rock'"
    ]
    drawn = {i.id: i.split for i in Manifest.read(out)}
    assert drawn["a"] == drawn["b"] == "train"
    assert call("manifest", "check", out).code == 0


def test_info_counts(leaking: Path, call: Call) -> None:
    done = call("manifest", "info", leaking)
    assert done.code == 0
    assert done.out.splitlines() == [
        "items       4",
        "artists     4",
        "splits      train 2, test 1, val 1",
        "modalities  audio 0, text 2, image 0",
        "labels      Jazz 2, Rock 2",
    ]
    assert call("manifest", "info", leaking, "--json").json["items"] == 4


def test_report_writes_a_page(small: Small, tmp_path: Path, call: Call) -> None:
    run = small.copy(tmp_path / "run")
    done = call("report", run)
    page = run / "report.html"
    assert (done.code, done.out) == (0, f"{page}\n")
    text = page.read_text(encoding="utf-8")
    assert text.lower().startswith("<!doctype html>")
    assert "A+T+I" in text


def test_doctor_is_content(call: Call) -> None:
    done = call("doctor")
    assert done.code == 0
    assert all(line.startswith("ok    ") for line in done.out.splitlines())
    assert all(check["ok"] for check in call("doctor", "--json").json)


def test_doctor_fails_with_advice(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmgenre.doctor.FREE_GB", 1e9)
    done = call("doctor")
    assert done.code == 1
    assert "FAIL  disk" in done.out
    assert "-> make room" in done.out


def test_quickstart_prints_three_tables_and_the_page(
    call: Call, monkeypatch: pytest.MonkeyPatch, small: Small
) -> None:
    asked: list[tuple[Path, int]] = []

    def instead(run: Path, *, seeds: int, progress: object) -> tuple[list[Any], Path]:
        asked.append((run, seeds))
        return [small.result] * 3, run / "report.html"

    monkeypatch.setattr("mmgenre.pipeline.commands.quickstart", instead)
    done = call("quickstart", "--run", small.run, "--seeds", 2)
    assert asked == [(small.run, 2)]
    assert done.code == 0
    assert done.out.count("A+T+I") == 3
    assert done.out.splitlines()[-1] == f"report: {small.run / 'report.html'}"
    assert "note: audio (cnn): learned from" in done.out
    plain = call("quickstart", "--run", small.run, "--json").json
    assert len(plain["fusions"]) == 3
    assert plain["report"] == str(small.run / "report.html")


def test_a_refusal_is_printed_as_it_is(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Square brackets would be markup to rich, and vanish."""
    odd = Refusal("[x]", "text", "empty", "[red]gone[/red]: no [word]")
    found = Audit((), (), (odd,))
    monkeypatch.setattr("mmgenre.datasets.audit.audit", lambda *_, **__: found)
    monkeypatch.setattr("mmgenre.items.manifest.Manifest.read", lambda path, **_: [])
    done = call("manifest", "check", "m.csv")
    assert done.code == 3
    assert "refused: [x]: [red]gone[/red]: no [word]\n" in done.err


def test_what_decoders_print_is_not_among_the_results() -> None:
    code = """if True:
        import os, subprocess
        from mmgenre.cli import shared
        with shared.progress_bars():
            os.write(1, b"a decoder's warning")
            subprocess.run(["echo", "of another process"])
        shared.show({"a": 1}, (), as_json=True)
        """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"a": 1}
    assert "a decoder's warning" in done.stderr
    assert "of another process" in done.stderr


def test_many_refused_items_are_counted_by_their_faults(tmp_path: Path) -> None:
    table = tmp_path / "refused.csv"
    many = [Refusal(f"a{k}", "audio", "unreadable", f"a{k}.m4a: no decoder") for k in range(30)]
    many.append(Refusal("b", "image", "truncated", "b.jpg: cut"))
    assert len(refusal_lines(many)) == 31
    assert len(refusal_lines(many, table)) == 31  # it is not there
    table.touch()
    assert refusal_lines(many, table) == [
        "refused: 30 audio unreadable, such as a0: a0.m4a: no decoder",
        "refused: 1 image truncated, such as b: b.jpg: cut",
        f"refused in all: 31, each with its fault in {table}",
    ]
    assert len(refusal_lines(many[:3], table)) == 3
