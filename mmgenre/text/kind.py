"""Texts as a kind of medium: reviews or lyrics become one string, then embeddings."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgenre.frozen.types import check_input, content_of
from mmgenre.learning.kind import EncoderType, Kind
from mmgenre.text.decoding import load_text
from mmgenre.text.entities.annotators import BUILT_IN, PATHS, annotator_of, entity_provenance
from mmgenre.text.settings import GONE, TextConfig, TextInput


def read(media: Sequence[Path | str], config: TextInput, row_id: str) -> NDArray[Any]:
    """An item's texts -> UTF-8 bytes, (n_bytes,)."""
    return np.frombuffer(load_text(media, config, row_id).encode(), np.uint8)


def check(config: TextInput) -> None:
    """Raises an error if the annotator, or the model, cannot be had."""
    annotator_of(config.entities)
    check_input(config)


def content(config: TextConfig) -> Mapping[str, Path]:
    """The tables and models by which entities are found."""
    named = {f"input.entities.{k}": getattr(config.input.entities, k) for k in sorted(PATHS)}
    return {k: Path(v) for k, v in named.items() if v is not None and v != BUILT_IN}


NETWORK = ("hidden_dim", "dropout", "embedding_dim", "training")
KIND = Kind(
    settings=TextConfig,
    inputs=TextInput,
    read=read,
    embed=lambda config: config.frozen and "mmgenre.frozen.batches:vectors_of_texts",
    is_ragged=lambda config: config.frozen is None,
    encoders={
        "vsm": EncoderType(
            make="mmgenre.text.encoder:make_vsm",
            load="mmgenre.text.encoder:load_vsm",
            uses=("max_words", "max_df", "ngrams", *NETWORK),
        ),
        "linear": EncoderType(
            make="mmgenre.text.linear:make_linear",
            load="mmgenre.text.linear:load_linear",
            fixed=True,
            uses=("embedding_dim",),
        ),
    },
    pieces="mmgenre.text.pieces:PIECES",
    gone=GONE,
    content=content,
    check_input=check,
    input_paths={"entities": PATHS},
    input_content=lambda config: {
        "entities": entity_provenance(config.entities),
        **content_of(config),
    },
)
