"""Reviews or lyrics of an item as one text of bounded length."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from mmgenre.config import Settings
from mmgenre.errors import InputError
from mmgenre.text.entities import EntityConfig, annotator_of, enrich

# A full stop, question or exclamation mark (also Arabic, Devanagari) with closing quotes, before a
# space; Chinese and Japanese write none after theirs.
SENTENCE_END = re.compile(r"[.!?…؟।][\"'”’»)\]]*(?=\s|$)|[。！？｡][\"'”’」』》）)\]]*|\n")


class TextInput(Settings):
    """How much of an item's texts is kept (Oramas 2018, sec. 5.1: about 1500 characters).

    `entities`: whose categories are added as words (VSM+SEM, sec. 3.2); "none": plain VSM.
    """

    max_characters: int = Field(1500, ge=1)
    entities: EntityConfig = EntityConfig()


def load_text(
    media: Sequence[Path | str], config: TextInput | None = None, row_id: str | None = None
) -> str:
    """Joins an item's texts in their order (oldest first) and cuts them at a sentence end.

    Entities are looked up in what is left: their categories come on top of `max_characters`.

    Args:
        media: files or inline texts.
        config: how much is kept, and which annotator finds entities in it.
        row_id: the item, for annotations that are listed by item.

    Raises:
        InputError: missing, unreadable, encoding, empty or annotation.
        MmgenreError: the annotator cannot be made.
    """
    config = config or TextInput()
    parts = [_read(source) if isinstance(source, Path) else source for source in media]
    text = "\n".join(part.strip() for part in parts if part.strip())
    if not any(character.isalnum() for character in text):
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
    # One character more shows whether a sentence ends exactly at the limit.
    ends = [m.end() for m in SENTENCE_END.finditer(text[: max_characters + 1])]
    ends = [end for end in ends if end <= max_characters]
    if ends:
        return text[: ends[-1]].rstrip()
    spaces = [m.start() for m in re.finditer(r"\s", text[: max_characters + 1])]
    return text[: spaces[-1]].rstrip() if spaces and spaces[-1] else text[:max_characters]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError("missing", str(path), "no such file") from None
    except UnicodeDecodeError as error:
        detail = f"not UTF-8 at byte {error.start}; convert it: iconv -f latin1 -t utf-8 IN > OUT"
        raise InputError("encoding", str(path), detail) from None
    except OSError as error:
        raise InputError("unreadable", str(path), str(error.strerror)) from None
