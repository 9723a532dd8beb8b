"""Texts as names are compared: without case, width or typographic variants, offsets kept.

Folding changes lengths ('İ' becomes two characters, 'ß' too, an accent after its letter none), so
every folded character remembers where it came from.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

WORD_START, WORD_END = "\x02", "\x03"
APOSTROPHES = str.maketrans("\u2019\u2018\u02bc\u00b4", "''''")
# Hyphens count as spaces: hip-hop is hip hop. Control characters cannot pass for our marks.
SPACING = re.compile(r"[\s\-\u2010-\u2015\x00-\x1f]+")
ASCII_WORD = re.compile(r"[a-z0-9_]+")
# Han and kana are written without spaces: every one of them begins and ends a word.
UNSPACED = "\u3005-\u3007\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"


@dataclass(frozen=True)
class Folded:
    """A folded text; character i comes from [starts[i], ends[i]) of the original."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]


@dataclass(frozen=True)
class Marked:
    """A folded text with a mark at the start and at the end of each word.

    `starts` and `ends` lead from the position of a mark to the word's bound in the folded text.
    """

    text: str
    starts: Mapping[int, int]
    ends: Mapping[int, int]


def fold(text: str) -> Folded:
    """NFKC and casefold, letter by letter with the accents that follow it.

    >>> folded = fold("İs Größe")
    >>> folded.text, [folded.starts[i] for i in (0, 1, 2)]
    ('i\u0307s grösse', [0, 0, 1])
    """
    if text.isascii():
        return Folded(text.lower(), range(len(text)), range(1, len(text) + 1))
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for cluster in _patterns()[0].finditer(text):
        first, last = cluster.span()
        if cluster[0].isascii():
            pieces.append(cluster[0].lower())
            starts += range(first, last)
            ends += range(first + 1, last + 1)
        else:
            pieces.append(_fold_cluster(cluster[0]))
            starts += [first] * len(pieces[-1])
            ends += [last] * len(pieces[-1])
    return Folded("".join(pieces), starts, ends)


def mark(folded: str) -> Marked:
    r"""Marks the words, so that whoever looks for marked names finds whole words alone.

    >>> mark("hip-hop!").text
    '\x02hip\x03 \x02hop\x03'
    """
    pieces: list[str] = []
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    length = behind = 0
    for word in (ASCII_WORD if folded.isascii() else _patterns()[1]).finditer(folded):
        gap = folded[behind : word.start()]
        if gap not in ("", " "):
            gap = SPACING.sub(" ", gap)
        behind = word.end()
        starts[length + len(gap)] = word.start()
        pieces += (gap, WORD_START, word[0], WORD_END)
        length += len(gap) + behind - word.start() + 2
        ends[length - 1] = behind
    return Marked("".join(pieces), starts, ends)


def name_key(name: str) -> str:
    """What two spellings of a name have in common; "" for a name without letter or digit.

    Punctuation around a name is not compared, punctuation within it is.

    >>> name_key("Hip‐Hop") == name_key(" hip hop!")
    True
    >>> name_key("AC/DC") == name_key("ACDC")
    False
    """
    marked = mark(fold(name).text).text
    return marked[max(marked.find(WORD_START), 0) :]


@lru_cache(maxsize=1 << 14)
def _fold_cluster(cluster: str) -> str:
    composed = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", cluster).casefold())
    # Soft hyphens and joiners are not seen, so they are not compared.
    seen = "".join(c for c in composed if unicodedata.category(c) != "Cf")
    return seen.translate(APOSTROPHES)


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    r"""What is folded at once, and a word; `\w` alone would end words at an accent.

    Folded at once: ASCII up to its last letter, which an accent may follow; a letter with accents.
    """
    marks = "".join(c for c in map(chr, range(0x300, 0x10000)) if unicodedata.category(c)[0] == "M")
    marks += "\u1160-\u11ff"  # Korean vowels and finals, which NFKC joins to their initial
    cluster = rf"[\x00-\x7f]+(?![^\x00-\x7f])|.[{marks}]*"
    word = rf"[{UNSPACED}]|(?:(?![{UNSPACED}])[\w{marks}])+"
    return re.compile(cluster, re.DOTALL), re.compile(word)
