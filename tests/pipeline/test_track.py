"""--track: curves of whatever trains, in a folder for each training, and nothing else changes."""

from __future__ import annotations

import builtins
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import Call
from curves import check_curve
from small import SETTINGS, Small
from test_grid import TABLE2, TINY

from mmgenre.disk.provenance import Provenance
from mmgenre.learning.tracking import TENSORBOARD, Tracked
from mmgenre.pipeline.artefact import Artefact, carry_out
from mmgenre.pipeline.grid import prepare_experiment
from mmgenre.pipeline.scores import fusion_about
from mmgenre.progress import Progress

SETS = [word for setting in SETTINGS for word in ("--set", setting)]


@pytest.fixture(scope="module")
def texts(small: Small, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    run = tmp_path_factory.mktemp("track") / "run"
    manifest = ["--manifest", small.manifest, "--media-root", small.manifest.parent]
    return ["extract-features", *manifest, "--recipe", "quick", *SETS, "-m", "t", "--run", run]


def test_encoders_and_heads_have_their_curves(texts: list[Any], call: Call) -> None:
    run: Path = texts[-1]
    done = call(*texts, "--track")
    assert done.code == 0
    assert f"learning curves: tensorboard --logdir {run / TENSORBOARD}" in done.out
    [folder] = (run / TENSORBOARD).iterdir()
    assert folder.name.startswith("learn-text-")
    curve = json.loads((run / "encoders" / "text" / "curve.json").read_text(encoding="utf-8"))
    check_curve(folder, curve["epochs"])

    assert call("fuse", "--run", run, "-m", "t", "--seeds", 2, "--track").code == 0
    [fused] = [path for path in (run / TENSORBOARD).iterdir() if path != folder]
    assert fused.name.startswith("fuse-multi-logistic-t-")
    assert {path.name for path in fused.iterdir()} == {"T_seed_0", "T_seed_1"}
    about = fusion_about(run / "fusion" / "multi-logistic-t")
    assert about is not None
    check_curve(fused / "T_seed_0", about["rows"][0]["curve"]["epochs"])

    again = call("fuse", "--run", run, "-m", "t", "--seeds", 2)
    assert "learning curves" not in again.out


def test_without_the_package_nothing_begins(
    texts: list[Any], tmp_path: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "torch.utils.tensorboard":
            raise ModuleNotFoundError("No module named 'tensorboard'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    for words in (
        [*texts[:-1], tmp_path / "run"],
        ["fuse", "--run", tmp_path / "run"],
        ["run", TABLE2, "--dataset", "synthetic", "--runs", tmp_path / "runs"],
    ):
        done = call(*words, "--track")
        assert done.code == 1
        assert "pip install 'mmgenre[track]'" in done.err
    assert list(tmp_path.iterdir()) == []


def test_an_experiment_tracks_among_its_steps(small: Small, tmp_path: Path) -> None:
    how: dict[str, Any] = {"dataset": str(small.manifest), "overlay": TINY, "runs": tmp_path}
    assert prepare_experiment(TABLE2, **how, track=True).track
    seen: list[Progress] = []
    provenance = Provenance("encoder", 1, {})
    artefact = Artefact(
        "learn", "audio", tmp_path / "a", provenance, (), lambda: None, seen.append, trains=True
    )
    carry_out([artefact], tmp_path, track=True)
    carry_out([artefact], tmp_path)
    assert isinstance(seen[0], Tracked)
    name = f"learn-audio-{provenance.fingerprint[:8]}"
    assert seen[0].folder == tmp_path / TENSORBOARD / name
    assert not isinstance(seen[1], Tracked)
