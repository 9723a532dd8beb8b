"""Folding: texts without case, width and typographic variants, with offsets into the original.

Folding changes lengths ('İ' and 'ß' become two characters, an accent after its letter none), so
every folded character keeps its place in the original.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

WORD_START, WORD_END = "\x02", "\x03"
APOSTROPHES = str.maketrans("\u2019\u2018\u02bc\u00b4", "''''")
# Hyphens count as spaces: hip-hop is hip hop. So do control characters: two are our marks.
SPACING = re.compile(r"[\s\-\u2010-\u2015\x00-\x1f]+")
ASCII_WORD = re.compile(r"[a-z0-9_]+")
# Han and kana are written without spaces: each character counts as a word.
UNSPACED = "\u3005-\u3007\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"


@dataclass(frozen=True)
class Folded:
    """A folded text; character i comes from [starts[i], ends[i]) of the original."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]


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


def mark(folded: str) -> tuple[str, dict[int, int], dict[int, int]]:
    r"""Marks both ends of each word, so that a search for marked names finds whole words only.

    Returns the marked text, and for the position of each mark of a start, then of an end, the
    bound of its word in the folded text.

    >>> mark("hip-hop!")
    ('\x02hip\x03 \x02hop\x03', {0: 0, 6: 4}, {4: 3, 10: 7})
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
    return "".join(pieces), starts, ends


def name_key(name: str) -> str:
    """The same for all spellings of a name; "" for a name without letter or digit.

    Punctuation within a name counts, punctuation around it does not.

    >>> name_key("Hip‐Hop") == name_key(" hip hop!")
    True
    >>> name_key("AC/DC") == name_key("ACDC")
    False
    """
    marked, _, _ = mark(fold(name).text)
    return marked[max(marked.find(WORD_START), 0) :]


@lru_cache(maxsize=1 << 14)
def _fold_cluster(cluster: str) -> str:
    composed = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", cluster).casefold())
    # Soft hyphens and joiners are invisible.
    visible = "".join(c for c in composed if unicodedata.category(c) != "Cf")
    return visible.translate(APOSTROPHES)


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    r"""A cluster, which is folded at once, and a word; `\w` alone would end words at an accent.

    A cluster is a letter with its accents, or a run of ASCII without its last letter if that may
    have an accent.
    """
    marks = "".join(c for c in map(chr, range(0x300, 0x10000)) if unicodedata.category(c)[0] == "M")
    marks += "\u1160-\u11ff"  # Korean vowels and finals, which NFKC joins to their initial
    cluster = rf"[\x00-\x7f]+(?![^\x00-\x7f])|.[{marks}]*"
    word = rf"[{UNSPACED}]|(?:(?![{UNSPACED}])[\w{marks}])+"
    return re.compile(cluster, re.DOTALL), re.compile(word)
