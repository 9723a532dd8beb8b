"""How much a text and an entity speak of the same: cosines in [0, 1], 0 where nothing is shared."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mmgenre.errors import MmgenreError
from mmgenre.text.entities.tables import Entity

WORD = re.compile(r"\w\w+")
CENTRE_OF = 512  # entities whose mean embedding counts as "speaks of nothing in particular"
KEPT = 1 << 16

Similarity = Callable[[str, Entity], float]  # of a mention's surface and an entity


class Context(Protocol):
    """A way to compare; safe to use from several threads."""

    def of(self, text: str) -> Similarity:
        """Reads a text once; what it returns compares the text with entities.

        The words of the mention itself do not count: all its meanings share them.
        """


def words_of(text: str) -> list[str]:
    """Words of two letters and more, in small letters, without a plural's s.

    >>> words_of("American jazz singers, 1950s")
    ['american', 'jazz', 'singer', '1950']
    """
    words = WORD.findall(text.casefold())
    return [w[:-1] if len(w) > 3 and w[-1] == "s" and w[-2] != "s" else w for w in words]


def text_of(entity: Entity) -> str:
    """The entity's own text: title and categories."""
    return f"{entity.title}. {'; '.join(entity.categories)}"


class TfidfContext:
    """Cosines of tf-idf vectors, tf = 1 + log n, idf = log((1 + N) / (1 + n_w)) + 1.

    N and n_w count the base's entities. Words that no entity's text has are not seen.
    """

    def __init__(self, n_entities_by_word: Mapping[str, int], n_entities: int) -> None:
        self._idf = {
            word: math.log((1 + n_entities) / (1 + n)) + 1 for word, n in n_entities_by_word.items()
        }
        self._vector_of = lru_cache(KEPT)(lambda entity: self._vector(words_of(text_of(entity))))

    def of(self, text: str) -> Similarity:
        """Reads a text once; the function compares it with entities."""
        u = self._vector(words_of(text))
        norm2 = sum(x * x for x in u.values())

        def similarity(surface: str, entity: Entity) -> float:
            own = set(words_of(surface))
            v = self._vector_of(entity)
            u_v = sum(u[word] * y for word, y in v.items() if word in u and word not in own)
            if not u_v:
                return 0.0
            u_u = norm2 - sum(u[word] ** 2 for word in own if word in u)
            v_v = sum(y * y for word, y in v.items() if word not in own)
            return min(1.0, u_v / math.sqrt(u_u * v_v))

        return similarity

    def _vector(self, words: Iterable[str]) -> dict[str, float]:
        counts = Counter(word for word in words if word in self._idf)
        return {word: (1 + math.log(n)) * self._idf[word] for word, n in counts.items()}


class EmbeddingContext:
    """Cosines of sentence embeddings, both centred on the mean entity; negative ones count as 0.

    Without the centre, two texts that share nothing but their language would be alike.
    """

    def __init__(self, folder: Path, entities: Iterable[Entity]) -> None:
        """Loads a sentence-transformers model from a folder, offline.

        Raises:
            MmgenreError: no such folder, or no model in it.
        """
        if not folder.is_dir():
            raise MmgenreError(f"{folder}: no such folder; a sentence-transformers model is needed")
        from sentence_transformers import SentenceTransformer  # takes its time to import

        try:
            self._model: Any = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        except Exception as error:  # every library below has errors of its own
            raise MmgenreError(f"{folder}: not a sentence-transformers model: {error}") from None
        self._lock = Lock()  # tokenizers keep state
        known = list(entities)
        chosen = known[:: max(1, len(known) // CENTRE_OF)]
        self._centre = self._encode([text_of(entity) for entity in chosen]).mean(axis=0)
        self._vector_of = lru_cache(KEPT)(lambda entity: self._vector(text_of(entity)))

    def of(self, text: str) -> Similarity:
        """Reads a text once; the function compares it with entities."""
        u = self._vector(text)

        def similarity(surface: str, entity: Entity) -> float:
            del surface  # an embedding cannot leave words out
            return max(0.0, float(u @ self._vector_of(entity)))

        return similarity

    def _vector(self, text: str) -> NDArray[np.float32]:
        """A centred embedding of length 1, (dim,)."""
        vector = self._encode([text])[0] - self._centre
        return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), np.float32)

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Embeddings of length 1, (n, dim)."""
        with self._lock:
            encoded = self._model.encode(
                texts, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
            )
        return np.asarray(encoded, np.float32)
