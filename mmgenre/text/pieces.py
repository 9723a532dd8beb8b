"""Words of a text, and the text without some of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgenre.learning.kind import Pieces
from mmgenre.text.words import spans

Row = NDArray[Any]  # UTF-8 bytes
# How many texts without a word are read, and their characters in all, which bounds the time.
MOST, CHARACTERS = 300, 1_000_000
MOST_BY_MODEL, CHARACTERS_BY_MODEL = 40, 60_000  # a frozen model takes longer for each
LEAST = 16


def _words_of(rows: Sequence[tuple[Row, Any]], media: Sequence[Path | str], n: int) -> list[str]:
    """The distinct words, in lower case, in the order in which they come."""
    del media, n
    return list(dict.fromkeys(word for row, _ in rows for word in _places(row.tobytes())))


def _most(rows: Sequence[tuple[Row, Any]]) -> int:
    by_model = any(reads.frozen is not None for _, reads in rows)
    longest = max(1, *(len(row) for row, _ in rows))
    if by_model:
        return max(LEAST, min(MOST_BY_MODEL, CHARACTERS_BY_MODEL // longest))
    return max(LEAST, min(MOST, CHARACTERS // longest))


def _without(row: Row, reads: Any, words: tuple[str, ...]) -> Row:
    """The text without all occurrences of some words, whether in capitals or not."""
    del reads
    text, end = row.tobytes().decode(), 0
    kept, places = [], _places(row.tobytes())
    for start, stop in sorted(place for word in words for place in places.get(word, ())):
        kept.append(text[end : max(start, end)])
        end = max(end, stop)
    return _row("".join([*kept, text[end:]]) or " ")


@lru_cache(maxsize=4)
def _places(text: bytes) -> dict[str, list[tuple[int, int]]]:
    """Where each word stands."""
    places: dict[str, list[tuple[int, int]]] = {}
    plain = text.decode()
    for start, end in spans(plain):
        places.setdefault(plain[start:end].lower(), []).append((start, end))
    return places


def _row(text: str) -> Row:
    return np.frombuffer(text.encode(), np.uint8)


PIECES = Pieces(of=_words_of, without=_without, alone=_row, most=_most)
