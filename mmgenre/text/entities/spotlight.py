"""DBpedia Spotlight: entities and their types from a public or an own server.

Reference: Daiber et al., "Improving efficiency and accuracy in multilingual entity extraction",
I-Semantics 2013. A server's annotate address is for instance
https://api.dbpedia-spotlight.org/en/annotate or http://localhost:2222/rest/annotate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmgenre.text.entities.annotation import Annotation
from mmgenre.text.entities.knowledge import KnowledgeBase
from mmgenre.text.entities.service import Patience, Service, code_point_span

# The same types come under several vocabularies' names; DBpedia's own are the finest.
TYPE_PREFIX = "DBpedia:"


def spotlight(
    url: str,
    confidence: float,
    base: KnowledgeBase | None = None,
    patience: Patience | None = None,
) -> Service:
    """Asks a Spotlight server, which leaves out what it is less sure of than `confidence`.

    Categories come from `base`, whose entities are DBpedia addresses or the names at their end
    (none for entities that it lacks); without a base they are the answer's DBpedia types.
    """

    def parse(answer: Any, text: str) -> Sequence[Annotation]:
        if not isinstance(answer, dict) or not {"@text", "Resources"} & answer.keys():
            raise ValueError("neither @text nor Resources")
        return [_annotation(found, text, base) for found in answer.get("Resources", [])]

    parameters = {"confidence": f"{confidence:g}"}
    return Service("spotlight", url, parameters, parse, post=True, patience=patience)


def categories_of(base: KnowledgeBase, *names: str) -> tuple[str, ...]:
    """The categories of the first of the names that the base knows; an address also by its end."""
    for name in names:
        entity = base.entity(name) or base.entity(name.rsplit("/", 1)[-1])
        if entity is not None:
            return entity.categories
    return ()


def _annotation(found: Any, text: str, base: KnowledgeBase | None) -> Annotation:
    uri, start = str(found["@URI"]), int(found["@offset"])
    n_units = len(str(found["@surfaceForm"]).encode("utf-16-le")) // 2
    span = code_point_span(text, start, start + n_units)
    if base is None:
        types = [part.strip() for part in str(found.get("@types", "")).split(",")]
        own = [t.removeprefix(TYPE_PREFIX) for t in types if t.startswith(TYPE_PREFIX)]
        categories = tuple(dict.fromkeys(own))
    else:
        categories = categories_of(base, uri)
    score = float(found.get("@similarityScore", 1.0))
    return Annotation(text[slice(*span)], uri, categories, score, span)
