"""An item: the thing that has labels, and which media belong to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from mmgenre.items.modalities import Modality

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
LIST_SEPARATOR = ";"
TRACK_SEPARATOR = "#"  # the second track of item X is X#1
LONGEST_ID = 1000  # characters

Media = tuple[Path | str, ...]


@dataclass(frozen=True)
class Item:
    """The thing that has labels: a track in MSD-I, an album in MuMu.

    `media` maps a modality to its files in order (audio: tracks; text: reviews, oldest first; a
    plain str among the texts is the text itself). A modality that the item lacks is not a key.
    """

    id: str
    artist: str = ""
    album: str = ""
    split: Split | None = None
    labels: tuple[str, ...] = ()
    media: Mapping[Modality, Media] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)
