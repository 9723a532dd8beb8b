"""Learning curves for TensorBoard: what is read back is the curve, however often it was killed."""

from __future__ import annotations

import builtins
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from curves import check_curve, stored
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_training import FAST, train

from mmgenre.errors import MmgenreError
from mmgenre.learning import optimisation
from mmgenre.learning.tracking import Tracked, check_tracking, unseen
from mmgenre.progress import silent


def test_losses_and_metrics_of_each_epoch_are_there(tmp_path: Path) -> None:
    config = FAST.model_copy(update={"select": "metric"})
    told: list[tuple[str, int, int]] = []
    shows = Tracked(lambda *words: told.append(words), tmp_path / "t")
    metric = iter(range(100))
    _, log = train(config, metric=lambda _: {"macro_roc_auc": next(metric) / 100}, progress=shows)
    assert "metrics" in log.epochs[0]
    check_curve(tmp_path / "t", log.epochs)
    assert told[-1] == ("training", len(log.epochs), 7)  # the progress is told as before


def test_without_it_nothing_is_written_and_the_weights_are_the_same(tmp_path: Path) -> None:
    plain, _ = train(FAST)
    written, _ = train(FAST, progress=Tracked(silent, tmp_path / "t"))
    assert all((plain[name] == written[name]).all() for name in plain)
    assert [path.name for path in tmp_path.iterdir()] == ["t"]


@pytest.mark.parametrize("from_the_first", [True, False])
def test_a_training_that_goes_on_has_each_point_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, from_the_first: bool
) -> None:
    folder, checkpoint = tmp_path / "t", tmp_path / "c.safetensors"
    save = optimisation.save_checkpoint

    def full(path: Path, *state: Any) -> None:
        if len(state[-1]["epochs"]) == 5:  # its points are written, and it is not saved
            raise OSError("no room")
        save(path, *state)

    monkeypatch.setattr(optimisation, "save_checkpoint", full)
    progress = Tracked(silent, folder) if from_the_first else silent
    with pytest.raises(OSError, match="no room"):
        train(FAST, checkpoint=checkpoint, progress=progress)
    assert max((step for _, step in stored(folder)), default=0) == (5 if from_the_first else 0)
    monkeypatch.undo()
    _, log = train(FAST, checkpoint=checkpoint, progress=Tracked(silent, folder))
    assert len(log.epochs) == 7
    check_curve(folder, log.epochs)


KILLED = """
import os, signal, sys
from pathlib import Path
from mmgenre.learning import optimisation
from mmgenre.learning.tracking import Tracked
from test_training import FAST, train

folder, checkpoint = map(Path, sys.argv[1:])
save = optimisation.save_checkpoint

def killed(path, *state):
    if len(state[-1]["epochs"]) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    save(path, *state)

optimisation.save_checkpoint = killed
train(FAST, checkpoint=checkpoint, progress=Tracked(lambda *_: None, folder))
"""


@pytest.mark.slow
def test_a_killed_training_has_each_point_once(tmp_path: Path) -> None:
    folder, checkpoint = tmp_path / "t", tmp_path / "c.safetensors"
    words = [sys.executable, "-c", KILLED, str(folder), str(checkpoint)]
    done = subprocess.run(
        words, env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True, check=False
    )
    assert done.returncode == -9, done.stderr[-2000:]
    assert {step for _, step in stored(folder)} == {1, 2, 3, 4}  # flushed after each epoch
    _, log = train(FAST, checkpoint=checkpoint, progress=Tracked(silent, folder))
    check_curve(folder, log.epochs)


def test_a_server_that_has_read_the_earlier_events_forgets_them(tmp_path: Path) -> None:
    train(FAST, progress=Tracked(silent, tmp_path))
    server = EventAccumulator(str(tmp_path))
    server.Reload()
    _, log = train(FAST, seed=1, progress=Tracked(silent, tmp_path))
    server.Reload()
    found = [(event.step, event.value) for event in server.Scalars("loss/validation")]
    wanted = [(epoch["epoch"], epoch["val_loss"]) for epoch in log.epochs]
    assert [step for step, _ in found] == [step for step, _ in wanted]
    assert [v for _, v in found] == pytest.approx([v for _, v in wanted], rel=1e-6)


def test_one_of_many_has_a_folder_of_its_own_and_tells_nobody(tmp_path: Path) -> None:
    told: list[str] = []
    own = unseen(Tracked(lambda task, *_: told.append(task), tmp_path), "A+T / joint, seed 0")
    own("fusion", 0, 1)
    assert told == []
    assert isinstance(own, Tracked)
    assert own.folder == tmp_path / "A+T_joint_seed_0"
    assert unseen(silent, "A") is silent


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    check_tracking()
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("tensorboard") or name == "torch.utils.tensorboard":
            raise ModuleNotFoundError("No module named 'tensorboard'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MmgenreError, match=r"pip install 'mmgenre\[track\]', or leave --track"):
        check_tracking()
