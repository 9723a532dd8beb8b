"""Words of a text, and the text without one of them."""

from __future__ import annotations

import numpy as np
import pytest

from mmgenre.text.pieces import CHARACTERS, LEAST, PIECES
from mmgenre.text.settings import TextInput

READS = TextInput()


def row(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


def without(text: str, word: str) -> str:
    return PIECES.without(row(text), READS, tuple(word.split())).tobytes().decode()


@pytest.mark.parametrize(
    ("text", "word", "expected"),
    [
        ("Slow, slower, SLOW songs.", "slow", ", slower,  songs."),
        ("Café au lait, cafe", "café", " au lait, cafe"),
        ("失真的吉他", "真的", "失吉他"),
        ("aaa aaaa", "aaa", " aaaa"),
        ("alone", "alone", " "),
        ("a slow song, a sad song", "song sad", "a slow , a  "),
        ("失真的吉他", "失真 真的", "吉他"),
        ("İstanbul blues", "blues", "İstanbul "),
        ("A song\ncategory_swing_music category_jazz", "category_jazz",
         "A song\ncategory_swing_music "),
    ],
)  # fmt: skip
def test_all_occurrences_of_a_word_are_taken_out(text: str, word: str, expected: str) -> None:
    assert without(text, word) == expected


def test_words_are_distinct_and_in_their_order() -> None:
    rows = [(row("Old songs, old and slow"), READS), (row("songs of rain"), READS)]
    assert PIECES.of(rows, [], 1) == ["old", "songs", "and", "slow", "of", "rain"]


def test_long_texts_have_fewer_words_looked_at() -> None:
    short, long = [(row("a song"), READS)], [(row("song " * 10**6), READS)]
    most = PIECES.most(short)
    assert most is not None
    assert most > LEAST
    assert PIECES.most(long) == LEAST
    assert LEAST * 10_000 < CHARACTERS
