"""The pages that people read: their links, anchors, and the blocks that can be run."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUNS = "<!-- runs -->\n"  # in the line above a block that a test runs
_BLOCK = re.compile(r"(?ms)^( *)```[^\n]*\n.*?^\1```$")


def pages() -> list[Path]:
    """Every page of the repository that is shown to people, cards of datasets apart."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def anchors(text: str) -> set[str]:
    r"""The anchors that a code host gives to the headings of a page.

    >>> sorted(anchors("# What `default` does\n## A, B\n## A, B\n"))
    ['a-b', 'a-b-1', 'what-default-does']
    """
    found: list[str] = []
    for heading in re.findall(r"(?m)^#{1,6} (.+)$", _BLOCK.sub("", text)):
        slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        found.append(slug if slug not in found else f"{slug}-{found.count(slug)}")
    return set(found)


def broken_links(page: Path, text: str) -> list[str]:
    """Relative links of a page to what is not there: files, and headings in them."""
    prose = re.sub(r"`[^`]*`", "", _BLOCK.sub("", text))
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name) if name else page
        if not file.is_file() or (anchor and anchor not in anchors_of(file, page, text)):
            broken.append(target)
    return broken


def anchors_of(file: Path, page: Path, text: str) -> set[str]:
    """The anchors of a linked file, which may be the page itself."""
    return anchors(text if file == page else file.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Block:
    """A block of a page, in Python or of commands; `line` is that of its first line."""

    page: str
    line: int
    python: bool
    text: str

    def commands(self) -> list[list[str]]:
        """The words of each command, without `mmgenre`."""
        joined = self.text.replace("\\\n", " ")
        words = [shlex.split(line, comments=True) for line in joined.splitlines()]
        assert all(w[0] == "mmgenre" for w in words if w), f"{self.page}: not a command of ours"
        return [w[1:] for w in words if w]


def blocks(page: Path) -> list[Block]:
    """The blocks of a page that are marked as runnable, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in re.finditer(re.escape(RUNS) + r"```(\w*)\n(.*?)^```$", text, re.M | re.S):
        line = text.count("\n", 0, match.start(2)) + 1
        found.append(Block(page.name, line, match[1] == "python", match[2]))
    assert len(found) == text.count(RUNS), f"{page}: a mark without a block below it"
    return found
