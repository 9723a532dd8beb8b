"""Which genres there are, and how each sounds, reads and looks.

No modality is enough alone. Each one pairs off six of the eight genres and gives both genres of a
pair the same family of styles; no two genres are paired in more than one modality:

    audio   Country = Folk     Rock = Pop          Jazz = Latin
    text    Rock = Metal       Electronic = Pop    Jazz = Folk
    image   Country = Rock     Electronic = Jazz   Pop = Latin
"""

from collections.abc import Mapping
from typing import NamedTuple


class Subgenre(NamedTuple):
    """A row of the taxonomy: how often it is made, and the style it has in each modality."""

    weight: int  # albums of 240 whose main label it is
    audio: str
    text: str
    image: str


SUBGENRES: Mapping[str, Subgenre] = {
    "Rock/Indie Rock": Subgenre(20, "band.jangle", "riff", "road.figure"),
    "Rock/Classic Rock": Subgenre(16, "band.drive", "riff", "road.desert"),
    "Rock/Punk": Subgenre(12, "band.fast", "riff", "road.town"),
    "Rock/Progressive Rock": Subgenre(8, "band.slow", "riff", "road.hills"),
    "Electronic/House": Subgenre(16, "club.house", "hook", "modern.grid"),
    "Electronic/Techno": Subgenre(12, "club.techno", "hook", "modern.bars"),
    "Electronic/Ambient": Subgenre(9, "club.ambient", "hook", "modern.void"),
    "Electronic/Drum & Bass": Subgenre(7, "club.breaks", "hook", "modern.rings"),
    "Pop/Dance Pop": Subgenre(15, "band.fast", "hook", "bright.rays"),
    "Pop/Indie Pop": Subgenre(12, "band.jangle", "hook", "bright.dots"),
    "Pop/Ballads": Subgenre(9, "band.slow", "hook", "bright.face"),
    "Jazz/Swing": Subgenre(12, "combo.swing", "room", "modern.bars"),
    "Jazz/Vocal Jazz": Subgenre(10, "combo.soft", "room", "modern.spotlight"),
    "Jazz/Latin Jazz": Subgenre(7, "combo.clave", "room", "modern.grid"),
    "Metal/Thrash": Subgenre(10, "heavy.fast", "riff", "dark.spikes"),
    "Metal/Doom": Subgenre(8, "heavy.slow", "riff", "dark.ruin"),
    "Metal/Black Metal": Subgenre(6, "heavy.blast", "riff", "dark.sigil"),
    "Folk/Singer-Songwriter": Subgenre(11, "acoustic.ballad", "room", "hand.leaf"),
    "Folk/Celtic": Subgenre(9, "acoustic.picking", "room", "hand.knot"),
    "Country/Honky-Tonk": Subgenre(7, "acoustic.shuffle", "south", "road.town"),
    "Country/Bluegrass": Subgenre(6, "acoustic.picking", "south", "road.barn"),
    "Country/Outlaw Country": Subgenre(4, "acoustic.ballad", "south", "road.desert"),
    "Latin/Salsa": Subgenre(8, "combo.clave", "fiesta", "bright.rays"),
    "Latin/Bossa Nova": Subgenre(6, "combo.soft", "fiesta", "bright.face"),
}

# Where an album's further labels come from, if not from its own top-level genre.
RELATED: Mapping[str, tuple[str, ...]] = {
    "Rock": ("Metal", "Pop", "Folk"),
    "Electronic": ("Pop", "Jazz"),
    "Pop": ("Rock", "Electronic", "Latin"),
    "Jazz": ("Latin", "Electronic"),
    "Metal": ("Rock", "Electronic"),
    "Folk": ("Country", "Rock"),
    "Country": ("Folk", "Rock"),
    "Latin": ("Jazz", "Pop"),
}


def top_level(label: str) -> str:
    """The genre that a taxonomy path begins with.

    >>> top_level("Jazz/Vocal Jazz")
    'Jazz'
    """
    return label.split("/")[0]
