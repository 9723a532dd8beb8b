"""Reviews or lyrics of an item as one text of bounded length."""

import codecs
import re
from collections.abc import Sequence
from pathlib import Path

from mmgenre.disk.files import check_file
from mmgenre.errors import InputError
from mmgenre.items.markup import readable
from mmgenre.text.entities.annotation import enrich
from mmgenre.text.entities.annotators import annotator_of
from mmgenre.text.settings import TextInput

# A full stop, question or exclamation mark (also Arabic, Devanagari) with closing quotes, before a
# space; Chinese and Japanese write none after theirs.
SENTENCE_END = re.compile(r"[.!?…؟।][\"'”’»)\]]*(?=\s|$)|[。！？｡][\"'”’」』》）)\]]*|\n")

# UTF-32's begins as UTF-16's does.
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
READ_BYTES = 1 << 22  # of a file; the largest book has fewer


def load_text(
    media: Sequence[Path | str], config: TextInput | None = None, row_id: str | None = None
) -> str:
    """Joins an item's texts (oldest first), cuts them at a sentence end, then adds its entities.

    Tags and entities of HTML are taken out first (`readable`).

    Their categories come on top of `max_characters`. `row_id` is for annotations listed by item.
    Raises InputError (missing, unreadable, encoding, empty, annotation), or MmgenreError if the
    annotator cannot be made.
    """
    config = config or TextInput()
    parts = [
        read_text(source) if isinstance(source, Path) else _checked(source, "inline text")
        for source in media
    ]
    # Markup would use up the characters that are kept.
    plain = [readable(part[:READ_BYTES]).strip() for part in parts]
    text = "\n".join(part for part in plain if part)
    if not any(map(str.isalnum, text)):
        where = str(media[0]) if media and isinstance(media[0], Path) else "inline text"
        raise InputError("empty", where, "not a single letter or digit")
    text = truncate(text, config.max_characters)
    annotator = annotator_of(config.entities, row_id)
    return text if annotator is None else enrich(text, annotator.annotate(text))


def truncate(text: str, max_characters: int) -> str:
    """The longest run of whole sentences within the limit.

    A first sentence longer than the limit is cut between words, a longer word within.

    >>> truncate("One two. Three four. Five.", 21)
    'One two. Three four.'
    >>> truncate("One two three", 9)
    'One two'
    """
    if len(text) <= max_characters:
        return text
    start = text[: max_characters + 1]  # one more: a sentence or word may end exactly at the limit
    ends = [m.end() for m in SENTENCE_END.finditer(start) if m.end() <= max_characters]
    ends = ends or [m.start() for m in re.finditer(r"\s", start) if m.start()]
    return text[: ends[-1]].rstrip() if ends else text[:max_characters]


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 or UTF-32 if a byte-order mark says so.

    At most `READ_BYTES` are read, far more than any setting keeps. Raises InputError (missing,
    unreadable, encoding).
    """
    check_file(path)
    try:
        with path.open("rb") as file:
            data = file.read(READ_BYTES)
            is_whole = not file.read(1)
    except OSError as error:
        raise InputError("unreadable", str(path), str(error.strerror)) from None
    encoding = next((name for mark, name in BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8")
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        text = decoder.decode(data, final=is_whole)
    except UnicodeDecodeError as error:
        advice = "; convert it: iconv -f latin1 -t utf-8 IN > OUT" if encoding == "utf-8" else ""
        detail = f"not {encoding.removesuffix('-sig').upper()} at byte {error.start}{advice}"
        raise InputError("encoding", str(path), detail) from None
    return _checked(text.replace("\r\n", "\n").replace("\r", "\n"), str(path))


def _checked(text: str, where: str) -> str:
    """The text; InputError if it holds NUL characters, which no text does."""
    if "\0" in text:
        detail = (
            f"a NUL at character {text.index(chr(0))}: no text, but a binary file, or UTF-16 "
            "without a byte-order mark; convert it: iconv -f utf-16le -t utf-8 IN > OUT"
        )
        raise InputError("encoding", where, detail)
    return text
