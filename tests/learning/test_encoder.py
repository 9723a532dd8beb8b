"""What encoders share: they learn on separable toys, embed by id, and come back from disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoders import load_encoder, make_encoder, save_network, train_encoder
from numpy.typing import NDArray

from mmgenre.audio.settings import AudioConfig
from mmgenre.disk.bundle import write_bundle
from mmgenre.disk.provenance import Provenance
from mmgenre.disk.store import FeatureStore, write_store
from mmgenre.errors import BundleError
from mmgenre.image.settings import ImageConfig, ImageInput
from mmgenre.items.modalities import Modality
from mmgenre.learning.embedding import embed
from mmgenre.learning.encoder import GenreNetwork, InputExamples, load_task_head
from mmgenre.learning.rows import item_of, mean_by_item
from mmgenre.learning.settings import TrainingConfig
from mmgenre.learning.targets import LogisticTarget
from mmgenre.learning.training import FitLog
from mmgenre.learning.validation import task_metric
from mmgenre.text.entities.annotators import EntityConfig
from mmgenre.text.settings import TextConfig, TextInput

PROVENANCE = Provenance("test", 1, {})
N, N_TRAIN = 24, 16
IDS = [f"item-{k:02d}" for k in range(N)]
CLASSES = np.arange(N) % 2


def training(learning_rate: float, epochs: int) -> TrainingConfig:
    return TrainingConfig(
        learning_rate=learning_rate, batch_size=8, max_epochs=epochs, patience=epochs
    )


CONFIGS: dict[Modality, AudioConfig | TextConfig | ImageConfig] = {
    "audio": AudioConfig(
        network="low-4x96",
        patch_s=6,
        patches=2,
        embedding_dim=12,
        training=training(3e-3, 4),
    ),
    "text": TextConfig(hidden_dim=16, embedding_dim="native", training=training(3e-2, 12)),
    "image": ImageConfig(
        network="resnet-18",
        weights="none",
        crop_px=16,
        input=ImageInput(size_px=20),
        embedding_dim=12,
        training=training(1e-3, 5),
    ),
}


def rows_of_classes(modality: Modality) -> Sequence[NDArray[np.generic]]:
    """Rows by which the two classes can be told apart."""
    rng = np.random.default_rng(0)
    rows: list[NDArray[np.generic]] = []
    for k in CLASSES:
        if modality == "audio":
            track = rng.normal(-60, 5, (int(rng.integers(100, 200)), 96))
            track[:, 20 + 40 * k : 30 + 40 * k] += 40
            rows.append(track.astype(np.float16))
        elif modality == "text":
            words = ["drums", "loud"] if k else ["piano", "soft"]
            words += [f"word{rng.integers(9)}" for _ in range(6)]
            rows.append(np.frombuffer(" ".join(rng.permutation(words)).encode(), np.uint8))
        else:
            cover = rng.integers(0, 80, (20, 20, 3))
            cover[:, :, 2 * k] += 150
            rows.append(cover.astype(np.uint8))
    return rows


def row_ids(modality: Modality) -> list[str]:
    return [f"{i}#0" for i in IDS] if modality == "audio" else IDS


@dataclass
class Trained:
    network: GenreNetwork
    encoder: Any
    log: FitLog
    store: FeatureStore
    target: LogisticTarget


def split_targets(modality: Modality) -> Mapping[str, Mapping[str, NDArray[np.float32]]]:
    vectors = np.eye(2, dtype=np.float32)[CLASSES]
    pairs = list(zip(row_ids(modality), vectors, strict=True))
    return {"train": dict(pairs[:N_TRAIN]), "val": dict(pairs[N_TRAIN:])}


def train(modality: Modality, path: Path, seed: int = 0, **changes: Any) -> Trained:
    """`changes` to the modality's settings; the metric is there for those that select by it."""
    config = CONFIGS[modality].model_copy(update=changes)
    rows = rows_of_classes(modality)
    ragged = modality != "image"
    write_store(path, modality, [(row_ids(modality), rows)], PROVENANCE, ragged=ragged)
    store, target = FeatureStore(path, modality), LogisticTarget(2, exclusive=True)
    targets = split_targets(modality)
    truth = np.array(list(targets["val"].values())) > 0
    network, log = train_encoder(
        config,
        target,
        "logistic",
        store,
        targets,
        seed=seed,
        metric=task_metric(target, truth, exclusive=True),
    )
    return Trained(network, network.encoder, log, store, target)


