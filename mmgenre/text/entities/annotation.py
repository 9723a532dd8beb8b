"""What every annotator returns, and how a text is enriched with it (Oramas 2018, sec. 3.2)."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Annotation:
    """One mention and the entity it is linked to."""

    surface: str
    entity: str
    categories: tuple[str, ...]
    score: float = 1.0  # the annotator's confidence; comparable within one annotator only
    span: tuple[int, int] | None = None  # half open, in code points; None: the source has none


class Annotator(Protocol):
    """Finds entities in a text; safe to use from several threads."""

    def annotate(self, text: str) -> Sequence[Annotation]:
        """The linked mentions in their order. Raises InputError (annotation) if that fails."""


def enrich(text: str, annotations: Sequence[Annotation]) -> str:
    r"""The text, and on a line of its own the categories of its entities as words.

    An entity counts once, however often it is mentioned, so that long reviews do not count more.
    A category that several entities share is repeated: its term frequency is their number.

    >>> enrich("Duke led.", [Annotation("Duke", "Duke_Ellington", ("Swing music", "1930s jazz"))])
    'Duke led.\ncategory_swing_music category_1930s_jazz'
    """
    categories_of: dict[str, tuple[str, ...]] = {}
    for annotation in annotations:
        categories_of.setdefault(annotation.entity, annotation.categories)
    words = [category_word(c) for categories in categories_of.values() for c in categories]
    return f"{text}\n{' '.join(words)}" if words else text


def category_word(category: str) -> str:
    r"""A category as one token of `(?u)\b\w\w+\b`, scikit-learn's default.

    >>> category_word("R&B albums, 1970–1979")
    'category_r_b_albums_1970_1979'
    """
    folded = unicodedata.normalize("NFKC", category).casefold()
    return "category_" + re.sub(r"\W+", "_", folded).strip("_")
