"""Reviews or lyrics of an item as one text of bounded length."""

import re
from collections.abc import Sequence
from pathlib import Path

from mmgenre.disk.files import check_file
from mmgenre.errors import InputError
from mmgenre.text.entities.annotation import enrich
from mmgenre.text.entities.annotators import annotator_of
from mmgenre.text.settings import TextInput

# A full stop, question or exclamation mark (also Arabic, Devanagari) with closing quotes, before a
# space; Chinese and Japanese write none after theirs.
SENTENCE_END = re.compile(r"[.!?…؟।][\"'”’»)\]]*(?=\s|$)|[。！？｡][\"'”’」』》）)\]]*|\n")


def load_text(
    media: Sequence[Path | str], config: TextInput | None = None, row_id: str | None = None
) -> str:
    """Joins an item's texts (oldest first), cuts them at a sentence end, then adds its entities.

    Their categories come on top of `max_characters`. `row_id` is for annotations listed by item.
    Raises InputError (missing, unreadable, encoding, empty, annotation), or MmgenreError if the
    annotator cannot be made.
    """
    config = config or TextInput()
    parts = [_read(source) if isinstance(source, Path) else source for source in media]
    text = "\n".join(part.strip() for part in parts if part.strip())
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


def _read(path: Path) -> str:
    check_file(path)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        detail = f"not UTF-8 at byte {error.start}; convert it: iconv -f latin1 -t utf-8 IN > OUT"
        raise InputError("encoding", str(path), detail) from None
    except OSError as error:
        raise InputError("unreadable", str(path), str(error.strerror)) from None
