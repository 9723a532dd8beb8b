"""Babelfy: BabelNet entities from its HTTP interface; the service that the paper used.

Reference: Moro, Raganato and Navigli, "Entity linking meets word sense disambiguation: a unified
approach", TACL 2, 2014. Address: https://babelfy.io/v1/disambiguate, with a key of one's own.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from mmgenre.errors import MmgenreError
from mmgenre.text.entities.annotation import Annotation
from mmgenre.text.entities.knowledge import KnowledgeBase
from mmgenre.text.entities.service import Patience, Service, code_point_span
from mmgenre.text.entities.spotlight import categories_of

KEY_VARIABLE = "MMGENRE_BABELFY_KEY"


def babelfy(
    url: str,
    language: str,
    nil_threshold: float,
    base: KnowledgeBase,
    patience: Patience | None = None,
) -> Service:
    """Asks Babelfy, and leaves out what its disambiguation scores below `nil_threshold`.

    Its answers name entities, not categories: those come from `base`, whose entities are BabelNet
    numbers (bn:00015267n), DBpedia addresses or the names at their end.

    Raises:
        MmgenreError: the environment has no key.
    """
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise MmgenreError(
            f"annotator babelfy needs a key: get one at https://babelnet.org/register and set the "
            f"environment variable {KEY_VARIABLE}"
        )

    def parse(answer: Any, text: str) -> Sequence[Annotation]:
        if not isinstance(answer, list):  # an object with a message says that the key is used up
            raise ValueError("not a list")
        found = [_annotation(one, text, base) for one in answer]
        return [annotation for annotation in found if annotation.score >= nil_threshold]

    secret = {"key": key}
    parameters = {"lang": language}
    return Service("babelfy", url, parameters, parse, post=False, secret=secret, patience=patience)


def _annotation(one: Any, text: str, base: KnowledgeBase) -> Annotation:
    fragment = one["charFragment"]
    start, last = int(fragment["start"]), int(fragment["end"])  # the end is inclusive
    span = code_point_span(text, start, last + 1)
    synset, address = str(one["babelSynsetID"]), str(one.get("DBpediaURL") or "")
    categories = categories_of(base, *filter(None, (synset, address)))
    return Annotation(text[slice(*span)], synset, categories, float(one["score"]), span)
