"""Mentions: the longest names of the knowledge base that stand in a text as whole words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import ahocorasick

from mmgenre.text.entities.folding import fold, mark


@dataclass(frozen=True)
class Mention:
    """`text[start:end]` of the original text is the name with this number."""

    start: int
    end: int
    name: int


class MentionFinder:
    """One pass over a text finds all names; leftmost first, the longest of those, no overlap."""

    def __init__(self, names: Iterable[tuple[int, str]]) -> None:
        """Takes numbers and keys of names (see `name_key`)."""
        self._automaton = ahocorasick.Automaton()
        for number, key in names:
            self._automaton.add_word(key, (number, len(key)))
        self._automaton.make_automaton()

    def find(self, text: str) -> list[Mention]:
        """The mentions in their order, with offsets into `text` as it was given."""
        if not len(self._automaton):
            return []
        folded = fold(text)
        marked = mark(folded.text)
        # Not iter_long: pyahocorasick 2.3 loses a name where a longer one breaks off after it.
        found = [(last + 1 - n, -n, name) for last, (name, n) in self._automaton.iter(marked.text)]
        mentions = []
        behind = 0
        for first, minus_length, name in sorted(found):
            if first >= behind:
                behind = first - minus_length
                start, end = marked.starts[first], marked.ends[behind - 1]
                mentions.append(Mention(folded.starts[start], folded.ends[end - 1], name))
        return mentions
