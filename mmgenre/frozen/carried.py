"""Frozen models within the folder of what was made with them, for machines that lack them."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from mmgenre.config import Settings
from mmgenre.disk.bundle import Bundle
from mmgenre.disk.files import swap, temporary_name
from mmgenre.errors import WeightsError
from mmgenre.frozen.places import Place, files_of, find, licence_in
from mmgenre.frozen.settings import ModelName

FOLDER = "frozen"  # beside `encoders`, or above
CARD = "README.md"
LEVELS = 5  # from an encoder's folder up to that of a run
Inputs = TypeVar("Inputs", bound=Settings)


def carry(models: Iterable[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Copies models (as `Place.about` describes them) with their cards; returns their folders.

    Raises:
        WeightsError: one is not on this machine, or another one now.
    """
    made = []
    for about in models:
        place = find(ModelName.parse(about["model"]))
        check_same(place, about["sha256"])
        target = folder / FOLDER / about["sha256"][:16]
        made.append(target)
        if target.is_dir() and Place(place.name, target, None, None).sha256 == about["sha256"]:
            continue
        temporary = temporary_name(target)
        try:
            card = place.folder / CARD
            for path in [*files_of(place.folder), *([card] if card.is_file() else [])]:
                copy = temporary / path.relative_to(place.folder)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
            swap(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return made


def carried_for(bundle: Bundle) -> Path | None:
    """The model that an encoder needs, where a folder above it carries it; None: nowhere."""
    about = bundle.config.get("frozen")
    sha256 = str(about["sha256"]) if isinstance(about, Mapping) else ""
    for above in list(bundle.folder.absolute().parents)[:LEVELS] if sha256.isalnum() else ():
        if (found := above / FOLDER / sha256[:16]).is_dir():
            return found
    return None


def place_for(bundle: Bundle) -> Place:
    """Where the model of an encoder lies: carried with it, or as its name says.

    Raises:
        WeightsError: it is not there, or another one now.
    """
    about = bundle.config["frozen"]
    name, folder = ModelName.parse(about["model"]), carried_for(bundle)
    place = find(name) if folder is None else Place(name, folder, None, licence_in(folder))
    check_same(place, about["sha256"])
    return place


def reading_with(reads: Inputs, bundle: Bundle) -> Inputs:
    """Settings of the inputs of an encoder, read by the model that is carried with it if one is."""
    frozen, folder = getattr(reads, "frozen", None), carried_for(bundle)
    if frozen is None or folder is None:
        return reads
    own = frozen.model_copy(update={"carried": str(folder)})
    return reads.model_copy(update={"frozen": own})


def check_same(place: Place, sha256: str) -> None:
    """Raises WeightsError if the model in a place is another one than that of a hash."""
    if place.sha256 != sha256:
        raise WeightsError(
            f"{place.folder}: holds another model than the encoder was made with (sha256 "
            f"{place.sha256[:16]}..., not {sha256[:16]}...); put that one there, or make the "
            "encoder anew: mmgenre extract-features"
        )
