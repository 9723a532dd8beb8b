"""The kinds of media, by name; a modality is of one of them (`mmgenre.items.modalities`)."""

from __future__ import annotations

from mmgenre.audio.kind import KIND as AUDIO
from mmgenre.image.kind import KIND as IMAGE
from mmgenre.items.modalities import MODALITIES
from mmgenre.learning.kind import Kind
from mmgenre.text.kind import KIND as TEXT

KINDS: dict[str, Kind] = {"audio": AUDIO, "text": TEXT, "image": IMAGE}


def kind_of(modality: str) -> Kind:
    """The kind of a modality's media."""
    return KINDS[MODALITIES[modality].medium]
