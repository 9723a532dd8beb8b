"""Texts as people read them: without the markup in which shops and web pages store them."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from unicodedata import normalize

# With its semicolon only: `R&B` and `AT&T` are no entities.
ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
TAG = re.compile(r"</?[A-Za-z]|<!--|<![A-Za-z]")
NO_TAG = re.compile(rf"<(?!{TAG.pattern.replace('<', '')})")  # `<3`, `1 < 2`
# `&amp;quot;`: some shops escape twice.
MAX_ESCAPES = 3
BREAKING_TAGS = (
    "address article aside blockquote br center dd div dl dt fieldset figcaption figure footer "
    "form h1 h2 h3 h4 h5 h6 head header hr li main nav ol option p pre section table tbody td "
    "tfoot th thead title tr ul"
)
INLINE_TAGS = (
    "a abbr acronym audio b bdi bdo big body button cite code col colgroup data del details dfn "
    "em embed font html i iframe img input ins kbd label legend link map mark meta noscript object "
    "param picture q rp rt ruby s samp script select small source span strike strong style sub "
    "summary sup svg time tt u var video wbr"
)
BREAKING, INLINE = frozenset(BREAKING_TAGS.split()), frozenset(INLINE_TAGS.split())
UNREAD = frozenset({"script", "style"})


def readable(text: str) -> str:
    """A text in Unicode's composed form (NFC), without HTML's tags, and with entities decoded.

    What merely resembles markup stays.

    >>> readable('I said &#34;wow&#34; &amp; <a href="x">left</a>; R&B, 1 < 2, <3, <unknown>')
    'I said "wow" & left; R&B, 1 < 2, <3, <unknown>'
    """
    for _ in range(MAX_ESCAPES):
        if not ENTITY.search(text):
            break
        text = ENTITY.sub(lambda found: html.unescape(found[0]), text)
    if TAG.search(text):
        text = _without_tags(text)
    return text if text.isascii() else normalize("NFC", text.replace("\u00a0", " "))


class _Words(HTMLParser):
    """Collects what stands between tags; tags that HTML does not have are words."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.unread = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag in UNREAD:
            self.unread += 1
        elif tag not in INLINE:
            self.parts.append("\n" if tag in BREAKING else self.get_starttag_text() or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in UNREAD:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag in UNREAD:
            self.unread = 0
        elif tag in BREAKING:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self.unread:
            self.parts.append(data)


def _without_tags(text: str) -> str:
    words = _Words()
    # Until `>`: from an unfinished tag at the end on, versions of Python differ.
    end = text.rfind(">") + 1
    words.feed(NO_TAG.sub("&lt;", text[:end]))
    words.close()
    return "".join([*words.parts, text[end:]])
