"""The checks of a GPU, in their smallest size on the CPU."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import check
import gpu_cases
import parts_networks
import parts_stores
import pytest
import torch
from torch import Tensor, nn

from mmgenre.image.augmentation import views_of
from mmgenre.learning.embedding import embed
from mmgenre.learning.settings import TrainingConfig

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    n = torch.get_num_threads()
    yield
    torch.set_num_threads(n)


@pytest.fixture
def _three_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    def some(small: bool) -> Iterator[gpu_cases.Case]:
        yield gpu_cases.audio_case("low-4x70", small)
        yield gpu_cases.text_case(small)
        yield gpu_cases.image_case("cnn-5x5", small)

    monkeypatch.setattr(parts_networks, "cases", some)


@pytest.mark.usefixtures("_three_networks")
def test_networks_that_agree_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["--small", "--only", "networks"]) == 0
    table = capsys.readouterr().out
    assert table.count(" ok") == 6
    assert "MISS" not in table


@pytest.mark.usefixtures("_three_networks")
def test_a_wrong_gradient_is_a_miss(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compute, n_calls = parts_networks.outputs_and_gradients, 0

    def wrong(network: nn.Module, x: Tensor) -> list[Tensor]:
        nonlocal n_calls
        n_calls += 1
        output, *gradients = compute(network, x)
        if n_calls == 3:  # the first network on the device
            gradients[0] = gradients[0] * 1.05
        return [output, *gradients]

    monkeypatch.setattr(parts_networks, "outputs_and_gradients", wrong)
    assert check.main(["--small", "--only", "networks"]) == 1
    missed = [line for line in capsys.readouterr().out.splitlines() if "MISS" in line]
    assert len(missed) == 1
    assert "low-4x70, gradients" in missed[0]


@pytest.mark.parametrize(("order", "error"), [(float("inf"), 0.02), (2.0, 0.01)])
def test_an_error_is_relative_to_the_tensor_and_never_nan(order: float, error: float) -> None:
    exact = [torch.tensor([50.0, 50.0, 50.0, 50.0]), torch.tensor([0.0])]
    off = [torch.tensor([50.0, 50.0, 51.0, 50.0]), exact[1]]
    assert parts_networks.largest_error(off, exact, order) == pytest.approx(error)
    assert parts_networks.largest_error([exact[0], torch.tensor([0.5])], exact, order) == 0.5
    nan = torch.tensor([float("nan")])
    assert parts_networks.largest_error([exact[0], nan], exact, order) == float("inf")


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a CUDA device")
def test_without_a_device_it_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main([]) == 2
    assert "no CUDA device here; --small runs the checks on the CPU" in capsys.readouterr().err


def test_heads_of_the_paper_s_size_are_timed(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["--small", "--only", "fusion"]) == 0
    table = capsys.readouterr().out
    assert table.count("s/epoch") == table.count(" ok") == 2


def test_vectors_from_a_store_are_compared_with_those_of_the_cpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check.main(["--small", "--only", "embedding"]) == 0
    assert capsys.readouterr().out.count(" ok") == 2
    n_calls = 0

    def wrong(*words: Any, **more: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        return embed(*words, **more) * (1.01 if n_calls == 3 else 1.0)

    monkeypatch.setattr(parts_stores, "embed", wrong)
    assert check.main(["--small", "--only", "embedding"]) == 1
    missed = [line for line in capsys.readouterr().out.splitlines() if "MISS" in line]
    assert len(missed) == 1
    assert "single-label" in missed[0]


def test_views_of_another_pixel_are_a_miss(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check.main(["--small", "--only", "views"]) == 0
    n_calls = 0

    def wrong(images: Tensor, *words: Any) -> Tensor:
        nonlocal n_calls
        n_calls += 1
        return views_of(images.roll(1, 1) if n_calls == 3 else images, *words)

    monkeypatch.setattr(parts_stores, "views_of", wrong)
    assert check.main(["--small", "--only", "views"]) == 1
    assert capsys.readouterr().out.count("MISS") == 1


def test_waiting_for_batches_is_seen() -> None:
    """A store that takes as long as the steps: training waits for it, and not where it is fast."""
    device, config = torch.device("cpu"), TrainingConfig(batch_size=4, max_epochs=2)
    batch = {"x": torch.ones(4, 3), "target": torch.zeros(4, gpu_cases.N_LABELS)}

    class Slow(parts_stores.Held):
        def batch(self, rows: Any, rng: Any) -> Any:
            time.sleep(0.05)
            return super().batch(rows, rng)

    network = nn.Linear(3, gpu_cases.N_LABELS)
    _, waited = parts_stores.epoch(network, None, Slow(batch, 40), config, device)
    assert waited > 0.7


@pytest.mark.slow
@pytest.mark.parametrize("part", ["feed", "launch"])
def test_parts_that_take_longer_pass_in_small(
    part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check.main(["--small", "--only", part]) == 0
    assert capsys.readouterr().out.count(" ok") == 2


@pytest.mark.slow
def test_the_whole_script_passes_in_small() -> None:
    command = [sys.executable, str(Path(check.__file__)), "--small"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resume" in done.stdout