@pytest.mark.parametrize("modality", ["audio", "text", "image"])
def test_an_encoder_learns_embeds_and_comes_back_from_disk(
    tmp_path: Path, modality: Modality
) -> None:
    trained = train(modality, tmp_path / "store.h5")
    losses = [epoch["val_loss"] for epoch in trained.log.epochs]
    assert trained.log.best_loss < 0.5 < max(losses)  # log 2 is chance

    encoder, store = trained.encoder, trained.store
    ids = row_ids(modality)
    source = encoder.source(store)
    vectors = embed(encoder, source, ids)
    assert vectors.shape == (N, encoder.embedding_dim)
    assert vectors.dtype == np.float32
    # Held-out items lie nearer to the mean of their own class.
    centres = np.stack([vectors[:N_TRAIN][CLASSES[:N_TRAIN] == k].mean(axis=0) for k in (0, 1)])
    distances = np.linalg.norm(vectors[N_TRAIN:, None] - centres, axis=2)
    assert (distances.argmin(axis=1) == CLASSES[N_TRAIN:]).all()

    # Order and batches of the ids change nothing.
    some = [ids[k] for k in (7, 3, 20)]
    again = embed(encoder, source, some, batch_size=2)
    np.testing.assert_allclose(again, vectors[[7, 3, 20]], rtol=1e-4, atol=1e-5)

    folder = save_network(
        tmp_path / "encoder",
        modality,
        trained.network,
        trained.target,
        ["loud", "soft"],
        trained.log,
        PROVENANCE,
    )
    loaded, bundle = load_encoder(folder, modality)
    assert not loaded.training
    assert loaded.config == encoder.config
    assert bundle.files["curve.json"] == trained.log.curve()
    assert bundle.config["embedding_dim"] == encoder.embedding_dim
    np.testing.assert_array_equal(embed(loaded, loaded.source(store), ids), vectors)
    head = load_task_head(folder, modality)
    assert head.labels == ("loud", "soft")
    scores = head.scores(vectors)
    assert (scores.argmax(axis=1)[N_TRAIN:] == CLASSES[N_TRAIN:]).all()
    with torch.no_grad():
        logits = trained.network.output(torch.from_numpy(vectors))
    np.testing.assert_allclose(scores, logits.softmax(dim=1).numpy(), rtol=1e-5, atol=1e-7)
    other: Modality = "image" if modality == "text" else "text"
    with pytest.raises(BundleError, match=f"holds a '{modality} encoder', not a '{other} enc"):
        load_encoder(folder, other)
    store.close()


@pytest.mark.slow
@pytest.mark.parametrize("modality", ["audio", "text", "image"])
def test_an_encoder_learns_by_steps_with_an_average_and_mixed_rows(
    tmp_path: Path, modality: Modality
) -> None:
    rate = {"audio": 3e-3, "text": 3e-2, "image": 1e-3}[modality]
    budget = TrainingConfig(
        learning_rate=rate,
        schedule="warmup-cosine",
        batch_size=8,
        max_epochs=1,
        min_steps=40,
        min_patience_steps=40,
        select="metric",
    )
    trained = train(modality, tmp_path / "store.h5", training=budget)
    assert [epoch["step"] for epoch in trained.log.epochs] == [25, 40]
    best = trained.log.epochs[trained.log.best_epoch - 1]
    assert best["metrics"]["macro_roc_auc"] == best["metrics"]["macro_f1"] == 1.0
    assert best["val_loss"] < 0.55  # log 2 is chance
    vectors = embed(trained.encoder, trained.encoder.source(trained.store), row_ids(modality))
    assert np.isfinite(vectors).all()
    trained.store.close()


def test_the_first_bias_is_the_targets(tmp_path: Path) -> None:
    path = tmp_path / "store.h5"
    write_store(path, "text", [(IDS, rows_of_classes("text"))], PROVENANCE, ragged=True)
    target = LogisticTarget(2, exclusive=True, prior=True)
    target.fit(np.eye(2, dtype=bool)[[0] * 9 + [1] * 3])
    config = CONFIGS["text"].model_copy(update={"training": training(1e-9, 1)})
    with FeatureStore(path, "text") as store:
        targets = split_targets("text")
        network, _ = train_encoder(config, target, "logistic", store, targets, seed=0)
    assert network.output.bias.tolist() == pytest.approx(np.log([9.5 / 13, 3.5 / 13]), abs=1e-6)


