"""The local annotator: an automaton finds names, prior and context choose their meanings."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import ahocorasick
import numpy as np
from numpy.typing import NDArray

from mmgenre.errors import MmgenreError
from mmgenre.text.entities.annotation import Annotation
from mmgenre.text.entities.folding import fold, mark
from mmgenre.text.entities.knowledge import KEPT, Entity, KnowledgeBase, words_of

CENTRE_OF = 512  # entities whose mean embedding is the centre

Similarity = Callable[[str, Entity], float]  # of a mention's surface and an entity: in [0, 1]
# Compares a text, without the words of the mention, which all its meanings share; for many threads.
Context = Callable[[str], Similarity]


class MentionFinder:
    """Finds all names in one pass over a text: leftmost, then longest, without overlap."""

    def __init__(self, names: Iterable[tuple[int, str]]) -> None:  # number, key (`name_key`)
        self._automaton = ahocorasick.Automaton()
        for number, key in names:
            self._automaton.add_word(key, (number, len(key)))
        self._automaton.make_automaton()

    def find(self, text: str) -> list[tuple[int, int, int]]:
        """(start, end, number of the name) in their order: the name is `text[start:end]`."""
        if not len(self._automaton):
            return []
        folded = fold(text)
        marked, starts, ends = mark(folded.text)
        # Not iter_long: pyahocorasick 2.3 misses a name within the beginning of a longer one that
        # the text does not complete.
        found = [(last + 1 - n, -n, name) for last, (name, n) in self._automaton.iter(marked)]
        mentions = []
        behind = 0
        for first, minus_length, name in sorted(found):
            if first >= behind:
                behind = first - minus_length
                start, end = folded.starts[starts[first]], folded.ends[ends[behind - 1] - 1]
                mentions.append((start, end, name))
        return mentions


class TfidfContext:
    """Cosines of tf-idf vectors, tf = 1 + log n, idf = log((1 + N) / (1 + n_w)) + 1.

    N and n_w count the base's entities. Words that are in no entity's text are ignored.
    """

    def __init__(self, base: KnowledgeBase) -> None:
        top = 1 + base.n_entities()
        self._idf = {w: math.log(top / (1 + n)) + 1 for w, n in base.n_entities_by_word().items()}
        self._vector_of = lru_cache(KEPT)(lambda entity: self._vector(entity.text))

    def __call__(self, text: str) -> Similarity:
        u = self._vector(text)
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

    def _vector(self, text: str) -> dict[str, float]:
        counts = Counter(word for word in words_of(text) if word in self._idf)
        return {word: (1 + math.log(n)) * self._idf[word] for word, n in counts.items()}


class EmbeddingContext:
    """Cosines of sentence embeddings, both centred on the mean entity; negative ones count as 0.

    Without the centre, any two texts of one language would be similar. The sentence-transformers
    model in `folder` is loaded offline. Raises MmgenreError: no such folder, or no model in it.
    """

    def __init__(self, folder: Path, entities: Iterable[Entity]) -> None:
        if not folder.is_dir():
            raise MmgenreError(f"{folder}: no such folder; a sentence-transformers model is needed")
        from sentence_transformers import SentenceTransformer  # takes seconds to import

        try:
            self._model: Any = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        except Exception as error:  # each library below raises errors of its own
            raise MmgenreError(f"{folder}: not a sentence-transformers model: {error}") from None
        self._lock = Lock()  # tokenizers keep state
        known = list(entities)
        chosen = known[:: max(1, len(known) // CENTRE_OF)]
        self._centre = self._encode([entity.text for entity in chosen]).mean(axis=0)
        self._vector_of = lru_cache(KEPT)(lambda entity: self._vector(entity.text))

    def __call__(self, text: str) -> Similarity:
        u = self._vector(text)
        # An embedding cannot leave the surface out.
        return lambda _, entity: max(0.0, float(u @ self._vector_of(entity)))

    def _vector(self, text: str) -> NDArray[np.float32]:
        """A centred embedding of length 1, (dim,)."""
        vector = self._encode([text])[0] - self._centre
        return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), np.float32)

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Embeddings of length 1, (n, dim)."""
        with self._lock:
            encoded = self._model.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(encoded, np.float32)


@dataclass
class LocalAnnotator:
    """Links mentions to the entities of a knowledge base.

    A meaning e of a name has the prior p_e and the likelihood ratio 1 + w s_e, where s_e is its
    similarity to the text and w `context_weight`. What the priors lack to 1 belongs to meanings
    that the base does not know, whose ratio is 1:

        score(e) = p_e (1 + w s_e) / (sum_i p_i (1 + w s_i) + 1 - sum_i p_i)

    So without context the score is the prior. The best meaning is taken if its score reaches
    `nil_threshold`; otherwise the mention stays unlinked. If the base writes a name with a capital
    (Kiss, Yes, Can) and the text does not, its prior is multiplied by `case_weight`.
    """

    base: KnowledgeBase
    context: Context
    _: KW_ONLY
    nil_threshold: float
    context_weight: float
    case_weight: float

    def __post_init__(self) -> None:
        self._finder = MentionFinder(self.base.names())

    def annotate(self, text: str) -> Sequence[Annotation]:
        mentions = self._finder.find(text)
        if not mentions:
            return []
        similarity = self.context(text)
        best: dict[tuple[int, str], tuple[Entity, float]] = {}
        annotations = []
        for start, end, name in mentions:
            surface, span = text[start:end], (start, end)
            if (name, surface) not in best:
                best[name, surface] = self._best_sense(name, surface, similarity)
            entity, score = best[name, surface]
            if score >= self.nil_threshold:
                annotations.append(Annotation(surface, entity.name, entity.categories, score, span))
        return annotations

    def _best_sense(self, name: int, surface: str, similarity: Similarity) -> tuple[Entity, float]:
        is_lower = surface == surface.lower()
        senses = self.base.senses(name)
        p, weights = [], []
        for sense in senses:
            lacks_capital = is_lower and sense.written != sense.written.lower()
            p.append(sense.prior * (self.case_weight if lacks_capital else 1))
            weights.append(p[-1] * (1 + self.context_weight * similarity(surface, sense.entity)))
        total = sum(weights) + max(0.0, 1 - sum(p))
        best = max(range(len(senses)), key=weights.__getitem__)  # the first, commonest, if equal
        return senses[best].entity, weights[best] / total
