"""Names for comparison: when two artists, albums, genres or texts are the same one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple
from unicodedata import category, combining, normalize

from mmgenre.items.markup import readable


class _Characters(dict[int, int | str | None]):
    """For `str.translate`: characters that `is_kept` rejects are removed; answers are kept."""

    def __init__(self, is_kept: Callable[[str], bool]) -> None:
        super().__init__()
        self.is_kept = is_kept

    def __missing__(self, code: int) -> int | None:
        found = self[code] = code if self.is_kept(chr(code)) else None
        return found


# Without accents and invisible characters.
BASES = _Characters(lambda c: not combining(c) and category(c) != "Cf")
# Letters, digits, and the vowels that scripts of India write as marks.
LETTERS = _Characters(lambda c: c.isalnum() or category(c)[0] == "M")
# Letters that Unicode does not take apart, and a sign that artists write for a letter.
PLAIN_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "æ": "ae", "œ": "oe", "đ": "d", "ð": "d", "þ": "th", "ħ": "h", "ŋ": "n"}
    | {"ŧ": "t", "ı": "i", "ĸ": "k", "$": "s"}
    | dict.fromkeys("\u2019\u2018\u02bc`", "'")
)
GUESTS = re.compile(r"[\s,(\[{]+(?:feat|ft|featuring)(?:[.\s].*|$)", re.DOTALL)
# The band of a singer, or one of several artists: what stands before it is an artist, too.
OTHERS = re.compile(r"\s+(?:and|with|vs\.?|x)\s+|\s+/\s+|\s*;\s*")
AND_SIGN = re.compile(r"\s*[&+]\s*(?=[^\W_])")
AND_LETTER = re.compile(r"(?<=\s)'?n['\s]\s*|(?<=[^\W_])'n'\s*")
LEADING_THE = re.compile(r"^the\s+(?=\S)")
TRAILING_THE = re.compile(r",\s*the$")
# Names that stand for many artists, or for none; letters and digits only.
NO_ARTIST_NAMES = """
    variousartists variousartist various va vva vvaa aavv variousinterprets variousperformers
    variouscomposers multipleartists manyartists severalartists allartists mixedartists
    artistesvaries artistesdivers divers diverse diverseinterpreten diverseartister
    diverseartiesten diversekunstner verschiedene verschiedeneinterpreten verschiedenekunstler
    interpretesvarios varios variosartistas variosinterpretes artistasvarios variosautores
    artistivari vari autorivari diversi diversiartisti blandadeartister blandedeartister
    eriartisteja eriesittajia roznwykonawcy rozniwykonawcy ruzniinterpreti raznyeispolniteli
    сборник разныеисполнители различныеисполнители 群星 合集 オムニバス ウァリアスアーティスト
    compilation compilations soundtrack originalsoundtrack ost originalmotionpicturesoundtrack
    originalcast originalcastrecording
    unknown unknownartist unknownartists artistunknown noartist unbekannt unbekannterkunstler
    unbekannterinterpret artisteinconnu inconnu desconocido artistadesconocido desconhecido
    artistadesconhecido sconosciuto artistasconosciuto onbekend okand неизвестен
    неизвестныиисполнитель неизвестно notavailable notapplicable notspecified unspecified
    undefined notset na nan none null nil empty missing tba tbd anonymous anonymus traditional trad
    noname
"""
NO_ALBUM_NAMES = """
    unknown unknownalbum albumunknown noalbum unbekannt unbekanntesalbum albuminconnu inconnu
    desconocido notavailable notapplicable undefined na nan none null nil empty missing tba album
    untitled nonalbumtracks nonalbumtrack single singles standalonerecordings misc