def test_a_seed_decides_the_encoder(tmp_path: Path) -> None:
    states = []
    for k, seed in enumerate((3, 3, 4)):
        trained = train("text", tmp_path / f"{k}.h5", seed)
        trained.store.close()
        states.append(trained.encoder.state_dict())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert not all(torch.equal(states[0][k], states[2][k]) for k in states[0])


@pytest.mark.parametrize("modality", ["audio", "text"])
def test_an_encoders_statistics_see_training_rows_only(tmp_path: Path, modality: Modality) -> None:
    rows = list(rows_of_classes(modality))
    train_ids = row_ids(modality)[:N_TRAIN]
    made = []
    for k in range(2):
        path = tmp_path / f"{k}.h5"
        write_store(path, modality, [(row_ids(modality), rows)], PROVENANCE, ragged=True)
        with FeatureStore(path, modality) as store:
            made.append(make_encoder(CONFIGS[modality], "logistic", store, train_ids))
        rows[N_TRAIN:] = [rows[0]] * (N - N_TRAIN)  # other contents of the others
    one, other = made
    assert one.state().keys() == other.state().keys()
    if modality == "text":
        assert getattr(one, "vocabulary") == getattr(other, "vocabulary")  # noqa: B009
    else:
        assert torch.equal(one.get_buffer("mean"), other.get_buffer("mean"))
        assert torch.equal(one.get_buffer("std"), other.get_buffer("std"))
        assert one.get_buffer("mean").abs().max() > 1


class Counting:
    """Views that say which row and which view they are, (n, 3 views, 2)."""

    def views(self, ids: Sequence[str], rng: np.random.Generator | None) -> NDArray[np.float32]:
        assert rng is None
        return np.array([[[int(i), v] for v in range(3)] for i in ids], np.float32)


