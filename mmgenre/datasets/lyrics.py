"""Lyrics beside or in an audio file, as plain text."""

import re

# [01:23.45] before a line, <01:23.45> before a word; [ar:Somebody], [offset:+100] above all.
TIME = re.compile(r"\[\d{1,3}:\d{1,2}(?:[.:]\d{1,3})?\]|<\d{1,3}:\d{1,2}(?:[.:]\d{1,3})?>")
ABOUT = re.compile(
    r"^\[(?:ar|al|ti|au|by|re|ve|offset|length|la|lang|id|tool|#)\s*:.*\]\s*$", re.IGNORECASE
)


def without_times(text: str) -> str:
    r"""Lyrics without the time stamps and headers of LRC.

    >>> without_times("[ar:Somebody]\n[00:12.00][01:15.00]Line <00:12.50>one\n[00:17]Line two")
    'Line one\nLine two'
    """
    lines = (TIME.sub("", line).strip() for line in text.split("\n") if not ABOUT.match(line))
    return "\n".join(lines).strip()