"""
LEAST_LETTERS = 30  # of a text
LIST_MARKS = ",;|"
LEAST_PART = 14  # letters between two commas of prose, on average; lists of words have fewer


def fold(name: str) -> str:
    """A name for comparison, without case, accents, width, extra spaces, invisible characters.

    >>> fold("  Beyoncé ") == fold("BEYONCE")
    True
    """
    if name.isascii():
        return " ".join(name.lower().split())
    letters = normalize("NFKD", name.casefold()).translate(BASES)
    # Turkish: SILA is the upper case of both Sıla and Sila.
    plain = normalize("NFKC", letters).casefold().replace("ı", "i")
    return " ".join(plain.split())


NO_ARTISTS = frozenset(map(fold, NO_ARTIST_NAMES.split()))
NO_ALBUMS = frozenset(map(fold, NO_ALBUM_NAMES.split()))


class Artist(NamedTuple):
    """Who a name is of: `whole`, and the `first` of several artists; "" for none."""

    whole: str
    first: str
    first_is_full: bool = False  # of two words or more, as in "Bob Marley & the Wailers"


def artist_of(name: str) -> Artist:
    """The artist by its letters, without spaces and signs.

    Guests, a leading "The" and accents do not count, and "&" is "and". A name that stands for many
    artists or for none, such as "Various Artists" or "n/a", is no artist.

    >>> artist_of("The Röyksopp feat. Robyn").whole, artist_of("[unknown]").whole
    ('royksopp', '')
    >>> artist_of("Prince & the Revolution")
    Artist(whole='princeandtherevolution', first='prince', first_is_full=False)
    """
    folded = _plain(name)
    if "ft" in folded or "feat" in folded:
        folded = GUESTS.sub("", folded) or folded
    whole = _artist(folded)
    first, *others = OTHERS.split(folded, maxsplit=1)
    if not whole or not others:
        return Artist(whole, "")
    return Artist(whole, _artist(first), " " in LEADING_THE.sub("", first.strip()))


def _plain(name: str) -> str:
    """Folded, in plain letters, with "and" for its signs."""
    plain = fold(name)
    if not (plain.isascii() and plain.isalnum()):
        plain = plain.translate(PLAIN_LETTERS)
    if "&" in plain or "+" in plain:
        plain = AND_SIGN.sub(" and ", plain)
    if " n" in plain or "'n" in plain:
        plain = AND_LETTER.sub(" and ", plain)
    return plain


def _artist(folded: str) -> str:
    folded = LEADING_THE.sub("", TRAILING_THE.sub("", folded))
    key = folded.translate(LETTERS)
    if not key:  # `!!!` is a band, `-` is none
        return folded if len(folded) > 2 and set(folded) - set("-?. _") else ""
    return "" if key in NO_ARTISTS or key.startswith("variousartists") else key


def album_key(name: str) -> str:
    """The album by its letters; "" for a name that stands for none.

    >>> album_key("Sgt. Pepper's"), album_key("Unknown Album")
    ('sgtpeppers', '')
    """
    folded = _plain(name)
    key = folded.translate(LETTERS) or folded
    return "" if key in NO_ALBUMS or not set(folded) - set("-?. _[]()") else key


def text_key(text: str) -> str:
    """The letters and digits of a text, by which copies are found; "" for few, and for lists.

    Short texts and lists of words, such as moods, are alike by chance.

    >>> text_key("<p>One review that stands under all editions.</p>")
    'onereviewthatstandsunderalleditions'
    >>> text_key("calm, peaceful, delicate, reserved, reverent, stately")
    ''
    """
    if "<" in text or "&" in text or not text.isascii():
        text = readable(text)
    n_parts = 1 + sum(map(text.count, LIST_MARKS))
    if not text.isascii():
        text = normalize("NFKC", text)
    key = text.translate(LETTERS).casefold()
    return key if len(key) >= max(LEAST_LETTERS, LEAST_PART * n_parts) else ""


def genre_key(name: str) -> str:
    """A genre by its letters: hip-hop is Hip Hop, and Drum & Bass is Drum'n'Bass.

    >>> genre_key("Hip Hop") == genre_key("hip-hop"), genre_key("Drum'n'Bass")
    (True, 'drumandbass')
    """
    folded = _plain(name)
    return folded.translate(LETTERS) or folded
