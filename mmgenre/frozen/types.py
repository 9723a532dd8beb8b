"""Frozen models as types of encoders, by the names that recipes give; no torch is imported here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

from mmgenre.config import Settings
from mmgenre.errors import WeightsError
from mmgenre.frozen.carried import carried_for
from mmgenre.frozen.places import find, place_of
from mmgenre.frozen.settings import (
    FrozenInput,
    ModelName,
    ReadByModel,
    config_of,
    names_a_model,
)
from mmgenre.learning.kind import EncoderType


@cache
def type_named(name: str) -> EncoderType | None:
    """The type of an encoder that is a frozen model; None: the name is of none.

    Raises:
        RecipeError: the name says where the model is in a way that is not known.
    """
    if not names_a_model(name):
        return None
    label = ModelName.parse(name).label
    return EncoderType(
        make=partial(_make, name),
        load="mmgenre.frozen.encoder:load",
        uses=("frozen", "embedding_dim", "training"),
        reads=partial(_reads, name),
        check=lambda _: find(ModelName.parse(name)),
        fixed=partial(_is_fixed, name),
        content=partial(_content, name),
        given=True,
        view=label,
        carried=lambda bundle: carried_for(bundle) is not None,
    )


def content_of(reads: Any) -> dict[str, object]:
    """What stands for the model in the provenance of inputs: its hash; {} without one."""
    frozen: FrozenInput | None = reads.frozen
    if frozen is None:
        return {}
    try:
        return {"frozen": place_of(frozen).sha256}
    except WeightsError:
        return {"frozen": "missing"}


def check_input(reads: Any) -> None:
    """Raises WeightsError, before media are read, if the model is not on this machine."""
    if reads.frozen is not None:
        place_of(reads.frozen)


def _is_fixed(name: str, section: Any) -> bool:
    config = config_of(section, name)
    return config.top == "vector" and config.tune == "none"


def _content(name: str, section: Any) -> dict[str, object]:
    """The model's hash, where it stands for no input: of one that is tuned."""
    if config_of(section, name).tune == "none":
        return {}
    return content_of(ReadByModel(frozen=FrozenInput(model=name)))


def _reads(name: str, section: Any) -> Settings:
    config = config_of(section, name)
    if config.tune != "none":
        plain: Settings = section.input
        return plain
    chosen = config.model_dump(include={"layer", "pool", "window_s"})
    changes: dict[str, Any] = {"frozen": FrozenInput(model=name, **chosen)}
    if "excerpt_s" in type(section.input).model_fields:
        changes["excerpt_s"] = config.excerpt_s
    if "entities" in type(section.input).model_fields:  # words of categories are for tf-idf
        changes["entities"] = type(section.input)().entities
    found: Settings = section.input.model_copy(update=changes)
    return found


def _make(name: str, section: Any, target: Any, store: Any, train_ids: Sequence[str]) -> Any:
    from mmgenre.frozen.encoder import make  # imports torch

    return make(name, section, target, store, train_ids)