def test_an_embedding_is_the_mean_over_the_views(tmp_path: Path) -> None:
    class Doubling(torch.nn.Module):
        embedding_dim = 2

        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(2.0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.scale * x

    told: list[int] = []
    vectors = embed(
        Doubling(),  # type: ignore[arg-type]
        Counting(),
        ["4", "1", "9"],
        batch_size=2,
        progress=lambda task, done, total: told.append(done),
    )
    assert vectors.tolist() == [[8, 2], [2, 2], [18, 2]]
    assert told == [0, 2, 3]
    assert embed(Doubling(), Counting(), []).shape == (0, 2)  # type: ignore[arg-type]


def test_an_item_is_the_mean_of_its_tracks() -> None:
    rows = np.array([[1, 2], [3, 4], [5, 6], [7, 9]], np.float32)
    ids, means = mean_by_item(["b#0", "a#0", "b#1", "b#2"], rows)
    assert ids == ["a", "b"]
    np.testing.assert_allclose(means, np.array([[3, 4], [13 / 3, 17 / 3]]), rtol=1e-6)
    assert [item_of(i) for i in ("a#0", "a/b c#12", "plain")] == ["a", "a/b c", "plain"]
    ids, means = mean_by_item([], np.zeros((0, 2), np.float32))
    assert (ids, means.shape) == ([], (0, 2))


def test_the_network_drops_out_before_its_output_only_for_text(tmp_path: Path) -> None:
    for modality in CONFIGS:
        rows = rows_of_classes(modality)
        path = tmp_path / f"{modality}.h5"
        ids = row_ids(modality)
        write_store(path, modality, [(ids, rows)], PROVENANCE, ragged=modality != "image")
        with FeatureStore(path, modality) as store:
            config = CONFIGS[modality]
            encoder = make_encoder(config, "logistic", store, ids)
        network = GenreNetwork(encoder, 7)
        assert network.dropout.p == (0.5 if modality == "text" else 0.0)
        assert network.output.weight.shape == (7, encoder.embedding_dim)


def test_a_bundle_that_is_no_encoder_is_refused(tmp_path: Path) -> None:
    weights = {"w": torch.zeros(2)}
    folder = write_bundle(tmp_path / "x", "fusion head", {}, weights, PROVENANCE)
    with pytest.raises(BundleError, match="holds a 'fusion head', not a 'audio encoder'"):
        load_encoder(folder, "audio")
    with pytest.raises(BundleError, match="no such model folder"):
        load_encoder(tmp_path / "absent", "audio")


def test_an_encoder_of_another_version_is_refused_with_a_way_out(tmp_path: Path) -> None:
    """As text encoders were saved whose first layer was a linear one."""
    ids = row_ids("text")
    path = tmp_path / "store.h5"
    write_store(path, "text", [(ids, rows_of_classes("text"))], PROVENANCE, ragged=True)
    with FeatureStore(path, "text") as store:
        encoder = make_encoder(CONFIGS["text"], "logistic", store, ids)
    target = LogisticTarget(2, exclusive=True)
    network = GenreNetwork(encoder, 2)
    names = ["a", "b"]
    folder = save_network(tmp_path / "e", "text", network, target, names, FitLog(), PROVENANCE)
    found = load_encoder(folder, "text")[1]
    weights = {
        name.replace("hidden.0.", "hidden.1."): t.T if name == "hidden.0.weight" else t
        for name, t in found.weights.items()
    }
    assert weights.keys() != found.weights.keys()
    write_bundle(folder, found.kind, found.config, weights, PROVENANCE, files=found.files)
    message = (
        r"e: made by another version of mmgenre: .*hidden\.0\.weight.*; train again: mmgenre ex"
    )
    with pytest.raises(BundleError, match=message) as raised:
        load_encoder(folder, "text")
    assert len(str(raised.value)) < 600


def test_an_encoder_of_entities_wants_the_tables_it_learned_with(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    entities = base / "entities.tsv"
    entities.write_text("entity\ttitle\tcategories\nDrum\tDrum\tPercussion\n", encoding="utf-8")
    surfaces = "surface\tentity\tprior\ndrums\tDrum\t0.9\n"
    (base / "surfaces.tsv").write_text(surfaces, encoding="utf-8")
    linking = EntityConfig(annotator="local", knowledge_base=str(base))
    config = TextConfig(
        hidden_dim=8, embedding_dim=8, max_df=1.0, input=TextInput(entities=linking)
    )
    ids = row_ids("text")
    path = tmp_path / "store.h5"
    write_store(path, "text", [(ids, rows_of_classes("text"))], PROVENANCE, ragged=True)
    with FeatureStore(path, "text") as store:
        network = GenreNetwork(make_encoder(config, "logistic", store, ids), 2)
    target = LogisticTarget(2, exclusive=True)
    folder = save_network(
        tmp_path / "encoder", "text", network, target, ["a", "b"], FitLog(), PROVENANCE
    )
    assert load_encoder(folder, "text", [str(base)])[0].config == config
    with entities.open("a", encoding="utf-8") as file:
        file.write("Piano\tPiano\tKeyboards\n")
    with pytest.raises(BundleError, match=r"entities of other entities\.tsv than those at hand"):
        load_encoder(folder, "text", [str(base)])


class Drawing:
    """Views that say which row and which view they are; one at random, or three."""

    def views(self, ids: Sequence[str], rng: np.random.Generator | None) -> NDArray[np.float32]:
        shown = range(3) if rng is None else [int(rng.integers(10, 20))]
        return np.array([[[int(i), v] for v in shown] for i in ids], np.float32)


def test_each_view_of_a_row_is_an_example_with_the_rows_target() -> None:
    targets = np.array([[1, 0], [0, 1], [1, 1]], np.float32)
    examples = InputExamples(Drawing(), ["5", "6", "7"], targets)
    assert len(examples) == 3
    batch = examples.batch(np.array([2, 0]), None)
    assert batch["x"].tolist() == [[7, 0], [7, 1], [7, 2], [5, 0], [5, 1], [5, 2]]
    assert batch["target"].tolist() == [[1, 1]] * 3 + [[1, 0]] * 3
    drawn = examples.batch(np.array([1]), np.random.default_rng(0))
    assert drawn["x"][0].tolist() == [6, np.random.default_rng(0).integers(10, 20)]
    assert drawn["target"].tolist() == [[0, 1]]
