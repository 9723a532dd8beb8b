"""Several ranks train as one process does; what happens if one is slow, fails or dies."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import ranks
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from mmgenre.datasets.synthetic import make_catalogue
from mmgenre.errors import MmgenreError
from mmgenre.learning import processes
from mmgenre.pipeline.commands import extract_features, fuse

SCRIPT = Path(ranks.__file__)
LIMIT_S = 240  # two starts of torch per process, on a machine that others use
DEFAULTS = ("--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no")


def launch(*words: str, n: int = 2) -> subprocess.CompletedProcess[str]:
    """Runs a script or `-m module` in n processes on CPUs."""
    launcher = [
        *(sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--multi_gpu"),
        *(f"--num_processes={n}", f"--main_process_port={ranks.free_port()}", *DEFAULTS),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [*launcher, *words],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env=environment,
    )


def do(folder: Path, *tasks: str, n: int = 2) -> Path:
    """Does tasks of `ranks.py` on n ranks; one is this process."""
    if n == 1:
        ranks.do(tasks, folder)
    else:
        assert ranks.run(folder, *tasks, n=n) == [0] * n
    return folder


TASKS = (
    *("fit", "odd", "steps", "rough", "evaluate"),  # by one process, too
    *("rough_steps", "nested", "fail", "plan"),
)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return do(tmp_path_factory.mktemp("alone"), *TASKS[:5], n=1)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return do(tmp_path_factory.mktemp("two"), *TASKS)


def words(folder: Path, n: int = 2) -> list[Any]:
    """What each rank wrote."""
    return [json.loads((folder / f"{k}.json").read_text(encoding="utf-8")) for k in range(n)]


def losses(file: Path) -> list[dict[str, float]]:
    with safe_open(file, framework="pt") as saved:
        epochs = json.loads(saved.metadata()["log"])
    return [epoch | epoch.pop("metrics", {}) for epoch in epochs]


def assert_near(a: Path, b: Path) -> None:
    """Two trainings: the same curve, the same weights, rounding apart."""
    for one, other in zip(losses(a), losses(b), strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    ours, theirs = load_file(a), load_file(b)
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-5)


@pytest.mark.parametrize("task", ["fit", "odd", "steps"])
def test_two_ranks_learn_what_one_learns(task: str, alone: Path, two: Path) -> None:
    """Unequal parts, parts of parts, and a last batch that cannot be split, included."""
    one = alone / task / "0.safetensors"
    assert len(losses(one)) == (4 if task == "steps" else 6)
    assert losses(one)[-1]["val_loss"] < losses(one)[0]["val_loss"]
    for rank in range(2):
        assert_near(one, two / task / f"{rank}.safetensors")


@pytest.mark.slow
def test_three_ranks_learn_what_one_learns(alone: Path, tmp_path: Path) -> None:
    three = do(tmp_path, "fit", "odd", n=3)
    for task in ("fit", "odd"):
        for rank in range(3):
            assert_near(alone / task / "0.safetensors", three / task / f"{rank}.safetensors")


@pytest.mark.parametrize("task", ["fit", "odd", "rough", "steps", "rough_steps"])
def test_all_ranks_end_with_the_same_weights_to_the_bit(task: str, two: Path) -> None:
    """Running statistics of batch norm, and the best epoch, included."""
    main, other = (two / task / f"{rank}.safetensors" for rank in range(2))
    assert losses(main) == losses(other)
    ours, theirs = load_file(main), load_file(other)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_each_rank_has_its_own_views_and_dropout(alone: Path, two: Path) -> None:
    [one] = words(alone / "rough", 1)
    main, other = words(two / "rough")
    assert main["views"] != other["views"]
    assert main["dropout"] != other["dropout"]
    assert main["dropout"] == one["dropout"]  # rank 0 has the seed of a single process
    assert load_file(two / "rough" / "0.safetensors")["1.num_batches_tracked"] > 0


def test_a_validation_loss_is_the_same_to_the_bit(alone: Path, two: Path) -> None:
    [one] = words(alone / "evaluate", 1)
    assert words(two / "evaluate") == [one, one]
    assert len(set(one)) == 4


def test_from_main_broadcasts_what_rank_0_finds_alone(two: Path) -> None:
    assert words(two / "nested") == [[[0, 1, 0, 1], [0, 2]], [[0, 1, 0, 1], [1, 2]]]


def test_a_failure_of_rank_0_is_raised_on_all_and_a_common_one_ends_no_run(two: Path) -> None:
    (own, *after), (other, *other_after) = words(two / "fail")
    assert own.startswith("ValueError: invalid literal")
    assert other.startswith(f"ElsewhereError: rank 1 of 2: rank 0 failed: {own}")
    assert after == other_after
    assert after[0].startswith("training: epoch 1 gave losses")
    assert after[1:] == ["in step"]


def test_a_training_that_fails_on_all_ranks_ends_itself_alone(two: Path) -> None:
    for made, failed in words(two / "plan"):
        assert made == ["first", "diverge", "last"]
        assert failed == ["training: epoch 1 gave"]


@pytest.mark.slow
def test_others_wait_for_rank_0_beyond_the_timeout_of_training(tmp_path: Path) -> None:
    do(tmp_path, "wait")
    assert words(tmp_path / "wait") == [["from", "main"]] * 2


def test_a_rank_that_fails_alone_ends_the_run(tmp_path: Path) -> None:
    assert ranks.run(tmp_path, "out_of_step") == [1, 1]
    error = json.loads((tmp_path / "out_of_step" / "1.json").read_text(encoding="utf-8"))
    assert error.startswith(
        "rank 1 of 2 failed where others may have gone on: no room on this mach"
    )


@pytest.mark.slow
@pytest.mark.parametrize("again", [2, 1])  # with as many ranks, and with fewer
def test_a_rank_that_dies_ends_the_run_which_resumes_later(
    tmp_path: Path, alone: Path, again: int
) -> None:
    done = launch(str(SCRIPT), "kill", str(tmp_path / "two"))
    assert done.returncode != 0
    assert "Signal 9 (SIGKILL)" in done.stderr
    checkpoint = tmp_path / "two" / "kill" / "checkpoint"
    folder = tmp_path / "again" / "resume"
    folder.mkdir(parents=True)
    (folder / "checkpoint").write_bytes(checkpoint.read_bytes())
    do(folder.parent, "resume", n=again)
    assert_near(folder / "0.safetensors", alone / "fit" / "0.safetensors")
    # Three epochs were done; rank 0 alone calls the progress callback.
    assert words(folder, again) == [[3, 4, 5, 6], []][:again]


# No dropout, no batch norm, no random views: one process and two give the same figures.
EXACT = (
    "split.ratios=[0.5, 0.25, 0.25]",
    'audio.encoders=["timbre"]',
    "audio.dropout=0.0",
    "audio.training.max_epochs=3",
    "audio.training.min_steps=3",  # rounding grows from step to step
    "text.hidden_dim=48",
    "text.embedding_dim=24",
    "text.dropout=0.0",
    "text.training.max_epochs=3",
    "text.training.min_steps=3",
    "image.network=cnn-5x5",
    "image.input.size_px=64",
    "image.crop_px=64",
    "image.random_crop=false",
    "image.random_flip=false",
    "image.embedding_dim=24",
    "image.training.max_epochs=1",
    "image.training.min_steps=1",
    "fusion.modality_dropout=0.0",
    "fusion.training.max_epochs=4",
)


def launched(folder: Path, manifest: Path) -> None:
    """`extract-features` and `fuse` on two ranks."""
    sets = [word for setting in EXACT for word in ("--set", setting)]
    run = ("--run", str(folder))
    extract = ("extract-features", "--manifest", str(manifest), "--recipe", "quick", *sets, *run)
    for command in (extract, ("fuse", "--seeds", "1", "--json", *run)):
        done = launch("-m", "mmgenre", *command)
        assert done.returncode == 0, done.stderr
    json.loads(done.stdout)  # printed once, by one process


def numbers(value: Any, where: str = "") -> dict[str, Any]:
    """All leaves of a tree, by their path."""
    if isinstance(value, dict):
        items: Sequence[tuple[str, Any]] = list(value.items())
    elif isinstance(value, list):
        items = [(str(k), v) for k, v in enumerate(value)]
    else:
        return {where: value}
    return {k: v for key, each in items for k, v in numbers(each, f"{where}/{key}").items()}


@pytest.mark.slow
def test_the_commands_give_the_figures_of_one_process(tmp_path: Path) -> None:
    manifest = make_catalogue(tmp_path / "catalogue", seed=1, n_albums=24)
    launched(tmp_path / "two", manifest)
    extract_features(manifest, run=tmp_path / "one", recipe="quick", settings=EXACT)
    fuse(run=tmp_path / "one", seeds=1)
    one, two = (
        numbers(json.loads((tmp_path / run / "metrics.json").read_text(encoding="utf-8")))
        | {"/run": "", "/sha256": ""}
        for run in ("one", "two")
    )
    assert one.keys() == two.keys()
    assert len(one) > 500
    for key, value in one.items():
        # Two scores that are nearly equal may change their order, which ranks show at once.
        near = 1e-3 if "auc" in key or "ap" in key else 1e-4
        close = value if isinstance(value, str | bool | None) else pytest.approx(value, abs=near)
        assert two[key] == close, key


def test_a_single_process_connects_to_nobody() -> None:
    source = (
        "import sys; from mmgenre.learning import training, processes;"
        "processes.from_main(lambda: 1); processes.leave();"
        "sys.exit('accelerate' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", source], check=False).returncode == 0
    package = Path(processes.__file__).parents[1].rglob("*.py")
    users = [
        p.name for p in package if re.search(r"(import|from) accelerate", p.read_text("utf-8"))
    ]
    assert users == ["processes.py"]
    assert processes.place() == (0, 1)
    assert processes.from_main(lambda: 3) == 3
    processes.check_all_failed(MmgenreError("of a single process"))


@pytest.mark.parametrize(
    ("environment", "error"),
    [
        ({"RANK": ""}, r"WORLD_SIZE is 4, but RANK is not set: launch"),
        ({"RANK": "0", "ACCELERATE_MIXED_PRECISION": "bf16"}, r"sets mixed precision bf16, but"),
    ],
)
def test_a_wrong_launch_is_refused(
    environment: dict[str, str], error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    for key, value in environment.items():
        if value:
            monkeypatch.setenv(key, value)
        else:
            monkeypatch.delenv(key, raising=False)
    processes._world.cache_clear()
    try:
        with pytest.raises(MmgenreError, match=error):
            processes.from_main(lambda: None)
    finally:
        processes._world.cache_clear()


def test_batch_norm_comes_back_as_it_was() -> None:
    module = ranks.rough()
    before = list(module.modules())
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    with processes._synchronised_batch_norm(module):
        assert [type(layer) for layer in module.children()][1] is nn.SyncBatchNorm
        module.eval()
        module[1].running_mean.add_(1)  # type: ignore[index]
        assert module.state_dict().keys() == state.keys()
    assert list(module.modules()) == before
    assert not any(layer.training for layer in module.modules())
    assert torch.equal(module.state_dict()["1.running_mean"], state["1.running_mean"] + 1)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_learn_with_common_batch_norm(tmp_path: Path) -> None:
    words = [
        f"--main_process_port={ranks.free_port()}",
        *DEFAULTS,
        str(SCRIPT),
        "gpus",
        str(tmp_path),
    ]
    launcher = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch"]
    done = subprocess.run(
        [*launcher, "--multi_gpu", "--num_processes=2", *words],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stderr
    # Normalised by the rows of both ranks, two parts of a batch give one GPU's weights.
    ranks.do(["gpus"], tmp_path / "one")
    ours = load_file(tmp_path / "gpus" / "0.safetensors")
    theirs = load_file(tmp_path / "one" / "gpus" / "0.safetensors")
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-2, atol=1e-3)
