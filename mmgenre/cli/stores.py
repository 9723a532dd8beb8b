"""Commands on feature stores: info, verify, merge."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from mmgenre.cli.shared import JsonOption, finish, progress_bars, show


def info(file: Path, as_json: JsonOption = False) -> None:
    """Says what a store file holds, who made it from what, and what was refused."""
    from mmgenre.disk.store import store_info

    groups = store_info(file)
    n = len(groups)
    lines = [f"{file}: {n} group{'s' * (n != 1)}, {_size(file.stat().st_size)}"]
    for group in groups:
        shape = " x ".join("n" if n is None else str(n) for n in group.row_shape) or "one value"
        codes = Counter(refusal.code for refusal in group.refused)
        refused = ", ".join(f"{n} {code}" for code, n in codes.most_common())
        told = f"{len(group.refused)} ({refused}); --json lists them" if refused else "none"
        size = _size(group.n_bytes)
        size += f" in {group.n_parts:,} parts beside it" if group.n_parts else ""
        lines += [
            "",
            f"/{_printable(group.name)}",
            f"  rows         {group.rows:,} of {shape} {group.dtype}, {size}",
            f"  fingerprint  {group.fingerprint}",
            f"  made by      {group.made_by}, stage {group.stage} {group.stage_version}",
        ]
        for k, (name, fingerprint) in enumerate(group.parents.items()):
            lines.append(f"  {'' if k else 'made from':<13}{name} {fingerprint}")
        lines.append(f"  refused      {told}")
    content = {"file": str(file), "groups": [asdict(group) for group in groups]}
    show(content, lines, as_json=as_json)


def _printable(name: str) -> str:
    """A hostile name could otherwise drive the terminal."""
    return name if name.isprintable() else ascii(name)


def _size(n_bytes: int) -> str:
    """1 234 567 -> 1.2 MB."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes} bytes"


def verify(
    files: Annotated[list[Path], Argument(help="Store files.")], as_json: JsonOption = False
) -> None:
    """Reads every value and compares the checksums; exit code 1 unless everything is whole."""
    from mmgenre.disk.store import verify_stores

    with progress_bars() as progress:
        verdicts = verify_stores(files, progress=progress)
    counts, lines = Counter[str](), []
    for verdict in verdicts:
        group = "" if verdict.group is None else f" /{_printable(verdict.group)}"
        found = "damaged" if verdict.damage else "unread" if verdict.unreachable else "whole"
        counts[found] += 1
        lines.append(f"{found:<8} {verdict.path}{group}")
        if why := verdict.damage or verdict.unreachable:
            lines.append(f"         {_printable(why)}")
    unread = f", {n} could not be read now" if (n := counts["unread"]) else ""
    lines.append(f"{counts['whole']} whole, {counts['damaged']} damaged{unread}")
    show([asdict(verdict) for verdict in verdicts], lines, as_json=as_json)
    finish((), failed=counts["whole"] < len(verdicts))


def merge(
    out: Annotated[Path, Argument(help="The store file to write.")],
    parts: Annotated[list[Path], Argument(help="Store files made with equal settings.")],
    group: Annotated[
        str | None, Option(help="Which group; needed if the parts hold several.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Joins the rows of several store files into one, in the order given; the parts stay."""
    from mmgenre.disk.store import merge_files

    merged = merge_files(parts, out, group)
    lines = [f"{out}: /{merged.name}: {merged.rows:,} rows from {len(parts)} files"]
    if n := len(merged.refused):
        lines.append(f"refused when they were made: {n}; see mmgenre store info")
    show({"file": str(out), **asdict(merged)}, lines, as_json=as_json)
