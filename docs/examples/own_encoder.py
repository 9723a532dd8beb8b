"""An encoder of your own: mean and deviation of each bin of the constant-Q transform.

    python docs/examples/own_encoder.py

trains it beside a built-in encoder, on 96 albums of the built-in catalogue, and prints a row for
each. In a recipe it is named as "own_encoder:MOMENTS", where Python can import this file.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from mmgenre import EncoderType, extract_features, fuse
from mmgenre.datasets.synthetic import built_in_catalogue

NAME = "own_encoder:MOMENTS"


class Moments(nn.Module):
    output_dropout = 0.0  # between the embedding and the layer of the task, in training

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding_dim = width
        self.dense = nn.Sequential(nn.Linear(192, width), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:  # (batch, 192) -> (batch, width)
        embedding: Tensor = self.dense(x)
        return embedding

    def source(self, store: Any) -> "Rows":
        return Rows(store)

    def state(self) -> dict[str, int]:  # what `load` needs, weights apart
        return {"width": self.embedding_dim}


class Rows:
    def __init__(self, store: Any) -> None:
        self.store = store

    def views(self, ids: Sequence[str], rng: object) -> NDArray[np.float32]:  # (n, 1 view, 192)
        tracks = [self.store.read(i).astype(np.float32) / 80 for i in ids]  # (frames, 96), dB
        return np.stack([np.concatenate([t.mean(0), t.std(0)]) for t in tracks])[:, None]


def make(config: Any, target: str, store: Any, train_ids: Sequence[str]) -> Moments:
    return Moments(config.options[NAME]["width"])


def load(bundle: Any) -> Moments:
    return Moments(bundle.config["width"])


MOMENTS = EncoderType(make="own_encoder:make", load="own_encoder:load")

if __name__ == "__main__":
    manifest = built_in_catalogue(n_albums=96)
    audio = {"encoders": ["statistics", NAME], "options": {NAME: {"width": 64}}}
    run, settings = "runs/own-encoder", {"audio": audio}
    extract_features(manifest, run=run, modalities=["audio"], recipe="quick", settings=settings)
    for row in fuse(["audio"], run=run)["rows"]:
        print(f"{row['name']}: {row['all']['summary']['macro_roc_auc']['mean']:.3f}")
