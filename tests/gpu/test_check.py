"""The checks of a GPU, in their smallest size on the CPU."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import check
import pytest
import torch
from torch import Tensor, nn

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    n = torch.get_num_threads()
    yield
    torch.set_num_threads(n)


@pytest.fixture
def _three_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    def some(small: bool) -> Iterator[check.Case]:
        yield check.audio_case("low-4x70", small)
        yield check.text_case(small)
        yield check.image_case("cnn-5x5", small)

    monkeypatch.setattr(check, "cases", some)


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
    compute, n_calls = check.outputs_and_gradients, 0

    def wrong(network: nn.Module, x: Tensor) -> list[Tensor]:
        nonlocal n_calls
        n_calls += 1
        output, *gradients = compute(network, x)
        if n_calls == 3:  # the first network on the device
            gradients[0] = gradients[0] * 1.05
        return [output, *gradients]

    monkeypatch.setattr(check, "outputs_and_gradients", wrong)
    assert check.main(["--small", "--only", "networks"]) == 1
    missed = [line for line in capsys.readouterr().out.splitlines() if "MISS" in line]
    assert len(missed) == 1
    assert "low-4x70, gradients" in missed[0]


@pytest.mark.parametrize(("order", "error"), [(float("inf"), 0.02), (2.0, 0.01)])
def test_an_error_is_relative_to_the_tensor_and_never_nan(order: float, error: float) -> None:
    exact = [torch.tensor([50.0, 50.0, 50.0, 50.0]), torch.tensor([0.0])]
    off = [torch.tensor([50.0, 50.0, 51.0, 50.0]), exact[1]]
    assert check.largest_error(off, exact, order) == pytest.approx(error)
    assert check.largest_error([exact[0], torch.tensor([0.5])], exact, order) == 0.5
    nan = torch.tensor([float("nan")])
    assert check.largest_error([exact[0], nan], exact, order) == float("inf")


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a CUDA device")
def test_without_a_device_it_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main([]) == 2
    assert "no CUDA device here; --small runs the checks on the CPU" in capsys.readouterr().err


@pytest.mark.slow
def test_the_whole_script_passes_in_small() -> None:
    command = [sys.executable, str(Path(check.__file__)), "--small"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resume" in done.stdout
