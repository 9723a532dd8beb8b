"""Words of a text, and the text without one of them."""

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
MOST, MOST_BY_MODEL = 300, 100  # words; a frozen model takes longer for each
LEAST, CHARACTERS = 50, 2_000_000  # of all texts without a word, which keeps the time bounded


def _words_of(rows: Sequence[tuple[Row, Any]], media: Sequence[Path | str], n: int) -> list[str]:
    """The distinct words, in lower case, in the order in which they come."""
    del media, n
    return list(dict.fromkeys(word for row, _ in rows for word in _places(row.tobytes())))


def _most(rows: Sequence[tuple[Row, Any]]) -> int:
    by_model = any(reads.frozen is not None for _, reads in rows)
    longest = max(len(row) for row, _ in rows)
    return max(LEAST, min(MOST_BY_MODEL if by_model else MOST, CHARACTERS // max(longest, 1)))


def _without(row: Row, reads: Any, word: str) -> Row:
    """The text without all occurrences of a word, whether in capitals or not."""
    del reads
    text, end = row.tobytes().decode(), 0
    kept = []
    for start, stop in _places(row.tobytes()).get(word, ()):
        kept.append(text[end : max(start, end)])
        end = stop
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
