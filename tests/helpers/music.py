"""Folders of tagged music, as people have them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mutagen
import numpy as np
import soundfile
from mutagen import flac, id3, mp4
from PIL import Image

RATE_HZ = 22_050


def cover(seed: int, size_px: int = 40, suffix: str = "jpeg") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size_px, size_px, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, suffix)
    return data.getvalue()


def make_sound(path: Path, seconds: float = 1.5, hz: float = 440.0) -> Path:
    """A tone; the suffix decides the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hz * t), RATE_HZ)
    return path


def tag(path: Path, picture: bytes | None = None, **fields: str | list[str]) -> Path:
    """Writes tags by their Vorbis names, whatever the family of the file."""
    file: Any = mutagen.File(path)
    if file.tags is None:
        file.add_tags()
    values = {name: [v] if isinstance(v, str) else v for name, v in fields.items()}
    if isinstance(file.tags, id3.ID3):
        _tag_id3(file.tags, values, picture)
    elif isinstance(file, mp4.MP4):
        _tag_mp4(file, values, picture)
    else:
        for name, value in values.items():
            file[name] = value
        if picture is not None:
            own = flac.Picture()
            own.type, own.mime, own.data = 3, "image/jpeg", picture
            if isinstance(file, flac.FLAC):
                file.add_picture(own)
            else:
                import base64

                encoded = base64.b64encode(own.write()).decode()
                file["metadata_block_picture"] = [encoded]
    file.save()
    return path


ID3_NAMES: Mapping[str, Callable[..., Any]] = {
    "artist": id3.TPE1,
    "albumartist": id3.TPE2,
    "album": id3.TALB,
    "title": id3.TIT2,
    "genre": id3.TCON,
    "date": id3.TDRC,
    "language": id3.TLAN,
    "discnumber": id3.TPOS,
    "tracknumber": id3.TRCK,
    "compilation": id3.TCMP,
}


def _tag_id3(tags: Any, values: dict[str, list[str]], picture: bytes | None) -> None:
    for name, value in values.items():
        if name == "lyrics":
            tags.add(id3.USLT(encoding=3, lang="eng", desc="", text=value[0]))
        elif name in ID3_NAMES:
            tags.add(ID3_NAMES[name](encoding=3, text=value))
        elif name == "musicbrainz_trackid":
            tags.add(id3.UFID(owner="http://musicbrainz.org", data=value[0].encode()))
        else:
            described = {"musicbrainz_albumid": "MusicBrainz Album Id"}.get(name, name)
            tags.add(id3.TXXX(encoding=3, desc=described, text=value))
    if picture is not None:
        tags.add(id3.APIC(encoding=3, mime="image/jpeg", type=3, desc="", data=picture))


MP4_NAMES = {
    "artist": "©ART",
    "albumartist": "aART",
    "album": "©alb",
    "title": "©nam",
    "genre": "©gen",
    "date": "©day",
    "lyrics": "©lyr",
}


def _tag_mp4(file: Any, values: dict[str, list[str]], picture: bytes | None) -> None:
    for name, value in values.items():
        if name in MP4_NAMES:
            file[MP4_NAMES[name]] = value
        elif name in ("discnumber", "tracknumber"):
            key = {"discnumber": "disk", "tracknumber": "trkn"}[name]
            number, _, total = value[0].partition("/")
            file[key] = [(int(number), int(total or 0))]
        elif name == "compilation":
            file["cpil"] = value[0] == "1"
        else:
            own = {"musicbrainz_trackid": "MusicBrainz Track Id"}
            own |= {"musicbrainz_albumid": "MusicBrainz Album Id"}
            key = f"----:com.apple.iTunes:{own.get(name, name.upper())}"
            file[key] = [text.encode() for text in value]
    if picture is not None:
        file["covr"] = [mp4.MP4Cover(picture)]


def make_library(folder: Path) -> Path:
    """Two albums by two artists, with and without genres."""
    for artist, genre in (("One", "Rock"), ("Two", "Jazz"), ("Three", "")):
        for number in (1, 2):
            path = make_sound(folder / artist / "First" / f"{number:02}.flac", hz=200.0 * number)
            own = [genre] if genre else []
            tag(path, artist=artist, album="First", genre=own, tracknumber=str(number))
    return folder
