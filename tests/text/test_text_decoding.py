"""Texts: joined in order, refused where they say nothing, cut between sentences."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgenre.errors import InputError
from mmgenre.text.decoding import READ_BYTES, SENTENCE_END, load_text, truncate
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


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_names_the_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes("Grüße,\r\n這張專輯".encode(encoding))
    assert load_text((path,)) == "Grüße,\n這張專輯"
    path.write_bytes(b"\xfe\xff" + "Grüße".encode("utf-16-be"))
    assert load_text((path,)) == "Grüße"
    path.write_bytes(b"\xff\xfe" + "Grüße".encode("utf-16-le")[:-1])
    with pytest.raises(InputError, match="not UTF-16 at byte"):
        load_text((path,))


def test_nuls_are_no_text(tmp_path: Path) -> None:
    for content in (b"a fine\0record", "A fine record.".encode("utf-16-le"), b"\0" * 64):
        path = tmp_path / "t.txt"
        path.write_bytes(content)
        assert code_of(path) == "encoding"
    assert code_of("q\0w\0e\0r") == "encoding"


def test_markup_is_taken_out_before_the_text_is_cut() -> None:
    raw = (
        "I said &#34;wow&#34; &amp; it&#39;s <br /><br /> "
        '<a href="http://example.org/dp/B00">best</a> &quot;album&quot; with guitars. '
    )
    expected = 'I said "wow" & it\'s best "album" with guitars.'
    assert " ".join(load_text([raw]).split()) == expected
    assert load_text([raw * 40], TextInput(max_characters=1500)).count("guitars") >= 30


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("R&B, AT&T, Q&A and Simon & Garfunkel", "R&B, AT&T, Q&A and Simon & Garfunkel"),
        ("1 < 2 and x>y, <3 and </3 <- ->", "1 < 2 and x>y, <3 and </3 <- ->"),
        ("<unknown> by <Artist>, I <love this", "<unknown> by <Artist>, I <love this"),
        ("&lt;p&gt;One.&lt;/p&gt; &amp;quot;Two&amp;quot;", 'One.\n "Two"'),
        ("<p>One.</p><p>Two.</p>", "One.\n\nTwo."),
        ("<style>p {color: red}</style><script>a<b</script>Three<!-- no -->", "Three"),
        ("<b>bold</b>ly &eacute;t&eacute;&nbsp;bleu", "boldly été bleu"),
        ("musica electro\u0301nica", "musica electr\u00f3nica"),
    ],
)
def test_markup_goes_and_what_looks_like_it_stays(raw: str, expected: str) -> None:
    assert load_text([raw]) == expected


def test_huge_files_are_read_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "huge.txt"
    path.write_bytes(b"One.\n")
    with path.open("r+b") as file:
        file.seek(2 * READ_BYTES)
        file.write(b"\0")  # beyond the limit, where nothing is looked at
        file.seek(0)
        file.write(b"Word. " * (READ_BYTES // 6 + 1))
    assert load_text((path,), TextInput(max_characters=11)) == "Word. Word."
    path.write_bytes(("é" * READ_BYTES).encode())  # the limit is within a character or not
    assert len(load_text((path,), TextInput(max_characters=20))) == 20


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
