"""`extract-features --no-merge`: embeddings and fusions are those of merged inputs, bit for bit."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import Call
from small import NAME, SETTINGS, Small

from mmgenre.disk.store import content_hash, part_names, parts_folder
from mmgenre.pipeline.commands import extract_features, fuse

MEDIA = ("audio", "text", "image")


@pytest.fixture(scope="module")
def apart(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run, whose inputs stay in parts."""
    run = tmp_path_factory.mktemp("apart") / "run"
    how = {"recipe": "quick", "settings": SETTINGS, "workers": 1}
    extract_features(small.manifest, run=run, **how, merge=False)  # type: ignore[arg-type]
    return run


def test_all_that_is_made_from_them_is_the_same(
    small: Small, apart: Path, tmp_path: Path, call: Call
) -> None:
    for medium in MEDIA:
        path, merged = apart / f"inputs/{medium}.h5", small.run / f"inputs/{medium}.h5"
        assert part_names(path, medium)
        assert not part_names(merged, medium)
        assert content_hash(path) == content_hash(merged)
    audio = apart / "inputs/audio.h5"  # whose rows are not tiny
    own = sum(part.stat().st_size for part in parts_folder(audio).iterdir())
    assert audio.stat().st_size < 0.2 * own  # its fingerprints, and 100 kB however many
    assert content_hash(apart / "embeddings.h5") == content_hash(small.run / "embeddings.h5")
    fuse(run=apart, seeds=2)
    scores = f"fusion/{NAME}/scores.h5"
    assert content_hash(apart / scores) == content_hash(small.run / scores)
    # The run can be moved, and is current there.
    moved = shutil.copytree(apart, tmp_path / "moved")
    shutil.rmtree(apart)
    before = {path: path.stat().st_mtime_ns for path in sorted(moved.rglob("*.h5"))}
    how = ["--media-root", str(small.manifest.parent), "--no-merge", "--workers", "1"]
    line = [sys.executable, "-m", "mmgenre", "extract-features", "--run", str(moved), *how]
    told = subprocess.run(line, check=False, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert {path: path.stat().st_mtime_ns for path in sorted(moved.rglob("*.h5"))} == before
    info = call("store", "info", moved / "inputs/audio.h5")
    assert "parts beside it" in info.out
    whole = call("store", "verify", *(moved / f"inputs/{m}.h5" for m in MEDIA))
    assert whole.out.endswith("3 whole, 0 damaged\n")
    part = sorted(parts_folder(moved / "inputs/text.h5").iterdir())[0]
    aside = part.rename(part.with_suffix(".aside"))
    damaged = call("store", "verify", moved / "inputs/text.h5")
    assert (damaged.code, part.name in damaged.out) == (1, True)
    aside.rename(part)
    # One file again, by hand.
    one = tmp_path / "one.h5"
    assert call("store", "merge", one, moved / "inputs/text.h5").code == 0
    assert content_hash(one) == content_hash(small.run / "inputs/text.h5")


def test_a_shard_merges_nothing(call: Call, tmp_path: Path) -> None:
    told = call("extract-features", "--run", tmp_path / "r", "--shard", "1/2", "--no-merge")
    assert told.code == 2
    assert "no --no-merge" in " ".join(told.err.replace("│", " ").split())
