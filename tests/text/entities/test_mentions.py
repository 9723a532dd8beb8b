"""Names in texts: whole words, the longest, with offsets into the text as it was given."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mmgenre.text.entities.folding import WORD_END, WORD_START, fold, mark, name_key
from mmgenre.text.entities.local import MentionFinder


def found(text: str, *names: str) -> list[str]:
    """The mentions as they stand in the text."""
    finder = MentionFinder((k, name_key(name)) for k, name in enumerate(names))
    return [text[start:end] for start, end, _ in finder.find(text)]


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("New York City jazz", ["New York", "New York City", "York"], ["New York City"]),
        ("New York cityscape", ["New York", "New York City"], ["New York"]),
        ("house houses housed", ["house"], ["house"]),
        ("a warehouse, in-house (house)", ["house"], ["house", "house"]),
        ("house.house", ["house"], ["house", "house"]),
        ("house_music house2", ["house"], []),  # as in scikit-learn's \w
        ("AC/DC and AC DC", ["AC/DC"], ["AC/DC"]),
        ("Guns N’ Roses", ["Guns N' Roses"], ["Guns N’ Roses"]),
        ("P!nk and Wham! live", ["P!nk", "Wham!"], ["P!nk", "Wham"]),
        ("Davis's horn", ["Davis"], ["Davis"]),
        ("Bjo\u0308rk and BJÖRK", ["Björk"], ["Bjo\u0308rk", "BJÖRK"]),
        ("Ｊａｚｚ, ja\u00adzz", ["jazz"], ["Ｊａｚｚ", "ja\u00adzz"]),
        ("İİİ İstanbul istanbul", ["İstanbul"], ["İstanbul"]),
        ("İs jazz", ["jazz", "s", "i"], ["jazz"]),  # an accent ends no word
        ("Größe GRÖSSE", ["größe"], ["Größe", "GRÖSSE"]),
        ("सितार संगीत", ["सितार"], ["सितार"]),
        ("坂本龍一の音楽", ["坂本龍一", "音"], ["坂本龍一", "音"]),  # written without spaces
        (
            "\u1112\u1161\u11ab\u1100\u1173\u11af",
            ["한글"],
            ["\u1112\u1161\u11ab\u1100\u1173\u11af"],
        ),
        ("\x02jazz\x03", ["jazz"], ["jazz"]),  # our own marks in a text
        ("", ["jazz"], []),
        ("jazz", [], []),
    ],
)
def test_which_names_are_found(text: str, names: list[str], expected: list[str]) -> None:
    assert found(text, *names) == expected


def test_every_spelling_of_hip_hop() -> None:
    text = "HIP-HOP, hip hop, hip\nhop, hip‐hop, hiphop"
    assert found(text, "hip-hop") == ["HIP-HOP", "hip hop", "hip\nhop", "hip‐hop"]


def test_a_longer_name_that_breaks_off_hides_nothing() -> None:
    """The iter_long of pyahocorasick 2.3 finds nothing in the first two."""
    assert found("Free jazz", "free jazz trio", "jazz") == ["jazz"]
    assert found("in New York", "New York jazz", "York") == ["York"]
    assert found("a bb", "a bb cc", "bb dd", "a") == ["a"]


def naive(text: str, names: list[list[str]]) -> list[tuple[int, int]]:
    """Leftmost, then longest, without overlap; positions of words."""
    words, spans, k = text.split(), [], 0
    while k < len(words):
        lengths = [len(n) for n in names if words[k : k + len(n)] == n]
        if lengths:
            spans.append((k, k + max(lengths)))
        k += max(lengths, default=1)
    return spans


def test_the_automaton_finds_what_a_slow_loop_finds() -> None:
    rng = np.random.default_rng(0)
    # Each written as some spelling of one of three words whose folding changes their lengths.
    spellings = [["a", "A", "ａ"], ["ß", "SS", "ẞ"], ["İb", "İB", "i̇b"]]
    total = 0
    for _ in range(1500):
        names = [rng.integers(0, 3, rng.integers(1, 5)) for _ in range(rng.integers(1, 6))]
        numbers = rng.integers(0, 3, 12)
        words = [str(rng.choice(spellings[n])) for n in numbers]
        gaps = [str(rng.choice([" ", "\n ", "-", "\u2003"])) for _ in words]
        text = "".join(w + g for w, g in zip(words, gaps, strict=True))
        keys = {name_key(" ".join(spellings[n][0] for n in name)) for name in names}
        mentions = MentionFinder(enumerate(sorted(keys))).find(text)
        starts = np.cumsum([0, *(len(w) + len(g) for w, g in zip(words, gaps, strict=True))])
        expected = [
            (int(starts[i]), int(starts[j - 1]) + len(words[j - 1]))
            for i, j in naive(" ".join(map(str, numbers)), [[str(n) for n in x] for x in names])
        ]
        assert [(start, end) for start, end, _ in mentions] == expected
        total += len(expected)
    assert total > 3000


def test_offsets_hold_whatever_stands_before() -> None:
    rng = np.random.default_rng(1)
    alphabet = ["a", "Z", "ß", ".", "-", "İ", "ﬃ", "ö", "🎷", "́", "½", "한", "का", "龍", "\xad"]
    alphabet.append(" ")
    finder = MentionFinder([(0, name_key("Motörhead Größe"))])
    for _ in range(1000):
        before = "".join(rng.choice(alphabet, rng.integers(0, 30))) + "\n"
        name = str(
            rng.choice(["Motörhead Größe", "MOTÖRHEAD-GRÖSSE", "Moto\u0308rhead  grö\u00adße"])
        )
        text = f"{before}{name}, " + "".join(rng.choice(alphabet, 5))
        [(start, end, _)] = finder.find(text)
        assert text[start:end] == name


# Any text, and many of the characters whose folding changes lengths or joins with neighbours.
TEXTS = st.text() | st.text("aAZß.-İﬃö½龍한🎷 \t\u0301\u0327\u00ad\u200d\u1161\u11ab\u2026\x02\x03")


@given(TEXTS)
def test_folded_characters_know_their_source(text: str) -> None:
    folded = fold(text)
    spans = list(zip(folded.starts, folded.ends, strict=True))
    assert len(spans) == len(folded.text)
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert spans == sorted(spans)
    # The source of a folded character, folded by itself, is all that comes from there.
    for span in set(spans):
        here = "".join(c for c, own in zip(folded.text, spans, strict=True) if own == span)
        assert fold(text[slice(*span)]).text == here
    # What no folded character comes from is invisible.
    covered = {k for start, end in spans for k in range(start, end)}
    rest = "".join(c for k, c in enumerate(text) if k not in covered)
    assert fold(rest).text == ""


@given(TEXTS)
def test_folding_twice_changes_nothing(text: str) -> None:
    # Only the first folding separates a letter from an accent behind an invisible character.
    hidden = [unicodedata.category(c) == "Cf" for c in text]
    assume(not any(h and not c.isascii() for h, c in zip(hidden, text[1:], strict=False)))
    once = fold(text).text
    assert fold(once).text == once
    assert name_key(once) == name_key(text)


@given(TEXTS)
def test_marks_stand_at_the_bounds_of_words(text: str) -> None:
    folded = fold(text).text
    marked, starts, ends = mark(folded)
    assert len(starts) == len(ends) == marked.count(WORD_START)
    for position, start in starts.items():
        assert marked[position : position + 2] == WORD_START + folded[start]
    for position, end in ends.items():
        assert marked[position - 1 : position + 1] == folded[end - 1] + WORD_END


def test_a_name_without_a_word_has_no_key() -> None:
    assert [name_key(name) for name in ("", "!!!", " - ", "♪")] == [""] * 4
    assert name_key("1975") == name_key("(1975)") != ""
