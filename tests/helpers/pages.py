"""The pages that people read: their links, anchors and blocks."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"(?ms)^( *)```[^\n]*\n.*?^\1```$")
# What may stand in the line above a block: that a test runs it, perhaps after it was written to a
# file that later blocks use, or why none does.
_MARK = re.compile(r"<!-- (?:(runs)(?: as ([\w./-]+))?|not run: (\S[^\n]{7,})) -->")
_MARKED = re.compile(r"(?ms)^(?:(<!-- [^\n]* -->)\n)?```(\w*)\n(.*?)^```$")
LANGUAGES = ("", "python", "sh", "toml", "csv", "text")


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
    """A block of a page; `line` is that of its first line.

    `language`, as the fence has it: "" are commands of ours, "sh" is for a shell; "text" is for
    people only.
    """

    page: str
    line: int
    language: str
    text: str
    runs: bool
    file: str | None = None  # to be written before anything runs it
    why_not: str | None = None

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"

    def commands(self) -> list[list[str]]:
        """The words of each command of ours, without `mmgenre`; of blocks that run nothing else."""
        joined = self.text.replace("\\\n", " ")
        lines = [line.removeprefix("$ ") for line in joined.splitlines()]
        if not self.runs:  # between commands of others, and what a terminal answers
            lines = [line for line in lines if line.startswith("mmgenre ")]
        words = [shlex.split(line, comments=True) for line in lines]
        assert all(w[0] == "mmgenre" for w in words if w), f"{self.where}: not a command of ours"
        return [w[1:] for w in words if w]


def blocks(page: Path) -> list[Block]:
    """All blocks of a page, in order. AssertionError: one without a mark, or an unknown one."""
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name
    found = []
    for match in _MARKED.finditer(text):
        line = text.count("\n", 0, match.start(3)) + 1
        mark = _MARK.fullmatch(match[1] or "")
        assert mark, (
            f"{name}:{line}: no mark above the block: <!-- runs -->, or <!-- not run: why -->"
        )
        assert match[2] in LANGUAGES, f"{name}:{line}: {match[2]}: one of {LANGUAGES}"
        runs, file, why_not = mark[1] is not None, mark[2], mark[3]
        found.append(Block(name, line, match[2], match[3], runs, file, why_not))
    fences = len(re.findall(r"(?m)^ *```", text))
    assert fences == 2 * len(found), f"{name}: {fences} fences, and {len(found)} blocks"
    return found
