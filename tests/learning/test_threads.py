"""Vectors do not depend on the number of threads that compute them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mmgenre.audio.encoder import AudioEncoder
from mmgenre.audio.settings import AudioConfig
from mmgenre.disk.provenance import Provenance
from mmgenre.image.encoder import ImageEncoder
from mmgenre.image.settings import ImageConfig
from mmgenre.learning.embedding import embed
from mmgenre.learning.kernel import KernelEncoder
from mmgenre.learning.threads import MOST, map_by_threads
from mmgenre.learning.training import seeded

N = 20


class Rows:
    def __init__(self, rows: NDArray[np.generic]) -> None:
        self.rows = rows

    def views(self, ids: Sequence[str], rng: object) -> NDArray[np.generic]:
        return self.rows[[int(i) for i in ids]]


def hashes(n: int) -> list[str]:
    """Of the vectors of some rows, by untrained networks of a fixed seed, with n threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    rng = np.random.default_rng(0)
    covers = rng.integers(0, 256, (N, 1, 96, 96, 3)).astype(np.uint8)
    image = ImageConfig(network="resnet-50", weights="none", crop_px=96)
    audio = AudioConfig(network="low-3x3", width_multiplier=0.1, embedding_dim=64)
    patches = rng.normal(size=(N, 1, audio.patch_frames, 96)).astype(np.float16)
    rows = rng.normal(size=(N, 1, 300)).astype(np.float32)
    found = []
    try:
        for make, views in (
            (lambda: ImageEncoder(image), covers),
            (lambda: AudioEncoder(audio, "logistic"), patches),
            (lambda: KernelEncoder((100, 200), 2048).fit(rows[:, 0]), rows),
        ):
            network: Any = seeded(0, make)
            vectors = embed(network, Rows(views), [str(k) for k in range(N)])
            found.append(hashlib.sha256(vectors.tobytes()).hexdigest())
        assert torch.get_num_threads() == n  # as before
    finally:
        torch.set_num_threads(before)
    return found


def test_vectors_are_the_same_with_one_thread_and_with_two() -> None:
    """Those of threads that share a batch are not: `encoder.map_by_threads = map` shows it."""
    one = hashes(1)
    assert len(set(one)) == 3
    assert hashes(2) == one


@pytest.fixture
def three() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three")
def test_results_come_in_order_and_each_by_one_thread() -> None:
    def squared(k: int) -> tuple[int, int]:
        return k * k, torch.get_num_threads()

    assert list(map_by_threads(squared, range(40))) == [(k * k, 1) for k in range(40)]
    assert torch.get_num_threads() == 3
    assert list(map_by_threads(squared, [])) == []


@pytest.mark.usefixtures("three")
def test_few_batches_are_taken_ahead() -> None:
    taken: list[int] = []

    def batches() -> Iterator[int]:
        for k in range(20):
            taken.append(k)
            yield k

    for done in map_by_threads(lambda k: k, batches()):
        assert len(taken) <= done + 5


@pytest.mark.usefixtures("three")
def test_an_error_is_that_of_the_batch_and_threads_are_as_before() -> None:
    def odd(k: int) -> int:
        if k == 5:
            raise ValueError("batch 5")
        return k

    with pytest.raises(ValueError, match="batch 5"):
        list(map_by_threads(odd, range(10)))
    assert torch.get_num_threads() == 3


def test_memory_bounds_the_number_of_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(MOST + 5)
    try:
        taken: list[int] = []

        def batches() -> Iterator[int]:
            for k in range(50):
                taken.append(k)
                yield k

        results = map_by_threads(lambda k: k, batches())
        assert next(results) == 0
        assert len(taken) == MOST + 1
        results.close()
        assert torch.get_num_threads() == MOST + 5
    finally:
        torch.set_num_threads(before)


def test_the_number_of_threads_is_noted_and_no_part_of_the_fingerprint() -> None:
    made = Provenance("stage", 1, {})
    noted = made.as_dict()
    assert noted["made_by"].endswith(f", threads: {torch.get_num_threads()}")
    again = Provenance(**{key: value for key, value in noted.items() if key != "fingerprint"})
    assert again.fingerprint == made.fingerprint
    assert again.as_dict() == noted  # a copy was made by whoever made the first
