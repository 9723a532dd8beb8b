"""Texts as a kind of medium: reviews or lyrics become one string, then embeddings."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmgenre.learning.kind import EncoderType, Kind
from mmgenre.text.decoding import load_text
from mmgenre.text.entities.annotators import BUILT_IN, PATHS, annotator_of, entity_provenance
from mmgenre.text.settings import TextConfig, TextInput


def read(media: Sequence[Path | str], config: TextInput, row_id: str) -> NDArray[np.uint8]:
    """An item's texts -> UTF-8 bytes, (n_bytes,)."""
    return np.frombuffer(load_text(media, config, row_id).encode(), np.uint8)


def content(config: TextConfig) -> Mapping[str, Path]:
    """The sentence model, and the tables and models by which entities are found."""
    named = {f"input.entities.{k}": getattr(config.input.entities, k) for k in sorted(PATHS)}
    named["model"] = config.model
    return {k: Path(v) for k, v in named.items() if v is not None and v != BUILT_IN}


NETWORK = ("hidden_dim", "dropout", "embedding_dim", "training")
KIND = Kind(
    settings=TextConfig,
    inputs=TextInput,
    read=read,
    is_ragged=lambda _: True,
    encoders={
        "vsm": EncoderType(
            make="mmgenre.text.encoder:make_vsm",
            load="mmgenre.text.encoder:load_vsm",
            uses=("max_words", "max_df", "ngrams", *NETWORK),
        ),
        "sentence-transformers": EncoderType(
            make="mmgenre.text.sentences:make_sentences",
            load="mmgenre.text.sentences:load_sentences",
            uses=("model", *NETWORK),
            opens=("model",),
            check="mmgenre.text.sentences:named_model",
        ),
        "linear": EncoderType(
            make="mmgenre.text.linear:make_linear",
            load="mmgenre.text.linear:load_linear",
            fixed=True,
            uses=("embedding_dim",),
        ),
    },
    content=content,
    check_input=lambda config: annotator_of(config.entities),
    input_paths={"entities": PATHS},
    input_content=lambda config: {"entities": entity_provenance(config.entities)},
)
