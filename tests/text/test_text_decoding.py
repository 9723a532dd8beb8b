"""Texts: joined in order, refused where they say nothing, cut between sentences."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgenre.errors import InputError
from mmgenre.text.decoding import SENTENCE_END, load_text, truncate
from mmgenre.text.settings import TextInput


def code_of(*media: Path | str) -> str:
    with pytest.raises(InputError) as caught:
        load_text(media)
    return caught.value.code


def test_texts_are_joined_in_their_order(tmp_path: Path) -> None:
    first, third = tmp_path / "z.txt", tmp_path / "a.txt"
    first.write_text("Oldest review.\n\n", encoding="utf-8")
    third.write_text("  Newest.", encoding="utf-8")
    assert load_text((first, "Inline.", "  ", third)) == "Oldest review.\nInline.\nNewest."


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "bom.txt"
    path.write_bytes(b"\xef\xbb\xbfGr\xc3\xbc\xc3\x9fe")
    assert load_text((path,)) == "Grüße"


def test_damaged_texts_are_refused(tmp_path: Path) -> None:
    latin = tmp_path / "latin.txt"
    latin.write_bytes("Grüße".encode("latin-1"))
    assert code_of(latin) == "encoding"
    with pytest.raises(InputError, match=r"latin\.txt: not UTF-8 at byte 2; convert it: iconv"):
        load_text((latin,))
    assert code_of("A fine record.", latin) == "encoding"
    assert code_of(tmp_path / "absent.txt") == "missing"
    assert code_of(tmp_path) == "unreadable"
    empty = tmp_path / "empty.txt"
    empty.touch()
    assert code_of(empty) == "empty"
    assert code_of("  \n ... !?\t") == "empty"
    assert code_of() == "empty"


def test_one_letter_in_any_script_is_a_text() -> None:
    for text in ("x", "7", "音", "я"):
        assert load_text((text,)) == text


def test_the_text_is_cut_after_joining() -> None:
    config = TextInput(max_characters=24)
    assert load_text(("First review.", "Second one. Third."), config) == "First review."
    assert load_text(("First review.", "Second."), config) == "First review.\nSecond."


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("One two. Three.", 15, "One two. Three."),  # exactly the limit
        ("One two. Three.", 14, "One two."),
        ("One two. Three.", 9, "One two."),
        ("One two. Three.", 8, "One two."),  # a sentence ends exactly at the limit
        ("One two. Three.", 7, "One"),  # the stop beyond belongs to the word
        ("Pi is 3.14159 or so. Yes.", 21, "Pi is 3.14159 or so."),
        ("Pi is 3.14159", 9, "Pi is"),  # a stop within a number ends nothing
        ('He said "Stop." Then left.', 20, 'He said "Stop."'),
        ('He said "Stop." Then left.', 15, 'He said "Stop."'),
        ('He said "Stop." Then left.', 14, "He said"),  # not without its quotation mark
        ("Great?! (Really.) More words", 20, "Great?! (Really.)"),
        ("Wait… what? Nothing more", 14, "Wait… what?"),
        ("A line\nanother line of it", 12, "A line"),
        ("これは文です。次の文です。また次の文です。", 15, "これは文です。次の文です。"),
        ("これは文です。次の文です。また次の文です。", 7, "これは文です。"),
        ("「すごい！」と言った。次", 8, "「すごい！」"),
        ("これは文です。", 6, "これは文です"),  # no space to cut at: within
        ("कखग घङच। छजझ", 10, "कखग घङच।"),
        ("هل هذا جيد؟ نعم هو", 14, "هل هذا جيد؟"),
        ("Extraordinarily", 5, "Extra"),  # one word longer than the limit
        ("Extra ordinary", 5, "Extra"),
        ("One two three", 1, "O"),
    ],
)
def test_where_a_text_is_cut(text: str, limit: int, expected: str) -> None:
    assert truncate(text, limit) == expected


def test_as_many_whole_sentences_as_fit_are_kept() -> None:
    rng = np.random.default_rng(5)
    ends = [".", "!", "?", '."', "?)", "…", "...", "!!"]
    for _ in range(300):
        sentences = [
            " ".join("w" * int(n) for n in rng.integers(1, 9, rng.integers(1, 6)))
            + ends[rng.integers(len(ends))]
            for _ in range(rng.integers(1, 8))
        ]
        limit = int(rng.integers(len(sentences[0]), 120))
        kept = sentences[0]
        for sentence in sentences[1:]:
            if len(kept) + 1 + len(sentence) > limit:
                break
            kept += " " + sentence
        assert truncate(" ".join(sentences), limit) == kept


TEXTS = st.text() | st.text("abgä7音 \n.!?…।。\"\u201d')»,;-")


@given(TEXTS, st.integers(1, 60))
def test_any_text_keeps_the_limit_and_whole_words(text: str, limit: int) -> None:
    kept = truncate(text, limit)
    assert len(kept) <= limit
    assert text.startswith(kept)
    assert truncate(kept, limit) == kept
    if len(text) <= limit:
        assert kept == text
    elif kept and not text[len(kept)].isspace() and not SENTENCE_END.search(kept[-4:] + "\n"):
        # Within a word only if no space stands before the limit.
        assert kept == text[:limit]
        assert not any(c.isspace() for c in kept[1:])


@given(st.lists(st.text("ab ", min_size=1).filter(str.strip), min_size=1), st.integers(1, 60))
def test_a_text_is_cut_after_the_last_sentence_that_fits(words: list[str], limit: int) -> None:
    sentences = [f"{' '.join(part.split())}." for part in words]
    whole = [" ".join(sentences[:n]) for n in range(1, len(sentences) + 1)]
    fitting = [text for text in whole if len(text) <= limit]
    if fitting:
        assert truncate(whole[-1], limit) == fitting[-1]
    else:
        assert sentences[0].startswith(truncate(whole[-1], limit))


def test_only_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    for path, what in ((tmp_path, "a folder"), (tmp_path / "pipe.txt", "a named pipe")):
        with pytest.raises(InputError, match=f"{what} and no file") as caught:
            load_text([path])
        assert caught.value.code == "unreadable"
    with pytest.raises(InputError, match="a device and no file"):
        load_text([Path("/dev/zero")])
