"""The first layer over tf-idf rows: sparse and dense rows are one function, and one training."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmgenre.learning import devices
from mmgenre.learning.devices import SPARSE_DEVICES, Batch, to_device
from mmgenre.learning.optimisation import make_optimizer
from mmgenre.learning.settings import TrainingConfig
from mmgenre.learning.training import fit
from mmgenre.text.encoder import WordLayer, sparse_tensor

N_WORDS, WIDTH = 30, 8


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def texts(n: int, seed: int = 0) -> tuple[sp.csr_matrix, Tensor]:
    rng = np.random.default_rng(seed)
    dense = np.where(rng.random((n, N_WORDS)) < 0.2, rng.random((n, N_WORDS)), 0)
    dense[1] = 0  # a text without a known word
    return sp.csr_matrix(dense.astype(np.float32)), torch.from_numpy(dense.astype(np.float32))


def test_it_begins_as_a_linear_layer() -> None:
    layer, peer = WordLayer(400, 300, 0.5), nn.Linear(400, 300)
    assert sum(p.numel() for p in layer.parameters()) == sum(p.numel() for p in peer.parameters())
    for one, other in ((layer.weight, peer.weight), (layer.bias, peer.bias)):
        assert one.abs().max() <= 1 / 20
        assert one.std().item() == pytest.approx(other.std().item(), rel=0.15)


def test_sparse_rows_are_the_rows() -> None:
    rows, dense = texts(6)
    made = sparse_tensor(rows)
    assert made.is_coalesced()
    assert torch.equal(made.to_dense(), dense)


@pytest.mark.parametrize("training", [False, True])
def test_sparse_and_dense_rows_give_the_same(training: bool) -> None:
    layer = WordLayer(N_WORDS, WIDTH, 0.0).train(training)
    rows, dense = texts(6)
    weights = torch.randn(6, WIDTH)
    outputs, gradients = [], []
    for x in (sparse_tensor(rows), dense):
        layer.zero_grad()
        outputs.append(layer(x))
        (outputs[-1] * weights).sum().backward()
        assert layer.weight.grad is not None
        assert layer.weight.grad.is_sparse == x.is_sparse
        gradients.append(layer.weight.grad.to_dense())
    torch.testing.assert_close(outputs[0], outputs[1])
    torch.testing.assert_close(gradients[0], gradients[1])
    torch.testing.assert_close(outputs[1], dense @ layer.weight + layer.bias)


def test_dropout_of_sparse_rows_is_dropout_of_words() -> None:
    layer = WordLayer(N_WORDS, N_WORDS, 0.7).train()
    with torch.no_grad():
        layer.weight.copy_(torch.eye(N_WORDS))  # the output is what is left of the input
        layer.bias.zero_()
    rows, dense = texts(6)
    n = 3000
    with torch.no_grad():
        seen = layer(sparse_tensor(sp.vstack([rows] * n).tocsr())).view(n, *dense.shape)
    assert not seen[:, dense == 0].any()
    left = seen[:, dense > 0]
    kept = (left > 0).float().mean(dim=0)
    assert (kept - 0.3).abs().max() < 0.045  # each word of each text: five standard deviations
    torch.testing.assert_close(left.amax(dim=0), dense[dense > 0] / 0.3, rtol=1e-4, atol=1e-5)


def test_a_batch_without_a_known_word_gives_the_bias() -> None:
    layer = WordLayer(N_WORDS, WIDTH, 0.5).train()
    output = layer(sparse_tensor(sp.csr_matrix(np.zeros((3, N_WORDS), np.float32))))
    output.sum().backward()
    assert torch.equal(output, layer.bias.expand(3, -1))
    assert layer.weight.grad is not None
    assert not layer.weight.grad.to_dense().any()


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_an_optimiser_takes_sparse_gradients_for_what_they_mean(kind: str) -> None:
    config = TrainingConfig.model_validate(
        {"optimizer": kind, "learning_rate": 0.05} | ({"momentum": 0.9} if kind == "sgd" else {})
    )
    rows, dense = texts(12)
    weights: list[NDArray[np.float32]] = []
    for is_sparse in (True, False):
        torch.manual_seed(1)
        layer = WordLayer(N_WORDS, WIDTH, 0.0)
        optimizer = make_optimizer(layer, config)
        for k in range(6):  # other words in each step; those of earlier ones still move
            some = np.arange(2 * k, 2 * k + 2)
            optimizer.zero_grad()
            for part in (some[:1], some[1:]):  # as in a batch in two parts
                x = sparse_tensor(rows[part]) if is_sparse else dense[part]
                layer(x).square().sum().backward()
            optimizer.step()
        weights.append(layer.weight.detach().numpy().copy())
    np.testing.assert_allclose(weights[0], weights[1], rtol=1e-5, atol=1e-6)


def test_what_an_optimiser_keeps_has_no_spread_out_gradient() -> None:
    """A checkpoint holds tensors by parameter and name, and nothing else."""
    layer = WordLayer(N_WORDS, WIDTH, 0.0)
    optimizer = make_optimizer(layer, TrainingConfig())
    layer(sparse_tensor(texts(3)[0])).sum().backward()
    optimizer.step()
    state = optimizer.state_dict()["state"]
    assert all(set(s) == {"step", "exp_avg", "exp_avg_sq"} for s in state.values())


def test_rows_on_several_processes_are_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    layer = WordLayer(N_WORDS, WIDTH, 0.0)
    layer(sparse_tensor(texts(3)[0])).sum().backward()
    assert layer.weight.grad is not None
    assert not layer.weight.grad.is_sparse


def test_a_device_without_sparse_tensors_gets_dense_rows() -> None:
    rows, dense = texts(3)
    batch = {"x": sparse_tensor(rows), "target": torch.ones(3, 2)}
    on_cpu = to_device(batch, WordLayer(N_WORDS, WIDTH, 0.0))
    assert on_cpu["x"].is_sparse
    # Shapes without values, a device that every machine has, and none of those known to do it.
    elsewhere = to_device(batch, WordLayer(N_WORDS, WIDTH, 0.0).to("meta"))
    assert {name: x.device.type for name, x in elsewhere.items()} == {"x": "meta", "target": "meta"}
    assert not elsewhere["x"].is_sparse
    assert elsewhere["x"].shape == dense.shape
    assert [kind in SPARSE_DEVICES for kind in ("cpu", "cuda", "mps")] == [True, True, False]


def test_a_training_on_such_a_device_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    class Texts:
        def __len__(self) -> int:
            return 12

        def batch(self, rows: NDArray[np.intp], rng: object) -> Batch:
            return {"x": sparse_tensor(texts(12)[0][rows])}

    seen: set[bool] = set()

    def loss(layer: nn.Module, batch: Batch) -> Tensor:
        seen.add(batch["x"].is_sparse)
        value: Tensor = (layer(batch["x"]) - 1).square().mean()
        return value

    weights: list[Tensor] = []
    for possible in (True, False):
        monkeypatch.setattr(devices, "SPARSE_DEVICES", ("cpu",) * possible)
        torch.manual_seed(0)
        layer = WordLayer(N_WORDS, WIDTH, 0.0)
        config = TrainingConfig(max_epochs=4, batch_size=4, learning_rate=0.05)
        fit(layer, loss, Texts(), Texts(), config, seed=0, device=torch.device("cpu"))
        assert seen == {possible}
        seen.clear()
        weights.append(layer.weight.detach())
    torch.testing.assert_close(weights[0], weights[1])
