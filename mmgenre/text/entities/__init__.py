"""Entities in texts, and their categories as words: VSM+SEM (Oramas 2018, sec. 3.2)."""

from mmgenre.text.entities.annotation import Annotation, Annotator, category_word, enrich
from mmgenre.text.entities.annotators import PATHS, EntityConfig, annotator_of, entity_provenance

__all__ = [
    "PATHS",
    "Annotation",
    "Annotator",
    "EntityConfig",
    "annotator_of",
    "category_word",
    "enrich",
    "entity_provenance",
]
