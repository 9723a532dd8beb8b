"""Whole ways: killed and gone on with, and real media from files to a table of metrics."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from command_line import Call
from small import SETTINGS, Small

from mmgenre.disk.store import FeatureStore, content_hash
from mmgenre.items.modalities import MODALITIES
from mmgenre.pipeline.commands import extract_features

WAIT_S = 120


def extract_words(manifest: Path, run: Path) -> list[str]:
    sets = [word for setting in SETTINGS for word in ("--set", setting)]
    return [
        *("extract-features", "--manifest", str(manifest), "--run", str(run)),
        *("--recipe", "quick", *sets),
    ]


def mmgenre(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mmgenre", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_when(moment: Callable[[], bool], words: list[str]) -> None:
    """Starts a command and ends it with SIGKILL as soon as the moment has come."""
    process = mmgenre(*words)
    deadline = time.monotonic() + WAIT_S
    try:
        while not moment():
            assert process.poll() is None, f"ended before its moment: {process.communicate()}"
            assert time.monotonic() < deadline, "the moment never came"
            time.sleep(0.002)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL, "it was quicker than the kill"


def while_reading(run: Path) -> Callable[[], bool]:
    return lambda: any((run / "inputs" / "audio.h5.parts").glob("*.h5"))


def while_training_audio(run: Path) -> Callable[[], bool]:
    return (run / "inputs" / "image.h5").is_file


def while_training_text(run: Path) -> Callable[[], bool]:
    return (run / "embeddings.h5").is_file


def while_writing_the_image_encoder(run: Path) -> Callable[[], bool]:
    return lambda: any((run / "encoders").glob(".image.*.tmp/model.safetensors"))


def while_embedding_images(run: Path) -> Callable[[], bool]:
    return (run / "encoders" / "image").is_dir


MOMENTS = (
    while_reading,
    while_training_audio,
    while_training_text,
    while_writing_the_image_encoder,
    while_embedding_images,
)


def finish(small: Small, run: Path, modalities: Sequence[str] = tuple(MODALITIES)) -> None:
    how: dict[str, Any] = {"recipe": "quick", "settings": SETTINGS, "modalities": modalities}
    done = extract_features(small.manifest, run=run, **how)
    assert done.refused == ()
    for modality in modalities:
        for path in (Path("embeddings.h5"), Path("inputs", f"{modality}.h5")):
            with (
                FeatureStore(run / path, modality) as store,
                FeatureStore(small.run / path, modality) as expected,
            ):
                store.verify()
                assert store.sha256 == expected.sha256


@pytest.mark.slow
def test_killed_while_reading_it_ends_as_if_it_had_not_been(small: Small, tmp_path: Path) -> None:
    run = tmp_path / "run"
    kill_when(while_reading(run), [*extract_words(small.manifest, run), "-m", "a"])
    parts = run / "inputs" / "audio.h5.parts"
    assert not (run / "inputs" / "audio.h5").exists()
    done_before = {p.name: p.stat().st_ino for p in parts.glob("[0-9]*.h5")}
    assert done_before
    kept: dict[str, int] = {}

    def watch(task: str, done: int, total: int) -> None:
        if task == "reading audio" and done == total and not kept and parts.is_dir():
            kept.update({p.name: p.stat().st_ino for p in parts.glob("[0-9]*.h5")})

    how: dict[str, Any] = {"recipe": "quick", "settings": SETTINGS, "modalities": ("audio",)}
    extract_features(small.manifest, run=run, **how, progress=watch)
    # The finished parts were not read again; with quick readers, these may be all there are.
    assert len(kept) >= len(done_before)
    assert {name: kept[name] for name in done_before} == done_before
    finish(small, run, ("audio",))


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_at_any_moment(
    small: Small, tmp_path: Path, moment: Callable[[Path], Callable[[], bool]]
) -> None:
    run = tmp_path / "run"
    kill_when(moment(run), extract_words(small.manifest, run))
    finish(small, run)


@pytest.mark.slow
def test_killed_again_and_again(small: Small, tmp_path: Path) -> None:
    run = tmp_path / "run"
    for moment in MOMENTS:
        kill_when(moment(run), extract_words(small.manifest, run))
    last = mmgenre(*extract_words(small.manifest, run), "--json")
    out, err = last.communicate()
    assert (last.returncode, "Traceback" in err) == (0, False)
    expected = content_hash(small.run / "embeddings.h5")
    assert json.loads(out)["content_sha256"] == expected
    finish(small, run)


def test_a_run_from_other_folders_and_copies_of_media_is_the_same(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths are no part of the result: text alone, from a copied catalogue and another place."""
    catalogue = tmp_path / "elsewhere"
    shutil.copytree(small.manifest.parent, catalogue)
    monkeypatch.chdir(catalogue)
    done = extract_features(
        "manifest.csv", run="run", modalities=("text",), recipe="quick", settings=SETTINGS
    )
    alone = tmp_path / "alone.h5"
    shutil.copy(done.embeddings, alone)
    extract_features(
        small.manifest,
        run=tmp_path / "here",
        modalities=("text",),
        recipe="quick",
        settings=SETTINGS,
    )
    assert content_hash(alone) == content_hash(tmp_path / "here" / "embeddings.h5")


REAL_SETTINGS = (
    "audio.training.max_epochs=1",
    "audio.training.min_steps=4",
    "audio.patches=1",
    "text.hidden_dim=64",
    "text.training.max_epochs=3",
    "text.training.min_steps=20",
    "image.training.max_epochs=1",
    "image.training.min_steps=4",
    "fusion.cross_fit=0",
)


@pytest.mark.realdata
def test_real_media_go_all_the_way(real_data: Path, tmp_path: Path, call: Call) -> None:
    """42 songs as published: mp3 and ogg, jpg and png, four languages, one track of silence."""
    run = tmp_path / "run"
    sets = [word for setting in REAL_SETTINGS for word in ("--set", setting)]
    words = ["--manifest", real_data / "real" / "items.csv", "--recipe", "quick", *sets]
    extracted = call("extract-features", "--run", run, "--json", *words)
    assert extracted.code == 3
    [refused] = extracted.json["refused"]
    assert (refused["modality"], refused["code"]) == ("audio", "silent")
    assert extracted.json["counts"] == {"audio": 22, "text": 42, "image": 33}
    assert extracted.err.count("refused: ") == 1
    fused = call("fuse", "--run", run, "--seeds", 1, "--json")
    assert fused.code == 3
    assert fused.json["refused"] == [refused]
    names = [row["name"] for row in fused.json["rows"]]
    subsets = ["A", "T", "I", "A+T", "A+I", "T+I", "A+T+I"]
    views = ["A.cnn", "A.statistics", "T.vsm", "T.linear", "I.network", "I.descriptors"]
    joins = [f"{several} concatenated" for several in subsets[3:]]
    assert sorted(names) == sorted([*subsets, *joins, *views])
    assert names[-1] == "A+T+I"  # whose model is kept
    assert fused.err.count("refused: ") == 1
    assert "Traceback" not in extracted.err + fused.err
    values = [row["all"]["summary"].get("macro_roc_auc") for row in fused.json["rows"]]
    assert all(value is None or 0 <= value["mean"] <= 1 for value in values)
