"""Frozen models in memory: families by what a model's config says, loaded once per process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from mmgenre.errors import WeightsError
from mmgenre.frozen.places import Place, place_of
from mmgenre.frozen.settings import FrozenInput
from mmgenre.learning.kind import resolve

Medium = Literal["audio", "text", "image"]
Floats = NDArray[np.float32]


class FrozenModel(Protocol):
    """A model that gives vectors (n, width), or (n, layers, width) with layer "weighted"."""

    width: int

    def vectors(self, batch: Any) -> Floats:
        """Of windows (n, samples) at `rate_hz`, squares (n, size, size, 3), or a list of texts."""


class AudioModel(FrozenModel, Protocol):
    """`rate_hz` is that of the model: audio of another one is resampled, never passed on."""

    rate_hz: int
    window_s: float


class ImageModel(FrozenModel, Protocol):
    """`size_px`: the side of the squares."""

    size_px: int


@dataclass(frozen=True)
class Family:
    """Models of one architecture. One family is one file, and one line in `FAMILIES`."""

    load: str  # "module:function": (`Place`, `FrozenInput`) -> a model of its medium
    knows_words: bool = False  # its models have `words`: texts -> vectors to compare with


# By medium, then by `model_type` in config.json; "timm" and "sentence-transformers" are told by
# what else lies in the folder.
FAMILIES: Mapping[str, Mapping[str, Family]] = {
    "audio": {
        **dict.fromkeys(
            ("hubert", "wav2vec2", "wavlm", "mert_model"), Family("mmgenre.frozen.hubert:load")
        ),
        "clap": Family("mmgenre.frozen.clap:load", knows_words=True),
    },
    "image": {
        **dict.fromkeys(
            ("dinov2", "dinov2_with_registers", "dinov3_vit", "vit"),
            Family("mmgenre.frozen.vision:load"),
        ),
        **dict.fromkeys(
            ("clip", "siglip", "siglip2"), Family("mmgenre.frozen.clip:load", knows_words=True)
        ),
        "timm": Family("mmgenre.frozen.timm_models:load"),
    },
    "text": {"sentence-transformers": Family("mmgenre.frozen.sentences:load")},
}


def family_of(place: Place, medium: Medium) -> Family:
    """The family that loads a model for a medium.

    Raises:
        WeightsError: none does: of another medium, unknown here, or code of the model's own.
    """
    config = place.config()
    is_timm = "architecture" in config and "model_type" not in config
    found = "timm" if is_timm else str(config.get("model_type", "?"))
    if medium == "text":
        found = "sentence-transformers"
    families = FAMILIES[medium]
    if found in families:
        return families[found]
    others = [other for other, theirs in FAMILIES.items() if found in theirs]
    what = (
        f"a model of {others[0]}" if others else f"of the type {found!r}, which is not known here"
    )
    own = "; code of its own (auto_map) is never run" if "auto_map" in config else ""
    raise WeightsError(
        f"{place.name}: is {what}{own}; types for {medium}: {', '.join(families)}. Vectors that "
        "another program made are taken by mmgenre fuse --features NAME=FILE"
    )


def load_model(reads: FrozenInput, medium: Medium) -> Any:
    """The model that settings name, ready to embed; one of this process.

    Raises:
        WeightsError: it is not here, damaged, incomplete, or cannot be read as the settings say.
    """
    return _loaded(reads, medium, place_of(reads).sha256)


@lru_cache(maxsize=4)
def _loaded(reads: FrozenInput, medium: Medium, sha256: str) -> Any:
    del sha256  # part of the cache's key: files may be replaced while this process lives
    return load_anew(place_of(reads), reads, medium)


def load_anew(place: Place, reads: FrozenInput, medium: Medium) -> Any:
    """The model in a place, shared with nobody.

    Raises:
        WeightsError: as `load_model`.
    """
    family = family_of(place, medium)
    try:
        return resolve(family.load)(place, reads)
    except WeightsError:
        raise
    except MemoryError:
        raise
    except Exception as error:  # their libraries have many errors of their own
        why = f"{type(error).__name__}: {error}"
        raise WeightsError(f"{place.folder}: cannot be loaded: {why:.500}") from None


def strictly(
    load: Any, place: Place, ignored: Sequence[str] = (), unused: Sequence[str] = (), **more: Any
) -> Any:
    """A transformers class from a folder, on the device, every weight of which must be there.

    `ignored`: beginnings of names of weights in the file that the class has no use for; `unused`:
    of weights that its vectors do not depend on.

    Raises:
        WeightsError: weights that are missing, unexpected or of another shape.
    """
    import torch

    from mmgenre.learning.devices import pick_device

    with silence():
        network, found = load.from_pretrained(
            place.folder,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            dtype=torch.float32,  # whatever it was saved in
            **more,
        )
    faults = {
        "missing": sorted(k for k in found["missing_keys"] if not k.startswith(tuple(unused))),
        "of another shape": sorted(str(key) for key in found["mismatched_keys"]),
        "not of this architecture": sorted(
            key for key in found["unexpected_keys"] if not key.startswith(tuple(ignored))
        ),
    }
    said = [f"{len(keys)} {what} (first: {keys[0]})" for what, keys in faults.items() if keys]
    if said:
        raise WeightsError(
            f"{place.folder}: its weights do not fit its config.json: {'; '.join(said)}; they "
            "would be random, so the model is refused: fetch it anew"
        )
    return network.eval().requires_grad_(False).to(pick_device())


def silence() -> Any:
    """A context in which transformers says nothing: what it would warn of is checked here."""
    from contextlib import ExitStack

    from transformers.utils import logging

    stack = ExitStack()
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    stack.callback(logging.set_verbosity, level)
    if bars:
        stack.callback(logging.enable_progress_bar)
    return stack
