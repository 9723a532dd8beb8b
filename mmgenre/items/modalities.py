"""The modalities: the one place that lists them.

A line in `MODALITIES` adds one, for instance `"lyrics": replace(TEXT, name="lyrics", short="l")`:
manifests then have its columns, and commands its short name. Nothing is derived from `MODALITIES`
when this package is imported, so a modality may also be added at run time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Modality = str  # a key of MODALITIES
JOINT = "joint."  # before an input's name: its vector in the joint space


def modality_of(name: str) -> Modality:
    """The modality of an input: of vectors by an encoder, or of these in the joint space.

    >>> modality_of("audio.statistics"), modality_of("joint.audio.statistics")
    ('audio', 'audio')
    """
    return name.removeprefix(JOINT).partition(".")[0]


@dataclass(frozen=True)
class ModalityInfo:
    """What is known of a modality before any of its media are read."""

    name: str
    short: str  # one letter, for commands and file names
    medium: str  # "audio", "text" or "image": how its media are read
    colour: str  # in plots and pages
    marker: str  # in plots, as matplotlib names it

    @property
    def files_column(self) -> str:
        """The column of a manifest that lists the files."""
        return f"{self.name}_file" if self.medium == "text" else self.name

    @property
    def text_column(self) -> str | None:
        """The column of a manifest that holds text itself; None unless the medium is text."""
        return self.name if self.medium == "text" else None


# Okabe and Ito's palette: told apart with any of the common colour visions.
AUDIO = ModalityInfo("audio", "a", "audio", "#0072B2", "o")
TEXT = ModalityInfo("text", "t", "text", "#D55E00", "s")
IMAGE = ModalityInfo("image", "i", "image", "#009E73", "^")
# The order is the order of modalities everywhere.
MODALITIES: dict[Modality, ModalityInfo] = {"audio": AUDIO, "text": TEXT, "image": IMAGE}

# Suffixes of audio that PyAV or ffmpeg decodes, and soundfile does not.
NEED_CODECS = frozenset(
    {".m4a", ".m4b", ".mp4", ".aac", ".wma", ".ape", ".wv", ".tta", ".mka", ".webm", ".ac3"}
)
# By medium, the suffixes of files that can be read: whoever looks for media asks here. A file's
# content decides how it is decoded, and whether it can be.
SUFFIXES: Mapping[str, frozenset[str]] = {
    "audio": frozenset(
        {".wav", ".wave", ".w64", ".rf64", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"}
        | {".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".mpga"}
        | NEED_CODECS
    ),
    "image": frozenset(
        {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"}
        | {".avif", ".jp2", ".ppm", ".pgm"}
    ),
}


def short_name(name: str) -> str:
    """`a` for audio, `t` for text, `i` for image; another input keeps its name.

    >>> short_name("audio"), short_name("clap")
    ('a', 'clap')
    """
    return MODALITIES[name].short if name in MODALITIES else name


def full_name(name: str) -> str:
    """`audio` for a, `text` for t, `image` for i; another input keeps its name.

    >>> full_name("a"), full_name("clap")
    ('audio', 'clap')
    """
    return next((m for m, info in MODALITIES.items() if info.short == name), name)


def parse_modalities(text: str) -> tuple[Modality, ...]:
    """`a,t,i` or `audio,image` -> names, in the order of `MODALITIES`.

    ValueError if a name is unknown or appears twice, or if there is none.

    >>> parse_modalities("i,a")
    ('audio', 'image')
    """
    names = [full_name(part.strip().lower()) for part in text.split(",") if part.strip()]
    if not names or set(names) - MODALITIES.keys() or len(set(names)) < len(names):
        known = ", ".join(f"{info.short} ({m})" for m, info in MODALITIES.items())
        letters = ",".join(info.short for info in MODALITIES.values())
        raise ValueError(
            f"modalities {text!r}: give each of {known} at most once, "
            f"separated by commas, for instance {letters}"
        )
    return tuple(m for m in MODALITIES if m in names)
