"""The local annotator: names found by an automaton, meanings chosen by prior and context."""

from __future__ import annotations

from collections.abc import Sequence

from mmgenre.text.entities.annotation import Annotation
from mmgenre.text.entities.context import Context, Similarity
from mmgenre.text.entities.knowledge import KnowledgeBase
from mmgenre.text.entities.mentions import MentionFinder
from mmgenre.text.entities.tables import Entity


class LocalAnnotator:
    """Links mentions to the entities of a knowledge base.

    A meaning e of a name has the prior p_e and the likelihood ratio 1 + w s_e, s_e being its
    similarity to the text and w `context_weight`; what the priors lack to 1 belongs to meanings
    that the base does not know, whose ratio is 1:

        score(e) = p_e (1 + w s_e) / (sum_i p_i (1 + w s_i) + 1 - sum_i p_i)

    So without context the score is the prior. The best meaning is taken if its score reaches
    `nil_threshold`, else the mention stays unlinked. The prior of a name that the base writes with
    a capital (Kiss, Yes, Can) is multiplied by `case_weight` where the text has none.
    """

    def __init__(
        self,
        base: KnowledgeBase,
        context: Context,
        *,
        nil_threshold: float,
        context_weight: float,
        case_weight: float,
    ) -> None:
        self._finder = MentionFinder(base.names())
        self._base, self._context = base, context
        self._nil_threshold = nil_threshold
        self._context_weight, self._case_weight = context_weight, case_weight

    def annotate(self, text: str) -> Sequence[Annotation]:
        """The linked mentions in their order."""
        mentions = self._finder.find(text)
        if not mentions:
            return []
        similarity = self._context.of(text)
        best: dict[tuple[int, str], tuple[Entity, float]] = {}
        annotations = []
        for mention in mentions:
            surface = text[mention.start : mention.end]
            if (mention.name, surface) not in best:
                best[mention.name, surface] = self._best_sense(mention.name, surface, similarity)
            entity, score = best[mention.name, surface]
            if score >= self._nil_threshold:
                span = (mention.start, mention.end)
                annotations.append(Annotation(surface, entity.name, entity.categories, score, span))
        return annotations

    def _best_sense(self, name: int, surface: str, similarity: Similarity) -> tuple[Entity, float]:
        small = surface == surface.lower()
        senses = self._base.senses(name)
        p = [
            sense.prior * (self._case_weight if small and _has_capital(sense.written) else 1)
            for sense, _ in senses
        ]
        s = [similarity(surface, entity) for _, entity in senses]
        weights = [p_i * (1 + self._context_weight * s_i) for p_i, s_i in zip(p, s, strict=True)]
        total = sum(weights) + max(0.0, 1 - sum(p))
        best = max(range(len(senses)), key=weights.__getitem__)  # of equals the commonest
        return senses[best][1], weights[best] / total


def _has_capital(name: str) -> bool:
    return name != name.lower()
