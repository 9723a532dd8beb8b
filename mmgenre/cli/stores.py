"""Commands on feature stores: info, verify, merge."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmgenre.cli.shared import JsonOption, finish, print_json, progress_bars

if TYPE_CHECKING:
    from mmgenre.disk.store import GroupInfo


def info(file: Path, as_json: JsonOption = False) -> None:
    """Says what a store file holds, who made it from what, and what was refused."""
    from mmgenre.disk.store import store_info

    groups = store_info(file)
    if as_json:
        print_json({"file": str(file), "groups": [asdict(group) for group in groups]})
        return
    typer.echo(
        f"{file}: {len(groups)} group{'s' * (len(groups) != 1)}, {_size(file.stat().st_size)}"
    )
    for group in groups:
        typer.echo(f"\n/{_printable(group.name)}")
        for what, value in _described(group):
            typer.echo(f"  {what:<13}{value}")


def _described(group: GroupInfo) -> list[tuple[str, str]]:
    shape = " x ".join("n" if n is None else str(n) for n in group.row_shape) or "one value"
    codes = Counter(refusal.code for refusal in group.refused)
    refused = ", ".join(f"{n} {code}" for code, n in codes.most_common())
    return [
        ("rows", f"{group.rows:,} of {shape} {group.dtype}, {_size(group.n_bytes)}"),
        ("fingerprint", group.fingerprint),
        ("made by", f"{group.made_by}, stage {group.stage} {group.stage_version}"),
        *(
            ("made from" if k == 0 else "", f"{name} {fingerprint}")
            for k, (name, fingerprint) in enumerate(group.parents.items())
        ),
        ("refused", f"{len(group.refused)} ({refused}); --json lists them" if refused else "none"),
    ]


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
    files: Annotated[list[Path], typer.Argument(help="Store files.")], as_json: JsonOption = False
) -> None:
    """Reads every value and compares the checksums; exit code 1 if anything is damaged."""
    from mmgenre.disk.store import verify_stores

    with progress_bars() as progress:
        verdicts = verify_stores(files, progress=progress)
    damaged = [verdict for verdict in verdicts if verdict.damage is not None]
    if as_json:
        print_json([asdict(verdict) for verdict in verdicts])
    else:
        for verdict in verdicts:
            state = "whole" if verdict.damage is None else "damaged"
            group = "" if verdict.group is None else f" /{_printable(verdict.group)}"
            typer.echo(f"{state:<8} {verdict.path}{group}")
            if verdict.damage is not None:
                typer.echo(f"         {_printable(verdict.damage)}")
        typer.echo(f"{len(verdicts) - len(damaged)} whole, {len(damaged)} damaged")
    finish((), failed=bool(damaged))


def merge(
    out: Annotated[Path, typer.Argument(help="The store file to write.")],
    parts: Annotated[list[Path], typer.Argument(help="Store files made with equal settings.")],
    group: Annotated[
        str | None, typer.Option(help="Which group; needed if the parts hold several.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Joins the rows of several store files into one, in the order given; the parts stay."""
    from mmgenre.disk.store import merge_files

    merged = merge_files(parts, out, group)
    if as_json:
        print_json({"file": str(out), **asdict(merged)})
        return
    typer.echo(f"{out}: /{merged.name}: {merged.rows:,} rows from {len(parts)} files")
    if merged.refused:
        typer.echo(f"refused when they were made: {len(merged.refused)}; see mmgenre store info")
