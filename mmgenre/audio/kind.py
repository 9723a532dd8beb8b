"""Audio as a kind of medium: tracks become constant-Q transforms or timbre, then embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mmgenre.audio.settings import AudioConfig, AudioInput
from mmgenre.frozen.types import check_input, content_of
from mmgenre.learning.kind import EncoderType, Kind


def read(media: Sequence[Path | str], config: AudioInput, row_id: str) -> NDArray[Any]:
    """One track -> log CQT in dB, (frames, 96) float16; timbre, (48,); a model's samples, (n,)."""
    del row_id
    if config.frozen is not None:
        from mmgenre.audio.frozen import load_samples  # imports torch

        return load_samples(Path(media[0]), config)
    if config.features == "cqt":
        from mmgenre.audio.cqt import load_log_cqt  # numba takes its time to import

        return load_log_cqt(Path(media[0]), config).astype("float16")
    from mmgenre.audio.timbre import load_timbre

    return load_timbre(Path(media[0]), config)


KIND = Kind(
    settings=AudioConfig,
    inputs=AudioInput,
    read=read,
    embed=lambda config: config.frozen and "mmgenre.audio.frozen:vectors_of",
    is_ragged=lambda config: config.features == "cqt" and config.frozen is None,
    twins=lambda config: (  # timbre, or a vector, is too little to tell tracks apart
        "mmgenre.audio.fingerprint"
        if config.features == "cqt" and config.frozen is None
        else None
    ),
    encoders={
        "cnn": EncoderType(
            make="mmgenre.audio.encoder:make_cnn",
            load="mmgenre.audio.encoder:load",
            source="mmgenre.audio.sources:patches_of",
            uses=(
                "network", "width_multiplier", "patch_s", "patches", "embedding_dim", "dropout",
                "spec_augment", "training",
            ),
            reads=lambda config: config.input.model_copy(update={"features": "cqt"}),
            label=lambda config: str(config.network),
        ),
        "timbre": EncoderType(
            make="mmgenre.audio.encoder:make_timbre",
            load="mmgenre.audio.encoder:load",
            source="mmgenre.audio.sources:timbre_of",
            uses=("embedding_dim", "dropout", "training"),
            reads=lambda config: config.input.model_copy(
                update={"features": config.input.features.replace("cqt", "timbre")}
            ),
        ),
        "statistics": EncoderType(
            make="mmgenre.audio.kernel:make_statistics",
            load="mmgenre.audio.kernel:load_statistics",
            source="mmgenre.audio.statistics:source_of",
            fixed=True,
            uses=("embedding_dim",),
            reads=lambda config: config.input.model_copy(update={"features": "cqt"}),
        ),
    },
    pieces="mmgenre.audio.pieces:PIECES",
    check_input=check_input,
    input_content=content_of,
)  # fmt: skip
