"""Covers as a kind of medium: pictures become squares of RGB bytes, then embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mmgenre.frozen.types import check_input, content_of
from mmgenre.image.decoding import decode_image, load_image
from mmgenre.image.settings import ImageConfig, ImageInput
from mmgenre.learning.kind import EncoderType, Kind


def read(media: Sequence[Path | str], config: ImageInput, row_id: str) -> NDArray[Any]:
    """One cover -> a square of RGB bytes, (size, size, 3); for a model, of its own size."""
    del row_id
    if config.frozen is None:
        return load_image(Path(media[0]), config)
    from mmgenre.frozen.models import load_model  # imports torch

    model = load_model(config.frozen, "image")
    return load_image(Path(media[0]), ImageInput(size_px=model.size_px))


KIND = Kind(
    settings=ImageConfig,
    inputs=ImageInput,
    read=read,
    decode=lambda config: decode_image if config.frozen is None else None,
    embed=lambda config: config.frozen and "mmgenre.frozen.batches:vectors_of_covers",
    is_ragged=lambda _: False,
    twins=lambda config: "mmgenre.image.fingerprint" if config.frozen is None else None,
    encoders={
        "network": EncoderType(
            make="mmgenre.image.encoder:make_image_encoder",
            load="mmgenre.image.encoder:load",
            source="mmgenre.image.sources:crops_of",
            uses=(
                "network", "weights", "weights_sha256", "freeze", "stage_decay", "crop_px",
                "random_crop", "random_flip", "rotation_deg", "min_scale", "colour_jitter",
                "dropout", "embedding_dim", "training",
            ),
            check="mmgenre.image.encoder:make_image_encoder",
            label=lambda config: str(config.network),
        ),
        "descriptors": EncoderType(
            make="mmgenre.image.kernel:make_descriptors",
            load="mmgenre.image.kernel:load_descriptors",
            source="mmgenre.image.descriptors:source_of",
            fixed=True,
            uses=("embedding_dim",),
        ),
    },
    pieces="mmgenre.image.pieces:PIECES",
    content=lambda config: (  # a file of weights, unless they are named
        {} if config.weights in ("imagenet", "none") else {"weights": Path(config.weights)}
    ),
    check_input=check_input,
    input_content=content_of,
)  # fmt: skip
