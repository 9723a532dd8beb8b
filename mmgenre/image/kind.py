"""Covers as a kind of medium: pictures become squares of RGB bytes, then embeddings."""

from __future__ import annotations

from pathlib import Path

from mmgenre.image.decoding import load_image
from mmgenre.image.settings import ImageConfig, ImageInput
from mmgenre.learning.kind import EncoderType, Kind

KIND = Kind(
    settings=ImageConfig,
    inputs=ImageInput,
    read=lambda media, config, _: load_image(Path(media[0]), config),
    is_ragged=lambda _: False,
    twins=lambda _: "mmgenre.image.fingerprint:twins_in",
    encoders={
        "network": EncoderType(
            make="mmgenre.image.encoder:make_image_encoder",
            load="mmgenre.image.encoder:load",
            uses=(
                "network", "weights", "weights_sha256", "freeze", "stage_decay", "crop_px",
                "random_crop", "random_flip", "rotation_deg", "min_scale", "colour_jitter",
                "dropout", "embedding_dim", "training",
            ),
            check="mmgenre.image.encoder:make_image_encoder",
            label=lambda config: str(config.network),
        ),
        "descriptors": EncoderType(
            make="mmgenre.image.descriptors:make_descriptors",
            load="mmgenre.image.descriptors:load_descriptors",
            fixed=True,
            uses=("embedding_dim",),
        ),
    },
    content=lambda config: (  # a file of weights, unless they are named
        {} if config.weights in ("imagenet", "none") else {"weights": Path(config.weights)}
    ),
)  # fmt: skip
