"""Cards of published datasets: where they come from, files, licence, split rule, known defects."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path

from pydantic import Field, ValidationError, model_validator

from mmgenre.config import Settings
from mmgenre.errors import ManifestError

CARD = "card.toml"


class CardFile(Settings):
    """One file of a dataset.

    `size_bytes` and `sha256` are None where nobody has measured them; `required`: whether a
    manifest can be built without it.
    """

    name: str
    holds: str
    required: bool
    size_bytes: int | None = Field(None, ge=0)
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")


class Card(Settings):
    """What a person must know before using a dataset, or about one that nobody else can have.

    `published`: whether it can be had; only one that cannot has neither addresses nor files.
    """

    title: str
    source: str
    published: bool = True
    doi: str | None = None
    urls: list[str]
    licence: str
    citation: list[str] = Field(min_length=1)
    split_rule: str
    counts: dict[str, int]
    labels: dict[str, int]  # items of each genre, where published
    files: list[CardFile]
    defects: list[str]

    @model_validator(mode="after")
    def _says_where(self) -> Card:
        if self.published != bool(self.urls and self.files):
            raise ValueError("a published dataset names urls and files; another has none")
        return self


@cache
def card_folder() -> Path:
    """The cards that come with mmgenre, in a wheel or in a clone."""
    package = Path(str(files("mmgenre")))
    inside = package / "data_manifests"
    return inside if inside.is_dir() else package.parent / "data_manifests"


def card_names() -> list[str]:
    """Names of the datasets that have a card."""
    return sorted(path.parent.name for path in card_folder().glob(f"*/{CARD}"))


def load_card(name: str) -> Card:
    """Reads a card.

    Raises:
        ManifestError: there is none of that name, or it is not a card; lists every fault.
    """
    path = card_folder() / name / CARD
    if name not in card_names():
        close = difflib.get_close_matches(name, card_names(), n=2)
        hint = f"; did you mean {' or '.join(close)}?" if close else ""
        known = ", ".join(card_names())
        raise ManifestError(f"card {name!r}", [f"no such dataset{hint} known: {known}"])
    try:
        return Card.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ManifestError(str(path), [f"not TOML: {error}"]) from None
    except ValidationError as error:
        faults = [
            f"{'.'.join(map(str, fault['loc'])) or 'card'}: {fault['msg']}"
            for fault in error.errors(include_url=False)
        ]
        raise ManifestError(str(path), faults) from None


def where_to_get(card: Card, names: Iterable[str], folder: Path) -> list[str]:
    """One sentence for each file that is not there: its name, where to get it, where to put it."""
    known = {file.name: file for file in card.files}
    doi = f" (doi {card.doi})" if card.doi else ""
    return [
        f"no file {name!r} ({known[name].holds}); it is part of {card.title}: get it from "
        f"{card.urls[0]}{doi}, unpack it, and put it into {folder}"
        for name in names
    ]
