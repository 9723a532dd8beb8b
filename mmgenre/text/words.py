"""The words of a text in any script; pairs of characters where a script has no spaces."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from functools import cache
from itertools import pairwise
from unicodedata import category

from mmgenre.learning.rows import Note

ASCII_WORD = re.compile(r"\w\w+")
# Han, kana, Thai, Lao, Myanmar and Khmer are written without spaces.
UNSPACED = (
    "\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0003ffff\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0eff\u1000-\u109f\u1780-\u17d3"
)
LEAST_WORDS, LEAST_SHARE = 3, 0.25  # known, below which a text tells too little
JOINERS = "\u200c\u200d"  # invisible, within words of Persian and of scripts of India


def words(text: str) -> list[str]:
    """Runs of two letters or more, with their marks; of scripts without spaces pairs of characters.

    For text in Latin letters the same as scikit-learn's pattern.

    >>> words("a slow song, 失真的吉他")
    ['slow', 'song', '失真', '真的', '的吉', '吉他']
    """
    if text.isascii():
        return ASCII_WORD.findall(text)
    return list(_words(text))


def known_note(text: str, vocabulary: Container[str], least_share: float = LEAST_SHARE) -> Note:
    """How many words of a text are in a vocabulary of lower-case words.

    It tells too little if their share is below `least_share`.

    >>> known_note("A sad song", {"song"}).text
    '1 of 2 words known'
    """
    found = words(text.lower())
    n = sum(word in vocabulary for word in found)
    is_thin = n < LEAST_WORDS or n < least_share * len(found)
    return Note(f"{n:,} of {len(found):,} words known", is_thin)


def _words(text: str) -> Iterator[str]:
    return (text[start:end] for start, end in spans(text))


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Where the words of a text stand, half open; pairs of characters overlap.

    >>> list(spans("a slow song"))
    [(2, 6), (7, 11)]
    """
    word, character = _patterns()
    for found in word.finditer(text):
        if found[1] is None:
            if len(found[0]) > 1:
                yield found.span()
        elif len(characters := list(character.finditer(text, *found.span()))) == 1:
            yield found.span()
        else:
            yield from ((one.start(), other.end()) for one, other in pairwise(characters))


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    r"""A word, group 1 if it is a run without spaces, and a character; `\w` has no marks."""
    codes = (*range(0x300, 0x10000), *range(0x10000, 0x12000), *range(0x1E000, 0x1F000))
    marks = "".join(c for c in map(chr, codes) if category(c)[0] == "M")
    word = rf"((?:[{UNSPACED}][{marks}]*)+)|(?:(?![{UNSPACED}])[\w{marks}{JOINERS}])+"
    return re.compile(word), re.compile(rf".[{marks}]*")
