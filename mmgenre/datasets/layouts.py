"""The layouts in which people have datasets: each is one line here and one function."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

By = Literal["track", "album"]  # what an item of a library is


@dataclass(frozen=True)
class Layout:
    """How the files of a dataset are arranged, and what reads them."""

    help: str
    # module:function in this package; not imported, so that layouts are listed without NumPy.
    reader: str
    options: tuple[str, ...] = ()  # keyword arguments that the reader takes beside the folder
    has_covers: bool = False  # the covers are part of the folder: there is no other folder of them


LAYOUTS: Mapping[str, Layout] = {
    "library": Layout(
        "tagged music",
        "library:read_library",
        ("covers", "by", "separators", "progress"),
        has_covers=True,
    ),
    "mumu": Layout("MuMu", "mumu:read_mumu", ("progress",)),
    "msdi": Layout("MSD-I", "msd:read_msdi"),
    "cls": Layout("a genre file of the Million Song Dataset", "msd:read_cls"),
    "tartarus": Layout("the arrays of Oramas 2018", "tartarus:read_tartarus", ("dataset",)),
    "folders": Layout(
        "one folder of tracks or covers per genre", "folders:read_folders", has_covers=True
    ),
    "csv": Layout("a table of items", "item_table:read_item_table", ("columns", "audio", "images")),
    "fma": Layout("FMA", "fma:read_fma", ("subset", "labels", "images")),
    "jamendo": Layout("MTG-Jamendo", "jamendo:read_jamendo", ("split", "audio")),
    "gtzan": Layout("GTZAN", "gtzan:read_gtzan", ("split",), has_covers=True),
    "music4all": Layout("Music4All", "music4all:read_music4all", has_covers=True),
    "music4all-aa": Layout(
        "Music4All A+A", "music4all:read_music4all_aa", ("subset",), has_covers=True
    ),
    "hf": Layout(
        "an audiofolder or imagefolder of Hugging Face",
        "hugging_face:read_hugging_face",
        has_covers=True,
    ),
    "mirdata": Layout("a dataset of mirdata", "mirdata_sets:read_mirdata", ("dataset",)),
    "covers20k": Layout("20k album covers", "folders:read_covers20k", has_covers=True),
}
